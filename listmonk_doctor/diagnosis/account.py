"""Owns the account: a campaign's balance sheet as ranges that hold whatever the assumptions, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from listmonk_doctor.diagnosis.idsets import between
from listmonk_doctor.diagnosis.report import Account, Range

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.report import Verdict


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on people, none of which needs an assumption.

    mailed: people of the audience at the start who got at least one mail; unmailed: members of today's audience
    that may have been fetched and may not have been mailed (at most); overcount: mails that `sent` may count too many.
    """

    mailed: Range
    unmailed: int
    overcount: int


def bounds(figures: Figures) -> Bounds:
    """Return the bounds that the row, the behaviours of the versions and the audience allow.

    `sent` counts real mails from 3.0.0 on, less what was not flushed. It can be too high by one doubled flush, by
    newcomers, and by second copies where the campaign may have started over (3.0.0 to 6.0.0), which then may stand
    for people who were lost, also where the figures agree; up to 2.5.1 it counts what was fetched.
    """
    audience, campaign = figures.audience, figures.campaign
    reached = len(audience.reached & audience.possible)
    fetched = figures.fetched
    most = min(figures.at_start.high, len(fetched) + figures.invisible)
    overcount = figures.flush
    if figures.repaired:  # what it added was never sent, and whoever it set the cursor back for may count twice
        overcount += figures.repaired.added
        overcount += len(between(figures.audience.possible, figures.repaired.below, figures.repaired.floor))
    if figures.counts_fetched or figures.may_have_started_over:
        least = reached
    else:
        least = max(reached, campaign.sent - overcount - len(figures.newcomers_below))
    proved = len(figures.proved_unmailed)
    most = max(0, most - proved)
    least = min(least, most)
    members = fetched & audience.members
    departed = len(fetched & audience.departed) + figures.invisible
    unproved = len(members - audience.reached)
    unmailed = min(unproved, len(members) - max(0, least - departed))
    if settled(figures) and not figures.may_have_started_over:
        hidden = max(0, figures.gap) + overcount  # what M13 is taken to explain, and what a doubled flush may hide
        unmailed = min(unmailed, hidden + 2 * figures.slack + len(audience.undated))
    return Bounds(Range(least, most), max(0, unmailed, proved), overcount)


def settled(figures: Figures) -> bool:
    """Tell whether the figures are those of a campaign that ended as it should, up to the counters' noise.

    Finished, sent as many as counted up to one per worker, nobody left above the cursor, and nobody who may have
    left before the last count; up to 3.0.0 the blocklisted of today explain their part of the gap (M13, assumed).
    """
    if not figures.ended or figures.counts_fetched or figures.overwritten:
        return False
    if figures.repaired and figures.repaired.missed > figures.slack:
        return False
    return figures.shortfall <= figures.slack and figures.gap >= 0 and figures.left_above <= figures.slack


def judge(figures: Figures) -> Verdict:
    """Return the verdict: incomplete is said only where sending has ended and people are left."""
    status = figures.campaign.status
    if not figures.started and status in ("draft", "scheduled"):
        return "not-started"
    if status == "cancelled":
        return "cancelled"
    if status != "finished":
        return "in-progress"
    if settled(figures):
        return "complete"
    never_fetched = figures.cursor_trusted and len(figures.tail) > 0 and figures.left_above > figures.slack
    recorded = len(figures.proved_unmailed) > figures.slack
    return "incomplete" if never_fetched or recorded else "cannot-tell"


def account(figures: Figures, limits: Bounds) -> Account:
    """Return the balance sheet; the ranges hold whatever the assumptions."""
    audience, campaign = figures.audience, figures.campaign
    if not figures.started:
        none = Range(0, 0)
        return Account(none, len(audience.now), campaign.sent, none, none, none, none, none, none, none, True)  # noqa: FBT003
    unsettled = max(0, min(figures.at_start.high, len(figures.fetched) + figures.invisible) - limits.mailed.low)
    waiting = not figures.ended and figures.started
    members_fetched = len(figures.fetched & audience.members - audience.reached)
    copies = len(figures.fetched) + figures.invisible + len(figures.newcomers_below)
    if figures.repaired:
        copies += len(between(audience.possible, figures.repaired.below, figures.repaired.floor))
    tail_high = figures.left_above if figures.cursor_trusted else (0 if figures.ended else members_fetched)
    uncounted_low = -max(0, campaign.sent - len(audience.reached)) if figures.counts_fetched else -limits.overcount
    proved = len(figures.proved_unmailed)
    return Account(
        audience_at_start=figures.at_start,
        audience_now=len(audience.now),
        sent=campaign.sent,
        uncounted=Range(uncounted_low - figures.slack, max(0, copies - campaign.sent) + figures.slack),
        mailed=limits.mailed,
        failed=Range(0, unsettled),
        departed_unmailed=Range(0, min(len(audience.departed) + figures.invisible, figures.at_start.high)),
        in_flight=Range(proved if waiting else 0, max(proved, min(unsettled, limits.unmailed)) if waiting else 0),
        tail=Range(len(figures.tail & audience.sure), max(len(figures.tail), tail_high)),
        lost=Range(0 if waiting else proved, limits.unmailed),
        cursor_trusted=figures.cursor_trusted,
    )
