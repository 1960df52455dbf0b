"""A recording and a log of one campaign make one timeline: exact times win, and what one saw fills the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from listmonk_doctor.timeline.events import Event
from listmonk_doctor.timeline.merge import merge
from listmonk_doctor.timeline.model import Gap, Pace, RowVersion, Sessions, Timeline

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    """Return a moment."""
    return NOON + timedelta(seconds=second)


def looked(xmin: int, after: float, before: float, until: float) -> RowVersion:
    """Return a version that looks saw."""
    row = ("running", xmin, 100, xmin, 100, NOON, NOON, str(xmin))
    return RowVersion(at(after), at(before), at(until), *row)


def logged(xmin: int, second: float, until: float, *, linked: bool = True) -> RowVersion:
    """Return a version that the log holds."""
    return replace(looked(xmin, second, second, until), source="log", place=xmin * 100, linked=linked)


def timeline(*versions: RowVersion, gaps: tuple[Gap, ...] = (), ended: float | None = None) -> Timeline:
    """Return a timeline of these versions."""
    end = versions[-1].until if ended is None else at(ended)
    pace = Pace(versions[0].after, 50, 5, 10, 0, 0.0, "v6.2.0")
    return Timeline(2, "uuid", "Letter", versions[0].after, end, versions, gaps, (pace,))


def test_exact_times_win_and_sessions_stay() -> None:
    """A version of both is there once, with the commit's own time; the recording's sessions and settings are kept."""
    sessions = (Sessions(at(0), at(9), frozenset({"a"}), visible=True, waiting=False, servers=1),)
    recorded = replace(timeline(looked(1, 0, 0, 4), looked(2, 4, 5, 9)), sessions=sessions)
    log = timeline(logged(1, -30, 4.2), logged(2, 4.2, 8))
    merged = merge(recorded, log)
    assert [(each.xmin, each.after, each.before) for each in merged.versions] == [
        ("1", at(-30), at(-30)),
        ("2", at(4.2), at(4.2)),
    ]
    assert merged.versions[-1].until == at(9)
    assert merged.sessions == sessions
    assert (merged.began, merged.ended) == (at(-30), at(9))
    assert set(merged.paces) <= {*recorded.paces, *log.paces}


def test_a_gap_vanishes_where_the_log_saw_it_all() -> None:
    """Nobody looked for a minute, but the log has every version of it; a log with a hole there leaves the gap."""
    gap = Gap(at(5), at(65), "nobody looked")
    recorded = timeline(looked(1, 0, 0, 5), looked(4, 5, 65, 70), gaps=(gap,))
    whole = timeline(logged(1, -5, 20), logged(2, 20, 30), logged(3, 30, 40), logged(4, 40, 70))
    merged = merge(recorded, whole)
    assert merged.gaps == ()
    assert [each.xmin for each in merged.versions] == ["1", "2", "3", "4"]
    torn = timeline(logged(1, -5, 20), logged(3, 30, 40, linked=False), logged(4, 40, 70))
    merged = merge(recorded, torn)
    assert merged.gaps == (gap,)
    assert [each.linked for each in merged.versions] == [True, False, True]


def test_what_only_one_has_is_kept_and_what_lies_between_is_not_called_seen() -> None:
    """A log that ended before the recording began leaves a time in which anything may have happened."""
    log = timeline(logged(1, 0, 10), logged(2, 10, 12), ended=12)
    recorded = timeline(looked(5, 100, 100, 104), looked(6, 104, 105, 106))
    merged = merge(recorded, log)
    assert [each.xmin for each in merged.versions] == ["1", "2", "5", "6"]
    assert Event(merged.versions[1], merged.versions[2]).hidden
    assert not Event(merged.versions[2], merged.versions[3]).hidden


def test_looks_bridge_a_hole_in_the_log() -> None:
    """The log lost versions, but looks a second apart saw the row all the while: nothing is missing."""
    looks = timeline(*(looked(each, each - 1, each, each + 1) for each in range(2, 8)))
    log = timeline(logged(1, 0, 1.5), logged(2, 1.5, 2.4), logged(6, 5.5, 6.5, linked=False), logged(7, 6.5, 8))
    merged = merge(looks, log)
    assert [each.xmin for each in merged.versions] == [str(each) for each in range(1, 8)]
    assert all(each.linked for each in merged.versions[1:])
    assert not any(Event(*pair).hidden for pair in zip(merged.versions, merged.versions[1:], strict=False))


def test_one_alone_is_as_it_is_and_none_is_an_error() -> None:
    """There may be no recording, or no log."""
    one = timeline(looked(1, 0, 0, 4))
    assert merge(one, None) is one
    assert merge(None, one) is one
    with pytest.raises(ValueError, match="nothing to merge"):
        merge(None, None)
