"""Owns turning the database's errors into one sentence and a hint: none of libpq's noise, no password."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.errors import ConnectionFailedError, DoctorError, PrivilegeError, UnknownSchemaError

if TYPE_CHECKING:
    import psycopg

    from listmonk_doctor.database.sources import Target

_LONGEST: Final = 200
"""Characters of a server's message that are passed on."""
_WHERE_TO_PUT: Final = "Put it into ~/.pgpass or PGPASSWORD, or correct the source that was used ({origin})."


class _Failure(NamedTuple):
    """A pattern of messages (in English; others get the server's own words), the sentence, the hint."""

    pattern: str
    sentence: str
    hint: str
    kind: type[DoctorError] = ConnectionFailedError


_AT_CONNECT: Final = (
    _Failure(
        r"password authentication failed",
        "{place} refused the password of the role {role}.",
        _WHERE_TO_PUT,
    ),
    _Failure(
        r"no password supplied|empty password",
        "{place} asks for a password for the role {role}, and none was given.",
        _WHERE_TO_PUT,
    ),
    _Failure(
        r"(peer|ident|gssapi|cert\w*|ldap|pam|radius) authentication failed",
        "{place} does not accept the role {role} from this system user.",
        "Name a role and a host (--dsn postgresql://ROLE@localhost/DATABASE), or run as its system user.",
    ),
    _Failure(
        r"no pg_hba\.conf entry.*no encryption",
        "{place} does not let the role {role} in without encryption.",
        "Try sslmode=require, or ask the administrator for a line in pg_hba.conf.",
    ),
    _Failure(
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "{place} does not let the role {role} in from this machine.",
        "The server's pg_hba.conf has no line for this role, database and address.",
    ),
    _Failure(
        r"FATAL:.*database .* does not exist",
        "{place} has no database {database}.",
        "Named by: {origin}.",
    ),
    _Failure(r"FATAL:.*role .* does not exist", "{place} has no role {role}.", "Named by: {origin}."),
    _Failure(
        r"permission denied for database",
        "The role {role} may not connect to the database {database}.",
        "Have the owner run: GRANT CONNECT ON DATABASE {database_quoted} TO {role_quoted};",
        PrivilegeError,
    ),
    _Failure(
        r"too many (clients|connections)|connection slots are reserved|no more connections allowed",
        "{place} has no free connection left.",
        "Try again, or raise max_connections; listmonk's own share is db.max_open in its configuration.",
    ),
    _Failure(
        r"server does not support SSL|SSL was required",
        "{place} does not offer TLS, which was asked for.",
        "Use sslmode=prefer if the network can be trusted, or switch TLS on at the server.",
    ),
    _Failure(
        r"certificate|SSL error|SSL SYSCALL|root\.crt|sslrootcert|SSL connection",
        "No TLS session with {place}: {reason}.",
        "Check sslmode and sslrootcert (from {origin}).",
    ),
    _Failure(
        r"definition of service|service file",
        "The service cannot be used: {reason}.",
        "Services are defined in ~/.pg_service.conf or in the file that PGSERVICEFILE names.",
    ),
    _Failure(
        r"(starting up|shutting down|in recovery mode|not accepting connections|currently accepting)",
        "{place} does not accept connections now: {reason}.",
        "Try again in a moment.",
    ),
    _Failure(
        r"session is (not )?read-only|hot standby",
        "No server at {place} is of the kind that target_session_attrs asks for.",
        "Asked for by: {origin}, or PGTARGETSESSIONATTRS.",
    ),
    _Failure(
        r"could not translate host name|name resolution|not known",
        "The host name of {place} is unknown here.",
        "Is it spelled right? Names like `db` exist only between containers.",
    ),
    _Failure(
        r"timeout expired|timed out",
        "{place} did not answer in time.",
        "Is the address right, does a firewall stand between? connect_timeout sets the seconds to wait.",
    ),
    _Failure(
        r"No such file or directory",
        "No PostgreSQL answers on {place}.",
        "Is it running? If it is in a container or on another machine, name the host (from {origin}).",
    ),
    _Failure(
        r"Connection refused",
        "Nothing listens at {place}.",
        "Is PostgreSQL running, and are host and port right (from {origin})?",
    ),
    _Failure(
        r"No route to host|Network is unreachable|Host is down",
        "{place} cannot be reached from here.",
        "Is the address right (from {origin})?",
    ),
    _Failure(
        r"Permission denied",
        "{place} may not be opened by this system user.",
        "Name a host instead of the socket (from {origin}).",
    ),
)


def at_connect(error: psycopg.Error, target: Target) -> DoctorError:
    """Return the error to raise when no session came about."""
    text = str(error)
    role = target.conninfo.get("user") or os.environ.get("PGUSER")
    database = target.conninfo.get("dbname") or os.environ.get("PGDATABASE")
    words = {
        "place": target.place,
        "role": role or "that is the default",
        "role_quoted": _quoted(role),
        "database": database or "that is the default",
        "database_quoted": _quoted(database),
        "origin": target.origin,
        "reason": _reason(text, target),
    }
    for failure in _AT_CONNECT:
        if re.search(failure.pattern, text, re.IGNORECASE):
            sentence = _capital(failure.sentence.format_map(words))
            return failure.kind(sentence, hint=failure.hint.format_map(words))
    return ConnectionFailedError(
        f"No session with {words['place']}: {words['reason']}.",
        hint=f"The connection comes from {target.origin}.",
    )


def _quoted(name: str | None) -> str:
    """Return a name as SQL writes it, or a word to be replaced."""
    from psycopg import sql

    return sql.Identifier(name).as_string() if name else "NAME"


def _capital(sentence: str) -> str:
    """Begin a sentence that starts with "the" with a capital; a host's name stays as it is."""
    return "T" + sentence[1:] if sentence.startswith("the ") else sentence


def _reason(text: str, target: Target) -> str:
    """Return what the server or libpq said, as one line without secrets."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    line = re.sub(r"^.*(FATAL:|failed:|error:)\s*", "", line)
    for secret in (*target.secrets(), os.environ.get("PGPASSWORD", "")):
        if secret:
            line = line.replace(secret, "***")
    return line.rstrip(".")[:_LONGEST]


_IN_SESSION: Final = (
    _Failure(
        r"55P03",
        "Another session holds a lock that was waited for in vain.",
        "An upgrade or VACUUM FULL may be under way: try again when it has ended.",
        DoctorError,
    ),
    _Failure(
        r"57014",
        "A statement was cancelled on the server: {primary}.",
        "Somebody cancelled it, or a limit of the server's was reached.",
        DoctorError,
    ),
    _Failure(
        r"42501",
        "The role lacks a privilege: {primary}.",
        "All that reads needs no more than: GRANT SELECT ON ALL TABLES IN SCHEMA ... TO ...;",
        PrivilegeError,
    ),
    _Failure(
        r"42P01|42703|42704",
        "The tables are not those of a listmonk that is known: {primary}.",
        "Do these tables belong to the version that listmonk recorded last (settings, key migrations)? An upgrade "
        "that broke off is finished with listmonk's own --upgrade.",
        UnknownSchemaError,
    ),
    _Failure(
        r"40001",
        "The server ended the reading: {primary}.",
        "On a standby the primary's clean-up can do that: try again, or read from the primary.",
        DoctorError,
    ),
    _Failure(
        r"57P|08|25P03",
        "The session with the database was lost.",
        "The server was restarted, or somebody ended the session: try again.",
    ),
)
"""By the beginning of SQLSTATE."""


def in_session(error: psycopg.Error, *, timeout: float, elapsed: float) -> DoctorError | None:
    """Return the error to raise for one within a session; None where it is no failure that a user can cause.

    `timeout` is the seconds that a statement may take (0: no limit), `elapsed` those since the snapshot
    began.
    """
    from psycopg import errors

    if isinstance(error, errors.QueryCanceled) and 0 < timeout <= elapsed:
        return DoctorError(
            f"A statement took longer than the {timeout:g} seconds allowed and was cancelled.",
            hint="Give more time with --timeout SECONDS, or run it when the server is less busy.",
        )
    state = error.sqlstate
    if state is None and isinstance(error, errors.OperationalError):
        state = "08"  # no answer at all: the connection broke
    primary = (error.diag.message_primary or "").rstrip(".")[:_LONGEST]
    for failure in _IN_SESSION:
        if state is not None and re.match(failure.pattern, state):
            return failure.kind(failure.sentence.format(primary=primary), hint=failure.hint)
    return None
