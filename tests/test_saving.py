"""A log that was saved twice is one timeline: what only one reading had stays, and no link is lost or made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.look import Identity, Look, Progress, Servers
from listmonk_doctor.timeline.model import Pace, RowVersion, Timeline
from listmonk_doctor.timeline.recorder import Recorder
from listmonk_doctor.timeline.recording import read_recording, read_tested
from listmonk_doctor.timeline.saving import save

if TYPE_CHECKING:
    from pathlib import Path

HERE = Identity("1", "listmonk", "16384", "16400")
NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


def version(number: int, *, linked: bool = True) -> RowVersion:
    """Return a version that was committed at that second, for one second."""
    at, until = NOON + timedelta(seconds=number), NOON + timedelta(seconds=number + 1)
    row = ("running", number, 100, number, 100, NOON, NOON, str(number))
    return RowVersion(at, at, until, *row, source="log", place=number * 100, linked=linked)


def log(*versions: RowVersion) -> Timeline:
    """Return what a log told."""
    pace = Pace(versions[0].after, 50, 5, 10, 0, 0.0, "v6.2.0")
    return Timeline(2, "uuid", "Letter", versions[0].after, versions[-1].until, versions, paces=(pace,))


def test_what_the_second_reading_lost_stays_linked(tmp_path: Path) -> None:
    """The first reading had 1 to 4, the second, from whose log the old end was gone, 3 to 6: they are 1 to 6."""
    file = tmp_path / "how.db"
    save(file, HERE, log(version(1, linked=False), *(version(each) for each in (2, 3, 4))))
    save(file, HERE, log(version(3, linked=False), *(version(each) for each in (4, 5, 6))))
    source, (timeline,) = read_recording(file)
    assert source == HERE
    assert [each.sent for each in timeline.versions] == [1, 2, 3, 4, 5, 6]
    assert [each.linked for each in timeline.versions[1:]] == [True] * 5
    assert [each.place for each in timeline.versions] == [100, 200, 300, 400, 500, 600]
    assert (timeline.began, timeline.ended) == (NOON + timedelta(seconds=1), NOON + timedelta(seconds=7))
    assert len(timeline.paces) == 2


def test_what_neither_reading_saw_is_not_linked(tmp_path: Path) -> None:
    """Between two readings that share nothing, versions may be missing."""
    file = tmp_path / "how.db"
    save(file, HERE, log(version(1), version(2)))
    save(file, HERE, log(version(8, linked=False), version(9)))
    (timeline,) = read_recording(file)[1]
    assert [each.linked for each in timeline.versions] == [True, True, False, True]


def test_a_reading_that_was_not_tested_is_proved_by_what_it_shares_with_one_that_was(tmp_path: Path) -> None:
    """What it had before stays where both tell the same of a version; where they do not, it is given up."""
    for name, shared, kept in (("same", version(3), [1, 2, 3, 4]), ("other", replace(version(3), sent=77), [3, 4])):
        file = tmp_path / name
        untested = log(version(1), version(2), shared)
        save(file, HERE, replace(untested, ended=untested.ended + timedelta(seconds=1)))
        assert read_tested(file)[1:] == ({}, frozenset({"uuid"}))
        save(file, HERE, log(version(3, linked=False), version(4)))
        _, found, left_out = read_tested(file)
        assert [each.sent for each in found["uuid"].versions] == kept
        assert not left_out


def test_two_campaigns_share_a_file_and_a_contradicted_recording_is_left(tmp_path: Path) -> None:
    """Each has its own timeline; where looks saw another row than the log tells, nothing is written."""
    file = tmp_path / "how.db"
    save(file, HERE, log(version(1), version(2)))
    save(file, HERE, replace(log(version(1), version(3)), campaign_id=3, campaign_uuid="other"))
    assert [len(each.versions) for each in read_recording(file)[1]] == [2, 2]
    flight = tmp_path / "flight"
    row = Progress(2, "uuid", "Letter", "running", 77, 100, 0, 100, NOON, NOON, "2")
    nobody = Servers(frozenset(), frozenset(), visible=True, waiting=False, count=0)
    with Recorder(flight, HERE) as recorder:
        recorder.add(Look(NOON + timedelta(seconds=2.5), {2: row}, nobody))
    before = flight.read_bytes()
    with pytest.raises(RefusedError, match="contradict"):
        save(flight, HERE, log(version(1), version(2)))
    assert flight.read_bytes() == before
