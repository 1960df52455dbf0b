"""Owns the subscriptions that a shared pass read: kept once for all campaigns, by list, status and dates.

A date's place is how many of the pass's moments are before it (see sql/audience/many.sql).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from pyroaring import BitMap

from listmonk_doctor.diagnosis.packed import Mixing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from listmonk_doctor.diagnosis.packed import Packing

_NOBODY: Final = BitMap()
_CLASSES: Final = ("sure", "undatable", "joined", "left_since", "left_during", "never", "fetchable")


class Where(NamedTuple):
    """Where a campaign's start lies among the starts, and where its start and end lie among starts and ends."""

    room: int
    start: int
    end: int


class Shelf:
    """The subscriptions of one list with one status; each person has one at most, so ids stand for subscriptions."""

    def __init__(self, how: Packing) -> None:
        """Make an empty one; `how` ids come packed."""
        self._mixed = Mixing(how), Mixing(how)
        self._at = Where(-1, -1, -1)
        self._before = BitMap()

    def put(self, made: bytes | None, changed: bytes | None) -> None:
        """Add what one piece of the pass brought; all of it has come before the first question is asked."""
        for mixing, packed in zip(self._mixed, (made, changed), strict=True):
            mixing.put(packed)

    @cached_property
    def made(self) -> dict[int, BitMap]:
        """Everybody, by where the date of making lies among the starts."""
        return self._mixed[0].apart()

    @cached_property
    def changed(self) -> dict[int, BitMap]:
        """Who was changed behind a start that he was made before, by where the change lies among starts and ends."""
        return self._mixed[1].apart()

    @cached_property
    def everybody(self) -> BitMap:
        """All subscriptions."""
        return BitMap().union(*self.made.values())

    @cached_property
    def _since(self) -> BitMap:
        """Who was changed behind the start that `at` was last asked for; at first behind none: all."""
        return BitMap().union(*self.changed.values())

    def at(self, where: Where) -> tuple[BitMap, BitMap]:
        """Return who was made up to a start, and who of them was changed after it or has no date of it.

        It goes there from the start of the call before: the nearer, the quicker.
        """
        last, self._at = self._at, where
        for room in range(last.room + 1, where.room + 1):
            self._before |= self.made.get(room, _NOBODY)
        for room in range(where.room + 1, last.room + 1):
            self._before -= self.made.get(room, _NOBODY)
        for place in range(last.start + 1, where.start + 1):
            self._since -= self.changed.get(place, _NOBODY)
        for place in range(where.start + 1, last.start + 1):
            self._since |= self.changed.get(place, _NOBODY)
        return self._before, self._before & self._since

    def changed_during(self, where: Where, undated: int) -> BitMap:
        """Return who was changed between a start and an end, or has no date of it (the place `undated`)."""
        places = (*range(where.start + 1, where.end + 1), undated)
        return BitMap().union(*(self.changed[place] for place in places if place in self.changed))


class Shelves:
    """All subscriptions of a shared pass."""

    def __init__(self, how: Packing, *, undated: int) -> None:
        """Make empty shelves; `how` ids come packed, `undated` is the place of a last change without a date."""
        self._how = how
        self._undated = undated
        self._shelves: dict[int, dict[str, Shelf]] = {}

    def put(self, list_id: int, status: str, made: bytes | None, changed: bytes | None) -> None:
        """Add what one piece of the pass brought."""
        shelves = self._shelves.setdefault(list_id, {})
        if status not in shelves:
            shelves[status] = Shelf(self._how)
        shelves[status].put(made, changed)

    def classes(
        self,
        lists: Iterable[int],
        double: Iterable[int],
        where: Where,
        *,
        regular: bool,
        fetchable: bool,
    ) -> Mapping[str, BitMap]:
        """Return the classes of single subscriptions of one campaign, as `classify` takes them."""
        found = {name: BitMap() for name in _CLASSES}
        for list_id in lists:
            for status, shelf in self._shelves.get(list_id, {}).items():
                before, moved = shelf.at(where)
                if eligible(status, regular=regular, double=list_id in double):
                    found["sure"] |= before - moved
                    found["undatable"] |= moved
                    found["joined"] |= shelf.everybody - before
                else:
                    found["left_since"] |= moved
                    found["left_during"] |= moved & shelf.changed_during(where, self._undated)
                    found["never"] |= before - moved
                if fetchable and status != "unsubscribed":
                    found["fetchable"] |= shelf.everybody
        return found


def eligible(status: str, *, regular: bool, double: bool) -> bool:
    """Say whether a subscription's status makes it count, by listmonk's rules (2.0.0 to 6.2.0)."""
    if double:
        return status == ("confirmed" if regular else "unconfirmed")
    return regular and status != "unsubscribed"
