"""Tests of the parts that generated histories are made of: lists with their dates, failing statements, excuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.engine_model import BEHAVIOURS, VERSIONS, Settings
from tests.support.model_history import History, make_lists
from tests.support.model_truth import contradicted, truth_of, unseen
from tests.support.truth import TruthOf

PLAIN: Final = Settings(batch_size=50, concurrency=2, message_rate=5)
PEOPLE: Final = range(1000, 1200)


def history(version: str = "6.2.0", settings: Settings = PLAIN, *, second: bool = False) -> History:
    """Return a campaign of 200 people that has been sent for some seconds."""
    lists = make_lists(PEOPLE, optin="double", second=PEOPLE[::2] if second else ())
    played = History(version, settings, lists)
    played.button("start")
    played.wait(9.0)
    return played


@pytest.mark.parametrize(
    ("what", "eligible", "dated"),
    [
        ("unsubscribe", False, True),
        ("unsubscribe undated", False, False),
        ("blocklist by hand", False, True),
        ("blocklist by link", False, True),
        ("blocklist by bounce", False, False),
        ("subscribe again", True, False),
    ],
)
def test_changes_leave_the_dates_that_listmonk_leaves(what: str, *, eligible: bool, dated: bool) -> None:
    """Who leaves by hand or by link has a dated subscription; by a bounce, or without a change, nothing is dated."""
    played = history()
    played.change(what, 1003)
    assert (1003 in played.lists.eligible()) == eligible
    assert (played.lists.subscriptions[1003, 1].updated == played.sender.now) == dated
    assert (1003 in played.changed_while_sending) != eligible


def test_ids_are_never_used_again() -> None:
    """Whoever joins after the last one was deleted gets the next number."""
    played = history()
    played.change("delete", PEOPLE[-1])
    played.change("join", 1003)
    assert max(played.lists.people) == PEOPLE[-1] + 1


@pytest.mark.parametrize("version", VERSIONS)
def test_failed_fetch_leaves_a_pipe_open_up_to_6_0(version: str) -> None:
    """M5: from 3.0.0 to 6.0.0 nothing moves after it until a restart, which loses nobody."""
    played = history(version)
    played.sender.server.fail_fetch = True
    played.go_on()
    assert (played.sender.row.status == "running") == BEHAVIOURS[version].failed_fetch_hangs
    played.stop()
    played.go_on()
    assert played.sender.row.status == "finished"
    assert not played.sender.missed


@pytest.mark.parametrize("version", VERSIONS)
def test_deleted_list_stops_a_campaign_from_4_0_to_6_0(version: str) -> None:
    """M6: every fetch fails on what the deleted list left; other versions go on without its people."""
    played = history(version, second=True)
    played.delete_list(2)
    played.go_on()
    hangs = BEHAVIOURS[version].gone_list_fails
    assert (played.sender.row.status == "running") == hangs == truth_of(played).hangs
    assert bool(played.sender.missed) == hangs


def test_failed_flush_is_lost_for_good() -> None:
    """A scan whose statement fails has zeroed the count already: `sent` stays short, and nobody was missed."""
    played = history()
    played.sender.server.lose_flush = True
    played.go_on()
    row = played.sender.row
    assert not played.sender.missed
    assert row.to_send - row.sent == played.sender.campaign.unflushed > 0
    assert contradicted(played) == {"no-flush-lost-or-doubled"}


def test_pause_before_anything_was_sent_makes_it_start_over() -> None:
    """M2: the count in the cursor lies below everybody, and the next Start mails them again."""
    played = history("5.0.3")
    mailed = set(played.sender.mails)
    played.pause_at_the_pick_up(6.0)
    assert played.sender.row.last_subscriber_id == len(PEOPLE)
    played.go_on()
    assert {person for person, copies in played.sender.mails.items() if copies > 1} == mailed
    assert "never-started-over" in contradicted(played)


def test_arbitrary_subscription_leaves_people_out_up_to_3_0() -> None:
    """M12: of people with one subscription that counts and one that does not, some are not mailed."""
    for version in VERSIONS:
        lists = make_lists(PEOPLE, optin="single", second=PEOPLE, unsubscribed=PEOPLE[:100])
        played = History(version, PLAIN, lists)
        played.go_on()
        assert (0 < len(played.sender.missed) < 100) == BEHAVIOURS[version].one_list_decides


def test_assumptions_are_false_only_where_they_were_broken() -> None:
    """A quiet history breaks none; two stops, another batch size and a pause in mid batch are told apart."""
    quiet = history()
    quiet.go_on()
    assert not contradicted(quiet)
    stopped = history()
    for _ in range(2):
        stopped.stop()
        stopped.boot(replace(PLAIN, batch_size=40))
        stopped.wait(7.0)
    assert {"stopped-once", "same-batch-size"} <= contradicted(stopped)
    paused = history()
    paused.button("pause")
    paused.go_on()
    assert contradicted(paused) == {"no-clean-pause-in-mid-batch"}


def test_who_leaves_no_trace_is_counted() -> None:
    """Deleted before the last pick-up: nothing tells of them; after it, `to_send` does."""
    played = history()
    played.change("delete", 1150)
    assert not unseen(played)
    played.button("pause")
    played.go_on()
    assert unseen(played) == {1150}


def test_excuses_are_specific() -> None:
    """A named assumption that is false explains only what it can: the refused, as many as moved, as were doubled."""
    nobody: frozenset[int] = frozenset()
    truth = TruthOf(
        at_start=frozenset(range(10)),
        now=frozenset(range(10)),
        blocklisted=nobody,
        fetchable=nobody,
        mails={},
        failed=frozenset({1}),
        contradicted=frozenset({"no-failures", "lists-unchanged-while-sending", "same-batch-size"}),
        shifted=2,
        doubled=0,
    )
    assert truth.unexplained({"no-failures"}, {1, 2}) == {2}
    assert truth.unexplained({"lists-unchanged-while-sending"}, {1, 2}) == set()
    assert truth.unexplained({"lists-unchanged-while-sending"}, {1, 2, 3}) == {1, 2, 3}
    assert truth.unexplained({"same-batch-size"}, {1, 2, 3}) == set()
    assert truth.unexplained({"stopped-once", "no-flush-lost-or-doubled"}, {3}) == {3}
