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
    if not figures.started or settled(figures) or figures.counts_fetched:
        return ()
    if figures.ended and figures.campaign.sent == 0:
        return ()
    if figures.ended:
        return _after_the_end(case) if figures.overwritten or figures.left_above <= figures.slack else ()
    if figures.overwritten or figures.started_over:
        return _stopped_without_cursor(figures)
    if figures.ahead > figures.slack and figures.cursor_trusted:
        return tuple(target for target in _stopped(figures) if target.cursor < figures.campaign.cursor)
    return ()


def _target(  # noqa: PLR0913 - a target has that many parts
    figures: Figures, prefer: Prefer, rank: int, why: str, *, refusal: str = "", defensible: bool
) -> Target:
    """Return the target at a rank, held between nobody and everybody; it says where the cursor goes and why."""
    held = max(0, min(rank, len(figures.audience.estimate)))
    cursor = figures.id_at(held)
    place = f"behind person {held:,} of the audience (subscriber id {cursor:,})" if held else "before everybody"
    return Target(prefer, cursor, held, f"{why}: the cursor goes {place}", defensible, refusal)


def _earliest(case: Case) -> int:
    """Return the rank before the earliest hole that the figures allow; a complete recording tells who may be in one."""
    figures = case.figures
    if figures.watched is not None:
        open_people = case.recipients.unknown | case.recipients.not_mailed
        return figures.rank_by_dates(int(open_people.min()) - 1) if open_people else figures.campaign.sent
    blocks = candidates(figures)
    return min((block.first_rank - 1 for block in blocks), default=figures.campaign.sent)


def _after_the_end(case: Case) -> tuple[Target, ...]:
    """Finished: with M2 and one stop the hole is the very end; otherwise it may be anywhere."""
    figures = case.figures
    gaps = _target(
        figures, "no-gaps", _earliest(case), "before the earliest hole that the figures allow", defensible=False
    )
    sent = figures.campaign.sent
    if pinned(figures) is not None:
        why = (
            "If it was stopped only once, never started over, and no mail failed, the hole is the very end of the "
            f"audience, behind the {sent:,} mails counted"
        )
        return (_target(figures, "no-duplicates", sent, why, defensible=True), gaps)
    refusal = (
        f"sending went on after the stop, so rank {sent:,} (the number sent) may lie inside or behind the hole: a "
        "rewind there can mail people twice and still miss others"
    )
    return (_target(figures, "no-duplicates", sent, "the number sent", refusal=refusal, defensible=False), gaps)


def _stopped_without_cursor(figures: Figures) -> tuple[Target, ...]:
    """Paused with an overwritten cursor (M2): only `sent` and the audience's order tell where it stood."""
    sent, front = figures.campaign.sent, figures.then.front
    assumed = (
        f"If nothing was lost, failed or left uncounted before, and it never started over, the first {sent:,} people "
        "of the audience were mailed"
    )
    held = f"{assumed}, less up to {front:,} single mails that workers may have held"
    return (
        _target(figures, "no-duplicates", sent, assumed, defensible=True),
        _target(figures, "no-gaps", sent - front, held, defensible=True),
    )


def _stopped(figures: Figures) -> tuple[Target, ...]:
    """Not yet lost: the cursor is ahead of what was sent, and nobody pressed Start since."""
    settings, sent = figures.then, figures.campaign.sent
    at_cursor = figures.rank_by_dates(figures.campaign.cursor)
    floor = at_cursor - settings.one_stop - settings.front  # its front is ragged
    if figures.can_start_over and figures.campaign.cursor == figures.campaign.to_send:
        floor = 0  # the cursor may be a count after all (M2): then it says nothing about where the sending stood
    past, before = max(min(sent + settings.flush, at_cursor), floor), max(sent - settings.front, floor, 0)
    return (
        _target(
            figures,
            "no-duplicates",
            past,
            f"past the {sent:,} counted as sent and whatever 5 uncounted seconds can hold",
            defensible=True,
        ),
        _target(
            figures,
            "no-gaps",
            before,
            f"the {sent:,} counted as sent, less up to {settings.front:,} single mails that workers may have held",
            defensible=True,
        ),
    )
