"""Owns the sentences for people: what happened, what is known, what cannot be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.diagnosis.idsets import count_upto

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.report import Account, Verdict

    Sentences = tuple[str, ...]


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number:,} people"


def tell(figures: Figures, books: Account, verdict: Verdict) -> tuple[Sentences, Sentences, Sentences]:
    """Return what happened, what is known, and what cannot be known, each as whole sentences."""
    return _happened(figures, verdict), _known(figures, books, verdict), _unknowable(figures, books, verdict)


def _happened(figures: Figures, verdict: Verdict) -> Sentences:
    campaign = figures.campaign
    status = "a draft" if campaign.status == "draft" else campaign.status
    said = [f"The campaign is {status}: listmonk counted {campaign.sent:,} sent of {campaign.to_send:,}."]
    if figures.overwritten:
        said.append(
            f"The cursor reads {campaign.cursor:,}, which is `to_send`: "
            + (
                "a count that was written over the last id that was mailed (M2)."
                if not figures.cursor_is_somebody
                else "hardly the last id that was mailed, but a count written over it (M2)."
            )
        )
    elif verdict == "incomplete" and figures.left_above and not _seen_overwritten(figures):
        said.append(
            f"It was called finished although {_people(figures.left_above)} are left above the cursor "
            f"(id {campaign.cursor:,})."
        )
    elif not figures.ended and figures.ahead > figures.slack and not figures.counts_fetched and figures.cursor_trusted:
        said.append(
            f"The cursor is {_people(figures.ahead)} ahead of what was counted as sent: they were fetched, and "
            "perhaps not mailed."
        )
    if campaign.deleted_lists:
        said.append(f"{len(campaign.deleted_lists)} of its lists was deleted after it was made.")
    return tuple(said)


def _seen_overwritten(figures: Figures) -> bool:
    """Tell whether a recording or the log saw a count written over the cursor, which says nothing of people then."""
    seen = figures.recorded.meaning.overwrites if figures.recorded is not None else ()
    return bool(seen) and seen[-1].became == figures.campaign.cursor


def _known(figures: Figures, books: Account, verdict: Verdict) -> Sentences:
    campaign = figures.campaign
    if not figures.started:
        return (f"Nobody was mailed yet. {_people(books.audience_now)} are in the audience today.",)
    gone = len(figures.audience.reached - figures.audience.members)
    said = [
        f"{books.audience_at_start} people were in the audience at the start; {books.audience_now:,} are today.",
        *_moved(figures),
        f"{len(figures.audience.reached):,} are proved to have been mailed by bounces, views or clicks"
        + (f"; {gone:,} of them have left since." if gone else "."),
    ]
    if above := figures.proofs_above_cursor:
        worth = "so the cursor is not believed" if above > figures.slack else "as few as the counters' noise may hide"
        said.append(f"{_people(above)} above the cursor are proved to have been mailed, {worth}.")
    if len(figures.tail):
        said.append(f"{_people(len(figures.tail))} above the cursor were surely never fetched.")
    if figures.counts_fetched:
        said.append("It was sent by a version that counts a mail as sent when it is fetched: `sent` proves nothing.")
    elif verdict == "complete":
        agree = "Its counts agree."
        if figures.gap > figures.slack:
            agree = f"Its gap of {figures.gap:,} is no more than the blocklisted whom `to_send` counts."
        again = ", second copies if an overwritten cursor made it start over" if figures.may_have_started_over else ""
        said.append(
            f"{agree} Besides, only a 5-second count that was written twice (up to {figures.flush:,} mails), "
            f"or the {_people(figures.slack)} by which counts may be off{again}, could hide anybody who was missed."
        )
    elif not figures.can_start_over and books.lost.high:
        below = count_upto(figures.audience.members, campaign.cursor) if figures.cursor_trusted else books.lost.high
        said.append(f"At most {_people(min(books.lost.high, below))} below the cursor were missed.")
    if campaign.status == "paused" and figures.cursor_trusted:
        said.append(f"Start would mail {_people(len(figures.next_start_mails))}.")
    return tuple(said)


def _moved(figures: Figures) -> Sentences:
    """Say how the audience changed since the start, as far as dates tell; nothing where nobody moved."""
    audience = figures.audience
    moved = [
        f"{count:,} {what}"
        for count, what in (
            (len(audience.newcomers), "joined"),
            (len(audience.left), "unsubscribed or fell out of its lists"),
            (len(audience.blocked_since), "were blocklisted"),
            (len(audience.undated), "changed their subscription (confirmed it, perhaps) and are in the audience now"),
        )
        if count
    ]
    if not moved:
        return ()
    return (f"Since the start, by their dates: {'; '.join(moved)}.",)


def _worth(figures: Figures) -> str:
    """Say what `sent` is worth for this campaign."""
    flush = figures.flush
    limit = f"up to {flush:,} mails (5 s at full rate)"
    return (
        f"`sent` is exact to {figures.slack:,} on a clean end. Each hard stop leaves {limit} out of it, and a count "
        "that was added twice makes it as much too high: it bounds how many were missed, and never says who."
    )


def _unknowable(figures: Figures, books: Account, verdict: Verdict) -> Sentences:
    if not figures.started:
        return ()
    audience = figures.audience
    said = []
    if not figures.counts_fetched and verdict != "complete":
        said.append(_worth(figures))
    if books.lost.high and verdict != "complete":
        since = f" since {figures.campaign.started_at:%Y-%m-%d %H:%M} UTC" if figures.campaign.started_at else ""
        said.append(
            "listmonk keeps no record per recipient: who got the mail is only in the relay's log. Count its accepted "
            f"mails of this campaign{since} and compare with {figures.campaign.sent:,}, which listmonk counted."
        )
    if audience.blocked_undated:
        are = "is" if len(audience.blocked_undated) == 1 else "are"
        said.append(
            f"On its lists {_people(len(audience.blocked_undated))} {are} blocklisted without a usable date: whether "
            "that was so at the start cannot be told."
        )
    if audience.undated:
        said.append(
            f"{_people(len(audience.undated))} changed their subscription since: nothing dates a confirmation, so "
            "whether they were in the audience at the start is open."
        )
    if figures.invisible:
        said.append(f"Up to {_people(figures.invisible)} of the audience at the start may have been deleted since.")
    if figures.watched is None and figures.may_have_started_over:
        said.append("Whether an earlier overwritten cursor made it start over cannot be seen in the row.")
    return tuple(said)
