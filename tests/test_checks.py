"""Every check in a real database: silent where nothing is wrong, exact where something is, runnable in psql."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg import sql

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo import postgres
from listmonk_doctor.diagnosis.catalogue import catalogue, find
from listmonk_doctor.diagnosis.scan import run_checks
from listmonk_doctor.listmonk.versions import parse
from tests.support.seeds import (
    BLOCKLISTED,
    CEILING,
    DAY,
    HEALTHY,
    PEOPLE,
    SEEDS,
    VERSIONS,
    Seed,
    build,
    id_at,
    named,
    seed,
    seeded,
    silent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from listmonk_doctor.diagnosis.findings import Finding

    Connection = psycopg.Connection[tuple[Any, ...]]


def ran(dsn: str, code: str, server: str = "unknown") -> list[Finding]:
    """Run one check as a scan does."""
    with psycopg.connect(dsn, autocommit=True) as conn, snapshot(conn, schema="public") as cur:
        [(tag,)] = cur.execute("SELECT value->>-1 FROM settings WHERE key = 'migrations'").fetchall()
        answer = run_checks(cur, parse(tag), [find(code)], server=server)
    assert (answer.skipped, answer.failed) == ((), ())
    return list(answer.findings)


def ids(findings: Sequence[Finding]) -> list[int | None]:
    return [found.id for found in findings]


@pytest.fixture
def ticking(empty_db: str) -> Iterator[Connection]:
    """Give a session that can pretend to be a listmonk's."""
    with psycopg.connect(empty_db, autocommit=True, application_name="") as conn:
        yield conn


def tick(conn: Connection) -> None:
    """Run something that begins as a listmonk's scan does."""
    conn.execute("WITH camps AS (SELECT 1) SELECT * FROM camps")


def expected(sown: Seed) -> list[int | None]:
    return [None] if sown.summary else [each.id for each in sown.rows if each.reported]


every_seed = pytest.mark.parametrize("code", list(SEEDS))


def test_every_check_has_a_seed() -> None:
    """No check is without a test of what it finds."""
    assert list(SEEDS) == [check.code for check in catalogue()]


@pytest.mark.parametrize("version", VERSIONS)
def test_all_checks_are_silent_on_a_fresh_database(empty_db: str, version: str) -> None:
    """A new listmonk with its people and a first draft has no findings, whether or not a server is running."""
    build(empty_db, version)
    seed(empty_db, [HEALTHY[2]])
    for server in ("alive", "none", "unknown", ""):
        with psycopg.connect(empty_db, autocommit=True) as conn, snapshot(conn, schema="public") as cur:
            answer = run_checks(cur, parse(version), server=server)
        assert (answer.findings, answer.failed) == ((), ())


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_all_checks_are_silent_about_healthy_campaigns(empty_db: str, version: str) -> None:
    """Campaigns in every state with nothing wrong give no finding at all, from 3.0.0 on."""
    build(empty_db, version)
    seed(empty_db, HEALTHY)
    with psycopg.connect(empty_db, autocommit=True) as conn, snapshot(conn, schema="public") as cur:
        answer = run_checks(cur, parse(version), server="none")
    assert (answer.findings, answer.failed) == ((), ())


@every_seed
def test_a_check_reports_exactly_the_seeded_rows(empty_db: str, code: str, ticking: Connection) -> None:
    """What is wrong is named, what only looks like it is not, and the numbers stand in one sentence."""
    sown = seeded(empty_db, code)
    if code == "LM901":
        with psycopg.connect(empty_db, autocommit=True) as other:
            tick(ticking)
            tick(other)
            findings = ran(empty_db, code)
    else:
        findings = ran(empty_db, code, sown.server)
    assert ids(findings) == expected(sown)
    for found in findings:
        assert found.label == (sown.summary or f"Campaign {found.id}")
        assert found.detail.endswith(".")
        assert "%" not in found.detail
        assert (found.name, found.severity, found.table) == (find(code).name, find(code).severity, find(code).table)


@every_seed
def test_a_fix_leads_to_silence_and_back(empty_db: str, code: str) -> None:
    """Where a check knows the one right change, that change silences it, and the old values bring every byte back."""
    sown = seeded(empty_db, code)
    whole = "SELECT campaigns::text FROM campaigns WHERE id = %s"
    for found in ran(empty_db, code, sown.server):
        if found.fix is None:
            continue
        columns = list(found.fix)
        setting = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in columns)
        update = sql.SQL("UPDATE campaigns SET {} WHERE id = %s").format(setting)
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        with psycopg.connect(empty_db, autocommit=True) as conn:
            before = conn.execute(whole, [found.id]).fetchone()
            old = conn.execute(sql.SQL("SELECT {} FROM campaigns WHERE id = %s").format(names), [found.id]).fetchone()
            assert old is not None
            conn.execute(update, [*found.fix.values(), found.id])
            assert found.id not in ids(ran(empty_db, code, sown.server))
            conn.execute(update, [*old, found.id])
            assert conn.execute(whole, [found.id]).fetchone() == before
        assert found.id in ids(ran(empty_db, code, sown.server))


def test_some_checks_know_the_one_right_change(empty_db: str) -> None:
    """A due campaign becomes a draft, and one that stopped before everyone was mailed is paused (on 3.0.0: not)."""
    seeded(empty_db, "LM106")
    assert [found.fix for found in ran(empty_db, "LM106")] == [{"status": "draft"}, None]


@every_seed
def test_a_check_runs_in_psql_as_it_is(empty_db: str, code: str, ticking: Connection) -> None:
    """The file, given to psql in a read-only session, reports the same rows."""
    sown = seeded(empty_db, code)
    folder = os.environ.get("LISTMONK_DOCTOR_TEST_PG_BIN") or str(postgres.find_binaries())
    psql = shutil.which("psql", path=folder) or shutil.which("psql")
    if psql is None:
        pytest.skip("there is no psql on this machine")
    if code == "LM901":
        tick(ticking)
        with psycopg.connect(empty_db, autocommit=True) as other:
            tick(other)
            lines = _psql(psql, empty_db, code, sown.server)
    else:
        lines = _psql(psql, empty_db, code, sown.server)
    assert [line.split("|")[0] for line in lines] == [str(each or "") for each in expected(sown)]


def _psql(psql: str, dsn: str, code: str, server: str) -> list[str]:
    """Return what psql prints of a check's file."""
    options = f"-c default_transaction_read_only=on -c listmonk_doctor.server={server}"
    done = subprocess.run(
        [psql, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", dsn],
        input=find(code).sql,
        env={**os.environ, "PGOPTIONS": options},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().splitlines()


def test_a_reader_needs_no_more_than_select(empty_db: str) -> None:
    """A role that may only read listmonk's tables runs every check."""
    build(empty_db, "v6.2.0")
    seed(empty_db, HEALTHY)
    with psycopg.connect(empty_db, autocommit=True) as conn:
        role = sql.Identifier(f"reader_{conn.info.dbname}")
        conn.execute(sql.SQL("CREATE ROLE {}").format(role))
        conn.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(role))
        try:
            conn.execute(sql.SQL("SET ROLE {}").format(role))
            with snapshot(conn, schema="public") as cur:
                assert run_checks(cur, parse("v6.2.0")).failed == ()
        finally:
            conn.execute("RESET ROLE")
            conn.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))


@pytest.mark.parametrize("state", ["alive", "unknown"])
def test_a_running_campaign_is_no_alarm_while_a_server_may_be_at_work(empty_db: str, state: str) -> None:
    """Running ahead of what is counted is normal work, so without proof that nobody is at work nothing is said."""
    seeded(empty_db, "LM104")
    assert ran(empty_db, "LM104", state) == []


@pytest.mark.parametrize("state", ["alive", "unknown"])
def test_a_running_row_with_a_count_as_cursor_is_judged_once_nobody_is_at_work(empty_db: str, state: str) -> None:
    """A server at work moves the cursor on, so only the rows at rest are named meanwhile."""
    sown = seeded(empty_db, "LM103")
    assert ids(ran(empty_db, "LM103", state)) == [
        each.id for each in sown.rows if each.reported and each.columns["status"] != "running"
    ]


def test_in_psql_a_check_looks_for_the_server_itself(empty_db: str, ticking: Connection) -> None:
    """Without being told, a check sees a scanner at work; when its session has left, nobody is there."""
    seeded(empty_db, "LM104")
    tick(ticking)
    assert ran(empty_db, "LM104", "") == []
    ticking.close()
    _alone(empty_db)
    assert ids(ran(empty_db, "LM104", "")) == [101, 103]


def _alone(dsn: str) -> None:
    """Wait until the sessions that were closed are gone."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        until = time.monotonic() + 10
        while conn.execute(others).fetchone() != (0,):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_campaign_that_hangs_without_a_server_is_named_too(empty_db: str) -> None:
    """Nothing moves either where nobody is there to move it, and then the sentence says so."""
    seeded(empty_db, "LM105")
    findings = ran(empty_db, "LM105", "none")
    assert ids(findings) == [101, 104]
    assert all("no listmonk server is at work" in found.detail for found in findings)


def _window(duration: str, rate: int) -> dict[str, Any]:
    """Return the settings of a sliding window."""
    return {"app.message_sliding_window_duration": duration, "app.message_sliding_window_rate": rate}


@pytest.mark.parametrize(
    ("ago", "settings", "reported"),
    [
        (3000, {"app.message_sliding_window": True, "app.message_sliding_window_rate": 50}, False),  # 2 x 2 hours
        (15000, {"app.message_sliding_window": True, "app.message_sliding_window_rate": 50}, True),
        (60, {"app.message_sliding_window": True, **_window("1s", 1)}, True),  # listmonk ignores such a window
        (60, {"app.message_sliding_window": True, **_window("2s", 1)}, False),
        (3000, {"app.message_sliding_window": True, "app.message_sliding_window_duration": "?"}, True),
        (3000, {"app.message_sliding_window": True, "app.message_sliding_window_rate": 0}, True),
        (3000, {}, True),
    ],
)
def test_sleep_in_the_sliding_window_is_no_alarm(
    empty_db: str,
    ago: float,
    settings: Mapping[str, Any],
    reported: bool,
) -> None:
    """A campaign may sleep as long as its batch takes through the window (2 batches of 2 windows of an hour here)."""
    build(empty_db, "v6.2.0", settings)
    seed(empty_db, [silent(101, "running", 200, id_at(200), ago=ago)])
    assert bool(ran(empty_db, "LM105", "alive")) == reported


def test_campaigns_that_share_the_sender_wait_for_each_other(empty_db: str) -> None:
    """The one loop that fetches serves all: with four at work each may wait four times as long (100 at 50/s: 2 s)."""
    build(empty_db, "v6.2.0")
    seed(empty_db, [silent(101, "running", 200, id_at(200), ago=25)])
    assert ids(ran(empty_db, "LM105", "alive")) == [101]
    seed(empty_db, [silent(number, "running", 100, id_at(200), ago=1) for number in (102, 103, 104)])
    assert ran(empty_db, "LM105", "alive") == []


@pytest.mark.parametrize(
    ("setting", "value", "code", "found"),
    [
        ("listmonk_doctor.stuck_after", "1200", "LM105", []),
        ("listmonk_doctor.stuck_after", "10", "LM105", [101]),
        ("listmonk_doctor.due_after", "3600", "LM106", []),
        ("listmonk_doctor.due_after", "1", "LM106", [102]),
    ],
)
def test_a_threshold_is_a_session_setting(empty_db: str, setting: str, value: str, code: str, found: list[int]) -> None:
    """A setting of the session moves a threshold; one that was reset ('') is as if it had never been set."""
    build(empty_db, "v6.2.0")
    rows = [
        silent(101, "running", 200, id_at(200), ago=600),
        silent(102, "scheduled", 0, 0, started_ago=None, send_ago=60),
    ]
    seed(empty_db, rows)
    with psycopg.connect(empty_db, autocommit=True) as conn:
        conn.execute("SELECT set_config(%s, %s, false)", [setting, value])
        assert [each[0] for each in conn.execute(find(code).sql).fetchall()] == found
        conn.execute("SELECT set_config(%s, '', false)", [setting])
        assert [each[0] for each in conn.execute(find(code).sql).fetchall()] == [101 if code == "LM105" else 102]


UPGRADED: Final = {
    "migrations": ["v2.5.0", "v3.0.0", "v4.0.0", "v4.1.0", "v5.0.0", "v5.1.0", "v6.0.0", "v6.1.0", "v6.2.0"],
}
"""A database that was 2.5.1 until 100 days ago, 3.0.0 until 50 days ago, 4.1.0 until 20 days ago and is 6.2.0 now."""


def upgraded(dsn: str) -> None:
    """Build it: a migration's new settings have the date of the upgrade."""
    build(dsn, "v6.2.0", UPGRADED)
    dates = {
        100: ("app.cache_slow_queries", "bounce.postmark"),
        50: ("security.oidc", "bounce.forwardemail"),
        20: ("privacy.domain_allowlist", "bounce.lettermint", "privacy.disable_tracking"),
    }
    with psycopg.connect(dsn, autocommit=True) as conn:
        for days, keys in dates.items():
            conn.execute(
                "UPDATE settings SET updated_at = now() - %s * interval '1 day' WHERE key = ANY(%s)",
                [days, list(keys)],
            )


@pytest.mark.parametrize(
    ("days", "rules"),
    [
        (200, {"LM110"}),
        (80, {"LM103", "LM111"}),
        (40, {"LM103", "LM102"}),
        (10, {"LM101", "LM102"}),
    ],
)
def test_a_campaign_is_judged_by_the_version_that_sent_it(empty_db: str, days: int, rules: set[str]) -> None:
    """After upgrades the same two rows mean something else for each version that may have written them last."""
    upgraded(empty_db)
    overwritten = named(101, "finished", 200, PEOPLE, ago=days * DAY, started_ago=(days + 0.1) * DAY)
    short = named(102, "finished", PEOPLE, CEILING, to_send=PEOPLE + 12, ago=days * DAY, started_ago=days * DAY)
    seed(empty_db, [overwritten, short], BLOCKLISTED)
    found = {code for code in ("LM101", "LM102", "LM103", "LM110", "LM111") if ran(empty_db, code)}
    assert found == rules


def test_an_upgrade_that_cannot_be_dated_hides_nothing(empty_db: str) -> None:
    """Where the settings that date 3.0.0 are gone, campaigns are examined as if a later version had sent them."""
    upgraded(empty_db)
    seed(empty_db, [named(101, "finished", 300, CEILING, ago=200 * DAY, started_ago=201 * DAY)])
    assert ids(ran(empty_db, "LM102")) == []
    with psycopg.connect(empty_db, autocommit=True) as conn:
        keys = ["app.cache_slow_queries", "bounce.postmark", "security.oidc", "bounce.forwardemail"]
        conn.execute("DELETE FROM settings WHERE key = ANY(%s)", [keys])
    assert ids(ran(empty_db, "LM102")) == [101]
    assert ran(empty_db, "LM110") == []


def test_a_list_deleted_under_a_hanging_campaign_is_said_once(empty_db: str) -> None:
    """On 6.0.0 the campaign that hangs on a deleted list is not also reported as one that does not move."""
    build(empty_db, "v6.0.0")
    seed(empty_db, [named(101, "running", 200, id_at(200), lists=(1, None), ago=600)])
    assert ids(ran(empty_db, "LM108")) == [101]
    assert ran(empty_db, "LM105", "alive") == []


def test_on_version_3_the_cursor_has_to_move_and_no_change_is_named(empty_db: str) -> None:
    """A plain resume stops again at an ineligible batch of 3.0.0, so there is no single right change."""
    build(empty_db, "v3.0.0")
    seed(empty_db, [named(101, "finished", 200, id_at(200))])
    assert [(found.id, found.fix) for found in ran(empty_db, "LM101")] == [(101, None)]


def test_an_opt_in_campaign_has_the_unconfirmed_of_double_lists(empty_db: str) -> None:
    """An opt-in campaign is for whoever has not confirmed yet, and for nobody of a list with single opt-in."""
    build(empty_db, "v6.2.0")
    add = """
        INSERT INTO subscriber_lists (subscriber_id, list_id, status, created_at)
        SELECT id, 2, 'unconfirmed', now() - interval '1 year' FROM subscribers WHERE id > 60
    """
    rows = [
        named(101, "finished", 200, id_at(200), type="optin", lists=(2,)),
        silent(102, "finished", 200, id_at(200), type="optin", lists=(1,)),
        silent(103, "finished", 200, id_at(200), lists=(2,)),
    ]
    seed(empty_db, rows, add)
    assert ids(ran(empty_db, "LM101")) == [101]


def test_one_server_that_scans_on_two_sessions_is_one(empty_db: str, ticking: Connection) -> None:
    """A server takes whichever session is free: scans on two of them, 5 s apart, are no second server."""
    build(empty_db, "v6.2.0")
    tick(ticking)
    assert ran(empty_db, "LM901") == []
    time.sleep(5.0)
    with psycopg.connect(empty_db, autocommit=True) as other:
        tick(other)
        assert ran(empty_db, "LM901") == []
        tick(ticking)
        assert ids(ran(empty_db, "LM901")) == [None]


def test_names_do_not_reach_the_statement(empty_db: str) -> None:
    """A campaign, a list or a messenger with a hostile name is reported as it is called."""
    name = "%s'; DROP TABLE campaigns; -- {}%%"
    build(empty_db, "v6.0.0")
    seed(empty_db, [named(101, "paused", 100, id_at(100), name=name, messenger=name, lists=(1, None))])
    with psycopg.connect(empty_db, autocommit=True) as conn:
        conn.execute("UPDATE campaign_lists SET list_name = %s WHERE list_id IS NULL", [name])
    for code in ("LM108", "LM109"):
        [found] = ran(empty_db, code)
        assert found.label == name
        assert "DROP TABLE campaigns" in found.detail
