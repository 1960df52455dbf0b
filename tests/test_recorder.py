"""The flight recorder's file: private, appended to, refused where foreign or damaged, whole after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.errors import DoctorError, UsageError
from listmonk_doctor.timeline.look import Identity, Look, Progress, Servers
from listmonk_doctor.timeline.model import Pace
from listmonk_doctor.timeline.recorder import Recorder
from listmonk_doctor.timeline.recording import read_recording

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.databases import IncidentDatabases

HERE = Identity("1", "listmonk", "16384", "16400")
NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)
ROW = Progress(2, "uuid", "Letter", "running", 0, 100, 0, 100, None, NOON, "1")
NOBODY = Servers(frozenset(), frozenset(), visible=True, waiting=False, count=0)


def seen(second: float, **columns: Any) -> Look:
    """Return a look at some second, at a row with these columns."""
    at = NOON + timedelta(seconds=second)
    return Look(at, {2: replace(ROW, **columns)}, NOBODY, Pace(at, 50, 5, 10, 0, 0.0, "v6.2.0"))


def test_the_file_is_private_and_holds_versions_not_looks(tmp_path: Path) -> None:
    """Mode 0600; five looks at two versions are two versions, and a heartbeat is one."""
    file = tmp_path / "flight"
    with Recorder(file, HERE) as recorder:
        for second, columns in enumerate([{}, {}, {"sent": 10, "xmin": "2"}, {"sent": 10, "xmin": "2"}]):
            recorder.add(seen(second, **columns))
        recorder.add(seen(4, sent=10, xmin="3"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    source, (timeline,) = read_recording(file)
    assert source == HERE
    assert [(version.sent, version.xmin) for version in timeline.versions] == [(0, "1"), (10, "2"), (10, "3")]
    middle = timeline.versions[1]
    assert (middle.after, middle.before, middle.until) == tuple(NOON + timedelta(seconds=each) for each in (1, 2, 3))
    assert (timeline.began, timeline.ended) == (NOON, NOON + timedelta(seconds=4))
    assert not timeline.gaps


def test_late_looks_leave_a_gap_with_its_reason(tmp_path: Path) -> None:
    """Two looks more than 4.5 s apart are a gap; where the connection was lost, it says so."""
    file = tmp_path / "flight"
    with Recorder(file, HERE) as recorder:
        recorder.add(seen(0))
        recorder.add(seen(4.4))
        recorder.add(seen(10))
        recorder.gap("the connection was lost")
        recorder.add(seen(30))
    (timeline,) = read_recording(file)[1]
    assert [gap.because for gap in timeline.gaps] == ["the looks came late", "the connection was lost"]
    assert timeline.gaps[1].end - timeline.gaps[1].start == timedelta(seconds=20)


def test_a_file_of_the_same_database_is_appended_to(tmp_path: Path) -> None:
    """A second run joins on, with the time between as a gap; a row that did not change goes on as one version."""
    file = tmp_path / "flight"
    for start in (0, 60):
        with Recorder(file, HERE) as recorder:
            recorder.add(seen(start))
            recorder.add(seen(start + 1))
    (timeline,) = read_recording(file)[1]
    assert len(timeline.versions) == 1
    assert [(gap.end - gap.start).total_seconds() for gap in timeline.gaps] == [59]
    other = replace(HERE, cluster="2")
    with pytest.raises(UsageError, match="is of another database"):
        Recorder(file, other)
    with Recorder(file, replace(HERE, cluster="")):
        """A role that may not read the cluster's number can still append."""


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 99, b"SQLite format 3\x00" + b"\x00" * 5000])
def test_a_file_that_is_something_else_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    """Garbage, and an empty file, are refused when read; garbage is not written over either."""
    file = tmp_path / "flight"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be used"):
        read_recording(file)
    if content:
        with pytest.raises(DoctorError, match="cannot be used"):
            Recorder(file, HERE)
        assert file.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """An SQLite file that is no recording, or of a newer format, is neither read nor written."""
    file = tmp_path / "other"
    with closing(sqlite3.connect(file)) as base:
        base.execute("CREATE TABLE version (id)")
    for use in (read_recording, lambda path: Recorder(path, HERE)):
        with pytest.raises(UsageError, match="it is not a recording"):
            use(file)
    newer = tmp_path / "newer"
    Recorder(newer, HERE).close()
    with closing(sqlite3.connect(newer)) as base:
        base.execute("PRAGMA user_version = 3")
    with pytest.raises(UsageError, match="it has the format 3"):
        read_recording(newer)
    with pytest.raises(UsageError, match="there is no such file"):
        read_recording(tmp_path / "missing")


def test_a_file_of_the_first_format_is_read_and_goes_on(tmp_path: Path) -> None:
    """What an older program recorded reads the same; appended to, it has the new format, and nothing is lost."""
    file = tmp_path / "flight"
    with Recorder(file, HERE) as recorder:
        recorder.add(seen(0))
        recorder.add(seen(1, sent=5, xmin="2"))
    now = read_recording(file)
    with closing(sqlite3.connect(file)) as base, base:
        for column in ("source", "place", "linked"):
            base.execute(f"ALTER TABLE version DROP COLUMN {column}")
        base.execute("PRAGMA user_version = 1")
    assert read_recording(file) == now
    with Recorder(file, HERE) as recorder:
        recorder.add(seen(3, sent=9, xmin="3"))
    (timeline,) = read_recording(file)[1]
    assert [version.sent for version in timeline.versions] == [0, 5, 9]
    with closing(sqlite3.connect(file)) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (2,)


SPOILT = (
    "UPDATE version SET status = 'exploded'",
    "UPDATE version SET sent = -1",
    "UPDATE version SET sent = 'many'",
    "UPDATE version SET cursor = 99999999999999",
    "UPDATE version SET before = after - 5",
    "UPDATE version SET until = 9e18",
    "UPDATE version SET source = 'rumour'",
    "UPDATE version SET place = -1",
    "UPDATE version SET place = 'there'",
    "UPDATE version SET linked = 'no'",
    "UPDATE pace SET concurrency = 'all'",
    "UPDATE pace SET version = x'00'",
    "DELETE FROM version",
    "DELETE FROM source",
    "DROP TABLE session",
)


@pytest.mark.parametrize("spoil", SPOILT)
def test_what_cannot_be_is_refused(tmp_path: Path, spoil: str) -> None:
    """A recording whose rows were edited into nonsense is one sentence, never a traceback."""
    file = tmp_path / "flight"
    with Recorder(file, HERE) as recorder:
        recorder.add(seen(0))
        recorder.add(seen(1, sent=5, xmin="2"))
    with closing(sqlite3.connect(file)) as base, base:
        base.execute(spoil)
    with pytest.raises(UsageError, match="cannot be used"):
        read_recording(file)


def test_a_cut_or_damaged_file_is_refused(tmp_path: Path) -> None:
    """Half of a file, and a file with a page overwritten, are refused."""
    file = tmp_path / "flight"
    with Recorder(file, HERE) as recorder:
        for second in range(200):
            recorder.add(seen(second, sent=second, xmin=str(second)))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cannot be used"):
        read_recording(file)
    file.write_bytes(whole[:4096] + b"\xff" * 8192 + whole[12288:])
    with pytest.raises(UsageError, match="cannot be used"):
        read_recording(file)


def watching(dsn: str, file: Path, *more: str, limit: str = "") -> subprocess.Popen[str]:
    """Start the real command; `limit` is a shell's command before it."""
    command = [sys.executable, "-m", "listmonk_doctor", "watch", "2", "--record", str(file), "--format", "json", *more]
    shell = ["sh", "-c", f'{limit}; exec "$@"', "sh", *command] if limit else command
    return subprocess.Popen(
        shell, env={**os.environ, "LISTMONK_DOCTOR_DSN": dsn}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(condition: Any, what: str, seconds: float = 40) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_killed_recorder_loses_one_look_at_most(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """Killed with SIGKILL in the middle, the file holds all that was written before, and can be appended to."""
    dsn, file = incident_db("crashed-down-v6.2.0"), tmp_path / "flight"
    recorder = watching(dsn, file, "--every", "0.2")
    with psycopg.connect(dsn, autocommit=True) as conn:
        until(lambda: file.exists() and file.stat().st_size > 0 and _looks(file), "it records")
        for sent in range(501, 511):
            conn.execute("UPDATE campaigns SET sent = %s WHERE id = 2", (sent,))
            time.sleep(0.3)
        recorder.send_signal(signal.SIGKILL)
        recorder.communicate()
    (timeline,) = read_recording(file)[1]
    kept = [version.sent for version in timeline.versions]
    assert kept in ([500, *range(501, 511)], [500, *range(501, 510)])
    again = watching(dsn, file, "--for", "0.5")
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert len(read_recording(file)[1][0].gaps) == 1


def _looks(file: Path) -> bool:
    try:
        return bool(read_recording(file)[1])
    except UsageError:
        return False


def test_a_full_disk_is_said_and_what_was_recorded_is_kept(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """Where the file cannot grow, the program ends with a sentence; the file can still be read."""
    dsn, file = incident_db("crashed-down-v6.2.0"), tmp_path / "flight"
    recorder = watching(dsn, file, "--every", "0.2", limit="ulimit -f 68")
    with psycopg.connect(dsn, autocommit=True) as conn:
        number = 0
        while recorder.poll() is None:
            number += 1
            assert number < 1000, "it goes on although the disk is full"
            conn.execute("UPDATE campaigns SET sent = sent + 1 WHERE id = 2")
            time.sleep(0.05)
    _, errors = recorder.communicate()
    assert recorder.returncode == 3
    assert "cannot be written" in errors
    assert "Traceback" not in errors
    assert read_recording(file)[1]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
    incident_db: IncidentDatabases, tmp_path: Path
) -> None:
    """A folder, and a file in a folder that is not there."""
    dsn = incident_db("crashed-down-v6.2.0")
    for place in (tmp_path, tmp_path / "no" / "flight"):
        recorder = watching(dsn, place, "--for", "1")
        _, errors = recorder.communicate(timeout=60)
        assert recorder.returncode == 2
        assert "cannot be written" in errors


def test_a_lost_connection_is_said_and_outlived(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """Its session ended by the server, the watch connects again, goes on, and the recording has the gap."""
    dsn, file = incident_db("crashed-down-v6.2.0"), tmp_path / "flight"
    recorder = watching(dsn, file, "--for", "9", "--every", "0.2")
    ours = "application_name = 'listmonk-doctor' AND datname = current_database()"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}"  # noqa: S608 - constant text
    with psycopg.connect(dsn, autocommit=True) as conn:
        until(lambda: _looks(file), "it records")
        conn.execute(end)
    said, errors = recorder.communicate(timeout=60)
    assert [line for line in said.splitlines() if '"event": "lost"' in line]
    assert [line for line in said.splitlines() if '"event": "back"' in line]
    assert "Traceback" not in errors
    (timeline,) = read_recording(file)[1]
    assert (timeline.ended - timeline.began).total_seconds() > 5
