"""Owns the price of an undo: the campaign diagnosed as it would be once the run is taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from listmonk_doctor.render.outcome import Outcome, RunReport
from listmonk_doctor.repair.plan import ROW_LEFT_ALONE, TENDING

if TYPE_CHECKING:
    from psycopg import Cursor

    from listmonk_doctor.commands._session import Database
    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.listmonk.server import ServerState
    from listmonk_doctor.repair.plan import Diagnosis, Plan

TIMES = ("started_at", "updated_at", "send_at")


def undone(campaign: Campaign, plan: Plan) -> Campaign:
    """Return the campaign's row as an undo would leave it."""
    from listmonk_doctor.listmonk.campaign import CampaignList

    columns: dict[str, Any] = {}
    lists = list(campaign.lists)
    for change in plan.changes:
        row = change.after or {}
        if change.table == "campaigns" and change.before is not None:
            columns |= {
                name: datetime.fromisoformat(value) if name in TIMES and isinstance(value, str) else value
                for name, value in row.items()
            }
        elif change.table == "campaign_lists" and change.before is None and "id" in row:
            lists.append(CampaignList(row["id"], row.get("list_id"), str(row.get("list_name") or ""), None))
    return replace(campaign, **columns, lists=tuple(lists))


def diagnosis(cursor: Cursor[Any], plan: Plan, server: ServerState | None) -> Diagnosis | None:
    """Diagnose the campaign as it would be after the undo, in the cursor's transaction; None where it is gone."""
    from listmonk_doctor.repair.diagnose import diagnose_as

    return diagnose_as(cursor, plan.campaign_id, lambda row: undone(row, plan), server=server, undone=plan.undoes)


def with_price(plan: Plan, said: Diagnosis) -> Plan:
    """Return the plan of an undo with its price: that of leaving the campaign as the undo leaves it."""
    from listmonk_doctor.repair.diagnose import price_of

    nothing = said.option("nothing")
    guards = {
        **plan.guards,
        "audience": said.examination.facts["audience"],
        "settings": dict(said.examination.settings.raw or {}),
    }
    return replace(plan, price=price_of(nothing) if nothing else {}, guards=guards if plan.changes else plan.guards)


def priced(conn: Connection, plan: Plan) -> Plan | None:
    """Price the plan of an undo anew, in the transaction of `apply`; None where the campaign is gone."""
    if not plan.changes or plan.strategy in TENDING:
        return plan
    with conn.cursor() as cursor:
        said = diagnosis(cursor, plan, None)
    return with_price(plan, said) if said else None


def outcome(
    cursor: Cursor[Any],
    plan: Plan,
    server: ServerState,
    schema: str,
    *,
    app_stopped: bool,
) -> Outcome:
    """Return what the undo of one campaign would do, or why it is refused: a row that moved, or that is at work."""
    from listmonk_doctor.errors import DoctorError
    from listmonk_doctor.repair import followup_undo, guards
    from listmonk_doctor.repair.gate import may_write

    base = Outcome(plan.campaign_id, plan.campaign_name, changes=plan.changes, plan=plan)
    if not plan.changes:
        return base
    row = guards.read_row(cursor.connection, schema, plan.campaign_id)
    moved = guards.row_differences(plan, row) + followup_undo.obstacles(cursor.connection, plan)
    if moved:
        hint = "Since then something else was done with it, which an undo would destroy."
        return replace(base, refused=f"{'; '.join(moved)}.", hint=hint)
    if plan.strategy in TENDING:
        return replace(base, advice=followup_undo.warnings(plan))
    from listmonk_doctor.diagnosis.examine import read_figures

    figures = read_figures(cursor, [plan.campaign_id])[plan.campaign_id]
    said = diagnosis(cursor, plan, server)
    if said is None:  # pragma: no cover - the row was there a moment ago, in this snapshot
        raise DoctorError(f"Campaign {plan.campaign_id} is gone.")
    priced_plan = with_price(plan, said)
    if plan.strategy in ROW_LEFT_ALONE:
        return replace(base, plan=priced_plan, advice=said.advice)
    gate = may_write(
        figures.campaign,
        now=figures.now,
        running=server.running,
        pipe=server.pipes.get(plan.campaign_id, "not-looked"),
        app_stopped=app_stopped,
    )
    if not gate.open:
        return replace(base, plan=priced_plan, refused=f"Not now: {gate.because}.", advice=said.advice)
    return replace(base, plan=priced_plan, advice=said.advice)


def planned(database: Database, run: str | None, *, wait: bool, app_stopped: bool) -> RunReport:
    """Return what an undo of a run (None: the last that still stands) would do, campaign by campaign."""
    from listmonk_doctor.commands._session import look
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.repair.undo import undo_plan, undoable

    entries = undoable(database.conn, database.schema, run)
    plans = [undo_plan(each) for each in entries]
    server = look(database, [each.campaign_id for each in plans if each.changes], wait=wait)
    outcomes = []
    for plan in plans:
        with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
            outcomes.append(outcome(cursor, plan, server, database.schema, app_stopped=app_stopped))
    return RunReport("undo", tuple(outcomes), of_run=entries[0].run)
