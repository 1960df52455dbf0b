"""Owns making one timeline of two of one campaign: what a recording saw, and what the log tells of the same row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from listmonk_doctor.timeline.model import Gap, RowVersion, Timeline

_MOMENT: Final = timedelta(microseconds=1)
_SLACK: Final = timedelta(seconds=1)
"""By how much a commit's own time and the moment at which it could be seen may differ."""


def merge(recorded: Timeline | None, logged: Timeline | None) -> Timeline:
    """Return one timeline of both: versions by their `xmin`, the log's moments where it has them.

    Sessions and settings of the recording stay, beside the log's settings. A gap of the recording goes where the log
    tells every version in it. Of a log that lost versions in between nothing is taken: the recording itself is
    returned; nor is of a page what nobody dates. Raises RefusedError where the two contradict each other, ValueError
    where there is nothing, or two campaigns.
    """
    if recorded is None or logged is None:
        only = recorded or logged
        if only is None:
            raise ValueError("nothing to merge")
        return only
    logged = _dated(logged)
    if logged is None:
        return recorded
    if recorded.campaign_uuid != logged.campaign_uuid:
        raise ValueError("two campaigns")
    versions = _versions(recorded.versions, logged.versions)
    if not all(version.linked for version in logged.versions[1:]):
        return recorded  # versions were lost between: what both together would say there is not proved
    gaps = [gap for gap in recorded.gaps if not _covered(gap, logged)]
    gaps += [gap for gap in logged.gaps if gap not in gaps]
    known = {replace(pace, at=logged.began) for pace in recorded.paces}
    more = tuple(pace for pace in logged.paces if replace(pace, at=logged.began) not in known)
    return replace(
        recorded if recorded.ended > logged.ended else logged,
        began=min(recorded.began, logged.began),
        ended=max(recorded.ended, logged.ended),
        versions=versions,
        gaps=tuple(sorted(gaps, key=lambda gap: gap.start)),
        paces=(*recorded.paces, *more),
        sessions=recorded.sessions,
    )


def _dated(logged: Timeline) -> Timeline | None:
    """Return a log without what a page holds and nobody dates; None where nothing else is there."""
    kept: list[RowVersion] = []
    for was, each in zip((None, *logged.versions), logged.versions, strict=False):
        if each.dated:
            kept.append(each if was is None or was.dated else replace(each, linked=False))
    if len(kept) == len(logged.versions):
        return logged
    return replace(logged, began=kept[0].before, versions=tuple(kept)) if kept else None


def _versions(recorded: Sequence[RowVersion], logged: Sequence[RowVersion]) -> tuple[RowVersion, ...]:
    """Return the versions of both in their order; each log's version that may miss one before it is bounded anew."""
    told = {version.xmin: version for version in logged}
    looks = {version.xmin: version for version in recorded}
    found = _in_order(recorded, logged, told)
    result: list[RowVersion] = []
    for version in found:
        seen, last = looks.get(version.xmin), result[-1] if result else None
        each = version
        if each is logged[-1] and seen is not None:
            each = replace(each, until=max(each.until, seen.until))
        if last is not None and each.source != "recording":
            if each.linked and last.source == "recording" and last.xmin not in told:
                raise _contradicted()  # the log knows what came before this one, and it is another
            if not each.linked and (at := _last_seen(last, looks)) is not None:
                each = replace(each, after=min(at, each.before), linked=True, source="recording")
        elif last is not None and last.source != "recording" and last.xmin not in looks:
            each = replace(each, after=max(each.after, min(each.before, last.before)))
        result.append(each)
    ends = [replace(each, until=min(each.until, after.before)) for each, after in pairwise(result)]
    return (*ends, *result[-1:])


def _in_order(
    recorded: Sequence[RowVersion], logged: Sequence[RowVersion], told: dict[str, RowVersion]
) -> list[RowVersion]:
    """Return the log's versions, and those of the recording that the log lacks, by time."""
    rest, behind = [], None
    for version in reversed(recorded):
        same = told.get(version.xmin)
        if same is None:  # a commit is dated a little before it can be seen: a look may just not have seen the next
            at = version.before if behind is None else min(version.before, behind.before - _MOMENT)
            rest.append(replace(version, after=min(version.after, at), before=at))
        elif _row(same) != _row(version) or not _at_its_time(same, version):
            raise _contradicted()
        behind = same or behind
    found = sorted((*logged, *rest), key=lambda each: (each.before, each.source != "recording"))
    if [each for each in found if each.source != "recording"] != list(logged):
        raise _contradicted()  # the log's own order is by place
    return found


def _at_its_time(logged: RowVersion, looked: RowVersion) -> bool:
    """Tell whether a look can have seen what the log dates; the first look at a row sees what may be old."""
    return (looked.dated or looked.after - _SLACK <= logged.before) and logged.before <= looked.until + _SLACK


def _last_seen(version: RowVersion, looks: dict[str, RowVersion]) -> datetime | None:
    """Return when a look saw a version last; None where none did."""
    seen = looks.get(version.xmin)
    return None if seen is None else seen.until


def _row(version: RowVersion) -> tuple[object, ...]:
    return (version.status, version.sent, version.to_send, version.cursor, version.ceiling, version.updated_at)


def _covered(gap: Gap, logged: Timeline) -> bool:
    """Tell whether the log, which lost no version, reaches over a gap."""
    return logged.began <= gap.start and gap.end <= logged.ended


def _contradicted() -> RefusedError:
    return RefusedError(
        "The recording and the log contradict each other.",
        hint="Was the database restored since it was recorded? Use one of the two.",
    )
