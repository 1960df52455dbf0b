"""Tests of writing plans among others: missing privileges, locks, two at once, kills; it is all or nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from listmonk_doctor.database.sqlfiles import read as sql_file
from listmonk_doctor.errors import (
    ConnectionFailedError,
    ExitCode,
    PrivilegeError,
    RefusedError,
)
from listmonk_doctor.repair import journal, planfile
from tests.support import repair_child
from tests.support.repairing import (
    connect,
    elsewhere,
    journal_rows,
    plan_of,
    refused,
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


def test_a_row_that_somebody_holds_is_not_waited_for(seed: str, conn: Connection, plan: Plan) -> None:
    """After two seconds the repair gives up and says so."""
    with connect(seed) as other, other.transaction():
        other.execute("SELECT 1 FROM campaigns WHERE id = 2 FOR UPDATE")
        begun = time.monotonic()
        sentence = refused(seed, conn, plan, RefusedError)
        assert 1.5 < time.monotonic() - begun < 4
    assert sentence == "Campaign 2: another session has locked its row for more than 2 s."


def test_what_is_written_while_the_lock_is_waited_for_is_seen(seed: str, conn: Connection, plan: Plan) -> None:
    """A flush under way when the repair wants the row is waited for, and then compared with the plan by its figures."""
    other = connect(seed)

    def end_flush() -> None:
        other.execute("COMMIT")
        other.close()

    flush = threading.Timer(0.5, end_flush)

    def begin_to_flush(_conn: Connection, _plan: Plan) -> None:
        other.execute("BEGIN")
        other.execute("UPDATE campaigns SET sent = sent + 39")
        flush.start()

    result = write(conn, plan, check_server=begin_to_flush)
    flush.join()
    assert result.campaigns[0].refused == "campaign 2: sent was 2,261 in the plan and is 2,300 now."


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


WHERE = {
    "the row was written": "CREATE TRIGGER nap AFTER UPDATE ON campaigns FOR EACH ROW EXECUTE FUNCTION nap()",
    "the list's row was removed": (
        "CREATE TRIGGER nap AFTER DELETE ON campaign_lists FOR EACH ROW EXECUTE FUNCTION nap()"
    ),
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
