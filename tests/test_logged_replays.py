"""Replays every recorded accident as real writes, reads the server's own log, and holds what is said to the truth."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.postgres import throwaway
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.diagnosis.recorded_people import Heard
from listmonk_doctor.repair.diagnose import diagnose_in
from listmonk_doctor.timeline.lives import read_meaning
from listmonk_doctor.timeline.wal.history import read_logs
from listmonk_doctor.timeline.wal.shelf import ServerShelf
from tests.conftest import BIN_VARIABLE, memory
from tests.support.holding import assert_true
from tests.support.replaying_writes import Written
from tests.support.truth import read_truth, server_of
from tests.test_recorded import HEALTHY, KILLED, NAMES, ranked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.demo.recording import Recording
    from listmonk_doctor.repair.plan import Diagnosis
    from listmonk_doctor.timeline.model import Timeline

ASLEEP: Final = ("seed-v6.2.0",)
"""Killed in the last batch under a window that may sleep: the new process just ends, as the old one might have."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server with the log that PostgreSQL writes as shipped."""
    named = os.environ.get(BIN_VARIABLE)
    shipped = {"fsync": "off", "full_page_writes": "on", "wal_level": "replica", "max_wal_senders": "10"}
    with throwaway(bin_folder=Path(named) if named else None, settings=shipped, parent=memory()) as server:
        yield server


def late(timeline: Timeline, part: float) -> Timeline:
    """Return what a log tells that has lost the first part of the versions."""
    first = int(part * len(timeline.versions))
    kept = timeline.versions[first:]
    kept = (replace(kept[0], linked=False), *kept[1:]) if first else kept
    return replace(timeline, began=kept[0].before, versions=kept)


def hold(server: Server, name: str, part: float = 0.0) -> dict[int, Diagnosis]:
    """Replay a recording, diagnose it with what the log tells, and hold all of it against the truth.

    The log has lost the first `part` (0 to 1) of the writes.
    """
    recording = open_recording(name)
    ids = [int(campaign) for campaign in recording.incident["campaigns"]]
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        (count,) = admin.execute("SELECT count(*) FROM pg_database").fetchall()[0]
        admin.execute(f"CREATE DATABASE l{count}".encode())
    with psycopg.connect(server.dsn(f"l{count}"), autocommit=True) as conn:
        loaded = load(conn, recording)
        written = Written(conn, recording, loaded.shift)
        with snapshot(conn, schema="public", timeout=60.0) as cur:
            log = read_logs(cur, ServerShelf(cur), ids)
            timelines = {each: late(written.dated(log.timelines[each]), part) for each in ids if each in log.timelines}
            heard = {each: Heard(read_meaning(told), "the log") for each, told in timelines.items()}
            said = diagnose_in(cur, ids, server=server_of(recording), recordings=heard)
        for campaign, diagnosis in said.items():
            truth = read_truth(conn, recording, campaign, worse=False, shifted=0)
            if diagnosis.examination.recorded and diagnosis.examination.recorded.complete:  # the log has each pause
                truth = replace(truth, contradicted=truth.contradicted - {"no-clean-pause-in-mid-batch"})
            assert set(diagnosis.examination.recipients.not_mailed).isdisjoint(truth.mails)
            assert_true(diagnosis, truth, recording.version)
    return said


def assert_holes(recording: Recording, diagnosis: Diagnosis, *, certain: bool) -> None:
    """Assert that each kill has its hole, which ends exactly; all who were lost are in one, none proved was mailed."""
    recorded = diagnosis.examination.recorded
    assert recorded is not None
    assert recorded.complete
    assert [hole.certain for hole in recorded.holes] == [certain] * KILLED[recording.name]
    people = ranked(recording)
    place = {row.subscriber_id: rank for rank, row in enumerate(people)}
    failed = {row.subscriber_id for row in people if row.failed_attempts}
    missed = {row.subscriber_id for row in people if not row.mails} - failed
    assert missed <= set().union(
        *[set(hole.most) for hole in recorded.holes], diagnosis.examination.recipients.departed
    )
    for hole in recorded.holes:
        last = max(person for person in missed if person <= hole.last_id)
        assert not [person for person in place if last < person <= hole.last_id], "it ended before"
        assert set(hole.surely) & set(place) <= missed | failed


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_with_a_log_is_true(server: Server, name: str) -> None:
    """The truth lies inside every range, group and price; each kill is certain, and no other death is claimed."""
    said = hold(server, name)
    if name in KILLED:
        assert_holes(open_recording(name), said[2], certain=name not in ASLEEP)
    if name in HEALTHY:
        for each in said.values():
            recorded = each.examination.recorded
            assert recorded is None or not [hole for hole in recorded.holes if hole.certain]


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", sorted(KILLED))
def test_what_is_said_with_a_log_that_begins_late_is_true(server: Server, name: str, part: float) -> None:
    """Whatever the log has lost of the beginning, nothing false is said."""
    recorded = hold(server, name, part)[2].examination.recorded
    assert recorded is not None
    assert not recorded.complete
