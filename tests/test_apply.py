"""Tests of writing plans: what is written, in which journal, and what becomes of a run."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from psycopg.rows import dict_row

from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.errors import (
    ExitCode,
    RefusedError,
    UsageError,
)
from listmonk_doctor.repair import guards, journal, planfile, undo
from listmonk_doctor.repair.plan import Change
from tests.support.repairing import (
    audience,
    connect,
    elsewhere,
    plan_of,
    refused,
    reprice,
    tables,
    write,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Plan
    from tests.support.databases import IncidentDatabases


@pytest.fixture
def seed(incident_db: IncidentDatabases) -> str:
    """Give a database with the seed's finished campaign 2."""
    return incident_db("seed-v4.1.0")


@pytest.fixture
def conn(seed: str) -> Iterator[Connection]:
    """Give a session with the seed's database."""
    with connect(seed) as session:
        yield session


@pytest.fixture
def plan(conn: Connection) -> Plan:
    """Give the plan of a rewind of the seed's campaign."""
    return plan_of(conn, 2, "rewind")


def test_a_plan_changes_the_columns_it_shows_and_nothing_else(seed: str, conn: Connection, plan: Plan) -> None:
    """One row of campaigns gets the three values of the plan; `updated_at` and every other table stay."""
    before = tables(seed)
    columns = conn.execute("SELECT to_jsonb(c) FROM campaigns c WHERE id = 2").fetchall()[0][0]
    result = write(conn, plan)
    assert result.code is ExitCode.OK
    assert [each.applied for each in result.campaigns] == [True]
    now = conn.execute("SELECT to_jsonb(c) FROM campaigns c WHERE id = 2").fetchall()[0][0]
    moved = {name: now[name] for name in now if now[name] != columns[name]}
    assert moved == written(plan)
    assert moved["sent"] == 2251
    assert [name for name, rows in tables(seed).items() if rows != before[name]] == ["public.campaigns"]


def test_what_was_applied_is_in_the_journal(conn: Connection, plan: Plan) -> None:
    """The entry holds the plan as it was shown, the row before and after, who wrote it and with what."""
    result = write(conn, replace(plan, reason="the relay lost its connection"))
    [entry] = journal.history(conn, "public")
    assert (entry.run, entry.campaign_id, entry.strategy, entry.prefer) == (result.run, 2, "rewind", "no-gaps")
    assert entry.plan == replace(plan, reason="the relay lost its connection")
    assert entry.changes == tuple(planfile.to_json(plan)["changes"])
    assert entry.price == plan.price
    assert guards.normal(entry.row_before) == plan.guards["row"]
    assert guards.normal(entry.row_after) == plan.guards["row"] | written(plan)
    assert (entry.reason, entry.version, entry.applied_by) == ("the relay lost its connection", "0.1.0", "postgres")
    assert abs(entry.applied_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert entry.undoes is entry.undone_by is None
    assert journal.history(conn, "another_schema") == ()


def test_detach_list_removes_the_row_of_the_deleted_list(incident_db: IncidentDatabases) -> None:
    """The NULL row goes and the campaign is paused, in one transaction; the other list's row stays."""
    dsn = incident_db("deleted-list-v6.0.0")
    with connect(dsn) as conn:
        plan = plan_of(conn, 2, "detach-list")
        assert {change.table for change in plan.changes} == {"campaigns", "campaign_lists"}
        before = guards.read_lists(conn, "public", 2)
        assert write(conn, plan).code is ExitCode.OK
        assert guards.read_lists(conn, "public", 2) == [row for row in before if row[1] is not None]
        assert len(before) == len(guards.read_lists(conn, "public", 2)) + 1


def test_tables_in_another_schema_are_written_there(empty_db: str) -> None:
    """With listmonk in a schema of its own, and a decoy in public, the right row is changed and journalled."""
    with connect(empty_db) as conn:
        load(conn, open_recording("seed-v4.1.0"), schema="news")
        load(conn, open_recording("seed-v4.1.0"))
        decoy = tables(empty_db)
        plan = plan_of(conn, 2, "rewind", schema="news")
        result = write(
            conn,
            plan,
            schema="news",
            reprice=lambda session, one: reprice(session, one, "news"),
            audience=lambda session, one: audience(session, one, "news"),
        )
        assert result.code is ExitCode.OK
        assert tables(empty_db) == decoy
        assert conn.execute("SELECT status::text FROM news.campaigns").fetchall() == [("paused",)]
        assert [entry.run for entry in journal.history(conn, "news")] == [result.run]
        assert journal.history(conn, "public") == ()


def test_a_session_with_other_rows_and_a_strange_setting_is_no_obstacle(seed: str, plan: Plan) -> None:
    """Row factory, time zone, isolation level and read-only default of the session make no difference."""
    with connect(seed) as conn:
        conn.row_factory = dict_row  # type: ignore[assignment]
        conn.execute("SET TimeZone = 'Asia/Kathmandu'")
        conn.execute("SET default_transaction_read_only = on")
        conn.execute("SET default_transaction_isolation = 'serializable'")
        assert write(conn, plan, reprice=lambda _conn, old: old, audience=lambda *_: plan.guards["audience"]).code is (
            ExitCode.OK
        )
        assert str(conn.execute("SHOW lock_timeout").fetchall()) == "[{'lock_timeout': '0'}]"


def test_a_connection_in_a_transaction_is_a_bug_of_the_caller(conn: Connection, plan: Plan) -> None:
    """Nothing is committed or rolled back on the caller's behalf."""
    with conn.transaction(), pytest.raises(RuntimeError, match="in no transaction"):
        write(conn, plan)


def test_a_plan_beyond_what_is_allowed_is_refused_before_anything_is_written(
    seed: str, conn: Connection, plan: Plan
) -> None:
    """Even a plan that never was a file passes the list of what may be touched, all of them before the first."""
    evil = replace(plan, campaign_id=3, changes=(Change("users", {"id": 1}, {"status": "a"}, {"status": "b"}),))
    before = tables(seed)
    with pytest.raises(UsageError, match="users"):
        write(conn, plan, evil)
    with pytest.raises(UsageError, match="same campaign"):
        write(conn, plan, plan)
    assert tables(seed) == before


def test_a_trigger_that_moves_other_columns_takes_the_repair_back(seed: str, conn: Connection) -> None:
    """Whatever else would change with the row was not shown, so nothing is written."""
    conn.execute(
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.subject := 'stamped'; RETURN NEW; END $$"
    )
    conn.execute("CREATE TRIGGER stamp BEFORE UPDATE ON campaigns FOR EACH ROW EXECUTE FUNCTION stamp()")
    sentence = refused(seed, conn, plan_of(conn, 2, "rewind"), RefusedError)
    assert "columns that were not shown" in sentence


def test_an_acknowledgement_changes_nothing_in_listmonk(seed: str, conn: Connection) -> None:
    """`accept` writes the journal only; it holds until its day or until the row moves, and can be taken back."""
    before = tables(seed)
    plan = plan_of(conn, 2, "accept", reason="they were told by telephone")
    until = datetime.now(UTC) + timedelta(days=30)
    plan = replace(plan, guards={**plan.guards, "until": until.isoformat()})

    def never(_conn: Connection, _plan: Plan) -> None:
        raise AssertionError("no row is written")

    assert write(conn, plan, check_server=never).code is ExitCode.OK
    assert tables(seed) == before
    acceptance = journal.accepted(conn, "public")[2]
    assert (acceptance.reason, acceptance.until) == ("they were told by telephone", until)
    row = plan.guards["row"]
    assert acceptance.holds(row, datetime.now(UTC))
    assert acceptance.holds({**row, "started_at": row["started_at"].replace("+00:00", "Z")}, datetime.now(UTC))
    assert not acceptance.holds(row, until)
    assert not acceptance.holds({**row, "sent": row["sent"] + 1}, datetime.now(UTC))
    elsewhere(seed, "UPDATE campaigns SET sent = sent + 1")
    [entry] = undo.undoable(conn, "public")
    assert write(conn, undo.undo_plan(entry)).code is ExitCode.OK
    assert journal.accepted(conn, "public") == {}


def test_the_undo_script_is_on_the_disk_before_the_commit(
    seed: str, conn: Connection, plan: Plan, tmp_path: Path
) -> None:
    """It is named after the run, readable by its owner alone, and not written for nothing."""
    result = write(conn, plan, undo_out=tmp_path)
    assert result.undo_file == tmp_path / f"listmonk-doctor-undo-{result.run}.sql"
    assert stat.S_IMODE(result.undo_file.stat().st_mode) == 0o600
    assert result.run in result.undo_file.read_text()
    elsewhere(seed, "UPDATE campaigns SET sent = 0")
    assert write(conn, plan, undo_out=tmp_path).undo_file is None
    assert list(tmp_path.iterdir()) == [result.undo_file]


@pytest.mark.parametrize("place", ["taken.sql", "missing/undo.sql"])
def test_without_its_undo_script_nothing_is_written(
    seed: str, conn: Connection, plan: Plan, tmp_path: Path, place: str
) -> None:
    """A file that exists is not overwritten, and a repair whose undo cannot be saved is not done."""
    (tmp_path / "taken.sql").write_text("precious")
    assert "cannot be written" in refused(seed, conn, plan, UsageError, undo_out=tmp_path / place)
    assert (tmp_path / "taken.sql").read_text() == "precious"


def test_a_partial_success_is_reported_as_such(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """Of three campaigns the one that moved is refused, the others are one run, and the undo script holds just them."""
    dsn = incident_db("seed-v4.1.0")
    with connect(dsn) as conn:
        for new in (3, 4):
            conn.execute(
                "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, content_type, status, type,"
                " messenger, template_id, to_send, sent, max_subscriber_id, last_subscriber_id, started_at, updated_at)"
                " SELECT %s, gen_random_uuid(), name, subject, from_email, body, content_type, status, type, messenger,"
                " template_id, to_send, sent, max_subscriber_id, last_subscriber_id, started_at, updated_at"
                " FROM campaigns WHERE id = 2",
                [new],
            )
            conn.execute("INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES (%s, 1, 'N')", [new])
        plans = [plan_of(conn, one, "rewind") for one in (2, 3, 4)]
        elsewhere(dsn, "UPDATE campaigns SET sent = 5 WHERE id = 3")
        result = write(conn, *plans, undo_out=tmp_path)
        assert [each.applied for each in result.campaigns] == [True, False, True]
        assert result.campaigns[1].refused == "campaign 3: sent was 2,261 in the plan and is 5 now."
        assert result.code is ExitCode.FAILED
        entries = journal.entry(conn, "public", result.run)
        assert [entry.campaign_id for entry in entries] == [2, 4]
        assert result.undo_file is not None
        script = result.undo_file.read_text()
        assert [f"-- Campaign {one} (" in script for one in (2, 3, 4)] == [True, False, True]


def test_a_bug_after_the_first_campaign_says_what_was_applied(conn: Connection, plan: Plan) -> None:
    """An unexpected error is no reason to hide what was committed before it."""
    calls: list[int] = []

    def break_at_second(_conn: Connection, one: Plan) -> Plan:
        calls.append(one.campaign_id)
        if len(calls) == 2:
            raise ZeroDivisionError
        return one

    conn.execute(
        "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, messenger, template_id)"
        " VALUES (3, gen_random_uuid(), 'x', 'x', 'x', 'x', 'email', 1)"
    )
    second = plan_of(conn, 3, "accept")
    with pytest.raises(ZeroDivisionError) as caught:
        write(conn, plan, second, reprice=break_at_second)
    [note] = caught.value.__notes__
    assert note.endswith("was applied to campaign 2.")
    assert len(journal.history(conn, "public")) == 1
