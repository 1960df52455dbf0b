"""Owns the flight recorder: what looks see of campaigns' progress, kept in an SQLite file as it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import UsageError
from listmonk_doctor.timeline.model import LATE
from listmonk_doctor.timeline.store import explained, open_to_write, stamp

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from sqlite3 import Connection
    from types import TracebackType
    from typing import Self

    from listmonk_doctor.timeline.look import Identity, Look, Progress, Servers
    from listmonk_doctor.timeline.model import Pace


COLUMNS: Final = (
    "stretch, after, before, until, status, sent, to_send, cursor, ceiling, started_at, updated_at, xmin, "
    "source, place, linked"
)
INSERT: Final = f"INSERT INTO version ({COLUMNS}) VALUES ({', '.join('?' * 15)})"  # noqa: S608 - constant text


def claim(base: Connection, path: Path, source: Identity, *, new: bool) -> None:
    """Say in a new file of which database it is; raise UsageError where a file is of another one."""
    if new:
        with explained(path):
            values = (source.cluster, source.database, source.number, source.campaigns)
            base.execute("INSERT INTO source VALUES (?, ?, ?, ?)", values)
        return
    from listmonk_doctor.timeline.recording import read_identity

    held = read_identity(base, path)
    if not held.same(source):
        base.close()
        raise UsageError(
            f'The recording {path} is of another database ("{held.database}").',
            hint="Name a new file: one recording holds one database.",
        )


def pace_row(pace: Pace) -> tuple[object, ...]:
    """Return settings as the file holds them, without their moment."""
    return (
        pace.batch_size,
        pace.concurrency,
        pace.message_rate,
        pace.window_rate,
        pace.window_seconds,
        pace.version,
    )


@dataclass(slots=True)
class _Open:
    """The stretch that is being recorded for one campaign: its number, the version's row, and the last look."""

    stretch: int
    version: int
    xmin: str
    last: datetime


class Recorder:
    """Appends looks to a file; a context manager. One commit per look: whoever kills it loses that one at most.

    A file of another database is refused (UsageError). Several campaigns may share a file; each run makes stretches
    of its own. Raises DoctorError where the file can no longer be written (a full disk).
    """

    def __init__(self, path: Path, source: Identity) -> None:
        """Open or make the file, mode 0600."""
        self.path = path
        self._base, new = open_to_write(path)
        self._because = ""
        self._open: dict[int, _Open] = {}
        self._known: set[str] = set()
        self._sessions: tuple[int, tuple[object, ...]] | None = None
        self._pace: tuple[object, ...] | None = None
        claim(self._base, path, source, new=new)

    def add(self, look: Look) -> None:
        """Keep what a look saw; times must not run backward."""
        with explained(self.path):
            self._base.execute("BEGIN")
            try:
                for row in look.rows.values():
                    self._row(row, look.at)
                self._servers(look.servers, look.at)
                if look.pace is not None:
                    self._settings(look.pace)
                self._base.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def gap(self, because: str) -> None:
        """Say why nobody looks from the last look on (a lost connection); it ends with the next look."""
        self._because = because

    def _roll_back(self) -> None:
        import sqlite3

        try:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
        except sqlite3.Error:
            self._base.close()

    def _row(self, row: Progress, at: datetime) -> None:
        """Extend the version that is still there, or begin a new one."""
        held = self._open.get(row.id)
        if held is None:
            cursor = self._base.execute(
                "INSERT INTO stretch (campaign, uuid, name, began, ended) VALUES (?, ?, ?, ?, ?)",
                (row.id, row.uuid, row.name, stamp(at), stamp(at)),
            )
            held = _Open(cursor.lastrowid or 0, 0, "", at)
            self._open[row.id] = held
        elif (at - held.last).total_seconds() > LATE:
            because = self._because or "the looks came late"
            values = (held.stretch, stamp(held.last), stamp(at), because)
            self._base.execute("INSERT INTO gap VALUES (?, ?, ?, ?)", values)
        if row.xmin == held.xmin:
            self._base.execute("UPDATE version SET until = ? WHERE rowid = ?", (stamp(at), held.version))
        else:
            held.version = self._version(row, held, at)
            held.xmin = row.xmin
        self._base.execute("UPDATE stretch SET ended = ? WHERE id = ?", (stamp(at), held.stretch))
        held.last = at

    def _version(self, row: Progress, held: _Open, at: datetime) -> int:
        """Write a new version of the row and return its place."""
        values = (
            held.stretch,
            stamp(held.last),
            stamp(at),
            stamp(at),
            row.status,
            row.sent,
            row.to_send,
            row.cursor,
            row.ceiling,
            stamp(row.started_at) if row.started_at else None,
            stamp(row.updated_at) if row.updated_at else None,
            row.xmin,
            "recording",
            None,
            1,
        )
        return self._base.execute(INSERT, values).lastrowid or 0

    def _servers(self, servers: Servers, at: datetime) -> None:
        """Keep which of listmonk's sessions were there: only those that were once seen to scan or fetch."""
        self._known |= servers.scanning
        names = " ".join(sorted(servers.busy & self._known))
        held = (names, int(servers.visible), int(servers.waiting), servers.count)
        if self._sessions is not None and self._sessions[1] == held:
            self._base.execute("UPDATE session SET until = ? WHERE rowid = ?", (stamp(at), self._sessions[0]))
            return
        values = (stamp(at), stamp(at), *held)
        place = self._base.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)", values).lastrowid or 0
        self._sessions = (place, held)

    def _settings(self, pace: Pace) -> None:
        """Keep the settings where they changed."""
        held = pace_row(pace)
        if held != self._pace:
            self._base.execute("INSERT INTO pace VALUES (?, ?, ?, ?, ?, ?, ?)", (stamp(pace.at), *held))
            self._pace = held

    def __enter__(self) -> Self:
        """Nothing is done before the first look."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; what was added is in it already."""
        self._base.close()
