"""Owns the subscriptions that a shared pass read: kept once for all campaigns, by list, status and dates.

A place says where a date lies among the pass's moments (see sql/audience/many.sql).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyroaring import BitMap

from listmonk_doctor.diagnosis import packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONFIRMED, UNCONFIRMED, UNSUBSCRIBED, OTHER = range(4)
"""The status of a subscription, as many.sql numbers it."""
_CLASSES: Final = ("sure", "undatable", "joined", "left_since", "left_during", "never", "fetchable")


class Shelf:
    """The subscriptions of one list with one status; each person has one at most, so ids stand for subscriptions."""

    def __init__(self, undated: int) -> None:
        """Make an empty one; `undated` is the place of a last change without a date."""
        self.made: dict[int, BitMap] = {}
        """Everybody, by the place of the date of making."""
        self.changed: dict[int, BitMap] = {}
        """Who was changed at another place than made, by the place of the last change."""
        self._undated = undated
        self._all: BitMap | None = None
        self._place = -1
        self._before = BitMap()
        self._since = BitMap()

    @property
    def everybody(self) -> BitMap:
        """All subscriptions."""
        if self._all is None:
            self._all = BitMap().union(*self.made.values())
        return self._all

    def at(self, place: int) -> tuple[BitMap, BitMap]:
        """Return who was made at a place up to this one, and who of them was changed after it or has no date of it.

        Quick for places that ascend from call to call.
        """
        if place < self._place or self._place < 0:
            self._place = -1
            self._before = BitMap()
            self._since = BitMap().union(*self.changed.values())
        for each in range(self._place + 1, place + 1):
            self._before |= self.made.get(each, BitMap())
            self._since -= self.changed.get(each, BitMap())
        self._place = place
        return self._before, self._before & self._since

    def changed_between(self, start: int, end: int) -> BitMap:
        """Return who was made earlier and changed after one place and up to another, or has no date of the change."""
        places = (*range(start + 1, end + 1), self._undated)
        return BitMap().union(*(self.changed[place] for place in places if place in self.changed))


class Shelves:
    """All subscriptions of a shared pass."""

    def __init__(self, lists: Sequence[int], buckets: int) -> None:
        """Make empty shelves for lists (ascending) and so many places."""
        self._lists = {list_id: number for number, list_id in enumerate(lists)}
        self._buckets = buckets
        self._shelves: dict[int, Shelf] = {}

    def put(self, made: bytes | None, changed: bytes | None) -> None:
        """Add what one chunk of the pass brought."""
        for code, some in packed.wide(made):
            kind, place = divmod(code, self._buckets)
            _add(self._shelf(kind).made, place, some)
        for code, some in packed.wide(changed):
            kind, place = divmod(code, self._buckets)
            _add(self._shelf(kind).changed, place, some)

    def _shelf(self, kind: int) -> Shelf:
        return self._shelves.setdefault(kind, Shelf(self._buckets - 1))

    def classes(  # noqa: PLR0913 - what a campaign is
        self,
        lists: Iterable[int],
        double: Iterable[int],
        start: int,
        end: int,
        *,
        regular: bool,
        fetchable: bool,
    ) -> Mapping[str, BitMap]:
        """Return the classes of single subscriptions of one campaign, as `classify` takes them."""
        found = {name: BitMap() for name in _CLASSES}
        for list_id in lists:
            eligible = eligible_status(regular=regular, double=list_id in double)
            for status in range(4):
                shelf = self._shelves.get(4 * self._lists[list_id] + status)
                if shelf is None:
                    continue
                before, moved = shelf.at(start)
                if status in eligible:
                    found["sure"] |= before - moved
                    found["undatable"] |= moved
                    found["joined"] |= shelf.everybody - before
                else:
                    found["left_since"] |= moved
                    found["left_during"] |= moved & shelf.changed_between(start, end)
                    found["never"] |= before - moved
                if fetchable and status != UNSUBSCRIBED:
                    found["fetchable"] |= shelf.everybody
        return found


def eligible_status(*, regular: bool, double: bool) -> frozenset[int]:
    """Return which status makes a subscription eligible, by listmonk's rules (2.0.0 to 6.2.0)."""
    if regular:
        return frozenset({CONFIRMED}) if double else frozenset({CONFIRMED, UNCONFIRMED, OTHER})
    return frozenset({UNCONFIRMED}) if double else frozenset()


def _add(places: dict[int, BitMap], place: int, some: BitMap) -> None:
    """Add people to a place."""
    if place in places:
        places[place] |= some
    else:
        places[place] = some
