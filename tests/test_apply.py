"""Tests of writing plans: what is written, what stops it, and that it is all or nothing."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from listmonk_doctor.database.sqlfiles import read as sql_file
from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.player import Player
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.errors import (
    ConnectionFailedError,
    DriftError,
    ExitCode,
    PrivilegeError,
    RefusedError,
    UsageError,
)
from listmonk_doctor.repair import guards, journal, planfile, undo
from listmonk_doctor.repair.plan import Change
from tests.support import repair_child
from tests.support.repairing import (
    audience,
    connect,
    journal_rows,
    plan_of,
    reprice,
    tables,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Plan
    from tests.support.databases import IncidentDatabases

NAP = 1.0
"""Seconds that a trigger holds a statement up, for the test to strike meanwhile."""


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


def elsewhere(dsn: str, statement: str) -> None:
    """Run a statement in another session, as listmonk or a person might."""
    with connect(dsn) as other:
        other.execute("SET lock_timeout = '200ms'")
        other.execute(statement.encode())


def refused(dsn: str, conn: Connection, plan: Plan, kind: type[Exception], **other: Any) -> str:
    """Apply a plan that must not be written, see that nothing was, and return the sentence."""
    before = tables(dsn)
    result = write(conn, plan, **other)
    [only] = result.campaigns
    assert not only.applied
    assert type(only.error) is kind
    assert result.code is ExitCode.FAILED
    assert result.undo_file is None
    assert tables(dsn) == before
    assert not any(journal_rows(dsn).values())
    return only.refused


def test_a_plan_changes_the_columns_it_shows_and_nothing_else(seed: str, conn: Connection, plan: Plan) -> None:
    """One row of campaigns gets the three values of the plan; `updated_at` and every other table stay."""
    before = tables(seed)
    columns = conn.execute("SELECT to_jsonb(c) FROM campaigns c WHERE id = 2").fetchall()[0][0]
    result = write(conn, plan)
    assert result.code is ExitCode.OK
    assert [each.applied for each in result.campaigns] == [True]
    now = conn.execute("SELECT to_jsonb(c) FROM campaigns c WHERE id = 2").fetchall()[0][0]
    moved = {name: now[name] for name in now if now[name] != columns[name]}
    assert moved == {
        "status": "paused",
        "sent": 2251,
        "last_subscriber_id": plan.changes[0].after["last_subscriber_id"],
    }
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
    assert guards.normal(entry.row_after) == plan.guards["row"] | dict(plan.changes[0].after)
    assert (entry.reason, entry.version, entry.applied_by) == ("the relay lost its connection", "0.1.0", "postgres")
    assert abs(entry.applied_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert entry.undoes is entry.undone_by is None
    assert journal.history(conn, "another_schema") == ()


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE campaigns SET sent = 2300", "campaign 2: sent was 2,261 in the plan and is 2,300 now."),
        (
            "UPDATE campaigns SET status = 'paused', last_subscriber_id = 7000",
            "campaign 2: status was finished in the plan and is paused now; "
            "campaign 2: last_subscriber_id was 2601 in the plan and is 7000 now.",
        ),
        ("UPDATE campaigns SET send_at = NULL", "and is not set now."),
        ("UPDATE campaigns SET updated_at = '2030-01-02 03:04:05+01'", "and is 2030-01-02T02:04:05.000000+00:00 now."),
        (
            "UPDATE campaigns SET subject = 'Autumn'",
            "campaign 2: its row was written again since the plan was made, though no progress column changed.",
        ),
        ("DELETE FROM campaigns", "campaign 2 is gone."),
        (
            "UPDATE campaigns SET uuid = '00000000-0000-4000-8000-000000000000'",
            "is another campaign: its uuid was f911dd5a-b7dc-4e9a-b428-ed68a0000fd7 in the plan and is 00000000-",
        ),
        (
            "UPDATE settings SET value = '500' WHERE key = 'app.batch_size'",
            "setting app.batch_size was 1000 and is 500 now.",
        ),
        (
            "UPDATE settings SET value = '\"1h\"' WHERE key = 'app.message_sliding_window_duration'",
            'setting app.message_sliding_window_duration was "14s" and is "1h" now.',
        ),
        (
            "UPDATE settings SET value = '[\"v4.1.0\", \"v5.0.3\"]' WHERE key = 'migrations'",
            "listmonk's version was v4.1.0 in the plan and is v5.0.3 now.",
        ),
        (
            "DELETE FROM subscribers WHERE id = 7694",
            "campaign 2: the audience had 2,573 people and has 2,572 now.",
        ),
        (
            "UPDATE subscriber_lists SET status = (CASE subscriber_id WHEN 7694 THEN 'unsubscribed' ELSE 'unconfirmed' END)"
            "::subscription_status WHERE list_id = 1 AND (subscriber_id = 7694 OR subscriber_id = (SELECT"
            " min(l.subscriber_id) FROM subscriber_lists l JOIN subscribers s ON s.id = l.subscriber_id"
            " WHERE l.list_id = 1 AND l.status = 'unsubscribed' AND s.status = 'enabled'))",
            "campaign 2: the audience still has 2,573 people, but not the same ones.",
        ),
        (
            "UPDATE lists SET optin = 'double' WHERE id = 1",
            "campaign 2: row 2 of its lists was list 1 (single opt-in) in the plan and is list 1 (double opt-in) now; ",
        ),
        (
            "UPDATE campaign_lists SET list_id = NULL",
            "campaign 2: row 2 of its lists was list 1 (single opt-in) in the plan and is a deleted list now; ",
        ),
    ],
)
def test_what_moved_since_the_plan_is_named_and_nothing_is_written(
    seed: str, conn: Connection, plan: Plan, statement: str, sentence: str
) -> None:
    """A row, a setting, the lists, the audience that changed: from which to which value, exit 3, no byte changed."""
    elsewhere(seed, statement)
    assert sentence in refused(seed, conn, plan, DriftError)


def test_a_count_that_equals_a_truth_value_is_not_the_same_setting(seed: str, conn: Connection, plan: Plan) -> None:
    """A setting that turned from `true` to 1 changed, although Python calls the two equal."""
    elsewhere(seed, "UPDATE settings SET value = '1' WHERE key = 'app.message_sliding_window'")
    sentence = refused(seed, conn, plan, DriftError)
    assert sentence == "setting app.message_sliding_window was true and is 1 now."


def test_a_price_that_rose_is_refused_with_the_figure(seed: str, conn: Connection, plan: Plan) -> None:
    """A bounce that proves a second copy makes the repair dearer: which figure, from what to what."""
    elsewhere(
        seed,
        "INSERT INTO bounces (subscriber_id, campaign_id, type, source, meta) VALUES (7694, 2, 'hard', 'test', '{}')",
    )
    sentence = refused(seed, conn, plan, DriftError)
    assert sentence == (
        "campaign 2: duplicates was 0 to 10 in the plan and is 1 to 11 now; "
        "campaign 2: duplicates (presumably) was 0 in the plan and is 1 now."
    )


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        ({"missed": [0, 11]}, "missed was 0 to 10 in the plan and is 0 to 11 now"),
        ({"missed": [1, 10]}, "missed was 0 to 10 in the plan and is 1 to 10 now"),
        ({"newcomers": [1, 1]}, "newcomers was 0 in the plan and is 1 now"),
        ({"would_mail": [321, 321]}, "would_mail was 322 in the plan and is 321 now"),
        ({"presumably": None}, "missed (presumably) was 0 in the plan and is not known now"),
        ({"missed": [0, 9], "duplicates": [0, 0]}, ""),
    ],
)
def test_a_price_may_fall_but_no_bound_may_rise(
    conn: Connection, plan: Plan, now: dict[str, Any], sentence: str
) -> None:
    """Lower bounds count too, and who would be mailed may not differ at all."""
    result = write(conn, plan, reprice=lambda _conn, old: replace(old, price={**old.price, **now}))
    assert result.campaigns[0].applied is (not sentence)
    assert sentence in result.campaigns[0].refused


def test_a_plan_that_would_change_something_else_now_is_refused(seed: str, conn: Connection, plan: Plan) -> None:
    """The same strategy made anew with another cursor is not what was shown."""

    def elsewhere_by_one(_conn: Connection, old: Plan) -> Plan:
        change = old.changes[0]
        after = {**change.after, "last_subscriber_id": change.after["last_subscriber_id"] + 1}
        return replace(old, changes=(replace(change, after=after),))

    assert "would change other columns or values" in refused(seed, conn, plan, DriftError, reprice=elsewhere_by_one)


def test_a_strategy_that_can_no_longer_be_defended_is_refused(seed: str, conn: Connection, plan: Plan) -> None:
    """When the plan cannot be made anew at all, it is not written."""
    sentence = refused(seed, conn, plan, RefusedError, reprice=lambda _conn, _plan: None)
    assert sentence == "Campaign 2: rewind can no longer be defended as it was planned."


def test_the_audience_is_compared_again_after_the_price_was_made(seed: str, conn: Connection, plan: Plan) -> None:
    """Somebody who leaves while the price is made is noticed."""

    def reprice_while_one_leaves(session: Connection, old: Plan) -> Plan | None:
        anew = reprice(session, old)
        elsewhere(seed, "DELETE FROM subscribers WHERE id = 7694")
        return anew

    result = write(conn, plan, reprice=reprice_while_one_leaves)
    assert result.campaigns[0].refused == "campaign 2: the audience had 2,573 people and has 2,572 now."
    assert not any(journal_rows(seed).values())


def test_the_row_is_not_locked_while_the_price_is_made_or_the_server_looked_at(
    seed: str, conn: Connection, plan: Plan
) -> None:
    """Listmonk can write the row without waiting until the last moment, and what it wrote is then noticed."""
    looked: list[str] = []

    def look(_conn: Connection, _plan: Plan) -> None:
        elsewhere(seed, "UPDATE campaigns SET sent = sent + 39 WHERE id = 2")
        looked.append("written without waiting")

    result = write(conn, plan, check_server=look)
    assert looked
    assert result.campaigns[0].refused == "campaign 2: sent was 2,261 in the plan and is 2,300 now."
    assert not any(journal_rows(seed).values())


def test_a_heartbeat_between_the_look_and_the_lock_is_noticed(seed: str, conn: Connection, plan: Plan) -> None:
    """A row rewritten without a change is not written, even if the plan itself never saw its version."""
    plan = replace(plan, guards={**plan.guards, "xmin": None})

    def beat(_conn: Connection, _plan: Plan) -> None:
        elsewhere(seed, "UPDATE campaigns SET sent = sent WHERE id = 2")

    result = write(conn, plan, check_server=beat)
    assert type(result.campaigns[0].error) is DriftError
    assert "written again while the plan was being applied: a pipe may be open on it" in result.campaigns[0].refused
    assert not any(journal_rows(seed).values())


def test_a_beating_row_is_never_written(seed: str, conn: Connection) -> None:
    """With a pipe open on the row, plans that are a beat old are refused, however often they are made."""
    with Player(seed, open_pipes=[2], interval=0.02):
        for _ in range(10):
            plan = plan_of(conn, 2, "rewind")
            time.sleep(0.05)
            result = write(conn, plan)
            assert "its row was written again" in result.campaigns[0].refused
    assert not any(journal_rows(seed).values())


def test_what_the_look_at_the_server_says_is_obeyed(seed: str, conn: Connection, plan: Plan) -> None:
    """It is asked within the transaction, for each plan that changes a row, and its refusal is passed on."""
    asked: list[tuple[int, str]] = []

    def say_no(session: Connection, one: Plan) -> None:
        asked.append((one.campaign_id, session.info.transaction_status.name))
        raise RefusedError("A pipe is open on campaign 2.", hint="Pause it first.")

    assert refused(seed, conn, plan, RefusedError, check_server=say_no) == "A pipe is open on campaign 2."
    assert asked == [(2, "INTRANS")]


def test_a_second_look_within_the_transaction_sees_new_sessions(seed: str, conn: Connection, plan: Plan) -> None:
    """PostgreSQL keeps what a transaction saw of other sessions; it is forgotten before the server is looked at."""
    found: list[int] = []
    others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'newcomer'"

    def look_early(session: Connection, old: Plan) -> Plan | None:
        found.append(session.execute(others).fetchall()[0][0])
        return reprice(session, old)

    def look(session: Connection, _plan: Plan) -> None:
        found.append(session.execute(others).fetchall()[0][0])

    class Late:
        """Opens a session between the two looks."""

        session: psycopg.Connection[Any] | None = None

    def audience_and_newcomer(session: Connection, one: Plan) -> dict[str, Any]:
        if found and Late.session is None:
            Late.session = psycopg.connect(seed, application_name="newcomer")
        return audience(session, one)

    assert write(conn, plan, reprice=look_early, check_server=look, audience=audience_and_newcomer).code is ExitCode.OK
    assert Late.session is not None
    Late.session.close()
    assert found == [0, 1]


def test_unschedule_is_written_while_a_server_scans(incident_db: IncidentDatabases) -> None:
    """A due row that 4.1.0 picks up and drops at every scan becomes a draft, although its `updated_at` never rests."""
    dsn = incident_db("scheduled-nobody-v4.1.0", fresh=True)
    with connect(dsn) as conn, Player(dsn, drops_empty=True, interval=0.05) as player:
        plan = plan_of(conn, 2, "unschedule")
        scans = player.scans[0]
        while player.scans[0] < scans + 3:
            time.sleep(0.01)
        result = write(conn, plan)
        assert result.campaigns[0].refused == ""
        assert conn.execute("SELECT status::text FROM campaigns WHERE id = 2").fetchall() == [("draft",)]
        assert result.code is ExitCode.OK


def test_unschedule_is_refused_once_the_campaign_was_started(incident_db: IncidentDatabases) -> None:
    """The exception is for a row that was never started; a scan that starts it in time wins."""
    dsn = incident_db("scheduled-nobody-v4.1.0", fresh=True)
    with connect(dsn) as conn:
        plan = plan_of(conn, 2, "unschedule")
        elsewhere(dsn, "UPDATE campaigns SET started_at = now()")
        assert "started_at was not set in the plan" in refused(dsn, conn, plan, DriftError)


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
        assert conn.execute("SHOW lock_timeout").fetchall() == [{"lock_timeout": "0"}]


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
                "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, content_type, status, type, messenger,"
                " template_id, to_send, sent, max_subscriber_id, last_subscriber_id, started_at, updated_at)"
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


# Privileges -----------------------------------------------------------------------------------------------------


@pytest.fixture
def clerk(seed: str) -> Iterator[str]:
    """Give the DSN of a role that may only read listmonk's tables."""
    name = f"clerk {os.getpid()}"
    with connect(seed) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        owner.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(sql.Identifier(name)))
        yield psycopg.conninfo.make_conninfo(seed, user=name)
        owner.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def granted(dsn: str, hint: str) -> None:
    """Run the GRANTs that a hint names, up to their last semicolon."""
    start = hint.index("GRANT")
    for statement in hint[start : hint.index(";", hint.rindex("GRANT"))].split(";"):
        grant = statement[statement.index("GRANT") :] if "GRANT" in statement else ""
        if grant:
            elsewhere(dsn, grant)


def test_a_missing_privilege_comes_with_the_grant_that_gives_it(seed: str, clerk: str, plan: Plan) -> None:
    """The hint's own words, run by the owner, are all that was missing: first for the journal, then for the row."""
    before = tables(seed)
    with connect(clerk) as conn:
        first = write(conn, plan).campaigns[0]
        assert isinstance(first.error, PrivilegeError)
        assert "may not create the journal's schema listmonk_doctor" in first.refused
        assert "--sql" in first.error.hint
        granted(seed, first.error.hint.partition("; or create")[0] + ";")
        second = write(conn, plan).campaigns[0]
        assert isinstance(second.error, PrivilegeError)
        assert "permission denied for table campaigns" in second.refused
        assert tables(seed) == before
        assert journal_rows(seed) == {}
        granted(seed, second.error.hint)
        assert write(conn, plan).code is ExitCode.OK
        assert journal.history(conn, "public")[0].applied_by.startswith("clerk")


def test_a_journal_that_somebody_else_made_needs_a_grant_too(seed: str, clerk: str, plan: Plan) -> None:
    """A role that may write campaigns but not the journal writes nothing, and is told what to ask for."""
    with connect(seed) as owner:
        owner.execute(sql_file("journal/create.sql"))
        name = psycopg.conninfo.conninfo_to_dict(clerk)["user"]
        owner.execute(sql.SQL("GRANT UPDATE ON campaigns TO {}").format(sql.Identifier(str(name))))
    before = tables(seed)
    with connect(clerk) as conn:
        assert journal.state(conn) == "unreadable"
        assert journal.accepted(conn, "public") == {}
        assert journal.former(conn, "public", 2, plan.campaign_uuid) == ()
        with pytest.raises(PrivilegeError, match="may not read the journal"):
            journal.history(conn, "public")
        only = write(conn, plan).campaigns[0]
        assert isinstance(only.error, PrivilegeError)
        assert "may not write the journal" in only.refused
        assert tables(seed) == before
        granted(seed, only.error.hint)
        assert journal.state(conn) == "writable"
        assert write(conn, plan).code is ExitCode.OK


def test_a_read_only_server_is_named(seed: str, conn: Connection, plan: Plan) -> None:
    """Where nothing can be written at all, one sentence says so."""

    def become_read_only(session: Connection, old: Plan) -> Plan:
        session.execute("SET TRANSACTION READ ONLY")
        return old

    sentence = refused(seed, conn, plan, RefusedError, reprice=become_read_only)
    assert "read-only transaction" in sentence


# Others at work -------------------------------------------------------------------------------------------------


def test_a_row_that_somebody_holds_is_not_waited_for(seed: str, conn: Connection, plan: Plan) -> None:
    """After two seconds the repair gives up and says so."""
    with connect(seed) as other, other.transaction():
        other.execute("SELECT 1 FROM campaigns WHERE id = 2 FOR UPDATE")
        begun = time.monotonic()
        sentence = refused(seed, conn, plan, RefusedError)
        assert 1.5 < time.monotonic() - begun < 4
    assert sentence == "Campaign 2: another session has locked its row for more than 2 s."


def test_of_two_repairs_at_once_one_waits_and_finds_what_the_other_did(
    seed: str, conn: Connection, plan: Plan, tmp_path: Path
) -> None:
    """Two processes with the same plan: the first is done, the second sees a row that is no longer as planned."""
    planfile.write([plan], tmp_path / "plan.json")
    with repair_child.start(seed, tmp_path / "plan.json", pause=0.7) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "writing\n"
        second = write(conn, plan).campaigns[0]
        assert first.stdout.readline() == "applied\n"
    assert not second.applied
    assert second.refused.startswith("campaign 2: status was finished in the plan and is paused now")
    assert len(journal.history(conn, "public")) == 1


def test_another_doctor_that_takes_long_is_named(seed: str, conn: Connection, plan: Plan, tmp_path: Path) -> None:
    """Whoever holds the lock for more than two seconds is named by its session."""
    planfile.write([plan], tmp_path / "plan.json")
    with repair_child.start(seed, tmp_path / "plan.json", pause=4) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "writing\n"
        [(pid,)] = conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'listmonk-doctor' AND pid <> pg_backend_pid()"
        ).fetchall()
        second = write(conn, plan).campaigns[0]
        assert first.stdout.readline() == "applied\n"
    assert isinstance(second.error, RefusedError)
    assert second.refused.startswith(
        f"Another listmonk-doctor is writing in this database: process {pid} on the server (role postgres, "
        "listmonk-doctor, from unix socket, since "
    )


# Killed between statements --------------------------------------------------------------------------------------

WHERE = {
    "the row was written": "CREATE TRIGGER nap AFTER UPDATE ON campaigns FOR EACH ROW EXECUTE FUNCTION nap()",
    "the list's row was removed": "CREATE TRIGGER nap AFTER DELETE ON campaign_lists FOR EACH ROW EXECUTE FUNCTION nap()",
    "the entry was written": (
        "CREATE TRIGGER nap AFTER INSERT ON listmonk_doctor.entries FOR EACH ROW EXECUTE FUNCTION nap()"
    ),
    "COMMIT was sent": (
        "CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON listmonk_doctor.entries DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION nap()"
    ),
}


def sleeper(conn: Connection) -> int:
    """Wait until a statement of another session sleeps in the trigger, and return that session's process."""
    for _ in range(1000):
        rows = conn.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchall()
        if rows:
            return int(rows[0][0])
        time.sleep(0.01)
    raise AssertionError("nothing sleeps in the trigger")


def gone(conn: Connection, pid: int) -> None:
    """Wait until a session has ended."""
    for _ in range(1000):
        if not conn.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall():
            return
        time.sleep(0.01)
    raise AssertionError("the session did not end")


@pytest.mark.parametrize("how", ["SIGKILL", "pg_terminate_backend"])
@pytest.mark.parametrize("where", WHERE)
def test_a_kill_between_statements_leaves_all_or_nothing(
    incident_db: IncidentDatabases, tmp_path: Path, where: str, how: str
) -> None:
    """Killed after any statement, the rows and the journal agree: both were written, or neither was."""
    dsn = incident_db("deleted-list-v6.0.0")
    with connect(dsn) as conn:
        planfile.write([plan_of(conn, 2, "detach-list")], tmp_path / "plan.json")
        conn.execute(sql_file("journal/create.sql"))
        conn.execute(
            sql.SQL(
                "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN PERFORM pg_sleep({}); RETURN NULL; END'"
            ).format(sql.Literal(NAP))
        )
        conn.execute(WHERE[where].encode())
        before = tables(dsn)
        with repair_child.start(dsn, tmp_path / "plan.json", undo_out=tmp_path) as child:
            pid = sleeper(conn)
            if how == "SIGKILL":
                child.send_signal(signal.SIGKILL)
            else:
                conn.execute("SELECT pg_terminate_backend(%s)", [pid])
            assert child.stdout is not None
            said = child.stdout.read().splitlines()
        gone(conn, pid)
        written = how == "SIGKILL" and where == "COMMIT was sent"
        assert (tables(dsn) != before) is written
        assert len(journal.history(conn, "public")) == written
        scripts = list(tmp_path.glob("*.sql"))
        if how == "SIGKILL":
            assert said == ["writing"]
            assert len(scripts) == 1
        elif where == "COMMIT was sent":
            assert said[1].endswith("being committed: whether it was written is not known.")
            assert len(scripts) == 1
        else:
            assert said[1:] == ["Campaign 2: the connection was lost before anything was committed."]
            assert scripts == []


def test_a_lost_connection_ends_the_run(seed: str, plan: Plan) -> None:
    """The campaigns after a lost connection are reported as not done, not left out."""

    def lose(session: Connection, _plan: Plan) -> None:
        elsewhere(seed, f"SELECT pg_terminate_backend({session.info.backend_pid})")

    with connect(seed) as conn:
        conn.execute(
            "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, messenger, template_id)"
            " VALUES (3, gen_random_uuid(), 'x', 'x', 'x', 'x', 'email', 1)"
        )
        result = write(conn, plan, plan_of(conn, 3, "accept"), check_server=lose)
    assert [type(each.error) for each in result.campaigns] == [ConnectionFailedError, ConnectionFailedError]
    assert not any(journal_rows(seed).values())


# The sentences --------------------------------------------------------------------------------------------------


def test_the_fingerprint_does_not_depend_on_how_a_moment_is_spelled() -> None:
    """PostgreSQL's, Python's and our own spelling of one moment are one; another moment is another."""
    row = {"sent": 1, "started_at": "2026-01-02T03:04:05.600000+00:00"}
    for spelled in (
        "2026-01-02T03:04:05.6Z",
        "2026-01-02 04:04:05.6+01:00",
        datetime(2026, 1, 2, 3, 4, 5, 600000, UTC),
    ):
        assert guards.fingerprint({**row, "started_at": spelled}) == guards.fingerprint(row)
    assert guards.fingerprint({**row, "started_at": None}) != guards.fingerprint(row)
    assert guards.moment("infinity") == "infinity"


def test_no_message_names_a_command_that_does_not_fit(seed: str, conn: Connection, plan: Plan) -> None:
    """A stale repair is made anew with `repair`, a stale undo with `undo`."""
    elsewhere(seed, "UPDATE campaigns SET sent = 1")
    error = write(conn, plan).campaigns[0].error
    assert error is not None
    assert error.hint == "Nothing was written. See what it would do now: listmonk-doctor repair 2"
    assert json.loads(json.dumps(error.message)) == error.message
