"""Holds the versions that still lie on a table's pages to real servers: none invented, in their order and time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.database.snapshot import rolled_back, snapshot
from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.lives import read_meaning
from listmonk_doctor.timeline.merge import merge
from listmonk_doctor.timeline.saving import joined
from listmonk_doctor.timeline.told import moments, steps
from listmonk_doctor.timeline.wal import leftover
from listmonk_doctor.timeline.wal.by_walinspect import read_inspected
from listmonk_doctor.timeline.wal.extensions import PAGEINSPECT, WALINSPECT, extension, ready
from listmonk_doctor.timeline.wal.filling import UNDATED, filled
from listmonk_doctor.timeline.wal.leftover import read_leftovers
from listmonk_doctor.timeline.wal.table import Table, read_table
from tests.support.log_world import Edits, Witness, read, serve, told
from tests.support.standby import catch_up, follow
from tests.test_wal_extensions import SINCE, by_ways, needs
from tests.test_wal_history import WRITE, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection, Cursor

    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.timeline.model import Timeline
    from listmonk_doctor.timeline.wal.history import Log
    from listmonk_doctor.timeline.wal.leftover import Leftover

UNTOUCHED = {"autovacuum": "off", "wal_recycle": "off", "min_wal_size": "32MB"}
"""A server that keeps no old segment behind a checkpoint, and leaves its pages alone."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for this module."""
    with serve(UNTOUCHED) as server:
        yield server


@pytest.fixture
def conn(server: Server) -> Iterator[Connection[Any]]:
    """Give a connection to a database with campaigns in it."""
    with fresh(server) as conn:
        needs(conn, "pageinspect")
        conn.execute("VACUUM FULL campaigns")  # pages with nothing old on them
        conn.execute("CHECKPOINT")
        yield conn


def campaign_of(witness: Witness, count: int) -> int:
    """Send a short campaign: fetches and counts in turn."""
    campaign = witness.ids[0]
    for number in range(count):
        witness.run(WRITE.format("sent = sent + 100"), campaign=campaign)
        if number % 3 == 0:
            witness.run(
                WRITE.format("last_subscriber_id = last_subscriber_id + 9, updated_at = now()"), campaign=campaign
            )
    return campaign


def lose(witness: Witness) -> None:
    """Let the server throw away the segments of its log."""
    for _ in range(3):
        witness.run("SELECT pg_switch_wal()", "CHECKPOINT")


def assert_sound(log: Log, witness: Witness, campaign: int) -> list[int]:
    """Assert that each version was seen by the witness, in that order and in its time; return which they are."""
    rows, times = witness.rows[campaign], witness.times[campaign]
    versions = log.timelines[campaign].versions
    places = [rows.index(told(each)) for each in versions]
    assert places == sorted(set(places))
    for place, each in zip(places, versions, strict=True):
        start, end = times[place]
        assert each.after <= each.before <= each.until
        assert place == 0 or (each.after <= end and start <= each.before)
    assert not versions[0].linked or places[0] == 0
    for at, each in enumerate(versions[1:], 1):
        if each.linked:
            assert places[at] == places[at - 1] + 1
    return places


def test_a_short_campaign_is_on_its_pages_when_the_log_is_gone(conn: Connection[Any]) -> None:
    """Behind the last segment of its time every version is told, as what it was, but only between when and when."""
    witness = Witness(conn)
    campaign = campaign_of(witness, 12)
    lose(witness)
    assert campaign not in read(conn, [campaign]).timelines
    log = by_ways(conn, [campaign])
    assert assert_sound(log, witness, campaign) == list(range(len(witness.rows[campaign])))
    timeline = log.timelines[campaign]
    assert log.sources == ("the log", "the table's own pages, by pageinspect")
    assert {(each.source, each.place, each.dated) for each in timeline.versions} == {("page", None, False)}
    assert all(each.linked for each in timeline.versions[1:])
    assert [gap.because for gap in timeline.gaps] == [UNDATED]
    assert timeline.last.until == timeline.ended
    kinds = [step.kind for step in steps(read_meaning(timeline))]
    assert kinds.count("flush") == 12
    assert kinds.count("batch") == 4


def test_pages_fill_in_what_the_log_has_lost(conn: Connection[Any]) -> None:
    """What the log still has keeps its moments; what came before it is put in front, and linked."""
    witness = Witness(conn)
    campaign = campaign_of(witness, 8)
    lose(witness)
    early = len(witness.rows[campaign])
    campaign_of(witness, 5)
    raw, log = read(conn, [campaign]).timelines[campaign], by_ways(conn, [campaign])
    places = assert_sound(log, witness, campaign)
    assert places == list(range(len(witness.rows[campaign])))
    timeline = log.timelines[campaign]
    assert [each.source for each in timeline.versions] == ["page"] * early + ["log"] * (len(places) - early)
    assert not raw.versions[0].linked
    assert all(each.linked for each in timeline.versions[1:])
    assert all(each.before <= raw.versions[0].before for each in timeline.versions[:early])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("dated", ["off", "on"])
def test_random_edits_leave_nothing_that_is_invented(seed: int, dated: str) -> None:
    """Savepoints, rollbacks, vacuums, locks, columns: what lies there and was committed, and no more, in its order."""
    with serve({**UNTOUCHED, "track_commit_timestamp": dated}) as server, fresh(server) as conn:
        needs(conn, "pageinspect")
        witness = Witness(conn)
        edits = Edits(witness, seed)
        found = 0
        for _ in range(8):
            for _ in range(8):
                edits.one()
            for log in (by_ways(conn, witness.ids), only_pages(conn, witness.ids)):
                for campaign in witness.ids:
                    # The row as a restore left it is not touched by the random edits of others.
                    found += len(assert_sound(log, witness, campaign))
                    assert told(log.timelines[campaign].last) == witness.rows[campaign][-1]
                    assert log.timelines[campaign].tested
                    if dated == "on":
                        times = witness.times[campaign][-1]
                        last = log.timelines[campaign].last
                        assert last.dated
                        assert len(witness.rows[campaign]) == 1 or times[0] <= last.before <= times[1]
        assert found > 150


def only_pages(conn: Connection[Any], ids: list[int]) -> Log:
    """Read as if the log held nothing."""
    log = read(conn, ids)
    with rolled_back(conn, schema="public") as cur:
        rows, found, notes = read_leftovers(cur, ready(cur, extension(cur, PAGEINSPECT)).place, ids)
    empty = {each: replace(of, versions=(), gaps=(), began=of.ended) for each, of in log.timelines.items()}
    assert not notes
    timelines = {each: filled(empty[each], found[each], row.xmin) for each, row in rows.items() if each in empty}
    return replace(log, timelines={each: of for each, of in timelines.items() if of is not None})


def test_what_nobody_ever_saw_is_not_told(conn: Connection[Any]) -> None:
    """Rolled back versions and those that their own transaction replaced are passed over, and the chain holds."""
    witness = Witness(conn)
    campaign = witness.ids[0]
    again = WRITE.format("sent = sent + 1")
    witness.run("BEGIN", again, "ROLLBACK", campaign=campaign)
    witness.run("BEGIN", again, again, "SAVEPOINT a", again, "SAVEPOINT b", again, "COMMIT", campaign=campaign)
    witness.run("BEGIN", again, "SAVEPOINT a", again, "ROLLBACK TO a", "COMMIT", campaign=campaign)
    witness.run(again, campaign=campaign)
    lose(witness)
    log = by_ways(conn, [campaign])
    assert assert_sound(log, witness, campaign) == list(range(4))
    assert all(each.linked for each in log.timelines[campaign].versions[1:])


def test_undated_versions_prove_no_death(conn: Connection[Any]) -> None:
    """A kill and a pick-up that only pages tell of are shown; no death is certain, and nothing is called complete."""
    conn.execute("UPDATE campaigns SET started_at = '2026-01-01 10:00:00+00', updated_at = '2026-01-01 10:00:00+00'")
    conn.execute("VACUUM FULL campaigns")
    witness = Witness(conn)
    campaign = witness.ids[0]
    for change in ("sent = sent + 100", "last_subscriber_id = last_subscriber_id + 50", "to_send = to_send + 1"):
        for _ in range(3):
            witness.run(WRITE.format(change), campaign=campaign)
    lose(witness)
    timeline = by_ways(conn, [campaign]).timelines[campaign]
    meaning = read_meaning(timeline)
    assert not [life for life in meaning.lives if life.end == "died"]
    assert meaning.unseen
    words = [each.what for each in moments(meaning)]
    assert words.count("100 sent") == 3
    assert len([each for each in words if each.startswith("a batch up to id")]) == 3
    assert merge(timeline, None) is timeline
    recorded = replace(timeline, versions=tuple(replace(each, source="recording") for each in timeline.versions))
    assert merge(recorded, timeline) is recorded


def test_a_version_that_was_dated_once_stays_dated(conn: Connection[Any]) -> None:
    """Saved while the log had it and again when only the page has: the moment is kept, and each version comes once."""
    witness = Witness(conn)
    campaign = campaign_of(witness, 5)
    first = by_ways(conn, [campaign]).timelines[campaign]
    lose(witness)
    witness.run(WRITE.format("sent = 7"), campaign=campaign)
    second = by_ways(conn, [campaign]).timelines[campaign]
    both: Timeline = joined(first, second)
    assert [told(each) for each in both.versions] == witness.rows[campaign]
    dated = {each.xmin: each.before for each in first.versions if each.dated}
    assert len(dated) > 4
    assert {each.xmin: each.before for each in both.versions if each.xmin in dated} == dated


def test_pages_that_are_read_wrongly_are_not_believed(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what lies there as today's row is not what SELECT gives, nothing of the pages is told, and why."""

    def falsified(cursor: Cursor[Any]) -> Table:
        table = read_table(cursor)
        names = {"sent": "to_send", "to_send": "sent"}
        columns = [replace(each, name=names.get(each.name, each.name)) for each in table.layout.attributes]
        return replace(table, layout=replace(table.layout, attributes=tuple(columns)))

    witness = Witness(conn)
    campaign = campaign_of(witness, 3)
    lose(witness)
    witness.run(WRITE.format("sent = 3"), campaign=campaign)
    monkeypatch.setattr(leftover, "read_table", falsified)
    log = by_ways(conn, [campaign])
    assert {each.source for each in log.timelines[campaign].versions} == {"log"}
    assert "pages were read wrongly" in log.missed[0]


def test_a_page_that_contradicts_the_log_is_refused(conn: Connection[Any]) -> None:
    """One version cannot have been two things."""
    witness = Witness(conn)
    campaign = campaign_of(witness, 3)
    log = read(conn, [campaign]).timelines[campaign]
    with rolled_back(conn, schema="public") as cur:
        _rows, found, _notes = read_leftovers(cur, ready(cur, extension(cur, PAGEINSPECT)).place, [campaign])

    def other(each: Leftover) -> Leftover:
        return replace(each, values={**each.values, "sent": each.values["sent"] + 1})

    assert filled(log, found[campaign], int(log.last.xmin))
    with pytest.raises(RefusedError, match="two things of one version"):
        filled(log, [other(each) for each in found[campaign]], int(log.last.xmin))


def test_a_standby_uses_what_is_installed_and_makes_nothing() -> None:
    """It reads the log raw; extensions it cannot make, and says so; made on the primary they serve it as well."""
    with serve({"autovacuum": "off"}) as primary, fresh(primary) as conn:
        needs(conn, "pageinspect")
        witness = Witness(conn)
        with (
            follow(primary) as standby,
            psycopg.connect(standby.dsn(conn.info.dbname), autocommit=True) as there,
        ):
            campaign = campaign_of(witness, 4)
            catch_up(conn, standby)
            log = by_ways(there, [campaign])
            witness.assert_told(log, campaign, last=6)
            (missed,) = log.missed
            assert missed.endswith("a standby cannot make it; on the primary: CREATE EXTENSION pageinspect")
            conn.execute("CREATE EXTENSION pageinspect")
            if conn.info.server_version >= SINCE * 10000:
                conn.execute("CREATE EXTENSION pg_walinspect")
            catch_up(conn, standby)
            log = by_ways(there, [campaign])
            assert not log.missed
            assert assert_sound(log, witness, campaign)[-1] == len(witness.rows[campaign]) - 1
            if conn.info.server_version >= SINCE * 10000:
                with snapshot(there, schema="public") as cur:
                    log = read_inspected(cur, extension(cur, WALINSPECT), [campaign])
                witness.assert_told(log, campaign, last=6)


def test_who_is_no_superuser_gets_the_log_alone(conn: Connection[Any], server: Server) -> None:
    """A role that may read the log and not the pages gets what it may, and a line on what would have helped."""
    conn.execute("CREATE ROLE reading LOGIN IN ROLE pg_monitor")
    conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reading")
    conn.execute("GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO reading")
    witness = Witness(conn)
    campaign = campaign_of(witness, 3)
    with psycopg.connect(server.dsn(conn.info.dbname, user="reading"), autocommit=True) as other:
        log = by_ways(other, [campaign])
    witness.assert_told(log, campaign, last=4)
    assert log.sources == ("the log",)
    assert log.missed == (
        "the table's own pages were not read: only a superuser may look at pages with pageinspect, and reading is none",
    )


def test_a_function_of_the_same_name_is_not_called(conn: Connection[Any]) -> None:
    """Whoever may make functions beside the extension's gets none called by a superuser: the arguments fit one only."""
    conn.execute("CREATE EXTENSION pageinspect")
    conn.execute(
        "CREATE FUNCTION get_raw_page(text, text, integer) RETURNS bytea LANGUAGE plpgsql "
        "AS 'BEGIN RAISE EXCEPTION ''called''; END'"
    )
    witness = Witness(conn)
    campaign = campaign_of(witness, 3)
    log = only_pages(conn, [campaign])
    assert told(log.timelines[campaign].last) == witness.rows[campaign][-1]
