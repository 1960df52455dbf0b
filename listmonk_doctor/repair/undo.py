"""Owns taking a run back: the reversed plan, which run can be undone, and that it is undone only once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from listmonk_doctor.errors import RefusedError
from listmonk_doctor.repair import journal
from listmonk_doctor.repair.plan import Change, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.journal import Entry


def reversed_plan(plan: Plan, *, run: str, row_after: Mapping[str, Any]) -> Plan:
    """Return the plan that takes a plan back which was applied as `run` and left the progress row `row_after`.

    Its only guard is that row, as the repair left it; a price and further guards are the caller's to add. To take
    back an `accept` nothing in listmonk has to be as it was.
    """
    changes = tuple(Change(each.table, each.key, each.after, each.before) for each in reversed(plan.changes))
    return Plan(
        campaign_id=plan.campaign_id,
        campaign_uuid=plan.campaign_uuid,
        campaign_name=plan.campaign_name,
        listmonk_version=plan.listmonk_version,
        strategy=plan.strategy,
        prefer=plan.prefer,
        changes=changes,
        guards={"row": _rests_on(plan, row_after)} if changes else {},
        price={},
        undoes=run,
    )


def _rests_on(plan: Plan, row_after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the campaign's row that an undo wants as the repair left them.

    A follow-up leaves its campaign's row alone, and whatever happens to that row later does not matter to its undo;
    people are put back on a list only before anybody was mailed.
    """
    if plan.strategy == "follow-up":
        return {}
    if plan.strategy == "follow-up-refresh":
        return {name: row_after[name] for name in ("status", "sent", "started_at")}
    return dict(row_after)


def undo_plan(entry: Entry) -> Plan:
    """Return the plan that takes one campaign of a run back, without a price.

    Raises RefusedError for an undo: a repair that was taken back is planned and priced anew.
    """
    if entry.undoes is not None:
        raise RefusedError(
            f"Run {entry.run} is itself an undo, of run {entry.undoes}.",
            hint=f"To repair the campaign after all: listmonk-doctor repair {entry.campaign_id}",
        )
    return reversed_plan(entry.plan, run=entry.run, row_after=entry.row_after)


def undoable(conn: Connection, schema: str, run: str | None = None) -> tuple[Entry, ...]:
    """Return what is to be undone: the campaigns of a run (default: the last that was not undone) not yet undone.

    Raises RefusedError where there is nothing: no such run, an undo, a run that was undone, an empty journal.
    """
    if run is not None:
        found = journal.entry(conn, schema, run)
    else:
        open_entries = [
            each for each in journal.history(conn, schema) if each.undoes is None and each.undone_by is None
        ]
        if not open_entries:
            raise RefusedError("There is nothing to undo.", hint="`listmonk-doctor history` lists what was done.")
        found = journal.entry(conn, schema, open_entries[0].run)
    for each in found:
        if each.undoes is not None:
            undo_plan(each)
    rest = tuple(each for each in found if each.undone_by is None)
    if not rest:
        raise _undone(found[0])
    return rest


def refuse_unless_open(conn: Connection, schema: str, plan: Plan) -> None:
    """Make sure that an undo takes back what the journal says, and for the first time; in its own transaction.

    Raises RefusedError.
    """
    for each in journal.history(conn, schema):
        if (each.run, each.campaign_id) != (plan.undoes, plan.campaign_id):
            continue
        if each.undone_by is not None:
            raise _undone(each)
        if undo_plan(each).changes != plan.changes:
            raise RefusedError(
                f"What is to be undone is not what run {each.run} did.", hint="Make the undo anew: listmonk-doctor undo"
            )
        return
    raise RefusedError(
        f"The journal has no run {plan.undoes} of campaign {plan.campaign_id}.",
        hint="`listmonk-doctor history` lists what was done.",
    )


def _undone(entry: Entry) -> RefusedError:
    """Say when and by which run something was undone."""
    at = f"{entry.undone_at:%Y-%m-%d %H:%M:%S %Z}" if entry.undone_at else "an unknown time"
    return RefusedError(
        f"Run {entry.run} was undone already, at {at}, by run {entry.undone_by}.",
        hint=f"To repair the campaign again: listmonk-doctor repair {entry.campaign_id}",
    )
