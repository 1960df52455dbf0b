"""Owns merging what was recorded of a campaign with what the log holds of it into one timeline."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from listmonk_doctor.timeline.model import LATE

if TYPE_CHECKING:
    from listmonk_doctor.timeline.model import Gap, Pace, RowVersion, Timeline


def merge(recorded: Timeline | None, logged: Timeline | None) -> Timeline:
    """Return one timeline of the same campaign from both; versions are the same where their xmin is.

    Exact times win over bounds. The sessions of the recording and the settings of both stay, and a gap that the log
    covers vanishes. Raises ValueError where there is neither.
    """
    if recorded is None or logged is None:
        either = recorded or logged
        if either is None:
            raise ValueError("nothing to merge")
        return either
    later = recorded if recorded.ended >= logged.ended else logged
    gaps = tuple(gap for gap in recorded.gaps if not _covers(logged, gap))
    gaps += tuple(gap for gap in logged.gaps if gap not in gaps and not _covers(recorded, gap))
    return replace(
        later,
        began=min(recorded.began, logged.began),
        ended=later.ended,
        versions=_versions(recorded, logged),
        gaps=tuple(sorted(gaps, key=lambda gap: (gap.start, gap.end))),
        paces=_paces(recorded, logged),
        sessions=recorded.sessions or logged.sessions,
    )


def _covers(timeline: Timeline, gap: Gap) -> bool:
    """Tell whether a timeline saw all of a stretch of time that another one did not."""
    if not timeline.began <= gap.start <= gap.end <= timeline.ended:
        return False
    if any(each.start < gap.end and gap.start < each.end for each in timeline.gaps):
        return False
    return all(each.linked for each in timeline.versions[1:] if gap.start < each.before <= gap.end)


def _versions(recorded: Timeline, logged: Timeline) -> tuple[RowVersion, ...]:
    """Return the versions of both in order, each of them once."""
    by_xmin = {each.xmin: each for each in recorded.versions}
    for each in logged.versions:
        held = by_xmin.get(each.xmin)
        if held is None:
            by_xmin[each.xmin] = each
        elif each.dated or not (held.dated and held.source != "recording"):
            by_xmin[each.xmin] = replace(each, until=max(each.until, held.until), linked=each.linked or held.linked)
    ordered = sorted(by_xmin.values(), key=lambda each: (each.before, each.place or 0))
    follows = {(was.xmin, now.xmin) for one in (recorded, logged) for was, now in pairwise(one.versions) if now.linked}
    found = [ordered[0]]
    for each in ordered[1:]:
        found[-1] = replace(found[-1], until=max(found[-1].before, min(found[-1].until, each.before)))
        found.append(_behind(found[-1], each, known=(found[-1].xmin, each.xmin) in follows))
    return tuple(found)


def _behind(was: RowVersion, now: RowVersion, *, known: bool) -> RowVersion:
    """Return a version with what is known of the time between it and the one before it."""
    if known:
        return replace(now, linked=True)
    silent = (now.before - was.until).total_seconds() > LATE
    if now.source == "recording":  # a first look dates nothing: it was committed since the other was there
        return replace(now, after=min(now.after, was.until) if silent else max(was.before, now.after))
    return replace(now, linked=not silent and was.source == "recording")


def _paces(recorded: Timeline, logged: Timeline) -> tuple[Pace, ...]:
    """Return the settings of both by time, each once."""
    found: list[Pace] = []
    for pace in sorted({*recorded.paces, *logged.paces}, key=lambda each: (each.at, each.version)):
        if not found or replace(pace, at=found[-1].at) != found[-1]:
            found.append(pace)
    return tuple(found)
