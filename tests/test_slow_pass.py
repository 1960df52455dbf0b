"""Tests of a pass that takes its time, in a real process: the bar on a terminal, and Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from listmonk_doctor.demo.postgres import Server

PROGRAM: Final = [sys.executable, "-m", "listmonk_doctor"]
TEXT: Final = b"Reading subscriptions"
ROLE: Final = "slow_reader"
SLOW: Final = f"""
CREATE ROLE {ROLE} LOGIN;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE};
CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_query() LIKE '%One chunk of the pass%' THEN PERFORM pg_sleep(0.05); END IF;
    RETURN true;
END $$;
ALTER TABLE subscriber_lists ENABLE ROW LEVEL SECURITY;
CREATE POLICY slow ON subscriber_lists USING (slow());
"""
"""A role to which, in the pass, each of some thousand subscriptions comes after 50 ms."""


@pytest.fixture
def slow(incident_db: Callable[..., str], server: Server) -> Iterator[tuple[str, str]]:
    """Give the DSN of a recording whose subscriptions come slowly, and one of somebody who sees all sessions."""
    dsn = incident_db("seed-v4.1.0")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SLOW.encode())
        yield server.dsn(conn.info.dbname, user=ROLE), dsn
        conn.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [ROLE])
        conn.execute(f"DROP OWNED BY {ROLE} CASCADE; DROP ROLE {ROLE}".encode())


def environment() -> dict[str, str]:
    """Return an environment in which the package under test is found."""
    path = os.pathsep.join(each for each in sys.path if each)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LISTMONK"))}
    return {**kept, "PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "80"}


def at_work(dsn: str) -> list[Any]:
    """Return the statements that the role has running."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(
            "SELECT query FROM pg_stat_activity WHERE usename = %s AND state = 'active'", [ROLE]
        ).fetchall()


def in_the_pass(dsn: str) -> None:
    """Wait until the role's statement is the pass."""
    deadline = time.monotonic() + 30
    while not any("One chunk of the pass" in query for (query,) in at_work(dsn)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def interrupted(running: subprocess.Popen[bytes], seer: str) -> None:
    """Send Ctrl-C: the process ends with the shell's code for it, and nothing goes on at the server."""
    running.send_signal(signal.SIGINT)
    began = time.monotonic()
    while at_work(seer):
        assert time.monotonic() - began < 1
        time.sleep(0.02)
    assert running.wait(5) == 130


def shown(handle: int, seconds: float, until: bytes = b"") -> bytes:
    """Return what a terminal shows for some seconds, or until something is on it."""
    text, deadline = b"", time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and not (until and until in text):
        if select.select([handle], [], [], left)[0]:
            try:
                part = os.read(handle, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
    return text


@contextlib.contextmanager
def started(arguments: list[str], *, terminal: bool) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the program with its stderr on a terminal or in a pipe; give the process and the end to read from."""
    reading, writing = pty.openpty() if terminal else os.pipe()
    running = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=writing,
        env=environment(),
        start_new_session=True,
    )
    os.close(writing)
    try:
        yield running, reading
    finally:
        running.kill()
        running.communicate()
        os.close(reading)


@pytest.mark.parametrize("command", ["examine", "scan"])
def test_on_a_terminal_a_bar_appears_and_ctrl_c_ends_it(slow: tuple[str, str], command: str) -> None:
    """After a second there is a bar; Ctrl-C clears it, cancels the statement at the server and changes nothing."""
    dsn, seer = slow
    which = ["2", "--no-look"] if command == "examine" else []
    with started([command, *which, "--dsn", dsn], terminal=True) as (running, screen):
        before = shown(screen, 60, TEXT)
        assert TEXT in before
        in_the_pass(seer)
        interrupted(running, seer)
        after = shown(screen, 5)
    assert b"Stopped; nothing was changed." in after
    assert b"Traceback" not in before + after
    assert TEXT not in after.rpartition(b"\x1b[2K")[2]


@pytest.mark.parametrize(("terminal", "more"), [(False, []), (True, ["--quiet"])])
def test_in_a_pipe_or_quiet_there_is_no_bar(slow: tuple[str, str], more: list[str], *, terminal: bool) -> None:
    """However long it takes; and Ctrl-C is the same."""
    dsn, seer = slow
    with started(["examine", "2", "--no-look", "--dsn", dsn, *more], terminal=terminal) as (running, errors):
        in_the_pass(seer)
        told = shown(errors, 2.5)
        interrupted(running, seer)
        told += shown(errors, 5)
    assert TEXT not in told
    assert b"\x1b[" not in told
    assert told.split(b"\n")[-2].strip() == b"Stopped; nothing was changed."


def test_a_quick_pass_shows_no_bar(incident_db: Callable[..., str]) -> None:
    """What takes less than a second leaves nothing on the terminal."""
    arguments = ["examine", "2", "--no-look", "--dsn", incident_db("seed-v4.1.0")]
    with started(arguments, terminal=True) as (running, screen):
        told = shown(screen, 30)
        assert running.wait(30) == 1
    assert told == b""
