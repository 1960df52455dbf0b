"""Owns the strategies: which there are for a campaign, what each changes, and which can be defended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from listmonk_doctor.diagnosis.candidates import pinned
from listmonk_doctor.diagnosis.idsets import above
from listmonk_doctor.listmonk.versions import behaves
from listmonk_doctor.repair.gate import Gate, is_due, may_write
from listmonk_doctor.repair.plan import Change, Option
from listmonk_doctor.repair.pricing import (
    EVERYBODY,
    Case,
    Price,
    hangs,
    mailed_from,
    presume,
    presume_level,
    presume_recorded,
    price_from,
    price_nobody,
    price_untouched,
)
from listmonk_doctor.repair.rewind import Target, targets

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.report import Examination
    from listmonk_doctor.listmonk.campaign import CampaignList
    from listmonk_doctor.repair.plan import Prefer, Presumed, Strategy

PINNED = (
    "lists-unchanged-while-sending",
    "stopped-once",
    "never-started-over",
    "no-failures",
    "no-flush-lost-or-doubled",
)
"""What a presumed price of M2 on a finished row rests on."""

HANGS = "every fetch fails on the row of a deleted list, so that nobody would be mailed: remove that row first"

LEVEL = ("lists-unchanged-while-sending", "never-started-over", "no-flush-lost-or-doubled")
"""What a presumed price rests on where the cursor is trusted: no more are short below it than `sent` lacks."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the options depend on besides the figures: the examination, the preference, the operator's word.

    `elsewhere`: the figures are of other people than its lists hold (a settled follow-up), so Start has no price.
    """

    case: Case
    examination: Examination
    prefer: Prefer
    app_stopped: bool
    elsewhere: bool = False


def _option(  # noqa: PLR0913  (an option has that many parts)
    strategy: Strategy,
    price: Price,
    gate: Gate,
    because: str,
    *,
    changes: tuple[Change, ...] = (),
    prefer: Prefer | None = None,
    recommended: bool = False,
    presumably: Presumed | None = None,
    refusal: str = "",
) -> Option:
    reasons = [because, refusal, "" if gate.open or refusal else f"Not now: {gate.because}"]
    return Option(
        strategy=strategy,
        prefer=prefer,
        recommended=recommended and not refusal,
        allowed_now=gate.open and not refusal,
        because=" ".join(sentence(text) for text in reasons if text),
        changes=changes,
        missed=price.missed,
        duplicates=price.duplicates,
        newcomers=price.newcomers,
        would_mail=price.would_mail,
        presumably=presumably,
        refusal=refusal,
    )


def sentence(text: str) -> str:
    """Return a text as a sentence: with a capital and a full stop."""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!")) else ".")


def _row_change(setting: Setting, after: dict[str, Any]) -> tuple[Change, ...]:
    """Return the change of the campaign's row to `after`, with only the columns that change; none: no change."""
    campaign = setting.case.figures.campaign
    moved = {column: value for column, value in after.items() if getattr(campaign, column) != value}
    if not moved:
        return ()
    return (Change("campaigns", {"id": campaign.id}, {column: getattr(campaign, column) for column in moved}, moved),)


def _gate(setting: Setting, *, unschedule: bool = False) -> Gate:
    examination = setting.examination
    return may_write(
        examination.campaign,
        now=setting.case.figures.now,
        running=examination.running,
        pipe=examination.pipe,
        app_stopped=setting.app_stopped,
        unschedule=unschedule,
    )


def options(setting: Setting) -> tuple[Option, ...]:
    """Return every strategy that can be thought of for this campaign, priced; "nothing" is always the first."""
    found = [_nothing(setting)]
    campaign = setting.case.figures.campaign
    resumable = campaign.status == "cancelled" or (campaign.status == "paused" and _stretch_ahead(setting))
    if resumable or (campaign.status == "finished" and setting.examination.verdict != "complete"):
        found += [] if setting.elsewhere else [_resume(setting)]
    found += [] if setting.elsewhere else _rewinds(setting)
    if campaign.status == "scheduled":
        found.append(_unschedule(setting))
    if campaign.deleted_lists and campaign.status in ("draft", "scheduled", "running", "paused"):
        found.append(_detach(setting))
    if campaign.status in ("finished", "cancelled", "paused") and setting.examination.verdict != "complete":
        found.append(_accept(setting))
    recorded = setting.case.figures.recorded
    if recorded is None or not recorded.narrows:
        return tuple(found)
    return tuple(replace(each, because=f"{each.because} The price rests on {recorded.source}.") for each in found)


def _nothing(setting: Setting) -> Option:
    figures, verdict = setting.case.figures, setting.examination.verdict
    price = price_untouched(setting.case)
    status = figures.campaign.status
    trusted = figures.cursor_trusted and (
        figures.ahead <= figures.slack
        or (status == "paused" and setting.prefer == "no-duplicates" and figures.ahead <= figures.then.flush)
    )
    healthy = verdict in ("complete", "cancelled", "not-started") or (verdict == "in-progress" and trusted)
    broken = bool(figures.campaign.deleted_lists) or is_due(figures.campaign, figures.now) or figures.overwritten
    because = "leaves everything as it is"
    if verdict == "complete":
        because = "as far as the figures can tell, everybody was mailed, failed by name, or left: nothing to mend"
    elif status == "paused":
        because = "leaves it as it is: Start in listmonk goes on from its cursor"
        if figures.cursor_trusted and figures.ahead > figures.slack:
            because += (
                f"; {figures.ahead:,} people below it are not counted as sent: refused, sent and not counted, or lost"
            )
    elif hangs(figures):
        because = "leaves it as it is: it hangs, since every fetch fails on the row of the deleted list"
    elif status == "running":
        because = "leaves it as it is: a server goes on from its cursor"
    elif is_due(figures.campaign, figures.now):
        because = "leaves it as it is: a server sends it within 5 s of its start"
        if not figures.audience.now:
            because = "leaves it as it is: nobody is in its audience; whoever joins its lists would be mailed at once"
    rests = status not in ("running", "paused", "scheduled") or hangs(figures)
    presumably = _presumed(setting, EVERYBODY if rests else figures.campaign.cursor)
    free = Gate(open=True, because="")
    return _option("nothing", price, free, because, recommended=healthy and not broken, presumably=presumably)


def _presumed(setting: Setting, cursor: int) -> Presumed | None:
    """Return the presumed price where the row supports one; None elsewhere.

    Where M2 on a finished row pins the one stop down, the first `sent` people were mailed. Where the cursor is
    trusted, no more people are short below it than `sent` lacks.
    """
    figures = setting.case.figures
    if figures.watched is not None:
        codes = tuple(each.code for each in setting.examination.assumptions)
        return presume_recorded(setting.case, cursor, codes) if figures.started else None
    if pinned(figures) is not None:
        return presume(setting.case, cursor, PINNED)
    told = figures.started and figures.cursor_trusted and not figures.counts_fetched
    if told:
        unneeded = () if figures.can_start_over else ("never-started-over",)
        return presume_level(setting.case, cursor, tuple(code for code in LEVEL if code not in unneeded))
    return None


def _stretch_ahead(setting: Setting) -> bool:
    """Tell whether the server now running would stop at an ineligible stretch before it has mailed everybody (M3)."""
    figures = setting.case.figures
    return mailed_from(figures, figures.campaign.cursor) != above(figures.audience.now, figures.campaign.cursor)


def _resume(setting: Setting) -> Option:
    """M3, M4: status -> paused; a server up to 3.0.0 needs the cursor at the id before the next eligible person."""
    case, figures = setting.case, setting.case.figures
    cursor, left = figures.campaign.cursor, len(figures.tail)
    moved = cursor
    if _stretch_ahead(setting) and figures.next_start_mails:
        moved = int(figures.next_start_mails.min()) - 1
    price = price_from(case, moved)
    refusal = ""
    if figures.overwritten or not figures.cursor_trusted:
        refusal = (
            f"the cursor ({cursor:,}) is not where the sending stood: Start would mail {price.would_mail} people, "
            f"most of them for the second time"
        )
    elif not figures.left_above and figures.ended:
        refusal = f"nobody is left above the cursor ({cursor:,}): Start would send nothing"
        if behaves("cursor-overwritten", figures.settings.version):
            refusal += " and overwrite the cursor with a count (M2)"
    elif hangs(figures):
        refusal = HANGS
    elif mailed_from(figures, moved) != above(figures.audience.now, moved):
        refusal = (
            "another stretch of people who cannot be mailed, as long as a batch, lies ahead: this version would stop "
            "there again; raise app.batch_size first"
        )
    above_cursor = len(mailed_from(figures, moved))
    surely = f"; {left:,} of them were surely never fetched" if left != above_cursor else ", who were never fetched"
    because = f"mails the {above_cursor:,} people above the cursor{surely}" if left else "goes on from the cursor"
    if figures.campaign.status == "cancelled":
        because = "takes the cancelling back: only if that is what you want"
    if moved != cursor:
        because += f"; the cursor moves past {cursor:,} to {moved:,}, since nobody between can be mailed"
    return _option(
        "resume",
        price,
        _gate(setting),
        because,
        changes=_row_change(setting, {"status": "paused", "last_subscriber_id": moved}),
        recommended=setting.examination.verdict == "incomplete",
        refusal=refusal,
        presumably=_presumed(setting, moved),
    )


def _rewinds(setting: Setting) -> list[Option]:
    found = []
    for target in targets(setting.case):
        after = {"status": "paused", "last_subscriber_id": target.cursor, "sent": target.rank}
        price = price_from(setting.case, target.cursor)
        presumably = _presumed(setting, target.cursor)
        refusal = target.refusal or (HANGS if hangs(setting.case.figures) else "")
        if not refusal and mailed_from(setting.case.figures, target.cursor) != above(
            setting.case.figures.audience.now, target.cursor
        ):
            refusal = "a stretch of people who cannot be mailed lies ahead: this version would stop there again"
        found.append(
            _option(
                "rewind",
                price,
                _gate(setting),
                target.because,
                changes=_row_change(setting, after),
                prefer=target.prefer,
                recommended=target.defensible and _preferred(setting, target),
                presumably=presumably,
                refusal=refusal,
            )
        )
    return found


def _preferred(setting: Setting, target: Target) -> bool:
    """Tell whether a target is the one to recommend: the preference asked for, and nobody is at work on the row."""
    examination = setting.examination
    if target.prefer != setting.prefer or examination.pipe == "open":
        return False
    if examination.campaign.status == "running":
        return examination.running is False or setting.app_stopped
    return examination.campaign.status in ("finished", "paused")


def _unschedule(setting: Setting) -> Option:
    figures = setting.case.figures
    due = is_due(figures.campaign, figures.now)
    refusal = "" if figures.campaign.started_at is None and figures.campaign.sent == 0 else "it was started before"
    because = (
        "it is due and was never picked up; as a draft it waits until you set a new time or press Start"
        if due
        else "its time has not come; as a draft it would not be sent by itself"
    )
    return _option(
        "unschedule",
        price_nobody(setting.case),
        _gate(setting, unschedule=True),
        because,
        changes=_row_change(setting, {"status": "draft"}),
        recommended=due,
        refusal=refusal,
    )


def _detach(setting: Setting) -> Option:
    """M6: the NULL rows of deleted lists removed; status -> paused if it was running."""
    figures = setting.case.figures
    campaign = figures.campaign
    removed = tuple(_removed(campaign.id, entry) for entry in campaign.deleted_lists)
    after = {"status": "paused"} if campaign.status == "running" else {}
    hangs = behaves("deleted-list-breaks-fetch", figures.settings.version)
    because = (
        f"removes {len(removed)} row(s) of deleted lists, on which every fetch fails"
        if hangs
        else "this version goes on without a deleted list: nothing has to be removed"
    )
    refusal = "" if figures.cursor_trusted else "the cursor cannot be trusted: mend it first"
    return _option(
        "detach-list",
        price_from(setting.case, campaign.cursor, detached=True),
        _gate(setting),
        because,
        changes=(*removed, *_row_change(setting, after)),
        recommended=hangs,
        refusal=refusal,
    )


def _removed(campaign_id: int, entry: CampaignList) -> Change:
    before = {"id": entry.row_id, "campaign_id": campaign_id, "list_id": None, "list_name": entry.name}
    return Change("campaign_lists", {"id": entry.row_id}, before, None)


def _accept(setting: Setting) -> Option:
    because = "changes nothing in listmonk; the finding stays quiet until the row changes"
    return _option("accept", price_untouched(setting.case), Gate(open=True, because=""), because)
