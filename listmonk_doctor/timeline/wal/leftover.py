"""Owns the versions of campaigns' rows that still lie on the table's own pages, until those are cleaned up."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.wal.extensions import statement
from listmonk_doctor.timeline.wal.heap import on_page, tuples
from listmonk_doctor.timeline.wal.history import hold
from listmonk_doctor.timeline.wal.records import BrokenError
from listmonk_doctor.timeline.wal.rows import UnknownError
from listmonk_doctor.timeline.wal.table import ANOTHER_WAY, read_rows, read_table, same_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from psycopg import Cursor

    from listmonk_doctor.timeline.wal.rows import Layout
    from listmonk_doctor.timeline.wal.table import Row

MOST_PAGES: Final = 4096
"""Pages that are read, 32 MB: listmonk's table of campaigns seldom has a hundredth of it."""
_AT_ONCE: Final = 128
_COMBINED, _LOCKED, _COMMITTED, _FROZEN, _NO_XMAX, _SEVERAL, _UPDATED = 0x20, 0x80, 0x100, 0x300, 0x800, 0x1000, 0x2000


@dataclass(frozen=True, slots=True)
class Leftover:
    """A committed version on a page, which the snapshot sees or would have seen.

    `by` is the transaction that replaced or deleted it (0: none that is known). `passing`: its own transaction
    replaced it, so that nobody ever saw it. `inserted`: it began the row. `at`: its commit, where the server keeps it.
    """

    xmin: int
    by: int
    values: dict[str, Any]
    spot: tuple[int, int]
    passing: bool
    inserted: bool
    at: datetime | None


@dataclass(frozen=True, slots=True)
class _Lying:
    """A version as it lies there, before it is known how its transactions ended."""

    values: dict[str, Any]
    spot: tuple[int, int]
    xmin: int
    xmax: int
    flags: int


def read_leftovers(
    cursor: Cursor[Any], place: str, campaign_ids: Sequence[int]
) -> tuple[dict[int, Row], dict[int, list[Leftover]], list[str]]:
    """Return campaigns' rows, the versions of them on the pages by pageinspect in the schema `place`, and notes.

    The versions are in no order. Raises RefusedError where the version that SELECT sees is not among them as SELECT
    gives it.
    """
    table = read_table(cursor)
    rows = read_rows(cursor, campaign_ids)
    lying: dict[int, list[_Lying]] = {ident: [] for ident in rows}
    notes = []
    cursor.execute("SELECT pg_relation_size(%s::oid::regclass) / 8192", (table.number,))
    pages = int(cursor.fetchall()[0][0])
    if pages > MOST_PAGES:
        notes.append(f"of the {pages:,} pages of the table of campaigns only {MOST_PAGES:,} were read")
    for block, page in _pages(cursor, place, table.number, min(pages, MOST_PAGES)):
        for each in _on(page, block, table.layout):
            if each.values["id"] in lying:
                lying[each.values["id"]].append(each)
    same_file(cursor, table)
    _test(rows, lying, whole=pages <= MOST_PAGES)
    every = {xid for found in lying.values() for each in found for xid in (each.xmin, each.xmax) if xid}
    ends = _outcomes(cursor, sorted(every))
    found = {ident: [one for each in of if (one := _leftover(each, ends)) is not None] for ident, of in lying.items()}
    return rows, found, notes


def _pages(cursor: Cursor[Any], place: str, table: int, count: int) -> Iterator[tuple[int, bytes]]:
    for first in range(0, count, _AT_ONCE):
        bounds = {"table": table, "first": first, "last": min(first + _AT_ONCE, count) - 1}
        cursor.execute(statement("facts/pages.sql", place), bounds, binary=True)
        for block, page in cursor.fetchall():
            yield block, bytes(page)


def _on(page: bytes, block: int, layout: Layout) -> Iterator[_Lying]:
    """Yield the versions on a page that can be decoded."""
    for line, raw in tuples(page).items():
        xmin, xmax, flags = struct.unpack_from("<II12xH", raw)
        try:
            values = layout.decode(on_page(raw, (block, line)))
        except (UnknownError, BrokenError):
            continue
        alone = not flags & (_NO_XMAX | _LOCKED | _SEVERAL)
        yield _Lying(values, (block, line), xmin, xmax if alone else 0, flags)


def _test(rows: dict[int, Row], lying: dict[int, list[_Lying]], *, whole: bool) -> None:
    """Raise RefusedError where what SELECT sees does not lie there, decoded to the same."""
    for ident, row in rows.items():
        live = next((each for each in lying[ident] if (each.spot, each.xmin) == (row.spot, row.xmin)), None)
        if live is not None:
            hold(row, live.values, "table's pages were")
        elif whole:
            raise RefusedError(
                f"The row of campaign {ident} as it is now was not found on the table's pages.", hint=ANOTHER_WAY
            )


def _outcomes(cursor: Cursor[Any], xids: list[int]) -> dict[int, tuple[str | None, bool, datetime | None]]:
    """Return how transactions ended: status, whether the snapshot sees them, and when they committed."""
    cursor.execute(sqlfiles.read("facts/page-outcomes.sql"), {"xids": xids})
    return {xid: (status, visible, at) for xid, status, visible, at in cursor.fetchall()}


def _leftover(lying: _Lying, ends: dict[int, tuple[str | None, bool, datetime | None]]) -> Leftover | None:
    """Return a version that was committed; None for any other."""
    flags = lying.flags
    status, visible, at = ends.get(lying.xmin, (None, True, None))
    if flags & _FROZEN == _FROZEN:  # its number may be of an earlier round
        status, visible, at = "committed", True, None
    if not visible or (status or ("committed" if flags & _COMMITTED else "")) != "committed":
        return None
    ended, seen, _ = ends.get(lying.xmax, (None, False, None))
    by = lying.xmax if ended == "committed" and seen else 0
    passing = bool(by) and (by == lying.xmin or bool(flags & _COMBINED))
    return Leftover(lying.xmin, by, lying.values, lying.spot, passing, not flags & _UPDATED, at)
