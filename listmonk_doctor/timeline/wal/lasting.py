"""Owns how long a segment of the log lasts: when the server takes it for something else, or removes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.timeline.wal.shelf import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from psycopg import Cursor

    from listmonk_doctor.timeline.wal.segments import Segment

_LATELY: Final = timedelta(seconds=30)
"""A rate is taken over so long at least: a look may fall into a single write."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What decides how long segments stay, in bytes and seconds; `redo` and `begun` are of the last checkpoint.

    `end` is up to where the log's files are taken. Replication slots and an archive that is behind hold segments back
    besides; as they may let go at any moment, they are not reckoned with.
    """

    end: int
    redo: int | None
    begun: datetime | None
    period: float
    trigger: float
    spare: int
    keep: int
    recycles: bool


def read_keeping(cursor: Cursor[Any]) -> Keeping:
    """Read what the server's settings and its last checkpoint say of how long segments stay."""
    cursor.execute(sqlfiles.read("facts/log-keeping.sql"))
    end, redo, begun, period, trigger, spare, keep, recycles = cursor.fetchall()[0]
    return Keeping(int(end), None if redo is None else int(redo), begun, period, trigger, spare, keep, recycles)


def rate(points: Iterable[tuple[int, datetime]], end: int, now: datetime) -> float:
    """Return how fast the log is written, in bytes per second: the highest mean since any of the points.

    `points` are places in the log with the moments when it was there. The mean since the oldest alone would hide that
    a server has just begun to write more. Points of less than half a minute ago count only where there are no others.
    """
    means = [(now - at, max(0, end - place) / (now - at).total_seconds()) for place, at in points if at < now]
    settled = [mean for age, mean in means if age >= _LATELY]
    if settled:
        return max(settled)
    return max(means)[1] if means else 0.0


def left(segments: Sequence[Segment], place: int, keeping: Keeping, per_second: float, now: datetime) -> float | None:
    """Return the seconds for which the segment that holds `place` lasts at a rate; None where nothing is written.

    A recycled one lasts until its name's turn comes. One that is not lasts while it is the newest, or is kept, and
    until the next checkpoint; then it goes behind all that are recycled, or is removed where there are enough of them.
    """
    if not per_second:
        return None
    size = segments[0].opening.size
    names = {each.number: number_of(each.name, size) for each in segments}
    number, current, held = place // size, keeping.end // size, keeping.keep // size
    turn = names.get(number, number)
    if turn != number:
        return max(0, turn * size - keeping.end) / per_second
    redo = current if keeping.redo is None else keeping.redo // size
    leaving = redo > number + held  # the last checkpoint needs it no more, and something holds it still
    needed = redo if leaving else max(current, number + 1)
    last = max(current, *names.values())
    going = sum(each == name and each < needed - held for each, name in names.items())
    spare = keeping.spare // size - 1
    if last > current:  # what the last checkpoint set aside is what the server thinks it needs
        spare = max(spare, last - redo)
    stays = 0.0 if leaving else _next_checkpoint(keeping, per_second, now)
    until = number + 1 + held
    if keeping.recycles and going <= needed + spare - last:
        until = max(until, last + 1)
    return max(stays, (until * size - keeping.end) / per_second)


def _next_checkpoint(keeping: Keeping, per_second: float, now: datetime) -> float:
    """Return the seconds until the next checkpoint begins of itself; 0 where it may be under way."""
    if keeping.redo is None or keeping.begun is None:
        return 0.0
    by_time = keeping.period - (now - keeping.begun).total_seconds()
    by_size = (keeping.redo + keeping.trigger - keeping.end) / per_second
    return max(0.0, min(by_time, by_size))
