"""Prints what examining one campaign and a hundred costs against one pick-up of a campaign: medians and their ratios.

Run: python -m benchmarks.examine_pass [--scale 1] [--rounds 7]. LISTMONK_DOCTOR_PG_BIN names another PostgreSQL.
Scale 1 is a million subscribers with five million subscriptions (a minute to make), scale 5 five times as many. The
pick-up is what listmonk's Start costs the server: one statement finds the campaigns that are due, counts the audience
of each, finds its highest id, and writes both. As it writes, the server runs it without parallel workers; as it takes
whoever is due, the planner does not know which campaign it counts. The ratio to the bare count is told, too: the same
joins for a campaign whose id is known, nothing written, no parallel workers. All is run in alternation, so that a busy
machine slows all; processor time is told as well, since it is not slowed.
Goals: one campaign at most 0.5 pick-ups (0.3 is wished for), a hundred at most 3 (2), memory at most 12 bytes per row.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg

from benchmarks.big_database import BIG, FIRST_SUSPECT, ONE_LIST, SMALL, fill
from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import resolve
from listmonk_doctor.demo import postgres
from listmonk_doctor.diagnosis.examine import each_figures, examine

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

AUDIENCE: Final = """
SELECT campaigns.id, count(DISTINCT subscriber_lists.subscriber_id) AS people,
       max(subscriber_lists.subscriber_id) AS last
FROM campaigns
JOIN campaign_lists ON campaign_lists.campaign_id = campaigns.id
JOIN lists ON lists.id = campaign_lists.list_id
JOIN subscriber_lists ON subscriber_lists.list_id = lists.id
JOIN subscribers ON subscribers.id = subscriber_lists.subscriber_id
WHERE {which} AND subscribers.status <> 'blocklisted'
  AND CASE WHEN campaigns.type = 'optin' THEN lists.optin = 'double' AND subscriber_lists.status = 'unconfirmed'
           WHEN lists.optin = 'double' THEN subscriber_lists.status = 'confirmed'
           ELSE subscriber_lists.status <> 'unsubscribed' END
GROUP BY campaigns.id
"""
COUNT: Final = AUDIENCE.format(which="campaigns.id = %s").encode()
"""The audience of one campaign that is known by its id, counted."""
DUE: Final = "(campaigns.status = 'running' OR campaigns.status = 'scheduled' AND campaigns.send_at <= now())"
PICK_UP: Final = f"""
UPDATE campaigns
SET to_send = counted.people, max_subscriber_id = counted.last, status = 'running',
    started_at = COALESCE(started_at, now())
FROM ({AUDIENCE.format(which=DUE)}) AS counted
WHERE campaigns.id = counted.id
""".encode()  # noqa: S608 - constants
"""All campaigns that are due picked up: the audience of each counted, and written."""
SUSPECTS: Final = list(range(FIRST_SUSPECT, FIRST_SUSPECT + 100))

MEMORY: Final = """
import sys
from pathlib import Path
from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import resolve
from listmonk_doctor.diagnosis.examine import each_figures

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

conn = connect(resolve(sys.argv[1], None, [], {}, Path()))
with snapshot(conn, schema="public") as cursor:
    for _ in each_figures(cursor, [int(sys.argv[2])]):  # everything is imported and has run once
        pass
    bare = peak()
    for _ in each_figures(cursor, [int(each) for each in sys.argv[3].split(",")]):
        pass
print(peak() - bare)
"""
"""Prints by how many bytes examining campaigns raises the peak of a process that has examined a small one."""


class Spent(NamedTuple):
    """What some work took: seconds on the clock, and seconds of processor time here and in its session's server."""

    clock: float
    processor: float


def processor(conn: Connection[Any]) -> float:
    """Return the processor time that this process and a session's server process have used (Linux; else only ours)."""
    try:
        words = Path(f"/proc/{conn.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.process_time()
    return time.process_time() + (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def spent(conn: Connection[Any], work: Callable[[], object]) -> Spent:
    """Return what some work takes that uses this session."""
    begun, before = time.perf_counter(), processor(conn)
    work()
    return Spent(time.perf_counter() - begun, processor(conn) - before)


def memory(dsn: str, campaigns: list[int]) -> int:
    """Return how many bytes it takes to examine campaigns."""
    command = [sys.executable, "-c", MEMORY, dsn, str(SMALL), ",".join(map(str, campaigns))]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows(conn: Connection[Any], campaigns: list[int]) -> int:
    """Return how many subscriptions the lists of campaigns have together."""
    return int(
        conn.execute(
            "SELECT count(*) FROM subscriber_lists WHERE list_id IN"
            " (SELECT list_id FROM campaign_lists WHERE campaign_id = ANY(%s))",
            [campaigns],
        ).fetchall()[0][0],
    )


def examined(conn: Connection[Any], campaigns: list[int]) -> None:
    """Examine campaigns as the program does."""
    with snapshot(conn, schema="public") as cursor:
        for figures in each_figures(cursor, campaigns):
            examine(figures, running=False, scanners=0, pipe="not-looked", because="")


def picked_up(conn: Connection[Any], campaign: int) -> None:
    """Pick a campaign up as its start does, and take it back."""
    with conn.transaction(force_rollback=True):
        conn.execute("UPDATE campaigns SET status = 'running' WHERE id = %s", [campaign])
        assert conn.execute(PICK_UP).rowcount == 1


def counted(conn: Connection[Any], campaign: int) -> None:
    """Count the audience of a campaign, and no more."""
    with conn.transaction():
        conn.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # their processor time would not be told
        conn.execute(COUNT, [campaign]).fetchall()


def measure(dsn: str, rounds: int) -> None:
    """Run everything in alternation and print the medians and ratios."""
    with connect(resolve(dsn, None, [], {}, Path())) as own, psycopg.connect(dsn, autocommit=True) as listmonk:
        works: dict[str, tuple[Connection[Any], Callable[[], object], str]] = {}
        for what, campaign in {"two lists": BIG, "one list": ONE_LIST, "small list": SMALL}.items():
            works[f"pick-up, {what}"] = (listmonk, partial(picked_up, listmonk, campaign), "")
            works[f"bare count, {what}"] = (listmonk, partial(counted, listmonk, campaign), "")
            works[f"examine, {what}"] = (own, partial(examined, own, [campaign]), what)
        works["examine, 100 campaigns"] = (own, partial(examined, own, SUSPECTS), "two lists")
        taken: dict[str, list[Spent]] = {what: [] for what in works}
        for turn in range(rounds + 1):
            for what, (conn, work, _) in works.items():
                each = spent(conn, work)
                if turn:  # the first round only warms up
                    taken[what].append(each)
        middle = {what: Spent(*map(statistics.median, zip(*each, strict=True))) for what, each in taken.items()}
        for what, (_, _, against) in works.items():
            line = f"{what:24}{middle[what].clock * 1000:8.0f} ms{middle[what].processor * 1000:8.0f} ms of processors"
            for yard in ("pick-up", "bare count") if against else ():
                of = middle[f"{yard}, {against}"]
                line += f"   {middle[what].clock / of.clock:.2f} {yard}s"
                line += f" ({middle[what].processor / of.processor:.2f} by processor time)"
            print(line)
        for what, campaigns in {"two lists": [BIG], "one list": [ONE_LIST], "100 campaigns": SUSPECTS}.items():
            size, count = memory(dsn, campaigns), rows(listmonk, campaigns)
            print(f"memory, {what:16}{size / 2**20:8.1f} MiB   {size / count:.1f} bytes per row ({count:,} rows)")


def main() -> None:
    """Make the database, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dsn", help="a database that was filled before")
    wanted = parser.parse_args()
    if wanted.dsn:
        measure(wanted.dsn, wanted.rounds)
        return
    with postgres.throwaway() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            fill(conn, wanted.scale)
        measure(server.dsn(), wanted.rounds)


if __name__ == "__main__":
    main()
