"""Owns the snapshot that every figure of a report comes from: read-only, or one whose writes are always taken back."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.sql import Composed

    from listmonk_doctor.database.connection import Connection, Cursor

DEFAULT_TIMEOUT = 60.0
"""Seconds that one statement may take."""


@contextmanager
def snapshot(conn: Connection, *, schema: str | None, timeout: float = DEFAULT_TIMEOUT) -> Iterator[Cursor]:
    """Give a cursor in one repeatable-read, read-only transaction; it always ends with a rollback.

    `schema` is listmonk's (None: the session's search_path stays), `timeout` is in seconds per statement
    (0: none). Locks are waited for 2 s. Timestamps come back in UTC. All settings are local to the
    transaction, so that a pooler in transaction mode is no obstacle. `conn` must be in autocommit mode and
    idle; inside, `with conn.transaction():` is a savepoint. Ctrl-C cancels the statement on the server.

    Raises DoctorError for a statement that took too long, a lock, a missing privilege, a missing table, a
    lost session; any other database error passes as it is.
    """
    with _transaction(conn, "READ ONLY", schema, timeout) as cursor:
        yield cursor


@contextmanager
def rolled_back(conn: Connection, *, schema: str | None, timeout: float = DEFAULT_TIMEOUT) -> Iterator[Cursor]:
    """Give a cursor in a snapshot that may write, for an extension that is made only to be looked through.

    It always ends with a rollback, and so it does where this program dies or stands still for a minute. Otherwise as
    `snapshot`.
    """
    with _transaction(conn, "READ WRITE", schema, timeout) as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '60s'")
        yield cursor


@contextmanager
def _transaction(conn: Connection, mode: str, schema: str | None, timeout: float) -> Iterator[Cursor]:
    import psycopg

    from listmonk_doctor.database.failures import in_session

    _must_be_idle(conn)
    began = time.monotonic()
    try:
        with conn.cursor() as cursor:
            cursor.execute(_opening(mode, schema, timeout))
            while cursor.nextset():
                pass
            yield cursor
    except psycopg.Error as error:
        explained = in_session(error, timeout=timeout, elapsed=time.monotonic() - began)
        if explained is None:
            raise
        raise explained from error
    finally:
        _end(conn)


def _must_be_idle(conn: Connection) -> None:
    from psycopg.pq import TransactionStatus

    # Unknown: the session is lost, which the first statement tells.
    idle = (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)
    if not conn.autocommit or conn.info.transaction_status not in idle:
        message = "a snapshot needs a connection in autocommit mode that is in no transaction"
        raise RuntimeError(message)


def _opening(mode: str, schema: str | None, timeout: float) -> Composed:
    """Return the statements that open the transaction, for one round trip."""
    from psycopg import sql

    # pg_catalog is searched first because it is not named, temporary tables last because they are: nobody's
    # objects stand in for the server's or for listmonk's.
    path = sql.SQL("; SET LOCAL search_path = {}, pg_temp").format(sql.Identifier(schema or "public"))
    return sql.SQL(
        "BEGIN ISOLATION LEVEL REPEATABLE READ {mode}; SET LOCAL jit = off; "
        "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL lock_timeout = '2s'; "
        "SET LOCAL statement_timeout = {timeout}; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'{path}"
    ).format(
        mode=sql.SQL("READ WRITE" if mode == "READ WRITE" else "READ ONLY"),
        timeout=sql.Literal(max(0, round(timeout * 1000))),
        path=path if schema else sql.SQL(""),
    )


def _end(conn: Connection) -> None:
    """Leave the transaction, unless the session is gone."""
    import psycopg

    if conn.closed:
        return
    try:
        conn.execute("ROLLBACK")
    except psycopg.OperationalError:  # the session broke: there is nothing left to end
        conn.close()
