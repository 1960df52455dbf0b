"""Tending a follow-up: who is taken off before Start, what a settle carries over, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.followups import CAMPAIGN, bytes_of, done, draft_of, sent
from tests.support.running import run, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "kill9-v6.2.0"


@pytest.fixture
def made(incident_db: Callable[..., str], tmp_path: Path) -> str:
    """Give a database with a follow-up of the recorded campaign that waits to be started."""
    dsn = incident_db(NAME)
    done("repair", str(CAMPAIGN), "--dsn", dsn, "--strategy", "follow-up", "--undo-out", str(tmp_path))
    return dsn


def change(dsn: str, *statements: str, **places: object) -> None:
    """Do what listmonk or its people might do; `places` are the numbers that stand in braces."""
    with psycopg.connect(dsn) as conn:
        for statement in statements:
            conn.execute(statement.format(**places).encode())


def test_a_refresh_takes_off_who_left_and_who_is_proved_to_have_been_mailed(made: str, tmp_path: Path) -> None:
    """Blocklisted, unsubscribed from the lists, bounced: off; nobody comes on; undo puts every byte back."""
    draft = draft_of(made)
    blocked, left, bounced, stayed = sorted(draft.people)[:4]
    change(
        made,
        "UPDATE subscribers SET status = 'blocklisted' WHERE id = {blocked}",
        "UPDATE subscriber_lists SET status = 'unsubscribed' WHERE list_id = 1 AND subscriber_id = {left}",
        "INSERT INTO bounces (subscriber_id, campaign_id, type) VALUES ({bounced}, {campaign}, 'soft')",
        blocked=blocked,
        left=left,
        bounced=bounced,
        campaign=CAMPAIGN,
    )
    before = bytes_of(made)
    code, shown = said("follow-up", "refresh", str(CAMPAIGN), "--dsn", made)
    assert code == 4
    assert [each["before"]["rows"] for each in shown["campaigns"][0]["changes"]] == [3]
    assert "subscriber_ids" not in shown["campaigns"][0]["changes"][0]["before"]
    refreshed = done("follow-up", "refresh", str(draft.id), "--dsn", made, "--undo-out", str(tmp_path))
    after = draft_of(made)
    assert after.people == draft.people - {blocked, left, bounced}
    assert stayed in after.people
    assert said("follow-up", "refresh", str(CAMPAIGN), "--dsn", made)[0] == 0
    undo = run("undo", "--dsn", made)
    assert "3 people who left, or had the mail" in undo.stdout
    assert run("undo", str(refreshed["run"]), "--dsn", made, "--apply", "--yes").exit_code == 0
    assert bytes_of(made) == before


def test_somebody_put_on_the_list_by_hand_is_not_taken_off(made: str) -> None:
    """A refresh takes off only those whom the follow-up was made for."""
    draft = draft_of(made)
    change(
        made,
        "INSERT INTO subscriber_lists (subscriber_id, list_id, status) "
        "SELECT max(id), {list}, 'confirmed' FROM subscribers WHERE status = 'enabled' AND NOT EXISTS "
        "(SELECT FROM subscriber_lists l WHERE l.list_id IN (1, {list}) AND l.subscriber_id = subscribers.id)",
        list=draft.list_id,
    )
    assert len(draft_of(made).people) == len(draft.people) + 1
    assert said("follow-up", "refresh", str(CAMPAIGN), "--dsn", made)[0] == 0


def test_a_settle_carries_unsubscriptions_over_and_keeps_a_later_word(made: str, tmp_path: Path) -> None:
    """Who unsubscribed through the follow-up is unsubscribed from the lists, as of then; undo takes it back."""
    draft = draft_of(made)
    gone, returned, stayed = sorted(draft.people)[:3]
    sent(made, NAME, draft.id, {})
    leave = "UPDATE subscriber_lists SET status = 'unsubscribed', updated_at = '2036-01-01Z'"
    change(
        made,
        leave + " WHERE list_id = {list} AND subscriber_id IN ({gone}, {returned})",
        "UPDATE subscriber_lists SET updated_at = '2036-02-01Z' WHERE list_id = 1 AND subscriber_id = {returned}",
        list=draft.list_id,
        gone=gone,
        returned=returned,
    )
    before = bytes_of(made)
    for options in ((), ("--remove-list",)):
        settled = done("follow-up", "settle", str(CAMPAIGN), *options, "--dsn", made, "--undo-out", str(tmp_path))
        with psycopg.connect(made) as conn:
            rows = conn.execute(
                "SELECT subscriber_id, status::text, updated_at = '2036-01-01Z' FROM subscriber_lists"
                " WHERE list_id = 1 AND subscriber_id = ANY(%s)",
                [[gone, returned, stayed]],
            ).fetchall()
            lists = conn.execute("SELECT id FROM lists WHERE id = %s", [draft.list_id]).fetchall()
        found = {person: (status, same) for person, status, same in rows}
        assert found[gone] == ("unsubscribed", True)
        assert found[returned][0] != "unsubscribed"
        assert found[stayed][0] != "unsubscribed"
        assert bool(lists) is not bool(options)
        done("undo", settled["run"], "--dsn", made)
        assert bytes_of(made) == before


def test_a_settle_gives_the_follow_up_every_list_of_its_original(
    incident_db: Callable[..., str], tmp_path: Path
) -> None:
    """A campaign for two lists: the finished follow-up names both, and undo takes both away again."""
    dsn = incident_db(NAME)
    change(
        dsn,
        "INSERT INTO lists (uuid, name, type) VALUES (gen_random_uuid(), 'Second', 'public')",
        "INSERT INTO campaign_lists (campaign_id, list_id, list_name) SELECT {campaign}, id, name FROM lists"
        " WHERE name = 'Second'",
        campaign=CAMPAIGN,
    )
    done("repair", str(CAMPAIGN), "--dsn", dsn, "--strategy", "follow-up", "--undo-out", str(tmp_path))
    draft = draft_of(dsn)
    sent(dsn, NAME, draft.id, {})
    before = bytes_of(dsn)
    settled = done("follow-up", "settle", str(draft.id), "--remove-list", "--dsn", dsn, "--undo-out", str(tmp_path))
    with psycopg.connect(dsn) as conn:
        names = conn.execute(
            "SELECT list_name FROM campaign_lists WHERE campaign_id = %s ORDER BY list_name", [draft.id]
        ).fetchall()
    assert names == [("Newsletter",), ("Second",)]
    _, seen = said("examine", str(draft.id), "--dsn", dsn)
    assert seen["verdict"] == "complete"
    assert said("follow-up", "settle", str(draft.id), "--remove-list", "--dsn", dsn)[0] == 0
    done("undo", settled["run"], "--dsn", dsn)
    assert bytes_of(dsn) == before


@pytest.mark.parametrize(
    ("meanwhile", "word"),
    [
        ("UPDATE campaigns SET status = 'running', started_at = now() WHERE id = {draft}", "was started"),
        ("UPDATE campaigns SET sent = 1 WHERE id = {draft}", "was started"),
        ("UPDATE campaigns SET status = 'scheduled', send_at = now() + '1 day' WHERE id = {draft}", "was started"),
        ("UPDATE campaigns SET send_at = now() + '1 day' WHERE id = {draft}", "was given a time"),
        ("UPDATE campaigns SET subject = 'Another' WHERE id = {draft}", "was edited"),
        ("UPDATE campaigns SET name = 'Another' WHERE id = {draft}", "was edited"),
        ("INSERT INTO campaign_lists (campaign_id, list_id) VALUES ({draft}, 1)", "2 lists"),
        ("INSERT INTO campaign_views (campaign_id) VALUES ({draft})", "views, clicks or bounces"),
        ("UPDATE lists SET name = 'Mine', updated_at = now() WHERE id = {list}", "was edited"),
        ("INSERT INTO campaign_lists (campaign_id, list_id) VALUES (2, {list})", "is used by campaign 2"),
        (
            "UPDATE subscriber_lists SET status = 'unsubscribed' WHERE list_id = {list} AND subscriber_id = {one}",
            "{less} of them as they were",
        ),
        ("DELETE FROM subscriber_lists WHERE list_id = {list} AND subscriber_id = {one}", "{less} are on it now"),
        (
            "UPDATE subscriber_lists SET updated_at = '2036-01-01Z' WHERE list_id = {list} AND subscriber_id = {one}",
            "{less} of them as they were",
        ),
        (
            (
                "INSERT INTO subscriber_lists (subscriber_id, list_id) SELECT min(id), {list} FROM subscribers s WHERE"
                " NOT EXISTS (SELECT FROM subscriber_lists l WHERE l.list_id = {list} AND l.subscriber_id = s.id)"
            ),
            "{more} are on it now",
        ),
        ("DELETE FROM campaigns WHERE id = {draft}", "is gone"),
        ("DELETE FROM lists WHERE id = {list}", "is gone"),
    ],
)
def test_an_undo_is_refused_once_somebody_went_on_with_it(made: str, meanwhile: str, word: str) -> None:
    """Started, scheduled, edited, used by another campaign, a subscription changed: nothing is taken away."""
    draft = draft_of(made)
    change(made, meanwhile, draft=draft.id, list=draft.list_id, one=min(draft.people))
    before = bytes_of(made)
    shown = run("undo", "--dsn", made)
    assert shown.exit_code == 3
    assert word.format(less=len(draft.people) - 1, more=len(draft.people) + 1) in shown.stdout
    applied = run("undo", "--dsn", made, "--apply", "--yes")
    assert applied.exit_code == 3
    assert bytes_of(made) == before


@pytest.mark.parametrize(
    ("meanwhile", "what", "word"),
    [
        ("UPDATE campaigns SET status = 'paused', started_at = now() WHERE id = {draft}", "refresh", "was started"),
        ("UPDATE campaigns SET status = 'paused', started_at = now() WHERE id = {draft}", "settle", "is paused"),
        ("SELECT 1", "settle", "is draft"),
        ("DELETE FROM lists WHERE id = {list}", "refresh", "is gone"),
        ("DELETE FROM campaigns WHERE id = 2", "refresh", "was deleted"),
        ("DELETE FROM campaigns WHERE id = {draft}", "refresh", "its campaign was deleted"),
        ("UPDATE campaigns SET status = 'finished'; DELETE FROM lists WHERE id = 1", "settle", "were deleted"),
        (
            (
                "UPDATE campaigns SET status = 'finished';"
                " INSERT INTO campaign_lists (campaign_id, list_id) SELECT 1, {list} FROM campaigns WHERE id = 1"
            ),
            "settle",
            "is used by campaign 1",
        ),
    ],
)
def test_tending_is_refused_where_it_is_too_early_or_too_late(made: str, meanwhile: str, what: str, word: str) -> None:
    """A started follow-up is not refreshed, an unsent one not settled, and what is gone is not tended."""
    draft = draft_of(made)
    change(
        made,
        "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, messenger) VALUES"
        " (1, gen_random_uuid(), 'x', 'x', 'x', 'x', 'email') ON CONFLICT DO NOTHING",
        *meanwhile.split(";"),
        draft=draft.id,
        list=draft.list_id,
    )
    before = bytes_of(made)
    named = draft.id if "id = 2" in meanwhile else CAMPAIGN
    options = ("--remove-list",) if what == "settle" else ()
    refused = run("follow-up", what, str(named), *options, "--dsn", made)
    assert refused.exit_code == 3, refused.stdout
    assert word in refused.stderr
    assert bytes_of(made) == before


def test_a_campaign_without_a_follow_up_has_none_to_tend(incident_db: Callable[..., str]) -> None:
    """The refusal says how one is made."""
    refused = run("follow-up", "refresh", str(CAMPAIGN), "--dsn", incident_db(NAME))
    assert refused.exit_code == 3
    assert "repair 2 --strategy follow-up" in refused.stderr


def test_a_follow_up_that_was_cut_short_can_be_followed_up(made: str, tmp_path: Path) -> None:
    """The second is for people of the first alone; the first is settled before it, and both lead to the same lists."""
    first = draft_of(made)
    played = sent(made, NAME, first.id, {})
    assert set(played.mails) == first.people
    change(made, "UPDATE campaigns SET sent = sent - 100 WHERE id = {draft}", draft=first.id)
    options = ("--dsn", made, "--undo-out", str(tmp_path))
    _, seen = said("examine", str(first.id), "--dsn", made)
    assert seen["verdict"] == "cannot-tell"
    done("repair", str(first.id), "--strategy", "follow-up", *options)
    second = draft_of(made)
    assert second.people
    assert second.people <= first.people
    assert said("follow-up", "refresh", str(second.id), "--dsn", made)[0] == 0
    sent(made, NAME, second.id, {})
    early = run("follow-up", "settle", str(second.id), "--dsn", made)
    assert early.exit_code == 3
    assert f"follow-up settle {first.id}" in early.stderr
    first_settled = run("follow-up", "settle", str(first.id), "--remove-list", "--apply", "--yes", *options)
    assert first_settled.exit_code == 0, first_settled.stderr
    done("follow-up", "settle", str(second.id), "--remove-list", *options)
    with psycopg.connect(made) as conn:
        lists = conn.execute("SELECT DISTINCT list_id FROM campaign_lists").fetchall()
        left = conn.execute("SELECT count(*) FROM lists WHERE name LIKE '%(follow-up)'").fetchall()
    assert lists == [(1,)]
    assert left == [(0,)]


def test_a_settled_follow_up_is_not_rewound_since_its_lists_hold_many_more(made: str, tmp_path: Path) -> None:
    """Its figures are of those it was for, and Start would mail the lists of its original: no price of it is true."""
    draft = draft_of(made)
    sent(made, NAME, draft.id, {})
    change(made, "UPDATE campaigns SET sent = sent - 100 WHERE id = {draft}", draft=draft.id)
    options = ("--dsn", made, "--undo-out", str(tmp_path))
    before = {each["strategy"] for each in said("examine", str(draft.id), "--dsn", made)[1]["strategies"]}
    assert {"resume", "rewind"} <= before
    done("follow-up", "settle", str(draft.id), *options)
    seen = said("examine", str(draft.id), "--dsn", made)[1]
    assert seen["account"]["audience_now"] == len(draft.people)
    assert {each["strategy"] for each in seen["strategies"]} == before - {"resume", "rewind"}
    assert seen["advice"][0].startswith("Do not set it to paused and press Start: it was settled")
    refused = run("repair", str(draft.id), "--strategy", "rewind", "--prefer", "no-gaps", "--apply", "--yes", *options)
    assert refused.exit_code == 3
