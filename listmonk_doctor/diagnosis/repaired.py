"""Owns what repairs that still stand overwrote: a row that was mended no longer says what was known before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from listmonk_doctor.database import sqlfiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import Cursor

    from listmonk_doctor.listmonk.campaign import Campaign


@dataclass(frozen=True, slots=True)
class Repaired:
    """What the standing repairs of one campaign changed.

    `cursor`: the id at which the last of them set the cursor; `below`: the highest such id, up to which people were
    left as they were; `floor`: the id up to which people may have been mailed before it; `added`: by how much they
    raised `sent` (mails that were never sent); `missed`: the most people left unmailed below, by the price that was
    accepted; `assumptions`: codes under which that is nobody (None: under none).
    """

    cursor: int
    below: int
    floor: int
    added: int
    missed: int
    assumptions: tuple[str, ...] | None


def read_repaired(cur: Cursor[Any], campaigns: Mapping[int, Campaign]) -> dict[int, Repaired]:
    """Read what repairs of these campaigns overwrote, by id; nothing without a journal that may be read."""
    cur.execute(sqlfiles.read("journal/state.sql"))
    if not any(usable and tables and readable for usable, tables, readable, _ in cur.fetchall()):
        return {}
    cur.execute(sqlfiles.read("journal/standing.sql"), {"ids": list(campaigns)})
    rows: dict[int, list[Sequence[Any]]] = {}
    for campaign_id, uuid, *entry in cur.fetchall():
        if campaigns[campaign_id].uuid == uuid:
            rows.setdefault(campaign_id, []).append(entry)
    return {campaign_id: _together(entries) for campaign_id, entries in rows.items()}


def _together(entries: Sequence[Sequence[Any]]) -> Repaired:
    """Return several repairs of one campaign as one; the assumptions of a single one only."""
    each = [_one(before, after, price) for before, after, price in entries]
    return Repaired(
        cursor=each[-1].cursor,
        below=max(one.below for one in each),
        floor=max(one.floor for one in each),
        added=sum(max(0, one.added) for one in each),
        missed=sum(one.missed for one in each),
        assumptions=each[0].assumptions if len(each) == 1 else None,
    )


def _one(before: Mapping[str, Any], after: Mapping[str, Any], price: Mapping[str, Any]) -> Repaired:
    """Return one repair: where its cursor had been a count (M2) or the row had ended, anybody may have been mailed."""
    anybody = before["status"] == "finished" or before["last_subscriber_id"] == before["to_send"]
    presumed = price.get("presumably") or {}
    nobody = presumed.get("missed") == [0, 0]
    return Repaired(
        cursor=after["last_subscriber_id"],
        below=after["last_subscriber_id"],
        floor=max(before["max_subscriber_id"] if anybody else 0, before["last_subscriber_id"]),
        added=after["sent"] - before["sent"],
        missed=price["missed"][1],
        assumptions=tuple(presumed.get("assumptions", ())) if nobody else None,
    )
