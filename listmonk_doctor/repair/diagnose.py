"""Owns the whole diagnosis of campaigns: examination, priced options, advice, and the plan of an option."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from listmonk_doctor.diagnosis.account import bounds
from listmonk_doctor.diagnosis.examine import each_figures, examine, read_figures
from listmonk_doctor.listmonk.campaign import PROGRESS_COLUMNS
from listmonk_doctor.listmonk.facts import read_campaigns
from listmonk_doctor.repair import followup
from listmonk_doctor.repair.advice import advise
from listmonk_doctor.repair.followup_facts import read_known
from listmonk_doctor.repair.followup_option import with_followup
from listmonk_doctor.repair.plan import Diagnosis, Plan
from listmonk_doctor.repair.pricing import Case
from listmonk_doctor.repair.strategies import Setting, options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from psycopg import Cursor

    from listmonk_doctor.diagnosis.chunks import Progress
    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.recorded_people import Heard
    from listmonk_doctor.diagnosis.report import Examination, Pipe
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.listmonk.server import ServerState
    from listmonk_doctor.repair.followup_facts import Known
    from listmonk_doctor.repair.journal import Former
    from listmonk_doctor.repair.plan import Option, Prefer


def diagnose_in(  # noqa: PLR0913 - what a diagnosis rests on
    cur: Cursor[Any],
    campaign_ids: Sequence[int],
    *,
    server: ServerState | None,
    prefer: Prefer = "no-duplicates",
    app_stopped: bool = False,
    recordings: Mapping[int, Heard] | None = None,
    groups: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> dict[int, Diagnosis]:
    """Diagnose campaigns in the cursor's own transaction, by id; ids that do not exist are left out.

    `server` is what the looks at the scanner and the row versions said (None: nobody looked), `recordings` by id what
    recordings of the progress mean. `groups` are the groups of people that a follow-up is asked for (None: those that
    can be defended best). `progress` is told how far the one pass over all their lists has come.
    """
    known = read_known(cur, list(read_campaigns(cur, campaign_ids).values()))
    return {
        figures.campaign.id: _diagnose(
            figures,
            server,
            prefer,
            known[figures.campaign.id],
            app_stopped=app_stopped,
            groups=groups,
        )
        for figures in each_figures(cur, campaign_ids, recordings, progress)
    }


def diagnose_as(
    cur: Cursor[Any],
    campaign_id: int,
    row: Callable[[Campaign], Campaign],
    *,
    server: ServerState | None,
    undone: str | None = None,
) -> Diagnosis | None:
    """Diagnose a campaign as if its row read otherwise: `row` returns that row; None where the campaign is gone.

    `undone` is a run that is to be thought away: the follow-up that it made is not there then.
    """
    figures = read_figures(cur, [campaign_id]).get(campaign_id)
    if figures is None:
        return None
    known = read_known(cur, [figures.campaign])[campaign_id]
    known = replace(known, made=tuple(each for each in known.made if each.run != undone))
    before = replace(figures, campaign=row(figures.campaign), repaired=None, recorded=None)
    return _diagnose(before, server, "no-duplicates", known, app_stopped=False, groups=None)


def _diagnose(  # noqa: PLR0913 - what a diagnosis rests on
    figures: Figures,
    server: ServerState | None,
    prefer: Prefer,
    known: Known,
    *,
    app_stopped: bool,
    groups: Sequence[str] | None,
) -> Diagnosis:
    pipe: Pipe = "not-looked"
    running, scanners, because = None, 0, "nobody looked"
    if server is not None:
        pipe = server.pipes.get(figures.campaign.id, "not-looked")
        running, scanners, because = server.running, server.scanners, server.because
    whole, figures = figures, followup.narrowed(figures, known)
    examination = examine(figures, running=running, scanners=scanners, pipe=pipe, because=because)
    case = Case(figures, bounds(figures), examination.recipients)
    elsewhere = known.is_of is not None and known.is_of.settled is not None
    setting = Setting(case, examination, prefer, app_stopped, elsewhere)
    found = with_followup(setting, known, options(setting), groups)
    told = replace(examination, happened=(*examination.happened, *followup.story(known)))
    word = app_stopped and pipe != "open"  # somebody's word that none runs, and nothing seen against it
    seen = replace(examination, running=False) if word else examination
    said = followup.advised(known, advise(figures, seen, found))
    return Diagnosis(_with_guards(told, whole), found, said)


def _with_guards(examination: Examination, figures: Figures) -> Examination:
    """Return the examination with the facts that a plan's guards need."""
    audience = {"count": len(figures.audience.now), "digest": figures.audience.digest()}
    return replace(examination, facts={"audience": audience, "seen_at": json_value(figures.now)})


def json_value(value: Any) -> Any:
    """Return a column's value as JSON has it: moments as ISO 8601 in UTC with microseconds, all else unchanged."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value


def make_plan(diagnosis: Diagnosis, option: Option, *, reason: str = "") -> Plan:
    """Return the plan of one option: its changes, the guards they rest on, and its price."""
    examination = diagnosis.examination
    campaign = examination.campaign
    return Plan(
        campaign_id=campaign.id,
        campaign_uuid=campaign.uuid,
        campaign_name=campaign.name,
        listmonk_version=examination.version,
        strategy=option.strategy,
        prefer=option.prefer,
        changes=option.changes,
        guards=guards(examination) | ({"follow_up": {"groups": list(option.groups)}} if option.groups else {}),
        price=price_of(option),
        reason=reason,
        notes=followup.notes(option, campaign.id),
    )


def guards(examination: Examination) -> dict[str, Any]:
    """Return everything that must still be true when the plan is applied, as JSON values."""
    campaign = examination.campaign
    return {
        "row": {column: json_value(getattr(campaign, column)) for column in PROGRESS_COLUMNS},
        "xmin": campaign.xmin if examination.pipe == "none" else None,
        "settings": dict(examination.settings.raw or {}),
        "audience": dict(examination.facts.get("audience", {})),
        "lists": [[entry.row_id, entry.list_id, entry.optin] for entry in campaign.lists],
        "server": {"running": examination.running, "pipe": examination.pipe},
    }


def price_of(option: Option) -> Mapping[str, Any]:
    """Return an option's price as JSON values."""
    price: dict[str, Any] = {
        "missed": list(option.missed),
        "duplicates": list(option.duplicates),
        "newcomers": list(option.newcomers),
        "would_mail": list(option.would_mail),
        "presumably": None,
    }
    if option.presumably is not None:
        price["presumably"] = {
            "missed": list(option.presumably.missed),
            "duplicates": list(option.presumably.duplicates),
            "assumptions": list(option.presumably.assumptions),
        }
    return price


def with_former(diagnosis: Diagnosis, former: Sequence[Former]) -> Diagnosis:
    """Return a diagnosis whose story tells what repairs overwrote in `sent` and the cursor: no evidence is lost."""
    if not former:
        return diagnosis
    told = tuple(
        f"Run {each.run} ({each.strategy}, {each.applied_at:%Y-%m-%d %H:%M} UTC) changed it: before, it read "
        f"{each.status}, {each.sent:,} sent of {each.to_send:,}, cursor {each.last_subscriber_id:,}."
        for each in former
    )
    seen = diagnosis.examination
    return replace(diagnosis, examination=replace(seen, happened=(*seen.happened, *told)))
