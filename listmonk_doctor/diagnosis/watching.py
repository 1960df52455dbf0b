"""Owns what is expected of a campaign after Start, and the alarms when what happens leaves that; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from listmonk_doctor.diagnosis.idsets import above, between
from listmonk_doctor.listmonk.versions import SCAN_SECONDS, behaves
from listmonk_doctor.timeline.lives import read_meaning

if TYPE_CHECKING:
    from datetime import datetime

    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.report import Range
    from listmonk_doctor.listmonk.settings import Settings
    from listmonk_doctor.timeline.growing import Growing
    from listmonk_doctor.timeline.model import RowVersion

Code = Literal["went-back", "overwritten", "too-many", "skipped", "finished-short", "hung", "no-heartbeat", "gone"]
SILENT: Final = 2.2 * SCAN_SECONDS
"""Seconds without a write after which no pipe is open: two heartbeats would have been missed."""
RATE_OVER: Final = 30.0
"""Seconds over which the rate is taken."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a campaign's next run should do, counted from the row as it stood at `sent` and `cursor`.

    `would_mail`, `missed`, `duplicates` and `newcomers` are the price of what Start does. `in_hand`: people fetched
    and perhaps not counted yet, whose mails come on top. `audience`: today's, for what is left (None: not known).
    `source` says where the price is from. `provisional`: made before the pick-up, which counts the people anew.
    """

    source: str
    sent: int
    cursor: int
    would_mail: Range
    missed: Range
    duplicates: Range
    newcomers: Range
    in_hand: int
    audience: BitMap | None
    settings: Settings
    provisional: bool = False

    @property
    def most_sent(self) -> int:
        """The counter's highest honest value: everybody priced, whoever was in hand, and one flush counted twice."""
        noise = self.settings.concurrency + self.settings.flush
        return self.sent + self.would_mail.high + self.in_hand + noise

    def left(self, cursor: int) -> int | None:
        """Return how many of today's audience are above a cursor."""
        return None if self.audience is None else len(above(self.audience, cursor))

    def again(self, low: int, high: int) -> int | None:
        """Return how many of today's audience lie between two cursors: low < id <= high."""
        return None if self.audience is None else len(between(self.audience, low, high))


class Alarm(NamedTuple):
    """Something that leaves the price: what was seen, and what to press. `stop`: it does harm as it goes on."""

    code: Code
    what: str
    do: str
    stop: bool


@dataclass(slots=True)
class Watch:
    """One watched campaign: what is expected, what was seen so far, and the alarms that were raised."""

    expected: Expected
    grown: Growing
    alarms: list[Alarm] = field(default_factory=list)
    highest: int = 0

    @property
    def now(self) -> RowVersion:
        """The row as it was seen last."""
        return self.grown.versions[-1]

    def judge(self, *, running: bool | None) -> tuple[Alarm, ...]:
        """Return the alarms that the last look raises for the first time; `running`: whether a server scans."""
        known = {alarm.code for alarm in self.alarms}
        found = tuple(alarm for alarm in self._all(running=running) if alarm.code not in known)
        self._reached()
        self.alarms.extend(found)
        return found

    def _reached(self) -> None:
        """Keep up to which id people may have been mailed: an orderly pause says so, by setting the cursor back."""
        versions, row = self.grown.versions, self.now
        was = versions[-2] if len(versions) > 1 else row
        rested = row.status in ("paused", "cancelled") and row.cursor < was.cursor == self.highest
        if rested and not (self._can_be_overwritten and row.cursor == row.to_send):
            self.highest = row.cursor
        self.highest = max(self.highest, row.cursor)

    @property
    def _can_be_overwritten(self) -> bool:
        return behaves("cursor-overwritten", self.expected.settings.version)

    def _all(self, *, running: bool | None) -> list[Alarm]:
        found = [self._cursor(), self._counter(), self._death(), self._ended(), self._still(running=running)]
        return [alarm for alarm in found if alarm is not None]

    # -- the rules -----------------------------------------------------------------------------------------------

    def _cursor(self) -> Alarm | None:
        """Judge a cursor that went down.

        A clean-up (after a pause; from 6.1.0 on after a failed fetch, too) sets it back to the last id sent: by no more
        than one stop can hold, not below where this run began, and it dates itself.
        """
        versions, row = self.grown.versions, self.now
        if len(versions) == 1:
            return None
        was = versions[-2]
        if self._can_be_overwritten and row.cursor == row.to_send != was.cursor and row.sent == was.sent:
            again = self.expected.again(row.cursor, max(self.highest, was.cursor))
            people = f"up to {again:,} people" if again is not None else "everybody above it"
            harm = f"from there {people} would be mailed again" if row.cursor < was.cursor else "people are skipped"
            count = f"the cursor became {row.cursor:,}, which is `to_send`: a count, not where the sending stood (M2)"
            what, do = f"{count}; {harm}", "press Pause if it runs, and do not press Start"
            if row.status == "finished":
                do = "do not set it to paused and press Start"
            return Alarm("overwritten", what, do, stop=True)
        floor = min(self.expected.cursor, self.highest)
        if row.cursor < was.cursor:
            again = self.expected.again(row.cursor, max(self.highest, was.cursor))
            near = again is not None and again <= self.expected.settings.one_stop
            if row.cursor >= floor and near and row.updated_at != was.updated_at:
                return None
            people = f"up to {again:,} people" if again is not None else "people"
            what = f"the cursor went back from {was.cursor:,} to {row.cursor:,}: {people} are mailed a second time"
            return Alarm("went-back", what, "press Pause", stop=True)
        return None

    def _counter(self) -> Alarm | None:
        most = self.expected.most_sent
        if self.now.sent <= most:
            return None
        what = f"{self.now.sent:,} were counted as sent, and not more than {most:,} could be: people get it twice"
        return Alarm("too-many", what, "press Pause", stop=True)

    def _death(self) -> Alarm | None:
        """Judge a sender that died and went on behind what it had fetched."""
        timeline = self.grown.timeline
        if timeline is None or len(timeline.versions) == 1 or not timeline.paces:
            return None
        meaning = read_meaning(timeline)
        dead = [life for life in meaning.lives if life.end == "died" and life.begun]
        if meaning.muddled or not dead:
            return None
        life = dead[-1]
        fetched = self.expected.again(life.low, life.high)
        short = None if fetched is None else max(0, fetched - life.counted)
        if short is not None and short <= self.expected.settings.concurrency:
            return None
        people = "people were" if short is None else f"up to {short:,} people were"
        what = f"the sender died by {life.died_by:%H:%M:%S} UTC and a new one went on behind it: {people} skipped"
        do = f"let it end, then run: listmonk-doctor examine {self.grown.campaign_id}"
        return Alarm("skipped", what, do, stop=False)

    def _ended(self) -> Alarm | None:
        """Judge a run that was called finished with fewer mails than the price says."""
        row = self.now
        short = self.expected.would_mail.low - self.expected.settings.concurrency - (row.sent - self.expected.sent)
        if row.status != "finished" or short <= 0 or len(self.grown.versions) == 1:
            return None
        what = f"it was called finished, and at least {short:,} people that Start should have mailed were not counted"
        return Alarm("finished-short", what, f"run: listmonk-doctor examine {self.grown.campaign_id}", stop=False)

    def _still(self, *, running: bool | None) -> Alarm | None:
        """Judge a running campaign that does not move: no server, no pipe, or a pipe that hangs."""
        row, timeline = self.now, self.grown.timeline
        if row.status != "running" or timeline is None:
            return None
        silent = (timeline.ended - row.before).total_seconds()
        seen = (timeline.ended - timeline.began).total_seconds()
        examine = f"run: listmonk-doctor examine {self.grown.campaign_id}"
        if running is False and seen > SILENT and silent > SILENT:
            return Alarm("gone", "no listmonk server is there any more", f"do not start it; {examine}", stop=True)
        heart = behaves("heartbeat", self.expected.settings.version)
        if heart and silent > SILENT + SCAN_SECONDS and row.cursor < row.ceiling:
            what = f"no heartbeat for {silent:.0f} s although it is running"
            return Alarm("no-heartbeat", what, f"do not restart listmonk; {examine}", stop=False)
        still = (timeline.ended - self._moved()).total_seconds()
        if still > quiet(self.expected.settings) and (self.expected.left(row.cursor) or 0) > 0:
            what = f"nothing moved for {still:.0f} s: it hangs"
            return Alarm("hung", what, f"do not save settings; {examine}", stop=False)
        return None

    def _moved(self) -> datetime:
        """Return when the counter or the cursor moved last, as far as it was seen."""
        versions = self.grown.versions
        for index in range(len(versions) - 1, 0, -1):
            was, now = versions[index - 1], versions[index]
            if (was.sent, was.cursor, was.status) != (now.sent, now.cursor, now.status):
                return now.before
        return versions[0].before

    # -- figures for the view ------------------------------------------------------------------------------------

    @property
    def rate(self) -> float | None:
        """Mails per second over the last half minute by the counter; None before it has moved."""
        row, ended = self.now, self.grown.ended
        if ended is None:
            return None
        moved = [each for each in self._run() if (ended - each.before).total_seconds() <= RATE_OVER]
        steps = [each for was, each in pairwise(moved) if each.sent != was.sent]
        if not steps:
            return None
        first = moved[0]
        seconds = (steps[-1].before - first.before).total_seconds()
        return (row.sent - first.sent) / seconds if seconds > 0 else None

    def _run(self) -> list[RowVersion]:
        """Return the versions since Start was pressed last, as far as it was seen: nothing was sent while it rested."""
        versions = self.grown.versions
        began = 0
        for index, (was, now) in enumerate(pairwise(versions), 1):
            if now.status == "running" != was.status:
                began = index
        return versions[began:]

    @property
    def over(self) -> bool:
        """Whether it has ended and nothing writes to its row any more."""
        row, ended = self.now, self.grown.ended
        if row.status not in ("finished", "cancelled") or ended is None or self.grown.began is None:
            return False
        since = row.before if len(self.grown.versions) > 1 else self.grown.began
        return (ended - since).total_seconds() > SILENT


def quiet(settings: Settings) -> float:
    """Return for how many seconds a working campaign may go without moving: window, two batches, three scans."""
    batches = 2 * settings.batch_size / (settings.concurrency * settings.message_rate)
    return max(settings.window_seconds if settings.window else 0.0, batches) + 3 * SCAN_SECONDS
