"""Holds the reader of the write-ahead log to real servers: every committed version exactly, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.recording import open_recording
from tests.support.log_world import Edits, Witness, read, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from listmonk_doctor.demo.postgres import Server

WRITE = "UPDATE campaigns SET {} WHERE id = %(id)s"
LATER = {"wal_compression=lz4", "wal_compression=zstd"}
"""Settings that PostgreSQL 14 does not have."""


def fresh(server: Server) -> Connection[Any]:
    """Return a connection to a new database with campaigns in it."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        (count,) = admin.execute("SELECT count(*) FROM pg_database").fetchall()[0]
        name = f"w{count}"
        admin.execute(f"CREATE DATABASE {name}".encode())
    conn = psycopg.connect(server.dsn(name), autocommit=True)
    load(conn, open_recording("seed-v4.1.0"))
    return conn


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


def test_every_committed_version_comes_back(conn: Connection[Any]) -> None:
    """Updates come back exactly with their commits' times; rolled back ones and savepoints that were left do not."""
    witness = Witness(conn)
    campaign = witness.ids[0]
    for number in range(6):
        witness.run(WRITE.format(f"sent = sent + {number}"), campaign=campaign)
        witness.run(WRITE.format("last_subscriber_id = 7, updated_at = now()"), campaign=campaign)
    witness.run("BEGIN", WRITE.format("sent = 99999"), "ROLLBACK", campaign=campaign)
    witness.run(
        "BEGIN",
        "SAVEPOINT a",
        WRITE.format("sent = 88888"),
        "ROLLBACK TO a",
        "SAVEPOINT b",
        WRITE.format("status = 'paused'"),
        "RELEASE b",
        WRITE.format("sent = sent + 1"),
        "COMMIT",
        campaign=campaign,
    )
    witness.run("BEGIN", "SAVEPOINT c", WRITE.format("status = 'running'"), "RELEASE c", "COMMIT", campaign=campaign)
    log = read(conn, [campaign])
    assert not log.notes
    witness.assert_told(log, campaign)
    assert len(witness.rows[campaign]) >= 14


@pytest.mark.parametrize(
    "setting",
    [
        "wal_level=replica",
        "wal_level=minimal",
        "wal_level=logical",
        "full_page_writes=off",
        "wal_compression=pglz",
        "wal_compression=lz4",
        "wal_compression=zstd",
        "wal_log_hints=on",
    ],
)
def test_random_edits_come_back_under_every_setting(shipped: Server, setting: str) -> None:
    """Bodies, nulls, savepoints, locks, vacuums, checkpoints, columns that come and go: no version wrong or missing."""
    name, value = setting.split("=")
    if shipped.major < 15 and setting in LATER:
        pytest.skip("PostgreSQL 14 has only pglz")
    with fresh(shipped) as conn:
        packings = "SELECT enumvals FROM pg_settings WHERE name = 'wal_compression'"
        known = conn.execute(packings).fetchall()[0][0]
    if setting in LATER and value not in known:
        pytest.skip(f"this PostgreSQL was built without {value}")
    settings = {name: "on" if shipped.major < 15 and value == "pglz" else value}
    if value == "minimal":
        settings["max_wal_senders"] = "0"
    with serve(settings) as server, fresh(server) as conn:
        if value == "minimal":  # rows of a table that is new in their transaction are not logged
            conn.execute("CHECKPOINT")
            conn.execute("UPDATE campaigns SET sent = sent")
        witness = Witness(conn)
        edits = Edits(witness, seed=len(setting))
        for _ in range(250):
            edits.one()
        log = read(conn, witness.ids)
        assert not log.notes
        for campaign in witness.ids:
            witness.assert_told(log, campaign)


@pytest.mark.parametrize("statement", ["VACUUM FULL campaigns", "CLUSTER campaigns USING campaigns_pkey"])
def test_the_history_goes_on_in_an_older_file(conn: Connection[Any], statement: str) -> None:
    """Where the table was rewritten meanwhile, what happened before is read from its older file."""
    witness = Witness(conn)
    campaign = witness.ids[0]
    for step in ("CHECKPOINT", statement, "SELECT 1", statement):
        for _ in range(4):
            witness.run(WRITE.format("sent = sent + 1"), campaign=campaign)
        witness.run(step)
    log = read(conn, [campaign])
    assert "was rewritten" in log.notes[0]
    witness.assert_told(log, campaign)
    witness.run(WRITE.format("sent = 0"), campaign=campaign)
    witness.assert_told(read(conn, [campaign]), campaign)


def test_rows_that_were_copied_in_are_read(conn: Connection[Any]) -> None:
    """A restore writes many rows with one record; they begin the history anew."""
    conn.execute("CREATE TABLE kept AS SELECT * FROM campaigns")
    with conn.cursor().copy("COPY campaigns TO STDOUT") as copy:
        lines = [bytes(line) for line in copy]
    conn.execute("DELETE FROM campaigns")
    with conn.cursor().copy("COPY campaigns FROM STDIN") as copy:
        for line in lines:
            copy.write(line)
    witness = Witness(conn)
    for campaign in witness.ids:
        witness.run(WRITE.format("sent = sent + 1"), campaign=campaign)
    log = read(conn, witness.ids)
    for campaign in witness.ids:
        witness.assert_told(log, campaign, last=2)


def test_a_version_older_than_its_column_has_what_the_column_gave_it(conn: Connection[Any]) -> None:
    """A row that was written before a column was added has the default of the column in the log, as in SELECT."""
    conn.execute("ALTER TABLE campaigns DROP COLUMN max_subscriber_id")
    witness_id = conn.execute("SELECT min(id) FROM campaigns").fetchall()[0][0]
    conn.execute("UPDATE campaigns SET sent = 5 WHERE id = %s", (witness_id,))
    conn.execute("ALTER TABLE campaigns ADD COLUMN max_subscriber_id integer NOT NULL DEFAULT 41")
    log = read(conn, [witness_id])
    assert (log.timelines[witness_id].last.sent, log.timelines[witness_id].last.ceiling) == (5, 41)


def test_the_history_goes_on_over_a_crash_of_the_server() -> None:
    """What was committed before PostgreSQL itself crashed comes back, what was open then does not."""
    with serve({}) as server, fresh(server) as conn:
        witness = Witness(conn)
        campaign = witness.ids[0]
        for _ in range(5):
            witness.run(WRITE.format("sent = sent + 1"), campaign=campaign)
        with psycopg.connect(server.dsn(conn.info.dbname)) as doomed:
            doomed.execute(WRITE.format("sent = 77777").encode(), {"id": campaign})
            os.kill(doomed.info.backend_pid, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                doomed.execute("SELECT 1")
        witness.conn = again(server, conn)
        with witness.conn:
            for _ in range(5):
                witness.run(WRITE.format("sent = sent + 1"), campaign=campaign)
            log = read(witness.conn, [campaign])
        assert not log.notes
        witness.assert_told(log, campaign)


def again(server: Server, old: Connection[Any]) -> Connection[Any]:
    """Return a connection as soon as the server takes one, once it has ended the `old` one, as it does all of them."""
    deadline = time.monotonic() + 30
    with contextlib.suppress(psycopg.OperationalError):
        while time.monotonic() < deadline:
            old.execute("SELECT 1")
            time.sleep(0.05)
    while True:
        try:
            return psycopg.connect(server.dsn(old.info.dbname), autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
