"""Owns the history of campaigns' rows out of PostgreSQL's log: exact versions with exact times, or a refusal."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from listmonk_doctor.errors import PrivilegeError, RefusedError
from listmonk_doctor.timeline.look import pace_now
from listmonk_doctor.timeline.model import Gap, RowVersion, Timeline
from listmonk_doctor.timeline.wal.branches import read_branches
from listmonk_doctor.timeline.wal.lasting import Keeping, left, rate, read_keeping
from listmonk_doctor.timeline.wal.reading import Run, feed
from listmonk_doctor.timeline.wal.rows import UnknownError
from listmonk_doctor.timeline.wal.segments import Segment, held, wanted
from listmonk_doctor.timeline.wal.shelf import Shelf, may_read
from listmonk_doctor.timeline.wal.table import (
    ANOTHER_WAY,
    End,
    Row,
    lag,
    read_end,
    read_rows,
    read_table,
    same_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from psycopg import Cursor

    from listmonk_doctor.timeline.wal.heap import Heap, Version
    from listmonk_doctor.timeline.wal.rows import Layout
    from listmonk_doctor.timeline.wal.stream import Outcome

_MARGIN: Final = timedelta(minutes=1)
"""How long before a campaign's start its row is of interest: the start itself is written before it is dated."""

LOG: Final = "the log"
LOST: Final = "the log that is left does not hold the row as it is now"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the log that was read reaches, and how fast it is overwritten at the present rate.

    `oldest` and `newest` bound the commits in it; `segments` were read, of them `recycled` wait to be overwritten.
    `left_seconds`, by campaign: until the segment of its first version may be gone (None: not in sight).
    """

    oldest: datetime | None
    newest: datetime
    segments: int
    recycled: int
    bytes_per_second: float
    left_seconds: dict[int, float | None]


@dataclass(frozen=True, slots=True)
class Log:
    """What the log tells of campaigns, by id; those without a version in it are left out.

    `notes` are sentences, `sources` what was read, in words, `missed` what the role may not read, with what would help.
    """

    timelines: dict[int, Timeline]
    reach: Reach
    notes: tuple[str, ...]
    sources: tuple[str, ...] = (LOG,)
    missed: tuple[str, ...] = ()


def read_logs(  # noqa: PLR0913 - what is read, where from, and three bounds
    cursor: Cursor[Any],
    shelf: Shelf,
    campaign_ids: Sequence[int],
    *,
    limit: int = 30,
    seconds: float = 30.0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Read every committed version of some campaigns' rows out of the log on `shelf`.

    In the cursor's transaction, whose search_path leads to listmonk's tables. At most `limit` segments are read, for
    about `seconds`; `progress` is told how many of how many are done. Raises PrivilegeError where the role may not
    read the server's log, RefusedError where the log cannot be read or does not give the rows that SELECT gives.
    """
    if shelf.live and (why := may_read(cursor)):
        raise PrivilegeError(f"The log was not read: {why}.", hint=ANOTHER_WAY)
    table = read_table(cursor)
    rows = read_rows(cursor, campaign_ids)
    end = read_end(cursor)
    stop = end.place if shelf.live else None
    everything = held(shelf, table.system, table.major, stop, read_branches(cursor, shelf))
    chosen = wanted(shelf, everything, since(rows, end.now), max(1, limit))
    run = Run(shelf, chosen, stop, time.monotonic() + seconds, progress)
    streams, read, notes = feed(cursor, table, run)
    same_file(cursor, table)
    versions, more = assemble(streams, table.layout, rows, end.now)
    timelines = timelines_of(cursor, rows, versions, end.now)
    reach = _reach(everything, read, versions, end, read_keeping(cursor) if shelf.live else None)
    return Log(timelines, reach, (*notes, *more, *lag(end)))


def timelines_of(
    cursor: Cursor[Any], rows: dict[int, Row], versions: dict[int, list[RowVersion]], now: datetime
) -> dict[int, Timeline]:
    """Return the timelines of the campaigns of which versions were found, with today's settings."""
    timelines = {}
    for ident, found in versions.items():
        row = rows[ident]
        pace = pace_now(cursor, found[0].before)
        ended, until = max(now, found[-1].before), found[-1].until
        gaps = (Gap(until, ended, LOST),) if until < ended else ()
        timelines[ident] = Timeline(ident, row.uuid, row.name, found[0].before, ended, tuple(found), gaps, (pace,))
    return timelines


def since(rows: dict[int, Row], now: datetime) -> datetime:
    """Return from when on the log matters: before the first of the campaigns was started, or written last."""
    moments = [row.values["started_at"] or row.values["updated_at"] for row in rows.values()]
    return min([each for each in moments if each], default=now) - _MARGIN


@dataclass(frozen=True, slots=True)
class _Found:
    version: Version
    values: dict[str, Any]
    outcome: Outcome
    live: bool


class Told(Protocol):
    """What was read of one file of the table: the model of its pages, and how the transactions ended."""

    @property
    def heap(self) -> Heap:
        """The model of its pages."""

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """How transactions ended, by their numbers."""


def assemble(
    streams: Sequence[Told], layout: Layout, rows: dict[int, Row], now: datetime
) -> tuple[dict[int, list[RowVersion]], list[str]]:
    """Return the committed versions of each campaign in order, after they were held to what SELECT gives.

    Raises RefusedError where the version that SELECT sees decodes to something else.
    """
    found: dict[int, list[_Found]] = {ident: [] for ident in rows}
    for stream in streams:
        stream.heap.connect()
        for version in stream.heap.made:
            outcome = stream.outcomes.get(version.xmin)
            if version.record is None or outcome is None or outcome.at is None:
                continue
            try:
                values = layout.decode(version)
            except UnknownError:
                continue
            row = rows.get(values["id"])
            # In an older file the row stood elsewhere on the pages.
            live = _live(version, rows) if stream is streams[0] else row if row and row.xmin == version.xmin else None
            if live:
                hold(live, values)
            if row:
                found[row.id].append(_Found(version, values, outcome, live is row))
    notes = []
    result = {}
    for ident, each in found.items():
        if not any(one.live for one in each):
            notes.append(
                f"campaign {ident}: its row as it is now was not found in the log that is left, so what the log tells "
                "may not be all"
            )
        if each:
            result[ident] = _versions(each, now)
    return result, notes


def _live(version: Version, rows: dict[int, Row]) -> Row | None:
    """Return the campaign whose row today is this version, by its transaction and its place on the pages."""
    return next((row for row in rows.values() if (row.xmin, row.spot) == (version.xmin, version.spot)), None)


def hold(row: Row, values: dict[str, Any], what: str = "log was") -> None:
    """Raise RefusedError where the version that SELECT sees was decoded to something else."""
    wrong = [name for name, value in row.values.items() if values.get(name) != value]
    if wrong:
        raise RefusedError(
            f"The {what} read wrongly: campaign {row.id} has another {wrong[0]} in it than in its row.",
            hint=ANOTHER_WAY,
        )


def _versions(found: list[_Found], now: datetime) -> list[RowVersion]:
    """Return a campaign's versions; of several in one transaction only the last was ever seen by anybody."""
    last: dict[int, _Found] = {each.outcome.place: each for each in found}
    kept = sorted(last.values(), key=lambda each: each.version.record or 0)
    for index, each in enumerate(kept):
        if each.live:
            kept = kept[: index + 1]  # what came later is not in the snapshot
            break
    together: dict[int, set[Version]] = {}
    for each in found:
        together.setdefault(each.outcome.place, set()).add(each.version)
    result: list[RowVersion] = []
    for index, each in enumerate(kept):
        before = kept[index - 1].version if index else None
        linked = _follows(each.version, before, together[each.outcome.place])
        if index and not linked:  # nobody knows how long the one before it stayed
            result[-1] = replace(result[-1], until=result[-1].before)
        until = kept[index + 1].outcome.at if index + 1 < len(kept) else now if each.live else None
        result.append(_row_version(each, until, linked=linked))
    return result


def _follows(version: Version, before: Version | None, together: set[Version]) -> bool:
    """Tell whether a version replaced another, or versions of its own transaction (`together`) that did."""
    first = version
    while first.replaced is not None and first.replaced is not before and first.replaced in together:
        first = first.replaced
    if before is None or first.replaced is None:
        return before is None and first.inserted
    # An image may show the version before; only the last one of a transaction is replaced by another.
    seen = first.replaced.record is None and first.replaced.xmin == before.xmin
    return first.replaced is before or seen


def _row_version(found: _Found, until: datetime | None, *, linked: bool) -> RowVersion:
    at, values = found.outcome.at, found.values
    assert at is not None  # noqa: S101 - only committed ones are kept
    return RowVersion(
        at,
        at,
        max(at, until or at),
        values["status"],
        values["sent"],
        values["to_send"],
        values["last_subscriber_id"],
        values["max_subscriber_id"],
        values["started_at"],
        values["updated_at"],
        str(found.version.xmin),
        "log",
        found.version.record,
        linked,
    )


def _reach(
    everything: list[Segment],
    read: list[Segment],
    versions: dict[int, list[RowVersion]],
    end: End,
    keeping: Keeping | None,
) -> Reach:
    """Return how far the log reaches and how long it stays."""
    dated = [(each.opening.address, each.since) for each in read if each.since is not None]
    known = [(each.place or 0, each.before) for found in versions.values() for each in found]
    oldest = dated[0][1] if dated else min((at for _, at in known), default=None)
    points = [*dated, *known]
    if keeping and keeping.redo is not None and keeping.begun is not None:
        points.append((keeping.redo, keeping.begun))
    per_second = rate(points, end.place, end.now)
    left_seconds: dict[int, float | None] = {
        ident: left(everything, found[0].place or 0, keeping, per_second, end.now) if keeping else None
        for ident, found in versions.items()
    }
    return Reach(oldest, end.now, len(read), sum(each.recycled for each in read), per_second, left_seconds)
