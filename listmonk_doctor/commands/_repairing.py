"""Owns which plans a `repair` makes: the campaigns meant, the strategy for each, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from listmonk_doctor.commands._scanning import scanned
from listmonk_doctor.commands._session import Database, diagnosed, found
from listmonk_doctor.render.outcome import Outcome

if TYPE_CHECKING:
    from listmonk_doctor.repair.plan import Diagnosis, Option, Plan

UNKNOWN = "it is not one of the repairs that this campaign allows"
NOTHING_FITS = "no repair can be recommended; the prices are there to choose by"


def suspects(database: Database) -> list[int]:
    """Return the campaigns of which a scan says more than an info, the worst first."""
    loud = (each for each in scanned(database).findings if each.table == "campaigns" and each.severity != "info")
    return list(dict.fromkeys(each.id for each in loud if each.id is not None))


def chosen(said: Diagnosis, strategy: str | None, prefer: str) -> Option | None:
    """Return the strategy that was asked for, by the preference where it has one; else the recommended one."""
    if strategy is None:
        return next((option for option in said.options if option.recommended), None)
    return said.option(strategy, prefer) or said.option(strategy)


def refusal(option: Option) -> str:
    """Return why an option is not done; "" where it may be done now."""
    if option.refusal:
        return option.refusal
    return "" if option.allowed_now else option.because.partition("Not now: ")[2] or option.because


def outcome(said: Diagnosis, option: Option | None, *, reason: str, until: str | None, asked: str | None) -> Outcome:
    """Return what a repair would do to one campaign: its plan, or why there is none."""
    from listmonk_doctor.diagnosis.eta import duration
    from listmonk_doctor.repair.diagnose import make_plan

    row = said.examination.campaign
    if option is None:
        why = f"{asked}: {UNKNOWN}" if asked else NOTHING_FITS
        return Outcome(row.id, row.name, diagnosis=said, refused=why)
    why = refusal(option)
    plan: Plan | None = None
    if not why and option.strategy != "nothing":
        plan = make_plan(said, option, reason=reason)
        if option.strategy == "accept":
            plan = replace(plan, guards={**plan.guards, "until": until})
    return Outcome(
        row.id,
        row.name,
        changes=option.changes,
        refused=why,
        diagnosis=said,
        option=option,
        plan=plan,
        lasts=duration(option.would_mail, said.examination.settings),
    )


def outcomes(  # noqa: PLR0913 - what the command line says
    database: Database,
    campaign: str | None,
    *,
    strategy: str | None,
    prefer: str,
    reason: str,
    until: str | None,
    exactly: bool,
    wait: bool,
    app_stopped: bool,
) -> list[Outcome]:
    """Return what a repair would do: to the campaign named, else to every suspect that has a recommended repair."""
    ids = suspects(database) if campaign is None else [found(database, campaign, exactly=exactly).id]
    if not ids:
        return []
    said = diagnosed(database, ids, prefer=prefer, wait=wait, app_stopped=app_stopped)
    made = [
        outcome(said[each], chosen(said[each], strategy, prefer), reason=reason, until=until, asked=strategy)
        for each in ids
        if each in said
    ]
    if campaign is None:
        made = [each for each in made if each.option is not None and each.option.strategy != "nothing"]
    return made


def of_plan(plan: Plan) -> Outcome:
    """Return a saved plan as an outcome: there is no diagnosis, but the price that it was made with."""
    return Outcome(plan.campaign_id, plan.campaign_name, changes=plan.changes, plan=plan)
