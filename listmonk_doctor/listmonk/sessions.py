"""Owns one look at the database's sessions: which could be a listmonk server's, and what each last did.

A server scans every 5.0 s, whatever it does; the text of its scan stays visible in `pg_stat_activity` until
the session does something else. Watched on 4.1.0 and 6.2.0. All thresholds are multiples of that period.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from listmonk_doctor.database.sqlfiles import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from listmonk_doctor.database.connection import Cursor

YOUNG: Final = 1.2
"""Periods: a scan younger than this (6 s) is the last of a server that is probably alive."""
OLD: Final = 2.0
"""Periods: a server whose last scan is older than this (10 s) does not scan any more."""

Standing = Literal["alive", "none", "probably", "cannot-tell"]

STANDBY: Final = "this is a standby: the sessions of a listmonk server are at the primary"


class Backend(NamedTuple):
    """One session that could be a listmonk's; `age` is in seconds since its state last changed.

    `kind`: scan and fetch are listmonk's own statements; hidden and untracked do not show theirs.
    """

    pid: int
    client_addr: str | None
    backend_start: datetime | None
    query_start: datetime | None
    age: float
    active: bool
    kind: Literal["scan", "fetch", "other", "hidden", "untracked"]

    def fresh(self, periods: float, period: float) -> bool:
        """Tell whether it did something within so many periods, or is at it now (waiting for a lock, say)."""
        return self.active or self.age < periods * period


class Look(NamedTuple):
    """What one look at the sessions says.

    `standing`: alive (a scan is being run at this moment), probably (its last scan is under 6 s old; another
    client may just have left), none (nobody who could be scanning is there), cannot-tell. `because` says why.
    """

    at: datetime
    standby: bool
    scanners: tuple[Backend, ...]
    others: tuple[Backend, ...]
    standing: Standing
    because: str

    @property
    def running(self) -> bool | None:
        """False where no server scans, else None: one look proves no server."""
        return False if self.standing == "none" else None

    @property
    def veiled(self) -> int:
        """How many sessions do not show what they run."""
        return sum(other.kind in ("hidden", "untracked") for other in self.others)

    def quiet(self, period: float) -> bool:
        """Tell whether nobody can be scanning: all sessions are seen, and none did anything for a while.

        A later statement of the same session may hide a scan's text, but then that one is recent.
        """
        return not (
            self.standby
            or self.veiled
            or any(backend.fresh(OLD, period) for backend in self.scanners)
            or any(other.fresh(YOUNG, period) for other in self.others)
        )

    def servers(self, period: float) -> int:
        """Return how many servers this look shows, at least: one leaves a single scan within 0.9 periods."""
        scans = sum(backend.kind == "scan" and backend.age < 0.9 * period for backend in self.scanners)
        return scans or int(any(backend.fresh(YOUNG, period) for backend in self.scanners))


def look_at(cursor: Cursor, period: float) -> Look:
    """Take one look; a transaction sees one moment, so a second look needs another."""
    rows = cursor.execute(read("facts/backends.sql")).fetchall()
    at, standby = rows[0][:2]
    backends = [Backend(*row[2:]) for row in rows if row[2] is not None]
    scanners = tuple(backend for backend in backends if backend.kind in ("scan", "fetch"))
    others = tuple(backend for backend in backends if backend.kind not in ("scan", "fetch"))
    standing, because = _judge(scanners, others, period, standby=standby)
    return Look(at, standby, scanners, others, standing, because)


def veiled_because(number: int) -> str:
    """Say why sessions cannot be judged, and what would help."""
    sessions = "1 other session does" if number == 1 else f"{number} other sessions do"
    return (
        f"{sessions} not show what is run: connect with listmonk's own role or with one that was granted "
        "pg_read_all_stats (and track_activities must be on)"
    )


def _judge(
    scanners: Sequence[Backend],
    others: Sequence[Backend],
    period: float,
    *,
    standby: bool,
) -> tuple[Standing, str]:
    """Return what one look proves, and the sentence why: the first line that holds."""
    age = min((backend.age for backend in scanners), default=math.inf)
    veiled = sum(other.kind in ("hidden", "untracked") for other in others)
    restless = sum(other.fresh(YOUNG, period) for other in others)
    several = "1 other session" if restless == 1 else f"{restless} other sessions"
    verdicts: tuple[tuple[bool, Standing, str], ...] = (
        (standby, "cannot-tell", STANDBY),
        (
            any(backend.active for backend in scanners),
            "alive",
            "a listmonk server is running a statement at this moment",
        ),
        (age < YOUNG * period, "probably", f"a listmonk server scanned {age:.1f} s ago"),
        (veiled > 0, "cannot-tell", veiled_because(veiled)),
        (
            bool(scanners),
            "cannot-tell",
            f"a listmonk server scanned last {age:.0f} s ago, and one look cannot tell what became of it",
        ),
        (
            restless > 0,
            "cannot-tell",
            f"{several} did something within the last {YOUNG * period:g} s, which may hide a scan",
        ),
    )
    return next(
        ((standing, because) for holds, standing, because in verdicts if holds),
        ("none", "no session is there that could be a scanning listmonk server's"),
    )
