"""Owns the change from one version of a row to the next, and what it can have been: fetch, flush, beat, press, end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from listmonk_doctor.timeline.model import LATE

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.model import RowVersion

STOPPED: Final = ("paused", "cancelled")
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
        """Whether more than one life may lie in between: nobody looked for so long, or versions are missing."""
        return not self.now.linked or (self.before - self.after).total_seconds() > LATE

    @property
    def single(self) -> bool:
        """Whether it is one write and no other: a log or a page knows which version it replaced, if not when."""
        return self.now.linked and self.now.source != "recording"

    @property
    def alone(self) -> bool:
        """Whether it is one write and no other, and dated."""
        return self.now.dated and self.single

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
    def own(self) -> bool:
        """Whether this program wrote it: a repair or its undo, while no listmonk was at work."""
        return bool(self.now.by)

    @property
    def written(self) -> bool:
        """Whether the sender wrote, and not a person or a tool alone."""
        return not self.own and bool(self.counted or self.moved or self.beat or self.finished)

    @property
    def overwrites(self) -> bool:
        """Whether the cursor became the count `to_send` at a run's end, and nothing was counted (M2).

        A batch of a campaign that goes on running may end at just that id: that is no clean-up.
        """
        ended = self.finished or self.was.status in STOPPED or self.now.status in STOPPED
        ended = ended or (self.single and self.moved < 0 and self.touched)  # Start came before its end
        return ended and bool(self.moved) and not self.counted and self.now.cursor == self.now.to_send

    @property
    def closes(self) -> bool:
        """Whether a pipe's clean-up wrote: finished, or the cursor set back or the rest counted after a stop."""
        if self.finished:
            return True
        if self.single and not self.pressed and self.touched and not self.overwrites:
            # Nothing lies between two writes of a log or a page: a fetch counts nothing, a flush touches nothing.
            return (self.moved < 0 and self.counted >= 0) or (self.moved == 0 and self.counted > 0)
        rest = self.counted > 0 and self.now.status in STOPPED and not self.pressed
        stopped = self.was.status in STOPPED or self.now.status in STOPPED
        return self.touched and self.counted >= 0 and stopped and (self.moved < 0 or rest)

    @property
    def may_close(self) -> bool:
        """Whether a clean-up may be among what was written: a whole short run can lie between two looks."""
        return self.closes or self.now.status in STOPPED or (self.was.status in STOPPED and self.touched)

    @property
    def latest(self) -> datetime:
        """The latest moment at which a fetch or a close among it began: they date themselves in `updated_at`."""
        dated = self.now.updated_at
        if self.touched and dated is not None and self.after - _EXACT <= dated <= self.before:
            return dated
        return self.before


def told_change(event: Event) -> str:
    """Return which of the progress columns a write changed, in words; "" where none."""
    was, now = event.was, event.now
    pairs = (
        (was.status, now.status, "status"),
        (f"{was.cursor:,}", f"{now.cursor:,}", "cursor"),
        (f"{was.sent:,}", f"{now.sent:,}", "sent"),
    )
    changed = [f"{name} {old} -> {new}" for old, new, name in pairs if old != new]
    return f": {', '.join(changed)}" if changed else ""
