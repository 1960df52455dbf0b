"""Owns the groups of people: what is proved or follows for each member, and which assumptions that needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from listmonk_doctor.diagnosis.account import settled
from listmonk_doctor.diagnosis.candidates import candidates, in_hand, pinned, short_by_dates, union
from listmonk_doctor.diagnosis.idsets import between, upto
from listmonk_doctor.diagnosis.recorded import Narrowed, narrowed
from listmonk_doctor.diagnosis.report import Recipients
from listmonk_doctor.listmonk.versions import behaves

if TYPE_CHECKING:
    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.report import Block


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups, the hole candidates behind `unknown`, and the codes of the assumptions behind `presumed_reached`."""

    recipients: Recipients
    blocks: tuple[Block, ...]
    assumptions: tuple[str, ...]


def group(figures: Figures) -> Grouping:
    """Sort today's members into the groups of design.md; reached first, then never fetched, then what remains."""
    audience = figures.audience
    nobody = audience.now - audience.now
    if not figures.started:
        empty = Recipients(nobody, nobody, nobody, nobody, nobody, nobody, nobody, nobody)
        return Grouping(empty, (), ())
    reached = audience.reached & audience.members
    never = figures.tail - reached
    rest = audience.members - reached - never
    unknown, blocks, codes = _unknown(figures, rest)
    if figures.repaired:
        left, more = _left_by_repair(figures, rest)
        unknown, codes = unknown | left, (*codes, *more)
    not_mailed = nobody
    if figures.recorded:
        told = narrowed(figures, figures.recorded, rest, Narrowed(unknown, nobody, nobody, codes, blocks))
        unknown, codes, blocks, not_mailed = told.unknown, told.codes, told.blocks, told.not_mailed
        never, rest = never | told.never, rest - told.never - told.not_mailed
    unknown |= rest & audience.undated
    presumed = rest - unknown
    recipients = Recipients(
        reached=reached,
        failed=nobody,
        not_mailed=not_mailed,
        never_fetched=never,
        presumed_reached=presumed,
        unknown=unknown,
        newcomers=audience.newcomers,
        departed=audience.departed,
    )
    return Grouping(recipients, blocks, (*(codes if presumed or never else ()), *_always(figures)))


def _always(figures: Figures) -> tuple[str, ...]:
    """Return what the account takes for granted, too: that today's settings were those, and the dates tell who left.

    From 3.0.0 on how far count and cursor can be off follows from workers and rate, and the refused may lie between
    the cursor and those whom its noise hides; from 3.0.0 to 6.0.0 how often somebody may have been mailed has no bound.
    """
    if not behaves("clean-up-writes-cursor", figures.versions):
        return ("lists-unchanged-while-sending",)
    over = ("never-started-over",) if figures.watched is None and figures.may_have_started_over else ()
    return ("same-batch-size", "lists-unchanged-while-sending", "no-failures", "no-flush-lost-or-doubled", *over)


def _left_by_repair(figures: Figures, rest: BitMap) -> tuple[BitMap, tuple[str, ...]]:
    """Return whom a standing repair left as unknown as they were, and the assumptions under which that is nobody.

    Below its cursor nobody was mailed again, and `sent` was made to fit; between that and the floor people may have
    been mailed before, unless the cursor has passed them again since.
    """
    repaired = figures.repaired
    if repaired is None:
        return rest - rest, ()
    not_again = between(rest, max(figures.campaign.cursor, repaired.below), repaired.floor)
    if repaired.assumptions is None:
        return upto(rest, repaired.below) | not_again, ()
    return not_again, repaired.assumptions


def _unknown(figures: Figures, rest: BitMap) -> tuple[BitMap, tuple[Block, ...], tuple[str, ...]]:
    """Return who of the rest cannot be told, the candidates behind it, and the assumptions behind the others.

    Where nobody is short below the cursor, only those whom the counters' noise may hide are unknown (an arbitrary
    subscription, M12, leaves somebody short). Where somebody is, few or many, the candidate blocks are; up to
    3.0.0 boundaries count people who cannot be mailed, the order inside a batch is not known, and nothing narrower
    than everybody is said; nor where a log shows batches of several sizes.
    """
    always = ["lists-unchanged-while-sending", "no-failures", "no-flush-lost-or-doubled"]
    if figures.counts_fetched:
        return rest, (), ()
    if pin := pinned(figures):
        return rest & (union(figures, (pin,)) | figures.arbitrary), (pin,), ("stopped-once", *always)
    if not figures.cursor_trusted:
        return rest, (), ()
    noise = rest - figures.fetched_surely
    short = figures.shortfall if settled(figures) else short_by_dates(figures)
    if short < -figures.slack:  # more was counted than there were people: as much may hide a hole
        always.remove("no-flush-lost-or-doubled")
        short += figures.flush
    if short <= 0:
        return rest & noise, (), tuple(always)
    if figures.cut_first or (figures.recorded is not None and figures.recorded.uneven):
        return rest, (), ()
    blocks = candidates(figures, min(short, figures.then.one_stop))
    if hand := in_hand(figures):
        blocks = (*blocks, hand)
    codes = ("same-batch-size", "no-clean-pause-in-mid-batch", *always)
    return rest & (union(figures, blocks) | noise), blocks, codes
