"""Owns what has moved since a follow-up was planned or made: before it is written, and before it is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from listmonk_doctor.repair import followup_sql, guards

if TYPE_CHECKING:
    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Change, Plan


def obstacles(conn: Connection, plan: Plan) -> list[str]:
    """Return a sentence for each thing that forbids the undo of a follow-up; none where it may be done.

    Reads with the search_path of the transaction. For other plans there is nothing to say here.
    """
    if plan.undoes is None or plan.strategy != "follow-up":
        return []
    made = {change.table: change for change in plan.changes}
    people = made["subscriber_lists"].before or {}
    draft, chosen = made["campaigns"].key["uuid"], made["lists"].key["uuid"]
    query = followup_sql.bound(
        "followup/standing.sql", draft=draft, list=chosen, **followup_sql.people_of(people["subscriber_ids"])
    )
    rows = guards.fetch(conn, query)
    if not rows:
        return [f"the draft of the follow-up ({draft}) is gone"]
    return [*_draft(conn, made["campaigns"], rows[0][:7]), *_list(made, people["rows"], rows[0][7:])]


def _draft(conn: Connection, made: Change, row: tuple[Any, ...]) -> list[str]:
    """Say what happened to the draft."""
    from psycopg import sql

    number, status, started, scheduled, name, addresses, marked = row
    copy = made.before or {}
    digest = followup_sql.content("d", copy["columns"])
    same = guards.fetch(
        conn, sql.SQL("SELECT {} FROM campaigns d WHERE d.id = {}").format(digest, sql.Literal(number))
    )[0][0]
    found = []
    if started or status != "draft":
        found.append(f"campaign {number}, the follow-up, was started: it is {status}")
    elif scheduled:
        found.append(f"campaign {number}, the follow-up, was given a time")
    if same != copy["content"] or name != copy["name"]:
        found.append(f"campaign {number}, the follow-up, was edited")
    if addresses != 1:
        found.append(f"campaign {number}, the follow-up, has {addresses} lists and not its own alone")
    if marked and not started:
        found.append(f"campaign {number}, the follow-up, has views, clicks or bounces (of a test) to lose")
    return found


def _list(made: dict[str, Change], put: int, row: tuple[Any, ...]) -> list[str]:
    """Say what happened to the list."""
    number, name, edited, people, untouched, others = row
    if number is None:
        return ["the list of the follow-up is gone"]
    found = []
    if edited or name != (made["lists"].before or {})["name"]:
        found.append(f"list {number}, the follow-up's, was edited")
    if others:
        found.append(f"list {number}, the follow-up's, is used by campaign {', '.join(map(str, others))}, too")
    if untouched != put or people != put:
        found.append(
            f"{put:,} people were put on list {number}, the follow-up's: {people:,} are on it now, {untouched:,} of "
            "them as they were put there"
        )
    return found


def moved(plan: Plan, anew: Plan) -> list[str]:
    """Return what differs between a follow-up as it was planned and as it would be made now, in words."""
    if plan.strategy != "follow-up" or plan.undoes is not None:
        return []
    then, now = ({each.table: each.after or {} for each in one.changes} for one in (plan, anew))
    name, found = f"campaign {plan.campaign_id}", []
    if then["campaigns"]["content"] != now.get("campaigns", {}).get("content"):
        found.append(f"{name}: its content was edited since the plan was made")
    if then.get("campaign_media") != now.get("campaign_media"):
        found.append(f"{name}: its attachments were changed since the plan was made")
    people = (then["subscriber_lists"], now.get("subscriber_lists", {"rows": 0}))
    if people[0]["subscriber_ids"] != people[1].get("subscriber_ids"):
        found.append(f"{name}: {people[0]['rows']:,} people were chosen, and it would be {people[1]['rows']:,} now")
    return found


def warnings(plan: Plan) -> tuple[str, ...]:
    """Return what holds once a refresh is taken back: whoever was taken off would be mailed again."""
    if plan.strategy != "follow-up-refresh":
        return ()
    back = sum(followup_sql.expected(change) for change in plan.changes)
    who = f"{back:,} people who left, or had the mail, are on the list of the follow-up again"
    return (f"Do not press Start: {who}, and only the blocklisted among them are passed over. Refresh it first.",)
