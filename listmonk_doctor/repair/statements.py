"""Owns a plan's changes as SQL: one UPDATE, DELETE or INSERT each, that touches its row only if it is as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from listmonk_doctor.repair import followup_sql

if TYPE_CHECKING:
    from psycopg.sql import Composed

    from listmonk_doctor.repair.plan import Change, Plan


def statement(change: Change, schema: str) -> Composed:
    """Return the one UPDATE, DELETE or INSERT of a change, which touches its row only if it is as it was before.

    Names pass `allowed.check` first and are quoted as identifiers; values are literals.
    """
    from psycopg import sql

    if followup_sql.is_special(change):
        return followup_sql.statement(change)
    table = sql.Identifier(schema, change.table)
    if change.before is None:
        row = change.after or {}
        return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table, sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Literal, row.values()))
        )
    same = [_pair(name, value, " = ") for name, value in change.key.items()]
    same += [_pair(name, value, " IS NOT DISTINCT FROM ") for name, value in change.before.items()]
    where = sql.SQL(" AND ").join(same)
    if change.after is None:
        return sql.SQL("DELETE FROM {} WHERE {}").format(table, where)
    to = sql.SQL(", ").join(_pair(name, value, " = ") for name, value in change.after.items())
    return sql.SQL("UPDATE {} SET {} WHERE {}").format(table, to, where)


def _pair(name: str, value: Any, operator: str) -> Composed:
    """Return `name operator value`."""
    from psycopg import sql

    return sql.SQL("{}{}{}").format(sql.Identifier(name), sql.SQL(operator), sql.Literal(value))


def after(plan: Plan) -> dict[str, Any]:
    """Return the columns of the campaign's row that a plan writes, with their new values."""
    return {
        name: value
        for change in plan.changes
        if change.table == "campaigns" and change.before is not None
        for name, value in (change.after or {}).items()
    }


def changes_text(plan: Plan, schema: str) -> tuple[str, ...]:
    """Return the statements of a plan's changes as text: equal for plans that do the same."""
    return tuple(statement(change, schema).as_string(None) for change in plan.changes)
