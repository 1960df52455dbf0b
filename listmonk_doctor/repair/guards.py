"""Owns what must still be true when a plan is written: the row, the settings, the audience, the price."""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.listmonk.campaign import PROGRESS_COLUMNS
from listmonk_doctor.listmonk.settings import GUARDED_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg.abc import Params
    from psycopg.sql import Composed
    from pyroaring import BitMap

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.listmonk.settings import Settings
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
    """Return all progress columns of a campaign as JSON values: the guard `row` of a plan."""
    return normal({name: getattr(campaign, name) for name in PROGRESS_COLUMNS})


def fingerprint(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a progress row, equal for equal rows however their times are spelled."""
    return hashlib.sha256(canonical(normal(row)).encode()).hexdigest()


def audience(ids: BitMap) -> dict[str, Any]:
    """Return the guard `audience` of a plan: how many people, and the SHA-256 of their ids.

    The ids are hashed in ascending order, 4 bytes each, network order: PostgreSQL's
    `sha256(string_agg(int4send(id), NULL ORDER BY id))` is the same.
    """
    packed = array("I", ids.to_array())
    if sys.byteorder == "little":
        packed.byteswap()
    return {"count": len(ids), "digest": hashlib.sha256(packed.tobytes()).hexdigest()}


def of(
    campaign: Campaign, settings: Settings, *, strategy: str, ids: BitMap, server: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the guards of a plan: what was seen of the row, the settings, today's audience `ids` and the server.

    `unschedule` may be written while a server scans, and 4.0.0 to 5.0.0 then rewrite a due row every 5 s: its plan
    leaves out what those scans move, and `xmin` with it.
    """
    scanned = strategy == "unschedule"
    return {
        "row": {name: value for name, value in row_of(campaign).items() if not (scanned and name in BY_SCANS)},
        "xmin": None if scanned else campaign.xmin,
        "settings": dict(settings.raw or {}),
        "audience": audience(ids),
        "server": dict(server or {}),
    }


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
    conn: Connection, schema: str, campaign_id: int, *, changed: Iterable[str] = (), lock: bool = False,
) -> Row | None:
    """Read a campaign's row (None: there is none); `changed` and `lock` as in `row_query`."""
    rows = fetch(conn, row_query(schema, campaign_id, changed, lock=lock))
    return Row(*rows[0]) if rows else None


def read_settings(conn: Connection, schema: str) -> tuple[dict[str, Any], str]:
    """Read the settings that a price rests on, as JSON values, and the version that listmonk recorded last."""
    from psycopg import sql

    rows = fetch(
        conn,
        sql.SQL("SELECT key, value FROM {} WHERE key = ANY(%s)").format(sql.Identifier(schema, "settings")),
        [[*GUARDED_KEYS, "migrations"]],
    )
    values = dict(rows)
    recorded = values.pop("migrations", None)
    tag = recorded[-1] if isinstance(recorded, list) and recorded else recorded
    return {key: values.get(key) for key in GUARDED_KEYS}, str(tag)


def still(plan: Plan) -> bool:
    """Tell whether the row has to stand still to be written: always, but for a forward `unschedule` (see `of`)."""
    return bool(plan.changes) and (plan.strategy != "unschedule" or plan.undoes is not None)


def when(plan: Plan) -> str:
    """Say when the row was as the guards have it."""
    return "after the repair" if plan.undoes else "in the plan"


def changed_columns(plan: Plan) -> tuple[str, ...]:
    """Return the columns of `campaigns` that a plan changes."""
    return tuple(name for change in plan.changes if change.table == "campaigns" for name in change.after or ())


def row_differences(plan: Plan, now: Row | None) -> list[str]:
    """Return a sentence for each difference between the row that a plan saw and the row now.

    `xmin` is compared where the plan has it and no column says more.
    """
    then, name = when(plan), f"campaign {plan.campaign_id}"
    if now is None:
        return [f"{name} is gone"]
    if now.uuid != plan.campaign_uuid:
        return [f"{name} is another campaign: its uuid was {plan.campaign_uuid} {then} and is {now.uuid} now"]
    before, after = normal(plan.guards.get("row", {})), normal(now.progress)
    found = [
        f"{name}: {column} was {shown(column, value)} {then} and is {shown(column, after.get(column))} now"
        for column, value in before.items()
        if canonical(value) != canonical(after.get(column))
    ]
    if not found and plan.guards.get("xmin") not in (None, now.xmin):
        return [f"{name}: its row was written again since the plan was made, though no progress column changed"]
    return found


def settings_differences(plan: Plan, now: Mapping[str, Any], version: str) -> list[str]:
    """Return a sentence for each guarded setting that changed, and for listmonk's version."""
    found = [
        f"setting {key} was {canonical(value)} and is {canonical(now.get(key))} now"
        for key, value in plan.guards.get("settings", {}).items()
        if canonical(value) != canonical(now.get(key))
    ]
    if not plan.undoes and plan.listmonk_version.lstrip("v") != version.lstrip("v"):
        found.append(f"listmonk's version was {plan.listmonk_version} in the plan and is {version} now")
    return found


def audience_differences(plan: Plan, now: Mapping[str, Any]) -> list[str]:
    """Return a sentence if today's audience is not the one that the plan saw."""
    then = plan.guards.get("audience")
    if then is None or (then["count"], then["digest"]) == (now["count"], now["digest"]):
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
        _dearer(name, then[name], now.get(name))
        for name in COSTS
        if name in then and _rises(then[name], now.get(name))
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
    return f"{name} was {_range(then)} in the plan and is {'not known' if now is None else _range(now)} now"


def _range(figure: Sequence[int]) -> str:
    low, high = figure
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
