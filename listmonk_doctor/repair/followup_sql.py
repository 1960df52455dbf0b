"""Owns the changes of a follow-up as SQL: rows named by UUIDs, people as ranges, content that stays on the server.

Names of tables stand without a schema: they are resolved by the search_path of the transaction, which is listmonk's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.diagnosis.ranges import bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from psycopg.sql import Composable, Composed

    from listmonk_doctor.repair.plan import Change, Plan

COPIED: Final = (
    "subject",
    "from_email",
    "body",
    "body_source",
    "altbody",
    "content_type",
    "headers",
    "attribs",
    "tags",
    "type",
    "messenger",
    "template_id",
    "archive_template_id",
)
"""The columns of `campaigns` that a copy takes over, where the version has them (headers: 2.1.0, body_source: 5.0.0,
attribs: 6.0.0). archive_template_id comes along since its default before 5.0.0 is a template that may not exist."""
GROUPS: Final = ("unknown", "never_fetched", "not_mailed", "failed", "presumed_reached")
"""The groups that may be chosen: everybody but those who are proved to have been mailed, and newcomers."""
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")


def is_special(change: Change) -> bool:
    """Tell whether a change is one of a follow-up's own shapes, which name rows by UUID or hold many rows."""
    return change.table in ("lists", "campaign_media") or bool({"uuid", "list_uuid"} & set(change.key))


def expected(change: Change) -> int:
    """Return how many rows a change must touch."""
    row = change.after or change.before or {}
    return int(row["rows"]) if "rows" in row else 1


def statement(change: Change) -> Composed:
    """Return the one statement of a change of a follow-up's own shape. The values are literals."""
    making = change.before is None
    row: Mapping[str, Any] = (change.after if making else change.before) or {}
    if change.table == "lists":
        return _list(change, row, making=making)
    if change.table == "campaigns":
        return _copy(change, row) if making else _discard(change, row)
    if change.table == "campaign_media":
        return _attachments(change, row, making=making)
    if change.table == "campaign_lists":
        file = "followup/address.sql" if making else "followup/unaddress.sql"
        return bound(file, campaign=change.key["campaign_uuid"], list=change.key["list_uuid"])
    return _people(change, row, making=making)


def bound(file: str, **values: Any) -> Composed:
    """Return the statement of an SQL file with its parameters as literals."""
    from psycopg import sql

    text = sqlfiles.read(file).decode()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--")).rstrip(";\n ")
    parts = _PARAMETER.split(text)
    return sql.Composed(
        sql.SQL(part) if index % 2 == 0 else sql.Literal(values[part])  # type: ignore[arg-type]
        for index, part in enumerate(parts)
    )


def people_of(text: str) -> dict[str, str]:
    """Return ranges of ids as the array literals that the statements take."""
    firsts, lasts = bounds(text)
    return {"firsts": _array(firsts), "lasts": _array(lasts)}


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def _list(change: Change, row: Mapping[str, Any], *, making: bool) -> Composed:
    """Return the INSERT of a new list, or its removal where nothing refers to it and nobody touched it."""
    from psycopg import sql

    if "id" in row:  # a row that was there before a settle: with everything that it held
        return _whole_list(row, making=making)
    if not making:
        return bound("followup/remove-list.sql", list=change.key["uuid"], name=row["name"])
    columns = {name: value for name, value in row.items() if name != "tags"}
    return sql.SQL(
        "INSERT INTO lists (uuid, tags, created_at, updated_at, {}) VALUES ({}, {}, now(), now(), {})"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Literal(change.key["uuid"]),
        sql.Literal(array_text(row["tags"])),
        sql.SQL(", ").join(map(sql.Literal, columns.values())),
    )


def _whole_list(row: Mapping[str, Any], *, making: bool) -> Composed:
    """Return the INSERT of a list's whole row, or its removal if it is that row and nothing refers to it."""
    from psycopg import sql

    values = {name: array_text(value) if name == "tags" and value is not None else value for name, value in row.items()}
    if making:
        return sql.SQL("INSERT INTO lists ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Literal, values.values()))
        )
    same = sql.SQL(" AND ").join(
        sql.SQL("l.{} IS NOT DISTINCT FROM {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in values.items()
    )
    return sql.SQL(
        "DELETE FROM lists l WHERE {}"
        " AND NOT EXISTS (SELECT FROM subscriber_lists sl WHERE sl.list_id = l.id)"
        " AND NOT EXISTS (SELECT FROM campaign_lists cl WHERE cl.list_id = l.id)"
    ).format(same)


def array_text(values: Iterable[str]) -> str:
    """Return text values as a PostgreSQL array literal."""
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return "{" + ",".join(quoted) + "}"


def content(alias: str, columns: Iterable[str]) -> Composed:
    """Return the digest of a campaign's copied columns, computed on the server."""
    from psycopg import sql

    return sql.SQL("encode(sha256(convert_to(ROW({})::text, 'UTF8')), 'hex')").format(
        sql.SQL(", ").join(sql.Identifier(alias, name) for name in columns)
    )


def files(campaign: Composable) -> Composed:
    """Return the digest of a campaign's attachments ("" for none); `campaign` is an expression for its id."""
    from psycopg import sql

    return sql.SQL(
        "(SELECT coalesce(encode(sha256(convert_to(string_agg(ROW(m.media_id, m.filename)::text, ','"
        " ORDER BY m.media_id, m.filename), 'UTF8')), 'hex'), '') FROM campaign_media m WHERE m.campaign_id = {})"
    ).format(campaign)


def _copy(change: Change, row: Mapping[str, Any]) -> Composed:
    """Return the INSERT of a campaign's copy as a draft, if the content is still the one that the plan saw."""
    from psycopg import sql

    columns = row["columns"]
    return sql.SQL(
        "INSERT INTO campaigns (uuid, name, status, send_at, to_send, sent, max_subscriber_id, last_subscriber_id,"
        " created_at, updated_at, {})"
        " SELECT {}, {}, 'draft', NULL, 0, 0, 0, 0, now(), now(), {}"
        " FROM campaigns o WHERE o.id = {} AND {} = {}"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Literal(change.key["uuid"]),
        sql.Literal(row["name"]),
        sql.SQL(", ").join(sql.Identifier("o", name) for name in columns),
        sql.Literal(row["copy_of"]),
        content("o", columns),
        sql.Literal(row["content"]),
    )


def _discard(change: Change, row: Mapping[str, Any]) -> Composed:
    """Return the removal of a draft that nobody started, edited, or addressed to anything else."""
    from psycopg import sql

    alone = sql.SQL(" ").join(
        sql.SQL("AND NOT EXISTS (SELECT FROM {} x WHERE x.campaign_id = d.id)").format(sql.Identifier(table))
        for table in ("campaign_lists", "campaign_views", "link_clicks", "bounces")
    )
    return sql.SQL(
        "DELETE FROM campaigns d WHERE d.uuid = {} AND d.name = {} AND d.status = 'draft' AND d.started_at IS NULL"
        " AND d.sent = 0 AND d.send_at IS NULL AND {} = {} {}"
    ).format(
        sql.Literal(change.key["uuid"]),
        sql.Literal(row["name"]),
        content("d", row["columns"]),
        sql.Literal(row["content"]),
        alone,
    )


def _attachments(change: Change, row: Mapping[str, Any], *, making: bool) -> Composed:
    """Return the copy of the attachments, or its removal, if they are still those that the plan saw."""
    from psycopg import sql

    if making:
        base = bound("followup/attach.sql", campaign=change.key["campaign_uuid"], original=row["copy_of"])
        return base + sql.SQL(" AND {} = {}").format(files(sql.Literal(row["copy_of"])), sql.Literal(row["files"]))
    base = bound("followup/detach.sql", campaign=change.key["campaign_uuid"])
    return base + sql.SQL(" AND {} = {}").format(files(sql.SQL("c.id")), sql.Literal(row["files"]))


def _people(change: Change, row: Mapping[str, Any], *, making: bool) -> Composed:
    """Return the change of many subscriptions of one list."""
    ranges = people_of(row["subscriber_ids"])
    if "created_at" in row:
        return _subscriptions(change, row, making=making)
    if making:
        return bound("followup/put-on-list.sql", list=change.key["list_uuid"], campaign=row["audience_of"], **ranges)
    return bound("followup/take-off-list.sql", list=change.key["list_uuid"], **ranges)


def _subscriptions(change: Change, row: Mapping[str, Any], *, making: bool) -> Composed:
    """Return the removal, or the return, of subscriptions that are all alike but for the person."""
    from psycopg import sql
    from psycopg.types.json import Jsonb

    ranges = people_of(row["subscriber_ids"])
    alike = {
        name: Jsonb(value) if name == "meta" else value
        for name, value in row.items()
        if name not in ("rows", "subscriber_ids")
    }
    values = {
        "list": sql.Literal(change.key["list_uuid"]),
        "firsts": sql.Literal(ranges["firsts"]),
        "lasts": sql.Literal(ranges["lasts"]),
    }
    if making:
        return sql.SQL(
            "INSERT INTO subscriber_lists (subscriber_id, list_id, {columns}) SELECT s.id, l.id, {values}"
            " FROM lists l, unnest({firsts}::integer[], {lasts}::integer[]) AS r (first, last),"
            " generate_series(r.first, r.last) AS one (id), subscribers s WHERE l.uuid = {list} AND s.id = one.id"
        ).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, alike)),
            values=sql.SQL(", ").join(_typed(name, value) for name, value in alike.items()),
            **values,
        )
    same = sql.SQL(" ").join(
        sql.SQL("AND sl.{} IS NOT DISTINCT FROM {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in alike.items()
    )
    return sql.SQL(
        "DELETE FROM subscriber_lists sl"
        " USING lists l, unnest({firsts}::integer[], {lasts}::integer[]) AS r (first, last),"
        " generate_series(r.first, r.last) AS one (id)"
        " WHERE l.uuid = {list} AND sl.list_id = l.id AND sl.subscriber_id = one.id {same}"
    ).format(same=same, **values)


_TYPES: Final = {"status": "subscription_status", "created_at": "timestamptz", "updated_at": "timestamptz"}


def _typed(name: str, value: Any) -> Composed:
    """Return a literal with its type, which a SELECT needs."""
    from psycopg import sql

    kind = _TYPES.get(name)
    return sql.SQL("{}{}").format(sql.Literal(value), sql.SQL(f"::{kind}" if kind else ""))


def locked(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Return the tables whose rows `locks` locks, each with a column that a role must be allowed to update for it."""
    special = [change for change in plan.changes if is_special(change) and change.before is not None]
    tables = (("lists", "name", "list_uuid"), ("campaigns", "status", "campaign_uuid"))
    return tuple(
        (table, column)
        for table, column, key in tables
        if any(key in each.key or each.table == table for each in special)
    )


def locks(plan: Plan) -> Iterator[Composed]:
    """Yield the statements that keep the lists and drafts still which a plan takes away from.

    A lock on a list's row keeps anybody from being put on it, which a check alone could not see in time.
    """
    from psycopg import sql

    named: dict[str, set[str]] = {"lists": set(), "campaigns": set()}
    for change in plan.changes:
        if not is_special(change) or change.before is None:
            continue
        for key, table in (("list_uuid", "lists"), ("campaign_uuid", "campaigns"), ("uuid", change.table)):
            if key in change.key:
                named[table].add(change.key[key])
    for table, uuids in named.items():
        for one in sorted(uuids):
            yield sql.SQL("SELECT id FROM {} WHERE uuid = {} FOR UPDATE").format(
                sql.Identifier(table), sql.Literal(one)
            )


def why(change: Change) -> str:
    """Say what it means that a change did not touch the rows that it should."""
    if not is_special(change):
        return f"The row of {change.table} is not as the plan saw it"
    if change.table == "subscriber_lists" and "created_at" in (change.after or {}):
        return "Some of these people were deleted since, or are on the list again"
    if change.before is None:
        return {
            "lists": "The list could not be made",
            "subscriber_lists": "Some of the chosen people have left, were blocklisted or deleted since",
            "campaigns": "The campaign's content was edited since",
            "campaign_lists": "The draft could not be addressed to its list",
            "campaign_media": "The campaign's attachments were changed since",
        }[change.table]
    return {
        "lists": "The list was edited, another campaign uses it, or people were put on it since",
        "subscriber_lists": "Subscriptions on the list changed since: somebody left it, unsubscribed or was removed",
        "campaigns": "The draft was started, scheduled, edited, mailed as a test that was opened, or addressed to "
        "another list since",
        "campaign_lists": "The draft is no longer addressed to its list",
        "campaign_media": "The draft's attachments were changed since",
    }[change.table]
