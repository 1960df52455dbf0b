"""Owns reading a timeline: which writes are the sender's, where one life of a pipe ends and the next begins.

An open pipe writes its row every 5.0 s (3.0.0 and later), and a new process scans 5 s after its start at the earliest:
between the last write of a sender that was killed and the first of its successor lie 5 s of silence at least.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from listmonk_doctor.listmonk.versions import SCAN_SECONDS, behaves, parse
from listmonk_doctor.timeline.meaning import Fetch, Life, Meaning, Moment, Overwrite
from listmonk_doctor.timeline.model import LATE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from listmonk_doctor.timeline.meaning import End
    from listmonk_doctor.timeline.model import RowVersion, Timeline

SPEAKS: Final = 1.5
"""Seconds: a fetch that begins later than this behind a write is not the first of a pipe that this write opened."""
SURELY: Final = 5.5
"""Seconds of silence that an open pipe does not leave while no scan is held up: a period and a half second."""
STOPPED: Final = ("paused", "cancelled")
_PERIOD: Final = timedelta(seconds=SCAN_SECONDS)
_AFTER_BEAT: Final = timedelta(seconds=SURELY)
_EXACT: Final = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class Event:
    """The change from one version of the row to the next; committed after `after` and not later than `before`."""

    was: RowVersion
    now: RowVersion

    @property
    def after(self) -> datetime:
        """It was committed after this moment."""
        return self.now.after

    @property
    def before(self) -> datetime:
        """It was committed at this moment or before."""
        return self.now.before

    @property
    def hidden(self) -> bool:
        """Whether more than one life may lie in between, because nobody looked for so long."""
        return (self.before - self.after).total_seconds() > LATE

    @property
    def counted(self) -> int:
        """By how much `sent` went up."""
        return self.now.sent - self.was.sent

    @property
    def moved(self) -> int:
        """By how much the cursor moved."""
        return self.now.cursor - self.was.cursor

    @property
    def touched(self) -> bool:
        """Whether `updated_at` moved, which a flush and a heartbeat leave alone."""
        return self.now.updated_at != self.was.updated_at

    @property
    def pressed(self) -> bool:
        """Whether the status changed."""
        return self.now.status != self.was.status

    @property
    def finished(self) -> bool:
        """Whether a clean-up called it finished."""
        return self.pressed and self.now.status == "finished"

    @property
    def beat(self) -> bool:
        """Whether nothing but the version, or what a pick-up counts anew, has changed."""
        return not (self.counted or self.moved or self.touched or self.pressed)

    @property
    def written(self) -> bool:
        """Whether the sender wrote, and not a person or a tool alone."""
        return bool(self.counted or self.moved or self.beat or self.finished)

    @property
    def overwrites(self) -> bool:
        """Whether the cursor became the count `to_send` while nothing was counted (M2)."""
        return bool(self.moved) and not self.counted and self.now.cursor == self.now.to_send

    @property
    def closes(self) -> bool:
        """Whether a pipe's clean-up wrote: finished, or the cursor set back or the rest counted after a stop."""
        if self.finished:
            return True
        rest = self.counted > 0 and self.now.status in STOPPED and not self.pressed
        stopped = self.was.status in STOPPED or self.now.status in STOPPED
        return self.touched and self.counted >= 0 and stopped and (self.moved < 0 or rest)

    @property
    def latest(self) -> datetime:
        """The latest moment at which a fetch or a close among it began: they date themselves in `updated_at`."""
        dated = self.now.updated_at
        if self.touched and dated is not None and self.after - _EXACT <= dated <= self.before:
            return dated
        return self.before


@dataclass(slots=True)
class _Building:
    """A life whose end has not been seen yet."""

    begun: bool
    low: int
    sent_first: int
    sent_last: int
    to_send: int
    fetches: list[Fetch] = field(default_factory=list)
    mixed: bool = False
    stopped: bool = False
    high: int = 0

    def done(self, end: End, last_write: datetime, **more: object) -> Life:
        life = Life(
            self.begun,
            self.low,
            max(self.high, self.low),
            tuple(self.fetches),
            self.sent_first,
            self.sent_last,
            self.to_send,
            end,
            last_write,
            mixed=self.mixed,
            stopped=self.stopped,
        )
        return replace(life, **more)  # type: ignore[arg-type]


class Reader:
    """Goes through a timeline once; `overwriting` says whether the versions that ran can overwrite a cursor (M2)."""

    def __init__(self, timeline: Timeline) -> None:
        """Take a timeline with at least one version."""
        self.timeline = timeline
        self.events = [Event(was, now) for was, now in pairwise(timeline.versions)]
        self.overwriting = behaves("cursor-overwritten", [parse(pace.version) for pace in timeline.paces])
        self.lives: list[Life] = []
        self.unseen: list[tuple[int, int]] = []
        self.overwrites: list[Overwrite] = []
        self.moments: list[Moment] = []
        self.muddled = ""
        first = timeline.versions[0]
        self.from_start = first.started_at is None and first.cursor == 0 and first.sent == 0
        self.life: _Building | None = None if self.from_start else _truncated(first)
        self.writes: list[tuple[datetime, datetime]] = [(first.after, first.before)]

    def read(self) -> Meaning:
        """Return what the timeline means."""
        for index, event in enumerate(self.events):
            self._step(index, event)
            if event.written or event.hidden:
                dated = event.moved and not event.counted and not event.hidden
                self.writes.append((event.after, event.latest if dated else event.before))
        if self.life is not None:
            self.lives.append(self._still_open(self.life))
        if any(each.servers > 1 for each in self.timeline.sessions):
            self.muddled = "two servers were at work"
        return Meaning(
            self.timeline,
            tuple(self.lives),
            self.from_start,
            tuple(self.unseen),
            tuple(self.overwrites),
            tuple(self.moments),
            self.muddled,
        )

    def _step(self, index: int, event: Event) -> None:
        if self.life is not None:
            self.life.stopped |= event.now.status in STOPPED
            self.life.to_send = max(self.life.to_send, event.now.to_send)
        if event.hidden:
            self._hidden(event)
        elif event.counted < 0 or (event.moved < 0 and not event.closes):
            self._edited(event)
        elif self.overwriting and event.overwrites:
            self._overwritten(event)
        elif event.moved > 0 and event.now.status != "scheduled":
            self._fetched(index, event)
            if event.finished:
                self._closed(index, event)
        elif event.closes:
            self._closed(index, event)
        elif event.counted:
            self._counted(event)

    def _still_open(self, life: _Building) -> Life:
        """Return the life that was there at the end; `died_by` is set where it would have beaten since, and did not."""
        after, before = self.writes[-1]
        silent = (self.timeline.ended - before).total_seconds() > SURELY
        by = before + _AFTER_BEAT if silent and self._clear(after, self.timeline.ended) else None
        return life.done("open", before, died_after=after, died_by=by)

    # -- one kind of change each ---------------------------------------------------------------------------------

    def _hidden(self, event: Event) -> None:
        """Anything may have happened: the life that was open ends unseen, and what is there now began unseen."""
        if self.life is not None:
            self.lives.append(self.life.done("unseen", self.writes[-1][1]))
        low, high = sorted((event.was.cursor, event.now.cursor))
        if event.moved < 0:
            low, high = 0, max(event.was.ceiling, event.now.ceiling, high)
        if high > low:
            self.unseen.append((low, high))
        self.life = _truncated(event.now)
        self._say(event, "nobody looked, and the row changed")

    def _edited(self, event: Event) -> None:
        """Somebody else wrote the counter or the cursor back (a repair): what was open is over."""
        if self.life is not None:
            self._die(event, event.before, certain=False)
        self._say(event, f"the row was edited: cursor {event.now.cursor}, sent {event.now.sent:,}")

    def _overwritten(self, event: Event) -> None:
        self.overwrites.append(Overwrite(event.after, event.before, event.was.cursor, event.now.cursor))
        was, became = event.was.cursor, event.now.cursor
        self._say(event, f"a run that sent nothing wrote {became:,}, which is `to_send`, over the cursor {was:,} (M2)")
        if self.life is None:
            return
        if self.life.begun and not self.life.mixed and self.life.sent_last == self.life.sent_first:
            closed = self.life.done("closed", event.before, closed_at=self.life.low)
            self.lives.append(closed)
            self.life = None
        else:
            self._die(event, event.latest - _PERIOD)

    def _fetched(self, index: int, event: Event) -> None:
        # Counted in the same second: the old process was alive, and a new one needs 5 s.
        verdict = self._verdict(index, event) if self.life is not None and not event.counted else ""
        if self.life is not None and verdict:
            self._die(event, event.latest - _PERIOD, certain=verdict == "died")
        if self.life is None:
            was = event.was
            self.life = _Building(begun=True, low=was.cursor, sent_first=was.sent, sent_last=was.sent, to_send=0)
            self.life.mixed = verdict == "perhaps"
            self.life.to_send = max(was.to_send, event.now.to_send)
            self._say(event, f"taken up at the cursor {event.was.cursor:,}")
        fetch = Fetch(event.after, event.was.cursor, event.now.cursor)
        self.life.fetches.append(fetch)
        self.life.high = max(self.life.high, event.now.cursor)
        self._say(event, f"a batch up to id {event.now.cursor:,} was taken")
        if event.counted:
            self._counted(event)

    def _closed(self, index: int, event: Event) -> None:
        self._say(event, f"it was {event.now.status}: {event.now.sent:,} sent, cursor {event.now.cursor:,}")
        if self.life is None:
            return
        own = event.counted > 0 or event.moved < 0
        verdict = "" if own else self._verdict(index, event)
        if verdict:
            self._die(event, event.latest - _PERIOD, certain=verdict == "died")
            return
        self.life.sent_last = event.now.sent
        self.lives.append(self.life.done("closed", event.before, closed_at=event.now.cursor))
        self.life = None

    def _counted(self, event: Event) -> None:
        self._say(event, f"{event.counted:,} sent")
        if self.life is None:
            if event.now.status != "finished":
                self.muddled = self.muddled or "mails were counted while no batch was out"
            return
        self.life.sent_last = event.now.sent
        self.life.fetches = [
            replace(fetch, sent=event.now.sent) if fetch.sent is None and fetch.since < event.after else fetch
            for fetch in self.life.fetches
        ]

    def _die(self, event: Event, died_by: datetime, *, certain: bool = True) -> None:
        """End the life that is open: it died before this event, or perhaps did."""
        life, (after, before) = self.life, self.writes[-1]
        if life is None:
            return
        by = min(died_by, event.before)
        if self._clear(after, before + _AFTER_BEAT):
            by = min(by, before + _AFTER_BEAT)
        self.lives.append(
            life.done("died" if certain else "perhaps-died", before, died_after=after, died_by=max(by, after))
        )
        if certain:
            self.moments.append(Moment(after, max(by, after), "the sender died"))
        self.life = None

    # -- was it killed in between? -------------------------------------------------------------------------------

    def _verdict(self, index: int, event: Event) -> str:
        """Return "died" or "perhaps" where a new process may have written this, "" where the old one did."""
        verdicts = [self._between(index, self.writes[-1], (event.after, event.latest))]
        if len(self.writes) > 1 and self._may_open(index, event):
            verdicts.append(self._between(index, self.writes[-2], self.writes[-1]))
        return "died" if "died" in verdicts else "perhaps" if "perhaps" in verdicts else ""

    def _may_open(self, index: int, event: Event) -> bool:
        """Tell whether the write before this fetch or close may have been the scan that opened a new pipe."""
        before = self.events[index - 1] if index else None
        if before is None or before.counted or before.moved:
            return False
        return (event.after - self.writes[-1][1]).total_seconds() <= SPEAKS

    def _between(self, index: int, old: tuple[datetime, datetime], new: tuple[datetime, datetime]) -> str:
        """Judge the silence between two writes; both are (after, not later than)."""
        if (new[1] - old[0]).total_seconds() < SCAN_SECONDS or self._alive(old[1], new[1]):
            return ""
        for later in self.events[index + 1 :]:
            if later.hidden:
                break
            if later.counted > 0 and not later.closes:
                first = (later.before - old[0]).total_seconds()
                own = (later.before - new[0]).total_seconds()
                if first < 2 * SCAN_SECONDS or own < SCAN_SECONDS - 0.1:
                    return ""
                break
            if later.closes:
                break
        silent = (new[0] - old[1]).total_seconds()
        return "died" if silent > SURELY and self._clear(old[0], new[1]) else "perhaps"

    def _alive(self, old: datetime, new: datetime) -> bool:
        """Tell whether one of listmonk's sessions was at work before and, past what a dead one leaves, behind it."""
        before, behind = self._names(old), self._names(new + timedelta(seconds=3))
        return bool(before & behind)

    def _names(self, at: datetime) -> frozenset[str]:
        for each in self.timeline.sessions:
            if each.first <= at <= each.until + _PERIOD / 2:
                found = each.names
                if at <= each.until:
                    return found
        return frozenset()

    def _clear(self, old: datetime, new: datetime) -> bool:
        """Tell whether sessions were seen all through and no scan was held up: then silence means something."""
        seen = [each for each in self.timeline.sessions if each.first <= new and each.until >= old]
        whole = bool(seen) and seen[0].first <= old + _PERIOD / 2 and seen[-1].until >= new - _PERIOD / 2
        whole = whole and all((b.first - a.until).total_seconds() <= LATE for a, b in pairwise(seen))
        return whole and all(each.visible and not each.waiting for each in seen)

    def _say(self, event: Event, what: str) -> None:
        self.moments.append(Moment(event.after, event.before, what))


def _truncated(version: RowVersion) -> _Building:
    """Return a life of which nothing is known but that it may be there."""
    return _Building(
        begun=False,
        low=version.cursor,
        sent_first=version.sent,
        sent_last=version.sent,
        to_send=version.to_send,
        high=version.cursor,
    )


def read_meaning(timeline: Timeline) -> Meaning:
    """Return what a timeline means; `muddled` where it means nothing that could be relied on.

    Versions before 3.0.0 write no heartbeat and count what they fetch.
    """
    if not timeline.paces:
        return Meaning(timeline, (), False, (), (), (), "the settings were not recorded")  # noqa: FBT003
    meaning = Reader(timeline).read()
    if not all(behaves("heartbeat", parse(pace.version)) for pace in timeline.paces):
        return replace(meaning, lives=(), muddled="this version counts what it fetches and writes no heartbeat")
    return meaning


def events_of(versions: Sequence[RowVersion]) -> tuple[Event, ...]:
    """Return the changes between versions."""
    return tuple(Event(was, now) for was, now in pairwise(versions))
