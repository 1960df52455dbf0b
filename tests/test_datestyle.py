"""A database that writes dates in another style than ISO is read and written like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import Target
from tests.support.repairing import psql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STYLES = ("SQL, DMY", "German", "Postgres, MDY")


@pytest.fixture(params=STYLES)
def styled(request: pytest.FixtureRequest, incident_db: Callable[[str], str]) -> str:
    """Give the DSN of an accident's database whose sessions begin with another style."""
    dsn = incident_db("seed-v4.1.0")
    with psycopg.connect(dsn, autocommit=True) as conn:
        statement = sql.SQL("ALTER DATABASE {} SET DateStyle = {}")
        conn.execute(statement.format(sql.Identifier(conn.info.dbname), sql.Literal(request.param)))
    with psycopg.connect(dsn) as conn:
        assert not str(conn.info.parameter_status("DateStyle")).startswith("ISO")
    return dsn


def rows(dsn: str) -> list[tuple[object, ...]]:
    """Return the campaigns as text."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute("SELECT c::text FROM campaigns c ORDER BY id").fetchall()


def target_of(dsn: str) -> Target:
    """Return the database as `connect` takes it."""
    return Target({key: str(value) for key, value in conninfo_to_dict(dsn).items()}, "a test")


def run(dsn: str, code: int, *arguments: str) -> str:
    """Run a command, which must end with this code, and return what it printed."""
    result = CliRunner().invoke(app, [*arguments, "--dsn", dsn])
    assert result.exit_code == code, result.output
    assert "bug" not in result.stderr
    return result.stdout


def test_every_command_works(styled: str, tmp_path: Path) -> None:
    """From the scan to the undo, after which every byte is as it was."""
    before = rows(styled)
    assert "LM103" in run(styled, 1, "scan")
    run(styled, 1, "examine", "2")
    run(styled, 4, "repair", "2")
    run(styled, 0, "repair", "2", "--apply", "--yes", "--undo-out", str(tmp_path))
    assert rows(styled) != before
    assert "rewind" in run(styled, 0, "history")
    run(styled, 4, "undo")
    run(styled, 0, "undo", "--apply", "--yes")
    assert rows(styled) == before


def test_the_scripts_work_in_a_session_of_that_style(styled: str) -> None:
    """The repair in psql, then its undo."""
    before = rows(styled)
    printed = run(styled, 0, "repair", "2", "--sql")
    _, _, undo = printed.partition("\n\\q\n")
    for script, changed in ((printed, True), (undo, False)):
        ran = psql(styled, script.replace("pg_sleep(11.5)", "pg_sleep(0)"))
        assert ran.returncode == 0, ran.stderr
        assert (rows(styled) != before) == changed
    assert "taken back" in run(styled, 0, "history")


def test_a_pooler_that_forgets_the_session_is_no_obstacle(styled: str) -> None:
    """Within a snapshot the style is set anew, whatever became of the session's."""
    with connect(target_of(styled)) as conn:
        assert conn.execute("SELECT now()").fetchone()
        conn.execute("RESET DateStyle")
        with snapshot(conn, schema="public") as cursor:
            assert cursor.execute("SELECT updated_at FROM campaigns").fetchall()


@pytest.mark.parametrize("autocommit", [True, False])
def test_the_mode_of_the_session_is_as_asked(styled: str, autocommit: bool) -> None:
    """Setting the style leaves no transaction open."""
    with connect(target_of(styled), autocommit=autocommit) as conn:
        assert conn.autocommit is autocommit
        assert conn.info.transaction_status is TransactionStatus.IDLE
        assert str(conn.info.parameter_status("DateStyle")).startswith("ISO")
