"""Owns the advice that stands before any figure: what to do now and what not to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.listmonk.versions import behaves
from listmonk_doctor.repair.gate import is_due

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.report import Examination
    from listmonk_doctor.repair.plan import Option


def advise(figures: Figures, examination: Examination, options: tuple[Option, ...]) -> tuple[str, ...]:
    """Return what not to do and what to do, the most urgent first; at least one sentence."""
    said = [*_dont(figures, examination, options), *_do(figures, examination, options)]
    return tuple(said) or ("Nothing has to be done.",)


def _dont(figures: Figures, examination: Examination, options: tuple[Option, ...]) -> list[str]:
    campaign, said = figures.campaign, []
    alive = examination.running is not False
    at_work = examination.pipe == "open" or (campaign.status == "running" and alive)
    if not figures.cursor_trusted:
        mailed = len(figures.next_start_mails)
        by_hand = ", nor set it to paused by hand" if figures.ended else " as it is"
        skipped = figures.rank_by_dates(campaign.cursor) - campaign.sent
        if mailed and skipped > 0:
            harm = f"{mailed:,} people would be mailed, and {skipped:,} below it, not counted as sent, would be skipped"
            said.append(f"Do not press Start{by_hand}: from this cursor {harm}.")
        elif mailed:
            harm = f"{mailed:,} people would be mailed, many of them for the second time"
            said.append(f"Do not press Start{by_hand}: from this cursor {harm}.")
        else:
            said.append("Do not press Start: the cursor does not show who was mailed.")
    elif figures.ended and figures.left_above <= figures.slack:
        if examination.verdict != "complete" and behaves("cursor-overwritten", figures.settings.version):
            said.append("Do not set it to paused and press Start: nobody is left, and the cursor would be lost.")
    elif (
        not figures.ended
        and figures.ahead > figures.slack
        and not at_work
        and campaign.status in ("running", "paused")
        and not any(option.recommended and option.strategy == "nothing" for option in options)
    ):
        verb = "start listmonk" if campaign.status == "running" else "press Start"
        said.append(f"Do not {verb} yet: up to {figures.ahead:,} people who were fetched would be skipped.")
    if at_work and figures.ahead > figures.slack:
        unseen = examination.pipe != "open" and examination.running is None
        words, name = ("If listmonk is at work on it, do", "it") if unseen else ("Do", "listmonk")
        said.append(
            f"{words} not restart {name} and do not save its settings now: up to {figures.ahead:,} people fetched and "
            "not sent would be lost."
        )
    if campaign.status == "paused" and examination.pipe == "open":
        said.append("Do not press Start yet: it is still draining, and started now it can end as finished.")
    if is_due(campaign, figures.now) and examination.running is not True and figures.audience.now:
        said.append("Do not start listmonk before this is settled: it is due and would be picked up within 5 seconds.")
    return said


def _do(  # noqa: PLR0911 - one return per kind of advice
    figures: Figures, examination: Examination, options: tuple[Option, ...]
) -> list[str]:
    best = next((option for option in options if option.recommended), None)
    campaign = figures.campaign
    if examination.pipe == "open" and _hung(figures, examination) and (best is None or best.strategy == "nothing"):
        return _working(figures, examination)
    if examination.pipe == "open" and campaign.status != "running":
        return ["Wait until it has drained (or stop listmonk), then look again."]
    if best is None:
        if examination.verdict == "in-progress" and (examination.pipe == "open" or examination.running is not False):
            return _working(figures, examination)
        gapless = [option for option in options if (option.strategy, option.prefer) == ("rewind", "no-gaps")]
        if gapless and not figures.ended and figures.cursor_trusted:
            twice = gapless[0].duplicates.high
            command = f"`listmonk-doctor repair {campaign.id} --prefer no-gaps`"
            reach = "What was counted as sent, and what 5 uncounted seconds can hold, reach up to the cursor"
            return [f"{reach}: look at {command}, which mails up to {twice:,} people twice."]
        return [
            "No repair can be defended from the database alone: who was missed is in the relay's log.",
            *_follow(options),
        ]
    if best.strategy == "nothing":
        if campaign.status == "paused":
            return [f"Press Start when you want it to go on: it mails {best.would_mail} people."]
        return ["Nothing has to be done."]
    command = f"listmonk-doctor repair {campaign.id}"
    if best.strategy == "detach-list" and not best.allowed_now:
        return [f"Stop listmonk, run `{command} --strategy detach-list --apply`, start listmonk again and press Start."]
    if not best.allowed_now:
        return [f"Before anything can be repaired: {best.because.rpartition('Not now: ')[2]}"]
    first = best.because.split(". ")[0]
    return [f"Look at `{command}` (a dry run): {first[0].lower()}{first[1:].rstrip('.')}."]


def _follow(options: tuple[Option, ...]) -> list[str]:
    """Say what a follow-up costs that leaves nobody out if the named assumptions hold; nothing without one."""
    follow = next((each for each in options if each.strategy == "follow-up" and each.allowed_now), None)
    if follow is None or follow.presumably is None or follow.presumably.missed.high:
        return []
    said = (
        f"Without the relay's log, a follow-up presumably leaves nobody out: it mails {follow.would_mail} people, of "
        f"whom {follow.duplicates} get it twice. Look at it with --strategy follow-up."
    )
    return [said]


def _hung(figures: Figures, examination: Examination) -> bool:
    """Tell whether a pipe hangs with everything sent that it fetched (M5, M6)."""
    causes = any(cause.code in ("M5", "M6") and cause.standing != "ruled-out" for cause in examination.causes)
    return causes and figures.ahead <= figures.slack


def _working(figures: Figures, examination: Examination) -> list[str]:
    if _hung(figures, examination):
        return ["Nothing moves. A restart loses nobody here: everything that was fetched was sent."]
    if figures.campaign.status == "running":
        if examination.pipe == "open":
            return ["listmonk is at work on it: let it go on."]
        if examination.running is None:
            unseen = "Whether a listmonk is at work on it cannot be seen. If one is, let it go on; if none is, do not"
            return [f"{unseen} start one yet: stop it for certain and look again with --app-stopped."]
        return ["A listmonk runs: let it go on, and look again in a minute."]
    return ["Look again when listmonk has finished draining."]
