"""Owns running the checks for a command, and quieting what was accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.commands._failures import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from listmonk_doctor.commands._session import Database
    from listmonk_doctor.database.connection import Cursor
    from listmonk_doctor.diagnosis.catalogue import Check
    from listmonk_doctor.diagnosis.findings import Finding, NotRun, ScanReport
    from listmonk_doctor.diagnosis.report import Examination
    from listmonk_doctor.repair.journal import Acceptance


def scanned(
    database: Database,
    checks: Sequence[Check] | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> ScanReport:
    """Scan all campaigns by these checks (None: all); what was accepted and has not moved since is info.

    `meanwhile` is called in a thread of its own while the server is at work.
    """
    from listmonk_doctor.diagnosis.scan import in_order, scan

    report = scan(
        database.conn,
        schema=database.schema,
        timeout=database.timeout,
        deeper=_closely,
        checks=checks,
        meanwhile=meanwhile,
    )
    return report._replace(findings=in_order(_accepted(database, report.findings)))


def _closely(cur: Cursor, ids: tuple[int, ...]) -> Iterator[tuple[int, Examination]]:
    """Examine suspects, and show on a terminal how far their subscriptions have been read."""
    # Only for suspects: what is imported here, a scan without them starts without.
    from listmonk_doctor.commands._progress import Bar
    from listmonk_doctor.diagnosis.closer import examine_closely

    with Bar() as bar:
        yield from examine_closely(cur, ids, bar)


def findings_of(database: Database, seen: Examination) -> ScanReport:
    """Run all checks, and return what they say of one campaign that was examined."""
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.diagnosis.closer import settle
    from listmonk_doctor.diagnosis.findings import ScanReport
    from listmonk_doctor.diagnosis.scan import run_checks

    server = {True: "alive", False: "none", None: "unknown"}[seen.running]
    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
        ran = run_checks(cursor, database.version, server=server)
    mine = [settle(each, seen) for each in ran.findings if (each.table, each.id) == ("campaigns", seen.campaign.id)]
    return ScanReport(
        seen.version,
        seen.running,
        tuple(_accepted(database, mine)),
        skipped=ran.skipped,
        failed=ran.failed,
    )


def tell_failed(failed: Sequence[NotRun]) -> None:
    """Say on stderr which checks failed: what they would have found is missing, and is not called well."""
    for each in failed:
        say(f"Error: the check {each.code} failed, so what it finds is not known: {each.because}")


def _accepted(database: Database, findings: Sequence[Finding]) -> Sequence[Finding]:
    """Return findings, those about accepted campaigns whose row has not moved as info, with the reason.

    Where the journal is there and may not be read, all stay as loud as they are, and stderr says so.
    """
    loud = {each.id for each in findings if each.table == "campaigns" and each.severity != "info"}
    if not loud:
        return findings
    from listmonk_doctor.repair import journal

    if journal.state(database.conn) == "unreadable":
        grants = journal.read_grants(database.conn.info.user)
        say(f"Note: acknowledgements cannot be read, so what was accepted is reported: {grants}")
        return findings
    known = journal.accepted(database.conn, database.schema)
    if not known:
        return findings
    holding = _holding(database, {each: of for each, of in known.items() if each in loud})
    return [
        each._replace(severity="info", detail=f"{each.detail} Accepted: {holding[each.id].reason}")
        if each.table == "campaigns" and each.id in holding and each.severity != "info"
        else each
        for each in findings
    ]


def _holding(database: Database, known: dict[int, Acceptance]) -> dict[int | None, Acceptance]:
    """Return the acknowledgements that still hold: not run out, and the row is as it was."""
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.listmonk.facts import read_campaigns
    from listmonk_doctor.repair import guards

    if not known:
        return {}
    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
        rows = read_campaigns(cursor, list(known))
        now = cursor.execute("SELECT clock_timestamp()").fetchall()[0][0]
    return {
        each: of
        for each, of in known.items()
        if each in rows and rows[each].uuid == of.campaign_uuid and of.holds(guards.row_of(rows[each]), now)
    }
