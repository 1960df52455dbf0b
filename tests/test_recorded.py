"""Holds what a recording makes of each recorded accident against the relay's account: never false, and sharper."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.recording import open_recording, recordings
from listmonk_doctor.diagnosis.recorded import Heard
from listmonk_doctor.repair.diagnose import diagnose_in
from listmonk_doctor.timeline.lives import read_meaning
from listmonk_doctor.timeline.recording import read_recording
from tests.support.holding import assert_true
from tests.support.replaying import Replay
from tests.support.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from listmonk_doctor.demo.recording import Recording
    from listmonk_doctor.repair.plan import Diagnosis
    from tests.support.databases import IncidentDatabases

NAMES = [name for name in recordings() if open_recording(name).polls]


def everything(_: int) -> bool:
    """Keep every poll."""
    return True


def diagnosed(conn: psycopg.Connection[Any], recording: Recording, file: Path) -> dict[int, Diagnosis]:
    """Diagnose every campaign of a replayed recording with what the recorder kept of it."""
    ids = [int(campaign) for campaign in recording.incident["campaigns"]]
    server = SimpleNamespace(
        running=recording.servers_scanning > 0,
        scanners=recording.servers_scanning,
        because="recorded",
        pipes={campaign: "open" if campaign in recording.open_pipes else "none" for campaign in ids},
        xmin={},
    )
    _, timelines = read_recording(file)
    heard = {each.campaign_id: Heard(read_meaning(each), file.name) for each in timelines}
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        return diagnose_in(cur, ids, server=server, recordings=heard)  # type: ignore[arg-type]


def hold(
    incident_db: IncidentDatabases, name: str, file: Path, keep: Callable[[int], bool], *, worse: bool = False
) -> dict[int, Diagnosis]:
    """Replay a recording, diagnose it with what was kept, and hold all of it against the truth."""
    recording = open_recording(name)
    dsn = incident_db(name, worse=worse)
    loaded = incident_db.loaded(dsn)
    Replay(dsn, recording, loaded.shift).record(file, keep)
    with psycopg.connect(dsn, autocommit=True) as conn:
        said = diagnosed(conn, recording, file)
        shifted = len(loaded.redated) + len(loaded.deleted)
        for campaign, diagnosis in said.items():
            truth = read_truth(conn, recording, campaign, worse=worse, shifted=shifted)
            assert set(diagnosis.examination.recipients.not_mailed).isdisjoint(truth.mails)
            assert_true(diagnosis, truth, recording.version)
    return said


@pytest.mark.parametrize("worse", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_with_a_recording_is_true(
    incident_db: IncidentDatabases, tmp_path: Path, name: str, *, worse: bool
) -> None:
    """With everything recorded, the truth lies inside every range, group and price of every campaign."""
    hold(incident_db, name, tmp_path / "flight", everything, worse=worse)


@pytest.mark.parametrize("part", ["first half", "second half", "a hole in the middle", "every fourth look"])
@pytest.mark.parametrize("name", NAMES)
def test_a_partial_recording_stays_true(incident_db: IncidentDatabases, tmp_path: Path, name: str, part: str) -> None:
    """Whatever part of a campaign was recorded, nothing false is said of the rest."""
    looks = len({poll.ts for poll in open_recording(name).polls})
    keep = {
        "first half": lambda number: number < looks // 2,
        "second half": lambda number: number >= looks // 2,
        "a hole in the middle": lambda number: not looks // 3 <= number < 2 * looks // 3,
        "every fourth look": lambda number: number % 4 == 0,
    }[part]
    hold(incident_db, name, tmp_path / "flight", keep)
