"""Owns turning the database's errors into one sentence and a hint; no line of libpq's noise, no password."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import ConnectionFailedError, DoctorError, PrivilegeError, UnknownSchemaError

if TYPE_CHECKING:
    import psycopg

    from listmonk_doctor.database.sources import Target

_LONGEST: Final = 200
"""Characters of a server's message that are passed on."""

_PASSWORD_HINT: Final = "Put the password into ~/.pgpass or PGPASSWORD, or into the source that was used ({origin})."
_AT_CONNECT: Final[tuple[tuple[str, str, str], ...]] = (
    (r"password authentication failed", "{place} refused the password of the role {role}.", _PASSWORD_HINT),
    (
        r"no password supplied|password could not be|empty password",
        "{place} asks for a password for the role {role}, and none was given.", _PASSWORD_HINT,
    ),
    (
        r"(peer|ident|gssapi|cert\w*|ldap|pam|radius) authentication failed",
        "{place} does not accept the role {role} from this system user.",
        "Give a role and a password (for example --dsn postgresql://ROLE@localhost/DATABASE), or run as its user.",
    ),
    (
        r"no pg_hba\.conf entry.*no encryption",
        "{place} does not let the role {role} in without encryption.",
        "Try sslmode=require, or ask the administrator for a line in pg_hba.conf.",
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "{place} does not let the role {role} in from this machine.",
        "The server's pg_hba.conf has no line for this role, database and address.",
    ),
    (r"database \"?.*\"? does not exist", "{place} has no database {database}.", "Its name comes from {origin}."),
    (r"role \"?.*\"? does not exist", "{place} has no role {role}.", "Its name comes from {origin}."),
    (
        r"permission denied for database",
        "The role {role} may not connect to the database {database}.",
        "Have the owner run: GRANT CONNECT ON DATABASE {database} TO {role};",
    ),
    (
        r"too many (clients|connections)|connection slots are reserved|no more connections allowed",
        "{place} has no free connection left.",
        "Try again, or raise max_connections; listmonk's own pool is db.max_open in its configuration.",
    ),
    (
        r"server does not support SSL|SSL was required",
        "{place} does not offer TLS, which was asked for.",
        "Use sslmode=prefer or disable if the network is trusted, or switch TLS on at the server.",
    ),
    (
        r"certificate|SSL error|SSL SYSCALL|root\.crt|sslrootcert|SSL connection",
        "No TLS session with {place}: {reason}.",
        "Check sslmode and sslrootcert (from {origin}).",
    ),
    (r"definition of service|service file", "There is no service of that name: {reason}.",
     "Services are defined in ~/.pg_service.conf or in the file that PGSERVICEFILE names."),
    (r"starting up|shutting down|in recovery mode|not accepting connections|not currently accepting",
     "{place} does not accept connections now: {reason}.", "Try again in a moment."),
    (r"session is (not )?read-only|session is not read-write|not in hot standby|in hot standby|hot standby mode",
     "No server at {place} is of the kind that target_session_attrs asks for.", "It comes from {origin}."),
    (r"could not translate host name|name resolution|Name or service not known|nodename nor servname",
     "The host name of {place} is unknown here.", "Is it spelled right, and is this machine in the same network? "
     "Names such as `db` exist only between containers."),
    (r"timeout expired|timed out", "{place} did not answer in time.",
     "Is the address right, and does a firewall stand between? connect_timeout sets the seconds."),
    (r"No such file or directory.*|is the server running locally", "No PostgreSQL answers on {place}.",
     "Is it running? For a server in a container or on another machine name the host (from {origin})."),
    (r"Connection refused", "Nothing listens at {place}.",
     "Is PostgreSQL running, and are host and port right (from {origin})?"),
    (r"Permission denied", "{place} may not be opened by this system user.", "Name a host, or run as another user."),
)
"""Patterns of English messages, the sentence, the hint. What does not match is told with the server's own words."""


def at_connect(error: psycopg.Error, target: Target) -> DoctorError:
    """Return the error to raise when no session came about."""
    text = str(error)
    known = target.conninfo
    words = {
        "place": target.place,
        "role": known.get("user") or os.environ.get("PGUSER") or "that is the default",
        "database": known.get("dbname") or os.environ.get("PGDATABASE") or "that is the default",
        "origin": target.origin,
        "reason": _reason(text, target),
    }
    for pattern, sentence, hint in _AT_CONNECT:
        if re.search(pattern, text, re.IGNORECASE):
            kind = PrivilegeError if "GRANT" in hint else ConnectionFailedError
            return kind(_capital(sentence.format_map(words)), hint=hint.format_map(words))
    return ConnectionFailedError(
        f"No session with {words['place']}: {words['reason']}.", hint=f"The connection comes from {target.origin}.",
    )


def _capital(sentence: str) -> str:
    """Begin a sentence that starts with "the" with a capital; a host's name stays as it is."""
    return "T" + sentence[1:] if sentence.startswith("the ") else sentence


def _reason(text: str, target: Target) -> str:
    """Return the last thing the server or libpq said, as one line without secrets."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    line = re.sub(r"^.*?(FATAL:|failed:|error:)\s*", "", line)
    line = re.sub(r"^.*?FATAL:\s*", "", line)
    for secret in (*target.secrets(), os.environ.get("PGPASSWORD", "")):
        if secret:
            line = line.replace(secret, "***")
    return line.rstrip(".")[:_LONGEST]


def in_session(error: psycopg.Error, *, timeout: float) -> DoctorError | None:
    """Return the error to raise for one in a session; None where it is no failure that a user can cause."""
    from psycopg import errors

    primary = (error.diag.message_primary or "").rstrip(".")[:_LONGEST]
    if isinstance(error, errors.QueryCanceled):
        if "statement timeout" in primary or not primary.isascii():
            return DoctorError(
                f"A statement took longer than the {timeout:g} seconds allowed and was cancelled.",
                hint="Give more time with --timeout SECONDS, or run it when the server is less busy.",
            )
        return DoctorError(
            "A statement was cancelled on the server.",
            hint="Somebody cancelled it, or a time limit was reached: --timeout SECONDS sets ours.",
        )
    if isinstance(error, errors.LockNotAvailable):
        return DoctorError(
            "Another session holds a lock that was waited for 2 seconds.",
            hint="An upgrade or a VACUUM FULL may be under way: try again when it has ended.",
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return PrivilegeError(
            f"The role lacks a privilege: {primary}.",
            hint="Have the owner run: GRANT SELECT on that table TO the role (README, section on roles).",
        )
    if isinstance(error, (errors.UndefinedTable, errors.UndefinedColumn)):
        return UnknownSchemaError(
            f"The tables are not those of a listmonk that is known: {primary}.",
            hint="Does the recorded version belong to this schema? See `listmonk-doctor audit`.",
        )
    if isinstance(error, errors.OperationalError) and _lost(error):
        return ConnectionFailedError(
            "The session with the database was lost.",
            hint="The server was restarted, or somebody ended the session: try again.",
        )
    return None


def _lost(error: psycopg.Error) -> bool:
    """Tell whether the session is gone: class 57P (shutdown) or 08 (connection), or no answer at all."""
    state = error.sqlstate
    return state is None or state.startswith(("57P", "08"))
