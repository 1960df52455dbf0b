"""Owns the shapes of what a timeline means: lives of the sender, their fetches and ends, and what stayed unseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.model import Pace, RowVersion, Timeline

End = Literal["closed", "died", "perhaps-died", "open", "unseen"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """One or more batches that were taken between two looks: people with low < id <= high.

    Nobody above `low` was handed to a worker before `since`; `sent` is the counter at the next flush (None: there was
    none).
    """

    since: datetime
    low: int
    high: int
    sent: int | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a pipe, as far as it was seen.

    `begun`: its beginning was seen, so that it fetched nobody up to `low`, and what it counted is
    `sent_last - sent_first`; `to_send` is the largest count of its audience, `high` the last id that was seen fetched.
    How it ended: "closed" (an orderly end: `closed_at` is the highest id sent), "died" (it was killed, not later than
    `died_by`), "perhaps-died" (that cannot be told from going on), "open" (it was there when the look ended; `died_by`
    is set where it would have beaten since), "unseen" (it ended, or not, while nobody looked). `mixed`: what it counted
    may be another life's. `stopped`: it was paused or cancelled while it was open.
    """

    begun: bool
    low: int
    high: int
    fetches: tuple[Fetch, ...]
    sent_first: int
    sent_last: int
    to_send: int
    end: End
    last_write: datetime
    died_after: datetime | None = None
    died_by: datetime | None = None
    closed_at: int | None = None
    mixed: bool = False
    stopped: bool = False

    @property
    def reach(self) -> int:
        """The highest id that it may have mailed."""
        return self.high if self.closed_at is None else min(self.high, self.closed_at)

    @property
    def counted(self) -> int:
        """Mails that reached `sent` in this life."""
        return max(0, self.sent_last - self.sent_first)


@dataclass(frozen=True, slots=True)
class Overwrite:
    """A cursor that was set to `to_send` by a run that sent nothing (M2), or a batch that ended at just that id."""

    after: datetime
    before: datetime
    was: int
    became: int


class Unseen(NamedTuple):
    """A time in which nobody looked and the row changed: who may have been fetched (low < id <= high).

    `lives`: how many lives had ended by then. `moved`: mails were counted or the cursor moved.
    """

    low: int
    high: int
    lives: int
    moved: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened, in words, between two moments."""

    after: datetime
    before: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a timeline means.

    `from_start`: it was seen before anybody was fetched. `muddled` says why nothing may be concluded ("" where
    something may).
    """

    timeline: Timeline
    lives: tuple[Life, ...]
    from_start: bool
    unseen: tuple[Unseen, ...]
    overwrites: tuple[Overwrite, ...]
    moments: tuple[Moment, ...]
    muddled: str = ""

    @property
    def last(self) -> RowVersion:
        """The row as it was seen last."""
        return self.timeline.last

    @property
    def deaths(self) -> tuple[Life, ...]:
        """The lives that ended by a kill, or may have."""
        return tuple(life for life in self.lives if life.end in ("died", "perhaps-died"))

    @property
    def goes_back(self) -> bool:
        """Whether the cursor was ever seen to go below where an earlier life began: people may be mailed twice."""
        highest = 0
        for life in self.lives:
            if life.low < highest and life.high > life.low:
                return True
            highest = max(highest, life.reach)
        return False


def fastest(paces: tuple[Pace, ...]) -> tuple[int, int, int, int]:
    """Return the largest rate per second, workers, queue and batch size among the settings that were seen."""
    rate = max(pace.per_second for pace in paces)
    workers = max(pace.concurrency for pace in paces)
    return rate, workers, 2 * rate, max(pace.batch_size for pace in paces)
