"""Owns the ways through the table of subscriptions: all at once by an index, or in chunks of pages or of ids."""

from __future__ import annotations

import json
from collections import deque
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from psycopg import DatabaseError, capabilities

from listmonk_doctor.database import sqlfiles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from psycopg import Connection, Cursor

    Progress: TypeAlias = Callable[[int, int], None]
    """Called with how much of the pass is done, and how much there is: before the first chunk and after each."""

PAGES: Final = 8_192
"""Pages of a chunk: 64 MiB. They bound memory and how long one statement runs, and cost one per cent."""
IDS: Final = 500_000
"""Ids of a chunk where there is no way to read a range of pages."""
AT_ONCE: Final = 2_000_000
"""Up to so many rows are read in one statement, in whatever way the server prefers."""
FEW: Final = 0.1
"""Of a smaller share of the table more rows are read in one statement: pages would bring the other lists' rows."""
FEW_AT_ONCE: Final = 16_000_000
"""Even of a small share no more rows than these are read in one statement."""
PAGE_RANGES_SINCE: Final = 140_000
"""PostgreSQL 14: the first that reads a range of pages without reading the whole table."""
PIECE: Final = 1 << 21
"""Bytes of the packed columns that are received at once; a multiple of 8."""
CANCEL_WITHIN: Final = 5.0
"""Seconds that cancelling a statement may take."""
_END: Final = "(4294967295,0)"


class Size(NamedTuple):
    """What is known without reading the table: server version, its pages, rows (-1: unknown), highest id; lists."""

    server: int
    pages: int
    rows: int
    last_id: int
    lists: int


def size(cur: Cursor[Any]) -> Size:
    """Read how large the table of subscriptions is."""
    cur.execute(sqlfiles.read("audience/size.sql"))
    return Size(*cur.fetchall()[0])


def chunks(cur: Cursor[Any], table: Size, lists: Sequence[int]) -> list[Mapping[str, Any]]:
    """Return the ranges that together hold all subscriptions of these lists, as parameters of the pass's statements.

    Where the planner expects few rows they are one range; else ranges of pages, below PostgreSQL 14 of ids.
    """
    rows = _expected(cur, lists)
    if rows <= AT_ONCE or (rows <= FEW_AT_ONCE and rows < FEW * table.rows):
        return [_range()]
    if table.server >= PAGE_RANGES_SINCE:
        # The last range has no end: pages that are added meanwhile are in it, whatever happens to the table.
        starts = range(0, max(table.pages, 1), PAGES)
        ends = [*(f"({page},0)" for page in starts[1:]), _END]
        return [_range(first_page=f"({page},0)", last_page=end) for page, end in zip(starts, ends, strict=True)]
    return [_range(above=low, upto=low + IDS) for low in range(0, max(table.last_id, 1), IDS)]


def _expected(cur: Cursor[Any], lists: Sequence[int]) -> int:
    """Return how many subscriptions of these lists the planner expects."""
    cur.execute(
        "EXPLAIN (FORMAT JSON) SELECT FROM subscriber_lists WHERE list_id = ANY(%(lists)s)", {"lists": list(lists)}
    )
    (plan,) = cur.fetchall()[0]
    return int((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"])


def _range(
    *, first_page: str = "", last_page: str = "", above: int | None = None, upto: int | None = None
) -> Mapping[str, Any]:
    """Return the parameters of one range."""
    return {
        "by_page": bool(last_page),
        "first_page": first_page or None,
        "last_page": last_page or None,
        "by_id": upto is not None,
        "above": above,
        "upto": upto,
    }


def packed(
    cur: Cursor[Any],
    statement: str,
    values: Mapping[str, Any],
    ranges: Sequence[Mapping[str, Any]],
    progress: Progress | None,
) -> Generator[tuple[Any, ...]]:
    """Run a statement for each range, in the cursor's transaction, and yield its packed columns in pieces.

    Where there are several ranges, the server works on the next one while the pieces of the last one are taken.
    `progress` is called before the first range and after each. Close it where it is left early: until then the session
    is busy.
    """
    tell = progress or (lambda _done, _all: None)
    tell(0, len(ranges))
    text = sqlfiles.read(statement)
    every = [{**values, **chunk, "piece": PIECE} for chunk in ranges]
    if len(every) == 1 or not capabilities.has_pipeline():  # an old libpq has none
        for done, one in enumerate(every, start=1):
            with cur.connection.cursor() as reading:
                # Row by row: nobody ever holds the whole chunk. Binary: as text each byte of the ids would come as two.
                yield from reading.stream(text, one, binary=True)
            tell(done, len(every))
        return
    with closing(_ahead(cur.connection, text, every)) as chunked:
        for done, pieces in enumerate(chunked, start=1):
            while pieces:
                yield pieces.popleft()
            tell(done, len(every))


def _ahead(conn: Connection[Any], text: bytes, every: Sequence[Mapping[str, Any]]) -> Generator[deque[tuple[Any, ...]]]:
    """Yield all rows of a statement for each set of values, and have the server at work on the next one meanwhile."""

    def send(values: Mapping[str, Any]) -> Cursor[Any]:
        # In a pipeline this does not wait for the answer.
        return conn.cursor(binary=True).execute(text, values)

    with conn.pipeline():
        coming = [send(every[0])]
        try:
            for following in (*every[1:], None):
                with coming.pop() as reading:
                    rows = deque(reading.fetchall())
                if following:
                    coming.append(send(following))
                yield rows
        finally:
            for unwanted in coming:  # left early
                conn.cancel_safe(timeout=CANCEL_WITHIN)
                with suppress(DatabaseError):
                    unwanted.fetchall()
