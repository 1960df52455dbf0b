"""Owns playing listmonk's scanners on a loaded recording: what their sessions and heartbeats look like from outside."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.demo.loading import demo_sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from psycopg import Connection

    from listmonk_doctor.demo.recording import Recording

SCAN_INTERVAL: Final = 5.0
"""Seconds between two scans of a listmonk server."""


class Player:
    """Some listmonk servers that scan one database; a context manager, the first scans done when it is entered.

    Each server is two sessions: one that ran the start-up and rests, one whose scan begins `WITH camps AS` every
    `interval` seconds. The first server holds the pipes: its scans move the `xmin` of the campaigns `open_pipes` and
    nothing else. With `drops_empty` the scans also move `updated_at` of due campaigns with nobody to mail, as 4.0.0 to
    5.0.0 do. A scan that fails ends its server and is raised when the player is left.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        dsn: str,
        *,
        servers: int = 1,
        open_pipes: Sequence[int] = (),
        drops_empty: bool = False,
        interval: float = SCAN_INTERVAL,
        schema: str = "public",
    ) -> None:
        """Take `interval` in seconds; nothing runs before the player is entered."""
        self._servers = [
            _Server(
                dsn,
                pipes=list(open_pipes) if number == 0 else [],
                drops_empty=drops_empty,
                schema=schema,
                interval=interval,
                delay=interval * number / servers,
            )
            for number in range(servers)
        ]

    @property
    def scans(self) -> list[int]:
        """How many scans each server has done so far."""
        return [server.scans for server in self._servers]

    def __enter__(self) -> Self:
        """Start the servers."""
        with contextlib.ExitStack() as started:
            for server in self._servers:
                started.callback(server.stop)
                server.start()
            started.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the servers; raise what ended one of them early, unless something is being raised already."""
        for server in self._servers:
            server.stop()
        for server in self._servers:
            if server.failure is not None and kind is None:
                raise server.failure


class _Server:
    """One server: two sessions and a thread that ticks."""

    def __init__(  # noqa: PLR0913 - a record of what the player was told
        self,
        dsn: str,
        *,
        pipes: list[int],
        drops_empty: bool,
        schema: str,
        interval: float,
        delay: float,
    ) -> None:
        self.scans = 0
        self.failure: Exception | None = None
        self._dsn = dsn
        self._schema = schema
        self._parameters: dict[str, Any] = {"pipes": pipes, "drops": drops_empty}
        self._scan = demo_sql("scan.sql")
        self._interval = interval
        self._delay = delay
        self._leave = threading.Event()
        self._sessions: list[Connection[tuple[Any, ...]]] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the sessions, scan once, and go on in a thread."""
        self._open().execute("SELECT key, value FROM settings ORDER BY key")
        ticking = self._open()
        self._tick(ticking)
        self._thread = threading.Thread(target=self._run, args=[ticking], name="listmonk-scanner", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, also out of a scan that waits for a lock, and close the sessions."""
        self._leave.set()
        while self._thread is not None and self._thread.is_alive():
            self._sessions[-1].cancel()
            self._thread.join(0.05)
        for session in self._sessions:
            session.close()

    def _open(self) -> Connection[tuple[Any, ...]]:
        """Open a session that looks like one of listmonk's: no application name, nothing held open."""
        import psycopg
        from psycopg import sql

        session = psycopg.connect(self._dsn, autocommit=True, application_name="")
        self._sessions.append(session)
        session.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(self._schema)))
        return session

    def _tick(self, session: Connection[tuple[Any, ...]]) -> None:
        session.execute(self._scan, self._parameters)
        self.scans += 1

    def _run(self, session: Connection[tuple[Any, ...]]) -> None:
        """Scan at regular moments until told to leave."""
        due = time.monotonic() + (self._delay or self._interval)
        try:
            while not self._leave.wait(max(0.0, due - time.monotonic())):
                self._tick(session)
                due += self._interval
        except Exception as error:  # noqa: BLE001 - raised where the player is left
            if not self._leave.is_set():
                self.failure = error


@contextlib.contextmanager
def play(
    dsn: str,
    recording: Recording,
    *,
    interval: float = SCAN_INTERVAL,
    schema: str = "public",
) -> Iterator[Player]:
    """Play the servers that were scanning when the recording was made, for the length of a `with` block."""
    with Player(
        dsn,
        servers=recording.servers_scanning,
        open_pipes=recording.open_pipes,
        drops_empty=drops_empty_audiences(recording.version),
        interval=interval,
        schema=schema,
    ) as player:
        yield player


def drops_empty_audiences(version: str) -> bool:
    """Say whether a version (`v4.1.0`) picks up and drops a due campaign with nobody to mail at each scan."""
    numbers = tuple(int(part) for part in version.removeprefix("v").split("."))
    return (4, 0, 0) <= numbers <= (5, 0, 0)
