"""Tests of the read-only snapshot, of its ends, and of the SQL files that are run in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.pq import TransactionStatus

import listmonk_doctor
from listmonk_doctor.database import sqlfiles
from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import resolve
from listmonk_doctor.errors import ConnectionFailedError, DoctorError, PrivilegeError, UnknownSchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.demo.postgres import Server

ROOT = Path(__file__).resolve().parent.parent


def session(dsn: str) -> Connection:
    """Open a session as the program does."""
    return connect(resolve(dsn, None, [], {}, Path()))


@pytest.fixture
def conn(incident_db: Callable[..., str]) -> Iterator[Connection]:
    """Give a session with a recorded incident."""
    with session(incident_db("seed-v4.1.0")) as opened:
        yield opened


def test_the_transaction_is_read_only_and_sees_one_moment(conn: Connection) -> None:
    """What others commit meanwhile is not seen, and nothing can be written."""
    with snapshot(conn, schema="public") as cursor:
        before = cursor.execute("SELECT xmin::text, sent FROM campaigns ORDER BY id").fetchall()
        with psycopg.connect(conn.info.dsn, autocommit=True) as other:
            other.execute("UPDATE campaigns SET sent = sent + 1")
        assert cursor.execute("SELECT xmin::text, sent FROM campaigns ORDER BY id").fetchall() == before
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), conn.transaction():
            cursor.execute("UPDATE campaigns SET sent = 0")
        assert cursor.execute("SELECT count(*) FROM campaigns").fetchone() == (len(before),)
    with snapshot(conn, schema="public") as cursor:
        assert cursor.execute("SELECT xmin::text, sent FROM campaigns ORDER BY id").fetchall() != before


SETTINGS = (
    "transaction_isolation",
    "transaction_read_only",
    "jit",
    "max_parallel_workers_per_gather",
    "lock_timeout",
    "statement_timeout",
    "TimeZone",
    "search_path",
)


def settings(conn: Connection) -> list[str]:
    """Return the settings that a snapshot touches."""
    shown = [conn.execute(b"SHOW " + name.encode()).fetchone() for name in SETTINGS]
    return [row[0] for row in shown if row is not None]


def test_all_settings_are_local(conn: Connection) -> None:
    """Inside, the settings are the documented ones; afterwards the session is as it was, as a pooler needs it."""
    conn.execute("SET TimeZone = 'Asia/Kolkata'")
    before = settings(conn)
    with snapshot(conn, schema='a "b"', timeout=1.5):
        assert settings(conn) == [
            "repeatable read",
            "on",
            "off",
            "0",
            "2s",
            "1500ms",
            "UTC",
            '"a ""b""", pg_temp',
        ]
    assert settings(conn) == before
    assert conn.info.transaction_status == TransactionStatus.IDLE
    with snapshot(conn, schema=None, timeout=0):
        assert settings(conn)[5:] == ["0", "UTC", before[7]]


def test_timestamps_come_back_in_utc(conn: Connection) -> None:
    """Whatever the session's time zone, timestamps are UTC."""
    conn.execute("SET TimeZone = 'America/New_York'")
    with snapshot(conn, schema="public") as cursor:
        (moment,) = cursor.execute("SELECT started_at FROM campaigns WHERE started_at IS NOT NULL").fetchall()[0]
    assert moment.tzinfo is UTC
    assert moment.utcoffset() == timedelta(0)


def test_nobodys_objects_stand_in_for_the_servers_or_listmonks(conn: Connection) -> None:
    """A function in listmonk's schema does not hide the server's, nor a temporary table listmonk's."""
    conn.execute("CREATE FUNCTION lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'hijacked' $$")
    conn.execute("CREATE TEMP TABLE campaigns (id int)")
    with snapshot(conn, schema="public") as cursor:
        assert cursor.execute("SELECT lower('A'), count(*) > 0 FROM campaigns").fetchall() == [("a", True)]


def test_it_ends_whatever_happens(conn: Connection) -> None:
    """After an error of the database, of the program, or an interruption, the session is idle and usable again."""
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), snapshot(conn, schema="public"):
            raise error
        assert conn.info.transaction_status == TransactionStatus.IDLE
    with pytest.raises(psycopg.errors.DivisionByZero), snapshot(conn, schema="public") as cursor:
        cursor.execute("SELECT 1 / 0")
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_one_failed_statement_may_be_a_savepoint(conn: Connection) -> None:
    """Within a snapshot `conn.transaction()` confines a failure, and the snapshot goes on."""
    with snapshot(conn, schema="public") as cursor:
        before = cursor.execute("SELECT sum(sent) FROM campaigns").fetchone()
        with pytest.raises(psycopg.errors.UndefinedColumn), conn.transaction():
            cursor.execute("SELECT nothing FROM campaigns")
        with psycopg.connect(conn.info.dsn, autocommit=True) as other:
            other.execute("UPDATE campaigns SET sent = sent + 1")
        assert cursor.execute("SELECT sum(sent) FROM campaigns").fetchone() == before


def test_snapshots_do_not_nest(conn: Connection) -> None:
    """A snapshot inside a transaction would end the outer one: it is refused as a programming error."""
    with snapshot(conn, schema="public") as cursor:
        with pytest.raises(RuntimeError, match="in no transaction"), snapshot(conn, schema="public"):
            pass
        assert cursor.execute("SHOW transaction_read_only").fetchone() == ("on",)
    conn.autocommit = False
    with pytest.raises(RuntimeError, match="autocommit"), snapshot(conn, schema="public"):
        pass


def test_a_statement_that_takes_too_long_is_explained(conn: Connection) -> None:
    """The time limit is named with the option that raises it."""
    with (
        pytest.raises(DoctorError, match=r"longer than the 0\.2 seconds allowed") as caught,
        snapshot(conn, schema="public", timeout=0.2) as cursor,
    ):
        cursor.execute("SELECT pg_sleep(30)")
    assert "--timeout" in caught.value.hint
    assert conn.info.transaction_status == TransactionStatus.IDLE


def test_a_cancelled_statement_is_not_called_slow(conn: Connection) -> None:
    """When somebody cancels the statement on the server, the time limit is not blamed."""
    with psycopg.connect(conn.info.dsn, autocommit=True) as other:
        cancel = threading.Timer(
            0.3,
            other.execute,
            ["SELECT pg_cancel_backend(%s)", [conn.info.backend_pid]],
        )
        cancel.start()
        with (
            pytest.raises(DoctorError, match="was cancelled on the server"),
            snapshot(conn, schema="public") as cursor,
        ):
            cursor.execute("SELECT pg_sleep(30)")
        cancel.join()


def test_a_lock_is_waited_for_two_seconds(conn: Connection) -> None:
    """A table that is locked by a migration gives an answer, not a hang."""
    with psycopg.connect(conn.info.dsn) as other:
        other.execute("LOCK TABLE campaigns IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(DoctorError, match="holds a lock"), snapshot(conn, schema="public") as cursor:
            cursor.execute("SELECT count(*) FROM campaigns")
        assert 1.5 < time.monotonic() - began < 10


def test_a_missing_privilege_and_a_missing_table_are_explained(conn: Connection, server: Server) -> None:
    """They become errors of their own kind, so that the exit code is 3 and the hint is right."""
    with pytest.raises(UnknownSchemaError, match='relation "nowhere" does'), snapshot(conn, schema="public") as cursor:
        cursor.execute("SELECT * FROM nowhere")
    conn.execute("CREATE ROLE nobody_much LOGIN")
    with (
        session(server.dsn(conn.info.dbname, user="nobody_much")) as poor,
        pytest.raises(PrivilegeError, match="permission denied for table campaigns"),
        snapshot(poor, schema="public") as cursor,
    ):
        cursor.execute("SELECT * FROM campaigns")
    conn.execute("DROP ROLE nobody_much")


def read_after(conn: Connection, event: Callable[[], object]) -> None:
    """Read something in a snapshot in which something happened."""
    with snapshot(conn, schema="public") as cursor:
        event()
        cursor.execute("SELECT 1")


def test_a_lost_session_is_explained(conn: Connection) -> None:
    """When the server ends the session, that is said; there is no traceback from the clean-up."""

    def end_session() -> None:
        with psycopg.connect(conn.info.dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])

    with pytest.raises(ConnectionFailedError, match="session with the database was lost"):
        read_after(conn, end_session)
    with pytest.raises(ConnectionFailedError, match="lost"), snapshot(conn, schema="public"):
        pass


INTERRUPTED = """
import sys
from pathlib import Path
from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import resolve
conn = connect(resolve(sys.argv[1], None, [], {}, Path()))
print(conn.info.backend_pid, flush=True)
try:
    with snapshot(conn, schema="public") as cursor:
        cursor.execute("SELECT pg_sleep(60)")
except KeyboardInterrupt:
    print(conn.execute("SELECT 'idle again'").fetchone()[0], flush=True)
"""


def activity(conn: Connection, pid: int) -> list[tuple[str, str]]:
    """Return state and text of a session."""
    return conn.execute("SELECT state, query FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall()


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent as a signal")
def test_ctrl_c_cancels_the_statement_on_the_server(conn: Connection, incident_db: Callable[..., str]) -> None:
    """Ctrl-C ends at once, and the server does not go on with the statement."""
    dsn = incident_db("seed-v4.1.0")
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, dsn],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        deadline = time.monotonic() + 20
        while ("active", "SELECT pg_sleep(60)") not in activity(conn, pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == "idle again\n"
        assert child.wait(10) == 0
        assert time.monotonic() - began < 5
    assert ("active", "SELECT pg_sleep(60)") not in activity(conn, pid)


def test_sql_files_are_found_and_listed() -> None:
    """A file is read as bytes, a folder's files are listed by name, and a path does not lead out."""
    assert sqlfiles.read("facts/schemas.sql").startswith(b"-- ")
    assert "schemas.sql" in sqlfiles.names("facts")
    assert sqlfiles.names("nothing") == []
    with pytest.raises(FileNotFoundError):
        sqlfiles.read("facts/nothing.sql")
    for path in ("../pyproject.toml", "/etc/passwd", "facts/../../README.md"):
        with pytest.raises(ValueError, match="not a path below sql"):
            sqlfiles.read(path)


def test_sql_files_are_found_in_an_archive(tmp_path: Path) -> None:
    """A package that is imported from a zip archive, with its SQL inside, works as well."""
    package = tmp_path / "unpacked"
    installed = Path(listmonk_doctor.__file__).parent
    statements = next(place for place in (installed / "sql", installed.parent / "sql") if place.is_dir())
    shutil.copytree(installed, package / "listmonk_doctor", ignore=shutil.ignore_patterns("sql", "__pycache__"))
    shutil.copytree(statements, package / "listmonk_doctor" / "sql")
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in package.rglob("*"):
            archive.write(file, file.relative_to(package))
    code = (
        "from listmonk_doctor.database.sqlfiles import names, read\n"
        "print(len(read('facts/schemas.sql')), names('facts'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "package.zip")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{len(sqlfiles.read('facts/schemas.sql'))} {sqlfiles.names('facts')}"
