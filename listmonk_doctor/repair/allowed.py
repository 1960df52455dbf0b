"""Owns what a plan may touch at all: tables, columns, values by strategy; nothing else is ever written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from listmonk_doctor.errors import UsageError
from listmonk_doctor.repair.guards import canonical
from listmonk_doctor.repair.plan import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listmonk_doctor.repair.plan import Change, Plan

STATUSES: Final = ("draft", "scheduled", "running", "paused", "cancelled", "finished")
MAY_CHANGE: Final[Mapping[str, frozenset[str]]] = {
    "nothing": frozenset(),
    "accept": frozenset(),
    "resume": frozenset({"status", "last_subscriber_id"}),
    "rewind": frozenset({"status", "last_subscriber_id", "sent"}),
    "unschedule": frozenset({"status"}),
    "detach-list": frozenset({"status"}),
    "follow-up": frozenset(),
    "follow-up-refresh": frozenset(),
    "follow-up-settle": frozenset(),
}
"""The columns of `campaigns` that a strategy may change; `detach-list` may also remove a row of `campaign_lists`."""
LIST_COLUMNS: Final = frozenset({"id", "campaign_id", "list_id", "list_name"})
INTEGER: Final = 2**31 - 1
BIGINT: Final = 2**63 - 1
AGAIN: Final = "Make the plan anew: listmonk-doctor repair CAMPAIGN --plan-out FILE."


def refuse(what: str) -> NoReturn:
    """Raise the error of a plan that is not used."""
    raise UsageError(f"The plan cannot be used: {what}.", hint=AGAIN)


def whole(value: object, low: int, high: int) -> bool:
    """Tell whether a value is a whole number (True and False are none) from low to high."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def text(value: Any, name: str) -> str:
    """Return a value that must be text without NUL, which PostgreSQL cannot hold."""
    if not isinstance(value, str) or "\0" in value:
        refuse(f"{name} must be text")
    return value


def check(plan: Plan) -> None:
    """Make sure that a plan changes nothing but what its strategy may change, and only of its own campaign.

    Raises UsageError. Every plan passes here before it is written, wherever it came from.
    """
    if plan.strategy not in STRATEGIES:
        refuse(f"there is no strategy {plan.strategy!r}")
    if not plan.changes and plan.strategy != "accept":
        refuse(f"{plan.strategy} would change nothing")
    seen: set[str] = set()
    tending = plan.strategy.startswith("follow-up")
    if tending:
        from listmonk_doctor.repair import followup_allowed

        followup_allowed.check(plan)
    for change in plan.changes:
        if tending:
            pass
        elif change.table == "campaigns":
            _check_campaign(plan, change)
        elif change.table == "campaign_lists":
            _check_list(plan, change)
        else:
            refuse(f"the table {change.table!r} is none that a plan may change")
        many = (change.before or change.after or {}).get("subscriber_ids") if tending else None
        row = canonical([change.table, dict(change.key), many])
        if row in seen:
            refuse("it changes one row twice")
        seen.add(row)


def _check_campaign(plan: Plan, change: Change) -> None:
    """Check an update of the campaign's row."""
    before, after = change.before, change.after
    if dict(change.key) != {"id": plan.campaign_id}:
        refuse(f"it names a row of campaigns that is not campaign {plan.campaign_id}")
    if before is None or not after or set(before) != set(after):
        refuse("a campaign may only be updated, with the same columns before and after")
    for column in after:
        if column not in MAY_CHANGE[plan.strategy]:
            refuse(f"{plan.strategy} may not change the column {column!r} of campaigns")
        if before[column] == after[column]:
            refuse(f"the column {column!r} stays as it is")
        for value in (before[column], after[column]):
            if column == "status" and value not in STATUSES:
                refuse(f"there is no status {value!r}")
            if column != "status" and not whole(value, 0, INTEGER):
                refuse(f"{column} must be a number from 0 to {INTEGER}")
    written = "draft" if plan.strategy == "unschedule" else "paused"
    if plan.undoes is None and after.get("status", written) != written:
        refuse(f"{plan.strategy} may not set the status {after['status']!r}")


def _check_list(plan: Plan, change: Change) -> None:
    """Check the removal, or as an undo the return, of a deleted list's row."""
    row, other = (change.after, change.before) if plan.undoes else (change.before, change.after)
    if plan.strategy != "detach-list" or row is None or other is not None or set(row) != LIST_COLUMNS:
        refuse("a whole row of campaign_lists may only be removed by detach-list, and put back by its undo")
    if row["campaign_id"] != plan.campaign_id or row["list_id"] is not None:
        refuse("only a row of this campaign whose list was deleted may be removed")
    if not whole(row["id"], 1, BIGINT) or dict(change.key) != {"id": row["id"]}:
        refuse("the key of a row of campaign_lists must be its id")
    text(row["list_name"], "list_name")
