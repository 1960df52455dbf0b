"""Owns the work of `watch`: looking once a second, keeping and judging what is seen, outliving a lost connection."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from listmonk_doctor.commands import _watch_views
from listmonk_doctor.commands._expecting import expected, picked_up
from listmonk_doctor.commands._options import Format
from listmonk_doctor.commands._session import Database, found, opened, warn_if_newer
from listmonk_doctor.errors import ConnectionFailedError, DoctorError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from listmonk_doctor.commands._options import Where
    from listmonk_doctor.commands._watch_views import View
    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.diagnosis.watching import Watch
    from listmonk_doctor.timeline.look import Look
    from listmonk_doctor.timeline.recorder import Recorder

SETTINGS_EVERY: Final = 5
"""Looks from one at the settings to the next."""
LONGEST_LOOK: Final = 4.0
"""Seconds that one look may take: a later answer would leave a gap anyhow."""
BACKOFF: Final = (1.0, 2.0, 5.0)
"""Seconds from one attempt to connect again to the next; the last one stays."""
_GOING_ON: Final = ("running", "paused", "scheduled")


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line of `watch` says."""

    campaigns: tuple[str, ...]
    all_running: bool
    record: Path | None
    seconds: float | None
    every: float
    output: Format | None


def check(asked: Request) -> None:
    """Raise UsageError for a command line that does not say what to watch, or asks for what cannot be."""
    if bool(asked.campaigns) == asked.all_running:
        raise UsageError("Say which campaign to watch, or --all-running.", hint="watch CAMPAIGN [CAMPAIGN ...]")
    if asked.output is Format.CSV:
        raise UsageError("watch has no CSV.", hint="Use --format json: one object per line.")


def run(asked: Request, where: Where) -> int:
    """Watch until everything has ended; return the exit code: 1 where there was an alarm."""
    from listmonk_doctor.diagnosis.watching import Watch
    from listmonk_doctor.timeline.growing import Growing

    with opened(where) as database:
        warn_if_newer(database)
        ids = _meant(database, asked)
        recorder = _recorder(database, asked.record)
        try:
            watches = {each: Watch(expected(database, each), Growing(each)) for each in ids}
            with _watch_views.view(asked.output, str(asked.record or "")) as view:
                follower = Follower(database, watches, recorder, view, every=asked.every, seconds=asked.seconds)
                follower.follow()
        finally:
            if recorder is not None:
                recorder.close()
    alarmed = any(watch.alarms for watch in watches.values())
    return int(ExitCode.FINDINGS if alarmed else ExitCode.OK)


def _meant(database: Database, asked: Request) -> list[int]:
    """Return the campaigns to watch. Raises UsageError where there is none."""
    if not asked.all_running:
        return list(dict.fromkeys(found(database, each).id for each in asked.campaigns))
    from listmonk_doctor.database.snapshot import snapshot

    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
        cursor.execute("SELECT id FROM campaigns WHERE status::text = ANY(%s) ORDER BY id", [list(_GOING_ON)])
        ids = [row[0] for row in cursor.fetchall()]
    if not ids:
        raise UsageError("No campaign is running, paused or scheduled.", hint="Name one: watch CAMPAIGN")
    return ids


def _recorder(database: Database, path: Path | None) -> Recorder | None:
    """Open the file to record to, before anything slow is done."""
    if path is None:
        return None
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.timeline.look import identity
    from listmonk_doctor.timeline.recorder import Recorder

    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
        return Recorder(path, identity(cursor))


@dataclass(slots=True)
class Follower:
    """Looks at campaigns again and again; `clock` and `sleep` are those of the process, or a test's."""

    database: Database
    watches: dict[int, Watch]
    recorder: Recorder | None
    view: View
    every: float = 1.0
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _conn: Connection | None = None
    _looks: int = 0
    _quiet: int = field(default=0)

    def follow(self) -> None:
        """Look until all campaigns have ended, time is up, or Ctrl-C is pressed."""
        began = due = self.clock()
        try:
            while True:
                seen = self._look()
                if seen is not None and not self._take(seen):
                    break
                if self.seconds is not None and self.clock() - began >= self.seconds:
                    break
                due = max(due + self.every, self.clock())
                self.sleep(max(0.0, due - self.clock()))
        except KeyboardInterrupt:
            self.view.note("Stopped watching; nothing was changed.")
        finally:
            if self._conn is not None:
                self._conn.close()
        for watch in self.watches.values():
            if watch.grown.versions:
                self.view.ended(watch)

    def _take(self, seen: Look) -> bool:
        """Keep and judge what was seen; tell whether there is something left to watch."""
        if self.recorder is not None:
            self.recorder.add(seen)
        running = self._running(seen)
        going = False
        for each, watch in self.watches.items():
            first = not watch.grown.versions
            if each not in seen.rows:
                continue
            changed = watch.grown.add(seen)
            self._know(each, watch)
            alarms = watch.judge(running=running)
            self.view.seen(watch, changed=changed, first=first, alarms=alarms)
            going = going or not watch.over
        return going

    def _know(self, campaign_id: int, watch: Watch) -> None:
        """Read the people of a campaign anew that had not been picked up when the watch began, once it has been."""
        if not watch.expected.provisional or watch.now.started_at is None:
            return
        try:
            database = self.database._replace(conn=self._conn or self.database.conn)
            watch.expected = picked_up(database, campaign_id, watch.expected)
        except DoctorError as error:  # the next look tries again
            self.view.note(f"Its people could not be read yet: {error.message}")

    def _running(self, seen: Look) -> bool | None:
        """Tell that no server scans where two looks in a row say so; one alone may fall between two sessions."""
        self._quiet = self._quiet + 1 if seen.servers.none else 0
        return False if self._quiet > 1 else None

    # -- the connection ------------------------------------------------------------------------------------------

    def _look(self) -> Look | None:
        """Look once; None where this look failed, which is said, and the connection is made anew if it is lost."""
        from listmonk_doctor.database.snapshot import snapshot
        from listmonk_doctor.timeline.look import look

        conn = self._conn or self.database.conn
        settings = self._looks % SETTINGS_EVERY == 0
        try:
            with snapshot(conn, schema=self.database.schema, timeout=LONGEST_LOOK) as cursor:
                seen = look(cursor, list(self.watches), settings=settings)
        except ConnectionFailedError as error:
            self._lost(error.message)
            return None
        except DoctorError as error:
            self.view.note(f"One look failed: {error.message}")
            return None
        self._looks += 1
        return seen

    def _lost(self, because: str) -> None:
        """Say that the connection is lost, and connect again, however long it takes."""
        from listmonk_doctor.database.connection import connect

        self.view.lost(because)
        if self.recorder is not None:
            self.recorder.gap("the connection was lost")
        began, attempt = self.clock(), 0
        while True:
            self.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
            attempt += 1
            try:
                conn = connect(self.database.target)
            except DoctorError:
                if self.seconds is not None and self.clock() - began >= self.seconds:
                    return
                continue
            if self._conn is not None:
                self._conn.close()
            self._conn, self._looks = conn, 0
            self.view.back(self.clock() - began)
            return
