"""Owns the strategy `follow-up`: who is chosen, what that costs, and the rows of a list and a draft made for them."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.diagnosis.idsets import above
from listmonk_doctor.diagnosis.ranges import ranges
from listmonk_doctor.diagnosis.report import Range
from listmonk_doctor.repair.followup_sql import GROUPS
from listmonk_doctor.repair.plan import Change, Option, Presumed
from listmonk_doctor.repair.pricing import Case, one_decided, price_mailing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.report import Examination, Recipients
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.repair.followup_facts import FollowUp, Known, Source
    from listmonk_doctor.repair.plan import Prefer

UNMAILED: Final = ("never_fetched", "not_mailed", "failed")
"""Of those, the groups that nobody was mailed of."""
SENT: Final = ("finished", "cancelled")
"""The statuses of a follow-up that mails nobody any more by itself."""
OF_STATUS: Final = ("finished", "paused", "cancelled")
TAG: Final = "listmonk-doctor"
LONGEST_NAME: Final = 200
"""Characters that listmonk's pages take as a name."""
_NAMESPACE: Final = uuid.UUID("6b6f0a52-1d0e-5c8e-9c5b-0f1b7a3c0d2e")


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom a follow-up is for: the groups by name, and their people."""

    groups: tuple[str, ...]
    people: BitMap


def choose(recipients: Recipients, known: Known, prefer: Prefer, groups: Sequence[str] | None) -> Choice:
    """Return the people of groups, or without any named those who can be defended best.

    Where somebody was surely not mailed (left above a trusted cursor, or by a recording), those alone if nobody is to
    get a second copy; else the unknown as well. Whom an earlier follow-up was sent to is left out.
    """
    if groups is None:
        sure = any(getattr(recipients, name) for name in UNMAILED)
        wanted = UNMAILED if sure and prefer == "no-duplicates" else (*UNMAILED, "unknown")
        groups = [name for name in GROUPS if name in wanted and getattr(recipients, name)]
    chosen = tuple(name for name in GROUPS if name in groups)
    people = recipients.reached - recipients.reached
    for name in chosen:
        people |= getattr(recipients, name)
    for each in known.made:
        if each.status in SENT:
            people -= each.people
    return Choice(chosen, people)


def presumed(case: Case, chosen: BitMap, codes: tuple[str, ...], level: tuple[str, ...]) -> Presumed | None:
    """Return what the price shrinks to under named assumptions; None where it adds nothing.

    Under `codes`, those behind the groups, the presumably reached were mailed. Under `level` no more people are short
    below a trusted cursor than `sent` lacks, so that of the chosen no fewer were mailed before than all but these.
    """
    figures, recipients = case.figures, case.recipients
    if figures.counts_fetched or figures.repaired or one_decided(figures) or not figures.started:
        return None
    plain = price_mailing(case, chosen)
    unknown, got = recipients.unknown, recipients.reached | recipients.presumed_reached
    missed, twice = plain.missed, plain.duplicates
    if codes:
        surely = case.unmailed_people | recipients.failed
        missed = _within(len((surely & figures.audience.sure) - chosen), len((surely | unknown) - chosen), missed)
        twice = _within(len(got & chosen), len((got | unknown) & chosen), twice)
    if level and figures.cursor_trusted and figures.watched is None:
        short = max(0, figures.ahead) + abs(figures.residual) + len(above(figures.fetched, figures.campaign.cursor))
        surely_twice = len(case.open_people & chosen & figures.audience.sure) - short
        lowest = max(twice.low, min(surely_twice, twice.high))
        if lowest > twice.low:
            twice, codes = Range(lowest, twice.high), tuple(dict.fromkeys((*codes, *level)))
    return None if (missed, twice) == (plain.missed, plain.duplicates) else Presumed(missed, twice, codes)


def _within(low: int, high: int, whole: Range) -> Range:
    """Return a range as far as it lies in another."""
    least = min(max(low, whole.low), whole.high)
    return Range(least, max(least, min(high, whole.high)))


def burdened(option: Option, made: Sequence[FollowUp]) -> Option:
    """Return an option's price with what the follow-ups of the campaign may have mailed or will mail.

    Their people may have had the mail by now, or not: every range widens by them, and nothing is presumed.
    """
    if not made or option.strategy == "accept":
        return option
    helped = len(_together(made))
    mailed = option.would_mail.high
    return replace(
        option,
        missed=Range(max(0, option.missed.low - helped), option.missed.high),
        duplicates=Range(option.duplicates.low, min(mailed, option.duplicates.high + min(helped, mailed))),
        presumably=None,
        recommended=option.recommended and option.strategy == "nothing",
    )


def _together(made: Sequence[FollowUp]) -> BitMap:
    people = made[0].people
    for each in made[1:]:
        people |= each.people
    return people


def refusal(campaign: Campaign, known: Known, choice: Choice) -> str:
    """Return why no follow-up is made of a campaign, "" where one may be."""
    standing = [each for each in known.made if each.id is not None and each.status not in SENT]
    if campaign.type == "optin":
        return (
            "it is an opt-in campaign: it asks the unconfirmed of its own lists to confirm, and a list made for a "
            "follow-up would have nobody unconfirmed on it"
        )
    if standing:
        return (
            f"{standing[-1]} is a follow-up of it already, and was not sent yet: a second one could mail people "
            f"twice; undo run {standing[-1].run} first if it was not started"
        )
    if not choice.people:
        return "there is nobody to choose" + (f" in {', '.join(choice.groups)}" if choice.groups else "")
    if not any(entry.list_id for entry in campaign.lists):
        return "all of its lists were deleted: who may be mailed cannot be told any more"
    return ""


def because(choice: Choice, recipients: Recipients) -> str:
    """Say whom it mails, by group."""
    words = {
        "unknown": "of whom it is unknown whether they were mailed",
        "never_fetched": "who were never fetched",
        "not_mailed": "who were not mailed",
        "failed": "whose mail failed",
        "presumed_reached": "who are presumed to have been mailed",
    }
    parts = [f"{len(getattr(recipients, name) & choice.people):,} people {words[name]}" for name in choice.groups]
    return f"a new private list and a draft that mails exactly {', and '.join(parts)}" if parts else "mails nobody"


def changes(campaign: Campaign, choice: Choice, source: Source, *, earlier: int) -> tuple[Change, ...]:
    """Return the rows of a follow-up, each named by a UUID that follows from what it is made for.

    Planned again for the same people of the same campaign, the very same rows come out. `earlier` is the number of
    follow-ups that the journal knows of this campaign.
    """
    ids = ranges(choice.people)
    seed = hashlib.sha256(f"{campaign.uuid}/{earlier}/{ids}".encode()).hexdigest()
    list_uuid, draft = (str(uuid.uuid5(_NAMESPACE, f"{seed}/{what}")) for what in ("list", "campaign"))
    name = called(campaign.name)
    described: dict[str, Any] = {}
    if source.described:
        described["description"] = f"Made by listmonk-doctor for the follow-up of campaign {campaign.id}"
    made = [
        Change(
            "lists",
            {"uuid": list_uuid},
            None,
            {"name": name, "type": "private", "optin": "single", "tags": [TAG], **described},
        ),
        Change(
            "subscriber_lists",
            {"list_uuid": list_uuid},
            None,
            {"status": "confirmed", "rows": len(choice.people), "audience_of": campaign.id, "subscriber_ids": ids},
        ),
        Change(
            "campaigns",
            {"uuid": draft},
            None,
            {
                "name": name,
                "status": "draft",
                "copy_of": campaign.id,
                "columns": list(source.columns),
                "content": source.content,
            },
        ),
        Change("campaign_lists", {"campaign_uuid": draft, "list_uuid": list_uuid}, None, {"list_name": name}),
    ]
    if source.attachments:
        made.append(
            Change(
                "campaign_media",
                {"campaign_uuid": draft},
                None,
                {"copy_of": campaign.id, "rows": source.attachments, "files": source.files},
            )
        )
    return tuple(made)


def called(name: str) -> str:
    """Return the name of a follow-up and its list, no longer than listmonk's pages take."""
    suffix = " (follow-up)"
    return name[: LONGEST_NAME - len(suffix)].rstrip() + suffix


def story(known: Known) -> tuple[str, ...]:
    """Return what is to be said of the follow-ups of a campaign, one sentence each."""
    told = []
    for each in known.made:
        people = f"{len(each.people):,} people"
        if each.id is None:
            told.append(f"A follow-up for {people} was made of it (run {each.run}); its campaign was deleted since.")
        else:
            told.append(
                f"A follow-up was made of it for {people}: {each}, {each.status}, {each.sent or 0:,} sent"
                + (", settled." if each.settled else ".")
            )
    if known.is_of is not None:
        told.append(f"It is the follow-up of campaign {known.is_of.of_id} (run {known.is_of.run}).")
    return tuple(told)


def narrowed(figures: Figures, known: Known) -> Figures:
    """Return the figures of a follow-up that was settled with the people that it was for as its audience.

    Its row names the lists of its original since, which hold many more.
    """
    if known.is_of is None or not known.is_of.settled:
        return figures
    people = known.is_of.people
    audience = figures.audience
    sets = {each.name: getattr(audience, each.name) & people for each in fields(audience)}
    return replace(figures, audience=replace(audience, **sets))


def advised(known: Known, others: Sequence[str]) -> tuple[str, ...]:
    """Return what to do about the follow-ups of a campaign, then the other advice: with one, only what not to do."""
    told = _advice(known)
    return (*told, *(each for each in others if not told or each.startswith("Do not")))


def _advice(known: Known) -> list[str]:
    """Return what each follow-up of a campaign waits for."""
    told = []
    if known.is_of is not None and known.is_of.settled:
        told.append(
            "Do not set it to paused and press Start: it was settled, and has the lists of its original, which would "
            "be mailed from its cursor on."
        )
    if known.is_of is not None and known.is_of.waiting:
        told.append(
            f"Run `listmonk-doctor follow-up refresh {known.is_of.id}` just before you press Start: people leave in "
            "between."
        )
    for each in known.made:
        if each.waiting:
            told.append(
                f"A follow-up waits: run `listmonk-doctor follow-up refresh {each.id}` just before you press Start "
                f"on campaign {each.id}, and do not press Start on this one."
            )
        elif each.status == "finished" and not each.settled:
            told.append(f"The follow-up was sent: look at `listmonk-doctor follow-up settle {each.id}`.")
        elif each.settled and each.status == "finished":
            told.append(
                "The follow-up was sent and settled: `listmonk-doctor repair "
                f'{each.of_id} --strategy accept --reason "followed up"` keeps its findings quiet.'
            )
        elif each.id is not None:
            told.append(f"A follow-up is on its way: campaign {each.id} is {each.status}.")
    return told


def recommended(option: Option, prefer: str, examination: Examination, others: Sequence[Option]) -> Option:
    """Return the option, recommended where it surely mails nobody twice and nothing else can be recommended.

    That is the case where people were surely not mailed and the campaign itself cannot go on to them.
    """
    good = (
        not option.refusal
        and prefer == "no-duplicates"
        and option.duplicates.high == 0
        and option.would_mail.high > 0
        and examination.campaign.status == "finished"
        and examination.pipe != "open"
        and not any(each.recommended for each in others)
    )
    return replace(option, recommended=good)


def notes(option: Option, campaign_id: int) -> tuple[str, ...]:
    """Return what to mind before the draft of a campaign's follow-up is started; nothing for other strategies."""
    if option.strategy != "follow-up":
        return ()
    return (
        "The campaign itself must not be started again: the follow-up takes its place.",
        f"People leave in between: run `listmonk-doctor follow-up refresh {campaign_id}` just before you press Start.",
        (
            f"Once it was sent, run `listmonk-doctor follow-up settle {campaign_id}`, so that the unsubscribe links in "
            "its mails lead to the lists that people know."
        ),
    )
