"""Holds what is said of how long the log lasts to real servers, which write until it is gone."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from listmonk_doctor.timeline.wal import lasting
from tests.support.log_world import read, serve
from tests.test_wal_history import WRITE, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from listmonk_doctor.demo.postgres import Server

SEGMENT = 16 << 20
FILL = "INSERT INTO filling SELECT repeat('f', 1000) FROM generate_series(1, {})"
RATE = 20 << 20
"""Bytes of log per second: a segment lasts less than a second."""
SMALL_WRITE = 30_000
"""Bytes of log of a transaction: each segment begins with a commit that dates it."""
SMALL = {"max_wal_size": "96MB", "min_wal_size": "80MB", "checkpoint_completion_target": "0.5"}


class Promise(NamedTuple):
    """What was said at a moment: how long the campaign's version lasts. None: not in sight."""

    at: float
    left: float | None


@contextmanager
def writing(server: Server, name: str, per_second: int) -> Iterator[None]:
    """Write so many bytes of log per second, steadily, in the background."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(server.dsn(name), autocommit=True) as conn:
            conn.execute("CREATE TABLE filling (text text)")
            next_at = time.monotonic()
            while not stop.is_set():
                for _ in range(per_second // 20 // SMALL_WRITE):
                    conn.execute(FILL.format(SMALL_WRITE // 1064).encode())
                next_at += 0.05
                time.sleep(max(0.0, next_at - time.monotonic()))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def watched(conn: Connection[Any], campaign: int, *, within: float) -> tuple[list[Promise], float]:
    """Return what is said of a campaign's only version until it is gone, and when that was."""
    said: list[Promise] = []
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        at = time.monotonic()
        log = read(conn, [campaign], limit=100)
        if campaign not in log.timelines:
            return said, at
        said.append(Promise(at, log.reach.left_seconds[campaign]))
        time.sleep(0.25)
    raise AssertionError(f"it is still there: {said[-3:]}")


def until_gone(
    server: Server, conn: Connection[Any], *, quiet: float = 0.0, rate: int = RATE
) -> tuple[float, list[Promise], float]:
    """Write a version, and then other things until it is gone: when that began, what was said, when it was gone.

    With some `quiet` seconds in between, in which its segment is set aside behind others.
    """
    campaign = conn.execute("SELECT min(id) FROM campaigns").fetchall()[0][0]
    switch = ("UPDATE settings SET value = value", "SELECT pg_switch_wal()")
    for statement in (*switch * (4 if quiet else 1), "CHECKPOINT"):
        conn.execute(statement.encode())
    conn.execute(WRITE.format("sent = sent + 1").encode(), {"id": campaign})
    if quiet:
        for statement in (*switch, "CHECKPOINT"):
            conn.execute(statement.encode())
        time.sleep(quiet)
    began = time.monotonic()
    with writing(server, conn.info.dbname, rate):
        said, gone = watched(conn, campaign, within=90)
    return began, said, gone


def assert_kept(said: list[Promise], gone: float, slack: float) -> None:
    """Assert that no promise went further than it lasted, and that some were of use."""
    promised = [(each.at, each.left or 0.0) for each in said]
    assert max(at + left - gone for at, left in promised) < slack, promised
    assert max(left for _, left in promised) > slack / 2


@pytest.mark.parametrize("settings", [{}, {"wal_keep_size": "96MB"}, {"wal_recycle": "off"}])
def test_no_longer_is_promised_than_the_log_lasts(settings: dict[str, str]) -> None:
    """At a steady rate a version is there for as long as was said at any time: recycled, kept, or removed."""
    with serve({**SMALL, **settings}) as server, fresh(server) as conn:
        began, said, gone = until_gone(server, conn)
    assert_kept([each for each in said if each.at > began + 1.0], gone, slack=0.7)


def test_a_server_that_has_just_begun_to_write_more_is_reckoned_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a quiet time the mean since the oldest would promise too much: what was written of late counts."""
    monkeypatch.setattr(lasting, "_LATELY", timedelta(seconds=1.0))
    with serve(SMALL) as server, fresh(server) as conn:
        began, said, gone = until_gone(server, conn, quiet=9.0, rate=RATE // 2)
    assert_kept([each for each in said if each.at > began + 1.5], gone, slack=0.7)


def test_what_a_server_sets_aside_no_more_is_not_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where enough segments wait for later use, a segment is promised until the next checkpoint and no longer."""
    with serve({**SMALL, "max_wal_size": "1GB"}) as server, fresh(server) as conn:
        campaign = conn.execute("SELECT min(id) FROM campaigns").fetchall()[0][0]
        conn.execute("CREATE TABLE filling (text text)")
        conn.execute("SELECT pg_switch_wal()")
        conn.execute("CHECKPOINT")
        conn.execute(WRITE.format("sent = sent + 1").encode(), {"id": campaign})
        time.sleep(1.0)
        for _ in range(8):  # more segments than the server keeps for later
            conn.execute(FILL.format(SEGMENT // 1064).encode())
        before = read(conn, [campaign], limit=100)
        monkeypatch.setattr(lasting, "_next_checkpoint", lambda *_: 0.0)
        at_once = read(conn, [campaign], limit=100)
    assert (before.reach.left_seconds[campaign] or 0.0) > 1.0
    assert at_once.reach.left_seconds == {campaign: 0.0}
