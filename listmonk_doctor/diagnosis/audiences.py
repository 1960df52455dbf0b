"""Owns reading the audiences of campaigns in one pass over their lists' subscriptions, however many campaigns."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pyroaring import BitMap

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.diagnosis import packed as ids
from listmonk_doctor.diagnosis.chunks import chunks, packed, size
from listmonk_doctor.diagnosis.idsets import Audience, classify
from listmonk_doctor.diagnosis.shelves import Shelves, Where

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from psycopg import Cursor

    from listmonk_doctor.diagnosis.chunks import Progress
    from listmonk_doctor.listmonk.campaign import Campaign

TICK: Final = timedelta(microseconds=1)
"""The server's smallest step of time."""
ELIGIBLE, NOT_ELIGIBLE, UNSUBSCRIBED = 0, 6, 12
"""Parts of the code of audience/subscriptions.sql."""
CODES: Final = 18
"""How many codes it has."""


class Asked(NamedTuple):
    """A campaign whose audience is wanted: its start and its last change, and whether `fetchable` is needed."""

    campaign: Campaign
    start: datetime
    end: datetime
    fetchable: bool

    @property
    def lists(self) -> list[int]:
        """The lists that are still there, ascending."""
        return sorted({entry.list_id for entry in self.campaign.lists if entry.list_id is not None})

    @property
    def double(self) -> list[int]:
        """Of these, the lists with double opt-in."""
        return sorted({entry.list_id or 0 for entry in self.campaign.lists if entry.optin == "double"})


def asked(campaign: Campaign, *, now: datetime, batch_cut_first: bool) -> Asked:
    """Return what is asked of a campaign; `now` stands in for the start of one that never started.

    `batch_cut_first` asks for `fetchable` (versions before 4.0.0). listmonk's rules of the audience are the same from
    2.0.0 to 6.2.0.
    """
    start = campaign.started_at or now
    return Asked(campaign, start, max(campaign.updated_at or now, start), batch_cut_first)


class Moments:
    """Moments that divide dates into places: a date that is not after the moment at a place has at most that place."""

    def __init__(self, moments: Iterable[datetime]) -> None:
        """Take the moments, in any order, with repetitions."""
        self._sorted = sorted(set(moments))
        self._places = {moment: place for place, moment in enumerate(self._sorted)}

    def __len__(self) -> int:
        """Return how many different ones there are."""
        return len(self._sorted)

    def place(self, moment: datetime) -> int:
        """Return the highest place of a date that is not after this moment."""
        return self._places[moment]

    @property
    def bounds(self) -> list[datetime]:
        """What the server divides by: the first moment after each."""
        return [moment + TICK for moment in self._sorted]


def read_audiences(
    cur: Cursor[Any], wanted: Sequence[Asked], progress: Progress | None = None
) -> Iterator[tuple[int, Audience]]:
    """Read audiences in one pass, in the cursor's transaction, and yield each with its campaign's id.

    They come in the order of `wanted`, one at a time: whoever lets go of one before the next needs little memory. It is
    quickest where the starts ascend or descend. `progress` is called before the first chunk and after each.
    """
    if not wanted:
        return
    moments = Moments(moment for each in wanted for moment in (each.start, each.end))
    blocked = _blocked(cur, moments)
    reached = _reached(cur, wanted)
    alone = len(wanted) == 1
    found: Iterable[tuple[Asked, Mapping[str, BitMap]]]
    found = [(wanted[0], _one(cur, wanted[0], progress))] if alone else _many(cur, wanted, moments, progress)
    for each, classes in found:
        start, end = moments.place(each.start), moments.place(each.end)
        audience = classify(
            **classes,
            blocked=_joined(blocked.values()),
            blocked_since=_joined(some for place, some in blocked.items() if place > start),
            blocked_during=_joined(some for place, some in blocked.items() if start < place <= end),
            reached=reached.get(each.campaign.id, BitMap()),
        )
        yield each.campaign.id, audience


def _joined(parts: Iterable[BitMap]) -> BitMap:
    """Return the union of any number of bitmaps."""
    return BitMap().union(*parts)


def _blocked(cur: Cursor[Any], moments: Moments) -> dict[int, BitMap]:
    """Read the blocklisted by the place of their last change."""
    with cur.connection.cursor(binary=True) as reading:
        reading.execute(sqlfiles.read("audience/blocklisted.sql"), {"moments": moments.bounds})
        (mixed,) = reading.fetchone() or (None,)
    return dict(ids.wide(mixed))


def _reached(cur: Cursor[Any], wanted: Sequence[Asked]) -> dict[int, BitMap]:
    """Read who is proved to have been mailed, by campaign."""
    values = {"campaigns": [each.campaign.id for each in wanted], "starts": [each.start for each in wanted]}
    with cur.connection.cursor(binary=True) as reading:
        reading.execute(sqlfiles.read("audience/evidence.sql"), values)
        return {campaign: ids.unpack(some) for campaign, some in reading}


def _lists(lists: list[int]) -> dict[str, Any]:
    """Return the parameters that say which lists are wanted."""
    return {"lists": lists, "one": len(lists) == 1, "only": lists[0] if len(lists) == 1 else None}


def _one(cur: Cursor[Any], wanted: Asked, progress: Progress | None) -> Mapping[str, BitMap]:
    """Read the classes of one campaign's subscriptions, as `classify` takes them: the server works them out."""
    table = size(cur)
    how = ids.packing(CODES, table.last_id)
    regular = wanted.campaign.type == "regular"
    values = {
        **how._asdict(),
        "wanted": "confirmed" if regular else "unconfirmed",
        "regular": regular,
        **_lists(wanted.lists),
        "double": wanted.double,
        "some": bool(wanted.double),
        "start": wanted.start,
        "end": wanted.end,
    }
    mixing = ids.Mixing(how)
    ranges = chunks(cur, table, wanted.lists)
    with closing(packed(cur, "audience/subscriptions.sql", values, ranges, progress)) as pieces:
        for (piece,) in pieces:
            mixing.put(piece)
    codes = mixing.apart()

    def those(kinds: Sequence[int], states: Sequence[int]) -> BitMap:
        return _joined(codes[kind + state] for kind in kinds for state in states if kind + state in codes)

    outside = (NOT_ELIGIBLE, UNSUBSCRIBED)
    everything = range(6)
    return {
        "sure": those((ELIGIBLE,), (0,)),
        "undatable": those((ELIGIBLE,), (1, 2)),
        "joined": those((ELIGIBLE,), (3, 4, 5)),
        "left_since": those(outside, (1, 2)),
        "left_during": those(outside, (1,)),
        "never": those(outside, (0,)),
        "fetchable": those((ELIGIBLE, NOT_ELIGIBLE), everything) if wanted.fetchable else BitMap(),
    }


def _many(
    cur: Cursor[Any], wanted: Sequence[Asked], moments: Moments, progress: Progress | None
) -> Iterator[tuple[Asked, Mapping[str, BitMap]]]:
    """Read the subscriptions of all campaigns' lists onto shelves, and take each campaign's classes from them."""
    table = size(cur)
    starts = Moments(each.start for each in wanted)
    lists = sorted({list_id for each in wanted for list_id in each.lists})
    places = len(moments) + 2
    how = ids.packing(places, table.last_id)
    values = {
        **how._asdict(),
        **_lists(lists),
        "every": len(lists) == table.lists,
        "starts": starts.bounds,
        "moments": moments.bounds,
        "first": starts.bounds[0],
        "places": places,
    }
    shelves = Shelves(how, undated=places - 1)
    with closing(packed(cur, "audience/many.sql", values, chunks(cur, table, lists), progress)) as pieces:
        for piece in pieces:
            shelves.put(*piece)
    for each in wanted:
        where = Where(starts.place(each.start), moments.place(each.start), moments.place(each.end))
        regular = each.campaign.type == "regular"
        yield each, shelves.classes(each.lists, each.double, where, regular=regular, fetchable=each.fetchable)
