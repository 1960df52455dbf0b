"""Owns how many people a log shows in each batch: the batch size of the time in which a campaign was sent."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from listmonk_doctor.diagnosis.idsets import count_between
from listmonk_doctor.timeline.beats import whole
from listmonk_doctor.timeline.events import Event

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.idsets import Audience
    from listmonk_doctor.timeline.model import Timeline


class Batches(NamedTuple):
    """The batches that a log shows: each of them held `least` people at least, and `most` at most.

    `same` False: not all of them can have been of one size.
    """

    number: int
    least: int
    most: int
    same: bool = True

    @property
    def size(self) -> int | None:
        """The batch size where the log leaves no doubt of it."""
        return self.least if self.same and self.least == self.most else None

    def fits(self, size: int) -> bool:
        """Tell whether all of them may have been of that size."""
        return self.same and self.least <= size <= self.most


def batches(timeline: Timeline, audience: Audience) -> Batches | None:
    """Return what a log shows of the batches but the last of a campaign; None where it shows none.

    4.0.0 and later, where a batch is cut from those who can be mailed. People who are not surely in the audience of
    that time any more make the bounds wide, and so do newcomers, who may have been taken with a batch.
    """
    if any(version.source == "recording" for version in timeline.versions):
        return None
    lows, highs = [], []
    for was, now in pairwise(whole(timeline.versions)):
        event = Event(was, now)
        if not event.alone or event.own or event.moved <= 0 or event.pressed or event.closes:
            continue
        if not count_between(audience.sure, now.cursor, now.ceiling):
            continue  # the last one, which need not be full: whoever the ceiling was may be gone
        hidden = max(0, now.to_send - len(audience.sure))
        sure, *others = (
            count_between(people, was.cursor, now.cursor)
            for people in (audience.sure, audience.possible, audience.newcomers)
        )
        lows.append(sure)
        highs.append(sum(others) + hidden)
    if not lows:
        return None
    if max(lows) <= min(highs):
        return Batches(len(lows), max(lows), min(highs))
    return Batches(len(lows), min(lows), max(highs), same=False)
