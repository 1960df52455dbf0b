"""Prints what examining one campaign and a hundred costs against one pick-up of a campaign: medians and their ratios.

Run: python -m benchmarks.examine_pass [--scale 1] [--rounds 7]. Scale 1 is a million subscribers with five million
subscriptions (a minute to make), scale 5 five times as many. The pick-up is what listmonk's Start costs the server: the
campaign's audience counted, and its highest id found. All is run in alternation, so that a busy machine slows all.
Goals: one campaign at most 0.5 pick-ups (0.3 is wished for), a hundred at most 3 (2), memory at most 12 bytes per row.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import psycopg

from benchmarks.big_database import BIG, FIRST_SUSPECT, ONE_LIST, SMALL, fill
from listmonk_doctor.demo import postgres

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

PICK_UP: Final = """
SELECT campaigns.id, count(DISTINCT subscribers.id), max(subscribers.id)
FROM campaigns
JOIN campaign_lists ON campaign_lists.campaign_id = campaigns.id
JOIN lists ON lists.id = campaign_lists.list_id
JOIN subscriber_lists ON subscriber_lists.list_id = lists.id
JOIN subscribers ON subscribers.id = subscriber_lists.subscriber_id
WHERE campaigns.id = %s AND subscribers.status <> 'blocklisted'
  AND CASE WHEN campaigns.type = 'optin' THEN lists.optin = 'double' AND subscriber_lists.status = 'unconfirmed'
           WHEN lists.optin = 'double' THEN subscriber_lists.status = 'confirmed'
           ELSE subscriber_lists.status <> 'unsubscribed' END
GROUP BY campaigns.id
"""
"""The audience of one campaign, counted when it is started."""
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


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def memory(dsn: str, campaigns: list[int]) -> int:
    """Return how many bytes it takes to examine campaigns."""
    command = [sys.executable, "-c", MEMORY, dsn, str(SMALL), ",".join(map(str, campaigns))]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows(conn: Connection, campaigns: list[int]) -> int:
    """Return how many subscriptions the lists of campaigns have together."""
    return int(
        conn.execute(
            "SELECT count(*) FROM subscriber_lists WHERE list_id IN"
            " (SELECT list_id FROM campaign_lists WHERE campaign_id = ANY(%s))",
            [campaigns],
        ).fetchall()[0][0],
    )


def measure(dsn: str, rounds: int) -> None:
    """Run everything in alternation and print the medians and ratios."""
    from pathlib import Path

    from listmonk_doctor.database.connection import connect
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.database.sources import resolve
    from listmonk_doctor.diagnosis.examine import each_figures, examine

    own = connect(resolve(dsn, None, [], {}, Path()))

    def examined(campaigns: list[int]) -> None:
        with snapshot(own, schema="public") as cursor:
            for figures in each_figures(cursor, campaigns):
                examine(figures, running=False, scanners=0, pipe="not-looked", because="")

    with psycopg.connect(dsn, autocommit=True) as listmonk:

        def picked_up(campaign: int) -> None:
            listmonk.execute(PICK_UP, [campaign]).fetchall()

        works: dict[str, tuple[Callable[[], object], str]] = {
            "pick-up, two lists": (lambda: picked_up(BIG), ""),
            "examine, two lists": (lambda: examined([BIG]), "pick-up, two lists"),
            "pick-up, one list": (lambda: picked_up(ONE_LIST), ""),
            "examine, one list": (lambda: examined([ONE_LIST]), "pick-up, one list"),
            "pick-up, small list": (lambda: picked_up(SMALL), ""),
            "examine, small list": (lambda: examined([SMALL]), "pick-up, small list"),
            "examine, 100 campaigns": (lambda: examined(SUSPECTS), "pick-up, two lists"),
        }
        taken: dict[str, list[float]] = {what: [] for what in works}
        for turn in range(rounds + 1):
            for what, (work, _) in works.items():
                spent = seconds(work)
                if turn:  # the first round only warms up
                    taken[what].append(spent)
        middle = {what: statistics.median(times) for what, times in taken.items()}
        for what, (_, against) in works.items():
            ratio = f"   {middle[what] / middle[against]:.2f} pick-ups" if against else ""
            print(f"{what:24} {middle[what] * 1000:8.0f} ms{ratio}")
        for what, campaigns in {"two lists": [BIG], "one list": [ONE_LIST], "100 campaigns": SUSPECTS}.items():
            size, count = memory(dsn, campaigns), rows(listmonk, campaigns)
            print(f"memory, {what:16} {size / 2**20:8.1f} MiB   {size / count:.1f} bytes per row ({count:,} rows)")


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
