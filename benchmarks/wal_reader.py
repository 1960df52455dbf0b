"""Prints what reading a campaign's history out of a dense log costs, the reader and the server that goes on writing.

Run: python -m benchmarks.wal_reader [--segments 10] [--locks] [--rounds 3]. LISTMONK_DOCTOR_PG_BIN names another
PostgreSQL. A throw-away server's log is filled with small records of another table, or with --locks with views of
readers, each of which locks the campaign's row. Then it is read once: seconds, MB/s, memory above the bare process.
Then pgbench makes small updates for some seconds, by itself and beside a reader that reads those segments again and
again, in turn: at a steady rate, as a busy server does, and as fast as the machine can, where reader and server share
its cores. Goals: 160 MB in at most 3 s, at most 120 MB of memory.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import psycopg

from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.postgres import find_binaries, throwaway
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

AGAIN: Final = """
import sys
from pathlib import Path
from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import resolve
from listmonk_doctor.timeline.wal.history import read_logs
from listmonk_doctor.timeline.wal.shelf import ServerShelf

dsn, campaign, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
conn = connect(resolve(dsn, None, [], {}, Path()))
while True:
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        log = read_logs(cur, ServerShelf(cur), [campaign], limit=limit)
    print(log.reach.segments, flush=True)
"""
SMALL: Final = """
\\set id random(1, 1000)
UPDATE busy SET n = n + 1 WHERE id = :id;
"""
STEADY: Final = 800
"""Transactions per second that a busy server makes."""


class Load(NamedTuple):
    """What pgbench saw: transactions per second, and the mean milliseconds of one."""

    tps: float
    latency: float


def written(dsn: str, script: Path, seconds: int, rate: int) -> Load:
    """Make small transactions from two sessions for some seconds; `rate` per second (0: as many as can be)."""
    words = [str(find_binaries() / "pgbench"), "-n", "-f", str(script), "-c", "2", "-T", str(seconds)]
    words += ["-R", str(rate)] if rate else []
    said = subprocess.run([*words, dsn], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^(latency average|tps) = ([\d.]+)", said, re.MULTILINE)
    figures = {name: float(figure) for name, figure in found}
    return Load(figures["tps"], figures["latency average"])


def beside(dsn: str, reading: list[str], script: Path, seconds: int, rate: int) -> tuple[Load, int]:
    """Make them while the log is read again and again; return also how many segments were read meanwhile."""
    with subprocess.Popen(reading, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()  # it is under way
        load = written(dsn, script, seconds, rate)
        reader.terminate()
        return load, sum(int(line) for line in reader.stdout if line.strip())


def compare(dsn: str, campaign: int, limit: int, *, rounds: int, seconds: int) -> None:
    """Print what the writing server does by itself and beside the reader, in turn."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE busy (id integer PRIMARY KEY, n integer) WITH (fillfactor = 50)")
        conn.execute("INSERT INTO busy SELECT g, 0 FROM generate_series(1, 1000) AS g")
    reading = [sys.executable, "-c", AGAIN, dsn, str(campaign), str(limit)]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "small.sql"
        script.write_text(SMALL)
        for rate in (STEADY, 0):
            alone, read, ratios, segments = [], [], [], 0
            for _ in range(rounds):
                alone.append(written(dsn, script, seconds, rate))
                load, count = beside(dsn, reading, script, seconds, rate)
                read.append(load)
                ratios.append(load.tps / alone[-1].tps)
                segments += count
            words = f"{rate} transactions per second wanted" if rate else "as fast as can be"
            print(
                f"{words}: alone {_mean(alone)}; beside the reader {_mean(read)}; ratio of the rates "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) in {rounds} rounds of "
                f"{seconds} s; {segments} segments were read meanwhile"
            )


def _mean(loads: list[Load]) -> str:
    tps, latency = (statistics.mean(values) for values in zip(*loads, strict=True))
    return f"{tps:,.0f} tps, {latency:.2f} ms each"


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
    parser.add_argument("--rounds", type=int, default=3, help="of the writing load; 0: none")
    parser.add_argument("--seconds", type=int, default=6, help="of each half of a round")
    options = parser.parse_args()
    with throwaway(settings=SETTINGS) as server, psycopg.connect(server.dsn(), autocommit=True) as conn:
        load(conn, open_recording("seed-v4.1.0"))
        (campaign,) = conn.execute("SELECT min(id) FROM campaigns").fetchall()[0]
        fill(conn, campaign, options.segments * SEGMENT, locks=options.locks)
        words = [sys.executable, "-c", READ, server.dsn(), str(campaign), str(options.segments + 1)]
        subprocess.run(words, check=True)
        if options.rounds:
            compare(server.dsn(), campaign, options.segments + 1, rounds=options.rounds, seconds=options.seconds)


if __name__ == "__main__":
    main()
