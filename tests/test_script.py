"""Tests of plans as scripts, through the real psql: the same effect as `apply`, the same refusals, no way to inject."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql
from pyroaring import BitMap

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.player import Player
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.errors import ExitCode, UsageError
from listmonk_doctor.repair import guards, journal, script, undo
from listmonk_doctor.repair.plan import Change
from tests.support.repairing import (
    ONE_FOR_ANOTHER,
    VERSION,
    audience_guard,
    connect,
    journal_rows,
    plan_of,
    psql,
    tables,
    write,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Plan
    from tests.support.databases import IncidentDatabases

REPAIRS = {
    "rewind": "seed-v4.1.0",
    "resume": "blockrun-v3.0.0",
    "detach-list": "deleted-list-v6.0.0",
    "unschedule": "scheduled-nobody-v4.1.0",
    "accept": "seed-v4.1.0",
}
RUN = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
SETTLED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*|[0-9a-f]{8}-[0-9a-f-]{27}")


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


def script_of(plan: Plan, *, look: float = 0, **other: Any) -> str:
    """Return a plan's script, which does not watch the row unless a test wants that."""
    return script.sql_script(plan, **{"schema": "public", "run": RUN, "version": VERSION, "look": look, **other})


def refused(dsn: str, text: str, **environment: str) -> str:
    """Run a script that must write nothing, see that it did not, and return psql's errors."""
    before, entries = tables(dsn), journal_rows(dsn)
    done = psql(dsn, text, **environment)
    assert done.returncode == 3
    assert (tables(dsn), journal_rows(dsn)) == (before, entries)
    return done.stderr.decode()


def settled(rows: dict[str, list[str]]) -> str:
    """Return rows as text without what differs by nature: runs and times."""
    return SETTLED.sub("*", repr(rows))


@pytest.mark.parametrize("strategy", REPAIRS)
def test_a_script_does_what_apply_does(incident_db: IncidentDatabases, strategy: str) -> None:
    """Run by psql on one copy and applied on another, a plan leaves the same rows and the same journal."""
    by_script, by_apply = incident_db(REPAIRS[strategy]), incident_db(REPAIRS[strategy])
    before = tables(by_script)
    with connect(by_script) as conn, connect(by_apply) as other:
        plan = plan_of(conn, 2, strategy, reason="it's \\ so")
        done = psql(by_script, script_of(plan))
        assert (done.returncode, done.stdout) == (0, b"BEGIN\nSET\nSET\nSET\nSET\nSET\nSET\nSET\nSET\nDO\nCOMMIT\n")
        assert f"campaign 2: done, run {RUN}" in done.stderr.decode()
        assert write(other, plan_of(other, 2, strategy, reason="it's \\ so")).code is ExitCode.OK
        assert tables(by_script) == tables(by_apply)
        assert (tables(by_script) != before) is (strategy != "accept")
        drop_xmin = re.compile(r'""(xmin|digest)"": ""[^"]*""')
        assert drop_xmin.sub("", settled(journal_rows(by_script))) == drop_xmin.sub("", settled(journal_rows(by_apply)))
        [entry] = journal.history(conn, "public")
        assert (entry.run, entry.plan) == (RUN, plan)
        mine, theirs = (journal.accepted(one, "public") for one in (conn, other))
        assert {key: value.fingerprint for key, value in mine.items()} == {
            key: value.fingerprint for key, value in theirs.items()
        }


@pytest.mark.parametrize("strategy", [name for name in REPAIRS if name != "accept"])
def test_the_undo_script_restores_every_byte(incident_db: IncidentDatabases, strategy: str) -> None:
    """Made together with the repair's script, before either ran, it brings all of listmonk's tables back."""
    dsn = incident_db(REPAIRS[strategy])
    before = tables(dsn)
    with connect(dsn) as conn:
        plan = plan_of(conn, 2, strategy)
        back = script.undo_script(plan, "public", run=RUN, version=VERSION, look=0)
        assert psql(dsn, script_of(plan)).returncode == 0
        assert tables(dsn) != before
        assert psql(dsn, back).returncode == 0
        assert tables(dsn) == before
        undone, repaired = journal.history(conn, "public")
        assert (repaired.run, undone.undoes, repaired.undone_by) == (RUN, RUN, undone.run)
        assert f"run {RUN} was undone already, at " in refused(dsn, back)


def test_the_undo_file_of_apply_restores_every_byte(seed: str, conn: Connection, plan: Plan, tmp_path: Any) -> None:
    """The file that a repair leaves behind works as it is, and `undo` knows of it afterwards."""
    before = tables(seed)
    result = write(conn, plan, undo_out=tmp_path)
    assert result.undo_file is not None
    begun = time.monotonic()
    assert psql(seed, result.undo_file.read_text()).returncode == 0
    assert time.monotonic() - begun > script.LOOK
    assert tables(seed) == before
    assert journal.entry(conn, "public", result.run)[0].undone_by is not None


def test_the_undo_script_works_without_the_journal(seed: str, conn: Connection, plan: Plan) -> None:
    """Where the journal was lost, the row alone proves what is to be taken back; the undo starts a new journal."""
    before = tables(seed)
    back = script.undo_script(plan, "public", run=RUN, version=VERSION, look=0)
    write(conn, plan)
    conn.execute("DROP SCHEMA listmonk_doctor CASCADE")
    assert psql(seed, back).returncode == 0
    assert tables(seed) == before
    assert [entry.undoes for entry in journal.history(conn, "public")] == [RUN]


def test_the_undo_script_of_a_repair_that_never_was_does_nothing(seed: str, plan: Plan) -> None:
    """A file left behind by a repair that was killed before its commit is harmless."""
    said = refused(seed, script.undo_script(plan, "public", run=RUN, version=VERSION, look=0))
    assert "campaign 2: status was paused after the repair and is finished now" in said


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE campaigns SET sent = 2300", "campaign 2: sent was 2,261 in the plan and is 2300 now\n"),
        (
            "UPDATE campaigns SET status = 'paused', sent = 7",
            "status was finished in the plan and is paused now; campaign 2: sent was 2,261 in the plan and is 7 now\n",
        ),
        ("UPDATE campaigns SET send_at = NULL", "and is not set now\n"),
        ("UPDATE campaigns SET updated_at = '2030-01-02 03:04:05+01'", "and is 2030-01-02 02:04:05+00 now\n"),
        ("UPDATE campaigns SET subject = 'Autumn'", "campaign 2: its row was written again since the plan was made\n"),
        ("DELETE FROM campaigns", "campaign 2 is gone\n"),
        (
            "UPDATE campaigns SET uuid = '00000000-0000-4000-8000-000000000000'",
            "campaign 2: the uuid was f911dd5a-b7dc-4e9a-b428-ed68a0000fd7 and is 00000000-0000-4000-8000-000000000000",
        ),
        ("UPDATE settings SET value = '500' WHERE key = 'app.batch_size'", "app.batch_size was 1000 and is 500 now\n"),
        ("DELETE FROM settings WHERE key = 'app.batch_size'", "setting app.batch_size was 1000 and is null now\n"),
        (
            "UPDATE settings SET value = '[\"v4.1.0\", \"v5.0.3\"]' WHERE key = 'migrations'",
            "listmonk's version was v4.1.0 and is v5.0.3 now\n",
        ),
        (
            "DELETE FROM subscribers WHERE id = 7694",
            "campaign 2: the audience had 2,573 people and has 2572 now\n",
        ),
        (
            ONE_FOR_ANOTHER,
            "campaign 2: the audience has as many people, but not the same ones\n",
        ),
        (
            "UPDATE lists SET optin = 'double' WHERE id = 1",
            'campaign 2: the table of its lists (row, list, opt-in) was [[2,1,"single"]] and is [[2, 1, "double"]] now',
        ),
    ],
)
def test_a_script_writes_nothing_once_something_moved(
    seed: str, conn: Connection, plan: Plan, statement: str, sentence: str
) -> None:
    """Row, version of the row, settings, lists, audience: psql ends with the sentence and status 3."""
    text = script_of(plan, audience=members(2))
    assert "is not compared" not in text
    conn.execute(statement.encode())
    said = refused(seed, text)
    assert sentence in said
    assert "HINT:  Nothing was written. Look again: listmonk-doctor examine 2" in said


def test_a_script_that_compares_no_audience_says_so(plan: Plan) -> None:
    """Without the query, its first lines tell the DBA to run it now."""
    assert "-- Whether the audience changed since is not compared: run it now, or make it anew.\n" in script_of(plan)


def test_a_script_never_writes_a_beating_row(seed: str, plan: Plan) -> None:
    """While it watches, an open pipe rewrites the row without changing it: that is seen, and nothing is written."""
    plan = replace(plan, guards={**plan.guards, "xmin": None})
    with Player(seed, open_pipes=[2], interval=0.2):
        assert "a pipe is open on it" in refused(seed, script_of(plan, look=0.7))
    assert psql(seed, script_of(plan, look=0.7)).returncode == 0


def test_a_script_waits_for_its_turn(seed: str, conn: Connection, plan: Plan) -> None:
    """While a listmonk-doctor writes, the script waits two seconds and gives up; a short one it outwaits."""
    with connect(seed) as other:
        other.execute(sql.SQL("SELECT pg_advisory_lock({})").format(sql.Literal(journal.LOCK_KEY)))
        assert "canceling statement due to lock timeout" in refused(seed, script_of(plan))
        release = threading.Timer(0.5, other.close)
        release.start()
        assert psql(seed, script_of(plan)).returncode == 0
        release.join()
    assert len(journal.history(conn, "public")) == 1


def test_a_script_runs_once(seed: str, plan: Plan) -> None:
    """The second time the row is no longer as planned."""
    assert psql(seed, script_of(plan)).returncode == 0
    assert "status was finished in the plan and is paused now" in refused(seed, script_of(plan))


def test_a_script_in_another_schema_and_after_another_script(empty_db: str) -> None:
    """The tables are found in the schema that was named, also if that needs quoting."""
    name = 'ne"ws $doctor$'
    with connect(empty_db) as conn:
        load(conn, open_recording("seed-v4.1.0"), schema=name)
        plan = plan_of(conn, 2, "rewind", schema=name)
        assert psql(empty_db, script_of(plan, schema=name)).returncode == 0
        assert [entry.run for entry in journal.history(conn, name)] == [RUN]
        [entry] = undo.undoable(conn, name)
        back = script_of(undo.undo_plan(entry), schema=name, run=OTHER)
        assert psql(empty_db, back).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "x\nUPDATE campaigns SET subject = 'stolen'; --",
        "x\r\\! touch stolen\r\n\\q\n",
        "x\u2028\u2029\x85DELETE FROM settings;",
        "*/ DROP TABLE settings; /*",
        "$doctor$; DROP TABLE settings; DO $doctor$",
        "'; DROP TABLE settings; --",
        "\\'; DROP TABLE settings; --",
        ":'HOME' :\"HOME\" :HOME %s {x} %(y)s",
        "\u8868\u80fd\u5341 \u30bd\\",
        "[red]=cmd|' /C calc'!A0[/red]\x1b[2J",
        "a" * 100_000,
    ],
)
@pytest.mark.parametrize("encoding", ["UTF8", "SJIS"])
def test_a_campaigns_name_is_never_more_than_a_name(seed: str, conn: Connection, name: str, encoding: str) -> None:
    """No line break, quote, backslash, dollar quote or psql variable in it does anything, in any client encoding."""
    conn.execute("UPDATE campaigns SET name = %s", [name])
    plan = plan_of(conn, 2, "rewind", reason=name)
    text = script_of(plan)
    comments = text[: text.index("\\set ON_ERROR_STOP on")]
    assert all(line.startswith("-- ") for line in comments.splitlines())
    assert comments.isascii()
    assert max(map(len, comments.splitlines())) < 1500
    others = {table: rows for table, rows in tables(seed).items() if table != "public.campaigns"}
    done = psql(seed, text, PGCLIENTENCODING=encoding)
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 11), done.stderr.decode()
    assert {table: rows for table, rows in tables(seed).items() if table != "public.campaigns"} == others
    [entry] = journal.history(conn, "public")
    assert (entry.campaign_name, entry.reason, entry.plan) == (name, name, plan)
    assert conn.execute("SELECT name, subject, sent FROM campaigns").fetchall() == [(name, "Spring edition", 2251)]


def test_a_list_with_an_evil_name_is_removed_and_put_back(incident_db: IncidentDatabases) -> None:
    """The name of a deleted list goes through the scripts as data, too."""
    dsn = incident_db("deleted-list-v6.0.0")
    with connect(dsn) as conn:
        conn.execute("UPDATE campaign_lists SET list_name = E'$doctor$ \\'; \\\\ \\n:x' WHERE list_id IS NULL")
        before = tables(dsn)
        plan = plan_of(conn, 2, "detach-list")
        back = script.undo_script(plan, "public", run=RUN, version=VERSION, look=0)
        assert psql(dsn, script_of(plan)).returncode == 0
        assert psql(dsn, back).returncode == 0
        assert tables(dsn) == before


def test_a_plan_beyond_what_is_allowed_becomes_no_script(plan: Plan) -> None:
    """The list of what may be touched holds here as well."""
    evil = replace(plan, changes=(Change("campaigns", {"id": 2}, {"body": "a"}, {"body": "b"}),))
    with pytest.raises(UsageError, match="body"):
        script_of(evil)


@pytest.mark.parametrize("stamp", ["NEW.updated_at := now()", "NEW.subject := 'stamped'"])
def test_a_trigger_that_moves_other_columns_stops_the_script(seed: str, conn: Connection, stamp: str) -> None:
    """As `apply` does, the script takes back what would change more than was shown."""
    conn.execute(
        f"CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {stamp}; RETURN NEW; END $$".encode()
    )
    conn.execute("CREATE TRIGGER stamp BEFORE UPDATE ON campaigns FOR EACH ROW EXECUTE FUNCTION stamp()")
    said = refused(seed, script_of(plan_of(conn, 2, "rewind")))
    assert "writing the row changed other columns too" in said


def test_without_psqls_stop_at_the_first_error_nothing_is_written_either(
    seed: str, conn: Connection, plan: Plan
) -> None:
    """A client that goes on after an error finds itself in a transaction that can only be rolled back."""
    conn.execute("UPDATE campaigns SET sent = 7")
    before = tables(seed)
    text = script_of(plan).replace("\\set ON_ERROR_STOP on\n", "")
    done = psql(seed, text)
    assert done.stdout.endswith(b"ROLLBACK\n")
    assert tables(seed) == before
    assert journal_rows(seed) == {}


def test_what_a_script_will_do_stands_in_its_first_lines(conn: Connection, plan: Plan) -> None:
    """A DBA reads the columns from which to which value and the price before running anything."""
    head = script_of(plan).splitlines()
    cursor = written(plan)["last_subscriber_id"]
    assert f"-- Campaign 2 (Spring edition): rewind; in the journal as run {RUN}." in head
    assert f"-- campaigns, id 2: last_subscriber_id from 2601 to {cursor}" in head
    assert "-- campaigns, id 2: sent from 2261 to 2251" in head
    assert "-- People who get mail when Start is pressed: 322." in head
    assert "-- People who get it twice: 0 to 10." in head
    assert "-- Press Start in listmonk when you are ready." in head
    now = guards.read_row(conn, "public", 2)
    assert now is not None
    back = script.undo_script(plan, "public", run=RUN, version=VERSION).splitlines()
    assert any(line.startswith(f"-- Campaign 2 (Spring edition): takes back rewind, run {RUN}; ") for line in back)
    assert (
        len(
            {
                line
                for line in (*back, *script.undo_script(plan, "public", run=RUN, version=VERSION).splitlines())
                if "in the journal as run" in line
            }
        )
        == 2
    )


@pytest.mark.parametrize("campaign", [2, 99])
def test_the_digest_of_an_audience_is_what_postgresql_computes(seed: str, plan: Plan, campaign: int) -> None:
    """The guard in the plan and the script's query agree on an unchanged audience, and on an empty one."""
    guard = plan.guards["audience"] if campaign == 2 else audience_guard(BitMap())
    plan = replace(plan, guards={**plan.guards, "audience": guard})
    assert psql(seed, script_of(plan, audience=members(campaign))).returncode == 0


def members(campaign: int) -> sql.Composed:
    """Return the query of a campaign's audience."""
    eligible = sql.SQL(sqlfiles.read("audience/members.sql").decode().rstrip().rstrip(";"))
    return sql.SQL("SELECT subscriber_id FROM ({}) e WHERE campaign_id = {}").format(eligible, sql.Literal(campaign))
