"""What this program wrote itself is known by its transaction; what a look may have missed behind it is not linked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from listmonk_doctor.timeline.model import RowVersion, Timeline
from listmonk_doctor.timeline.own import Write, marked

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def second(number: float) -> datetime:
    """Return a moment that many seconds after the start."""
    return START + timedelta(seconds=number)


def looked(number: float, cursor: int) -> RowVersion:
    """Return a version that a look saw first at a second, and the look before did not."""
    row = ("paused", 100, 400, cursor, 400, START, START)
    return RowVersion(second(number - 1), second(number), second(number), *row, f"{number:.0f}")


def test_own_writes_are_marked_and_what_lies_behind_a_missed_one_is_not_linked() -> None:
    """By its transaction a version is ours; one seen behind a write of ours that no look saw may hide more."""
    seen = (looked(10, 100), looked(20, 50), looked(30, 80), looked(40, 90))
    dated = replace(seen[3], after=second(40), source="log")
    timeline = Timeline(1, "uuid", "name", second(9), second(50), (*seen[:3], dated))
    writes = {
        "uuid": [Write("20", "run-a", second(19.5)), Write("77", "run-b", second(29.5)), Write("78", "c", second(40))]
    }
    versions = marked(timeline, writes).versions
    assert [each.by for each in versions] == ["", "run-a", "", ""]
    assert [each.linked for each in versions] == [True, True, False, True]
    assert marked(timeline, {}) == timeline
    assert marked(timeline, {"other": writes["uuid"]}) == timeline
