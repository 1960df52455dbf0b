"""Owns the still parts of the sender's model: versions, settings, rows, campaigns with their people."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What sets a version apart, each True where the version does so."""

    pipes: bool = True
    """3.0.0 on: a pipe counts what was sent, can be stopped and cleans up; the queue grows with the rate."""
    cut_before_filter: bool = False
    """To 3.0.0: a batch is cut before people not to be mailed are taken out; an empty rest is the end."""
    counts_blocklisted: bool = False
    """To 3.0.0: `to_send` and the ceiling count blocklisted people (M13)."""
    draft_counts: bool = False
    """A draft has `to_send` and the ceiling already."""
    nobody_leaves_row: bool = True
    """4.0.0 on: a pick-up that finds nobody at all writes nothing into the row, not even the status."""
    count_into_cursor: bool = False
    """3.0.0 to 6.0.0: the clean-up of a pipe that sent nothing writes `to_send` into the cursor (M2)."""
    stopped_may_finish: bool = False
    """3.0.0 to 4.1.0: a stopped pipe that ends while the row says running marks it finished (M4)."""
    finishes_scheduled: bool = True
    """5.0.1 on: a pipe that has run dry finishes a row that still says scheduled."""
    start_schedules: bool = True
    """5.0.0 on: Start on a row with `send_at` makes it scheduled, not running."""
    opener_counts: bool = False
    """6.1.0 on: the message that opens a new window is counted in it."""
    failed_fetch_hangs: bool = False
    """3.0.0 to 6.0.0: an error while fetching leaves the pipe open for ever (M5)."""
    gone_list_fails: bool = False
    """4.0.0 to 6.0.0: every fetch of a campaign fails that lost one of its lists (M6)."""
    one_list_decides: bool = False
    """2.1.0 to 3.0.0: of several subscriptions an arbitrary one decides whether somebody is mailed (M12)."""


BEHAVIOURS: Final = {
    "2.5.1": Behaviour(
        pipes=False,
        cut_before_filter=True,
        one_list_decides=True,
        counts_blocklisted=True,
        nobody_leaves_row=False,
        finishes_scheduled=False,
        start_schedules=False,
    ),
    "3.0.0": Behaviour(
        cut_before_filter=True,
        one_list_decides=True,
        failed_fetch_hangs=True,
        counts_blocklisted=True,
        nobody_leaves_row=False,
        count_into_cursor=True,
        stopped_may_finish=True,
        finishes_scheduled=False,
        start_schedules=False,
    ),
    "4.1.0": Behaviour(
        draft_counts=True,
        count_into_cursor=True,
        stopped_may_finish=True,
        finishes_scheduled=False,
        start_schedules=False,
        failed_fetch_hangs=True,
        gone_list_fails=True,
    ),
    "5.0.3": Behaviour(draft_counts=True, count_into_cursor=True, failed_fetch_hangs=True, gone_list_fails=True),
    "6.0.0": Behaviour(count_into_cursor=True, failed_fetch_hangs=True, gone_list_fails=True),
    "6.2.0": Behaviour(opener_counts=True),
}
"""The versions that the model can play."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the page that decide how is sent; `window_rate` messages per `window_seconds`."""

    batch_size: int
    concurrency: int
    message_rate: int
    window: bool = False
    window_rate: int = 0
    window_seconds: float = 0.0
    max_send_errors: int = 1000


@dataclass(slots=True)
class Row:
    """The progress columns of a campaign's row; times are seconds of the model's clock."""

    status: str = "draft"
    sent: int = 0
    to_send: int = 0
    last_subscriber_id: int = 0
    max_subscriber_id: int = 0
    started_at: float | None = None
    updated_at: float | None = None
    send_at: float | None = None


class Campaign:
    """One campaign: its row, the people of its lists, and the truth of who was mailed."""

    def __init__(self, audience: Iterable[int], blocklisted: Iterable[int], unconfirmed: Iterable[int]) -> None:
        """Make a draft."""
        self.row = Row()
        self.fails: frozenset[int] = frozenset()
        self.unrenderable: frozenset[int] = frozenset()
        self.mails: dict[int, int] = {}
        self.failed: set[int] = set()
        self.audience_at_start: frozenset[int] = frozenset()
        self.fetches: list[tuple[int, int]] = []  # last id and size
        self.errors = 0
        self.mixed: frozenset[int] = frozenset()  # whose subscriptions disagree (M12)
        self.list_gone = False  # one of its lists was deleted (M6)
        self.counted: list[frozenset[int]] = []  # who was eligible at each pick-up
        self.overwrites = 0  # how often a count was written into the cursor (M2)
        self.started_over = False  # and fetching went on from there
        self.dropped: set[int] = set()  # thrown away by a stopped pipe whose row said running again
        self.doubled = 0  # mails that were counted twice
        self.late = 0  # mails of which a worker stored count or id too late
        self.unflushed = 0  # mails whose count never reached the row
        self.set_people(audience, blocklisted, unconfirmed)

    def set_people(self, audience: Iterable[int], blocklisted: Iterable[int], unconfirmed: Iterable[int]) -> None:
        """Replace the people of the lists; whoever is blocklisted or unconfirmed is not eligible."""
        self.blocklisted = frozenset(blocklisted)
        self.unconfirmed = frozenset(unconfirmed)
        self.people = frozenset(audience) - self.blocklisted - self.unconfirmed
        self.eligible = tuple(sorted(self.people))
        self._listed = tuple(sorted(self.people | self.blocklisted | self.unconfirmed))

    def count(self, behaviour: Behaviour) -> tuple[int, int]:
        """Return `to_send` and the ceiling as a pick-up would count them today."""
        counted = self.people
        if behaviour.counts_blocklisted:
            counted |= self.blocklisted - self.unconfirmed
        return len(counted), max(counted, default=0)

    def next_batch(self, size: int, behaviour: Behaviour) -> tuple[int, ...]:
        """Return the ids that a fetch takes now; empty where the row does not say running."""
        row = self.row
        if row.status != "running":
            return ()
        source = self._listed if behaviour.cut_before_filter else self.eligible
        begin = bisect_right(source, row.last_subscriber_id)
        end = bisect_right(source, row.max_subscriber_id)
        batch = source[begin : min(begin + size, end)]
        if behaviour.cut_before_filter:
            return tuple(person for person in batch if person in self.people)
        return batch


class Pipe:
    """One sending run of one campaign; `pending` is 1 for its fetching and 1 for each message underway."""

    __slots__ = ("campaign", "errors", "last", "pending", "sent", "stopped", "with_errors")

    def __init__(self, campaign: Campaign) -> None:
        """Open it, with its fetching pending."""
        self.campaign = campaign
        self.sent = self.last = self.errors = 0
        self.pending = 1
        self.stopped = self.with_errors = False
