"""Owns the server's extensions that show its log and its pages: whether they may be used, and making one to look."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.errors import PrivilegeError

if TYPE_CHECKING:
    from psycopg import Cursor

TRACES: Final = (
    "{names} was made to look and taken back with its transaction: no extension stays, but 13 to 110 kB of log (up to "
    "400 right after a checkpoint) and some dozen dead rows in the server's catalogs do"
)
"""What --allow-extension leaves behind where an extension had to be made."""


class Kind(NamedTuple):
    """An extension: the functions that are used, since which major and version they are there, and who may use them."""

    name: str
    functions: tuple[str, ...]
    major: int
    version: str
    superuser: bool
    signatures: str
    shows: str


WALINSPECT: Final = Kind(
    "pg_walinspect",
    ("pg_get_wal_block_info", "pg_get_wal_records_info"),
    16,
    "1.1",
    superuser=False,
    signatures=("{0}.pg_get_wal_block_info(pg_lsn, pg_lsn, boolean), {0}.pg_get_wal_records_info(pg_lsn, pg_lsn)"),
    shows="the log",
)
PAGEINSPECT: Final = Kind(
    "pageinspect",
    ("get_raw_page",),
    14,
    "1.9",
    superuser=True,
    signatures="{0}.get_raw_page(text, text, bigint)",
    shows="old versions on the table's pages",
)


@dataclass(frozen=True, slots=True)
class Extension:
    """What can be done with an extension: `place` is its schema, "" where it must be `made` first.

    `why` says why it cannot be used, with the exact way; "" where it can, as far as that is known without trying.
    """

    kind: Kind
    place: str
    why: str

    @property
    def made(self) -> bool:
        """Whether it has to be made first."""
        return not self.place and not self.why


def extension(cursor: Cursor[Any], kind: Kind) -> Extension:
    """Look whether an extension can be used; raises and logs nothing."""
    cursor.execute(sqlfiles.read("facts/log-extension.sql"), {"name": kind.name, "names": list(kind.functions)})
    version, place, offered, usable, superuser, standby, major, role, _database = cursor.fetchall()[0]
    name, why = kind.name, ""
    if major < kind.major:
        why = f"{name} shows what is needed from PostgreSQL {kind.major} on, and this is {major}"
    elif kind.superuser and not superuser:
        why = f"only a superuser may look at pages with {name}, and {role} is none"
    elif place and _number(version) < _number(kind.version):
        why = f"the installed {name} {version} is too old; a superuser can: ALTER EXTENSION {name} UPDATE"
    elif place and not usable:
        schema = _quoted(place)
        grants = (f"USAGE ON SCHEMA {schema}", f"EXECUTE ON FUNCTION {kind.signatures.format(schema)}")
        words = "; ".join(f"GRANT {each} TO {role}" for each in grants)
        why = f"the role {role} may not use {name}; a superuser can allow it: {words}"
    elif not place and not offered:
        why = f"{name} is not among the server's extensions; its package is postgresql-contrib"
    elif not place and standby:
        why = f"{name} is not installed, and a standby cannot make it; on the primary: CREATE EXTENSION {name}"
    return Extension(kind, place, why)


def ready(cursor: Cursor[Any], found: Extension) -> Extension:
    """Make an extension in the cursor's transaction, which must be one that is rolled back.

    Raises PrivilegeError with the server's own message where it may not be made, or where it was made meanwhile by
    another session, which the transaction cannot see.
    """
    import psycopg
    from psycopg import sql

    if not found.made:
        return found
    name = found.kind.name
    try:
        with cursor.connection.transaction():
            # Somebody else may have made it meanwhile; that is no error.
            cursor.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        if cursor.connection.broken:
            raise
        denied = isinstance(error, psycopg.errors.InsufficientPrivilege)
        way = f"; a superuser can: {_allow(cursor, found.kind)}" if denied else ""
        raise PrivilegeError(f'{name} cannot be made here: the server says "{said(error)}"{way}.') from error
    now = extension(cursor, found.kind)
    if now.made:  # the transaction sees what it made itself, and not what others made since it began
        raise PrivilegeError(f"{name} was made by another session just now; the next look can use it.")
    return now


def said(error: Any) -> str:
    """Return the server's own message, in one line."""
    return " ".join(str(error.diag.message_primary or error).split())


def statement(file: str, place: str) -> bytes:
    """Return a statement with the functions of an extension where they are installed; in the file: in public."""
    return sqlfiles.read(file).replace(b"public.", f"{_quoted(place)}.".replace("%", "%%").encode())


def _allow(cursor: Cursor[Any], kind: Kind) -> str:
    cursor.execute("SELECT quote_ident(current_user)")
    role = cursor.fetchall()[0][0]
    functions = kind.signatures.replace("{0}.", "")
    return f"CREATE EXTENSION {kind.name}; GRANT EXECUTE ON FUNCTION {functions} TO {role}"


def _quoted(name: str) -> str:
    from psycopg import sql

    return sql.Identifier(name).as_string()


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version))
