"""Owns how a change of many rows is shown: people as a number, never as their ids unless these are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.render.text import counted, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listmonk_doctor.repair.plan import Change

IDS: Final = "subscriber_ids"
"""The column of a change that holds people as ranges of ids."""


def without_ids(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return one side of a change without the ids of its people (their number is in `rows`)."""
    return None if row is None else {name: of for name, of in row.items() if name != IDS}


def sides(change: Change) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a change takes away and what it brings, column by column, as it may be shown."""
    return without_ids(change.before) or {}, without_ids(change.after) or {}


def cell(of: Any) -> str:
    """Return a column's value as it is shown; several values stand in one line."""
    return ", ".join(map(value, of)) if isinstance(of, list | tuple) else value(of)


def heading(change: Change) -> str:
    """Say what is done to which rows of which table."""
    key = ", ".join(f"{name} = {value(of)}" for name, of in change.key.items())
    rows = int((change.before or change.after or {}).get("rows", 1))
    kind = "add" if change.before is None else "remove" if change.after is None else "change"
    which = ("a row" if kind == "add" else "the row") if rows == 1 else counted(rows, "row")
    return f"{change.table}: {kind} {which} where {key}"
