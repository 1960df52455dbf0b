"""Owns a life of a pipe whose end has not been seen yet, as the reader of a timeline builds it up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from listmonk_doctor.timeline.events import STOPPED
from listmonk_doctor.timeline.meaning import Fetch, Life

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.meaning import End
    from listmonk_doctor.timeline.model import RowVersion


@dataclass(slots=True)
class Building:
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
    written: bool = False
    """Whether it was seen to write, so that it surely was there."""
    silent: bool = False
    """Whether it was stopped and has not counted anything since: it may have ended with nothing to write."""

    def done(self, end: End, last_write: datetime, **more: object) -> Life:
        """Return it as a life that ended so; `more` are fields of it."""
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


def truncated(version: RowVersion) -> Building:
    """Return a life of which nothing is known but that it may be there."""
    return Building(
        begun=False,
        low=version.cursor,
        sent_first=version.sent,
        sent_last=version.sent,
        to_send=version.to_send,
        stopped=version.status in STOPPED,
        silent=version.status in STOPPED,
        high=version.cursor,
    )
