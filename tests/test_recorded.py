"""Holds what a recording makes of each recorded accident against the relay's account: never false, and sharper."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.recording import open_recording, recordings
from listmonk_doctor.diagnosis.recorded_people import Heard
from listmonk_doctor.repair.diagnose import diagnose_in
from listmonk_doctor.timeline.lives import read_meaning
from listmonk_doctor.timeline.look import look
from listmonk_doctor.timeline.recording import read_recording
from tests.support.holding import assert_true
from tests.support.looking import write
from tests.support.replaying import Replay
from tests.support.truth import read_truth, server_of

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
    server = server_of(recording)
    _, timelines = read_recording(file)
    heard = {each.campaign_id: Heard(read_meaning(each), file.name) for each in timelines}
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        return diagnose_in(cur, ids, server=server, recordings=heard)


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
            if diagnosis.examination.recorded and diagnosis.examination.recorded.complete:  # the looks saw each pause
                truth = replace(truth, contradicted=truth.contradicted - {"no-clean-pause-in-mid-batch"})
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


FRONT_AND_FLUSH = 5 + 1
"""How many seconds of the full rate the place where a hole begins may be uncertain: 5 s unflushed, and the front."""
KILLED = {
    "kill9-v4.1.0": 1,
    "kill9-v6.2.0": 1,
    "kill9-after-pause-v6.2.0": 1,
    "kill9-defaults-v6.2.0": 1,
    "kill9-rejects-v6.2.0": 1,
    "sigterm-v6.2.0": 1,
    "upgrade-mid-v4.1.0-v6.2.0": 1,
    "restarts-three-v6.2.0": 3,
    "seed-v3.0.0": 1,
    "seed-v4.1.0": 1,
    "seed-v6.2.0": 1,
}
"""How often the sender was killed with people in its hands, by the recordings' steps (3.0.0 and later)."""


def plain(conn: psycopg.Connection[Any], recording: Recording) -> dict[int, Diagnosis]:
    """Diagnose without a recording of the progress."""
    ids = [int(campaign) for campaign in recording.incident["campaigns"]]
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        return diagnose_in(cur, ids, server=None)


@pytest.mark.parametrize("name", KILLED)
def test_a_recorded_hole_is_found_where_it_is(incident_db: IncidentDatabases, tmp_path: Path, name: str) -> None:
    """Each kill is found, its hole ends exactly, and begins within 5 s of the full rate and the workers' front."""
    recording = open_recording(name)
    said = hold(incident_db, name, tmp_path / "flight", everything)[2]
    seen = said.examination
    recorded = seen.recorded
    assert recorded is not None
    assert recorded.complete
    assert len(recorded.holes) == KILLED[name]
    place = {row.subscriber_id: rank for rank, row in enumerate(ranked(recording), 1)}
    failed = {row.subscriber_id for row in recording.truth if row.failed_attempts}
    missed = sorted({row.subscriber_id for row in ranked(recording) if not row.mails} - failed)
    for hole in recorded.holes:
        lost = [person for person in missed if person in hole.most or int(hole.most.min()) <= person <= hole.last_id]
        rate = seen.settings.concurrency * seen.settings.message_rate
        assert lost[-1] <= hole.last_id
        assert [person for person in place if lost[-1] < person <= hole.last_id] == []
        assert hole.first.low <= place[lost[0]], "people were lost before the hole is said to begin"
        assert hole.first.high - hole.first.low <= FRONT_AND_FLUSH * rate
        block = [person for person in lost if set(range(place[person], place[lost[-1]])) <= {place[p] for p in lost}]
        assert hole.first.low <= place[block[0]] <= hole.first.high + 1
        missed = [person for person in missed if person not in lost]
    assert not missed, "people were lost outside of every recorded hole"


def ranked(recording: Recording) -> list[Any]:
    """Return the audience at the start of the recorded campaign, in the order of ids."""
    return sorted(
        (row for row in recording.truth if row.in_audience_at_start and row.campaign_id == 2),
        key=lambda row: row.subscriber_id,
    )


@pytest.mark.parametrize("name", KILLED)
def test_a_recording_moves_people_out_of_unknown(incident_db: IncidentDatabases, tmp_path: Path, name: str) -> None:
    """Fewer are unknown than by the row alone, the assumptions are fewer, and prices are no wider.

    What M2 on a finished row tells, if it was stopped only once, is as sharp: there that is known, and not assumed.
    """
    recording = open_recording(name)
    dsn = incident_db(name)
    Replay(dsn, recording, incident_db.loaded(dsn).shift).record(tmp_path / "flight")
    with psycopg.connect(dsn, autocommit=True) as conn:
        by_row = plain(conn, recording)[2]
        told = diagnosed(conn, recording, tmp_path / "flight")[2]
    before, after = by_row.examination.recipients, told.examination.recipients
    assumed = "stopped-once" in {each.code for each in by_row.examination.assumptions}
    assert len(after.unknown) < len(before.unknown) + assumed
    assert after.unknown | after.not_mailed | after.never_fetched | after.presumed_reached >= before.unknown
    codes = {each.code for each in told.examination.assumptions}
    assert not codes & {"stopped-once", "never-started-over"}
    was, now = by_row.options[0], told.options[0]
    assert now.missed.low >= was.missed.low
    assert now.missed.high <= was.missed.high
    assert "The price rests on flight" in now.because


def test_whoever_was_surely_not_mailed_is_told_with_the_time_of_the_death(
    incident_db: IncidentDatabases, tmp_path: Path
) -> None:
    """The kill of kill9-v6.2.0 is established with its second, and most of its 300 are proved not to be mailed."""
    said = hold(incident_db, "kill9-v6.2.0", tmp_path / "flight", everything)[2].examination
    cause = next(each for each in said.causes if each.code == "M1")
    assert cause.standing == "established"
    assert 250 <= len(said.recipients.not_mailed) <= 300
    assert said.verdict == "incomplete"
    (hole,) = said.recorded.holes if said.recorded else ()
    killed = next(step for step in open_recording("kill9-v6.2.0").incident["steps"] if "SIGKILL" in step["step"])
    assert killed["at"][14:19] == "25:07"
    assert (hole.by - hole.after).total_seconds() < 5
    assert any(sentence.startswith("Recorded: the sender died") for sentence in said.happened)


@pytest.mark.parametrize("name", ["seed-v4.1.0", "m2-backward-v5.0.3", "m2-forward-v6.0.0"])
def test_an_overwritten_cursor_is_established_by_its_very_write(
    incident_db: IncidentDatabases, tmp_path: Path, name: str
) -> None:
    """M2 is seen as it is written, where the row alone may only allow it; who it skipped was surely never fetched."""
    said = hold(incident_db, name, tmp_path / "flight", everything)[2].examination
    assert next(each for each in said.causes if each.code == "M2").standing == "established"
    if name.startswith("m2-forward"):
        missed = {row.subscriber_id for row in ranked(open_recording(name)) if not row.mails}
        departed = set(said.recipients.departed)
        assert missed - departed <= set(said.recipients.never_fetched | said.recipients.unknown)
        assert len(said.recipients.never_fetched) > 700


@pytest.mark.parametrize("name", ["kill9-v2.5.1", "kill9-after-finish-v2.5.1", "rejects-v2.5.1"])
def test_a_version_that_counts_what_it_fetches_is_not_narrowed(
    incident_db: IncidentDatabases, tmp_path: Path, name: str
) -> None:
    """Before 3.0.0 the recording says who was fetched and not who was mailed; that is said, and nothing else."""
    said = hold(incident_db, name, tmp_path / "flight", everything)[2].examination
    assert not said.recipients.not_mailed
    assert any("counts a mail as sent when it is fetched" in sentence for sentence in said.unknowable)


HEALTHY = [name for name in NAMES if name.startswith(("healthy", "quickstart", "window", "hung", "fetch", "many"))]


@pytest.mark.parametrize("name", HEALTHY)
def test_no_death_is_invented(incident_db: IncidentDatabases, tmp_path: Path, name: str) -> None:
    """Where no server died, no recorded death is certain: not in a window's sleep, a pause, a hang, a lock."""
    for said in hold(incident_db, name, tmp_path / "flight", everything).values():
        recorded = said.examination.recorded
        assert recorded is None or not [hole for hole in recorded.holes if hole.certain]
        assert next(each for each in said.examination.causes if each.code == "M1").standing != "established"


PLAYED: dict[str, tuple[Any, ...]] = {}


@pytest.mark.parametrize("name", ["kill9-v6.2.0", "restarts-three-v6.2.0", "seed-v4.1.0", "m2-forward-v6.0.0"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_looks_are_missing_nothing_false_is_said(
    incident_db: IncidentDatabases, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    """Any looks may be missing, one by one or in stretches: what is said of the rest stays true."""
    recording = open_recording(name)
    if PLAYED.get(name, ("",))[0] != str(tmp_path):
        dsn = incident_db(name)
        replay = Replay(dsn, recording, incident_db.loaded(dsn).shift)
        PLAYED[name] = (str(tmp_path), dsn, replay.source, list(replay.looks()))
    _, dsn, source, looks = PLAYED[name]
    count = len(looks)
    single = data.draw(st.sets(st.integers(0, count - 1), max_size=count // 2), label="single looks missed")
    holes = data.draw(
        st.lists(st.tuples(st.integers(0, count), st.integers(1, 20)), max_size=3), label="stretches missed"
    )
    gone = single | {number for start, length in holes for number in range(start, start + length)}
    kept = [look for number, look in enumerate(looks) if number not in gone]
    if not kept:
        return
    file = tmp_path / "flight"
    file.unlink(missing_ok=True)
    write(file, source, kept)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for campaign, said in diagnosed(conn, recording, file).items():
            truth = read_truth(conn, recording, campaign, worse=False)
            assert set(said.examination.recipients.not_mailed).isdisjoint(truth.mails)
            assert_true(said, truth, recording.version)


def test_nothing_follows_where_two_servers_were_at_work(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """Two servers on one row: their lives cannot be told apart, so the groups are those of the row; it is said."""
    said = hold(incident_db, "two-servers-v6.2.0", tmp_path / "flight", everything)[2].examination
    assert said.recorded is not None
    assert said.recorded.meaning.muddled == "two servers were at work"
    assert "Nothing follows from the recording: two servers were at work." in said.unknowable


def test_a_recorded_start_over_is_told_and_not_assumed_away(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """A paused campaign whose cursor became a count is started: the first people get it twice, and that is said."""
    recording = open_recording("m2-backward-v5.0.3")
    dsn = incident_db(recording.name)
    replay = Replay(dsn, recording, incident_db.loaded(dsn).shift)
    looks = list(replay.looks())
    people = sorted(row.subscriber_id for row in ranked(recording))
    before = recording.incident["campaigns"]["2"]["row"]["sent"]
    runs = [("running", before, 900), ("running", before, people[299]), ("running", before + 250, people[299])]
    runs += [("running", before + 300, people[599]), ("running", before + 600, people[-1])]
    runs += [("finished", before + len(people), people[-1])]
    with psycopg.connect(dsn, autocommit=True) as conn:
        for second, values in enumerate(runs):
            conn.execute("UPDATE campaigns SET status = %s, sent = %s, last_subscriber_id = %s WHERE id = 2", values)
            with snapshot(conn, schema="public") as cur:
                rows = look(cur, [2], settings=False).rows
            looks.append(replace(looks[-1], at=looks[-1].at + timedelta(seconds=1 + second % 2 * 3), rows=rows))
        write(tmp_path / "flight", replay.source, looks)
        said = diagnosed(conn, recording, tmp_path / "flight")[2].examination
    twice = [each for each in said.happened if "started over" in each]
    assert len(twice) == 1
    stood = max(each.rows[2].cursor for each in looks if each.rows[2].status == "paused")
    again = [each for each in people if each <= stood and each not in said.recipients.departed]
    words = f"up to {len(again):,} people of today's audience (ids {again[0]:,} to {again[-1]:,})"
    assert words in twice[0]
    assert before - 20 < len(again) <= before
    assert "never-started-over" not in {each.code for each in said.assumptions}
    assert not any("cannot be seen" in each and "start over" in each for each in said.unknowable)
    assert len(said.recipients.presumed_reached | said.recipients.reached | said.recipients.departed) >= len(people) - 5
