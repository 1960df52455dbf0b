"""Prints what reading a campaign's history out of a dense log costs: seconds, MB/s, and memory above the bare process.

Run: python -m benchmarks.wal_reader [--segments 10] [--locks]. LISTMONK_DOCTOR_PG_BIN names another PostgreSQL.
A throw-away server's log is filled with small records of another table, or with --locks with views of readers, each of
which locks the campaign's row. Goals: 160 MB in at most 3 s, at most 120 MB of memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Final

import psycopg

from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.postgres import throwaway
from listmonk_doctor.demo.recording import open_recording

SETTINGS: Final = {"wal_level": "replica", "full_page_writes": "on", "wal_keep_size": "1GB", "max_wal_size": "4GB"}
SEGMENT: Final = 16 << 20
VIEWS: Final = """
DO $$ BEGIN FOR n IN 1..2000 LOOP INSERT INTO campaign_views (campaign_id) VALUES ({}); COMMIT; END LOOP; END $$
"""
READ: Final = """
import resource, sys, time
from pathlib import Path
from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import resolve
from listmonk_doctor.timeline.wal.shelf import ServerShelf

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

dsn, campaign, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
conn = connect(resolve(dsn, None, [], {}, Path()))
with snapshot(conn, schema="public", timeout=60.0) as cur:
    from listmonk_doctor.timeline.wal.history import read_logs
    import lz4.block, zstandard
    bare = peak()
    start, used = time.perf_counter(), time.process_time()
    log = read_logs(cur, ServerShelf(cur), [campaign], limit=limit)
    took, used = time.perf_counter() - start, time.process_time() - used
size = log.reach.segments * 16
print(f"{log.reach.segments} segments, {size} MB: {took:.2f} s ({used:.2f} s of processor), {size / took:.0f} MB/s, "
      f"{peak() - bare:.0f} MB of memory above {bare:.0f}; "
      f"{sum(len(t.versions) for t in log.timelines.values())} versions; {'; '.join(log.notes)}")
"""


def fill(conn: psycopg.Connection[object], campaign: int, size: int, *, locks: bool) -> None:
    """Write `size` bytes of log, with a flush of the campaign now and then."""
    conn.execute("CREATE TABLE dense (id integer, n integer)")
    conn.execute("INSERT INTO dense SELECT g, 0 FROM generate_series(1, 1000) AS g")
    start = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
    conn.execute("SELECT pg_switch_wal()")
    conn.execute("CHECKPOINT")  # the next write logs the whole page
    begun = conn.execute(start).fetchall()[0][0]  # type: ignore[index]
    done = 0
    while done < size:
        conn.execute("UPDATE campaigns SET sent = sent + 1 WHERE id = %s", (campaign,))
        if locks:
            conn.execute(VIEWS.format(campaign).encode())
        else:
            conn.execute("INSERT INTO dense SELECT g, 1 FROM generate_series(1, 20000) AS g")
        done = conn.execute(start).fetchall()[0][0] - begun  # type: ignore[index]


def main() -> None:
    """Fill a log, and read it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=10)
    parser.add_argument("--locks", action="store_true")
    options = parser.parse_args()
    with throwaway(settings=SETTINGS) as server, psycopg.connect(server.dsn(), autocommit=True) as conn:
        load(conn, open_recording("seed-v4.1.0"))
        (campaign,) = conn.execute("SELECT min(id) FROM campaigns").fetchall()[0]
        fill(conn, campaign, options.segments * SEGMENT, locks=options.locks)
        words = [sys.executable, "-c", READ, server.dsn(), str(campaign), str(options.segments + 1)]
        subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
