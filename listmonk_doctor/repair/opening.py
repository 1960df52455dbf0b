"""Owns how the transaction opens in which a plan is written: its isolation, its timeouts, where names are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from psycopg.sql import Composed

LOCK_TIMEOUT: Final = "2s"
IDLE_TIMEOUT: Final = "30s"
"""A doctor that froze must not hold a lock for ever."""
STATEMENT_TIMEOUT: Final = "120s"


def opening(schema: str) -> Composed:
    """Return the statements that open the transaction, for one round trip; all settings end with it."""
    from psycopg import sql

    return sql.SQL(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {lock};"
        " SET LOCAL idle_in_transaction_session_timeout = {idle}; SET LOCAL statement_timeout = {statement};"
        " SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL TimeZone = 'UTC';"
        " SET LOCAL DateStyle = 'ISO'; SET LOCAL search_path = {schema}, pg_temp"
    ).format(
        lock=sql.Literal(LOCK_TIMEOUT),
        idle=sql.Literal(IDLE_TIMEOUT),
        statement=sql.Literal(STATEMENT_TIMEOUT),
        schema=sql.Identifier(schema),
    )
