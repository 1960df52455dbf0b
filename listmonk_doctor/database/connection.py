"""Owns the session with the database, and finding listmonk's tables and recorded versions in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.errors import PrivilegeError, UnknownSchemaError

if TYPE_CHECKING:
    from typing import TypeAlias

    import psycopg

    from listmonk_doctor.database.sources import Target

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
    Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]

CONNECT_TIMEOUT: Final = 10
"""Seconds to wait for a server that does not answer, where the source names no other figure."""
APPLICATION_NAME: Final = "listmonk-doctor"
ESSENTIAL: Final = frozenset(
    {"campaigns", "subscribers", "subscriber_lists", "lists", "campaign_lists", "settings"},
)
"""A schema with all of these tables is taken for a listmonk's."""


def connect(
    target: Target,
    *,
    autocommit: bool = True,
    application_name: str = APPLICATION_NAME,
) -> Connection:
    """Open a session.

    An application_name or connect_timeout in the source is kept. Nothing is prepared on the server, and
    nothing is set for the session but the encoding, and ISO as the style of dates where the database or the
    role has another: poolers keep track of both, so that one in transaction mode is no obstacle.
    Raises ConnectionFailedError (or PrivilegeError) with one sentence and no password.
    """
    import psycopg

    from listmonk_doctor.database.failures import at_connect

    defaults = {"application_name": application_name, "client_encoding": "UTF8"}
    if not os.environ.get("PGCONNECT_TIMEOUT"):
        defaults["connect_timeout"] = str(CONNECT_TIMEOUT)
    parameters: dict[str, Any] = defaults | target.conninfo
    try:
        conn = psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
        _read_dates(conn)
    except psycopg.Error as error:
        # The original is left out of the chain: it may quote the parameters.
        raise at_connect(error, target) from None
    conn.autocommit = autocommit
    return conn


def _read_dates(conn: Connection) -> None:
    """Set the style of dates that can be read, where the session begins with another (ALTER DATABASE ... SET)."""
    style = conn.info.parameter_status("DateStyle") or ""
    if not style.startswith("ISO"):
        conn.execute("SET DateStyle = 'ISO'")


def find_schema(conn: Connection, wanted: str | None = None) -> str:
    """Return the schema that holds listmonk's tables.

    `wanted` if given; else the first on the search_path that has them; else the only one in the database
    that has. Raises UnknownSchemaError where there is none, or several off the search_path, and
    PrivilegeError with the exact GRANT where the role may not read them.
    """
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.database.sqlfiles import read

    with snapshot(conn, schema=None) as cursor:
        rows = cursor.execute(read("facts/schemas.sql")).fetchall()
        database, role = cursor.execute("SELECT current_database(), current_user").fetchall()[0]
    whole = {row[0]: row for row in rows if set(row[3]) >= ESSENTIAL}
    chosen = _choose(whole, rows, wanted, database)
    _, _, usage, _, unreadable = whole[chosen]
    if not usage or set(unreadable) & ESSENTIAL:
        raise _not_readable(chosen, role, unreadable, usage=usage)
    return chosen


def _choose(whole: dict[str, Any], rows: list[tuple[Any, ...]], wanted: str | None, database: str) -> str:
    """Return the name of the schema that is meant."""
    others = ", ".join(sorted(whole))
    if wanted is not None:
        if wanted in whole:
            return wanted
        raise UnknownSchemaError(
            f'The schema "{wanted}" of the database "{database}" has no listmonk tables.',
            hint=f"They are in: {others}." if whole else _none_hint(rows),
        )
    on_path = sorted((row[1], name) for name, row in whole.items() if row[1] is not None)
    if on_path:
        return str(on_path[0][1])
    if len(whole) == 1:
        return next(iter(whole))
    if whole:
        raise UnknownSchemaError(
            f'The database "{database}" has listmonk tables in several schemas: {others}.',
            hint="Say which one is meant with --schema NAME.",
        )
    raise UnknownSchemaError(f'The database "{database}" has no listmonk tables.', hint=_none_hint(rows))


def _none_hint(rows: list[tuple[Any, ...]]) -> str:
    """Say what comes closest to a listmonk, if anything does."""
    partial = [(name, ESSENTIAL - set(tables)) for name, _, _, tables, _ in rows]
    name, missing = min(partial, key=lambda entry: len(entry[1]), default=("", ESSENTIAL))
    if missing and len(missing) <= len(ESSENTIAL) // 2:
        return f'The schema "{name}" has some of them; missing: {", ".join(sorted(missing))}.'
    return "Is it the right database? listmonk's own is named in its configuration as db.database."


def _not_readable(schema: str, role: str, unreadable: list[str], *, usage: bool) -> PrivilegeError:
    """Return the error with the GRANT lines that are missing, for all tables that are read."""
    from psycopg import sql

    whom = sql.Identifier(role)
    grants: list[sql.Composed] = []
    if not usage:
        grants.append(sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(sql.Identifier(schema), whom))
    if unreadable:
        tables = sql.SQL(", ").join(sql.Identifier(schema, table) for table in sorted(unreadable))
        grants.append(sql.SQL("GRANT SELECT ON {} TO {};").format(tables, whom))
    return PrivilegeError(
        f'The role "{role}" may not read listmonk\'s tables in the schema "{schema}".',
        hint="Have the owner run: " + " ".join(grant.as_string() for grant in grants),
    )


def recorded_versions(cursor: Cursor) -> tuple[str, ...]:
    """Return the versions that listmonk's migrations recorded, oldest first, as it wrote them ("v4.1.0").

    The cursor's search_path must lead to listmonk's schema (`snapshot`). Raises UnknownSchemaError where
    nothing readable is recorded.
    """
    row = cursor.execute("SELECT value::text FROM settings WHERE key = 'migrations'").fetchone()
    try:
        recorded = json.loads(row[0]) if row is not None and row[0] is not None else None
    except ValueError:
        recorded = None
    if not isinstance(recorded, list) or not recorded or not all(isinstance(tag, str) for tag in recorded):
        raise UnknownSchemaError(
            "The version of this listmonk cannot be read.",
            hint="`settings` has no row with the key 'migrations' that holds a list like [\"v4.1.0\"]: "
            "is the installation complete?",
        )
    return tuple(recorded)
