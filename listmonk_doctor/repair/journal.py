"""Owns the journal: the schema `listmonk_doctor`, in which every run is recorded in the transaction that applied it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.errors import PrivilegeError, RefusedError, UnknownSchemaError
from listmonk_doctor.repair import guards, planfile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from psycopg.sql import Composable, Composed

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Plan

SCHEMA: Final = "listmonk_doctor"
"""The journal's schema, the same in every database."""
LOCK_KEY: Final = int.from_bytes(b"lmdoctor", "big")
"""The advisory lock that lets one listmonk-doctor write at a time in a database."""

State = Literal["missing", "unreadable", "readable", "writable"]
_TABLES: Final = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One campaign of one run. `row_before` and `row_after` hold all progress columns as JSON values.

    `undoes` is the run that this entry took back; `undone_by` and `undone_at` tell which run took this one back.
    """

    run: str
    schema: str
    campaign_id: int
    campaign_uuid: str
    campaign_name: str
    strategy: str
    prefer: str | None
    reason: str
    changes: tuple[Mapping[str, Any], ...]
    price: Mapping[str, Any]
    document: Mapping[str, Any]
    row_before: Mapping[str, Any]
    row_after: Mapping[str, Any]
    undoes: str | None
    version: str
    applied_at: datetime
    applied_by: str
    client: str
    undone_by: str | None
    undone_at: datetime | None

    @property
    def plan(self) -> Plan:
        """The plan that was applied. Raises UsageError where what is stored is no plan of this program."""
        return planfile.from_json(self.document)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A campaign whose findings were acknowledged: `until` a moment (None: for good) and while its row stays."""

    campaign_id: int
    campaign_uuid: str
    run: str
    reason: str
    until: datetime | None
    fingerprint: str
    accepted_by: str
    accepted_at: datetime

    def holds(self, row: Mapping[str, Any], now: datetime) -> bool:
        """Tell whether it still holds for a campaign's progress row (see `guards.row_of`) at a moment."""
        return (self.until is None or now < self.until) and guards.fingerprint(row) == self.fingerprint


@dataclass(frozen=True, slots=True)
class Former:
    """What a repair that was not taken back overwrote: the counter and the cursor as they were found."""

    run: str
    applied_at: datetime
    strategy: str
    status: str
    sent: int
    last_subscriber_id: int
    to_send: int
    max_subscriber_id: int


def state(conn: Connection) -> State:
    """Tell whether the journal exists and what this role may do with it; never fails for want of a privilege."""
    rows = guards.fetch(conn, sqlfiles.read("journal/state.sql"))
    if not rows:
        return "missing"
    usable, tables, readable, writable = rows[0]
    if not usable:
        return "unreadable"
    if tables < _TABLES:
        return "missing"
    if not readable:
        return "unreadable"
    return "writable" if writable else "readable"


def prepare(conn: Connection) -> None:
    """Create the journal where it is missing, in the transaction that is open.

    Raises PrivilegeError, whose hint holds the exact GRANT, where this role may not create or not write it.
    """
    from psycopg import errors

    found = state(conn)
    if found == "missing":
        try:
            conn.execute(sqlfiles.read("journal/create.sql"))
        except errors.InsufficientPrivilege as error:
            raise _may_not_create(conn) from error
    elif found != "writable":
        raise PrivilegeError(
            f"The role {conn.info.user} may not write the journal, and nothing is applied without an entry in it.",
            hint=f"Its owner can grant it: {use_grants(conn.info.user)} Or give the script of --sql to a DBA.",
        )


def _may_not_create(conn: Connection) -> PrivilegeError:
    """Say which GRANT creates the journal."""
    role, database = conn.info.user, conn.info.dbname
    return PrivilegeError(
        f"The role {role} may not create the journal's schema {SCHEMA}, and nothing is applied without an entry in it.",
        hint=(
            f"The database's owner can grant it: GRANT CREATE ON DATABASE {ident(database)} TO {ident(role)}; "
            f"or create the schema by hand (sql/journal/create.sql) and grant its use: {use_grants(role)} "
            "Or give the script of --sql to a DBA."
        ),
    )


def use_grants(role: str) -> str:
    """Return the GRANTs with which a role may write a journal that somebody else created."""
    return (
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ident(role)}; "
        f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {SCHEMA} TO {ident(role)};"
    )


def read_grants(role: str) -> str:
    """Return the GRANTs with which a role may read the journal."""
    whom = ident(role)
    return f"GRANT USAGE ON SCHEMA {SCHEMA} TO {whom}; GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO {whom};"


def ident(name: str) -> str:
    """Return a name quoted as an SQL identifier."""
    from psycopg import sql

    return sql.Identifier(name).as_string(None)


def record(  # noqa: PLR0913 - one argument per fact
    plan: Plan,
    *,
    run: str,
    schema: str,
    version: str,
    row_before: Composable,
    row_after: Composable,
) -> Composed:
    """Return the INSERT of a plan's entry; the rows are SQL expressions, for a script does not know them beforehand.

    For an `accept` that is not an undo, the acknowledgement is inserted by `acknowledge`.
    """
    from psycopg import sql
    from psycopg.types.json import Jsonb

    document = planfile.to_json(plan)
    values: dict[str, Composable] = {
        "run": sql.Literal(run),
        "listmonk_schema": sql.Literal(schema),
        "campaign_id": sql.Literal(plan.campaign_id),
        "campaign_uuid": sql.Literal(plan.campaign_uuid),
        "campaign_name": sql.Literal(plan.campaign_name),
        "listmonk_version": sql.Literal(plan.listmonk_version),
        "strategy": sql.Literal(plan.strategy),
        "prefer": sql.Literal(plan.prefer),
        "reason": sql.Literal(plan.reason),
        "changes": sql.Literal(Jsonb(document["changes"])),
        "price": sql.Literal(Jsonb(document["price"])),
        "plan": sql.Literal(Jsonb(document)),
        "row_before": row_before,
        "row_after": row_after,
        "undoes": sql.Literal(plan.undoes),
        "doctor_version": sql.Literal(version),
    }
    return _insert("entries", values)


def acknowledge(plan: Plan, *, run: str, row: Mapping[str, Any]) -> Composed:
    """Return the INSERT of an acknowledgement of a campaign whose progress row is `row`.

    The plan's guard `until` (ISO 8601, None: for good) says how long it holds.
    """
    from psycopg import sql

    values: dict[str, Composable] = {
        "run": sql.Literal(run),
        "campaign_id": sql.Literal(plan.campaign_id),
        "reason": sql.Literal(plan.reason),
        "until": sql.Literal(plan.guards.get("until")),
        "fingerprint": sql.Literal(guards.fingerprint(row)),
    }
    return _insert("accepted", values)


def _insert(table: str, values: Mapping[str, Composable]) -> Composed:
    """Return an INSERT of one row into a table of the journal."""
    from psycopg import sql

    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(SCHEMA, table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(values.values()),
    )


def history(conn: Connection, schema: str) -> tuple[Entry, ...]:
    """Return the entries for the listmonk in a schema, newest first; none where nothing was ever applied.

    Raises PrivilegeError where this role may not read the journal.
    """
    found = state(conn)
    if found == "missing":
        return ()
    if found == "unreadable":
        raise PrivilegeError(
            f"The role {conn.info.user} may not read the journal.",
            hint=f"Its owner can grant it: {read_grants(conn.info.user)}",
        )
    return tuple(entry for entry in map(_entry, _read(conn, "journal/history.sql")) if entry.schema == schema)


def _read(conn: Connection, file: str) -> list[tuple[Any, ...]]:
    """Read the journal. Raises UnknownSchemaError where its tables are not those of this program."""
    from psycopg import errors

    try:
        return guards.fetch(conn, sqlfiles.read(file))
    except errors.UndefinedColumn as error:
        raise UnknownSchemaError(
            f"The journal in the schema {SCHEMA} is not one that this version can read.",
            hint="Was it written by another version of listmonk-doctor? Use that one.",
        ) from error


def _entry(row: tuple[Any, ...]) -> Entry:
    """Make an Entry of a row of journal/history.sql, whose columns stand in this order."""
    values = list(row)
    values[8] = tuple(values[8])
    return Entry(*values)


def entry(conn: Connection, schema: str, run: str) -> tuple[Entry, ...]:
    """Return the entries of one run, by campaign; a unique beginning of the run's uuid (8 characters) is enough.

    Raises RefusedError where there is no such run, or several.
    """
    wanted = run.strip().lower()
    found = [each for each in history(conn, schema) if each.run == wanted]
    if not found and len(wanted) >= 8:  # noqa: PLR2004 - as many as `history` prints
        found = [each for each in history(conn, schema) if each.run.startswith(wanted)]
    if len({each.run for each in found}) != 1:
        raise RefusedError(
            f"The journal has {'several runs that begin' if found else 'no run that begins'} with {run[:40]}.",
            hint="`listmonk-doctor history` lists the runs.",
        )
    return tuple(sorted(found, key=lambda each: each.campaign_id))


def accepted(conn: Connection, schema: str) -> dict[int, Acceptance]:
    """Return the newest acknowledgement of each campaign that has one, by campaign id.

    Empty where there is no journal or this role may not read it (`state` tells); `Acceptance.holds` must be asked.
    """
    if state(conn) not in ("readable", "writable"):
        return {}
    found: dict[int, Acceptance] = {}
    for listmonk_schema, *rest in _read(conn, "journal/accepted.sql"):
        if listmonk_schema == schema:
            found.setdefault(rest[0], Acceptance(*rest))
    return found


def former(conn: Connection, schema: str, campaign_id: int, campaign_uuid: str) -> tuple[Former, ...]:
    """Return what repairs of a campaign overwrote in `sent` or the cursor, newest first.

    Undos, and repairs that were taken back, are left out: the row itself holds those figures. Empty where there is
    no journal or this role may not read it.
    """
    if state(conn) not in ("readable", "writable"):
        return ()
    return tuple(
        Former(
            run=each.run,
            applied_at=each.applied_at,
            strategy=each.strategy,
            **{name: each.row_before[name] for name in Former.__slots__[3:]},
        )
        for each in history(conn, schema)
        if (each.campaign_id, each.campaign_uuid) == (campaign_id, campaign_uuid)
        and each.undoes is None
        and each.undone_by is None
        and any(each.row_before[name] != each.row_after[name] for name in ("sent", "last_subscriber_id"))
    )
