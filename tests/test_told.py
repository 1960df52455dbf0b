"""What the versions of a timeline are told as: one write of listmonk's, one thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from listmonk_doctor.timeline.lives import read_meaning
from listmonk_doctor.timeline.model import Pace, RowVersion, Timeline
from listmonk_doctor.timeline.told import steps

if TYPE_CHECKING:
    from listmonk_doctor.timeline.meaning import Meaning

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
TO_SEND, LAST = 400, 402


def version(seconds: float, status: str, sent: int, cursor: int, updated: float) -> RowVersion:
    """Return a version that the log dates."""
    at, touched = START + timedelta(seconds=seconds), START + timedelta(seconds=updated)
    row = (status, sent, TO_SEND, cursor, LAST, START, touched)
    return RowVersion(at, at, at, *row, f"{seconds:.3f}", "log", round(seconds * 1000))


def meant(*versions: RowVersion) -> Meaning:
    """Return what a log's versions mean, sent by 4.1.0."""
    pace = Pace(START, 500, 5, 4, 0, 0.0, "v4.1.0")
    return read_meaning(Timeline(1, "u", "n", versions[0].before, versions[-1].before, versions, (), (pace,)))


def told(*versions: RowVersion) -> list[tuple[str, str]]:
    """Return the kinds and words of a log's versions."""
    return [(each.kind, each.words) for each in steps(meant(*versions))]


def test_an_end_in_two_writes_is_one_end() -> None:
    """Listmonk writes count and cursor first and the status next: the first is on its way, the second is the end."""
    end = told(
        version(0.0, "running", 0, 0, 0.0),
        version(0.01, "running", 0, LAST, 0.01),
        version(5.0, "running", 100, LAST, 0.01),
        version(7.0, "running", TO_SEND, LAST, 7.0),
        version(7.001, "finished", TO_SEND, LAST, 7.001),
    )
    assert [kind for kind, _ in end] == ["first", "batch", "flush", "closing", "closed"]


def test_an_overwritten_cursor_is_named_by_the_id_that_was_lost() -> None:
    """A run that sent nothing writes the count over the cursor, and then finishes: nobody edited the row."""
    *_, way, end = told(
        version(0.0, "running", 0, 0, 0.0),
        version(0.01, "running", 0, LAST, 0.01),
        version(5.0, "running", 84, LAST, 0.01),
        version(21.3, "running", 84, LAST, 0.01),
        version(21.304, "running", 84, TO_SEND, 21.304),
        version(21.305, "finished", 84, TO_SEND, 21.305),
    )
    assert way[0] == "closing"
    assert end == ("overwritten", f"the count `to_send` written over the cursor {LAST} (M2)")


def test_a_late_scan_right_behind_another_write_is_no_certain_death() -> None:
    """The database stood still for six seconds: a fetch, the late scan and the next fetch are committed together."""
    meaning = meant(
        version(-5.0, "running", 0, 0, -5.0),
        version(0.0, "running", 0, 54, 0.0),
        version(0.0001, "running", 5, 54, 0.0),
        version(6.0, "running", 5, 59, 3.0),
        version(6.0001, "running", 5, 59, 3.0),
        version(6.0002, "running", 5, 60, 4.0),
        version(9.0, "running", 10, 60, 4.0),
        version(14.0, "running", 11, 60, 4.0),
    )
    assert [life.end for life in meaning.lives] == ["perhaps-died", "open"]


def test_a_late_scan_right_before_an_end_that_lacks_nobody_is_no_certain_death() -> None:
    """The database stood still while everybody was mailed: the last beat and the end are committed together."""
    meaning = meant(
        version(-5.0, "running", 0, 0, -5.0),
        version(0.0, "running", 0, LAST, 0.0),
        version(5.0, "running", TO_SEND, LAST, 0.0),
        version(10.0, "running", TO_SEND, LAST, 0.0),
        version(16.0, "running", TO_SEND, LAST, 0.0),
        version(16.0001, "running", TO_SEND, LAST, 15.0),
        version(16.0002, "finished", TO_SEND, LAST, 15.5),
    )
    assert [life.end for life in meaning.lives] == ["perhaps-died"]


def test_an_end_that_only_a_page_tells_of_is_no_edit() -> None:
    """Started again before its old pipe ended, which sets the cursor back: a write on a page is one, dated or not."""
    dated = (
        version(0.0, "running", 84, 0, 0.0),
        version(0.01, "running", 84, 300, 0.01),
        version(7.0, "running", 84, 200, 7.0),
        version(9.0, "running", 99, 200, 9.0),
    )
    undated = tuple(
        replace(each, after=START, before=START + timedelta(hours=1), until=START + timedelta(hours=1), source="page")
        for each in dated
    )
    assert told(*undated) == told(*dated)
    assert [kind for kind, _ in told(*undated)] == ["first", "batch", "closed", "closed"]
