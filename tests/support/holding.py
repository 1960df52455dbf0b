"""Owns the assertions that hold a diagnosis against the truth: account, groups, prices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.diagnosis.ranges import members
from tests.engine_model import Row, Settings, resume_from_row

LARGEST: Final = re.compile(r"can lose up to ([\d,]+)")

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.report import Account, Examination, Range
    from listmonk_doctor.repair.plan import Diagnosis, Option
    from tests.support.truth import TruthOf


def assert_true(diagnosis: Diagnosis, truth: TruthOf, version: str) -> None:
    """Assert that nothing a diagnosis says is contradicted by the truth; `version` is the server's, as v5.0.3."""
    assert_account(diagnosis.examination, truth)
    assert_groups(diagnosis.examination, truth)
    assert_causes(diagnosis.examination, truth)
    for option in diagnosis.options:
        assert_price(diagnosis.examination, option, truth, version)


def within(number: int, bounds: Range, what: str, wider: int = 0) -> None:
    """Assert that a number lies in a range, or outside by no more than `wider`."""
    assert bounds.low - wider <= number <= bounds.high + wider, f"{what}: {number} is not in {list(bounds)} +- {wider}"


def assert_causes(examination: Examination, truth: TruthOf) -> None:
    """Assert that no stop lost more than is said of a stop, and that no cause is denied that was there."""
    standing = {cause.code: cause for cause in examination.causes}
    if (said := LARGEST.search(standing["M1"].because)) and not truth.dropped:
        assert truth.most_lost <= int(said[1].replace(",", "")) + truth.noise or (
            "same-batch-size" in truth.contradicted
        ), f"a stop lost {truth.most_lost}: {standing['M1'].because}"


def assert_account(examination: Examination, truth: TruthOf) -> None:
    """Assert that the truth lies inside every range of the account, and that these do not contradict each other."""
    books, campaign = examination.account, examination.campaign
    if campaign.started_at is None and campaign.sent == 0:
        assert books.mailed == (0, 0)
        return
    named = {assumption.code for assumption in examination.assumptions}
    unseen = truth.unseen if "lists-unchanged-while-sending" in named else 0
    wider = unseen + (truth.noise if "same-batch-size" in named else 0)
    mailed = {person for person in truth.at_start if truth.mails.get(person)}
    silent = truth.at_start - mailed - truth.failed
    departed = silent - truth.now
    waiting = silent & truth.now
    wider += wrongly_never(examination, truth)
    within(len(truth.at_start), books.audience_at_start, "audience at start", unseen)
    assert books.audience_now == len(truth.now)
    within(len(mailed), books.mailed, "mailed", wider)
    within(len(truth.failed), books.failed, "failed", wider)
    within(len(departed), books.departed_unmailed, "departed unmailed", wider)
    if "never-started-over" not in named & truth.contradicted:
        within(sum(truth.mails.values()) - campaign.sent, books.uncounted, "uncounted", wider)
    if books.cursor_trusted and "never-started-over" not in truth.contradicted:
        # Whom the relay refused above the cursor was fetched, but will be tried again: it counts as tail.
        tail = {person for person in truth.missed if campaign.cursor < person <= campaign.ceiling}
        refused = truth.workers if "no-failures" in named & truth.contradicted else 0
        within(len(tail), books.tail, "tail", wider + refused)
        lost = books.lost if examination.campaign.status == "finished" else books.in_flight
        within(len(waiting - tail), lost, "lost or in flight", wider)
    else:
        assert len(waiting) <= books.tail.high + books.lost.high + books.in_flight.high + wider
    assert_consistent(books)


def wrongly_never(examination: Examination, truth: TruthOf) -> int:
    """Return how many were mailed although they are called never fetched; `assert_groups` holds that to the excuses."""
    return sum(bool(truth.mails.get(person)) for person in examination.recipients.never_fetched)


def assert_consistent(books: Account) -> None:
    """Assert that the parts can add up to the audience at the start."""
    parts = (books.mailed, books.failed, books.departed_unmailed, books.in_flight, books.tail, books.lost)
    for part in (books.audience_at_start, books.uncounted, *parts):
        assert part.low <= part.high
    assert sum(part.low for part in parts) <= books.audience_at_start.high
    assert sum(part.high for part in parts) >= books.audience_at_start.low


def assert_groups(examination: Examination, truth: TruthOf) -> None:
    """Assert that the groups partition the members and that nobody stands in a group that the truth contradicts."""
    groups = {name: set(ids) for name, ids in examination.recipients.groups().items()}
    if examination.campaign.started_at is None:
        assert not any(groups.values())
        return
    six = ("reached", "failed", "not_mailed", "never_fetched", "presumed_reached", "unknown")
    members: set[int] = set().union(*(groups[name] for name in six))
    assert sum(len(groups[name]) for name in six) == len(members)
    assert members | groups["newcomers"] == truth.now
    named = {assumption.code for assumption in examination.assumptions}
    unseen = truth.unseen if "lists-unchanged-while-sending" in named else 0
    assert len(truth.at_start & truth.now - members) <= unseen
    assert len(groups["newcomers"] & truth.at_start) <= unseen
    mailed = set(truth.mails)
    wrong = groups["never_fetched"] & mailed
    few = truth.noise if "same-batch-size" in named & truth.contradicted else 0
    if "no-failures" in named & truth.contradicted:  # the refused lie between the cursor and those whom its noise hides
        few += truth.workers
    if "never-started-over" not in named & truth.contradicted:
        assert len(wrong) <= few, f"{len(wrong)} were mailed, and are called never fetched"
    assert groups["reached"] <= mailed
    wrong = truth.unexplained(named, groups["presumed_reached"] - mailed)
    assert not wrong, f"{len(wrong)} wrongly presumed reached, and nothing named hides them: {sorted(wrong)[:9]}"
    assert groups["presumed_reached"] <= truth.at_start or "lists-unchanged-while-sending" in named


def mailed_by_start(examination: Examination, option: Option, truth: TruthOf, version: str) -> dict[int, int]:
    """Play what is said to happen after a strategy: its row, Start pressed, no further accident."""
    if option.strategy == "follow-up":
        return mailed_by_followup(examination, option, version)
    campaign, doctor = examination.campaign, examination.settings
    after: dict[str, Any] = {}
    for change in option.changes:
        if change.table == "campaigns" and change.after is not None:
            after |= change.after
    status = after.get("status", campaign.status)
    hangs = truth.hangs and option.strategy != "detach-list"
    if status in ("finished", "cancelled", "draft") or hangs:
        return {}
    row = Row(
        status=status,
        sent=after.get("sent", campaign.sent),
        to_send=campaign.to_send,
        last_subscriber_id=after.get("last_subscriber_id", campaign.cursor),
        max_subscriber_id=campaign.ceiling,
        started_at=0.0 if campaign.started_at else None,
        updated_at=0.0,
        send_at=0.0 if campaign.send_at else None,
    )
    settings = Settings(
        batch_size=doctor.batch_size,
        concurrency=doctor.concurrency,
        message_rate=doctor.message_rate,
        max_send_errors=0,
    )
    eligible = truth.now
    played = resume_from_row(
        row,
        eligible,
        settings,
        version.removeprefix("v"),
        {},
        ineligible=truth.fetchable & truth.blocklisted,
        unconfirmed=truth.fetchable - truth.blocklisted - eligible,
        mixed=truth.mixed,
    )
    return played.mails


def mailed_by_followup(examination: Examination, option: Option, version: str) -> dict[int, int]:
    """Play a follow-up: its draft started as a new campaign for the people of its list, the old one left alone."""
    doctor = examination.settings
    put = next(change.after for change in option.changes if change.table == "subscriber_lists")
    draft = Row("draft", sent=0, to_send=0, last_subscriber_id=0, max_subscriber_id=0, started_at=None, updated_at=0.0)
    settings = Settings(
        batch_size=doctor.batch_size,
        concurrency=doctor.concurrency,
        message_rate=doctor.message_rate,
        max_send_errors=0,
    )
    people = members((put or {})["subscriber_ids"])
    return resume_from_row(draft, people, settings, version.removeprefix("v"), {}).mails


@dataclass(frozen=True)
class Came:
    """What really comes of a strategy: people missed for good, mailed twice, mailed as newcomers, mailed at all."""

    missed: int
    twice: int
    newcomers: int
    mails: int


def comes_of(examination: Examination, option: Option, truth: TruthOf, version: str) -> Came | None:
    """Return what comes of a strategy when the sender goes on from its row; None where that cannot be played."""
    if examination.pipe == "open" or examination.campaign.started_at is None:
        return None
    if option.strategy == "follow-up" and option.refusal:  # there is no draft that could be started
        return None
    again = mailed_by_start(examination, option, truth, version)
    members = truth.at_start & truth.now
    return Came(
        missed=sum(not truth.mails.get(person) and person not in again for person in members),
        twice=sum(bool(truth.mails.get(person)) for person in again),
        newcomers=len(set(again) - truth.at_start),
        mails=len(again),
    )


def inside(part: Range, whole: Range, what: str) -> None:
    """Assert that a range lies in another."""
    assert whole.low <= part.low <= part.high <= whole.high, f"{what}: {list(part)} is not in {list(whole)}"


def assert_price(examination: Examination, option: Option, truth: TruthOf, version: str) -> None:
    """Assert that what a resumed sender really does after a strategy lies within the strategy's price.

    What the price presumably is lies in it, too.
    """
    if option.presumably is not None:
        inside(option.presumably.missed, option.missed, f"{option.strategy}: presumably missed")
        inside(option.presumably.duplicates, option.duplicates, f"{option.strategy}: presumably duplicates")
    came = comes_of(examination, option, truth, version)
    if came is None:
        return
    what = f"{option.strategy} {option.prefer}"
    named = {assumption.code for assumption in examination.assumptions}
    unseen = truth.unseen if "lists-unchanged-while-sending" in named else 0
    wider = unseen + (truth.noise if "same-batch-size" in named else 0)
    wider += wrongly_never(examination, truth)
    within(came.missed, option.missed, f"{what}: missed", wider)
    within(came.twice, option.duplicates, f"{what}: duplicates", wider)
    within(came.newcomers, option.newcomers, f"{what}: newcomers", unseen)
    within(came.mails, option.would_mail, f"{what}: would mail")
    assert_no_gaps(examination, option, came.missed, truth)
    if option.presumably is not None and not truth.contradicted & set(option.presumably.assumptions):
        within(came.missed, option.presumably.missed, f"{what}: presumably missed")
        within(came.twice, option.presumably.duplicates, f"{what}: presumably duplicates")


def assert_no_gaps(examination: Examination, option: Option, missed: int, truth: TruthOf) -> None:
    """Assert that a rewind without gaps leaves none where every assumption holds.

    An ended campaign may have been stopped any number of times, and counts may have been lost; of one that has not
    ended, nothing may have been sent since it was stopped.
    """
    if option.strategy != "rewind" or option.prefer != "no-gaps" or option.refusal:
        return
    ended = examination.campaign.status == "finished"
    harmless = {"stopped-once"}
    if not truth.counted_twice:
        harmless.add("no-flush-lost-or-doubled")
    unsure = any(cause.code == "M12" and cause.standing != "ruled-out" for cause in examination.causes)
    if truth.contradicted - harmless or not (ended or truth.fresh) or unsure or truth.hangs:
        return
    assert not missed, f"{missed} are missed after {option.because}"
