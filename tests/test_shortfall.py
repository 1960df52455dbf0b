"""Tests of what narrows who is unknown: who was blocklisted when, and who is proved to have been mailed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pyroaring import BitMap

from listmonk_doctor.diagnosis.account import bounds, settled
from listmonk_doctor.diagnosis.candidates import PROOFS_NEEDED, candidates
from listmonk_doctor.diagnosis.figures import Figures
from listmonk_doctor.diagnosis.groups import group
from listmonk_doctor.diagnosis.idsets import Audience
from listmonk_doctor.listmonk.campaign import Campaign, CampaignList
from listmonk_doctor.listmonk.settings import Settings
from listmonk_doctor.listmonk.versions import parse

START = datetime(2030, 6, 1, 12, tzinfo=UTC)
END = START + timedelta(minutes=1)
BOTH = ("v3.0.0", "v6.2.0")


def figures(*, dated: bool) -> Figures:
    """Return a campaign of 3.0.0 on two lists that mailed 100 of 120; 20 are blocklisted today.

    Of one more person the two subscriptions disagree. `dated`: they were blocklisted after the end, by their dates.
    """
    nobody, twenty, others = BitMap(), BitMap(range(101, 121)), BitMap(range(1, 101))
    sets = dict.fromkeys(
        ("undated", "newcomers", "left", "left_during", "blocked_since", "blocked_undated", "reached"), nobody
    )
    sets["blocked_since" if dated else "blocked_undated"] = twenty
    audience = Audience(now=others, sure=others, mixed=BitMap([7]), fetchable=others | twenty, **sets)
    lists = (CampaignList(1, 1, "one", "single"), CampaignList(2, 2, "two", "single"))
    row = Campaign(
        2, "uuid", "name", "regular", "finished", 100, 120, 120, 120, "email", START, START, END, None, "7", lists
    )
    return Figures(row, Settings(versions=((parse("v3.0.0"), None),)), audience, END + timedelta(days=1))


def test_people_without_a_usable_date_may_explain_a_gap() -> None:
    """They are taken as blocklisted before the start (M13), so nobody is short and nobody is unknown."""
    seen = figures(dated=False)
    assert seen.unexplained_gap == 0
    assert settled(seen)
    assert not group(seen).recipients.unknown


def test_people_who_were_blocklisted_after_the_end_explain_no_gap() -> None:
    """They were in the audience when it was sent: somebody is short, perhaps whom one subscription left out (M12)."""
    seen = figures(dated=True)
    assert seen.unexplained_gap == 20
    assert not settled(seen)
    assert 7 in group(seen).recipients.unknown


def stopped(reached: set[int]) -> Figures:
    """Return a campaign of 6.2.0 that mailed 900 of 1,000 in batches of 500, with 5 workers at a rate of 10."""
    people, nobody = BitMap(range(1, 1001)), BitMap()
    names = ("undated", "newcomers", "left", "left_during", "blocked_since", "blocked_undated", "mixed", "fetchable")
    audience = Audience(now=people, sure=people, reached=BitMap(reached), **dict.fromkeys(names, nobody))
    row = Campaign(
        2,
        "uuid",
        "name",
        "regular",
        "finished",
        900,
        1000,
        1000,
        1000,
        "email",
        START,
        START,
        END,
        None,
        "7",
        (CampaignList(1, 1, "one", "single"),),
    )
    settings = Settings(batch_size=500, concurrency=5, message_rate=10, versions=((parse("v6.2.0"), None),))
    return Figures(row, settings, audience, END + timedelta(days=1))


def test_proofs_in_a_block_leave_its_end_and_the_ragged_front() -> None:
    """The third proof from the end narrows it to what lies behind that person, and 50 people before."""
    whole, narrowed = (candidates(stopped(proofs), 100) for proofs in (set[int](), {440, 450, 460}))
    assert [(block.first_id, block.last_id) for block in whole] == [(351, 500), (851, 1000)]
    assert [(block.first_id, block.last_id) for block in narrowed] == [(391, 500), (851, 1000)]


def test_two_proofs_narrow_nothing() -> None:
    """A forwarded mail and a test send that was opened late may both be false."""
    assert PROOFS_NEEDED == 3
    assert candidates(stopped({480, 490}), 100) == candidates(stopped(set()), 100)


def test_second_copies_may_stand_for_people_who_were_lost() -> None:
    """Where a campaign may have started over, agreeing figures prove nobody; where it cannot have, they bound it."""
    row = replace(figures(dated=False).campaign, to_send=100)
    slow = {version: Settings(versions=((parse(version), None),), concurrency=2, message_rate=1) for version in BOTH}
    may, cannot = (replace(figures(dated=False), campaign=row, settings=slow[version]) for version in BOTH)
    assert settled(may)
    assert settled(cannot)
    assert bounds(may).mailed.low == 0
    assert bounds(may).unmailed == 100
    assert bounds(cannot).mailed.low >= 80
    assert bounds(cannot).unmailed <= 20
