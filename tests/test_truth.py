"""Holds everything the diagnosis says of the recorded accidents against the relay's own account of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.recording import open_recording, recordings
from listmonk_doctor.repair.diagnose import diagnose_in
from tests.support.holding import assert_true
from tests.support.sharp import assert_sharp, yardstick
from tests.support.table import GROUPS, PRICES, group_row, price_rows
from tests.support.truth import read_truth, server_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from listmonk_doctor.demo.recording import Recording
    from listmonk_doctor.repair.plan import Diagnosis

CASES = [
    pytest.param(name, worse, id=f"{name}{'-worse' if worse else ''}")
    for name in recordings()
    for worse in (False, True)
]


def diagnosed(conn: psycopg.Connection[Any], recording: Recording) -> dict[int, Diagnosis]:
    """Diagnose every campaign of a loaded recording, with the scanners and pipes that were there."""
    ids = [int(campaign) for campaign in recording.incident["campaigns"]]
    server = server_of(recording)
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        return diagnose_in(cur, ids, server=server)


@pytest.mark.parametrize(("name", "worse"), CASES)
def test_what_is_said_of_each_recording_is_true(
    incident_db: Any, name: str, record_property: Callable[[str, Any], None], *, worse: bool
) -> None:
    """The truth lies inside every range, group and price of every campaign, and no more is unknown than has to be."""
    groups: list[Any] = []
    prices: list[Any] = []
    recording = open_recording(name)
    dsn = incident_db(name, worse=worse)
    loaded = incident_db.loaded(dsn)
    shifted = len(loaded.redated) + len(loaded.deleted)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for campaign, diagnosis in diagnosed(conn, recording).items():
            truth = read_truth(conn, recording, campaign, worse=worse, shifted=shifted)
            assert_true(diagnosis, truth, recording.version)
            assert_sharp(diagnosis.examination, truth, recording, yardstick(conn, recording, campaign, truth))
            if diagnosis.examination.campaign.started_at:
                groups.append(group_row(name, diagnosis, truth))
                prices += price_rows(name, diagnosis, truth, recording.version)
    if not worse:
        record_property(GROUPS, groups)
        record_property(PRICES, prices)


def test_every_recording_is_here() -> None:
    """All recordings are there to be tried."""
    assert len(recordings()) == 39


@pytest.mark.parametrize("name", recordings())
def test_what_happened_is_never_ruled_out(incident_db: Any, name: str) -> None:
    """No cause that was at work in a recording is ruled out for all of its campaigns; what never was is not proved."""
    recording = open_recording(name)
    seen = {found[0] for each in recording.incident["mechanisms"] if (found := re.match(r"M\d+", each))}
    with psycopg.connect(incident_db(name), autocommit=True) as conn:
        causes = [cause for said in diagnosed(conn, recording).values() for cause in said.examination.causes]
    possible = {cause.code for cause in causes if cause.standing != "ruled-out"}
    established = {cause.code for cause in causes if cause.standing == "established"}
    assert seen <= possible
    assert established <= seen | ({"M15"} if recording.version < "v3" else set())
