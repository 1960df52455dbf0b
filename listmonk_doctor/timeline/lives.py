"""Owns reading a timeline: which writes are the sender's, where one life of a pipe ends and the next begins.

An open pipe writes its row every 5.0 s (3.0.0 and later), and a new process scans 5 s after its start at the earliest:
between the last write of a sender that was killed and the first of its successor lie 5 s of silence at least.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from listmonk_doctor.listmonk.versions import SCAN_SECONDS, behaves, parse
from listmonk_doctor.timeline.beats import SILENT, Rhythm, may_sleep, whole, worse
from listmonk_doctor.timeline.building import Building, truncated
from listmonk_doctor.timeline.events import STOPPED, Event, told_change
from listmonk_doctor.timeline.meaning import Fetch, Life, Meaning, Moment, Overwrite, Unseen
from listmonk_doctor.timeline.model import LATE

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.beats import Break
    from listmonk_doctor.timeline.model import Timeline

SPEAKS: Final = 1.5
"""Seconds: a fetch that begins later than this behind a write is not the first of a pipe that this write opened."""
TOGETHER: Final = 1.5
"""Seconds for which two servers must be seen: the sessions of one that has just ended may still be there."""
_PERIOD: Final = timedelta(seconds=SCAN_SECONDS)
_AFTER_BEAT: Final = timedelta(seconds=SILENT)


class Reader:
    """Goes through a timeline once; `overwriting` says whether the versions that ran can overwrite a cursor (M2)."""

    def __init__(self, timeline: Timeline) -> None:
        """Take a timeline with at least one version."""
        self.timeline = timeline
        self.events = [Event(was, now) for was, now in pairwise(whole(timeline.versions))]
        self.rhythm = Rhythm(self.events, windowed=may_sleep(timeline))
        self.broken: Break | None = None
        """A scan that may have been another process's, until a fetch or an end tells."""
        self.opened = False
        """Whether the silence that was judged last lay before the last write, and not behind it."""
        self.overwriting = behaves("cursor-overwritten", [parse(pace.version) for pace in timeline.paces])
        self.lives: list[Life] = []
        self.unseen: list[Unseen] = []
        self.overwrites: list[Overwrite] = []
        self.moments: list[Moment] = []
        self.muddled = ""
        first = timeline.versions[0]
        self.from_start = first.started_at is None and first.cursor == 0 and first.sent == 0
        self.life: Building | None = None if self.from_start else truncated(first)
        self.writes: list[tuple[datetime, datetime]] = [(first.after, first.before)]
        self.alone = [first.source != "recording" and first.dated]
        """Of each write whether a log dates it: then its beats tell of a death, and sessions need not."""

    def read(self) -> Meaning:
        """Return what the timeline means."""
        for index, event in enumerate(self.events):
            if self.life is not None:
                self.broken = worse(self.broken, self.rhythm.breaks.get(index))
            self._step(index, event)
            if event.written and self.life is not None:
                self.life.written |= not event.hidden
            if event.written or event.hidden:
                dated = event.moved and not event.counted and not event.hidden
                self.writes.append((event.after, event.latest if dated else event.before))
                self.alone.append(event.alone)
        if self.life is not None:
            self.lives.append(self._still_open(self.life))
        together = sum((each.until - each.first).total_seconds() for each in self.timeline.sessions if each.servers > 1)
        if together > TOGETHER or self.rhythm.intruders > 1:
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
        if event.own and not event.hidden:
            self._repaired(event)
            return
        if self.life is None:
            self.broken = None
        else:
            # Pause and Start between two looks leave a date behind, and nothing else.
            pressed = event.touched and not (event.alone or event.moved or event.pressed)
            self.life.stopped |= pressed or event.now.status in STOPPED
            going = event.counted > 0 and event.was.status == event.now.status == "running"
            self.life.silent = event.now.status in STOPPED or (self.life.silent and not going)
            self.life.to_send = max(self.life.to_send, event.now.to_send)
        if event.hidden:
            self._hidden(event)
        elif event.counted < 0 or (event.moved < 0 and not event.closes):
            self._edited(event)
        elif self.overwriting and event.overwrites:
            self._overwritten(index, event)
        elif event.moved > 0 and event.now.status != "scheduled":
            self._fetched(index, event)
            if event.finished:
                self._closed(index, event)
        elif event.closes:
            self._closed(index, event)
        elif event.counted:
            self._counted(event)

    def _still_open(self, life: Building) -> Life:
        """Return the life that was there at the end; `died_by` is set where it would have beaten since, and did not."""
        after, before = self.writes[-1]
        silent = (self.timeline.ended - before).total_seconds() > SILENT
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
        self.unseen.append(Unseen(low, high, len(self.lives), bool(event.moved or event.counted)))
        self.life = truncated(event.now)
        if not event.single:  # what a page tells is told write by write
            self._say(event, "nobody looked, and the row changed")

    def _repaired(self, event: Event) -> None:
        """Hear of a write of this program: nobody was at work, and what it wrote is nobody's mails."""
        self.broken = None
        if self.life is not None:
            self._die(event, event.before, certain=False)
        self._say(event, f"listmonk-doctor changed the row (run {event.now.by[:8]}){told_change(event)}")

    def _edited(self, event: Event) -> None:
        """Somebody else wrote the counter or the cursor back (a repair): what was open is over."""
        if self.life is not None:
            self._die(event, event.before, certain=False)
        self._say(event, f"the row was edited: cursor {event.now.cursor}, sent {event.now.sent:,}")

    def _overwritten(self, index: int, event: Event) -> None:
        self.overwrites.append(Overwrite(event.after, event.before, event.was.cursor, event.now.cursor))
        was, became = event.was.cursor, event.now.cursor
        self._say(event, f"a run that sent nothing wrote {became:,}, which is `to_send`, over the cursor {was:,} (M2)")
        if self.life is None:
            return
        if event.moved > 0 and event.now.status == "running":  # or started again, and a batch ended at just that id
            self._die(event, event.latest, certain=False)
            return
        idle = self.life.begun and not self.life.mixed and self.life.sent_last == self.life.sent_first
        verdict = self._verdict(index, event)
        if idle and not verdict:
            closed = self.life.done("closed", event.before, closed_at=self.life.low)
            self.lives.append(closed)
            self.life = None
        else:  # whoever sent something does not write a count: it was another run's
            unseen = event.alone or self.life.stopped  # it may have ended in order, with nothing to write
            certain = verdict == "died" or not (idle or unseen)
            self._die(event, event.latest - _PERIOD, certain=certain)

    def _fetched(self, index: int, event: Event) -> None:
        # Counted in the same second and not by a clean-up: the old process was alive, and a new one needs 5 s.
        own = event.counted > 0 and not event.may_close
        verdict = self._verdict(index, event) if self.life is not None and not own else ""
        if self.life is not None and verdict:
            self._die(event, event.latest - _PERIOD, certain=verdict == "died")
        if self.life is None:
            was = event.was
            self.life = Building(begun=True, low=was.cursor, sent_first=was.sent, sent_last=was.sent, to_send=0)
            self.life.mixed = verdict == "perhaps"
            self.life.to_send = max(was.to_send, event.now.to_send)
            self._say(event, f"taken up at the cursor {event.was.cursor:,}")
        fetch = Fetch(event.after, event.was.cursor, event.now.cursor)
        self.life.fetches.append(fetch)
        self.life.high = max(self.life.high, event.now.cursor)
        self._say(event, f"a batch up to id {event.now.cursor:,} was taken")
        if event.counted:
            self._counted(event)
            if event.may_close and not event.finished:  # it may have ended in the same second
                self._die(event, event.before, certain=False)

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
        if self.broken is not None:
            if self.broken.verdict == "died":
                self.muddled = self.muddled or "mails were counted by a process that was gone"
            self.broken = None  # a new process counts nothing before it fetches: it was the old one
        self.life.sent_last = event.now.sent
        self.life.fetches = [
            replace(fetch, sent=event.now.sent) if fetch.sent is None and fetch.since < event.after else fetch
            for fetch in self.life.fetches
        ]

    def _die(self, event: Event, died_by: datetime, *, certain: bool = True) -> None:
        """End the life that is open: it died before this event, or perhaps did."""
        life, (after, before) = self.life, self.writes[-2 if self.opened else -1]
        if life is None:
            return
        # Looks do not see a stopped pipe's end where it owed no count, and had nothing to write; and of what never
        # wrote it is not known that it was there.
        dated = event.alone and all(self.alone[-2:])
        silent = life.silent and not dated and not any(fetch.sent is None for fetch in life.fetches)
        certain = certain and not silent and (life.begun or life.written)
        by = min(died_by, event.before)
        if self.opened:  # the last write was the new process's already
            by, self.opened = min(by, self.writes[-1][1] - _PERIOD), False
        if self.broken is not None:
            after = before = self.broken.last
            by, self.broken = self.broken.by, None
        elif self._clear(after, before + _AFTER_BEAT):
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
        self.opened = False
        told = [""] if self.broken is None else [self.broken.verdict]
        if event.alone and all(self.alone[-2:]):
            return told[0]
        verdicts = [*told, self._between(index, self.writes[-1], (event.after, event.latest))]
        if len(self.writes) > 1 and self._may_open(index, event):
            verdicts.append(self._between(index, self.writes[-2], self.writes[-1]))
            self.opened = bool(verdicts[-1])
        return "died" if "died" in verdicts else "perhaps" if "perhaps" in verdicts else ""

    def _may_open(self, index: int, event: Event) -> bool:
        """Tell whether the write before this fetch or close may have been the scan that opened a new pipe."""
        before = self.events[index - 1] if index else None
        if before is None or before.own or before.counted or before.moved:
            return False
        return (event.after - self.writes[-1][1]).total_seconds() <= SPEAKS

    def _between(self, index: int, old: tuple[datetime, datetime], new: tuple[datetime, datetime]) -> str:
        """Judge the silence between two writes; both are (after, not later than)."""
        if (new[1] - old[0]).total_seconds() < SCAN_SECONDS or self._alive(old[0], new[1]):
            return ""
        for later in self.events[index + 1 :]:
            if later.hidden or later.own:
                break
            if later.counted > 0 and not later.may_close:
                first = (later.before - old[0]).total_seconds()
                own = (later.before - new[0]).total_seconds()
                if first < 2 * SCAN_SECONDS or own < SCAN_SECONDS - 0.1:
                    return ""
                break
            if later.may_close and (later.closes or later.counted):
                break
        silent = (new[0] - old[1]).total_seconds()
        return "died" if silent > SILENT and self._clear(old[0], new[1]) else "perhaps"

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
