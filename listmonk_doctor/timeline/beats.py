"""Owns the beat of an open pipe where each write is dated: which writes are scans, and where another process began.

An open pipe writes its row every 5.000 s, 21 ms off at most (3.0.0 and later); a new process has a rhythm of its own
and scans 5 s after it has started. A database that is held up delays beats too: it never moves the rhythm for good.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from listmonk_doctor.listmonk.versions import SCAN_SECONDS
from listmonk_doctor.timeline.events import STOPPED, Event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from listmonk_doctor.timeline.model import RowVersion, Timeline

NOISE: Final = 0.06
"""Seconds by which a beat may be off its rhythm; a process needs longer than that to start."""
SILENT: Final = 5.5
"""Seconds of silence that an open pipe does not leave while no scan is held up: a period and a half second."""
OWN: Final = 12
"""Scans of the old process that a new rhythm is held against."""
DRIFT: Final = 600.0
"""Seconds after which the clocks of two machines may have drifted, so that a rhythm cannot be told any more."""
AT_ONCE: Final = 0.1
"""Seconds within which a new process fetches, or finds nobody, behind the scan that opened its pipe."""


@dataclass(frozen=True, slots=True)
class Break:
    """A scan that the process before may not have written: "died" where it cannot have, "perhaps" elsewhere.

    `last` is the last write that surely was the old process's; it was gone not later than `by`.
    """

    verdict: Literal["died", "perhaps"]
    last: datetime
    by: datetime


@dataclass(slots=True)
class _Pipe:
    """What is known of the pipe that is open, or of none: its last write, and what speaks against judging it.

    `scans` are its process's, `beating` whether the last of them is its own.
    """

    scans: list[datetime] = field(default_factory=list)
    beating: bool = False
    last: datetime | None = None
    counted: bool = False
    doubtful: bool = False
    """Something touched the row that may have been its end."""


def whole(versions: Sequence[RowVersion]) -> list[RowVersion]:
    """Return the versions without those that a clean-up wrote on its way: count and cursor first, status next.

    Where more than a clean-up may lie before such a version (a log that begins with it, behind a look), the status
    comes in its stead, as if it had been looked at.
    """
    kept = list(versions[:1])
    joined: RowVersion | None = None
    for number, version in enumerate(versions[1:], 1):
        each = version if joined is None else replace(version, after=joined.after, source="recording")
        joined = None
        after = versions[number + 1] if number + 1 < len(versions) else None
        first = Event(kept[-1], each)
        if after is None or not _on_its_way(first, Event(each, after)):
            kept.append(each)
        elif not first.alone:
            joined = each
    return kept


def _on_its_way(first: Event, second: Event) -> bool:
    if (
        first.hidden
        or first.own
        or second.own
        or not second.alone
        or not first.touched
        or first.pressed
        or not second.pressed
        or second.counted
        or second.moved
    ):
        return False
    if second.finished:
        return True
    at_once = (second.before - first.before).total_seconds() <= AT_ONCE
    return second.now.status == "paused" and at_once and bool(first.counted or first.moved < 0)


def is_scan(event: Event) -> bool:
    """Tell whether it is a scan's write: a flush, a heartbeat, or a pick-up; none of them moves `updated_at`."""
    picked = event.was.status == "scheduled" and event.now.status == "running"
    return not event.touched and not event.moved and (picked or not event.pressed)


def _recounted(event: Event) -> bool:
    """Tell whether only a pick-up can have written it."""
    was, now = event.was, event.now
    return (was.to_send, was.ceiling, was.started_at) != (now.to_send, now.ceiling, now.started_at)


class Rhythm:
    """Judges every scan of a timeline by the ones before and behind it.

    `windowed`: a sliding window may have let the pipe sleep. `breaks` are by the number of the event; `intruders`
    counts scans between two others of one rhythm: of a second server.
    """

    def __init__(self, events: Sequence[Event], *, windowed: bool) -> None:
        """Go through the events once."""
        self.events, self.windowed = events, windowed
        self.breaks: dict[int, Break] = {}
        self.intruders = 0
        self._pipe = _Pipe()
        if events:
            self._pipe.last = events[0].was.before
        for index, event in enumerate(events):
            if event.hidden or event.own:
                self._pipe = _Pipe(last=event.before)
            elif not event.alone:
                self._pipe = _Pipe(last=event.after if event.written else self._pipe.last)
            elif is_scan(event):
                self._scan(index, event)
            else:
                self._other(event)

    def _scan(self, index: int, event: Event) -> None:
        pipe, at = self._pipe, event.before
        old = pipe.scans[-1] if pipe.beating else pipe.last
        verdict = ""
        if old is not None and not event.counted:
            gap = (at - old).total_seconds()
            if gap > SCAN_SECONDS + NOISE:
                verdict = self._judged(index, at, gap)
            elif pipe.doubtful and _recounted(event):
                verdict = "perhaps"
            if verdict and pipe.last is not None and (at - pipe.last).total_seconds() < SCAN_SECONDS:
                verdict = "perhaps"  # something was written too shortly before: the database stood still
        close = (
            bool(pipe.scans[1:]) and pipe.beating and (at - pipe.scans[-1]).total_seconds() < SCAN_SECONDS - 2 * NOISE
        )
        if close:
            self.intruders += _beats(pipe.scans[-2], at)
        if verdict and pipe.last is not None:
            by = _earlier(at, SCAN_SECONDS)
            if pipe.beating:
                by = min(by, _earlier(pipe.scans[-1], -SCAN_SECONDS - 2 * NOISE))
            self.breaks[index] = Break("died" if verdict == "died" else "perhaps", pipe.last, max(by, pipe.last))
            self._pipe = pipe = _Pipe()
        pipe.scans.append(at)
        pipe.beating = True
        pipe.last = at
        pipe.counted |= event.counted > 0
        pipe.doubtful = False

    def _other(self, event: Event) -> None:
        """Hear of what is no scan: a fetch shows life, an end ends the rhythm, a mere touch may have been an end."""
        if event.closes:
            self._pipe = _Pipe(self._pipe.scans[-OWN:])
        elif event.moved > 0:
            self._pipe.last = event.before
            self._pipe.counted |= event.counted > 0
        elif event.touched and not event.pressed:
            self._pipe.doubtful = True

    def _judged(self, index: int, at: datetime, gap: float) -> str:
        """Judge a scan that counted nothing and came late: "" where the old process wrote it, for its rhythm went on.

        A flush that counted is never a new process's first write.
        """
        pipe, behind = self._pipe, self._behind(index)
        sure = pipe.beating and not pipe.doubtful
        if sure and _recounted(self.events[index]) and self.events[index].now.status == "running":
            return "died"
        last = pipe.scans[-1:] if pipe.beating else []
        own = [each for each in pipe.scans[-OWN:] if (at - each).total_seconds() <= DRIFT]
        if (
            behind
            and (behind[0] - at).total_seconds() < SCAN_SECONDS - NOISE
            and any(_in_step(s, behind[0]) for s in own)
        ):
            late = last and (behind[0] - last[0]).total_seconds() < 2 * SCAN_SECONDS + NOISE
            return "" if late else "perhaps"
        if not sure:
            return "perhaps"
        after = self.events[index + 1] if index + 1 < len(self.events) else None
        paused = self.events[index].now.status in STOPPED
        if pipe.counted and after is not None and after.alone and after.overwrites:
            # Whoever sent something writes no count over the cursor (M2): another pipe was opened. A paused one may
            # have ended in silence, and a database that stood still have made this late.
            return "perhaps" if paused else "died"
        steady = any(_in_step(each, last[0]) for each in own[:-1])
        # A scan that counts a large audience is itself late: the two behind it have the rhythm.
        rhythm = next((two for one, two in pairwise([at, *behind]) if _beats(one, two)), None)
        changed = steady and rhythm is not None and not any(_in_step(each, rhythm) for each in own)
        opened = self._opened(index) and not any(_in_step(each, at) for each in own)
        if gap <= SILENT:  # a supervisor that starts it at once
            return "died" if changed and opened else "perhaps"
        # At the end of a window's sleep the old process fetches at once too, if it was held up just then; and one that
        # has counted everybody may have ended while a database stood still: its last beat and its end come together.
        ended = after is not None and after.closes and after.now.sent >= after.now.to_send
        return "died" if changed or (opened and not ended and not self.windowed) else "perhaps"

    def _behind(self, index: int) -> list[datetime]:
        """Return when the same pipe scanned next, twice at most; less where it ended before, or may have."""
        found: list[datetime] = []
        for event in self.events[index + 1 :]:
            touch = event.touched and event.moved <= 0 and not event.pressed
            if len(found) > 1 or not event.alone or event.own or event.closes or touch:
                break
            if is_scan(event):
                found.append(event.before)
        return found

    def _opened(self, index: int) -> bool:
        """Tell whether this scan opened a pipe: it fetched at once, or found nobody and ended."""
        after = self.events[index + 1] if index + 1 < len(self.events) else None
        if after is None or not after.alone or after.own or after.counted:
            return False
        at_once = (after.before - after.was.before).total_seconds() <= AT_ONCE
        return at_once and (after.moved > 0 or after.closes or after.overwrites)


def _earlier(at: datetime, seconds: float) -> datetime:
    return at - timedelta(seconds=seconds)


def _in_step(one: datetime, other: datetime) -> bool:
    """Tell whether two scans can be of one rhythm."""
    off = (other - one).total_seconds() % SCAN_SECONDS
    return min(off, SCAN_SECONDS - off) <= NOISE


def _beats(one: datetime, other: datetime) -> bool:
    """Tell whether two scans follow each other in one rhythm."""
    return abs((other - one).total_seconds() - SCAN_SECONDS) <= NOISE


def may_sleep(timeline: Timeline) -> bool:
    """Tell whether a sliding window may have let the sender sleep: it is smaller than the audience."""
    people = max(version.to_send for version in timeline.versions)
    return any(0 < pace.window_rate < people for pace in timeline.paces)


def worse(one: Break | None, other: Break | None) -> Break | None:
    """Return the first of two breaks; where only the second is certain, what was open died between both."""
    if one is None or other is None:
        return one or other
    return replace(other, last=one.last) if (one.verdict, other.verdict) == ("perhaps", "died") else one
