"""Owns the tending of a follow-up as plans: a refresh before it is started, a settle once it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.diagnosis.account import bounds
from listmonk_doctor.diagnosis.examine import read_figures
from listmonk_doctor.diagnosis.groups import group
from listmonk_doctor.diagnosis.packed import unpack
from listmonk_doctor.diagnosis.ranges import ranges
from listmonk_doctor.errors import RefusedError
from listmonk_doctor.listmonk.campaign import PROGRESS_COLUMNS
from listmonk_doctor.listmonk.facts import read_campaigns, read_settings
from listmonk_doctor.repair.diagnose import json_value
from listmonk_doctor.repair.followup import SENT
from listmonk_doctor.repair.followup_facts import read_followups
from listmonk_doctor.repair.plan import Change, Plan
from listmonk_doctor.repair.pricing import Case, price_mailing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import Cursor

    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.repair.followup_facts import FollowUp


@dataclass(frozen=True, slots=True)
class Tended:
    """A follow-up with its own row and that of its original, as they are now."""

    made: FollowUp
    row: Campaign
    original: Campaign
    version: str


def find(cur: Cursor[Any], campaign_id: int) -> Tended:
    """Return the follow-up that a campaign is, or that was made of it. Raises RefusedError where none stands."""
    found = read_followups(cur, [campaign_id])
    itself = [each for each in found if each.id == campaign_id]
    standing = itself or [each for each in found if each.id is not None]
    if not standing:
        gone = " any more: its campaign was deleted" if found else ""
        raise RefusedError(
            f"Campaign {campaign_id} is no follow-up and has none{gone}.",
            hint=f"To make one: listmonk-doctor repair {campaign_id} --strategy follow-up",
        )
    if len(standing) > 1:
        raise RefusedError(
            f"Campaign {campaign_id} has {len(standing)} follow-ups.",
            hint=f"Name one of them: {', '.join(map(str, standing))}.",
        )
    made = standing[0]
    rows = read_campaigns(cur, [int(made.id or 0), made.of_id])
    original = rows.get(made.of_id)
    if original is None or original.uuid != made.of_uuid:
        raise RefusedError(
            f"Campaign {made.of_id}, of which {made} is the follow-up, was deleted.",
            hint="Which lists its people belong to cannot be told any more.",
        )
    return Tended(made, rows[int(made.id or 0)], original, str(read_settings(cur).version))


def refresh(cur: Cursor[Any], tended: Tended) -> Plan:
    """Return the plan that takes people off the list of a follow-up who are not to be mailed any more.

    They were blocklisted, left the lists of the original, or are proved by now to have been mailed by it. Nobody is
    put on it. Raises RefusedError where the follow-up was started.
    """
    made, row = tended.made, tended.row
    if not made.waiting:
        raise RefusedError(
            f"{_name(made)} was started: it is {row.status}, and who is on its list counts no more.",
            hint=f"Once it was sent: listmonk-doctor follow-up settle {row.id}",
        )
    if made.list_id is None:
        raise RefusedError(f"The list of {made} is gone.", hint="Without it nobody would be mailed.")
    figures = read_figures(cur, [tended.original.id])[tended.original.id]
    groups = _subscriptions(cur, made.list_id)
    audience = figures.audience
    on_list, leaving = BitMap(), BitMap()
    changes = []
    for alike, people in groups:
        if alike["status"] == "unsubscribed":
            continue
        on_list |= people
        off = made.people & ((people - audience.now) | (people & audience.reached))
        leaving |= off
        if off:
            changes.append(_off(made, alike, off))
    stay = on_list - leaving
    blocked = len(leaving - audience.now - audience.reached)
    last = (
        f"Press Start on campaign {row.id} right after this: people leave at any time."
        if stay
        else f"Nobody is left on it: do not start campaign {row.id}."
    )
    notes = (
        (
            f"{len(leaving):,} of {len(on_list):,} people are taken off: {blocked:,} left the lists or were "
            f"blocklisted, {len(leaving & audience.reached):,} are proved by now to have been mailed."
        ),
        last,
    )
    return _plan(tended, "follow-up-refresh", tuple(changes), price=_price(figures, stay), notes=notes)


def settle(cur: Cursor[Any], tended: Tended, *, remove_list: bool) -> Plan:
    """Return the plan that gives a sent follow-up the lists of its original, and its unsubscriptions to these lists.

    With `remove_list` the follow-up's list goes, too. What was settled before is left out. Raises RefusedError where
    the follow-up may still mail people, or its list may not go.
    """
    made, row = tended.made, tended.row
    if row.status not in SENT:
        raise RefusedError(
            f"{_name(made)} is {row.status}: it is settled once it was sent.",
            hint="Its list is needed until it is finished (or cancelled).",
        )
    before = [each for each in read_followups(cur, [tended.original.id]) if each.uuid == tended.original.uuid]
    if before and not before[0].settled:
        raise RefusedError(
            f"Campaign {tended.original.id}, the original, is itself a follow-up, and not settled yet.",
            hint=f"First: listmonk-doctor follow-up settle {tended.original.id}",
        )
    lists = [entry for entry in tended.original.lists if entry.list_id is not None]
    if not lists:
        raise RefusedError(
            f"All lists of campaign {tended.original.id}, the original, were deleted.",
            hint="There is nothing that the follow-up could be pointed at.",
        )
    changes = _repointed(cur, tended)
    notes = []
    if made.list_id is not None:
        carried, newer = _carried(cur, made.list_id, [int(entry.list_id or 0) for entry in lists])
        changes += carried
        people = len({change.key["subscriber_id"] for change in carried})
        who, are = ("1 person", "is") if people == 1 else (f"{people:,} people", "are")
        notes.append(f"{who} who unsubscribed through the follow-up {are} unsubscribed from the lists.")
        if newer:
            what = "1 subscription was" if newer == 1 else f"{newer:,} subscriptions were"
            notes.append(f"{what} changed after that; what was changed later stays.")
        if remove_list:
            changes += _removed(cur, tended)
    return _plan(tended, "follow-up-settle", tuple(changes), price={}, notes=tuple(notes), remove_list=remove_list)


def again(cur: Cursor[Any], plan: Plan) -> Plan | None:
    """Return the plan of a tending made anew, in the transaction of `apply`. Raises RefusedError as before."""
    tended = find(cur, plan.campaign_id)
    if tended.row.uuid != plan.campaign_uuid:
        return None
    if plan.strategy == "follow-up-refresh":
        return refresh(cur, tended)
    return settle(cur, tended, remove_list=bool(plan.guards.get("follow_up", {}).get("remove_list")))


def _name(made: FollowUp) -> str:
    name = str(made)
    return name[0].upper() + name[1:]


def _plan(  # noqa: PLR0913 - a plan has that many parts
    tended: Tended,
    strategy: str,
    changes: tuple[Change, ...],
    *,
    price: Mapping[str, Any],
    notes: tuple[str, ...],
    remove_list: bool = False,
) -> Plan:
    """Return the plan of a tending; it rests on the follow-up's row and lists, and each change on what it changes."""
    row = tended.row
    return Plan(
        campaign_id=row.id,
        campaign_uuid=row.uuid,
        campaign_name=row.name,
        listmonk_version=tended.version,
        strategy=strategy,
        prefer=None,
        changes=changes,
        guards={
            "row": {column: json_value(getattr(row, column)) for column in PROGRESS_COLUMNS},
            "xmin": None,
            "lists": [[entry.row_id, entry.list_id, entry.optin] for entry in row.lists],
            "follow_up": {"remove_list": remove_list} if strategy == "follow-up-settle" else {},
        },
        price=price,
        notes=notes,
    )


def _price(figures: Figures, stay: BitMap) -> Mapping[str, Any]:
    """Return the price of the follow-up as it is left: what is true once it was sent to those who stay."""
    case = Case(figures, bounds(figures), group(figures).recipients)
    priced = price_mailing(case, stay)
    figures_of = {name: list(getattr(priced, name)) for name in ("missed", "duplicates", "newcomers", "would_mail")}
    return {**figures_of, "presumably": None}


def _subscriptions(cur: Cursor[Any], list_id: int) -> list[tuple[dict[str, Any], BitMap]]:
    """Return the subscriptions of a list in groups: the columns that are alike, and the people."""
    cur.execute(sqlfiles.read("followup/subscriptions.sql"), {"list": list_id})
    found = []
    for status, created, updated, meta, has_meta, people in cur.fetchall():
        alike = {"status": status, "created_at": json_value(created), "updated_at": json_value(updated)}
        found.append((alike | ({"meta": meta} if has_meta else {}), unpack(people)))
    return found


def _off(made: FollowUp, alike: Mapping[str, Any], people: BitMap) -> Change:
    """Return the removal of people from the list of a follow-up, with all that their subscriptions hold."""
    row = {**alike, "rows": len(people), "subscriber_ids": ranges(people)}
    return Change("subscriber_lists", {"list_uuid": made.list_uuid}, row, None)


def _repointed(cur: Cursor[Any], tended: Tended) -> list[Change]:
    """Return the changes that give the follow-up the lists of its original instead of its own."""
    own = next((entry for entry in tended.row.lists if entry.list_id == tended.made.list_id), None)
    if own is None or own.list_id is None:
        return []
    has = {entry.list_id for entry in tended.row.lists}
    wanted = [entry for entry in tended.original.lists if entry.list_id is not None and entry.list_id not in has]
    if not wanted:
        return []
    first, *more = wanted
    cur.execute("SELECT list_name FROM campaign_lists WHERE id = %s", [own.row_id])
    before = {"list_id": own.list_id, "list_name": cur.fetchall()[0][0]}
    changes = [
        Change("campaign_lists", {"id": own.row_id}, before, {"list_id": first.list_id, "list_name": first.name}),
    ]
    for entry in more:
        key = {"campaign_id": tended.row.id, "list_id": entry.list_id}
        changes.append(Change("campaign_lists", key, None, {**key, "list_name": entry.name}))
    return changes


def _carried(cur: Cursor[Any], list_id: int, originals: list[int]) -> tuple[list[Change], int]:
    """Return the unsubscriptions to carry over, dated as they came in, and how many have a later word against them."""
    cur.execute(sqlfiles.read("followup/carried.sql"), {"list": list_id, "originals": originals})
    changes, newer = [], 0
    for person, original, status, updated, since, is_newer in cur.fetchall():
        if is_newer:
            newer += 1
            continue
        changes.append(
            Change(
                "subscriber_lists",
                {"subscriber_id": person, "list_id": original},
                {"status": status, "updated_at": json_value(updated)},
                {"status": "unsubscribed", "updated_at": json_value(since)},
            )
        )
    return changes, newer


def _removed(cur: Cursor[Any], tended: Tended) -> list[Change]:
    """Return the removal of the follow-up's list with its subscriptions. Raises RefusedError where it is in use."""
    made = tended.made
    cur.execute(sqlfiles.read("followup/list.sql"), {"list": made.list_uuid, "campaign": tended.row.id})
    whole, others, has_roles = cur.fetchall()[0]
    if others:
        raise RefusedError(
            f"The list of {made} is used by campaign {', '.join(map(str, others))}, too.",
            hint="Settle it without --remove-list.",
        )
    if has_roles:
        cur.execute("SELECT count(*) FROM roles WHERE list_id = %s", [made.list_id])
        if cur.fetchall()[0][0]:
            raise RefusedError(f"A role of listmonk names the list of {made}.", hint="Take it out of the role first.")
    gone = [_off(made, alike, people) for alike, people in _subscriptions(cur, int(made.list_id or 0))]
    return [*gone, Change("lists", {"uuid": made.list_uuid}, whole, None)]
