"""Owns reading campaigns' timelines out of the write-ahead log for a command, with a bar while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from listmonk_doctor.commands._session import Database
    from listmonk_doctor.timeline.look import Identity
    from listmonk_doctor.timeline.wal.history import Log
    from listmonk_doctor.timeline.wal.shelf import Shelf

LIMIT: Final = 30
"""Segments of the log that are read at most, unless another number is asked for."""
SECONDS: Final = 30.0
TEXT: Final = "Reading the log"


def read(
    database: Database,
    campaign_ids: Sequence[int],
    *,
    folder: Path | None = None,
    limit: int = LIMIT,
    seconds: float = SECONDS,
) -> tuple[Log, Identity]:
    """Return what the log holds of campaigns, and which database it is; `folder` holds segments (None: the server's).

    It reads in a transaction of its own. Raises PrivilegeError, with the GRANTs, where the role may not read the
    server's log; RefusedError where the log cannot be decoded for certain.
    """
    from listmonk_doctor.commands._progress import Bar
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.timeline.look import identity
    from listmonk_doctor.timeline.wal.history import read_logs
    from listmonk_doctor.timeline.wal.shelf import FolderShelf, ServerShelf

    if folder is not None and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", hint="--wal names a folder with segments of the log.")
    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor, Bar(TEXT) as bar:
        shelf: Shelf = ServerShelf(cursor) if folder is None else FolderShelf(folder)
        log = read_logs(cursor, shelf, list(campaign_ids), limit=limit, seconds=seconds, progress=bar)
        return log, identity(cursor)
