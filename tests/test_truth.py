"""Holds everything the diagnosis says of the recorded accidents against the relay's own account of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from engine_model import Row, Settings, resume_from_row
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.recording import open_recording, recordings
from listmonk_doctor.repair.diagnose import diagnose_in
from support.truth import TruthOf, read_truth

if TYPE_CHECKING:
    from listmonk_doctor.demo.recording import Recording
    from listmonk_doctor.diagnosis.report import Account, Examination, Range
    from listmonk_doctor.repair.plan import Diagnosis, Option

CASES = [pytest.param(name, worse, id=f"{name}{'-worse' if worse else ''}") for name in recordings() for worse in (False, True)]


def diagnosed(conn: psycopg.Connection[Any], recording: Recording) -> dict[int, Diagnosis]:
    """Diagnose every campaign of a loaded recording, with the scanners and pipes that were there."""
    ids = [int(campaign) for campaign in recording.incident["campaigns"]]
    server = SimpleNamespace(
        running=recording.servers_scanning > 0, scanners=recording.servers_scanning, because="recorded",
        pipes={campaign: "open" if campaign in recording.open_pipes else "none" for campaign in ids}, xmin={},
    )
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        return diagnose_in(cur, ids, server=server)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "worse"), CASES)
def test_what_is_said_of_each_recording_is_true(incident_db: Any, name: str, *, worse: bool) -> None:
    """The truth lies inside every range and group of every campaign, and inside the price of every strategy."""
    recording = open_recording(name)
    with psycopg.connect(incident_db(name, worse=worse), autocommit=True) as conn:
        for campaign, diagnosis in diagnosed(conn, recording).items():
            truth = read_truth(conn, recording, campaign, worse=worse)
            examination = diagnosis.examination
            assert_account(examination, truth)
            assert_groups(examination, truth)
            for option in diagnosis.options:
                assert_price(examination, option, truth, recording.version)


def within(number: int, bounds: Range, what: str) -> None:
    """Assert that a number lies in a range."""
    assert bounds.low <= number <= bounds.high, f"{what}: {number} is not in {list(bounds)}"


def assert_account(examination: Examination, truth: TruthOf) -> None:
    """Assert that the truth lies inside every range of the account, and that these do not contradict each other."""
    books, campaign = examination.account, examination.campaign
    if campaign.started_at is None and campaign.sent == 0:
        assert books.mailed == (0, 0)
        return
    mailed = {person for person in truth.at_start if truth.mails.get(person)}
    silent = truth.at_start - mailed - truth.failed
    departed = silent - truth.now
    waiting = silent & truth.now
    within(len(truth.at_start), books.audience_at_start, "audience at start")
    assert books.audience_now == len(truth.now)
    within(len(mailed), books.mailed, "mailed")
    within(len(truth.failed), books.failed, "failed")
    within(len(departed), books.departed_unmailed, "departed unmailed")
    within(sum(truth.mails.values()) - campaign.sent, books.uncounted, "uncounted")
    if books.cursor_trusted:
        tail = {person for person in waiting if campaign.cursor < person <= campaign.ceiling}
        within(len(tail), books.tail, "tail")
        lost = books.lost if examination.campaign.status == "finished" else books.in_flight
        within(len(waiting - tail), lost, "lost or in flight")
    else:
        assert len(waiting) <= books.tail.high + books.lost.high + books.in_flight.high
    assert_consistent(books)


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
    assert truth.at_start & truth.now <= members
    assert groups["newcomers"].isdisjoint(truth.at_start)
    mailed = set(truth.mails)
    assert groups["never_fetched"].isdisjoint(mailed)
    assert groups["reached"] <= mailed
    named = {assumption.code for assumption in examination.assumptions}
    wrong = groups["presumed_reached"] - mailed
    assert not wrong or named & truth.contradicted, f"{len(wrong)} wrongly presumed reached, and nothing named is false"
    assert groups["presumed_reached"] <= truth.at_start or "lists-unchanged-while-sending" in named


def mailed_by_start(examination: Examination, option: Option, truth: TruthOf, version: str) -> dict[int, int]:
    """Play what is said to happen after a strategy: its row, Start pressed, no further accident."""
    campaign, doctor = examination.campaign, examination.settings
    after: dict[str, Any] = {}
    for change in option.changes:
        if change.table == "campaigns" and change.after is not None:
            after |= change.after
    status = after.get("status", campaign.status)
    if status in ("finished", "cancelled", "draft"):
        return {}
    row = Row(
        status=status, sent=after.get("sent", campaign.sent), to_send=campaign.to_send,
        last_subscriber_id=after.get("last_subscriber_id", campaign.cursor),
        max_subscriber_id=campaign.ceiling, started_at=0.0 if campaign.started_at else None, updated_at=0.0,
    )
    settings = Settings(
        batch_size=doctor.batch_size, concurrency=doctor.concurrency, message_rate=doctor.message_rate, max_send_errors=0
    )
    eligible = truth.now
    played = resume_from_row(
        row, eligible, settings, version.removeprefix("v"), {},
        ineligible=truth.fetchable & truth.blocklisted, unconfirmed=truth.fetchable - truth.blocklisted - eligible,
    )
    return played.mails


def assert_price(examination: Examination, option: Option, truth: TruthOf, version: str) -> None:
    """Assert that what a resumed sender really does after a strategy lies within the strategy's price."""
    if examination.pipe == "open" or examination.campaign.started_at is None:
        return
    again = mailed_by_start(examination, option, truth, version)
    members = truth.at_start & truth.now
    missed = {person for person in members if not truth.mails.get(person) and person not in again}
    twice = {person for person in again if truth.mails.get(person)}
    joined = set(again) - truth.at_start
    what = f"{option.strategy} {option.prefer}"
    if not option.refusal:
        within(len(missed), option.missed, f"{what}: missed")
        within(len(twice), option.duplicates, f"{what}: duplicates")
        within(len(joined), option.newcomers, f"{what}: newcomers")
        within(len(again), option.would_mail, f"{what}: would mail")
    if option.presumably is not None and not truth.contradicted & set(option.presumably.assumptions):
        within(len(missed), option.presumably.missed, f"{what}: presumably missed")
        within(len(twice), option.presumably.duplicates, f"{what}: presumably duplicates")


def test_every_recording_is_here() -> None:
    """All recordings are there to be tried."""
    assert len(recordings()) == 39  # noqa: PLR2004
