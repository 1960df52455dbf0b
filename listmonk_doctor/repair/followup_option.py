"""Owns the option `follow-up` of a campaign: whether it is offered, its price, its rows, and when it is recommended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.diagnosis.candidates import pinned
from listmonk_doctor.repair import followup
from listmonk_doctor.repair.gate import may_write
from listmonk_doctor.repair.plan import Option
from listmonk_doctor.repair.pricing import presume_mailing, price_mailing
from listmonk_doctor.repair.strategies import LEVEL, PINNED, Setting, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from listmonk_doctor.repair.followup import Choice
    from listmonk_doctor.repair.followup_facts import Known
    from listmonk_doctor.repair.plan import Presumed


def with_followup(
    setting: Setting, known: Known, found: Sequence[Option], groups: Sequence[str] | None
) -> tuple[Option, ...]:
    """Return a campaign's options with the follow-up among them, all priced with the follow-ups that were made.

    `groups` are those that were asked for (None: by the row). Behind the ways to go on, before `accept`.
    """
    made = [followup.burdened(option, known.made) for option in found]
    own = _option(setting, known, made, groups)
    if own is None:
        return tuple(made)
    place = next((at for at, option in enumerate(made) if option.strategy == "accept"), len(made))
    return (*made[:place], own, *made[place:])


def _option(setting: Setting, known: Known, others: Sequence[Option], groups: Sequence[str] | None) -> Option | None:
    """Return the follow-up of a finished, paused or cancelled campaign; None where there is nothing to follow up."""
    figures, examination = setting.case.figures, setting.examination
    campaign, recipients = figures.campaign, examination.recipients
    if campaign.status not in followup.OF_STATUS or known.source is None:
        return None
    choice = followup.choose(figures, recipients, known, groups)
    asked = groups is not None or bool(known.made)
    if not asked and (examination.verdict == "complete" or not choice.people):
        return None
    refused = followup.refusal(campaign, known, choice)
    gate = may_write(
        campaign,
        now=figures.now,
        running=examination.running,
        pipe=examination.pipe,
        app_stopped=setting.app_stopped,
    )
    price = price_mailing(setting.case, choice.people)
    why = [followup.because(choice, recipients), refused, "" if gate.open or refused else f"Not now: {gate.because}"]
    option = Option(
        strategy="follow-up",
        prefer=None,
        recommended=False,
        allowed_now=gate.open and not refused,
        because=" ".join(sentence(text) for text in why if text),
        changes=() if refused else followup.changes(campaign, choice, known.source, earlier=len(known.made)),
        missed=price.missed,
        duplicates=price.duplicates,
        newcomers=price.newcomers,
        would_mail=price.would_mail,
        presumably=None if known.made else _presumed(setting, choice),
        refusal=refused,
        groups=choice.groups,
    )
    return followup.recommended(followup.burdened(option, known.made), setting.prefer, examination, others)


def _presumed(setting: Setting, choice: Choice) -> Presumed | None:
    """Return the presumed price: by M2 on a finished row that pins the stop down, else by the groups."""
    figures, examination = setting.case.figures, setting.examination
    if figures.watched is None and pinned(figures) is not None:
        return presume_mailing(setting.case, choice.people, PINNED)
    codes = tuple(each.code for each in examination.assumptions)
    unneeded = () if figures.can_start_over else ("never-started-over",)
    level = () if examination.verdict == "complete" else tuple(code for code in LEVEL if code not in unneeded)
    return followup.presumed(setting.case, choice.people, codes, level)
