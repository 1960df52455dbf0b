"""Owns the shape of a recording's SQLite file, and opening it: whatever is wrong with it is one sentence.

Moments are whole microseconds since 1970 in UTC, by the database's clock.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import DoctorError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION: Final = 0x6C6D6472
"""SQLite's application_id of a recording ("lmdr")."""
FORMAT: Final = 2
"""What is written; the first one, without `source`, `place` and `linked` of a version, is read as well."""
FIRST_FORMAT: Final = 1
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

TABLES: Final = """
CREATE TABLE source (cluster TEXT NOT NULL, database TEXT NOT NULL, number TEXT NOT NULL, campaigns TEXT NOT NULL);
CREATE TABLE stretch (
    id INTEGER PRIMARY KEY, campaign INTEGER NOT NULL, uuid TEXT NOT NULL, name TEXT NOT NULL,
    began INTEGER NOT NULL, ended INTEGER NOT NULL
);
CREATE TABLE version (
    stretch INTEGER NOT NULL REFERENCES stretch, after INTEGER NOT NULL, before INTEGER NOT NULL,
    until INTEGER NOT NULL, status TEXT NOT NULL, sent INTEGER NOT NULL, to_send INTEGER NOT NULL,
    cursor INTEGER NOT NULL, ceiling INTEGER NOT NULL, started_at INTEGER, updated_at INTEGER, xmin TEXT NOT NULL,
    source TEXT NOT NULL DEFAULT 'recording', place INTEGER, linked INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX version_of ON version (stretch, before);
CREATE TABLE gap (stretch INTEGER NOT NULL REFERENCES stretch, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
    because TEXT NOT NULL);
CREATE TABLE pace (
    at INTEGER NOT NULL, batch_size INTEGER NOT NULL, concurrency INTEGER NOT NULL, message_rate INTEGER NOT NULL,
    window_rate INTEGER NOT NULL, window_seconds REAL NOT NULL, version TEXT NOT NULL
);
CREATE TABLE session (first INTEGER NOT NULL, until INTEGER NOT NULL, names TEXT NOT NULL, visible INTEGER NOT NULL,
    waiting INTEGER NOT NULL, servers INTEGER NOT NULL);
"""

UPGRADE: Final = f"""
BEGIN IMMEDIATE;
ALTER TABLE version ADD COLUMN source TEXT NOT NULL DEFAULT 'recording';
ALTER TABLE version ADD COLUMN place INTEGER;
ALTER TABLE version ADD COLUMN linked INTEGER NOT NULL DEFAULT 1;
PRAGMA user_version = {FORMAT};
COMMIT;
"""


def stamp(moment: datetime) -> int:
    """Return a moment as the file holds it."""
    return (moment - EPOCH) // _MICROSECOND


def moment(stamped: int) -> datetime:
    """Return the moment that the file holds as a number. Raises OverflowError or TypeError where it is none."""
    return EPOCH + timedelta(microseconds=stamped)


def broken(path: Path, why: str) -> UsageError:
    """Return the error for a file that is no recording."""
    return UsageError(
        f"The recording {path} cannot be used: {why}.", hint="Name a file that watch --record or timeline --save made."
    )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a file that cannot be written into one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise DoctorError(
            f"The recording {path} cannot be written: {error}.",
            hint="Is the disk full, or may the file not be written? What was recorded before is kept.",
        ) from None


def open_to_write(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Open a recording to append to it, or make one with mode 0600; tell whether it is new.

    Every commit is on the disk before the next look, so that whoever kills the program loses one look at most.
    Raises UsageError where the file is something else, DoctorError where it cannot be written.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        new = path.stat().st_size == 0
    except OSError as error:
        raise UsageError(
            f"The recording {path} cannot be written: {error.strerror}.", hint="Name another file."
        ) from None
    try:
        base = sqlite3.connect(path, timeout=5, isolation_level=None)
        base.execute("PRAGMA trusted_schema = OFF")
        if not new:
            _check(base, path)
        base.execute("PRAGMA journal_mode = DELETE")
        base.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as error:
        raise broken(path, str(error)) from None
    if not new and version_of(base) == FIRST_FORMAT:
        with explained(path):
            base.executescript(UPGRADE)
    if new:
        with explained(path):
            base.executescript(f"BEGIN; {TABLES} COMMIT;")
            base.execute(f"PRAGMA application_id = {APPLICATION}")
            base.execute(f"PRAGMA user_version = {FORMAT}")
    return base, new


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a recording to read it. Raises UsageError where it cannot be read or is something else."""
    if not path.is_file():
        raise broken(path, "there is no such file" if not path.exists() else "it is no file")
    try:
        # Whoever was killed in mid write left a journal, which only a writer may roll back.
        mode = "rw" if path.with_name(f"{path.name}-journal").exists() and os.access(path, os.W_OK) else "ro"
        base = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=5, isolation_level=None)
        base.execute("PRAGMA trusted_schema = OFF")
        _check(base, path)
    except sqlite3.Error as error:
        raise broken(path, str(error)) from None
    return base


def version_of(base: sqlite3.Connection) -> int:
    """Return the format that a file says it has."""
    (version,) = base.execute("PRAGMA user_version").fetchone()
    return int(version)


def _check(base: sqlite3.Connection, path: Path) -> None:
    """Raise UsageError where an SQLite file is no recording, is a newer one, or is damaged."""
    (application,) = base.execute("PRAGMA application_id").fetchone()
    version = version_of(base)
    if application != APPLICATION:
        raise broken(path, "it is not a recording")
    if not FIRST_FORMAT <= version <= FORMAT:
        raise broken(path, f"it has the format {version}, and only those up to {FORMAT} are known here")
    (fine,) = base.execute("PRAGMA quick_check(1)").fetchone()
    if fine != "ok":
        raise broken(path, "it is damaged")
