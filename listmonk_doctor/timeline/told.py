"""Owns what a timeline is told with: each version with what it was, and which of them are mere routine."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from listmonk_doctor.timeline.events import STOPPED, Event

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.meaning import Meaning
    from listmonk_doctor.timeline.model import RowVersion
    from listmonk_doctor.timeline.wal.history import Reach

Kind = Literal[
    "first",
    "unseen",
    "overwritten",
    "closed",
    "status",
    "edited",
    "batch-and-flush",
    "batch",
    "flush",
    "counted-anew",
    "beat",
    "touched",
]
ROUTINE: Final[frozenset[Kind]] = frozenset({"batch-and-flush", "batch", "flush", "beat"})
"""What an undisturbed campaign writes over and over again."""


class Step(NamedTuple):
    """One version of the row, what its commit was by the change from the one before, and the same in words."""

    version: RowVersion
    kind: Kind
    words: str

    @property
    def routine(self) -> bool:
        """Whether it is one of the many that an undisturbed campaign writes."""
        return self.kind in ROUTINE


def steps(meaning: Meaning) -> tuple[Step, ...]:
    """Return the versions of a timeline, each with what it was."""
    versions = meaning.timeline.versions
    counts = {(each.after, each.before) for each in meaning.overwrites}
    first = Step(versions[0], "first", "the first that is known")
    return (first, *(_step(Event(was, now), counts) for was, now in pairwise(versions)))


def _step(event: Event, counts: set[tuple[datetime, datetime]]) -> Step:
    kind = _kind(event, counts)
    return Step(event.now, kind, _words(event, kind))


def _kind(event: Event, counts: set[tuple[datetime, datetime]]) -> Kind:  # noqa: PLR0911 - one return per kind
    if event.hidden:
        return "unseen"
    if (event.after, event.before) in counts:
        return "overwritten"
    if event.closes:
        return "closed"
    if event.pressed:
        return "status"
    if event.counted < 0 or event.moved < 0:
        return "edited"
    if event.moved:
        return "batch-and-flush" if event.counted else "batch"
    if event.counted:
        return "flush"
    if event.touched:
        return "touched"
    was, now = event.was, event.now
    anew = (was.to_send, was.ceiling, was.started_at) != (now.to_send, now.ceiling, now.started_at)
    return "counted-anew" if anew else "beat"


def _words(event: Event, kind: Kind) -> str:
    now = event.now
    ended = f"sending ended in order, {now.status}" if now.status in {*STOPPED, "finished"} else "sending ended"
    words: dict[Kind, str] = {
        "unseen": "nobody looked before it" if now.linked else "versions are missing before it",
        "overwritten": f"the count `to_send` written over the cursor {event.was.cursor:,} (M2)",
        "closed": ended,
        "status": f"{event.was.status} became {now.status}{_besides(event)}",
        "edited": "edited: the counter or the cursor went back",
        "batch-and-flush": f"a batch up to id {now.cursor:,}, {event.counted:,} sent",
        "batch": f"a batch up to id {now.cursor:,}",
        "flush": f"{event.counted:,} sent",
        "touched": "edited, or a press that changed nothing",
        "counted-anew": "taken up: its people counted anew",
        "beat": "a heartbeat",
    }
    return words[kind]


def _besides(event: Event) -> str:
    """Return what was written together with a change of the status."""
    batch = f", a batch up to id {event.now.cursor:,}" if event.moved > 0 else ""
    return batch + (f", {event.counted:,} sent" if event.counted > 0 else "")


class Told(NamedTuple):
    """A timeline as it is shown: what it means, where it comes from, and what is said beside it.

    `source` is a file, "the log", or a folder with segments of it; `saved` the file that it was saved to ("": none);
    `reach` how far the log was read (None: it was not).
    """

    meaning: Meaning
    source: str
    notes: tuple[str, ...] = ()
    saved: str = ""
    reach: Reach | None = None
