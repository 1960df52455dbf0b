"""Owns the history of campaigns' rows where the log's files cannot be read, but pg_walinspect can be asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.errors import PrivilegeError
from listmonk_doctor.timeline.wal.extensions import said
from listmonk_doctor.timeline.wal.history import Log, Reach, assemble, since, timelines_of
from listmonk_doctor.timeline.wal.inspected import Fed, Inspector, Part
from listmonk_doctor.timeline.wal.reading import older_files, rewritten
from listmonk_doctor.timeline.wal.table import (
    ANOTHER_WAY,
    End,
    Table,
    lag,
    read_catalog,
    read_end,
    read_rows,
    read_table,
    same_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import Cursor

    from listmonk_doctor.timeline.model import RowVersion
    from listmonk_doctor.timeline.wal.extensions import Extension

BY_WALINSPECT: Final = "the log, by pg_walinspect"


def read_inspected(  # noqa: PLR0913 - what is read, by what, and three bounds
    cursor: Cursor[Any],
    walinspect: Extension,
    campaign_ids: Sequence[int],
    *,
    limit: int = 30,
    seconds: float = 30.0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Read every committed version of some campaigns' rows by pg_walinspect; otherwise as `read_logs`.

    It reaches less far: what a checkpoint has recycled is refused to it. Raises PrivilegeError with the server's own
    message where a function of it may not be called after all.
    """
    import psycopg

    try:
        return _read(cursor, walinspect, campaign_ids, (limit, seconds), progress)
    except psycopg.errors.InsufficientPrivilege as error:
        raise PrivilegeError(
            f'The log was not read: {walinspect.kind.name} is there, but the server says "{said(error)}".',
            hint=ANOTHER_WAY,
        ) from error


def _read(
    cursor: Cursor[Any],
    walinspect: Extension,
    campaign_ids: Sequence[int],
    bounds: tuple[int, float],
    progress: Callable[[int, int], None] | None,
) -> Log:
    limit, seconds = bounds
    deadline = time.monotonic() + seconds
    table = read_table(cursor)
    rows = read_rows(cursor, campaign_ids)
    end = read_end(cursor)
    cursor.execute("SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'")
    inspector = Inspector(cursor, walinspect.place, end.place, int(cursor.fetchall()[0][0]))
    parts = inspector.parts(since(rows, end.now), max(1, limit))
    fed, read, notes = _feed(cursor, table, inspector, (parts, deadline), progress)
    same_file(cursor, table)
    versions, more = assemble(fed, table.layout, rows, end.now)
    timelines = timelines_of(cursor, rows, versions, end.now)
    said_of_it = (*inspector.notes, *notes, *more, *lag(end))
    return Log(timelines, _reach(read, versions, end, inspector.size), said_of_it, (BY_WALINSPECT,))


def _feed(
    cursor: Cursor[Any],
    table: Table,
    inspector: Inspector,
    run: tuple[list[Part], float],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Fed], list[Part], list[str]]:
    """Go through the log for the table's file, and for its older files where it was rewritten meanwhile."""
    parts, deadline = run
    if not table.rewritten:
        fed, read = inspector.feed([table.locator], parts, deadline, progress)
        return fed, read, []
    catalog = read_catalog(cursor)
    fed, read = inspector.feed([table.locator], parts, deadline, progress)
    tables, _ = inspector.feed([catalog.locator], read, deadline)
    older = [table.of_file(file) for file in older_files(tables[0].heap, catalog.layout, table)]
    more = inspector.feed(older, read, deadline)[0] if older else []
    return [*fed, *more], read, [rewritten(len(older))]


def _reach(read: list[Part], versions: dict[int, list[RowVersion]], end: End, size: int) -> Reach:
    """Return how far the log reaches and how long it stays: but for the last segment, a checkpoint may take it away."""
    dated = [(each.since, each.number * size) for each in read if each.since is not None]
    firsts = [(found[0].before, found[0].place or 0) for found in versions.values()]
    oldest, place = min([*dated, *firsts], default=(None, 0))
    rate = 0.0
    if oldest is not None and end.now > oldest:
        rate = max(0, end.place - place) / (end.now - oldest).total_seconds()
    left: dict[int, float | None] = {}
    for ident, found in versions.items():
        turn = ((found[0].place or 0) // size + 1) * size
        left[ident] = 0.0 if turn <= end.place else (turn - end.place) / rate if rate else None
    return Reach(oldest, end.now, len(read), 0, rate, left)
