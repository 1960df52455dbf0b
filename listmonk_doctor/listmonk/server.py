"""Owns telling whether a listmonk server scans this database, and on which campaigns it has a pipe open."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.listmonk.heartbeat import SURE, Pipe, Row, judge_pipe
from listmonk_doctor.listmonk.sessions import STANDBY, YOUNG, Look, look_at, veiled_because

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from listmonk_doctor.database.connection import Connection

PERIOD: Final = 5.0
"""Seconds between two scans of a server."""
SPACING: Final = 0.1
"""Periods between two looks while watching (0.5 s)."""
WAITED: Final = 0.5
"""Periods after which a scan that still runs is waiting for something, a lock for example."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """What is known of the server and of the pipes on some campaigns.

    `running`: True (scans were seen to go on), False (no server scans), None (cannot tell). `scanners`: how
    many servers, at least. `pipes` and `xmin` are by campaign id; a row that is not there has no xmin.
    `watched`: for how many seconds it was looked (0: one look).
    """

    running: bool | None
    scanners: int
    pipes: Mapping[int, Pipe]
    because: str
    xmin: Mapping[int, str]
    watched: float = 0.0


def look_once(conn: Connection, schema: str | None = None, *, period: float = PERIOD) -> Look:
    """Take one look at the sessions (milliseconds).

    With `schema` (or listmonk's on the search_path), sessions of roles that may not write campaigns are
    left out. Raises DoctorError as `snapshot` does.
    """
    with snapshot(conn, schema=schema) as cursor:
        return look_at(cursor, period)


def one_look_state(
    conn: Connection,
    schema: str,
    campaign_ids: Sequence[int],
    *,
    period: float = PERIOD,
) -> ServerState:
    """Return what one look says; whether a pipe is open was "not-looked" at."""
    sample = _sample(conn, schema, campaign_ids, period)
    return ServerState(
        running=sample.look.running,
        scanners=sample.look.servers(period),
        pipes=dict.fromkeys(campaign_ids, "not-looked"),
        because=sample.look.because,
        xmin=sample.xmin(),
    )


def two_looks(  # noqa: PLR0913 - all that can be asked for, by name
    conn: Connection,
    schema: str,
    campaign_ids: Sequence[int],
    *,
    distance: float | None = None,
    period: float = PERIOD,
    at_least: float = 0.0,
    heartbeat: bool = True,
    on_wait: Callable[[float], None] | None = None,
) -> ServerState:
    """Tell whether a server scans and whether pipes are open, by looks that are `distance` seconds apart.

    Where nobody is there who could be scanning, a second look half a second later confirms it, and that is
    all. (A connection that reaches its max_lifetime leaves a server without a session for up to a period,
    seldom: ask for `at_least` that many seconds of watching before a row that may be running is written.)
    Else it watches, twice a second, for `distance` (2.2 periods, 11 s, if not given or less), or until
    nobody is there any more; `on_wait` is given the seconds that are left. `heartbeat` False: the server is
    older than 3.0.0.

    Each look has a transaction of its own; `conn` is in autocommit mode. Raises DoctorError as `snapshot`
    does.
    """
    whole = max(distance or 0.0, SURE * period)
    began = time.monotonic()
    samples = [_sample(conn, schema, campaign_ids, period)]
    while True:
        watched = time.monotonic() - began
        settled = len(samples) > 1 and all(sample.look.quiet(period) for sample in samples[-2:])
        if (settled and watched >= at_least) or samples[-1].clock - samples[0].clock >= whole:
            break
        if on_wait is not None and not samples[-1].look.quiet(period):
            on_wait(max(0.0, whole - watched))
        time.sleep(SPACING * period)
        samples.append(_sample(conn, schema, campaign_ids, period))
    verdict = _judge([sample.look for sample in samples], period, settled=settled)
    rows = {wanted: [sample.rows.get(wanted) for sample in samples] for wanted in campaign_ids}
    return ServerState(
        running=verdict.running,
        scanners=verdict.scanners,
        pipes={
            wanted: judge_pipe(
                seen,
                running=verdict.running,
                scanned=verdict.scanned,
                period=period,
                heartbeat=heartbeat,
            )
            for wanted, seen in rows.items()
        },
        because=verdict.because,
        xmin=samples[-1].xmin(),
        watched=samples[-1].clock - samples[0].clock,
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    """One moment of a watch: the sessions and the rows; `clock` is in seconds, monotonic."""

    clock: float
    look: Look
    rows: Mapping[int, Row]

    def xmin(self) -> dict[int, str]:
        return {campaign: row.xmin for campaign, row in self.rows.items()}


def _sample(conn: Connection, schema: str, campaign_ids: Sequence[int], period: float) -> _Sample:
    """Look at the sessions and the rows in a transaction of its own, so that both are of this moment."""
    with snapshot(conn, schema=schema) as cursor:
        look = look_at(cursor, period)
        rows: list[tuple[Any, ...]] = []
        if campaign_ids:
            cursor.execute(
                "SELECT id, xmin::text, status::text, sent, last_subscriber_id FROM campaigns WHERE id = ANY(%s)",
                [list(campaign_ids)],
            )
            rows = cursor.fetchall()
        clock = time.monotonic()
    return _Sample(clock, look, {row[0]: Row(clock, *row[1:]) for row in rows})


class _Verdict(NamedTuple):
    """What a watch says; `scanned`: a scan was seen to begin and end, and none to wait."""

    running: bool | None
    scanners: int
    because: str
    scanned: bool = False


def _judge(looks: Sequence[Look], period: float, *, settled: bool) -> _Verdict:
    """Return what the looks of one watch say together."""
    last = looks[-1]
    if settled:
        return _Verdict(running=False, scanners=0, because=_why_none(looks))
    if last.standby:
        return _Verdict(running=None, scanners=0, because=STANDBY)
    watch = _Watch(looks, period)
    if watch.goes_on():
        return _Verdict(
            running=True,
            scanners=watch.servers(),
            because=watch.told(),
            scanned=watch.undisturbed(),
        )
    if any(backend.active for backend in last.scanners):
        because = "a scan of listmonk's is waiting in the database, probably for a lock"
        return _Verdict(running=True, scanners=1, because=because)
    return _Verdict(running=None, scanners=int(bool(watch.moved)), because=watch.why_unclear())


def _why_none(looks: Sequence[Look]) -> str:
    """Say in which way nobody scans."""
    if looks[-1].scanners:
        age = min(backend.age for backend in looks[-1].scanners)
        return f"a listmonk server's session is still there, but it scanned last {age:.0f} s ago"
    if any(look.scanners for look in looks):
        return "the listmonk server that was there has left"
    return "no session is there that could be a scanning listmonk server's (two looks)"


class _Watch:
    """What happened between the first and the last of some looks, by the server's clock."""

    def __init__(self, looks: Sequence[Look], period: float) -> None:
        self.looks = looks
        self.period = period
        first = looks[0].at
        self.moved = [
            (backend, backend.query_start)
            for look in looks
            for backend in look.scanners
            if backend.query_start is not None and backend.query_start > first
        ]
        """listmonk's statements that began while it was looked; one may be seen several times."""
        self.scans = {(backend.pid, began) for backend, began in self.moved if backend.kind == "scan"}
        self.passed = (looks[-1].at - first).total_seconds()
        self.waited = any(
            backend.active and backend.age > WAITED * period for look in looks for backend in look.scanners
        )

    def _newest(self) -> datetime | None:
        return max((began for _, began in self.moved), default=None)

    def _age(self) -> float:
        """Return the seconds since the newest of listmonk's statements, infinite if none began."""
        newest = self._newest()
        return math.inf if newest is None else (self.looks[-1].at - newest).total_seconds()

    def goes_on(self) -> bool:
        """Tell whether a server was alive to the end: its last statement is young or hidden by one."""
        if self._age() < YOUNG * self.period:
            return True
        scanned = {(backend.pid, backend.backend_start) for backend, _ in self.moved}
        return any(
            (other.pid, other.backend_start) in scanned and other.fresh(YOUNG, self.period)
            for other in self.looks[-1].others
        )

    def undisturbed(self) -> bool:
        """Tell whether a scan began and ended and none had to wait: else a row's silence says nothing."""
        ended = any(backend.kind == "scan" and not backend.active for backend, _ in self.moved)
        return ended and not self.waited

    def servers(self) -> int:
        """Return how many servers there are, at least.

        One server scans once a period, on whichever of its sessions is free: what counts is the number of
        scans, not of sessions. Different addresses are different servers. A scan that waited is made up for
        at once, so then only addresses count.
        """
        addresses = {backend.client_addr for backend, _ in self.moved if backend.kind == "scan"}
        most_of_one = math.floor(self.passed / self.period) + 1
        by_number = 1 if self.waited else math.ceil(len(self.scans) / most_of_one)
        return max(1, len(addresses), by_number)

    def told(self) -> str:
        """Say what was seen of a server that is alive."""
        number = len(self.scans)
        scans = "1 scan" if number == 1 else f"{number} scans"
        return f"{scans} of listmonk's began within {self.passed:.1f} s" + (
            f", which is more than one server does: there are {self.servers()}" if self.servers() > 1 else ""
        )

    def why_unclear(self) -> str:
        """Say why nothing certain can be said of a server."""
        if self.moved:
            return f"a listmonk server scanned last {self._age():.0f} s ago: it may be stopping"
        if self.looks[-1].veiled:
            return veiled_because(self.looks[-1].veiled)
        return (
            f"no scan of listmonk's was seen within {self.passed:.1f} s, but other sessions are so busy that "
            "one may have been hidden"
        )
