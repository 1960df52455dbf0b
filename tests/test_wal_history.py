"""Holds the reader of the write-ahead log to real servers: every committed version exactly, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.postgres import throwaway
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.timeline.wal.history import Log, read_logs
from listmonk_doctor.timeline.wal.shelf import ServerShelf
from tests.conftest import BIN_VARIABLE, memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from psycopg import Connection

    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.timeline.model import RowVersion
    from listmonk_doctor.timeline.wal.shelf import Shelf

AS_SHIPPED: Final = {
    "fsync": "off",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "autovacuum": "on",
}
"""A server as PostgreSQL ships it, but for the disk."""
SEEN = """
SELECT status::text, sent, to_send, last_subscriber_id, max_subscriber_id, started_at, updated_at, xmin::text
FROM campaigns WHERE id = %s
"""


def read(conn: Connection[Any], ids: Sequence[int], shelf: Shelf | None = None) -> Log:
    """Read the log as the program does."""
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        return read_logs(cur, shelf or ServerShelf(cur), ids)


def told(version: RowVersion) -> tuple[Any, ...]:
    """Return a version as `SEEN` gives it."""
    counts = (version.status, version.sent, version.to_send, version.cursor, version.ceiling)
    return (*counts, version.started_at, version.updated_at, version.xmin)


def serve(settings: Mapping[str, str]) -> AbstractContextManager[Server]:
    """Start a server of the tests' own with these settings above the shipped ones."""
    named = os.environ.get(BIN_VARIABLE)
    bin_folder = Path(named) if named else None
    return throwaway(bin_folder=bin_folder, settings={**AS_SHIPPED, **settings}, parent=memory())


@pytest.fixture(scope="module")
def shipped() -> Iterator[Server]:
    """One server as it is shipped, for this module."""
    with serve({}) as server:
        yield server


@pytest.fixture
def conn(shipped: Server) -> Iterator[Connection[Any]]:
    """Give a connection to a database with campaigns in it."""
    with psycopg.connect(shipped.dsn(), autocommit=True) as admin:
        (count,) = admin.execute("SELECT count(*) FROM pg_database").fetchall()[0]
        name = f"w{count}"
        admin.execute(f"CREATE DATABASE {name}".encode())
    with psycopg.connect(shipped.dsn(name), autocommit=True) as conn:
        load(conn, open_recording("seed-v4.1.0"))
        yield conn


class Witness:
    """Writes down the row after each commit, and between which two moments of the server's clock that was."""

    def __init__(self, conn: Connection[Any], campaign: int) -> None:
        """Watch one campaign on a connection in autocommit mode."""
        self.conn = conn
        self.campaign = campaign
        self.rows: list[tuple[Any, ...]] = []
        self.times: list[tuple[Any, Any]] = []

    def clock(self) -> Any:
        """Return the server's time."""
        return self.conn.execute("SELECT clock_timestamp()").fetchall()[0][0]

    def run(self, *statements: str) -> None:
        """Run statements, and write the row down where it is another version then."""
        start = self.clock()
        for statement in statements:
            self.conn.execute(statement.encode(), {"id": self.campaign})
        row = self.conn.execute(SEEN, (self.campaign,)).fetchall()[0]
        if not self.rows or self.rows[-1] != row:
            self.rows.append(row)
            self.times.append((start, self.clock()))

    def assert_told(self, log: Log) -> None:
        """Assert that the end of the history is exactly what was written down, in order and in time."""
        versions = log.timelines[self.campaign].versions[-len(self.rows) :]
        assert [told(version) for version in versions] == self.rows
        for version, (start, end) in zip(versions, self.times, strict=True):
            assert start <= version.after == version.before <= end
            assert version.source == "log"
        assert all(version.linked for version in versions[1:])
        places = [version.place or 0 for version in versions]
        assert places == sorted(set(places))


def first_campaign(conn: Connection[Any]) -> int:
    """Return some campaign's id."""
    found: int = conn.execute("SELECT min(id) FROM campaigns").fetchall()[0][0]
    return found


def test_every_committed_version_comes_back(conn: Connection[Any]) -> None:
    """Updates come back exactly with their commits' times; rolled back ones and savepoints that were left do not."""
    witness = Witness(conn, first_campaign(conn))
    write = "UPDATE campaigns SET {} WHERE id = %(id)s"
    for number in range(6):
        witness.run(write.format(f"sent = sent + {number}"))
        witness.run(write.format("last_subscriber_id = last_subscriber_id + 7, updated_at = now()"))
    witness.run("BEGIN", write.format("sent = 99999"), "ROLLBACK")
    witness.run(
        "BEGIN",
        "SAVEPOINT a",
        write.format("sent = 88888"),
        "ROLLBACK TO a",
        "SAVEPOINT b",
        write.format("status = 'paused'"),
        "RELEASE b",
        write.format("sent = sent + 1"),
        "COMMIT",
    )
    witness.run("BEGIN", "SAVEPOINT c", write.format("status = 'running'"), "RELEASE c", "COMMIT")
    log = read(conn, [witness.campaign])
    assert not log.notes
    witness.assert_told(log)
    assert len(witness.rows) >= 14
