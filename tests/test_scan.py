"""The scan of every recorded accident, and what it does when a check fails, time is up, or nobody is suspected."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg import sql

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.recording import open_recording, recordings
from listmonk_doctor.diagnosis.catalogue import catalogue, find, read_check, select
from listmonk_doctor.diagnosis.closer import examine_closely, look_closer, settle, suspects
from listmonk_doctor.diagnosis.findings import Finding, NotRun
from listmonk_doctor.diagnosis.scan import in_order, run_checks, scan, severity_at_least
from listmonk_doctor.errors import ConnectionFailedError, DoctorError, UnknownSchemaError
from listmonk_doctor.listmonk.versions import parse
from tests.support.seeds import CEILING, HEALTHY, PEOPLE, build, id_at, named, seed, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from listmonk_doctor.diagnosis.findings import ScanReport, Severity
    from listmonk_doctor.diagnosis.report import Examination

    Said = set[tuple[str, Severity, int | None]]

GAP: Final[Said] = {("LM102", "warning", 2)}
EARLY: Final[Said] = {("LM101", "error", 2)}
COUNT: Final[Said] = {("LM103", "error", 2)}
AHEAD: Final[Said] = {("LM115", "warning", 2)}
OLD: Final[Said] = {("LM110", "info", None)}
EXPECTED: Final[dict[str, Said]] = {
    "blockrun-v3.0.0": EARLY,
    "crashed-down-v6.2.0": {("LM104", "error", 2)},
    "deleted-list-v6.0.0": {("LM108", "error", 2)},
    "deleted-list-v6.2.0": GAP,
    "fetch-error-v6.2.0": set(),
    "healthy-v3.0.0": {("LM111", "info", 2), ("LM111", "info", 3)},
    "healthy-v5.0.3": set(),
    "healthy-v6.2.0": set(),
    "hung-pipe-v5.0.3": {("LM105", "warning", 2)},
    "kill9-after-finish-v2.5.1": OLD,
    "kill9-after-pause-v6.2.0": GAP,
    "kill9-defaults-v6.2.0": GAP,
    "kill9-rejects-v6.2.0": GAP,
    "kill9-v2.5.1": OLD,
    "kill9-v4.1.0": GAP,
    "kill9-v6.2.0": GAP,
    "m2-backward-v5.0.3": COUNT,
    "m2-forward-v6.0.0": GAP,
    "many-small-v5.0.3": set(),
    "newcomers-v6.2.0": {("LM114", "info", 2)},
    "one-of-two-lists-v3.0.0": GAP,
    "paused-killed-v5.0.3": AHEAD,
    "quickstart-v4.1.0": EARLY,
    "rejects-paused-v6.2.0": AHEAD,
    "rejects-v2.5.1": OLD,
    "rejects-v3.0.0": GAP,
    "rejects-v5.0.3": GAP,
    "rejects-v6.2.0": GAP,
    "render-errors-v6.2.0": GAP,
    "restarts-three-v6.2.0": GAP,
    "scheduled-nobody-v4.1.0": {("LM106", "warning", 2)},
    "seed-v3.0.0": COUNT,
    "seed-v4.1.0": COUNT,
    "seed-v6.2.0": GAP,
    "sigterm-v6.2.0": GAP,
    "two-servers-v6.2.0": {("LM901", "warning", None)},
    "unknown-messenger-v6.2.0": {("LM109", "error", 2)},
    "upgrade-mid-v4.1.0-v6.2.0": GAP,
    "window-stuck-v6.2.0": set(),
}
"""All that a scan says of each recording: check, severity, campaign."""

CASES: Final = [
    pytest.param(name, worse, id=name + "-worse" * worse) for name in recordings() for worse in (False, True)
]


def said(report: ScanReport) -> Said:
    return {(found.code, found.severity, found.id) for found in report.findings}


def scanned(dsn: str, **more: Any) -> ScanReport:
    """Scan on a connection of its own."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return scan(conn, "public", **more)


def alone(dsn: str) -> None:
    """Wait until the sessions that were closed before are gone: one that still ends may hide a scan."""
    others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(dsn, autocommit=True, application_name="psql") as conn:
        until = time.monotonic() + 10
        while conn.execute(others).fetchone() is not None:
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.mark.parametrize(("name", "worse"), CASES)
def test_every_recording_is_named_for_what_it_is(incident_db: Any, player: Any, name: str, *, worse: bool) -> None:
    """Who lost people or is in danger is named, the healthy are never above info, with dates destroyed as well."""
    dsn = incident_db(name, worse=worse, fresh=True)
    alone(dsn)
    with player(dsn, name):
        report = scanned(dsn)
    assert said(report) == EXPECTED[name]
    assert (report.failed, report.warnings) == ((), ())
    assert report.running is (None if open_recording(name).servers_scanning else False)


def test_every_recording_is_expected_to_be_something() -> None:
    """No recording is left out."""
    assert list(EXPECTED) == recordings()


@pytest.mark.parametrize("name", recordings())
def test_whoever_lost_people_is_named(name: str) -> None:
    """By the relay's own account: a campaign that ended or stopped with people fetched and not mailed has a line."""
    recording = open_recording(name)
    for campaign, truth in recording.incident["campaigns"].items():
        status = truth["row"]["status"]
        short = truth["missed_at_or_below_cursor"]["count"] or (status == "finished" and truth["missed"]["count"])
        if short and status != "cancelled" and int(campaign) not in recording.open_pipes:
            assert {named for _, _, named in EXPECTED[name]} & {int(campaign), None}, (name, campaign)


def test_skipped_checks_say_why(incident_db: Any) -> None:
    """A check outside its versions is reported as skipped with the reason; none of 2.5.1's own kind is."""
    report = scanned(incident_db("kill9-v2.5.1"))
    assert {each.code for each in report.skipped} == {check.code for check in catalogue() if check.since is not None}
    assert NotRun("LM101", "it is for v3.0.0 and later; this is v2.5.0") in report.skipped
    assert (
        NotRun("LM108", "it is for versions before v6.1.0; this is v6.2.0")
        in scanned(incident_db("kill9-v6.2.0")).skipped
    )


def test_findings_come_in_order_of_severity(empty_db: str) -> None:
    """The worst come first, then the ids in ascending order, and what is about no campaign last."""
    build(empty_db, "v4.1.0")
    rows = [
        named(101, "finished", 300, CEILING),
        named(102, "finished", 200, id_at(200)),
        named(103, "paused", 100, id_at(100), messenger="sms", lists=(None, 1)),
        named(104, "draft", 0, 0, messenger="sms", started_ago=None),
    ]
    seed(empty_db, rows)
    report = scanned(empty_db)
    assert [(found.severity, found.id, found.code) for found in report.findings] == [
        ("error", 102, "LM101"),
        ("error", 103, "LM108"),
        ("error", 103, "LM109"),
        ("warning", 101, "LM102"),
        ("info", 104, "LM116"),
    ]
    none = Finding("LM901", "x", "warning", "pg_stat_activity", None, "x", "x")
    assert in_order([none, *report.findings])[-2] == none


def test_severities_compare() -> None:
    """An error is at least a warning, a warning at least a warning, an info is not."""
    assert severity_at_least("error", "warning")
    assert severity_at_least("warning", "warning")
    assert not severity_at_least("info", "warning")


def test_only_selected_checks_run(incident_db: Any) -> None:
    """With a selection nothing else is run, found or skipped."""
    dsn = incident_db("quickstart-v4.1.0")
    assert said(scanned(dsn, checks=select(codes={"LM102", "LM112"}))) == set()
    report = scanned(dsn, checks=select(codes={"LM101", "LM112"}))
    assert said(report) == EARLY
    assert [each.code for each in report.skipped] == ["LM112"]
    nothing = scanned(dsn, checks=select(codes=()))
    assert (nothing.findings, nothing.skipped, nothing.failed) == ((), (), ())


def broken(number: int, statement: str) -> Any:
    """Return a check that goes wrong."""
    header = f"-- code: LM{number}\n-- name: broken\n-- severity: error\n-- tags: campaigns\n--\n-- Text.\n"
    return read_check(f"lm{number}-broken.sql", f"{header}{statement};\n".encode())


@pytest.mark.parametrize(
    ("statement", "because"),
    [
        ("SELECT nowhere FROM campaigns", 'column "nowhere" does not exist'),
        ("SELECT 1 / 0 AS id, '' AS label, '' AS detail, NULL AS fix", "division by zero"),
        ("SELECT 1 AS id, '' AS label", "it gives id, label instead of id, label, detail, fix: a bug"),
        ("SELECT pg_sleep(30)", "it was cancelled after "),
        ("WITH x AS (DELETE FROM campaigns RETURNING 1) SELECT 1", "cannot execute SELECT in a read-only transaction"),
    ],
)
def test_a_check_that_fails_does_not_stop_the_others(incident_db: Any, statement: str, because: str) -> None:
    """It is reported with its reason, and the check after it finds what there is to find."""
    checks = [broken(199, statement), find("LM101")]
    report = scanned(incident_db("quickstart-v4.1.0"), checks=checks, timeout=2.0)
    assert [each.code for each in report.failed] == ["LM199"]
    assert report.failed[0].because.startswith(because)
    assert said(report) == EARLY


def test_a_missing_privilege_fails_only_what_needs_it(empty_db: str) -> None:
    """A role that may not read `lists` still learns what can be learned without."""
    build(empty_db, "v6.2.0")
    seed(empty_db, [*HEALTHY, named(101, "scheduled", 0, 0, started_ago=None, send_ago=60)])
    with psycopg.connect(empty_db, autocommit=True) as conn:
        role = sql.Identifier(f"partial_{conn.info.dbname}")
        conn.execute(sql.SQL("CREATE ROLE {}").format(role))
        conn.execute(sql.SQL("GRANT SELECT ON settings, campaigns, campaign_lists TO {}").format(role))
        try:
            conn.execute(sql.SQL("SET ROLE {}").format(role))
            report = scan(conn, "public", deeper=None)
        finally:
            conn.execute("RESET ROLE")
            conn.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))
    assert said(report) == {("LM106", "warning", 101)}
    assert NotRun("LM101", "permission denied for table lists") in report.failed
    assert "LM112" not in {each.code for each in report.failed}


def test_a_lost_session_is_no_failed_check(incident_db: Any) -> None:
    """Where the server ends the session, the scan ends with one clear error."""
    dsn = incident_db("quickstart-v4.1.0")
    with pytest.raises(ConnectionFailedError, match="session with the database was lost"):
        scanned(dsn, checks=[broken(199, "SELECT pg_terminate_backend(pg_backend_pid())"), find("LM101")])


@pytest.mark.parametrize(
    ("tag", "warned"),
    [("v6.2.0", False), ("v7.0.0", True)],
)
def test_a_newer_listmonk_is_read_with_a_warning(empty_db: str, tag: str, *, warned: bool) -> None:
    """What is newer than all that is known is scanned all the same, and the report says so."""
    build(empty_db, "v6.2.0", {"migrations": ["v6.2.0", tag]})
    seed(empty_db, HEALTHY)
    report = scanned(empty_db)
    assert (report.version, bool(report.warnings), report.findings, report.failed) == (tag, warned, (), ())


def test_a_listmonk_before_2_is_refused(empty_db: str) -> None:
    """An older database is not read, with the version and a hint."""
    build(empty_db, "v2.5.1", {"migrations": ["v1.1.0"]})
    with pytest.raises(UnknownSchemaError, match=r"v1\.1\.0.* is older than v2\.0\.0"):
        scanned(empty_db)


def test_nothing_heavy_is_imported_while_nobody_is_suspected(incident_db: Any) -> None:
    """Bitmaps and renderers are loaded for a suspect, and not for a healthy database."""
    program = (
        "import json, sys, psycopg\n"
        "from listmonk_doctor.diagnosis.scan import scan\n"
        "with psycopg.connect(sys.argv[1], autocommit=True) as conn:\n"
        "    found = len(scan(conn, 'public').findings)\n"
        "print(json.dumps([found, sorted({'pyroaring', 'rich', 'tabulate', 'typer'} & set(sys.modules))]))\n"
    )

    def loaded(name: str) -> list[Any]:
        command = [sys.executable, "-c", program, incident_db(name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout))

    assert loaded("fetch-error-v6.2.0") == [0, []]
    assert loaded("quickstart-v4.1.0") == [1, ["pyroaring"]]


def test_two_thousand_campaigns_are_scanned_without_their_texts(empty_db: str) -> None:
    """Bodies are stored outside the row; a scan touches none of those pages."""
    build(empty_db, "v6.2.0")
    seed(empty_db, HEALTHY)
    with psycopg.connect(empty_db, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, status, messenger, to_send, sent,"
            " max_subscriber_id, last_subscriber_id, started_at, updated_at)"
            " SELECT n, gen_random_uuid(), 'C' || n, '', '', (SELECT string_agg(md5(random()::text || n || m), '')"
            " FROM generate_series(1, 200) m), 'finished', 'email', %s, %s, %s, %s, now() - interval '9 days',"
            " now() - interval '8 days' FROM generate_series(1000, 2999) n",
            [PEOPLE, PEOPLE, CEILING, CEILING],
        )
        conn.execute(
            "INSERT INTO campaign_lists (campaign_id, list_id, list_name) SELECT id, 1, '' FROM campaigns"
            " WHERE id >= 1000"
        )
    before = _pages(empty_db)
    assert scanned(empty_db).findings == ()
    after = _pages(empty_db)
    assert after[0] > before[0]
    assert after[1] == before[1] > 0


def _pages(dsn: str) -> tuple[int, int]:
    """Return how many pages of campaigns' rows and texts were touched by sessions that have ended.

    Up to PostgreSQL 14 the counts arrive a little later: they are read until they stand still.
    """
    query = (
        "SELECT heap_blks_read + heap_blks_hit, toast_blks_read + toast_blks_hit FROM pg_statio_user_tables"
        " WHERE relname = 'campaigns'"
    )
    alone(dsn)
    pages: list[tuple[int, int]] = []
    with psycopg.connect(dsn, autocommit=True) as conn:
        while len(pages) < 3 or pages[-3] != pages[-1]:
            pages += conn.execute(query).fetchall()
            time.sleep(0.4)
    return pages[-1]


def examined(dsn: str, campaign: int) -> Examination:
    """Examine one campaign as the scan does."""
    with psycopg.connect(dsn, autocommit=True) as conn, snapshot(conn, schema="public") as cur:
        return dict(examine_closely(cur, (campaign,)))[campaign]


def finding(code: str, severity: Severity, campaign: int = 2) -> Finding:
    check = find(code)
    return Finding(code, check.name, severity, check.table, campaign, "A campaign", "It is so.")


def test_a_complete_campaign_is_never_above_info(incident_db: Any) -> None:
    """Whatever a check suspected, a campaign that turns out to be complete is lowered to info, and says why."""
    seen = examined(incident_db("fetch-error-v6.2.0"), 2)
    assert seen.verdict == "complete"
    lowered = settle(finding("LM101", "error"), seen)
    assert (lowered.severity, lowered.detail) == ("info", "It is so. A closer look finds it complete.")
    assert settle(finding("LM102", "warning"), seen).severity == "info"
    assert settle(finding("LM114", "info"), seen) == finding("LM114", "info")


@pytest.mark.parametrize(
    ("name", "code", "otherwise"),
    [
        ("quickstart-v4.1.0", "LM101", {"verdict": "cannot-tell"}),
        ("seed-v4.1.0", "LM103", {"account": {"cursor_trusted": True}}),
        ("seed-v4.1.0", "LM103", {"ahead": 1}),
        ("crashed-down-v6.2.0", "LM104", {"running": True}),
        ("crashed-down-v6.2.0", "LM104", {"causes": ()}),
        ("deleted-list-v6.0.0", "LM108", {"causes": ()}),
        ("unknown-messenger-v6.2.0", "LM109", {"causes": ()}),
    ],
)
def test_an_error_stays_only_where_it_is_proved(
    incident_db: Any,
    name: str,
    code: str,
    otherwise: Mapping[str, Any],
) -> None:
    """The recorded accident proves its error; the same campaign without that proof is left as a warning."""
    seen = examined(incident_db(name), 2)
    error = finding(code, "error")
    assert settle(error, seen) == error
    account = replace(seen.account, **otherwise.get("account", {}))
    doubted = replace(seen, **{"account": account, **{key: otherwise[key] for key in otherwise if key != "account"}})
    lowered = settle(error, doubted)
    assert (lowered.severity, lowered.detail) == (
        "warning",
        "It is so. It may be that all of them were mailed all the same.",
    )


def test_a_closer_look_never_raises_a_finding(incident_db: Any) -> None:
    """A warning about a campaign that proves to be incomplete stays a warning; without a look nothing changes."""
    seen = examined(incident_db("quickstart-v4.1.0"), 2)
    assert settle(finding("LM102", "warning"), seen).severity == "warning"
    assert settle(finding("LM101", "error"), None) == finding("LM101", "error")
    doubted = finding("LM101", "warning")
    assert settle(doubted, replace(seen, verdict="cannot-tell")) == doubted


def test_suspects_are_campaigns_above_info_errors_first() -> None:
    """Errors before warnings, the newest campaign of each first, each once; no info, nothing that is no campaign."""
    findings = [
        finding("LM102", "warning", 9),
        finding("LM102", "warning", 4),
        finding("LM101", "error", 3),
        finding("LM101", "error", 7),
        finding("LM108", "error", 4),
        finding("LM111", "info", 8),
        Finding("LM901", "x", "warning", "pg_stat_activity", None, "x", "x"),
        Finding("LM201", "x", "error", "subscribers", 5, "x", "x"),
    ]
    assert suspects(findings) == (7, 4, 3, 9)


def many(dsn: str) -> list[Finding]:
    """Seed a dozen campaigns that are all reported, and run the check."""
    build(dsn, "v6.2.0")
    seed(dsn, [named(100 + number, "finished", 300, CEILING) for number in range(12)])
    with psycopg.connect(dsn, autocommit=True) as conn, snapshot(conn, schema="public") as cur:
        return list(run_checks(cur, parse("v6.2.0")).findings)


def test_when_time_is_up_the_rest_keeps_its_severity(empty_db: str) -> None:
    """The look at many suspects ends in time; the report says how many were not reached."""
    findings = many(empty_db)
    calls: list[tuple[int, ...]] = []
    with psycopg.connect(empty_db, autocommit=True) as conn, snapshot(conn, schema="public") as cur:

        def complete(cursor: Any, ids: tuple[int, ...]) -> Iterator[tuple[int, Examination]]:
            calls.append(ids)
            for campaign, seen in examine_closely(cursor, ids):
                yield campaign, replace(seen, verdict="complete")

        looked = look_closer(cur, findings, complete, seconds=0)
        assert calls == [tuple(range(111, 99, -1))]
        assert {found.id for found in looked.findings if found.severity == "info"} == {111}
        assert looked.warnings == ("11 of 12 suspected campaigns were not looked at more closely: time was up.",)
        assert {found.severity for found in look_closer(cur, findings, complete).findings} == {"info"}


def test_a_closer_look_that_fails_is_reported(empty_db: str) -> None:
    """The findings stay as the checks have them, and the report says what could not be done."""
    findings = many(empty_db)

    def refused(_cursor: Any, _ids: tuple[int, ...]) -> list[tuple[int, Examination]]:
        raise DoctorError("It cannot be had.")

    def cancelled(cursor: Any, _ids: tuple[int, ...]) -> Iterator[tuple[int, Examination]]:
        yield from cursor.execute("SELECT pg_sleep(30)").fetchall()

    for deeper, because in ((refused, "It cannot be had."), (cancelled, "canceling statement")):
        report = scanned(empty_db, deeper=deeper, timeout=1.0)
        assert report.findings == tuple(findings)
        assert [each.code for each in report.failed] == ["examine"]
        assert because in report.failed[0].because


def test_without_a_closer_look_the_checks_have_the_last_word(incident_db: Any) -> None:
    """`deeper` None examines nobody."""
    assert said(scanned(incident_db("quickstart-v4.1.0"), deeper=None)) == EARLY


def test_silent_rows_of_the_seeds_are_no_suspects(empty_db: str) -> None:
    """A campaign that merely looks odd is not examined at all."""
    build(empty_db, "v6.2.0")
    seed(empty_db, [*HEALTHY, silent(101, "finished", PEOPLE - 5, CEILING)])

    def never(_cursor: Any, _ids: tuple[int, ...]) -> list[tuple[int, Examination]]:
        raise AssertionError

    assert scanned(empty_db, deeper=never).findings == ()
