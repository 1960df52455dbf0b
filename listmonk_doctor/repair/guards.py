"""Owns what must still be true when a plan is written: the row, the settings, the audience, the price."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.listmonk.campaign import PROGRESS_COLUMNS
from listmonk_doctor.listmonk.settings import GUARDED_KEYS
from listmonk_doctor.listmonk.versions import parse
from listmonk_doctor.repair.plan import ROW_LEFT_ALONE, TENDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg.abc import Params
    from psycopg.sql import Composed

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.repair.plan import Plan

COUNTS: Final = ("sent", "to_send")
MOMENTS: Final = ("started_at", "updated_at", "send_at")
BY_SCANS: Final = ("to_send", "max_subscriber_id", "updated_at")
"""What a scan rewrites on a due row that it drops again (M7)."""
COSTS: Final = ("missed", "duplicates", "newcomers")
"""The figures of a price that may not rise between plan and application."""


@dataclass(frozen=True, slots=True)
class Row:
    """A campaign's row at one moment: progress columns as JSON values, `xmin`, and a digest of all other columns."""

    uuid: str
    xmin: str
    progress: Mapping[str, Any]
    rest: str


def fetch(conn: Connection, query: bytes | Composed, values: Params | None = None) -> list[tuple[Any, ...]]:
    """Return a query's rows as tuples, whatever the connection's row factory is."""
    from psycopg.rows import tuple_row

    with conn.cursor(row_factory=tuple_row) as cur:
        return cur.execute(query, values).fetchall()


def canonical(value: Any) -> str:
    """Return the one JSON text of a value that does not depend on order, blanks or how numbers compare in Python."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def moment(value: Any) -> str | None:
    """Return a point in time as ISO 8601 UTC with microseconds; text that is none (infinity) stays as it is."""
    if value is None:
        return None
    try:
        point = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    aware = point if point.tzinfo else point.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def normal(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return progress columns with their times in one spelling."""
    return {name: moment(value) if name in MOMENTS else value for name, value in row.items()}


def row_of(campaign: Campaign) -> dict[str, Any]:
    """Return all progress columns of a campaign as JSON values, as the guard `row` of a plan holds them."""
    return normal({name: getattr(campaign, name) for name in PROGRESS_COLUMNS})


def fingerprint(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a progress row, equal for equal rows however their times are spelled."""
    return hashlib.sha256(canonical(normal(row)).encode()).hexdigest()


def row_query(schema: str, campaign_id: int, changed: Iterable[str], *, lock: bool) -> Composed:
    """Return the SELECT of a campaign's row (uuid, xmin, progress, rest), locked for update where asked.

    `rest` is a digest of the columns that are not among `changed`. The lock is FOR NO KEY UPDATE, the one an UPDATE
    takes anyway: a stronger one would also make every view, click and bounce of this campaign wait for us.
    """
    from psycopg import sql

    pairs = sql.SQL(", ").join(
        sql.SQL("{}, c.{}").format(sql.Literal(name), sql.Identifier(name)) for name in PROGRESS_COLUMNS
    )
    return sql.SQL(
        "SELECT c.uuid::text AS uuid, c.xmin::text AS xmin, jsonb_build_object({pairs}) AS progress,"
        " encode(sha256(convert_to((to_jsonb(c) - {changed}::text[])::text, 'UTF8')), 'hex') AS rest"
        " FROM {table} c WHERE c.id = {id}{lock}"
    ).format(
        pairs=pairs,
        changed=sql.Literal(sorted(changed)),
        table=sql.Identifier(schema, "campaigns"),
        id=sql.Literal(campaign_id),
        lock=sql.SQL(" FOR NO KEY UPDATE" if lock else ""),
    )


def read_row(
    conn: Connection,
    schema: str,
    campaign_id: int,
    *,
    changed: Iterable[str] = (),
    lock: bool = False,
) -> Row | None:
    """Read a campaign's row (None: there is none); `changed` and `lock` as in `row_query`."""
    rows = fetch(conn, row_query(schema, campaign_id, changed, lock=lock))
    return Row(*rows[0]) if rows else None


def read_settings(conn: Connection, schema: str) -> tuple[dict[str, Any], str]:
    """Read the settings that a price rests on, as JSON values, and the version that listmonk recorded last.

    Raises UnknownSchemaError where that version cannot be read.
    """
    from psycopg import sql

    rows = fetch(
        conn,
        sql.SQL("SELECT key, value FROM {} WHERE key = ANY(%s)").format(sql.Identifier(schema, "settings")),
        [[*GUARDED_KEYS, "migrations"]],
    )
    values = dict(rows)
    recorded = values.pop("migrations", None)
    tag = recorded[-1] if isinstance(recorded, list) and recorded else recorded
    return {key: values.get(key) for key in GUARDED_KEYS}, str(parse(str(tag)))


def read_lists(conn: Connection, schema: str, campaign_id: int) -> list[list[Any]]:
    """Read a campaign's lists as [row id, list id, opt-in] each, the latter two None once the list was deleted."""
    return [list(row) for row in fetch(conn, lists_query(schema, campaign_id))]


def lists_query(schema: str, campaign_id: int) -> Composed:
    """Return the SELECT of a campaign's lists (row_id, list_id, optin)."""
    from psycopg import sql

    return sql.SQL(
        "SELECT cl.id AS row_id, l.id AS list_id, l.optin::text AS optin"
        " FROM {} cl LEFT JOIN {} l ON l.id = cl.list_id WHERE cl.campaign_id = {} ORDER BY cl.id"
    ).format(sql.Identifier(schema, "campaign_lists"), sql.Identifier(schema, "lists"), sql.Literal(campaign_id))


def still(plan: Plan) -> bool:
    """Tell whether the row has to stand still to be written, its `xmin` too: always, but for an `unschedule`.

    That may be written while a server scans, and 4.0.0 to 5.0.0 then rewrite a due row that was never started every
    5 s (M7): what those scans move (BY_SCANS) is not compared. Its undo, and a plan without changes, are no exception.
    Nor does it have to where a follow-up is tended or taken back, which leaves the row alone.
    """
    if plan.strategy in TENDING or (plan.strategy in ROW_LEFT_ALONE and plan.undoes is not None):
        return False
    return plan.strategy != "unschedule" or plan.undoes is not None


def when(plan: Plan) -> str:
    """Say when the row was as the guards have it."""
    return "after the repair" if plan.undoes else "in the plan"


def changed_columns(plan: Plan) -> tuple[str, ...]:
    """Return the columns that a plan changes of the campaign's own row; a copy that comes or goes is another row."""
    return tuple(
        name
        for change in plan.changes
        if change.table == "campaigns" and change.before is not None
        for name in change.after or ()
    )


def row_differences(plan: Plan, now: Row | None) -> list[str]:
    """Return a sentence for each difference between the row that a plan saw and the row now.

    `xmin` is compared where the plan has it and no column says more.
    """
    then, name = when(plan), f"campaign {plan.campaign_id}"
    if now is None:
        return [f"{name} is gone"]
    if now.uuid != plan.campaign_uuid:
        return [f"{name} is another campaign: its uuid was {plan.campaign_uuid} {then} and is {now.uuid} now"]
    before, after = row_guard(plan), normal(now.progress)
    found = [
        f"{name}: {column} was {shown(column, value)} {then} and is {shown(column, after.get(column))} now"
        for column, value in before.items()
        if canonical(value) != canonical(after.get(column))
    ]
    if not found and still(plan) and plan.guards.get("xmin") not in (None, now.xmin):
        return [f"{name}: its row was written again since the plan was made, though no progress column changed"]
    return found


def row_guard(plan: Plan) -> dict[str, Any]:
    """Return the columns of the row that are compared, as they were."""
    row = normal(plan.guards.get("row", {}))
    return row if still(plan) else {name: value for name, value in row.items() if name not in BY_SCANS}


def lists_differences(plan: Plan, now: Sequence[Sequence[Any]]) -> list[str]:
    """Return a sentence for each of the campaign's lists that came, went, or has another opt-in."""
    if "lists" not in plan.guards:
        return []
    earlier, later = ({row: _list(*rest) for row, *rest in lists} for lists in (plan.guards["lists"], now))
    return [
        f"campaign {plan.campaign_id}: row {row} of its lists was {earlier.get(row, 'not there')} {when(plan)} "
        f"and is {later.get(row, 'gone')} now"
        for row in sorted({*earlier, *later})
        if earlier.get(row) != later.get(row)
    ]


def _list(list_id: int | None, optin: str | None) -> str:
    """Say which list a row names."""
    return "a deleted list" if list_id is None else f"list {list_id} ({optin} opt-in)"


def settings_differences(plan: Plan, now: Mapping[str, Any], version: str) -> list[str]:
    """Return a sentence for each guarded setting that changed, and for listmonk's version."""
    found = [
        f"setting {key} was {canonical(value)} and is {canonical(now.get(key))} now"
        for key, value in plan.guards.get("settings", {}).items()
        if canonical(value) != canonical(now.get(key))
    ]
    if not plan.undoes and plan.listmonk_version != version:
        found.append(f"listmonk's version was {plan.listmonk_version} in the plan and is {version} now")
    return found


def audience_differences(plan: Plan, now: Mapping[str, Any]) -> list[str]:
    """Return a sentence if today's audience is not the one that the plan saw."""
    then = plan.guards.get("audience")
    if not then or (then["count"], then["digest"]) == (now["count"], now["digest"]):
        return []
    name = f"campaign {plan.campaign_id}"
    if then["count"] == now["count"]:
        return [f"{name}: the audience still has {now['count']:,} people, but not the same ones"]
    return [f"{name}: the audience had {then['count']:,} people and has {now['count']:,} now"]


def shown(column: str, value: Any) -> str:
    """Return a progress column's value as a person reads it; ids are never grouped by thousands."""
    if value is None:
        return "not set"
    return f"{value:,}" if column in COUNTS and isinstance(value, int) else str(value)


def price_differences(plan: Plan, anew: Plan) -> list[str]:
    """Return a sentence for each figure of a plan's price that got dearer, or that differs and says who is mailed.

    missed, duplicates, newcomers and what they presumably shrink to may fall, not rise; `would_mail` may not move.
    """
    then, now = plan.price, anew.price
    found = [
        _dearer(name, then[name], now.get(name)) for name in COSTS if name in then and _rises(then[name], now.get(name))
    ]
    if "would_mail" in then and _bounds(then["would_mail"]) != _bounds(now.get("would_mail")):
        found.append(_dearer("would_mail", then["would_mail"], now.get("would_mail")))
    presumed, presumed_now = then.get("presumably") or {}, now.get("presumably") or {}
    found += [
        _dearer(f"{name} (presumably)", presumed[name], presumed_now.get(name))
        for name in COSTS
        if name in presumed and _rises(presumed[name], presumed_now.get(name))
    ]
    return found


def _bounds(figure: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if figure is None else tuple(figure)


def _rises(then: Sequence[int], now: Sequence[int] | None) -> bool:
    """Tell whether a bound of a range rose, or the figure is no longer known."""
    return now is None or any(later > earlier for earlier, later in zip(then, now, strict=True))


def _dearer(name: str, then: Sequence[int], now: Sequence[int] | None) -> str:
    """Say how a figure moved."""
    return f"{name} was {range_text(then)} in the plan and is {'not known' if now is None else range_text(now)} now"


def range_text(figure: Sequence[int]) -> str:
    """Return a figure [at least, at most] in words."""
    low, high = figure
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
