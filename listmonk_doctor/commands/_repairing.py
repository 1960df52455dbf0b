"""Owns which plans a `repair` makes: the campaigns meant, the strategy for each, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.commands._failures import say
from listmonk_doctor.commands._scanning import scanned, tell_failed
from listmonk_doctor.commands._session import Database, diagnosed, found
from listmonk_doctor.render.outcome import Outcome

if TYPE_CHECKING:
    from listmonk_doctor.commands._evidence import Evidence
    from listmonk_doctor.diagnosis.findings import NotRun
    from listmonk_doctor.repair.plan import Diagnosis, Option, Plan

DEFAULT_PREFER: Final = "no-duplicates"
UNKNOWN: Final = "it is not one of the repairs that this campaign allows"
NOTHING_FITS: Final = "no repair can be recommended; the prices are there to choose by"


class Made(NamedTuple):
    """What is to be done to each campaign, and the checks that failed when campaigns were looked for."""

    outcomes: list[Outcome]
    failed: tuple[NotRun, ...] = ()


def suspects(database: Database) -> tuple[list[int], tuple[NotRun, ...]]:
    """Return the campaigns of which a scan says more than an info, the worst first, and the checks that failed."""
    report = scanned(database)
    loud = (each for each in report.findings if each.table == "campaigns" and each.severity != "info")
    return list(dict.fromkeys(each.id for each in loud if each.id is not None)), report.failed


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says of the repair: strategy and preference (None: as recommended), and of an `accept`."""

    strategy: str | None = None
    prefer: str | None = None
    reason: str = ""
    until: str | None = None
    groups: tuple[str, ...] | None = None


def chosen(said: Diagnosis, wanted: Wanted) -> Option | None:
    """Return the option that was asked for; None where this campaign has no such one.

    A preference that was asked for is kept to; without one the recommended variant comes first, then the one that
    mails nobody twice.
    """
    if wanted.strategy is None:
        return next((option for option in said.options if option.recommended), None)
    variants = [option for option in said.options if option.strategy == wanted.strategy]
    if wanted.prefer is not None:
        return next((option for option in variants if option.prefer in (None, wanted.prefer)), None)
    variants.sort(key=lambda option: (not option.recommended, option.prefer != DEFAULT_PREFER))
    return variants[0] if variants else None


def refusal(option: Option) -> str:
    """Return why an option is not done; "" where it may be done now."""
    if option.refusal:
        return option.refusal
    return "" if option.allowed_now else option.because.partition("Not now: ")[2] or option.because


def outcome(said: Diagnosis, wanted: Wanted) -> Outcome:
    """Return what a repair would do to one campaign: its plan, or why there is none."""
    from listmonk_doctor.diagnosis.eta import duration
    from listmonk_doctor.repair.diagnose import make_plan

    option = chosen(said, wanted)
    row = said.examination.campaign
    if option is None:
        asked = " ".join(word for word in (wanted.strategy, wanted.prefer) if word)
        why = f"{asked}: {UNKNOWN}" if wanted.strategy else NOTHING_FITS
        return Outcome(row.id, row.name, diagnosis=said, refused=why)
    why = refusal(option)
    plan: Plan | None = None
    if not why and option.strategy != "nothing":
        plan = make_plan(said, option, reason=wanted.reason)
        if option.strategy == "accept":
            plan = replace(plan, guards={**plan.guards, "until": wanted.until})
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
    wanted: Wanted,
    *,
    exactly: bool,
    wait: bool,
    app_stopped: bool,
    evidence: Evidence | None = None,
) -> Made:
    """Return what a repair would do: to the campaign named, else to every suspect that has a recommended repair.

    Where no suspect has one, all of them are returned with their prices; where some have none, or a check failed,
    stderr says which.
    """
    failed: tuple[NotRun, ...] = ()
    if campaign is None:
        ids, failed = suspects(database)
        tell_failed(failed)
    else:
        ids = [found(database, campaign, exactly=exactly).id]
    if not ids:
        return Made([], failed)
    prefer = wanted.prefer or DEFAULT_PREFER
    said = diagnosed(
        database,
        ids,
        prefer=prefer,
        wait=wait,
        app_stopped=app_stopped,
        groups=wanted.groups,
        evidence=evidence,
    )
    made = [outcome(said[each], wanted) for each in ids if each in said]
    if campaign is not None:
        return Made(made)
    able = [each for each in made if each.option is not None and each.option.strategy != "nothing"]
    unable = [each for each in made if each.option is None]
    if able and unable:
        names = ", ".join(str(each.campaign_id) for each in unable)
        say(f"Left out, since no repair can be recommended: campaign {names}. See: listmonk-doctor repair CAMPAIGN")
    return Made(able or unable, failed)


def of_plan(plan: Plan) -> Outcome:
    """Return a saved plan as an outcome: there is no diagnosis, but the price that it was made with."""
    return Outcome(plan.campaign_id, plan.campaign_name, changes=plan.changes, plan=plan)
