"""Owns the price of a cursor: missed, second copies and newcomers if the campaign goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroaring import BitMap

from listmonk_doctor.diagnosis.account import settled
from listmonk_doctor.diagnosis.idsets import above, at_rank, between, upto
from listmonk_doctor.diagnosis.report import Range, exactly
from listmonk_doctor.listmonk.versions import behaves
from listmonk_doctor.repair.plan import Presumed

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.account import Bounds
    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.report import Recipients


EVERYBODY = 0xFFFFFFFF
"""A cursor above every id: nobody is mailed any more."""


@dataclass(frozen=True, slots=True)
class Price:
    """What is true after Start was pressed and the campaign ran to its end: people, each [at least, at most]."""

    missed: Range
    duplicates: Range
    newcomers: Range
    would_mail: Range


@dataclass(frozen=True, slots=True)
class Case:
    """One campaign's figures with the bounds and groups that its prices rest on."""

    figures: Figures
    limits: Bounds
    recipients: Recipients

    @property
    def open_people(self) -> BitMap:
        """Members of whom neither is proved: mailed, or never fetched."""
        return self.recipients.presumed_reached | self.recipients.unknown

    @property
    def unmailed_people(self) -> BitMap:
        """Members who surely were not mailed: never fetched, or proved by a recording."""
        return self.recipients.never_fetched | self.recipients.not_mailed

    @property
    def perhaps_unmailed(self) -> int:
        """How many of the open people may not have been mailed, at most."""
        return max(0, self.limits.unmailed - len(self.recipients.not_mailed))


def mailed_from(figures: Figures, cursor: int) -> BitMap:
    """Return whom a Start from this cursor may mail today: everybody above it, newcomers too.

    A server up to 3.0.0 cuts the batch before it leaves the ineligible out: it stops at the first batch without
    anybody to mail (M3). Of people with subscriptions that disagree it judges one arbitrary (M12): they count as
    mailed here.
    """
    return _until_a_stretch(figures, cursor, above(figures.audience.now, cursor))


def mailed_surely(figures: Figures, cursor: int) -> BitMap:
    """Return whom a Start from this cursor mails whichever subscription decides about people with several (M12)."""
    going = above(figures.audience.now, cursor)
    return _until_a_stretch(figures, cursor, going - figures.audience.mixed if one_decides(figures) else going)


def one_decides(figures: Figures) -> bool:
    """Tell whether an arbitrary subscription decides about some people under the server of today (M12)."""
    several = len(figures.campaign.lists) > 1 and bool(figures.audience.mixed)
    return several and behaves("one-subscription-decides", figures.settings.version)


def one_decided(figures: Figures) -> bool:
    """Tell whether it decided, or will decide: no named assumption covers those whom it leaves out."""
    several = len(figures.campaign.lists) > 1 and bool(figures.audience.mixed)
    return several and behaves("one-subscription-decides", (*figures.versions, figures.settings.version))


def _until_a_stretch(figures: Figures, cursor: int, going: BitMap) -> BitMap:
    """Return those of whom is mailed whose turn comes before a batch has nobody of them in it (M3)."""
    if not behaves("batch-cut-before-filter", figures.settings.version):
        return going
    ahead = above(figures.audience.fetchable | figures.audience.now, cursor)
    position, last = 0, cursor
    while position < len(ahead):
        end = at_rank(ahead, position + figures.settings.batch_size)
        batch = between(going, last, end)
        if not batch:
            return upto(going, last)
        last = int(batch.max())
        position = int(ahead.rank(last))
    return going


def price_from(case: Case, cursor: int, *, detached: bool = False) -> Price:
    """Price a Start from this cursor, without any assumption; `detached`: the row of a deleted list is gone by then."""
    if hangs(case.figures) and not detached:
        return _price(case, BitMap())
    most = _price(case, mailed_from(case.figures, cursor))
    if not one_decides(case.figures):
        return most
    return _both(most, _price(case, mailed_surely(case.figures, cursor)))


def _both(one: Price, other: Price) -> Price:
    """Return the price that holds where either does."""
    pairs = ((getattr(one, name), getattr(other, name)) for name in Price.__slots__)
    return Price(*(Range(min(a.low, b.low), max(a.high, b.high)) for a, b in pairs))


def _price(case: Case, mailed: BitMap) -> Price:
    """Price a Start that mails these people."""
    figures, recipients = case.figures, case.recipients
    audience = figures.audience
    left_out = audience.now - mailed
    unproved = case.open_people
    never = case.unmailed_people
    unproved_out, unproved_in = len(unproved & left_out), len(unproved & mailed)
    unmailed = min(case.perhaps_unmailed, len(unproved))
    elsewhere = len(recipients.reached) + len(audience.departed) + figures.invisible
    mailed_unproved = max(0, case.limits.mailed.low - elsewhere)
    missed_never = never & left_out
    twice = len(recipients.reached & mailed)
    joined = len(audience.newcomers & mailed)
    joined_before = len(figures.newcomers_below & mailed)
    return Price(
        missed=Range(len(missed_never & audience.sure), len(missed_never) + min(unmailed, unproved_out)),
        duplicates=Range(
            twice + max(0, min(mailed_unproved, len(unproved)) - unproved_out), twice + unproved_in + joined_before
        ),
        newcomers=Range(joined, joined + len(audience.undated & mailed)),
        would_mail=exactly(len(mailed)),
    )


def price_mailing(case: Case, people: BitMap) -> Price:
    """Price mailing exactly these people once, and the campaign itself never again, without any assumption."""
    return _price(case, people)


def price_untouched(case: Case) -> Price:
    """Price doing nothing: a row that will go on is priced from its cursor, an ended one mails nobody."""
    figures = case.figures
    if not figures.started and figures.campaign.status != "running":
        return price_from(case, figures.campaign.cursor) if _will_send(figures) else _nothing()
    if figures.campaign.status in ("running", "paused", "scheduled") and not hangs(figures):
        return price_from(case, figures.campaign.cursor)
    never = case.unmailed_people
    unmailed = min(case.perhaps_unmailed, len(case.open_people))
    missed = Range(len(never & figures.audience.sure), len(never) + unmailed)
    return Price(missed, exactly(0), exactly(0), exactly(0))


def hangs(figures: Figures) -> bool:
    """Tell whether every fetch fails on the row of a deleted list (M6, 4.0.0 to 6.0.0): nobody is mailed any more."""
    return bool(figures.campaign.deleted_lists) and behaves("deleted-list-breaks-fetch", figures.settings.version)


def price_nobody(case: Case) -> Price:
    """Price a strategy after which nobody is mailed: whoever of a campaign that was started is left out is missed."""
    return _price(case, BitMap()) if case.figures.started else _nothing()


def _nothing() -> Price:
    return Price(exactly(0), exactly(0), exactly(0), exactly(0))


def _will_send(figures: Figures) -> bool:
    return figures.campaign.status in ("scheduled", "draft")


def presume(case: Case, cursor: int, assumptions: tuple[str, ...]) -> Presumed | None:
    """Return what a price shrinks to if the mails were sent in order without a hole: the first `sent` of the audience.

    That holds under the assumptions given (for M2 on a finished row: stopped once, never started over, no failures,
    no lost flush). People whom the dates do not show (the residual) widen it, and so do those whom workers may have
    held back when it stopped; a window that is slower than the workers leaves nobody in their hands while it sleeps,
    which is when it stops, and stopped-once then says so. None where it adds nothing.
    """
    if hangs(case.figures) and cursor != EVERYBODY:
        return None
    return presume_mailing(case, mailed_from(case.figures, cursor), assumptions)


def presume_mailing(case: Case, mailed: BitMap, assumptions: tuple[str, ...]) -> Presumed | None:
    """Return the same for a mailing to exactly these people."""
    figures = case.figures
    if figures.counts_fetched or settled(figures) or one_decided(figures):
        return None
    audience, sent, residual = figures.audience, figures.campaign.sent, figures.residual
    ragged = 0 if figures.settings.paced_by_window else figures.then.front
    early = at_rank(audience.estimate, sent - max(0, residual) - ragged)
    late = at_rank(audience.estimate, sent + max(0, -residual) + ragged)
    members = audience.members - audience.newcomers
    left_out = members - mailed
    missed = Range(len(above(left_out, late) - audience.reached), len(above(left_out, early) - audience.reached))
    again = members & mailed
    proved_twice = len(audience.reached & again)
    duplicates = Range(max(proved_twice, len(upto(again, early))), len(upto(again, late) | (audience.reached & again)))
    return Presumed(missed, duplicates, assumptions)


def presume_level(case: Case, cursor: int, assumptions: tuple[str, ...]) -> Presumed | None:
    """Return what a price shrinks to if no more people are short below the cursor than `sent` lacks.

    Holds for a trusted cursor under the assumptions given; people whom the dates do not show (the residual) widen
    it, and so do the few above the cursor whom its noise may hide. None where it adds nothing.
    """
    figures = case.figures
    if figures.repaired or one_decided(figures):
        return None
    price = price_untouched(case) if cursor == EVERYBODY else price_from(case, cursor)
    noise = len(above(figures.fetched, figures.campaign.cursor))  # mailed and counted, or not mailed
    short = max(0, figures.ahead) + abs(figures.residual)
    never = price.missed.low
    perhaps_never = len(case.recipients.never_fetched - figures.audience.sure)
    missed = Range(never, min(price.missed.high, never + short + noise + perhaps_never))
    if missed == price.missed:
        return None
    return Presumed(missed, price.duplicates, assumptions)


def presume_recorded(case: Case, cursor: int, assumptions: tuple[str, ...]) -> Presumed | None:
    """Return what a price shrinks to by a complete recording: only the `unknown` may have been mailed or not.

    Holds under the assumptions given, which are those of the groups. None where it adds nothing.
    """
    recipients, audience = case.recipients, case.figures.audience
    price = price_untouched(case) if cursor == EVERYBODY else price_from(case, cursor)
    mailed = audience.now - audience.now if cursor == EVERYBODY else mailed_from(case.figures, cursor)
    left_out = audience.members - mailed
    surely, unknown = case.unmailed_people, recipients.unknown
    got = recipients.presumed_reached | recipients.reached
    before = len(case.figures.newcomers_below & mailed)
    missed = Range(len(surely & left_out), len((surely | unknown) & left_out))
    duplicates = Range(len(got & mailed), len((got | unknown) & mailed) + before)
    missed, duplicates = _inside(missed, price.missed), _inside(duplicates, price.duplicates)
    if (missed, duplicates) == (price.missed, price.duplicates):
        return None
    return Presumed(missed, duplicates, assumptions)


def _inside(part: Range, whole: Range) -> Range:
    """Return the part of a presumed range that lies in the range that holds whatever is presumed."""
    low = min(max(part.low, whole.low), whole.high)
    return Range(low, max(low, min(part.high, whole.high)))
