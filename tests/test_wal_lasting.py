"""Holds what is said of how long the log lasts to real servers, which write until it is gone."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
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
    """What was said when the log was so long: how many bytes more the campaign's version lasts. None: not in sight.

    In bytes and not in seconds, so that a machine that stands still now and then breaks no promise.
    """

    end: int
    left: float | None


@contextmanager
def writing(server: Server, name: str, per_second: int) -> Iterator[None]:
    """Write so many bytes of log per second, steadily, in the background."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(server.dsn(name), autocommit=True) as conn:
            conn.execute("CREATE TABLE filling (text text)")
            while not stop.is_set():
                for _ in range(per_second // 20 // SMALL_WRITE):
                    conn.execute(FILL.format(SMALL_WRITE // 1064).encode())
                time.sleep(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def end(conn: Connection[Any]) -> int:
    """Return how long the log is, in bytes."""
    return int(conn.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchall()[0][0])


def until_gone(server: Server, conn: Connection[Any]) -> tuple[list[Promise], int]:
    """Write a version, and then other things until it is gone: what was said meanwhile, and how long the log was."""
    campaign = conn.execute("SELECT min(id) FROM campaigns").fetchall()[0][0]
    for statement in ("UPDATE settings SET value = value", "SELECT pg_switch_wal()", "CHECKPOINT"):
        conn.execute(statement.encode())
    conn.execute(WRITE.format("sent = sent + 1").encode(), {"id": campaign})
    said: list[Promise] = []
    deadline = time.monotonic() + 180
    with writing(server, conn.info.dbname, RATE):
        while time.monotonic() < deadline:
            now = end(conn)
            reach = (log := read(conn, [campaign], limit=100)).reach
            if campaign not in log.timelines:
                return said, end(conn)
            seconds = reach.left_seconds[campaign]
            said.append(Promise(now, None if seconds is None else seconds * reach.bytes_per_second))
            time.sleep(0.25)
    raise AssertionError(f"it is still there: {said[-3:]}")


@pytest.mark.parametrize("settings", [{}, {"wal_keep_size": "96MB"}, {"wal_recycle": "off"}])
def test_no_more_is_promised_than_the_log_lasts(settings: dict[str, str]) -> None:
    """A version is there until as much was written as was said at any time: recycled, kept, or removed."""
    with serve({**SMALL, **settings}) as server, fresh(server) as conn:
        said, gone = until_gone(server, conn)
    promised = [(each.end, each.left or 0.0) for each in said]
    assert max(end + left - gone for end, left in promised) < SEGMENT, promised
    assert max(left for _, left in promised) > SEGMENT / 2


def test_what_was_written_of_late_counts_where_it_is_more() -> None:
    """After a quiet time the mean since the oldest would promise too much; the last seconds alone are no measure."""
    now = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
    points = [(end, now - timedelta(seconds=ago)) for end, ago in ((0, 3600.0), (3_000, 60.0), (8_900, 1.0))]
    assert lasting.rate(points, 9_000, now) == (9_000 - 3_000) / 60
    assert lasting.rate(points[2:], 9_000, now) == 100.0
    assert lasting.rate([], 9_000, now) == 0.0
    assert lasting.rate([(0, now)], 9_000, now) == 0.0


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
