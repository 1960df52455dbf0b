"""A saved log that did not hold the row of then: shown, but built on no more than the live log would have been."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest

from tests.support.log_world import serve
from tests.test_timeline_cli import document, run
from tests.test_wal_history import fresh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = """
UPDATE campaigns SET status = 'running', sent = 0, to_send = 2601, last_subscriber_id = 0, max_subscriber_id = 7694,
                     started_at = now(), updated_at = now() WHERE id = 2
"""
FETCH = "UPDATE campaigns SET last_subscriber_id = last_subscriber_id + 500, updated_at = now() WHERE id = 2"
FLUSH = "UPDATE campaigns SET sent = sent + 100 WHERE id = 2"


class World(NamedTuple):
    """A server with a campaign that is being sent, and a folder with its log as it was before the last writes."""

    dsn: str
    folder: Path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Write a campaign's progress, copy the log away, and write on."""
    with serve({}) as server, fresh(server) as conn:
        for statement in (START, FETCH, FLUSH, FETCH, FLUSH):
            conn.execute(statement.encode())
        folder = tmp_path / "archive"
        shutil.copytree(server.folder / "data" / "pg_wal", folder)
        for statement in (FLUSH, FLUSH):
            conn.execute(statement.encode())
        yield World(server.dsn(conn.info.dbname), folder)


def test_a_saved_log_without_todays_row_is_built_on_by_nobody(world: World, tmp_path: Path) -> None:
    """It is shown with its gap, examine says why it is left out, and the row alone speaks, as with a live log."""
    file = tmp_path / "how.db"
    said = document(world.dsn, "timeline", "2", "--wal", str(world.folder), "--save", str(file))
    assert any("examine will not build on" in each for each in said["notes"])
    shown = document(None, "timeline", "2", "--recorded", str(file))
    assert [each["sent"] for each in shown["versions"]][-2:] == [100, 200]
    assert any("does not hold the row as it is now" in each["because"] for each in shown["gaps"])
    bare = document(world.dsn, "examine", "2", "--no-look", "--timeline", "off")
    for option in ("--timeline", "--recorded"):
        words = ("--timeline", "off") if option == "--recorded" else ()
        told = document(world.dsn, "examine", "2", "--no-look", option, str(file), *words)
        assert told["recorded"] is None
        assert told["recipients"] == bare["recipients"]
        assert [each for each in told["unknowable"] if "saved log could not be used" in each]


def test_a_live_log_is_heard_beside_a_saved_one_that_is_not(world: World, tmp_path: Path) -> None:
    """What the server's log still proves is used, and nothing is said of the file."""
    file = tmp_path / "how.db"
    assert run(world.dsn, "timeline", "2", "--wal", str(world.folder), "--save", str(file)).exit_code == 0
    told = document(world.dsn, "examine", "2", "--no-look", "--recorded", str(file))
    assert told["recorded"]["file"] == "the log"
    assert not [each for each in told["unknowable"] if "saved log" in each]


@pytest.mark.parametrize("first", ["live", "folder"])
def test_saving_twice_keeps_what_is_proved(world: World, tmp_path: Path, first: str) -> None:
    """A reading without the row of then takes nothing from one that had it, and is proved by one that comes later."""
    file = tmp_path / "how.db"
    ways = [(), ("--wal", str(world.folder))]
    for way in ways if first == "live" else reversed(ways):
        assert run(world.dsn, "timeline", "2", "--save", str(file), *way).exit_code == 0
        with psycopg.connect(world.dsn, autocommit=True) as conn:
            conn.execute("UPDATE settings SET value = value")
    told = document(world.dsn, "examine", "2", "--no-look", "--timeline", str(file))
    assert told["recorded"]["file"] == str(file)
    sent = [each["sent"] for each in document(None, "timeline", "2", "--recorded", str(file))["versions"]]
    assert sent[-3:] == [200, 300, 400]
    assert sent.count(100) == 2
