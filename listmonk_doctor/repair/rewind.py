"""Owns the targets of a rewind: to which rank the cursor may go back, per preference, and which can be defended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from listmonk_doctor.diagnosis.account import settled
from listmonk_doctor.diagnosis.candidates import candidates, pinned

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.repair.plan import Prefer
    from listmonk_doctor.repair.pricing import Case


@dataclass(frozen=True, slots=True)
class Target:
    """Where a rewind sets the cursor: an id, its rank (which becomes `sent`), and whether that can be defended."""

    prefer: Prefer
    cursor: int
    rank: int
    because: str
    defensible: bool
    refusal: str = ""


def targets(case: Case) -> tuple[Target, ...]:
    """Return the rewinds of a campaign, none where there is nothing to go back for."""
    figures = case.figures
    if not figures.started or settled(figures) or figures.counts_fetched or figures.campaign.sent == 0:
        return ()
    if figures.ended:
        return _after_the_end(figures) if figures.overwritten or figures.left_above <= figures.slack else ()
    if figures.overwritten or figures.started_over:
        return _stopped_without_cursor(figures)
    if figures.ahead > figures.slack and figures.cursor_trusted:
        return tuple(target for target in _stopped(figures) if target.cursor < figures.campaign.cursor)
    return ()


def _target(  # noqa: PLR0913 - a target has that many parts
    figures: Figures, prefer: Prefer, rank: int, because: str, *, refusal: str = "", defensible: bool
) -> Target:
    """Return the target at a rank, held between nobody and the whole audience."""
    held = max(0, min(rank, len(figures.audience.estimate)))
    return Target(prefer, figures.id_at(held), held, because, defensible, refusal)


def _earliest(figures: Figures) -> int:
    """Return the rank before the earliest hole that the figures allow."""
    blocks = candidates(figures)
    return min((block.first_rank - 1 for block in blocks), default=figures.campaign.sent)


def _after_the_end(figures: Figures) -> tuple[Target, ...]:
    """Finished: with M2 and one stop the hole is the very end; otherwise it may be anywhere."""
    earliest = _earliest(figures)
    because = f"goes back to rank {max(0, earliest):,}, before the earliest hole that the figures allow"
    gaps = _target(figures, "no-gaps", earliest, because, defensible=False)
    sent = figures.campaign.sent
    if pinned(figures) is not None:
        because = (
            "If it was stopped only once, never started over, and no mail failed, the hole is the very end of the "
            f"audience: this goes back to rank {sent:,}, the number of mails counted"
        )
        return (_target(figures, "no-duplicates", sent, because, defensible=True), gaps)
    refusal = (
        f"sending went on after the stop, so rank {sent:,} (the number sent) may lie inside or behind the hole: a "
        "rewind there can mail people twice and still miss others"
    )
    because = "would go back to the number sent"
    return (_target(figures, "no-duplicates", sent, because, refusal=refusal, defensible=False), gaps)


def _stopped_without_cursor(figures: Figures) -> tuple[Target, ...]:
    """Paused with an overwritten cursor (M2): only `sent` and the audience's order tell where it stood."""
    sent, front = figures.campaign.sent, figures.settings.front
    assumed = (
        f"If nothing was lost, failed or left uncounted before, and it never started over, the first {sent:,} people "
        "of the audience were mailed"
    )
    return (
        _target(
            figures, "no-duplicates", sent, f"{assumed}: this goes to rank {sent:,}, the number sent", defensible=True
        ),
        _target(
            figures,
            "no-gaps",
            sent - front,
            f"{assumed}: this goes to rank {max(0, sent - front):,}, before single mails that workers may have held",
            defensible=True,
        ),
    )


def _stopped(figures: Figures) -> tuple[Target, ...]:
    """Not yet lost: the cursor is ahead of what was sent, and nobody pressed Start since."""
    settings, sent = figures.settings, figures.campaign.sent
    at_cursor = figures.rank_by_dates(figures.campaign.cursor)
    floor = at_cursor - settings.one_stop
    past, before = min(sent + settings.flush, at_cursor), max(sent - settings.front, floor, 0)
    return (
        _target(
            figures,
            "no-duplicates",
            max(past, floor),
            f"goes back to rank {max(past, floor):,}: what was counted as sent, and what 5 uncounted seconds can hold",
            defensible=True,
        ),
        _target(
            figures,
            "no-gaps",
            before,
            f"goes back to rank {before:,}: what was counted as sent, less the single mails in workers' hands",
            defensible=True,
        ),
    )
