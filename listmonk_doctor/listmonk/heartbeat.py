"""Owns judging from a row's versions over time whether a pipe is open on it; pure, the looks are server.py's.

Since 3.0.0 each scan writes the row of every open pipe, even when nothing was sent, so that its `xmin`
changes once a period (5.0 s). Watched on 4.1.0, 5.0.3 and 6.2.0, read in the source for 3.0.0 and later.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Pipe = Literal["open", "none", "cannot-tell", "not-looked"]

NEAREST: Final = 0.8
"""A heartbeat follows the last one after at least this many periods (4 s) ..."""
FARTHEST: Final = 1.2
"""... and at most this many (6 s); anything else is another tool's write."""
SURE: Final = 2.2
"""After this many periods (11 s) without a change two heartbeats would have been missed."""


@dataclass(frozen=True, slots=True)
class Row:
    """A campaign's row at one look: `xmin` is its version as text, `at` seconds on any steady clock."""

    at: float
    xmin: str
    status: str
    sent: int
    cursor: int


def judge_pipe(
    rows: Sequence[Row | None],
    *,
    running: bool | None,
    scanned: bool,
    period: float,
    heartbeat: bool = True,
) -> Pipe:
    """Tell whether a pipe is open on a row that was looked at repeatedly, oldest first (None: no such row).

    `running`: whether a server was scanning meanwhile (None: cannot tell); `scanned`: whether a scan was
    seen to begin and end in that time and none to wait; `heartbeat` False is for servers before 3.0.0,
    whose silence proves nothing. "none" needs silence and scans that would have broken it, or no server at
    all. A row that is picked up and dropped at every scan (M7) beats, too.
    """
    if running is False:
        return "none"
    there = [row for row in rows if row is not None]
    if len(there) < len(rows) or not there:
        return "cannot-tell"
    if _beats(there, period) or _sends(there) >= (2 if heartbeat else 1):
        return "open"
    silent = all(before.xmin == after.xmin for before, after in pairwise(there))
    long_enough = there[-1].at - there[0].at >= SURE * period
    return "none" if running and scanned and heartbeat and silent and long_enough else "cannot-tell"


def _beats(rows: Sequence[Row], period: float) -> bool:
    """Tell whether two changes follow each other at a heartbeat's distance.

    A change happened between two looks; the middle is taken, so looks must be a fraction of a period apart.
    """
    changes = [(before.at + after.at) / 2 for before, after in pairwise(rows) if before.xmin != after.xmin]
    return any(NEAREST * period <= later - earlier <= FARTHEST * period for earlier, later in pairwise(changes))


def _sends(rows: Sequence[Row]) -> int:
    """Count the changes that a sending server makes: the campaign runs, and `sent` or the cursor went up.

    They come with each batch, at any distance. One alone may be a repair by hand.
    """
    return sum(
        before.status == after.status == "running" and (after.sent > before.sent or after.cursor > before.cursor)
        for before, after in pairwise(rows)
    )
