"""Owns putting a recorded incident into a database, with its times moved so that the moment of recording is now."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.errors import DoctorError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from psycopg import Connection
    from psycopg.abc import Query
    from psycopg.sql import Composed

    from listmonk_doctor.demo.recording import Recording

ORDER: Final = (
    "settings",
    "templates",
    "lists",
    "subscribers",
    "subscriber_lists",
    "campaigns",
    "campaign_lists",
    "links",
    "link_clicks",
    "campaign_views",
    "bounces",
)
"""The recorded tables, each after those that its foreign keys point to."""
DELETED_SHARE: Final = 50
"""One in so many of those who left is deleted when a recording is made worse: 2 %."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was done to a recording's rows on the way into the database."""

    shift: timedelta
    """Added to every time of the recording; add it to those of its truth and polls too."""
    redated: tuple[int, ...]
    """Subscribers blocklisted since the first start whose `updated_at` was set back to `created_at` (made worse)."""
    deleted: tuple[int, ...]
    """Subscribers who had left the audience and were deleted (made worse)."""


def demo_sql(name: str) -> bytes:
    """Return a file of sql/demo. Raises DoctorError where there is none of that name."""
    try:
        return sqlfiles.read(f"demo/{name}")
    except FileNotFoundError:
        raise DoctorError(
            f"The demo has no {name}.", hint="The recording is of a version whose tables the demo does not know."
        ) from None


def load(
    conn: Connection[tuple[object, ...]],
    recording: Recording,
    *,
    schema: str = "public",
    now: datetime | None = None,
    worse: bool = False,
) -> Loaded:
    """Create listmonk's tables in `schema` and fill them with a recording's rows, in one transaction.

    `now` is what the moment of recording becomes (default: the server's clock). `worse` destroys dates and people as
    real life does: who was blocklisted since the first start looks as if it had happened when they signed up, and one
    in fifty (at least one) of those who left an audience since it was taken is deleted with everything that cascades.
    Raises DoctorError for a version whose tables are not known.
    """
    from psycopg import sql

    script = demo_sql(f"schema-{recording.version}.sql")
    with conn.transaction():
        conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        conn.execute("SET LOCAL TimeZone = 'UTC'")
        conn.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
        conn.execute(script)
        shift = _shift(conn, recording, now)
        times = _time_columns(conn, schema)
        for table in ORDER:
            if table in recording.tables:
                _fill(conn, table, recording.tables[table], times.get(table, set()), shift)
        redated, deleted = _worsen(conn, recording) if worse else ((), ())
        _advance_sequences(conn, schema)
        for table in ORDER:
            conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
    return Loaded(shift, redated, deleted)


def _shift(conn: Connection[tuple[object, ...]], recording: Recording, now: datetime | None) -> timedelta:
    """Return what is to be added to the recording's times."""
    if now is None:
        [(now,)] = conn.execute("SELECT clock_timestamp()").fetchall()  # type: ignore[assignment]
    assert now is not None  # noqa: S101 - just read
    return now - recording.recorded_until


def _time_columns(conn: Connection[tuple[object, ...]], schema: str) -> dict[str, set[str]]:
    """Return each table's columns that hold a moment in time."""
    found: dict[str, set[str]] = {}
    rows = conn.execute(
        "SELECT table_name::text, column_name::text FROM information_schema.columns"
        " WHERE table_schema = %s AND data_type = 'timestamp with time zone'",
        [schema],
    )
    for table, column in rows:
        found.setdefault(str(table), set()).add(str(column))
    return found


def _fill(
    conn: Connection[tuple[object, ...]],
    table: str,
    text: str,
    times: set[str],
    shift: timedelta,
) -> None:
    """Copy rows by the header's column names into a staging table, and from there with their times moved."""
    from psycopg import sql

    columns = next(csv.reader([text.partition("\n")[0]]))
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    stage, target = sql.Identifier("pg_temp", "stage"), sql.Identifier(table)
    conn.execute(sql.SQL("CREATE TEMPORARY TABLE stage (LIKE {}) ON COMMIT DROP").format(target))
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER, NULL '\\N')").format(stage, names)
    with conn.cursor().copy(copy) as rows:
        rows.write(text)
    moved = sql.SQL(", ").join(
        sql.SQL("{} + {}").format(sql.Identifier(column), sql.Literal(shift))
        if column in times
        else sql.Identifier(column)
        for column in columns
    )
    conn.execute(sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(target, names, moved, stage))
    conn.execute(sql.SQL("DROP TABLE {}").format(stage))


def _worsen(
    conn: Connection[tuple[object, ...]],
    recording: Recording,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Destroy dates and people; return whose."""
    redated = _ids(
        conn,
        "UPDATE subscribers SET updated_at = created_at WHERE status = 'blocklisted'"
        " AND updated_at > (SELECT min(started_at) FROM campaigns) RETURNING id",
    )
    eligible = {(row[0], row[1]) for row in conn.execute(sqlfiles.read("audience/members.sql"))}
    left = sorted(
        {
            person.subscriber_id
            for person in recording.truth
            if person.in_audience_at_start and (person.campaign_id, person.subscriber_id) not in eligible
        }
        & set(_ids(conn, "SELECT id FROM subscribers"))
    )
    deleted = tuple(left[::DELETED_SHARE])
    conn.execute("DELETE FROM subscribers WHERE id = ANY(%s)", [list(deleted)])
    return redated, deleted


def _ids(conn: Connection[tuple[object, ...]], query: Query) -> tuple[int, ...]:
    """Return the ids that a query gives, in ascending order."""
    return tuple(sorted(int(str(row[0])) for row in conn.execute(query)))


def _advance_sequences(conn: Connection[tuple[object, ...]], schema: str) -> None:
    """Set each table's sequence so that its next id follows the highest one."""
    from psycopg import sql

    tables = conn.execute(
        "SELECT table_name::text FROM information_schema.columns"
        " WHERE table_schema = %s AND column_name = 'id' AND column_default LIKE 'nextval(%%'",
        [schema],
    ).fetchall()

    def one(table: object) -> Composed:
        name = sql.Identifier(str(table))
        return sql.SQL(
            "SELECT setval(pg_get_serial_sequence({}, 'id'), coalesce(max(id), 0) + 1, false) FROM {}"
        ).format(sql.Literal(name.as_string(conn)), name)

    for (table,) in tables:
        conn.execute(one(table))
