"""Owns what the server says of the table of campaigns before its log is read: its file, its layout, its rows today."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.errors import RefusedError, UnknownSchemaError
from listmonk_doctor.timeline.wal.pages import MAGICS, PAGE
from listmonk_doctor.timeline.wal.rows import COLUMNS, Attribute, Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Cursor

ANOTHER_WAY: Final = "Use a recording of watch --record."
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a moment that is not known: whatever the log holds was later."""
_LAG: Final = 60.0
"""Seconds that a standby may seem behind where the primary just had nothing to say."""
_FLUSH_WITHIN: Final = 0.7
"""Seconds until a transaction that did not wait for the disk is in the log's files: three rounds of the writer."""


@dataclass(frozen=True, slots=True)
class Table:
    """How the log names the table; `system` is the cluster's number, 0 where the role may not read it."""

    number: int
    file: int
    locator: bytes
    major: int
    system: int
    layout: Layout

    def of_file(self, file: int) -> bytes:
        """Return the locator of another file of the table, in the same place."""
        return self.locator[:8] + struct.pack("<I", file)

    @property
    def rewritten(self) -> bool:
        """Whether the rows were moved to another file since the table was made."""
        return self.file != self.number


@dataclass(frozen=True, slots=True)
class Row:
    """A campaign as SELECT gives it: `values` by column, and the version's transaction and place on the pages."""

    id: int
    uuid: str
    name: str
    values: dict[str, Any]
    xmin: int
    spot: tuple[int, int]


@dataclass(frozen=True, slots=True)
class End:
    """Where the log ended at `now`, in bytes; what a primary wrote in `behind` seconds since, a standby may lack."""

    now: datetime
    place: int
    behind: float


def read_table(cursor: Cursor[Any]) -> Table:
    """Read how the log names the table of campaigns. Raises RefusedError where its log cannot be read."""
    return _read(cursor, "campaigns", COLUMNS)


def read_catalog(cursor: Cursor[Any]) -> Table:
    """Read how the log names the server's list of tables, whose own history names the older files of a table."""
    return _read(cursor, "pg_catalog.pg_class", ("oid", "relfilenode"))


def _read(cursor: Cursor[Any], name: str, columns: tuple[str, ...]) -> Table:
    cursor.execute(sqlfiles.read("facts/log-table.sql"), {"table": name})
    found = cursor.fetchall()
    if not found:
        raise UnknownSchemaError("There is no table of campaigns.", hint="Name listmonk's schema.")
    number, file, database, space, kind, persistence, major, page, system, attributes, labels = found[0]
    why = ""
    if kind != "r" or persistence != "p":
        why = "The table of campaigns is not an ordinary logged one, so the log does not hold its rows"
    elif page != PAGE:
        why = f"The server's pages have {page} bytes; its log can be read only where they have {PAGE}"
    elif major not in MAGICS.values():
        why = f"The log of PostgreSQL {major} is not known here; 14 to 18 are"
    if why:
        raise RefusedError(f"{why}.", hint=ANOTHER_WAY)
    layout = _layout(attributes, {int(key): label for key, label in labels.items()}, columns)
    return Table(number, file, struct.pack("<III", space, database, file), major, int(system or 0), layout)


def _layout(rows: Sequence[Sequence[Any]], labels: dict[int, str], columns: tuple[str, ...]) -> Layout:
    """Return the layout up to the last column that matters."""
    attributes = tuple(Attribute(*row) for row in rows)
    names = [each.name for each in attributes]
    missing = sorted(set(columns) - set(names))
    if missing:
        raise UnknownSchemaError(f"The table of campaigns has no column {missing[0]}.", hint="Name listmonk's schema.")
    return Layout(attributes[: max(map(names.index, columns)) + 1], labels, columns)


def read_rows(cursor: Cursor[Any], campaign_ids: Sequence[int]) -> dict[int, Row]:
    """Read the campaigns as they are; one that is gone is left out."""
    cursor.execute(sqlfiles.read("facts/log-rows.sql"), {"ids": list(campaign_ids)})
    rows = {}
    for ident, uuid, name, *values, xmin, place in cursor.fetchall():
        block, line = place.strip("()").split(",")
        columns = dict(zip(COLUMNS, (ident, *values), strict=True))
        rows[ident] = Row(ident, uuid, name, columns, int(xmin), (int(block), int(line)))
    return rows


def read_end(cursor: Cursor[Any]) -> End:
    """Return where the log ends, once its files hold everything that was written up to now."""
    deadline = time.monotonic() + _FLUSH_WITHIN
    query = sqlfiles.read("facts/log-end.sql")
    cursor.execute(query)
    now, written, stored, late, behind = cursor.fetchall()[0]
    while late and stored < written and time.monotonic() < deadline:
        time.sleep(0.05)
        cursor.execute(query)
        _now, _written, stored, *_ = cursor.fetchall()[0]
    return End(now or _NEVER, int(stored), behind)


def lag(end: End) -> list[str]:
    """Return what is to be said of a standby that may lack what the primary has written since."""
    if end.now == _NEVER:
        return ["this server is a standby that cannot say how new what it holds is: the primary may have written since"]
    if end.behind < _LAG:
        return []
    return [f"this server is a standby and holds what the primary wrote up to {end.now:%Y-%m-%d %H:%M:%S} UTC only"]


def same_file(cursor: Cursor[Any], table: Table) -> None:
    """Raise RefusedError where the table was rewritten while its log was read."""
    cursor.execute("SELECT pg_relation_filenode(%s::oid)::bigint", (table.number,))
    if cursor.fetchall()[0][0] != table.file:
        raise RefusedError(
            "The table of campaigns was rewritten while its log was read.", hint="Try again; nothing was changed."
        )
