"""Owns the hole candidates: where a stop may have lost people, by batch boundaries, with the ranks' error bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from listmonk_doctor.diagnosis.idsets import at_rank, between, count_upto, upto
from listmonk_doctor.diagnosis.report import Block

if TYPE_CHECKING:
    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.figures import Figures


PROOFS_NEEDED: Final = 3
"""How many proofs in a block narrow it."""


def largest_hole(figures: Figures) -> int:
    """Return the most people that one hole can hold: what is short of `sent`, and no more than one stop can lose.

    Short of `sent` is counted from everybody who may have been fetched, so that departures cannot hide a hole.
    """
    fetched = count_upto(figures.audience.possible, _end(figures)) + figures.invisible
    short = fetched - figures.campaign.sent + len(figures.newcomers_below)
    return max(0, min(short, figures.then.one_stop))


def short_by_dates(figures: Figures) -> int:
    """Return how many people are short below the end of what was fetched, at most, if the lists were not changed.

    Two counts bound it: the ranks by dates, and `to_send` less whoever is surely left above. Mails to newcomers are in
    `sent`. Negative where more were counted than there were people: then `sent` is too high.
    """
    audience, campaign, end = figures.audience, figures.campaign, _end(figures)
    by_dates = figures.rank_by_dates(end) + figures.rank_error[1]
    by_count = campaign.to_send + len(audience.left_during) - len(between(audience.sure, end, campaign.ceiling))
    return min(by_dates, by_count) - campaign.sent + len(figures.newcomers_below)


def _end(figures: Figures) -> int:
    """Return the last id that may have been fetched."""
    return figures.campaign.cursor if figures.cursor_trusted else figures.campaign.ceiling


def _stretch(figures: Figures, first_rank: int, last_rank: int, because: str, *, dated: bool = False) -> Block:
    """Return the block of ranks as ids, widened by everybody whose membership at the start is not certain.

    An id may lie at or above `first_rank` if its highest possible rank does, and at or below `last_rank` if its
    lowest possible rank does. `dated`: the dates are taken at their word, and only their error widens it.
    """
    audience = figures.audience
    first = max(1, first_rank)
    end = _end(figures)
    if dated:
        over, under = figures.rank_error
        low, lasting, last = at_rank(audience.estimate, first - under), audience.estimate, last_rank + over
    else:
        low, lasting, last = at_rank(audience.possible, first - figures.invisible), audience.sure, last_rank
    high = at_rank(lasting, last + 1) - 1 if last < len(lasting) else end
    low_id, high_id = max(low, 1), min(max(high, low), max(end, low))
    people = len(between(audience.members, low_id - 1, high_id))
    block = Block(low_id, high_id, first, last_rank, people, because)
    return _behind_proofs(figures, block) if dated else block


def _behind_proofs(figures: Figures, block: Block) -> Block:
    """Return a block without what its own proofs rule out.

    What a stop loses is the end of the block, and single people up to the ragged front before that. So it begins
    behind whoever is proved to have been mailed in the block, less the front. Two proofs may be false (a mail that was
    forwarded, a test send that was opened late), the third from the end counts.
    """
    proofs = between(figures.audience.reached & figures.audience.possible, block.first_id - 1, block.last_id)
    if len(proofs) < PROOFS_NEEDED:
        return block
    last = int(proofs[len(proofs) - PROOFS_NEEDED])
    first = figures.rank_by_dates(last) - figures.then.front - figures.rank_error[0] + 1
    if first <= block.first_rank:
        return block
    low = max(block.first_id, at_rank(figures.audience.estimate, first))
    people = len(between(figures.audience.members, low - 1, block.last_id))
    because = f"{block.because}; {len(proofs):,} are proved to have been mailed in it" if block.because else ""
    return Block(low, block.last_id, first, block.last_rank, people, because)


def candidates(figures: Figures, at_most: int | None = None) -> tuple[Block, ...]:
    """Return the blocks, in order of ids, that a stop may have lost.

    With `at_most` people each the dates are taken at their word (lists-unchanged-while-sending); without, the blocks
    are as wide as undatable people can make them.

    For every boundary jB and for the end of what was fetched: the largest hole before it, with the ragged front of
    the workers. Assumes the batch size of today, no clean pause in mid batch, an audience that did not change while
    sending. No assumption about the number of stops is needed.
    """
    if figures.watched:
        return figures.watched.blocks
    hole = largest_hole(figures) if at_most is None else at_most
    if hole == 0:
        return ()
    dated = at_most is not None
    batch, front = figures.then.batch_size, figures.then.front
    end = figures.rank_by_dates(_end(figures))
    boundaries = [*range(batch, end, batch), end]
    blocks = [
        _stretch(figures, boundary - hole - front + 1, boundary, f"a batch ended at rank {boundary:,}", dated=dated)
        for boundary in boundaries
        if boundary > 0
    ]
    if figures.can_start_over:
        blocks.append(_skipped(figures, dated=dated))
    filled = (block for block in blocks if block.people and block.last_rank > 0)
    return tuple(sorted(filled, key=lambda block: (block.first_id, block.last_id)))


def _skipped(figures: Figures, *, dated: bool) -> Block:
    """Return the block that an overwritten cursor may have skipped: it ends at the last id <= to_send (M2)."""
    last_id = min(figures.campaign.to_send, figures.campaign.ceiling)
    last_rank = figures.rank_by_dates(last_id)
    short = max(0, figures.rank_by_dates(_end(figures)) - figures.campaign.sent) + len(figures.newcomers_below)
    if dated:
        short = max(0, short_by_dates(figures))
    block = _stretch(figures, last_rank - short - figures.then.front + 1, last_rank, "", dated=dated)
    return Block(
        block.first_id,
        max(block.last_id, last_id),
        block.first_rank,
        block.last_rank,
        len(between(figures.audience.members, block.first_id - 1, max(block.last_id, last_id))),
        f"a cursor overwritten with {figures.campaign.to_send:,} skips whoever lies below that id",
    )


def in_hand(figures: Figures) -> Block | None:
    """Return the block before the cursor of a row that has not ended: what is fetched and not counted as sent yet.

    It reaches down by the workers' ragged front, too. None where everything fetched was counted.
    """
    if figures.ended or figures.ahead <= 0:
        return None
    end = figures.rank_by_dates(figures.campaign.cursor)
    first = end - figures.ahead - figures.then.front + 1
    return _stretch(figures, first, end, "fetched and not counted as sent yet", dated=True)


def pinned(figures: Figures) -> Block | None:
    """Return the one block at the very end that M2 on a finished row points to, if one stop can explain it.

    The last run sent nothing and found nobody left, so the stop before it came when the last batch had been fetched.
    Needs stopped-once, never-started-over, no-failures, no-flush-lost-or-doubled. None where the shortfall is more
    than one stop can lose, or nothing is short.
    """
    if not (figures.overwritten and figures.ended) or figures.watched:
        return None
    end = figures.rank_by_dates(figures.campaign.ceiling)
    short = end - figures.campaign.sent
    if not 0 < short <= figures.then.one_stop:
        return None
    first = figures.campaign.sent + 1 - figures.then.front
    block = _stretch(figures, first, end, "the last batch had been fetched when the stop came", dated=True)
    return Block(
        block.first_id,
        figures.campaign.ceiling,
        block.first_rank,
        end,
        len(between(figures.audience.members, block.first_id - 1, figures.campaign.ceiling)),
        block.because,
    )


def union(figures: Figures, blocks: tuple[Block, ...]) -> BitMap:
    """Return the members of today's audience in any of the blocks."""
    members = figures.audience.members
    found = members - members
    for block in blocks:
        found |= between(members, block.first_id - 1, block.last_id)
    return upto(found, max(figures.campaign.ceiling, figures.campaign.cursor))
