"""Owns the sentences and the causes that a recording adds to a diagnosis."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.recorded import Hole, Recorded
    from listmonk_doctor.diagnosis.report import Cause
    from listmonk_doctor.timeline.meaning import Overwrite

    Sentences = tuple[str, ...]


def tell_recorded(figures: Figures) -> tuple[Sentences, Sentences, Sentences]:
    """Return what a recording adds to what happened, what is known, and what cannot be known; nothing without one."""
    recorded = figures.recorded
    if recorded is None:
        return (), (), ()
    happened = [_death(hole, recorded.saw) for hole in recorded.holes if hole.certain]
    happened += [
        f"{recorded.saw} at {each.before:%H:%M:%S} UTC: a run that sent nothing set the cursor from {each.was:,} to "
        f"{each.became:,}, which is `to_send` (M2)."
        for each in _overwritten(figures, recorded)
    ]
    if recorded.again and not recorded.meaning.muddled:
        happened.append(_again(recorded))
    return tuple(happened), (*_known(recorded), *_batches(figures, recorded)), _unknowable(figures, recorded)


def _batches(figures: Figures, recorded: Recorded) -> Sentences:
    """Return what a log shows of the batch size of the time in which it was sent."""
    seen, today = recorded.batches, figures.settings.batch_size
    if seen is None or (seen.fits(today) and not seen.size):
        return ()
    batches = "full batch" if seen.number == 1 else "full batches"
    held = f"{seen.number:,} {batches} of {seen.least:,}{'' if seen.size else f' to {seen.most:,}'} people"
    if seen.size == today:
        return (f"{recorded.saw} shows {held}: the batch size was what it is today.",)
    return (f"{recorded.saw} shows {held}; the batch size is {today:,} today.",)


def _again(recorded: Recorded) -> str:
    low, high = int(recorded.again.min()), int(recorded.again.max())
    return (
        f"{recorded.saw}: it started over below where it had been; up to {len(recorded.again):,} people of today's "
        f"audience (ids {low:,} to {high:,}) were taken a second time."
    )


def _overwritten(figures: Figures, recorded: Recorded) -> tuple[Overwrite, ...]:
    """Return the cursors that surely became a count: no batch goes back, or ends at an id that nobody has."""
    possible = figures.audience.possible
    return tuple(each for each in recorded.meaning.overwrites if each.became < each.was or each.became not in possible)


def _death(hole: Hole, saw: str) -> str:
    surely = f"; {len(hole.surely):,} people in it were surely not mailed" if hole.surely else ""
    return (
        f"{saw}: the sender died {_between(hole.after, hole.by)}. What it lost ends at id {hole.last_id:,} and "
        f"begins between ranks {hole.first.low:,} and {hole.first.high:,}{surely}."
    )


def _perhaps(hole: Hole, noun: str) -> str:
    return (
        f"Whether the sender died {_between(hole.after, hole.by)} or went on cannot be told from {noun}; if it "
        f"died, up to {len(hole.most):,} people up to id {hole.last_id:,} were lost."
    )


def _between(after: datetime, by: datetime) -> str:
    return f"between {after:%Y-%m-%d %H:%M:%S} and {by:%H:%M:%S} UTC"


def _known(recorded: Recorded) -> Sentences:
    timeline = recorded.meaning.timeline
    if recorded.meaning.muddled:
        return ()
    span = f"from {timeline.began:%Y-%m-%d %H:%M:%S} to {timeline.ended:%Y-%m-%d %H:%M:%S} UTC"
    if recorded.complete:
        said = [f"Its progress was recorded {span}: from before the first batch until now, without a gap that matters."]
        if recorded.logged:
            said = [f"PostgreSQL's log has every write of its row {span}: from before the first batch until now."]
        if not recorded.started_over:
            said.append(f"It never started over: {recorded.noun} shows every move of the cursor.")
        return tuple(said)
    if recorded.logged:
        return (f"PostgreSQL's log has writes of its row {span}; the rest is known by the row alone.",)
    return (f"Its progress was recorded {span}; the rest is known by the row alone.",)


def _unknowable(figures: Figures, recorded: Recorded) -> Sentences:
    meaning = recorded.meaning
    if figures.counts_fetched:
        counts = "this version counts a mail as sent when it is fetched"
        return (f"{_first(recorded.noun)} shows when batches were taken, and not who was mailed: {counts}.",)
    if meaning.muddled:
        return (f"Nothing follows from {recorded.noun}: {meaning.muddled}.",)
    said = [_perhaps(hole, recorded.noun) for hole in recorded.holes if not hole.certain]
    if faster := recorded.outpaced:
        said.append(
            f"In {faster.seconds:.1f} seconds up to {faster.at:%H:%M:%S} UTC {faster.counted:,} mails were counted; "
            f"today's settings allow {faster.allowed:,}: workers or message rate were higher then (or a count was "
            "written twice). Who was mailed in the last seconds before an end cannot be told by them."
        )
    if not recorded.complete:
        missing = [] if meaning.from_start else ["what came before it began"]
        missing += ["what happened since it ended"] if figures.campaign.xmin != meaning.last.xmin else []
        missing += [_unlooked(recorded)] if meaning.unseen else []
        if missing:
            said.append(f"{_first(recorded.noun)} does not show {', or '.join(missing)}.")
    return tuple(said)


def _unlooked(recorded: Recorded) -> str:
    return "the writes that it has lost" if recorded.logged else "what happened while nobody looked"


def _first(words: str) -> str:
    return words[0].upper() + words[1:]


def recorded_causes(causes: tuple[Cause, ...], figures: Figures) -> tuple[Cause, ...]:
    """Let a recording establish or rule out what it saw: kills that lost people (M1), overwritten cursors (M2)."""
    recorded = figures.recorded
    if recorded is None or recorded.meaning.muddled or figures.counts_fetched:
        return causes
    return tuple(_judged(cause, recorded, figures) for cause in causes)


def _judged(cause: Cause, recorded: Recorded, figures: Figures) -> Cause:
    saw = recorded.saw if recorded.logged else "recorded"
    if cause.code == "M1":
        lost = [hole for hole in recorded.holes if hole.certain and hole.surely]
        if lost:
            times = ", ".join(f"{hole.by:%H:%M:%S}" for hole in lost)
            people = sum(len(hole.surely) for hole in lost)
            because = f"{saw}: the sender died by {times} UTC; at least {people:,} people it held were not mailed"
            return replace(cause, standing="established", because=because)
        dead = [hole for hole in recorded.holes if hole.certain]
        if dead:
            times, people = ", ".join(f"{hole.by:%H:%M:%S}" for hole in dead), sum(len(hole.most) for hole in dead)
            because = f"{saw}: the sender died by {times} UTC; up to {people:,} people it held may be lost"
            return replace(cause, standing="consistent", because=because)
        if recorded.complete and not recorded.holes:
            return replace(cause, standing="ruled-out", because=f"{saw}: no sender died with people in its hands")
    if cause.code == "M2":
        seen = _overwritten(figures, recorded)
        if seen:
            because = f"{saw} at {seen[-1].before:%H:%M:%S} UTC: the cursor went from {seen[-1].was:,} to `to_send`"
            return replace(cause, standing="established", because=because)
        if recorded.complete and not recorded.meaning.overwrites:
            return replace(cause, standing="ruled-out", because=f"{saw}: the cursor never became `to_send`")
    return cause
