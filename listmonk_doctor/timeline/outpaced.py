"""Owns whether a log shows more mails in a time than the settings allow: then they were others when it was written."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from listmonk_doctor.listmonk.versions import SCAN_SECONDS
from listmonk_doctor.timeline.beats import NOISE, is_scan, whole
from listmonk_doctor.timeline.events import Event
from listmonk_doctor.timeline.meaning import fastest

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.model import Timeline


class Outpaced(NamedTuple):
    """A flush that holds more than the settings allow: `counted` mails in `seconds`, of at most `allowed`."""

    at: datetime
    counted: int
    seconds: float
    allowed: int


class _Scan(NamedTuple):
    at: datetime
    counted: int


def outpaced(timeline: Timeline) -> Outpaced | None:
    """Return the flush that exceeds what the timeline's settings allow by most; None where all of them fit.

    A flush counts what was sent since the scan before, which may have begun as early as the one before that was
    committed, where the database stood still (3.0.0 and later). Looks do not tell how old a count is, and are left
    out.
    """
    if not timeline.paces:
        return None
    rate, workers, _, _ = fastest(timeline.paces)
    found: list[Outpaced] = []
    for scans in _runs(timeline):
        for (before, last), (_, now) in pairwise(pairwise(scans)):
            gap, steady = (now.at - last.at).total_seconds(), (last.at - before.at).total_seconds()
            if max(abs(gap - SCAN_SECONDS), abs(steady - SCAN_SECONDS)) > NOISE:
                gap = max(gap + steady, SCAN_SECONDS)
            allowed = rate * (int(gap + 2 * NOISE) + 1) + workers
            if now.counted > allowed:
                found.append(Outpaced(now.at, now.counted, gap, allowed))
    return max(found, key=lambda each: each.counted / each.allowed, default=None)


def _runs(timeline: Timeline) -> list[list[_Scan]]:
    """Return the scans that a log dates, by the stretches in which it has lost nothing."""
    runs: list[list[_Scan]] = [[]]
    for was, now in pairwise(whole(timeline.versions)):
        event = Event(was, now)
        if not event.alone or event.own:
            runs.append([])
        elif is_scan(event):
            runs[-1].append(_Scan(event.before, event.counted))
    return runs
