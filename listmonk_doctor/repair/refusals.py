"""Owns the words for what stops a repair at the database: who is in the way, which privilege is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.errors import ConnectionFailedError, DoctorError, DriftError, PrivilegeError, RefusedError
from listmonk_doctor.repair import followup_sql, guards, journal

if TYPE_CHECKING:
    import psycopg

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Change, Plan


def again(plan: Plan) -> str:
    """Say what to do after a plan has gone stale."""
    command = f"undo {plan.undoes}" if plan.undoes else f"repair {plan.campaign_id}"
    return f"Nothing was written. See what it would do now: listmonk-doctor {command}"


def drifted(differences: list[str], plan: Plan) -> DriftError:
    """Return the error that tells all differences at once."""
    return DriftError(f"{'; '.join(differences)}.", hint=again(plan))


def explained(conn: Connection, plan: Plan, schema: str, error: psycopg.Error) -> DoctorError:
    """Return what a database error means to a person; it has been rolled back."""
    from psycopg import errors

    name, said = f"Campaign {plan.campaign_id}", (error.diag.message_primary or str(error)).rstrip(".")
    hint = again(plan)
    if conn.closed or error.sqlstate is None:
        return ConnectionFailedError(f"{name}: the connection was lost before anything was committed.", hint=hint)
    if isinstance(error, errors.InsufficientPrivilege):
        grants = " ".join(grants_for(plan, schema, conn.info.user))
        return PrivilegeError(f"{name} was not written: {said}.", hint=f"The owner can grant it: {grants}")
    if isinstance(error, errors.LockNotAvailable):
        return RefusedError(f"{name}: another session has locked its row for more than 2 s.", hint=hint)
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return RefusedError(f"{name} was not written: {said}.", hint="Connect to the primary server.")
    if isinstance(error, errors.DeadlockDetected | errors.SerializationFailure | errors.QueryCanceled):
        return RefusedError(f"{name} was not written, another session was in the way: {said}.", hint=hint)
    return RefusedError(f"{name} was not written, PostgreSQL refused it: {said}.", hint=hint)


def grants_for(plan: Plan, schema: str, role: str) -> tuple[str, ...]:
    """Return the GRANTs that writing a plan needs in listmonk's schema, besides reading."""
    from psycopg import sql

    columns = sorted(guards.changed_columns(plan)) or ["status"]  # locking a row asks for one column at least
    wanted = [("UPDATE ({})".format(", ".join(columns)), "campaigns")] if plan.changes else []
    wanted += [(_privilege(change), change.table) for change in plan.changes if not _own_row(change)]
    wanted += [(f"UPDATE ({column})", table) for table, column in followup_sql.locked(plan)]
    wanted = list(dict.fromkeys(wanted)) or [("SELECT", "campaigns")]
    grants = [
        f"GRANT {what} ON {sql.Identifier(schema, table).as_string(None)} TO {journal.ident(role)};"
        for what, table in wanted
    ]
    numbered = {"lists", "campaigns", "campaign_lists"} & {table for what, table in wanted if what == "INSERT"}
    grants += [
        f"GRANT USAGE ON SEQUENCE {sql.Identifier(schema, f'{table}_id_seq').as_string(None)} TO {journal.ident(role)};"
        for table in sorted(numbered)
    ]
    return tuple(grants)


def _own_row(change: Change) -> bool:
    """Tell whether a change is an update of the campaign's own row."""
    return change.table == "campaigns" and change.before is not None and change.after is not None


def _privilege(change: Change) -> str:
    """Return the privilege that a change needs on its table."""
    if change.before is not None and change.after is not None:
        return "UPDATE ({})".format(", ".join(sorted(change.after)))
    return "INSERT" if change.before is None else "DELETE"


def another_doctor(conn: Connection) -> RefusedError:
    """Name the listmonk-doctor that has not let go of the advisory lock; to be called outside any transaction."""
    halves = {"high": journal.LOCK_KEY >> 32, "low": journal.LOCK_KEY & 0xFFFFFFFF}
    holders = guards.fetch(conn, sqlfiles.read("journal/holders.sql"), halves)
    named = ", ".join(
        f"process {pid} on the server"
        + (f" (role {role}, {application or 'no name'}, from {client}, since {since:%H:%M:%S %Z})" if since else "")
        for pid, role, application, client, since in holders
    )
    return RefusedError(
        f"Another listmonk-doctor is writing in this database: {named or 'it has just ended'}.",
        hint="Nothing was written. Try again when it is done.",
    )
