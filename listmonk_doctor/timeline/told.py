"""Owns what a timeline is told with: each version with what it was, and which of them are mere routine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from listmonk_doctor.timeline.beats import whole
from listmonk_doctor.timeline.events import STOPPED, Event, told_change
from listmonk_doctor.timeline.meaning import Moment
from listmonk_doctor.timeline.model import LATE

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.meaning import Life, Meaning
    from listmonk_doctor.timeline.model import RowVersion
    from listmonk_doctor.timeline.wal.history import Reach

Kind = Literal[
    "first",
    "unseen",
    "overwritten",
    "closing",
    "closed",
    "status",
    "edited",
    "repaired",
    "batch-and-flush",
    "batch",
    "flush",
    "picked-up",
    "beat",
    "touched",
]
_PRESSES: Final = {
    "running": "it was started",
    "paused": "it was paused",
    "cancelled": "it was cancelled",
    "scheduled": "it was scheduled",
    "finished": "it was called finished",
}
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
    births = {_born(each, versions) for each in meaning.lives if each.end == "died"}
    found = [Step(versions[0], "first", "the first that is known")]
    kept, was = {each.xmin for each in whole(versions)}, versions[0]
    for now in versions[1:]:
        if now.xmin not in kept:  # listmonk writes a run's end in two steps
            found.append(Step(now, "closing", "sending ends: count and cursor, the status next"))
            continue
        event, was = Event(was, now), now
        kind = _kind(event, counts)
        if kind == "beat" and now.xmin in births:
            kind = "picked-up"
        found.append(Step(now, kind, _words(event, kind)))
    return tuple(found)


def _born(dead: Life, versions: tuple[RowVersion, ...]) -> str:
    """Return the xmin of what the next process wrote first, after one had died; "" where there is none."""
    if dead.died_by is None:
        return ""
    return next((each.xmin for each in versions if each.after >= dead.died_by), "")


def moments(meaning: Meaning) -> tuple[Moment, ...]:
    """Return what happened in the order of time, with the changes of the status that a meaning leaves out."""
    told = {(each.after, each.before) for each in meaning.moments if each.what.startswith("it was ")}
    presses = [
        Moment(each.version.after, each.version.before, _pressed(each))
        for each in steps(meaning)
        if (each.kind == "status" or _on_page(each)) and (each.version.after, each.version.before) not in told
    ]
    return tuple(sorted((*presses, *meaning.moments), key=lambda each: (each.before, each.after)))


def _pressed(step: Step) -> str:
    return _PRESSES.get(step.version.status, step.words) if step.kind == "status" else step.words


def _on_page(step: Step) -> bool:
    """Tell whether a page tells what was written, but hardly when: a meaning leaves it out."""
    blind = (step.version.before - step.version.after).total_seconds() > LATE
    return step.version.source == "page" and blind and step.kind not in ("first", "unseen")


def _kind(event: Event, counts: set[tuple[datetime, datetime]]) -> Kind:  # noqa: PLR0911 - one return per kind
    if event.hidden and not event.single:
        return "unseen"
    if event.own:
        return "repaired"
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
    return "picked-up" if anew else "beat"


def _words(event: Event, kind: Kind) -> str:
    now = event.now
    ended = f"sending ended in order, {now.status}" if now.status in {*STOPPED, "finished"} else "sending ended"
    words: dict[Kind, str] = {
        "unseen": "nobody looked before it" if now.linked else "versions are missing before it",
        "overwritten": f"the count `to_send` written over the cursor {event.was.cursor:,} (M2)",
        "closing": ended,
        "closed": ended,
        "status": f"{event.was.status} became {now.status}{_besides(event)}",
        "edited": "edited: the counter or the cursor went back",
        "repaired": f"listmonk-doctor, run {now.by[:8]}{told_change(event)}",
        "batch-and-flush": f"a batch up to id {now.cursor:,}, {event.counted:,} sent",
        "batch": f"a batch up to id {now.cursor:,}",
        "flush": f"{event.counted:,} sent",
        "touched": "edited, or a press that changed nothing",
        "picked-up": "taken up by a process",
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
