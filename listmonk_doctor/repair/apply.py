"""Owns writing plans: one short transaction per campaign, in which everything that a plan rests on is compared again.

The order within a transaction keeps listmonk from waiting. What takes time comes first and without a lock on any row:
one doctor at a time (advisory lock), the journal, the comparison with what the plan saw, the price made anew, the
server looked at. Only then is the campaign's row locked, and between that and COMMIT lie a few statements of a
millisecond each: compare once more, write, verify, journal.

The isolation level is READ COMMITTED. With REPEATABLE READ every comparison would read a snapshot that is as old as the
transaction, and a row that another session wrote while we waited for its lock would be an error without figures; here
what is read after the lock is what is there. That the price was made of several snapshots does no harm: it lies between
two comparisons of row, settings and audience with one and the same plan. People who join or leave between the second
comparison and COMMIT, a moment later, cannot be told from those who do so right after it.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import (
    ConnectionFailedError,
    DoctorError,
    DriftError,
    ExitCode,
    RefusedError,
    UsageError,
)
from listmonk_doctor.repair import (
    allowed,
    followup_sql,
    followup_undo,
    guards,
    journal,
    refusals,
    script,
    statements,
    undo,
)
from listmonk_doctor.repair.opening import opening
from listmonk_doctor.repair.plan import ROW_LEFT_ALONE
from listmonk_doctor.repair.undofile import UndoFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from psycopg.types.json import Jsonb

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.guards import Row
    from listmonk_doctor.repair.plan import Plan

    Reprice = Callable[[Connection, Plan], Plan | None]
    CheckServer = Callable[[Connection, Plan], None]
    ReadAudience = Callable[[Connection, Plan], Mapping[str, Any]]

WRITING_TIMEOUT: Final = "5s"
"""Once the row is locked, listmonk waits for it; but not for one that stays as it is, and that nobody is sending."""
_UNKNOWN: Final = "The connection broke while campaign {} was being committed: whether it was written is not known."


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one plan: `applied` (committed), or the error that says why nothing was written."""

    plan: Plan
    applied: bool
    error: DoctorError | None = None

    @property
    def refused(self) -> str:
        """Why nothing was written ("" where it was)."""
        return self.error.message if self.error else ""


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What became of a run: `run` is its UUID in the journal; `undo_file` the script, if anything was written."""

    run: str
    campaigns: tuple[Applied, ...]
    undo_file: Path | None = None

    @property
    def code(self) -> ExitCode:
        """OK only if every plan was applied; a partial success is not."""
        return ExitCode.OK if all(each.applied for each in self.campaigns) else ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class _Job:
    """What is the same for all plans of a run."""

    run: str
    schema: str
    version: str
    reprice: Reprice
    check_server: CheckServer
    audience: ReadAudience
    undo_file: UndoFile


def apply(  # noqa: PLR0913 - what only the caller knows
    conn: Connection,
    plans: Sequence[Plan],
    *,
    schema: str,
    reprice: Reprice,
    check_server: CheckServer,
    audience: ReadAudience,
    undo_out: Path | None,
    version: str,
) -> ApplyResult:
    """Write plans, one transaction per campaign, all as one run of the journal; say of each what became of it.

    `conn` must be in autocommit mode and idle. `schema` is listmonk's, `version` this program's. Within the
    transaction, its search_path set and in UTC, these are called:
    `reprice(conn, plan)` makes the plan anew (None: its strategy can no longer be defended);
    `audience(conn, plan)` reads today's audience as the guard `audience` has it, count and digest (called twice);
    `check_server(conn, plan)` raises a DoctorError if the row may not be written now (not called for a plan without
    changes). None of them may end the transaction.
    `undo_out`: a folder or a new file for the undo script, None for none.

    A refusal is not raised but returned, so that a partial success is reported. Raises UsageError for plans that
    touch what no plan may touch, before anything is written.
    """
    from psycopg.pq import TransactionStatus

    if not conn.autocommit or conn.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN):
        raise RuntimeError("applying needs a connection in autocommit mode that is in no transaction")
    for plan in plans:
        allowed.check(plan)
    if len({plan.campaign_id for plan in plans}) != len(plans):
        raise UsageError("Two plans are for the same campaign.", hint="Apply one after the other.")
    run = str(uuid.uuid4())
    job = _Job(run, schema, version, reprice, check_server, audience, UndoFile(undo_out, run))
    done: list[Applied] = []
    try:
        for plan in plans:
            done.append(_one(conn, plan, job))  # noqa: PERF401 - what is done stays in the list if the next one breaks
    except BaseException as error:
        written = [str(each.plan.campaign_id) for each in done if each.applied]
        if written:
            error.add_note(f"Before that, run {run} was applied to campaign {', '.join(written)}.")
        raise
    return ApplyResult(run, tuple(done), job.undo_file.path if job.undo_file.scripts else None)


def _one(conn: Connection, plan: Plan, job: _Job) -> Applied:
    """Apply one plan and turn every failure that can be explained into a value."""
    import psycopg

    if conn.closed:
        lost = ConnectionFailedError(
            "The connection was lost before this campaign's turn.", hint="Nothing was written."
        )
        return Applied(plan, applied=False, error=lost)
    try:
        _transaction(conn, plan, job)
    except DoctorError as error:
        return Applied(plan, applied=False, error=error)
    except psycopg.Error as error:
        return Applied(plan, applied=False, error=refusals.explained(conn, plan, job.schema, error))
    return Applied(plan, applied=True)


def _transaction(conn: Connection, plan: Plan, job: _Job) -> None:
    """Run one transaction from BEGIN to COMMIT; nothing is left behind by one that fails."""
    import psycopg

    kept = job.undo_file.scripts
    try:
        conn.execute(opening(job.schema))
        _inside(conn, plan, job)
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            conn.execute("ROLLBACK")
        job.undo_file.take_back(kept)
        raise
    try:
        conn.execute("COMMIT")
    except psycopg.OperationalError as error:
        if conn.closed:  # the undo script stays: it refuses a row that is not as the repair left it
            raise ConnectionFailedError(
                _UNKNOWN.format(plan.campaign_id), hint=f"`listmonk-doctor history` tells: look for run {job.run}."
            ) from error
        job.undo_file.take_back(kept)
        raise
    except psycopg.Error:
        job.undo_file.take_back(kept)
        raise


def _inside(conn: Connection, plan: Plan, job: _Job) -> None:
    """Do everything between BEGIN and COMMIT, in the order that this module's first comment explains."""
    from psycopg import sql

    _take_turn(conn)
    journal.prepare(conn)
    if plan.undoes:
        undo.refuse_unless_open(conn, job.schema, plan)
    seen = guards.read_row(conn, job.schema, plan.campaign_id)
    differences = guards.row_differences(plan, seen)
    if seen is None or seen.uuid != plan.campaign_uuid:
        raise refusals.drifted(differences, plan)
    _stop_if(differences + _surroundings(conn, plan, job) + _audience(conn, plan, job), plan)
    _price_again(conn, plan, job)
    _stop_if(_audience(conn, plan, job), plan)
    if plan.changes and not plan.undoes:
        job.undo_file.add(script.undo_script(plan, job.schema, run=job.run, version=job.version))
    if plan.changes:
        conn.execute("SELECT pg_stat_clear_snapshot()")  # else a second look in a transaction sees the first
        job.check_server(conn, plan)
    before = _lock(conn, plan, job, seen)
    for change in plan.changes:
        touched = conn.execute(statements.statement(change, job.schema)).rowcount
        if touched != followup_sql.expected(change):
            raise DriftError(f"{followup_sql.why(change)}.", hint=refusals.again(plan))
    after = _verified(conn, plan, job, before)
    row_before, row_after = (sql.Literal(_json(row)) for row in (before, after))
    conn.execute(
        journal.record(
            plan, run=job.run, schema=job.schema, version=job.version, row_before=row_before, row_after=row_after
        )
    )
    if plan.strategy == "accept" and not plan.undoes:
        conn.execute(journal.acknowledge(plan, run=job.run, row=after.progress))


def _json(row: Row) -> Jsonb:
    """Wrap a progress row for a jsonb column."""
    from psycopg.types.json import Jsonb

    return Jsonb(dict(row.progress))


def _take_turn(conn: Connection) -> None:
    """Wait until no other listmonk-doctor writes in this database. Raises RefusedError that names the other."""
    from psycopg import errors, sql

    try:
        conn.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(sql.Literal(journal.LOCK_KEY)))
    except errors.LockNotAvailable as error:
        conn.execute("ROLLBACK")
        raise refusals.another_doctor(conn) from error


def _stop_if(differences: list[str], plan: Plan) -> None:
    """Raise DriftError with all differences, if there are any."""
    if differences:
        raise refusals.drifted(differences, plan)


def _surroundings(conn: Connection, plan: Plan, job: _Job) -> list[str]:
    """Compare lists, settings and version with what the plan saw."""
    lists = guards.read_lists(conn, job.schema, plan.campaign_id)
    return [
        *followup_undo.obstacles(conn, plan),
        *guards.lists_differences(plan, lists),
        *guards.settings_differences(plan, *guards.read_settings(conn, job.schema)),
    ]


def _audience(conn: Connection, plan: Plan, job: _Job) -> list[str]:
    """Compare today's audience with what the plan saw, if it saw one."""
    if not plan.guards.get("audience"):
        return []
    return guards.audience_differences(plan, job.audience(conn, plan))


def _price_again(conn: Connection, plan: Plan, job: _Job) -> None:
    """Make the plan anew; refuse if it would do something else, or if it got dearer."""
    anew = job.reprice(conn, plan)
    if anew is None:
        raise RefusedError(
            f"Campaign {plan.campaign_id}: {plan.strategy} can no longer be defended as it was planned.",
            hint=refusals.again(plan),
        )
    _stop_if(followup_undo.moved(plan, anew), plan)
    if statements.changes_text(anew, job.schema) != statements.changes_text(plan, job.schema):
        raise DriftError(
            f"Campaign {plan.campaign_id}: the same repair would change other columns or values now.",
            hint=refusals.again(plan),
        )
    _stop_if([f"campaign {plan.campaign_id}: {each}" for each in guards.price_differences(plan, anew)], plan)


def _lock(conn: Connection, plan: Plan, job: _Job, seen: Row) -> Row:
    """Lock the campaign's row, and compare it and the settings once more; from here on listmonk may be waiting."""
    from psycopg import sql

    if plan.strategy not in ROW_LEFT_ALONE:
        conn.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(WRITING_TIMEOUT)))
    columns = guards.changed_columns(plan)
    row = guards.read_row(conn, job.schema, plan.campaign_id, changed=columns, lock=bool(plan.changes))
    for lock in followup_sql.locks(plan):
        conn.execute(lock)
    _stop_if(guards.row_differences(plan, row) + _surroundings(conn, plan, job), plan)
    assert row is not None  # noqa: S101 - a missing row is a difference
    if plan.changes and guards.still(plan) and row.xmin != seen.xmin:
        raise DriftError(
            f"campaign {plan.campaign_id}: its row was written again while the plan was being applied: a pipe may be "
            "open on it.",
            hint=f"Pause it and wait until it has drained, or stop listmonk. {refusals.again(plan)}",
        )
    return row


def _verified(conn: Connection, plan: Plan, job: _Job, before: Row) -> Row:
    """Read the row back: it must differ from `before` in the changed columns and in nothing else."""
    row = guards.read_row(conn, job.schema, plan.campaign_id, changed=guards.changed_columns(plan))
    wanted = guards.normal({**before.progress, **statements.after(plan)})
    if row is None or guards.normal(row.progress) != wanted or row.rest != before.rest:
        raise RefusedError(
            f"Writing campaign {plan.campaign_id} changed columns that were not shown, so it was taken back.",
            hint="Is there a trigger on the table campaigns?",
        )
    return row
