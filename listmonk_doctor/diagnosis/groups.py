"""Owns the groups of people: what is proved or follows for each member, and which assumptions that needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from listmonk_doctor.diagnosis.account import settled
from listmonk_doctor.diagnosis.candidates import candidates, cut_off, in_hand, pinned, union
from listmonk_doctor.diagnosis.report import Recipients

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
    needed = [*codes, *(["never-started-over"] if figures.can_start_over and (never or presumed) else [])]
    return Grouping(recipients, blocks, tuple(needed) if presumed or never else ())


def _unknown(  # noqa: PLR0911 - one return per kind of row
    figures: Figures, rest: BitMap
) -> tuple[BitMap, tuple[Block, ...], tuple[str, ...]]:
    """Return who of the rest cannot be told, the candidates behind it, and the assumptions behind the others."""
    always = ("lists-unchanged-while-sending", "no-failures", "no-flush-lost-or-doubled")
    mixed = figures.audience.mixed if figures.cut_first and len(figures.campaign.lists) > 1 else rest - rest
    noise = rest - figures.fetched_surely
    if figures.counts_fetched:
        return rest, (), ()
    if settled(figures):
        last = tuple(block for block in (cut_off(figures),) if block)
        return rest & (noise | mixed | union(figures, last)), last, always
    if pin := pinned(figures):
        return rest & union(figures, (pin,)), (pin,), ("stopped-once", *always)
    if not figures.cursor_trusted:
        return rest, (), ()
    if -figures.slack <= figures.ahead <= figures.slack:
        hand = tuple(block for block in (in_hand(figures),) if block)
        return rest & (noise | mixed | union(figures, hand)), hand, always
    if figures.cut_first:
        return rest, (), ()
    blocks = candidates(figures)
    codes = ("same-batch-size", "no-clean-pause-in-mid-batch", *always)
    return rest & (union(figures, blocks) | noise | mixed), blocks, codes
