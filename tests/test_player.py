"""Tests of the played scanners: that a bystander sees what listmonk's own sessions and heartbeats look like."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.player import SCAN_INTERVAL, Player, drops_empty_audiences
from listmonk_doctor.demo.recording import open_recording, recordings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from psycopg import Connection

    from tests.support.databases import IncidentDatabases

    PlayerFixture = Callable[..., AbstractContextManager[Player]]

TICK = 0.2
"""Seconds between two scans in these tests."""
SESSIONS = """
    SELECT pid, query, state, application_name, query_start FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY pid
"""


@contextmanager
def onlooker(dsn: str) -> Iterator[Connection[Any]]:
    """Open a session that sees each moment anew."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def scanners(conn: Connection[Any]) -> list[Any]:
    """Return the sessions whose text is that of a scan."""
    return [row for row in conn.execute(SESSIONS) if row[1].startswith("WITH camps AS")]


def row_versions(conn: Connection[Any]) -> dict[int, str]:
    """Return each campaign's xmin."""
    return dict(conn.execute("SELECT id, xmin::text FROM campaigns"))


def rows(conn: Connection[Any]) -> list[Any]:
    """Return all columns of all campaigns."""
    return conn.execute("SELECT * FROM campaigns ORDER BY id").fetchall()


def wait_for_scans(player: Player, more: int) -> None:
    """Wait until each server has scanned so many times more."""
    goals = [scans + more for scans in player.scans]
    deadline = time.monotonic() + 10
    while any(scans < goal for scans, goal in zip(player.scans, goals, strict=True)):
        assert time.monotonic() < deadline, "the player does not scan"
        time.sleep(TICK / 20)


def test_the_interval_is_listmonks() -> None:
    """Unless told otherwise a server scans every 5 seconds, as listmonk does."""
    assert SCAN_INTERVAL == 5.0


@pytest.mark.parametrize("name", recordings())
def test_as_many_servers_scan_as_were_recorded(
    name: str,
    incident_db: IncidentDatabases,
    player: PlayerFixture,
) -> None:
    """On entering, each recorded server has scanned and has two sessions; on leaving, none is left."""
    expected = open_recording(name).servers_scanning
    dsn = incident_db(name)
    with onlooker(dsn) as conn:
        with player(dsn, name):
            seen = conn.execute(SESSIONS).fetchall()
            assert len(seen) == 2 * expected
            assert len(scanners(conn)) == expected
            assert all((state, application) == ("idle", "") for _, _, state, application, _ in seen)
        deadline = time.monotonic() + 5
        while conn.execute(SESSIONS).fetchall():
            assert time.monotonic() < deadline, "a session of the player stayed behind"


def test_an_open_pipe_beats_at_each_scan_and_nothing_else_changes(
    incident_db: IncidentDatabases,
    player: PlayerFixture,
) -> None:
    """The row with the open pipe gets a new xmin at each scan, the other rows keep theirs, and no column changes."""
    dsn = incident_db("healthy-v6.2.0")
    with onlooker(dsn) as conn:
        before, columns = row_versions(conn), rows(conn)
        with player(dsn, "healthy-v6.2.0", interval=TICK) as playing:
            seen = {row_versions(conn)[9]}
            for _ in range(3):
                wait_for_scans(playing, 1)
                seen.add(row_versions(conn)[9])
            after = row_versions(conn)
        assert len(seen | {before[9]}) == 5
        assert {id_: xmin for id_, xmin in after.items() if id_ != 9} == {
            id_: xmin for id_, xmin in before.items() if id_ != 9
        }
        assert rows(conn) == columns


def test_scans_come_at_regular_intervals(incident_db: IncidentDatabases, player: PlayerFixture) -> None:
    """The scans' start times in pg_stat_activity are one interval apart."""
    dsn = incident_db("window-stuck-v6.2.0")
    starts = []
    with onlooker(dsn) as conn, player(dsn, "window-stuck-v6.2.0", interval=TICK) as playing:
        for _ in range(6):
            starts.append(scanners(conn)[0][4])
            wait_for_scans(playing, 1)
    apart = (starts[-1] - starts[0]).total_seconds() / (len(starts) - 1)
    assert apart == pytest.approx(TICK, rel=0.25)


def test_two_servers_scan_independently(incident_db: IncidentDatabases, player: PlayerFixture) -> None:
    """Two servers are two scanning sessions whose scans fall on different moments."""
    dsn = incident_db("two-servers-v6.2.0")
    with onlooker(dsn) as conn, player(dsn, "two-servers-v6.2.0", interval=TICK) as playing:
        wait_for_scans(playing, 2)
        first, second = scanners(conn)
        assert abs((first[4] - second[4]).total_seconds()) % TICK > TICK / 10


def test_a_due_campaign_without_an_audience_is_picked_up_and_dropped(
    incident_db: IncidentDatabases,
    player: PlayerFixture,
) -> None:
    """On 4.1.0 the row's xmin and updated_at move at each scan, nothing else does, and a draft is left alone."""
    dsn = incident_db("scheduled-nobody-v4.1.0", fresh=True)
    rest = "SELECT to_jsonb(c) - 'updated_at', updated_at FROM campaigns c"
    with onlooker(dsn) as conn, player(dsn, "scheduled-nobody-v4.1.0", interval=TICK) as playing:
        (columns, first), *_ = conn.execute(rest).fetchall()
        before = row_versions(conn)
        wait_for_scans(playing, 2)
        (later_columns, second), *_ = conn.execute(rest).fetchall()
        assert later_columns == columns
        assert columns["started_at"] is None
        assert second > first
        assert row_versions(conn) != before
        conn.execute("UPDATE campaigns SET status = 'draft'")
        resting = row_versions(conn)
        wait_for_scans(playing, 2)
        assert row_versions(conn) == resting


def test_a_due_campaign_with_an_audience_is_left_alone(incident_db: IncidentDatabases) -> None:
    """Dropping is for campaigns with nobody to mail: one that has somebody does not move."""
    dsn = incident_db("seed-v4.1.0", fresh=True)
    with onlooker(dsn) as conn:
        conn.execute(
            "UPDATE campaigns SET status = 'scheduled', started_at = NULL, send_at = now() - interval '1 hour'"
        )
        before = row_versions(conn)
        with Player(dsn, drops_empty=True, interval=TICK) as playing:
            wait_for_scans(playing, 2)
        assert row_versions(conn) == before


@pytest.mark.parametrize(
    ("version", "drops"),
    [("v3.0.0", False), ("v4.0.0", True), ("v4.1.0", True), ("v5.0.0", True), ("v5.0.1", False), ("v6.2.0", False)],
)
def test_which_versions_drop(version: str, drops: bool) -> None:
    """Only 4.0.0 to 5.0.0 pick up a due campaign without an audience again and again."""
    assert drops_empty_audiences(version) is drops


def test_it_stops_at_once(incident_db: IncidentDatabases, player: PlayerFixture) -> None:
    """Leaving takes no interval, not even while a scan waits for a lock."""
    dsn = incident_db("window-stuck-v6.2.0")
    with onlooker(dsn) as conn:
        with player(dsn, "window-stuck-v6.2.0"):
            begun = time.monotonic()
        assert time.monotonic() - begun < 1
        with player(dsn, "window-stuck-v6.2.0", interval=TICK), conn.transaction():
            conn.execute("SELECT FROM campaigns FOR UPDATE")
            time.sleep(2 * TICK)
            assert any(row[2] == "active" for row in scanners(conn))
            begun = time.monotonic()
        assert time.monotonic() - begun < 1


def test_a_scan_that_fails_is_told(incident_db: IncidentDatabases) -> None:
    """A server that died early does not pass for one that scans: leaving raises what ended it."""
    dsn = incident_db("window-stuck-v6.2.0")
    playing = Player(dsn, interval=TICK)
    with onlooker(dsn) as conn, ExitStack() as playground:
        playground.enter_context(playing)
        conn.execute("ALTER TABLE campaigns RENAME TO gone")
        time.sleep(3 * TICK)
        with pytest.raises(psycopg.errors.UndefinedTable):
            playground.close()


def test_another_schema_is_played(empty_db: str) -> None:
    """The tables may live in another schema than public."""
    recording = open_recording("window-stuck-v6.2.0")
    with psycopg.connect(empty_db, autocommit=True) as conn:
        load(conn, recording, schema="mail")
        before = conn.execute("SELECT xmin::text FROM mail.campaigns").fetchone()
        with Player(empty_db, open_pipes=recording.open_pipes, schema="mail"):
            assert conn.execute("SELECT xmin::text FROM mail.campaigns").fetchone() != before
