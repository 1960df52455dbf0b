"""Owns replaying a recorded accident's polls as writes to a loaded database, looked at by the real recorder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.timeline.look import identity, look
from listmonk_doctor.timeline.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from psycopg import Connection

    from listmonk_doctor.demo.recording import Poll, Recording
    from listmonk_doctor.timeline.look import Identity, Look

FIRST_SCAN = timedelta(seconds=4.95)
"""From the recorded step that says a server was started until its first scan."""
AFTER_RELOAD = timedelta(seconds=4.07)
"""From the recorded step that says a server is up again after a reload until its first scan."""
RESET = """
UPDATE campaigns SET status = %s, sent = %s, to_send = %s, last_subscriber_id = %s, max_subscriber_id = %s,
                     updated_at = %s, started_at = %s
WHERE id = %s
"""
SCAN = b"""WITH camps AS (SELECT unnest(%s::int[]) AS id)
UPDATE campaigns SET sent = sent FROM camps WHERE campaigns.id = camps.id"""


@dataclass(frozen=True)
class Run:
    """One life of a recorded server: its process lives from `start` to `end` (None: to the end)."""

    start: datetime
    end: datetime | None
    first_scan: datetime

    def scans(self, after: datetime, until: datetime) -> bool:
        """Tell whether a scan fell into (after, until]."""
        if self.end is not None and self.end <= after:
            return False
        due = self.first_scan
        while due <= after:
            due += timedelta(seconds=5)
        return due <= until and (self.end is None or due < self.end)


def runs(recording: Recording) -> list[Run]:
    """Return the lives of the recorded servers, by the recording's steps."""
    found: list[Run] = []
    for step in recording.incident["steps"]:
        at, what = _moment(step["at"]), step["step"]
        if what.startswith(("listmonk killed", "Restart pressed", "listmonk stopped")):
            found[-1] = replace(found[-1], end=at)
        elif what.startswith(("listmonk started", "a second listmonk started")):
            found.append(Run(at, None, at + FIRST_SCAN))
        elif what.startswith("listmonk is up again"):
            found.append(Run(at, None, at + AFTER_RELOAD))
    return found


def _moment(text: str) -> datetime:
    from datetime import datetime

    return datetime.fromisoformat(text)


class Replay:
    """Steps a loaded database through a recording's polls, and lets the real recorder look at each.

    The times of the looks are those of the polls, moved as the recording was when it was loaded. `keep` says, by the
    number of the poll, whether the recorder looks; what it does not see is written all the same.
    """

    def __init__(self, dsn: str, recording: Recording, shift: timedelta, *, sessions: bool = True) -> None:
        """Take a database into which the recording was loaded whole."""
        self.dsn, self.recording, self.shift, self.sessions = dsn, recording, shift, sessions
        self.runs = runs(recording)
        self.ids = sorted({poll.id for poll in recording.polls})
        self._servers: dict[int, Connection[Any]] = {}

    def record(self, file: Path, keep: Callable[[int], bool] = lambda _: True) -> None:
        """Replay all polls and record those that are kept; at the end the rows are as they were loaded."""
        looks = list(self.looks())
        with Recorder(file, self.source) as recorder:
            for number, seen in enumerate(looks):
                if keep(number):
                    recorder.add(seen)

    @property
    def source(self) -> Identity:
        """Which database this is."""
        with psycopg.connect(self.dsn, autocommit=True) as conn, snapshot(conn, schema="public") as cursor:
            return identity(cursor)

    def looks(self) -> Iterator[Look]:
        """Replay all polls, and give what a look sees after each."""
        moments = sorted({poll.ts for poll in self.recording.polls})
        by_moment: dict[datetime, list[Poll]] = {at: [] for at in moments}
        for poll in self.recording.polls:
            by_moment[poll.ts].append(poll)
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            rows: list[Any] = conn.execute("SELECT id, started_at FROM campaigns").fetchall()
            started = dict(rows)
            held: dict[int, Poll] = {}
            before = moments[0] - timedelta(seconds=1)
            for at in moments:
                self._step(conn, by_moment[at], held, started, before, at)
                before = at
                with snapshot(conn, schema="public") as cursor:
                    seen = look(cursor, self.ids, settings=True)
                pace = replace(seen.pace, at=at + self.shift) if seen.pace else None
                yield replace(seen, at=at + self.shift, pace=pace)
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _step(  # noqa: PLR0913, PLR0917 - what one step needs
        self,
        conn: Connection[Any],
        polls: list[Poll],
        held: dict[int, Poll],
        started: dict[int, datetime | None],
        before: datetime,
        at: datetime,
    ) -> None:
        """Write what changed between two polls: the rows, else a heartbeat where one fell due on an open pipe."""
        self._connect(at)
        scanning = [number for number, run in enumerate(self.runs) if run.scans(before, at)]
        beating = []
        for poll in polls:
            last = held.get(poll.id)
            if last is None or _row(last) != _row(poll):
                begun = started[poll.id]
                conn.execute(
                    RESET,
                    (
                        poll.status,
                        poll.sent,
                        poll.to_send,
                        poll.last_subscriber_id,
                        poll.max_subscriber_id,
                        poll.updated_at + self.shift,
                        begun if begun is not None and begun - self.shift <= at else None,
                        poll.id,
                    ),
                )
            elif poll.status == "running" and poll.last_subscriber_id > 0:
                beating.append(poll.id)
            held[poll.id] = poll
        for number in scanning:
            server = self._servers.get(number)
            if server is not None:
                server.execute(SCAN, (beating,))
            elif beating and not self.sessions:
                conn.execute(SCAN, (beating,))

    def _connect(self, at: datetime) -> None:
        """Let the servers' sessions come and go with their processes."""
        if not self.sessions:
            return
        for number, run in enumerate(self.runs):
            alive = run.start <= at and (run.end is None or at < run.end)
            if alive and number not in self._servers:
                self._servers[number] = psycopg.connect(self.dsn, autocommit=True, application_name="")
            elif not alive and number in self._servers:
                self._servers.pop(number).close()


def _row(poll: Poll) -> tuple[Any, ...]:
    return (poll.status, poll.sent, poll.to_send, poll.last_subscriber_id, poll.max_subscriber_id, poll.updated_at)
