"""Owns the groups of people: what is proved or follows for each member, and which assumptions that needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from listmonk_doctor.diagnosis.account import settled
from listmonk_doctor.diagnosis.candidates import candidates, in_hand, pinned, union
from listmonk_doctor.diagnosis.idsets import between, upto
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
    unknown |= rest & audience.undated
    presumed = rest - unknown
    recipients = Recipients(
        reached=reached,
        failed=nobody,
        not_mailed=nobody,
        never_fetched=never,
        presumed_reached=presumed,
        unknown=unknown,
        newcomers=audience.newcomers,
        departed=audience.departed,
    )
    return Grouping(recipients, blocks, (*(codes if presumed or never else ()), *_always(figures)))


def _always(figures: Figures) -> tuple[str, ...]:
    """Return what the account takes for granted, too: that today's settings were those, and the dates tell who left.

    From 3.0.0 on how far a count can be off follows from workers and rate; from 3.0.0 to 6.0.0 how often somebody may
    have been mailed has no bound.
    """
    if not behaves("clean-up-writes-cursor", figures.versions):
        return ("lists-unchanged-while-sending",)
    over = ("never-started-over",) if figures.can_start_over else ()
    return ("same-batch-size", "lists-unchanged-while-sending", "no-flush-lost-or-doubled", *over)


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

    Where nobody is short below the cursor, only those whom the counters' noise or an arbitrary subscription (M12) may
    hide are unknown. Where somebody is, few or many, the candidate blocks are; up to 3.0.0 boundaries count people who
    cannot be mailed, and nothing narrower than everybody is said.
    """
    always = ("lists-unchanged-while-sending", "no-failures", "no-flush-lost-or-doubled")
    mixed = figures.audience.mixed if figures.cut_first and len(figures.campaign.lists) > 1 else rest - rest
    unsure = (rest - figures.fetched_surely) | mixed
    if figures.counts_fetched:
        return rest, (), ()
    if pin := pinned(figures):
        return rest & (union(figures, (pin,)) | mixed), (pin,), ("stopped-once", *always)
    if not figures.cursor_trusted:
        return rest, (), ()
    level = settled(figures) or figures.ahead >= -figures.slack
    short = figures.ahead + max(0, figures.residual)  # whom no date shows any more may hide as many who were lost
    if short <= 0 and level:
        return rest & unsure, (), always
    if figures.cut_first:
        return rest, (), ()
    few = short if 0 < short <= figures.slack else None
    blocks = candidates(figures, few)
    if hand := in_hand(figures):
        blocks = (*blocks, hand)
    codes = ("same-batch-size", "no-clean-pause-in-mid-batch", *always)
    return rest & (union(figures, blocks) | unsure), blocks, codes
