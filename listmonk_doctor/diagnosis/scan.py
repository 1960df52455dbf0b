"""Owns the scan: all checks in one snapshot, none of which can stop the others, and the report of it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.database.connection import recorded_versions
from listmonk_doctor.database.snapshot import DEFAULT_TIMEOUT, snapshot
from listmonk_doctor.diagnosis.catalogue import COLUMNS, Check, catalogue
from listmonk_doctor.diagnosis.findings import SEVERITIES, Finding, NotRun, ScanReport, Severity
from listmonk_doctor.errors import UnknownSchemaError
from listmonk_doctor.listmonk.sessions import look_at
from listmonk_doctor.listmonk.versions import NEWEST_KNOWN, OLDEST_READ, SCAN_SECONDS, Version, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from psycopg import Error

    from listmonk_doctor.database.connection import Connection, Cursor
    from listmonk_doctor.diagnosis.closer import Deeper
    from listmonk_doctor.diagnosis.report import Examination

_SAVEPOINT: Final = "SAVEPOINT listmonk_doctor_scan"
_BACK: Final = "ROLLBACK TO SAVEPOINT listmonk_doctor_scan"
_SERVER: Final = {"alive": "alive", "probably": "alive", "none": "none", "cannot-tell": "unknown"}
"""What a look at the sessions says, in the words of the checks (setting `listmonk_doctor.server`)."""


class Ran(NamedTuple):
    """What the checks gave: findings by severity and id, checks outside their versions, checks that failed."""

    findings: tuple[Finding, ...]
    skipped: tuple[NotRun, ...]
    failed: tuple[NotRun, ...]


def severity_at_least(severity: Severity, threshold: Severity) -> bool:
    """Tell whether a severity is the threshold or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(threshold)


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings as they are shown: the worst first, then by id (what is about no row last) and code."""
    return tuple(
        sorted(
            findings,
            key=lambda found: (-SEVERITIES.index(found.severity), found.id is None, found.id or 0, found.code),
        )
    )


def run_checks(
    cur: Cursor,
    version: Version,
    checks: Sequence[Check] | None = None,
    *,
    server: str = "",
    meanwhile: Callable[[], object] | None = None,
) -> Ran:
    """Run checks in the cursor's transaction, whose search_path leads to listmonk's tables, in two round trips.

    `version` is the one recorded last, `checks` those to run (None: all; `catalogue.select` chooses). `server` tells
    the checks whether a listmonk is scanning: "alive", "none", "unknown" ("": they look for themselves). `meanwhile` is
    called in a thread of its own while the server is at work. Where a check fails they are run again one by one: it
    is reported and the others go on. Only a lost session is raised.
    """
    chosen = catalogue() if checks is None else checks
    reasons = {check.code: check.not_for(version) for check in chosen}
    wanted = [check for check in chosen if reasons[check.code] is None]
    _prepare(cur, server)
    with _beside(meanwhile):
        answers = _run_together(cur, wanted) or [_run(cur, check) for check in wanted]
    return Ran(
        findings=in_order([found for answer in answers if not isinstance(answer, NotRun) for found in answer]),
        skipped=tuple(NotRun(code, because) for code, because in reasons.items() if because is not None),
        failed=tuple(answer for answer in answers if isinstance(answer, NotRun)),
    )


@contextmanager
def _beside(do: Callable[[], object] | None) -> Iterator[None]:
    """Do something in a thread of its own; its end is waited for."""
    if do is None:
        yield
        return
    thread = Thread(target=do, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _prepare(cur: Cursor, server: str) -> None:
    """Tell the checks what is known of the server, and set the point to which a failed one is undone."""
    from psycopg import sql

    cur.execute(
        sql.SQL("SELECT set_config('listmonk_doctor.server', {}, true); {}").format(
            sql.Literal(server), sql.SQL(_SAVEPOINT)
        )
    )


def _run_together(cur: Cursor, checks: Sequence[Check]) -> list[list[Finding] | NotRun]:
    """Run checks in one round trip; return nothing where one fails, which undoes them all."""
    import psycopg

    try:
        cur.execute(b"\n".join(check.sql for check in checks))
        answers = []
        for check in checks:
            answers.append(_answer(cur, check))
            cur.nextset()
    except psycopg.Error:
        if cur.connection.broken:
            raise
        cur.execute(_BACK)
        return []
    return answers


def _answer(cur: Cursor, check: Check) -> list[Finding] | NotRun:
    """Return what a check's statement gave."""
    columns = tuple(column.name for column in cur.description or ())
    if columns != COLUMNS:
        return NotRun(check.code, f"it gives {', '.join(columns)} instead of {', '.join(COLUMNS)}: a bug")
    return [Finding(check.code, check.name, check.severity, check.table, *row) for row in cur.fetchall()]


def _run(cur: Cursor, check: Check) -> list[Finding] | NotRun:
    """Run one check; what it did to the transaction when it failed is undone."""
    import psycopg

    began = time.monotonic()
    try:
        cur.execute(check.sql)
        return _answer(cur, check)
    except psycopg.Error as error:
        return NotRun(check.code, _recovered(cur, error, began))


def _recovered(cur: Cursor, error: Error, began: float) -> str:
    """Undo what a failed statement did to the transaction, and return why it failed; raise if the session is lost."""
    if cur.connection.broken:
        raise error
    cur.execute(_BACK)
    if error.sqlstate == "57014":  # query_canceled
        return f"it was cancelled after {time.monotonic() - began:.1f} s"
    return (error.diag.message_primary or str(error) or type(error).__name__).splitlines()[0]


def examine_closely(cur: Cursor, ids: tuple[int, ...]) -> Iterable[tuple[int, Examination]]:
    """Examine suspects; what that needs is imported only where there are any."""
    from listmonk_doctor.diagnosis.closer import examine_closely as closely

    return closely(cur, ids)


def _closer(
    cur: Cursor, findings: tuple[Finding, ...], deeper: Deeper | None
) -> tuple[tuple[Finding, ...], tuple[NotRun, ...], tuple[str, ...]]:
    """Look closer at what was found, if anything was: the findings, what failed, what was left out."""
    if not findings:
        return findings, (), ()
    from listmonk_doctor.diagnosis.closer import look_closer

    return look_closer(cur, findings, deeper)


def scan(  # noqa: PLR0913 - most have a default
    conn: Connection,
    schema: str,
    timeout: float = DEFAULT_TIMEOUT,
    deeper: Deeper | None = examine_closely,
    checks: Sequence[Check] | None = None,
    *,
    meanwhile: Callable[[], object] | None = None,
) -> ScanReport:
    """Run the checks over all campaigns, in one snapshot and without waiting, and look closer at the suspects.

    `schema` is listmonk's, `timeout` in seconds per statement, `checks` and `meanwhile` as for `run_checks`.
    `deeper` examines suspects (None: nobody does); what it says can only lower a finding. The report's `running` is
    False or None: one look proves no server.
    Raises DoctorError as `snapshot` does, and UnknownSchemaError for a version that is not read.
    """
    with snapshot(conn, schema=schema, timeout=timeout) as cur:
        version = _readable(recorded_versions(cur)[-1])
        look = look_at(cur, SCAN_SECONDS)
        ran = run_checks(cur, version, checks, server=_SERVER[look.standing], meanwhile=meanwhile)
        findings, failed, warnings = _closer(cur, ran.findings, deeper)
    newer = (
        (f"This listmonk ({version}) is newer than {NEWEST_KNOWN}, the newest whose behaviour is known.",)
        if version > NEWEST_KNOWN
        else ()
    )
    return ScanReport(
        version=str(version),
        running=look.running,
        findings=in_order(findings),
        skipped=ran.skipped,
        failed=(*ran.failed, *failed),
        warnings=(*newer, *warnings),
    )


def _readable(tag: str) -> Version:
    """Return the version of a tag. Raises UnknownSchemaError for one whose tables are not read."""
    version = parse(tag)
    if version < OLDEST_READ:
        raise UnknownSchemaError(
            f"This listmonk ({version}) is older than {OLDEST_READ}, the oldest that can be read.",
            hint="Upgrade listmonk first; it brings its tables up to date itself.",
        )
    return version
