"""Prints what `scan` of 2,000 campaigns costs against the same process doing `select 1`: medians and their ratio.

Run: python benchmarks/scan_startup.py [--campaigns 2000] [--rounds 15]. The two are run in alternation, so that a
busy machine slows both. The goal is a ratio of at most 1.2.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import psycopg

from listmonk_doctor.demo import postgres
from listmonk_doctor.demo.loading import demo_sql

BASELINE = """
import os, pathlib
from listmonk_doctor import cli
from listmonk_doctor.commands import _options as opt

def select(*, output: opt.OutputFormat = None, dsn: opt.Dsn = None, service: opt.Service = None,
           config: opt.Config = None, schema: opt.Schema = None, timeout: opt.Timeout = 60.0,
           verbose: opt.Verbose = False, quiet: opt.Quiet = False) -> int:
    "Connect as every command does, and do no more than select 1."
    from listmonk_doctor.database.connection import connect
    from listmonk_doctor.database.sources import resolve
    with connect(resolve(dsn, service, config or (), os.environ, pathlib.Path.cwd())) as conn:
        print(conn.execute("SELECT 1").fetchone())
    return 0

def opened(*, output: opt.OutputFormat = None, dsn: opt.Dsn = None, service: opt.Service = None,
           config: opt.Config = None, schema: opt.Schema = None, timeout: opt.Timeout = 60.0,
           verbose: opt.Verbose = False, quiet: opt.Quiet = False) -> int:
    "Find listmonk and its version as every command does, and then no more than select 1."
    from listmonk_doctor.commands._session import opened as session
    with session(opt.Where(dsn, service, tuple(config or ()), schema, timeout)) as database:
        print(database.conn.execute("SELECT 1").fetchone())
    return 0

cli.app.command("select")(select)
cli.app.command("opened")(opened)
cli.main()
"""
"""The same program with one more command; scan's is measured by its own."""

FILL = """
INSERT INTO settings (key, value) VALUES
    ('migrations', '["v6.2.0"]'), ('app.batch_size', '1000'), ('app.concurrency', '10'), ('app.message_rate', '10'),
    ('app.max_send_errors', '1000'), ('app.message_sliding_window', 'false');
INSERT INTO lists (id, uuid, name, type, optin) SELECT n, gen_random_uuid(), 'List ' || n, 'public', 'single'
    FROM generate_series(1, 20) n;
INSERT INTO subscribers (id, uuid, email, name) SELECT n, gen_random_uuid(), 'user' || n || '@example.test', ''
    FROM generate_series(1, 5000) n;
INSERT INTO subscriber_lists (subscriber_id, list_id, status, created_at, updated_at)
    SELECT n, 1 + n % 20, 'confirmed', now() - interval '1 year', now() - interval '1 year'
    FROM generate_series(1, 5000) n;
INSERT INTO campaigns (id, uuid, name, subject, from_email, body, status, messenger, to_send, sent, max_subscriber_id,
                       last_subscriber_id, started_at, created_at, updated_at)
    SELECT n, gen_random_uuid(), 'Campaign ' || n, 'Subject', 'a@example.test',
           (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 600) WHERE n > 0),
           'finished', 'email', 250, 250, 5000, 5000, now() - interval '9 days', now() - interval '9 days',
           now() - interval '8 days'
    FROM generate_series(1, %(campaigns)s) n;
INSERT INTO campaign_lists (campaign_id, list_id, list_name)
    SELECT n, 1 + n % 20, 'List' FROM generate_series(1, %(campaigns)s) n;
ANALYZE;
"""


def timed(command: list[str]) -> float:
    """Run a command and return its seconds."""
    begun = time.perf_counter()
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - begun


def main() -> None:
    """Fill a database, run both in alternation, print the medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    wanted = parser.parse_args()
    with postgres.throwaway() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute(demo_sql("schema-v6.2.0.sql"))
            conn.execute(FILL.replace("%(campaigns)s", str(wanted.campaigns)).encode())
        words = ["--format", "plain", "--dsn", server.dsn()]
        commands = {
            "scan": [sys.executable, "-m", "listmonk_doctor", "scan", *words],
            "select 1": [sys.executable, "-c", BASELINE, "select", *words],
            "listmonk found, select 1": [sys.executable, "-c", BASELINE, "opened", *words],
        }
        for command in commands.values():
            subprocess.run(command, check=True)
        seconds: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(wanted.rounds):
            for what, command in commands.items():
                seconds[what].append(timed(command))
    middle = {what: statistics.median(taken) for what, taken in seconds.items()}
    for what, median in middle.items():
        ratio = f"scan is {middle['scan'] / median:.2f} times this"
        print(f"{what:26} {median * 1000:7.1f} ms (median of {wanted.rounds}); {ratio}")


if __name__ == "__main__":
    main()
