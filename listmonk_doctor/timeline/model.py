"""Owns the timeline: the versions of one campaign's row over time, from whichever source, with what was not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from datetime import datetime

LATE: Final = 4.5
"""Seconds between two looks from which on they leave a gap: a sender can die and another begin within 5 s."""

Source = Literal["recording", "log", "page"]
"""Who saw a version: `watch --record`; the write-ahead log; the table's own page, where it stays until it is pruned."""


@dataclass(frozen=True, slots=True)
class RowVersion:
    """One version of a campaign's row.

    It was committed after `after` and not later than `before` (equal where the commit's own time is known), and was
    still the row at `until`. `cursor` and `ceiling` are subscriber ids, `sent` and `to_send` listmonk's counters,
    `xmin` the version as text. All moments are by the database's clock, in UTC. `place` is where its record begins in
    the log, in bytes (None: no record of it was read). `linked` False: versions may be missing between it and the one
    before it in the timeline. Of a version on a page whose commit is only bounded, `until` says no more than `before`.
    `by` is the run of this program that wrote it ("": it was somebody else).
    """

    after: datetime
    before: datetime
    until: datetime
    status: str
    sent: int
    to_send: int
    cursor: int
    ceiling: int
    started_at: datetime | None
    updated_at: datetime | None
    xmin: str
    source: Source = "recording"
    place: int | None = None
    linked: bool = True
    by: str = ""

    @property
    def dated(self) -> bool:
        """Whether the moment of its commit is known and not only bounded."""
        return self.after == self.before


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which nobody looked, and why."""

    start: datetime
    end: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Pace:
    """The settings that bound how fast and in which portions people are taken, as they were from `at` on.

    `window_rate` messages per `window_seconds` (0: no sliding window).
    """

    at: datetime
    batch_size: int
    concurrency: int
    message_rate: int
    window_rate: int
    window_seconds: float
    version: str

    @property
    def per_second(self) -> int:
        """The most messages that all workers hand over in one second."""
        return self.concurrency * self.message_rate


@dataclass(frozen=True, slots=True)
class Sessions:
    """listmonk's sessions that were at work from `first` to `until`, as names that one session has for its life.

    `visible` False: the role may not see what sessions run. `waiting`: a scan was held up, by a lock for example, so
    that a missing heartbeat says nothing. `servers` is how many servers scanned, at least.
    """

    first: datetime
    until: datetime
    names: frozenset[str]
    visible: bool
    waiting: bool
    servers: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is known of one campaign's row over time: its versions in order, and what was not seen.

    `began` and `ended` bound what was looked at; the first version was the row already when it began.
    """

    campaign_id: int
    campaign_uuid: str
    campaign_name: str
    began: datetime
    ended: datetime
    versions: tuple[RowVersion, ...]
    gaps: tuple[Gap, ...] = ()
    paces: tuple[Pace, ...] = ()
    sessions: tuple[Sessions, ...] = ()

    @property
    def last(self) -> RowVersion:
        """The row as it was seen last."""
        return self.versions[-1]

    @property
    def tested(self) -> bool:
        """Whether the row that was there when it ended is in it: a log's was held to what SELECT gives then."""
        return self.last.until >= self.ended
