"""Holds the way into the log by pg_walinspect to real servers: the same versions, no trace, and each refusal."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.database.snapshot import rolled_back, snapshot
from listmonk_doctor.errors import PrivilegeError, RefusedError
from listmonk_doctor.timeline.wal import by_walinspect, inspected
from listmonk_doctor.timeline.wal.by_walinspect import read_inspected
from listmonk_doctor.timeline.wal.extensions import PAGEINSPECT, WALINSPECT, extension, ready
from listmonk_doctor.timeline.wal.table import Table, read_table
from listmonk_doctor.timeline.wal.ways import find_ways, read_by
from tests.support.log_world import Edits, Witness, read, serve, told
from tests.test_wal_history import WRITE, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection, Cursor

    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.timeline.wal.history import Log

SINCE = 16
"""PostgreSQL's version that shows what is in a record."""


@pytest.fixture(scope="module")
def shipped() -> Iterator[Server]:
    """One server as it is shipped, for this module."""
    with serve({}) as server:
        yield server


@pytest.fixture
def conn(shipped: Server) -> Iterator[Connection[Any]]:
    """Give a connection to a database with campaigns in it."""
    with fresh(shipped) as conn:
        yield conn


@pytest.fixture
def able(conn: Connection[Any]) -> Connection[Any]:
    """Give the same where pg_walinspect can be had."""
    needs(conn, "pg_walinspect")
    return conn


def needs(conn: Connection[Any], name: str) -> None:
    """Skip where an extension is not among the server's, or shows too little."""
    found = conn.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", (name,)).fetchall()
    if not found or (name == "pg_walinspect" and conn.info.server_version < SINCE * 10000):
        pytest.skip(f"this PostgreSQL has no {name} that is of use")


def inspect(conn: Connection[Any], ids: Sequence[int], **bounds: Any) -> Log:
    """Read the log by pg_walinspect, which is made for it."""
    with rolled_back(conn, schema="public", timeout=60.0) as cur:
        return read_inspected(cur, ready(cur, extension(cur, WALINSPECT)), ids, **bounds)


def by_ways(conn: Connection[Any], ids: Sequence[int]) -> Log:
    """Read as the program does with --allow-extension."""
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        makes = find_ways(cur).makes
    with (rolled_back if makes else snapshot)(conn, schema="public", timeout=60.0) as cur:
        return read_by(cur, find_ways(cur), ids)


def same(one: Log, other: Log, ids: Sequence[int]) -> None:
    """Assert that two logs tell the same versions, but for the newest moment at which each was read."""
    for campaign in ids:
        first, second = (
            [replace(each, until=each.before) for each in log.timelines[campaign].versions] for log in (one, other)
        )
        assert first == second


@pytest.mark.parametrize(
    "setting", ["wal_level=replica", "wal_level=logical", "full_page_writes=off", "wal_compression=pglz"]
)
def test_random_edits_come_back_as_the_raw_log_tells_them(able: Connection[Any], setting: str) -> None:
    """Bodies, nulls, savepoints, locks, vacuums, columns, copies: all that the server takes apart is the same."""
    del able
    name, value = setting.split("=")
    # Nothing is removed before the end, so that both ways reach the beginning.
    with serve({name: value, "wal_keep_size": "1GB"}) as server, fresh(server) as conn:
        witness = Witness(conn)
        edits = Edits(witness, seed=len(setting))
        for _ in range(200):
            edits.one()
        log = inspect(conn, witness.ids)
        assert not log.notes
        for campaign in witness.ids:
            witness.assert_told(log, campaign)
        same(log, read(conn, witness.ids), witness.ids)
        copied(witness)
        log = inspect(conn, witness.ids)
        same(log, read(conn, witness.ids), witness.ids)
        for campaign in witness.ids:
            assert told(log.timelines[campaign].last) == witness.rows[campaign][-1]


def copied(witness: Witness) -> None:
    """Write the rows anew by COPY, on a page that is there already and whose image the log holds."""
    with witness.conn.cursor().copy("COPY (SELECT * FROM campaigns WHERE id > 2) TO STDOUT") as copy:
        lines = [bytes(line) for line in copy]
    witness.run("DELETE FROM campaigns WHERE id > 2", "VACUUM campaigns", "CHECKPOINT")
    with witness.conn.cursor().copy("COPY campaigns FROM STDIN") as copy:
        for line in lines:
            copy.write(line)
    witness.run("SELECT 1")


@pytest.mark.parametrize("portion", [8192, 30_000])
def test_records_that_cross_portions_are_not_lost(
    able: Connection[Any], monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    """However small the portions are in which the server is asked, the history is the same."""
    witness = Witness(able)
    edits = Edits(witness, seed=portion)
    for _ in range(60):
        edits.one()
    whole = inspect(able, witness.ids)
    monkeypatch.setattr(inspected, "PORTION", portion)
    monkeypatch.setattr(inspected, "_AT_ONCE", 3)
    monkeypatch.setattr(inspected, "_BEHIND", 256)
    same(inspect(able, witness.ids), whole, witness.ids)


def test_hits_are_taken_in_the_order_of_the_log() -> None:
    """A place is a number that is written in two parts without leading zeros: its text sorts otherwise."""
    hits = ["0/9FFFFE8 0/A000010", "0/10000000 0/10000040", "A/0 A/40", "10/0 10/40"]
    assert sorted(sorted(hits), key=inspected.place_of) == hits


def test_the_history_goes_on_in_an_older_file_by_pg_walinspect(able: Connection[Any]) -> None:
    """Where the table was rewritten meanwhile, what happened before is read from its older file."""
    witness = Witness(able)
    campaign = witness.ids[0]
    for step in ("CHECKPOINT", "VACUUM FULL campaigns", "SELECT 1"):
        for _ in range(4):
            witness.run(WRITE.format("sent = sent + 1"), campaign=campaign)
        witness.run(step)
    log = inspect(able, [campaign])
    assert "was rewritten" in log.notes[0]
    witness.assert_told(log, campaign, last=9)


def test_nothing_of_an_extension_stays(able: Connection[Any], shipped: Server) -> None:
    """Behind it no extension, no function, no lock and no open transaction is left; in it nobody else is held up."""
    ours = "SELECT count(*) FROM pg_locks WHERE pid = %s"
    catalogs = "SELECT count(*) FROM pg_proc"
    before = able.execute(catalogs).fetchall()
    log = by_ways(able, [2])
    assert any("taken back with its transaction" in note for note in log.notes)
    assert able.execute("SELECT extname FROM pg_extension").fetchall() == [("plpgsql",)]
    assert able.execute(catalogs).fetchall() == before
    with psycopg.connect(shipped.dsn(able.info.dbname), autocommit=True) as other:
        assert other.execute(ours, (able.info.backend_pid,)).fetchall() == [(0,)]
        state = "SELECT state FROM pg_stat_activity WHERE pid = %s"
        assert other.execute(state, (able.info.backend_pid,)).fetchall() == [("idle",)]
        other.execute("SET lock_timeout = '1s'")
        other.execute("CREATE EXTENSION pg_walinspect")


def test_an_extension_that_is_there_is_used_as_it_is(able: Connection[Any]) -> None:
    """Where it is installed, in whatever schema, nothing is made and the transaction may not write."""
    able.execute('CREATE SCHEMA "odd %s"')
    able.execute('CREATE EXTENSION pg_walinspect SCHEMA "odd %s"')
    witness = Witness(able)
    for number in range(5):
        witness.run(WRITE.format(f"sent = {number}"), campaign=2)
    with snapshot(able, schema="public", timeout=60.0) as cur:
        found = extension(cur, WALINSPECT)
        assert (found.place, found.why, found.made) == ("odd %s", "", False)
        log = read_inspected(cur, ready(cur, found), [2])
    witness.assert_told(log, 2)
    assert not log.notes


def test_recycled_segments_are_beyond_its_reach(able: Connection[Any]) -> None:
    """After enough checkpoints the raw reader shows versions that pg_walinspect does not reach any more."""
    witness = Witness(able)
    for _ in range(4):
        for _ in range(5):
            witness.run(WRITE.format("sent = sent + 1"), campaign=2)
        witness.run("SELECT pg_switch_wal()")
    for _ in range(2):
        witness.run("CHECKPOINT", WRITE.format("sent = sent + 1"), campaign=2)
    raw, asked = read(able, [2]), inspect(able, [2])
    witness.assert_told(raw, 2)
    versions = asked.timelines[2].versions
    rows = witness.rows[2]
    assert 0 < len(versions) < len(rows) <= len(raw.timelines[2].versions)
    assert [told(each) for each in versions] == rows[-len(versions) :]
    assert not versions[0].linked
    assert asked.reach.recycled == 0
    assert raw.reach.recycled > 0


def test_segments_that_go_away_meanwhile_cost_versions_and_no_more(
    able: Connection[Any], shipped: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server writes and recycles, each history is true, and links nothing over what was lost."""
    monkeypatch.setattr(inspected, "PORTION", 1 << 16)  # many statements, so that a segment goes between two of them
    witness = Witness(able)
    stop = threading.Event()
    update = WRITE.format("sent = sent + 1")

    def write() -> None:
        steps = [*[update] * 8, "SELECT pg_switch_wal()", *[update] * 7, "CHECKPOINT", "SELECT pg_sleep(0.02)"]
        for step in itertools.cycle(steps):
            if stop.is_set():
                break
            witness.run(step, campaign=2)

    writer = threading.Thread(target=write)
    logs: list[Log] = []
    writer.start()
    try:
        with psycopg.connect(shipped.dsn(able.info.dbname), autocommit=True) as other:
            # Right behind a checkpoint the row may truly be beyond its reach: it is asked until enough was told.
            deadline, count = time.monotonic() + 90, 0
            while (len(witness.rows[2]) < 90 or count < 30) and time.monotonic() < deadline:
                logs.append(inspect(other, [2]))
                count += len(logs[-1].timelines[2].versions) if 2 in logs[-1].timelines else 0
    finally:
        stop.set()
        writer.join()
    rows = witness.rows[2]
    for log in logs:
        versions = log.timelines[2].versions if 2 in log.timelines else ()
        places = [rows.index(told(each)) for each in versions]
        assert places == sorted(set(places))
        for at, each in enumerate(versions[1:], 1):
            assert not each.linked or places[at] == places[at - 1] + 1
    assert count >= 30


def test_nothing_is_carried_over_a_segment_that_went_away(
    able: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind it nothing is made up from what stood on the pages before: versions are left out, none is wrong."""
    # Rows so long that few fit on a page: their places on it are soon used again.
    able.execute("UPDATE campaigns SET body = (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 55) AS g)")
    witness = Witness(able)
    witness.run("CHECKPOINT")
    numbers = []
    for column in ("sent", "to_send", "sent"):
        for _ in range(12):
            witness.run(WRITE.format(f"{column} = {column} + 1000"), campaign=2)
        name = able.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchall()[0][0]
        numbers.append(int(name[8:16], 16) * 256 + int(name[16:], 16))
        witness.run("SELECT pg_switch_wal()")
    portion = inspected.Inspector._portion

    def removed(self: inspected.Inspector, heaps: Sequence[Any], low: int, high: int) -> int:
        gone = high - 1 >> 24 == numbers[1]
        return portion(self, heaps, 1 << 13 if gone else low, 1 << 14 if gone else high)

    monkeypatch.setattr(inspected.Inspector, "_portion", removed)
    known = {row[-1]: row for row in witness.rows[2]}
    versions = [each for each in inspect(able, [2]).timelines[2].versions if each.xmin in known]
    rows = [told(each) for each in versions]
    assert rows[:12] == witness.rows[2][:12]
    assert all(known[row[-1]] == row for row in rows)
    assert len(rows) < len(witness.rows[2]) - 11
    places = [witness.rows[2].index(row) for row in rows]
    assert all(places[at] == places[at - 1] + 1 for at, each in enumerate(versions) if at and each.linked)


def test_a_falsified_layout_is_refused_by_pg_walinspect(able: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the decoded row is not what SELECT gives, nothing is told at all."""

    def falsified(cursor: Cursor[Any]) -> Table:
        table = read_table(cursor)
        names = {"sent": "to_send", "to_send": "sent"}
        columns = [replace(each, name=names.get(each.name, each.name)) for each in table.layout.attributes]
        return replace(table, layout=replace(table.layout, attributes=tuple(columns)))

    able.execute(WRITE.format("sent = 7").encode(), {"id": 2})
    monkeypatch.setattr(by_walinspect, "read_table", falsified)
    with pytest.raises(RefusedError, match=r"has another (sent|to_send) in it than in its row"):
        inspect(able, [2])


def plain(conn: Connection[Any], name: str) -> None:
    """Make a role that may read listmonk's tables and nothing else."""
    conn.execute(f"CREATE ROLE {name} LOGIN".encode())
    conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}".encode())


def test_a_plain_role_is_told_both_ways(able: Connection[Any], shipped: Server) -> None:
    """The server's own message and the statements that help; once a superuser has run them the log is read."""
    plain(able, "asking")
    witness = Witness(able)
    for number in range(4):
        witness.run(WRITE.format(f"sent = {number}"), campaign=2)
    with psycopg.connect(shipped.dsn(able.info.dbname, user="asking"), autocommit=True) as other:
        with pytest.raises(PrivilegeError) as refused:
            by_ways(other, [2])
        words = refused.value.message
        assert "the role asking may not read the server's log" in words
        assert 'the server says "permission denied to create extension "pg_walinspect""' in words
        for each in words.rsplit("a superuser can: ", 1)[1].rstrip(".").split("; "):
            able.execute(each.encode())
        log = by_ways(other, [2])
    witness.assert_told(log, 2)
    assert log.sources == ("the log, by pg_walinspect",)
    assert "only a superuser may look at pages" in log.missed[0]


def test_an_extension_that_may_not_be_used_names_its_grants(able: Connection[Any], shipped: Server) -> None:
    """Where it is installed and the role may not call it, the GRANTs are named, and no error is raised to find out."""
    plain(able, "calling")
    able.execute("CREATE SCHEMA looks")
    able.execute("CREATE EXTENSION pg_walinspect SCHEMA looks")
    with psycopg.connect(shipped.dsn(able.info.dbname, user="calling"), autocommit=True) as other:
        with snapshot(other, schema="public") as cur:
            why = extension(cur, WALINSPECT).why
        for each in why.split("allow it: ")[1].split("; "):
            able.execute(each.encode())
        assert by_ways(other, [2]).sources == ("the log, by pg_walinspect",)


def test_an_old_version_of_it_is_refused(able: Connection[Any]) -> None:
    """What an upgrade of the server has left at 1.0 has to be updated first, and that is said."""
    able.execute("CREATE EXTENSION pg_walinspect VERSION '1.0'")
    with snapshot(able, schema="public") as cur:
        why = extension(cur, WALINSPECT).why
    able.execute(why.split("a superuser can: ")[1].encode())
    with snapshot(able, schema="public") as cur:
        assert not extension(cur, WALINSPECT).why


def test_before_16_there_is_nothing_to_ask(conn: Connection[Any]) -> None:
    """PostgreSQL 14 and 15 do not show what is in a record: that is said, and nothing is tried."""
    with snapshot(conn, schema="public") as cur:
        found = extension(cur, WALINSPECT._replace(major=conn.info.server_version // 10000 + 1))
        assert "shows what is needed from PostgreSQL" in found.why
        assert not found.made
        if conn.info.server_version < SINCE * 10000:
            assert f"from PostgreSQL {SINCE} on" in extension(cur, WALINSPECT).why


def test_an_extension_that_the_server_does_not_have_is_named(conn: Connection[Any]) -> None:
    """Without its files in the server's folder the package is named that brings them."""
    with snapshot(conn, schema="public") as cur:
        why = extension(cur, PAGEINSPECT._replace(name="no_such_thing")).why
    assert why == "no_such_thing is not among the server's extensions; its package is postgresql-contrib"


def test_somebody_who_makes_the_same_extension_holds_it_up_for_two_seconds(
    able: Connection[Any], shipped: Server
) -> None:
    """Another session that is making it just now is waited for; after two seconds the server's message is passed on."""
    with psycopg.connect(shipped.dsn(able.info.dbname)) as other:
        other.execute("CREATE EXTENSION pg_walinspect")
        began = time.monotonic()
        with rolled_back(able, schema="public") as cur, pytest.raises(PrivilegeError, match="lock timeout"):
            ready(cur, extension(cur, WALINSPECT))
        assert time.monotonic() - began < 8
        other.rollback()
    assert inspect(able, [2]).sources


def test_an_extension_that_another_session_made_meanwhile_is_left_to_the_next_look(
    able: Connection[Any], shipped: Server
) -> None:
    """A transaction that began before it was made does not see where it lies: that is said; asked again, it is used."""
    with psycopg.connect(shipped.dsn(able.info.dbname), autocommit=True) as other:
        with rolled_back(able, schema="public") as cur:
            found = extension(cur, WALINSPECT)
            other.execute("CREATE EXTENSION pg_walinspect")
            with pytest.raises(PrivilegeError, match="made by another session just now"):
                ready(cur, found)
        with snapshot(able, schema="public") as cur:
            assert read_inspected(cur, ready(cur, extension(cur, WALINSPECT)), [2]).sources
