"""Owns what a follow-up, its refresh and its settle may touch: their shapes of rows, checked strictly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from listmonk_doctor.diagnosis.ranges import count
from listmonk_doctor.repair.allowed import BIGINT, INTEGER, refuse, text, whole
from listmonk_doctor.repair.followup_sql import COPIED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from listmonk_doctor.repair.plan import Change, Plan

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
STRATEGIES: Final = ("follow-up", "follow-up-refresh", "follow-up-settle")
MAKING: Final = ("lists", "subscriber_lists", "campaigns", "campaign_lists", "campaign_media")
"""The tables of the rows of a new follow-up, in the order in which they are made."""


def check(plan: Plan) -> None:
    """Make sure that the changes of a follow-up or its tending are of the shapes that these have. Raises UsageError."""
    {"follow-up": _check_made, "follow-up-refresh": _check_refresh, "follow-up-settle": _check_settle}[plan.strategy](
        plan
    )


def _row(plan: Plan, change: Change, *, comes: bool) -> Mapping[str, Any]:
    """Return the row that a repair inserts (`comes`) or deletes; its undo does the reverse."""
    inserted, deleted = change.after, change.before
    if plan.undoes is not None:
        comes = not comes
    row, other = (inserted, deleted) if comes else (deleted, inserted)
    if row is None or other is not None:
        refuse(f"{plan.strategy} may not change a row of {change.table} in this way")
    return row


def _keys(what: str, found: Mapping[str, Any], wanted: set[str], optional: set[str] | None = None) -> None:
    """Make sure that an object has exactly these fields."""
    if not wanted <= set(found) <= wanted | (optional or set()):
        refuse(f"{what} has other fields than it may have")


def _uuid(value: Any, name: str) -> str:
    try:
        known = str(UUID(text(value, name)))
    except ValueError:
        refuse(f"{name} must be a UUID")
    if known != value:
        refuse(f"{name} must be a UUID in its usual spelling")
    return known


def _digest(value: Any, name: str) -> None:
    if _DIGEST.fullmatch(text(value, name)) is None:
        refuse(f"{name} must be a SHA-256")


def _people(row: Mapping[str, Any]) -> None:
    """Check a group of people: ranges, and how many they are."""
    try:
        number = count(text(row["subscriber_ids"], "subscriber_ids"))
    except ValueError as error:
        refuse(f"subscriber_ids: {error}")
    if number == 0 or not whole(row["rows"], number, number):
        refuse("rows must be the number of subscriber_ids, and not 0")


def _check_made(plan: Plan) -> None:
    """Check the rows of a new follow-up, or their removal by its undo: one of each kind, tied by their UUIDs."""
    changes = plan.changes[::-1] if plan.undoes else plan.changes
    tables = tuple(change.table for change in changes)
    if tables not in (MAKING, MAKING[:-1]):
        refuse("a follow-up makes a list with its people, and a draft with its list and attachments, nothing else")
    rows = [_row(plan, change, comes=True) for change in changes]
    _keys("the key of a new list", changes[0].key, {"uuid"})
    _keys("the key of a new draft", changes[2].key, {"uuid"})
    made, draft = _uuid(changes[0].key["uuid"], "the list's uuid"), _uuid(changes[2].key["uuid"], "the draft's uuid")
    wanted: tuple[Mapping[str, str], ...] = (
        {"uuid": made},
        {"list_uuid": made},
        {"uuid": draft},
        {"campaign_uuid": draft, "list_uuid": made},
        {"campaign_uuid": draft},
    )
    if any(dict(change.key) != key for change, key in zip(changes, wanted, strict=False)):
        refuse("the rows of a follow-up must belong together")
    parts: tuple[Callable[[Plan, Mapping[str, Any]], None], ...] = (_new_list, _new_people, _new_draft, _new_address)
    for part, row in zip((*parts, _new_attachments), rows, strict=False):
        part(plan, row)
    if not rows[0]["name"] == rows[2]["name"] == rows[3]["list_name"]:
        refuse("list and draft of a follow-up have the same name")


def _new_list(plan: Plan, row: Mapping[str, Any]) -> None:  # noqa: ARG001 - one shape for all parts
    _keys("a new list", row, {"name", "type", "optin", "tags"}, {"description"})
    if (row["type"], row["optin"], row["tags"]) != ("private", "single", ["listmonk-doctor"]):
        refuse("the list of a follow-up is private, single opt-in, with the tag listmonk-doctor")
    text(row["name"], "the list's name")
    text(row.get("description", ""), "the list's description")


def _new_people(plan: Plan, row: Mapping[str, Any]) -> None:
    _keys("the people of a new list", row, {"status", "rows", "audience_of", "subscriber_ids"})
    if row["status"] != "confirmed" or row["audience_of"] != plan.campaign_id:
        refuse("the people of a follow-up are confirmed, and of the audience of its campaign")
    _people(row)


def _new_draft(plan: Plan, row: Mapping[str, Any]) -> None:
    _keys("a new draft", row, {"name", "status", "copy_of", "columns", "content"})
    if row["status"] != "draft" or row["copy_of"] != plan.campaign_id:
        refuse("a follow-up is a draft, and a copy of its campaign")
    text(row["name"], "the draft's name")
    columns = row["columns"]
    if not isinstance(columns, list) or not columns or columns != [name for name in COPIED if name in columns]:
        refuse("a copy takes over the columns that make up a mail, and no others")
    _digest(row["content"], "content")


def _new_address(plan: Plan, row: Mapping[str, Any]) -> None:  # noqa: ARG001
    _keys("the list of a new draft", row, {"list_name"})
    text(row["list_name"], "list_name")


def _new_attachments(plan: Plan, row: Mapping[str, Any]) -> None:
    _keys("the attachments of a new draft", row, {"copy_of", "rows", "files"})
    if row["copy_of"] != plan.campaign_id or not whole(row["rows"], 1, INTEGER):
        refuse("the attachments of a follow-up are those of its campaign")
    _digest(row["files"], "files")


def _alike(change: Change, row: Mapping[str, Any]) -> None:
    """Check subscriptions of one list that are alike but for the person."""
    _keys("the key of subscriptions", change.key, {"list_uuid"})
    _uuid(change.key["list_uuid"], "the list's uuid")
    _keys("subscriptions", row, {"status", "created_at", "updated_at", "rows", "subscriber_ids"}, {"meta"})
    _status(row["status"])
    for name in ("created_at", "updated_at"):
        text(row[name] or "", name)
    _people(row)


def _status(value: Any) -> None:
    if value not in ("unconfirmed", "confirmed", "unsubscribed"):
        refuse(f"there is no status {value!r} of a subscription")


def _check_refresh(plan: Plan) -> None:
    """Check that a refresh takes people off one list, and does nothing else."""
    for change in plan.changes:
        if change.table != "subscriber_lists":
            refuse("a refresh only takes people off the list of a follow-up")
        row = _row(plan, change, comes=False)
        _alike(change, row)
        if row["status"] == "unsubscribed":
            refuse("a refresh takes off only those who would be mailed")
    if len({change.key["list_uuid"] for change in plan.changes}) > 1:
        refuse("a refresh is for one list")


def _check_settle(plan: Plan) -> None:
    """Check the changes of a settle: the follow-up's lists, unsubscriptions carried over, the list removed."""
    for change in plan.changes:
        if change.table == "campaign_lists":
            _settled_lists(plan, change)
        elif change.table == "subscriber_lists" and "list_uuid" in change.key:
            _alike(change, _row(plan, change, comes=False))
        elif change.table == "subscriber_lists":
            _carried(plan, change)
        elif change.table == "lists":
            _removed_list(plan, change)
        else:
            refuse(f"the table {change.table!r} is none that a settle may change")


def _settled_lists(plan: Plan, change: Change) -> None:
    """Check a row of the follow-up's lists: one is pointed at another list, others are added."""
    if set(change.key) == {"id"}:
        for row in (change.before, change.after):
            if row is None:
                refuse("the row of a follow-up's list is changed, not made or removed")
            _keys("a row of campaign_lists", row, {"list_id", "list_name"})
            if not whole(row["list_id"], 1, INTEGER):
                refuse("list_id must be the id of a list")
            text(row["list_name"], "list_name")
        if not whole(change.key["id"], 1, BIGINT):
            refuse("the key of a row of campaign_lists must be its id")
        return
    row = _row(plan, change, comes=True)
    _keys("a row of campaign_lists", row, {"campaign_id", "list_id", "list_name"})
    _keys("the key of a row of campaign_lists", change.key, {"campaign_id", "list_id"})
    if row["campaign_id"] != plan.campaign_id or not whole(row["list_id"], 1, INTEGER):
        refuse("a settle gives lists to the follow-up only")
    if any(row[name] != change.key[name] for name in change.key):
        refuse("the key of a row of campaign_lists must be its own")
    text(row["list_name"], "list_name")


def _carried(plan: Plan, change: Change) -> None:
    """Check an unsubscription that is carried over to a list."""
    _keys("the key of a subscription", change.key, {"subscriber_id", "list_id"})
    if not all(whole(value, 1, INTEGER) for value in change.key.values()):
        refuse("a subscription is named by its subscriber and its list")
    before, after = (change.after, change.before) if plan.undoes else (change.before, change.after)
    if before is None or after is None:
        refuse("a subscription may be ended by a settle, not made or removed")
    for row in (before, after):
        _keys("a subscription", row, {"status", "updated_at"})
        _status(row["status"])
        text(row["updated_at"] or "", "updated_at")
    if after["status"] != "unsubscribed" or before["status"] == "unsubscribed":
        refuse("a settle only carries unsubscriptions over")


def _removed_list(plan: Plan, change: Change) -> None:
    """Check the removal of the follow-up's list."""
    row = _row(plan, change, comes=False)
    _keys("the key of a list", change.key, {"uuid"})
    if row.get("uuid") != _uuid(change.key["uuid"], "the list's uuid"):
        refuse("the key of a list must be its uuid")
    wanted = {"id", "uuid", "name", "type", "optin", "tags", "created_at", "updated_at"}
    _keys("a list", row, wanted, {"description", "status"})
    if row["type"] != "private" or "listmonk-doctor" not in (row["tags"] or ()):
        refuse("only the list of a follow-up may be removed")
    if not whole(row["id"], 1, INTEGER) or not all(isinstance(tag, str) for tag in row["tags"]):
        refuse("the list's id must be a number, its tags texts")
    for name in wanted - {"id", "tags"}:
        text(row[name] or "", name)
