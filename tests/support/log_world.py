# ruff: noqa: S608 - statements are put together from a test's own words and numbers
"""Owns servers whose log is read in the tests, and a witness that writes every committed version down."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.postgres import throwaway
from listmonk_doctor.timeline.wal.history import Log, read_logs
from listmonk_doctor.timeline.wal.shelf import ServerShelf
from tests.conftest import BIN_VARIABLE, memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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
    "min_wal_size": "80MB",
}
"""A server as PostgreSQL ships it, but for the disk."""
_SEEN: Final = """
SELECT id, status::text, sent, to_send, last_subscriber_id, max_subscriber_id, started_at, updated_at, xmin::text
FROM campaigns ORDER BY id
"""


def serve(settings: Mapping[str, str]) -> AbstractContextManager[Server]:
    """Start a server of the tests' own with these settings above the shipped ones."""
    named = os.environ.get(BIN_VARIABLE)
    bin_folder = Path(named) if named else None
    return throwaway(bin_folder=bin_folder, settings={**AS_SHIPPED, **settings}, parent=memory())


def read(conn: Connection[Any], ids: Sequence[int], shelf: Shelf | None = None, **bounds: Any) -> Log:
    """Read the log as the program does."""
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        return read_logs(cur, shelf or ServerShelf(cur), ids, **bounds)


def told(version: RowVersion) -> tuple[Any, ...]:
    """Return a version as the witness writes it down."""
    counts = (version.status, version.sent, version.to_send, version.cursor, version.ceiling)
    return (*counts, version.started_at, version.updated_at, version.xmin)


class Witness:
    """Writes down every campaign's row after each commit, and between which moments of the server's clock that was."""

    def __init__(self, conn: Connection[Any]) -> None:
        """Watch on a connection in autocommit mode, which alone writes."""
        self.conn = conn
        self.rows: dict[int, list[tuple[Any, ...]]] = {}
        self.times: dict[int, list[tuple[Any, Any]]] = {}
        self._look(self.clock())

    @property
    def ids(self) -> list[int]:
        """The campaigns that were seen."""
        return sorted(self.rows)

    def clock(self) -> Any:
        """Return the server's time."""
        return self.conn.execute("SELECT clock_timestamp()").fetchall()[0][0]

    def run(self, *statements: str, campaign: int = 0) -> None:
        """Run statements, and write down each row that is another version then."""
        start = self.clock()
        for statement in statements:
            self.conn.execute(statement.encode(), {"id": campaign} if "%(id)s" in statement else None)
        self._look(start)

    def _look(self, start: Any) -> None:
        for ident, *row in self.conn.execute(_SEEN).fetchall():
            held = self.rows.setdefault(ident, [])
            if not held or held[-1] != tuple(row):
                held.append(tuple(row))
                self.times.setdefault(ident, []).append((start, self.clock()))

    def assert_told(self, log: Log, campaign: int, *, last: int | None = None) -> None:
        """Assert that a history is exactly what was written down, in order and in time; or its `last` versions are."""
        rows, times = self.rows[campaign], self.times[campaign]
        count = len(rows) if last is None else last
        versions = log.timelines[campaign].versions
        if last is None:
            assert len(versions) >= count
        assert [told(version) for version in versions[-count:]] == rows[-count:]
        for version, (start, end) in list(zip(versions[-count:], times[-count:], strict=True))[1:]:
            assert start <= version.after == version.before <= end
            assert version.source == "log"
            assert version.linked
        places = [version.place or 0 for version in versions]
        assert places == sorted(set(places))


class Edits:
    """Random edits of campaigns as listmonk, its users and a server's own housekeeping make them."""

    def __init__(self, witness: Witness, seed: int) -> None:
        """Edit what the witness watches; the same seed gives the same edits."""
        self.witness = witness
        self.chance = random.Random(seed)  # noqa: S311 - a test's dice
        self.columns: list[str] = []
        self.count = 0
        witness.conn.execute("CREATE TABLE traffic (id serial, note text)")
        self.all: list[Callable[[], None]] = [
            *([self.plain] * 12),
            *([self.grouped] * 4),
            self.body,
            self.lock,
            self.traffic,
            self.housekeeping,
            self.column,
            self.insert,
        ]

    def one(self) -> None:
        """Make one edit."""
        self.count += 1
        self.chance.choice(self.all)()

    def write(self) -> str:
        """Return one update of one campaign."""
        dice = self.chance
        settings = [
            f"sent = sent + {dice.randint(0, 50)}",
            f"last_subscriber_id = {dice.randint(0, 10**6)}, updated_at = now()",
            f"sent = {dice.randint(0, 2**31 - 1)}, updated_at = clock_timestamp()",
            f"to_send = {dice.randint(0, 9)}, max_subscriber_id = {dice.randint(0, 10**9)}, started_at = now()",
            f"status = '{dice.choice(['draft', 'running', 'scheduled', 'paused', 'cancelled', 'finished'])}'",
            dice.choice(["started_at = NULL", "updated_at = NULL", "send_at = now()", "send_at = NULL"]),
            dice.choice(["altbody = NULL", "altbody = 'x'", "tags = NULL", "tags = '{a,bc}'", "template_id = NULL"]),
            f"name = repeat('n', {dice.randint(1, 300)})",
            "sent = sent",
        ]
        return f"UPDATE campaigns SET {dice.choice(settings)} WHERE id = {dice.choice(self.witness.ids)}"

    def plain(self) -> None:
        """Update once."""
        self.witness.run(self.write())

    def grouped(self) -> None:
        """Make several updates in one transaction, some in savepoints, some rolled back."""
        statements = ["BEGIN"]
        for number in range(self.chance.randint(1, 4)):
            inside = self.chance.random() < 0.6
            if inside:
                statements.append(f"SAVEPOINT s{number}")
            statements.append(self.write())
            if inside:
                statements.append(self.chance.choice([f"ROLLBACK TO s{number}", f"RELEASE s{number}"]))
        self.witness.run(*statements, self.chance.choice(["COMMIT", "COMMIT", "ROLLBACK"]))

    def body(self) -> None:
        """Write a body of another length, packed, in line or kept outside the row."""
        count = self.chance.choice([1, 10, 50, 100, 1000])
        text = f"(SELECT string_agg(md5((g * {self.count})::text), '') FROM generate_series(1, {count}) AS g)"
        where = f"WHERE id = {self.chance.choice(self.witness.ids)}"
        self.witness.run(f"UPDATE campaigns SET body = {self.chance.choice([text, repr('b' * 3000)])} {where}")

    def lock(self) -> None:
        """Insert views of readers, each of which locks the campaign's row."""
        campaign = self.chance.choice(self.witness.ids)
        self.witness.run(f"INSERT INTO campaign_views (campaign_id) SELECT {campaign} FROM generate_series(1, 20)")

    def traffic(self) -> None:
        """Write rows of another table."""
        self.witness.run("INSERT INTO traffic (note) SELECT repeat('t', g) FROM generate_series(1, 300) AS g")

    def housekeeping(self) -> None:
        """Do what a server does now and then."""
        self.witness.run(self.chance.choice(["VACUUM campaigns", "VACUUM FREEZE campaigns", "CHECKPOINT"]))

    def column(self) -> None:
        """Add or drop a column, as upgrades do."""
        if self.columns and self.chance.random() < 0.5:
            self.witness.run(f"ALTER TABLE campaigns DROP COLUMN {self.columns.pop()}")
        else:
            self.columns.append(f"more_{self.count}")
            kind = self.chance.choice(
                ["integer DEFAULT 7", "text", "text DEFAULT 'abc'", "boolean NOT NULL DEFAULT true"]
            )
            self.witness.run(f"ALTER TABLE campaigns ADD COLUMN {self.columns[-1]} {kind}")

    def insert(self) -> None:
        """Insert a campaign."""
        self.witness.run(
            "INSERT INTO campaigns (uuid, name, subject, from_email, body, messenger)"
            f" SELECT gen_random_uuid(), 'new', 's', 'f', repeat('b', {self.chance.randint(0, 5000)}), 'email'"
        )
