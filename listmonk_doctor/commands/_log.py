"""Owns reading campaigns' timelines out of the write-ahead log for a command, with a bar while it lasts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from listmonk_doctor.commands._session import Database
    from listmonk_doctor.database.connection import Cursor
    from listmonk_doctor.timeline.look import Identity
    from listmonk_doctor.timeline.wal.history import Log
    from listmonk_doctor.timeline.wal.shelf import Shelf

LIMIT: Final = 30
"""Segments of the log that are read at most, unless another number is asked for."""
SECONDS: Final = 30.0
TEXT: Final = "Reading the log"
UNTOLD: Final = (
    "what listmonk-doctor itself wrote cannot be told from listmonk's work, as this role may not read its journal"
)


def read(  # noqa: PLR0913 - where, what, and four bounds
    database: Database,
    campaign_ids: Sequence[int],
    *,
    folder: Path | None = None,
    limit: int = LIMIT,
    seconds: float = SECONDS,
    extensions: bool = False,
) -> tuple[Log, Identity]:
    """Return what the log holds of campaigns, and which database it is; `folder` holds segments (None: the server's).

    It reads in a transaction of its own, read-only but where `extensions` are allowed and have to be made, which is
    taken back. Raises PrivilegeError, with the GRANTs, where the role may not read the
    server's log; RefusedError where the log cannot be decoded for certain.
    """
    from listmonk_doctor.commands._progress import Bar
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.timeline.look import identity
    from listmonk_doctor.timeline.wal.history import read_logs
    from listmonk_doctor.timeline.wal.shelf import FolderShelf, ServerShelf

    if folder is not None and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", hint="--wal names a folder with segments of the log.")
    if extensions and folder is None:
        return _by_extensions(database, campaign_ids, limit, seconds)
    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor, Bar(TEXT) as bar:
        shelf: Shelf = ServerShelf(cursor) if folder is None else FolderShelf(folder)
        log = read_logs(cursor, shelf, list(campaign_ids), limit=limit, seconds=seconds, progress=bar)
        return _own(cursor, log), identity(cursor)


def _by_extensions(database: Database, campaign_ids: Sequence[int], limit: int, seconds: float) -> tuple[Log, Identity]:
    """Return the same with pg_walinspect and pageinspect, which may be made for it and are gone afterwards."""
    from listmonk_doctor.commands._progress import Bar
    from listmonk_doctor.database.snapshot import rolled_back, snapshot
    from listmonk_doctor.timeline.look import identity
    from listmonk_doctor.timeline.wal.ways import find_ways, read_by

    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
        makes = find_ways(cursor).makes
    opening = rolled_back if makes else snapshot
    with opening(database.conn, schema=database.schema, timeout=database.timeout) as cursor, Bar(TEXT) as bar:
        ways = find_ways(cursor)
        log = read_by(cursor, ways, list(campaign_ids), limit=limit, seconds=seconds, progress=bar)
        return _own(cursor, log), identity(cursor)


def _own(cursor: Cursor, log: Log) -> Log:
    """Return a log with what this program wrote itself marked as such, or with a note that it cannot be told."""
    from listmonk_doctor.timeline.own import marked, read_own

    writes = read_own(cursor, [each.campaign_uuid for each in log.timelines.values()])
    if writes is None:
        return replace(log, notes=(*log.notes, UNTOLD))
    return replace(log, timelines={each: marked(of, writes) for each, of in log.timelines.items()})
