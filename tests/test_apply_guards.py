"""Tests of what stops a plan: everything it rests on is compared again, and what moved is named."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.demo.player import Player
from listmonk_doctor.errors import (
    DriftError,
    ExitCode,
    RefusedError,
)
from listmonk_doctor.repair import guards
from tests.support.repairing import (
    ONE_FOR_ANOTHER,
    audience,
    connect,
    elsewhere,
    journal_rows,
    plan_of,
    refused,
    reprice,
    write,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Plan
    from tests.support.databases import IncidentDatabases


@pytest.fixture
def seed(incident_db: IncidentDatabases) -> str:
    """Give a database with the seed's finished campaign 2."""
    return incident_db("seed-v4.1.0")


@pytest.fixture
def conn(seed: str) -> Iterator[Connection]:
    """Give a session with the seed's database."""
    with connect(seed) as session:
        yield session


@pytest.fixture
def plan(conn: Connection) -> Plan:
    """Give the plan of a rewind of the seed's campaign."""
    return plan_of(conn, 2, "rewind")


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE campaigns SET sent = 2300", "campaign 2: sent was 2,261 in the plan and is 2,300 now."),
        (
            "UPDATE campaigns SET status = 'paused', last_subscriber_id = 7000",
            "status was finished in the plan and is paused now; "  # noqa: ISC004 - one sentence
            "campaign 2: last_subscriber_id was 2601 in the plan and is 7000 now.",
        ),
        ("UPDATE campaigns SET send_at = NULL", "and is not set now."),
        ("UPDATE campaigns SET updated_at = '2030-01-02 03:04:05+01'", "and is 2030-01-02T02:04:05.000000+00:00 now."),
        (
            "UPDATE campaigns SET subject = 'Autumn'",
            "campaign 2: its row was written again since the plan was made, though no progress column changed.",
        ),
        ("DELETE FROM campaigns", "campaign 2 is gone."),
        (
            "UPDATE campaigns SET uuid = '00000000-0000-4000-8000-000000000000'",
            "is another campaign: its uuid was f911dd5a-b7dc-4e9a-b428-ed68a0000fd7 in the plan and is 00000000-",
        ),
        (
            "UPDATE settings SET value = '500' WHERE key = 'app.batch_size'",
            "setting app.batch_size was 1000 and is 500 now.",
        ),
        (
            "UPDATE settings SET value = '\"1h\"' WHERE key = 'app.message_sliding_window_duration'",
            'setting app.message_sliding_window_duration was "14s" and is "1h" now.',
        ),
        (
            "UPDATE settings SET value = '[\"v4.1.0\", \"v5.0.3\"]' WHERE key = 'migrations'",
            "listmonk's version was v4.1.0 in the plan and is v5.0.3 now.",
        ),
        (
            "DELETE FROM subscribers WHERE id = 7694",
            "campaign 2: the audience had 2,573 people and has 2,572 now.",
        ),
        (
            ONE_FOR_ANOTHER,
            "campaign 2: the audience still has 2,573 people, but not the same ones.",
        ),
        (
            "UPDATE lists SET optin = 'double' WHERE id = 1",
            "campaign 2: row 2 of its lists was list 1 (single opt-in) in the plan and is list 1 (double opt-in) now; ",
        ),
        (
            "UPDATE campaign_lists SET list_id = NULL",
            "campaign 2: row 2 of its lists was list 1 (single opt-in) in the plan and is a deleted list now; ",
        ),
    ],
)
def test_what_moved_since_the_plan_is_named_and_nothing_is_written(
    seed: str, conn: Connection, plan: Plan, statement: str, sentence: str
) -> None:
    """A row, a setting, the lists, the audience that changed: from which to which value, exit 3, no byte changed."""
    elsewhere(seed, statement)
    assert sentence in refused(seed, conn, plan, DriftError)


def test_a_count_that_equals_a_truth_value_is_not_the_same_setting(seed: str, conn: Connection, plan: Plan) -> None:
    """A setting that turned from `true` to 1 changed, although Python calls the two equal."""
    elsewhere(seed, "UPDATE settings SET value = '1' WHERE key = 'app.message_sliding_window'")
    sentence = refused(seed, conn, plan, DriftError)
    assert sentence == "setting app.message_sliding_window was true and is 1 now."


def test_a_price_that_rose_is_refused_with_the_figure(seed: str, conn: Connection, plan: Plan) -> None:
    """A bounce that proves a second copy makes the repair dearer: which figure, from what to what."""
    elsewhere(
        seed,
        "INSERT INTO bounces (subscriber_id, campaign_id, type, source, meta) VALUES (7694, 2, 'hard', 'test', '{}')",
    )
    sentence = refused(seed, conn, plan, DriftError)
    assert sentence == (
        "campaign 2: duplicates was 0 to 10 in the plan and is 1 to 11 now; "
        "campaign 2: duplicates (presumably) was 0 in the plan and is 1 now."
    )


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        ({"missed": [0, 11]}, "missed was 0 to 10 in the plan and is 0 to 11 now"),
        ({"missed": [1, 10]}, "missed was 0 to 10 in the plan and is 1 to 10 now"),
        ({"newcomers": [1, 1]}, "newcomers was 0 in the plan and is 1 now"),
        ({"would_mail": [321, 321]}, "would_mail was 322 in the plan and is 321 now"),
        ({"presumably": None}, "missed (presumably) was 0 in the plan and is not known now"),
        ({"missed": [0, 9], "duplicates": [0, 0]}, ""),
    ],
)
def test_a_price_may_fall_but_no_bound_may_rise(
    conn: Connection, plan: Plan, now: dict[str, Any], sentence: str
) -> None:
    """Lower bounds count too, and who would be mailed may not differ at all."""
    result = write(conn, plan, reprice=lambda _conn, old: replace(old, price={**old.price, **now}))
    assert result.campaigns[0].applied is (not sentence)
    assert sentence in result.campaigns[0].refused


def test_a_plan_that_would_change_something_else_now_is_refused(seed: str, conn: Connection, plan: Plan) -> None:
    """The same strategy made anew with another cursor is not what was shown."""

    def elsewhere_by_one(_conn: Connection, old: Plan) -> Plan:
        after = written(old)
        after["last_subscriber_id"] += 1
        return replace(old, changes=(replace(old.changes[0], after=after),))

    assert "would change other columns or values" in refused(seed, conn, plan, DriftError, reprice=elsewhere_by_one)


def test_a_strategy_that_can_no_longer_be_defended_is_refused(seed: str, conn: Connection, plan: Plan) -> None:
    """When the plan cannot be made anew at all, it is not written."""
    sentence = refused(seed, conn, plan, RefusedError, reprice=lambda _conn, _plan: None)
    assert sentence == "Campaign 2: rewind can no longer be defended as it was planned."


def test_the_audience_is_compared_again_after_the_price_was_made(seed: str, conn: Connection, plan: Plan) -> None:
    """Somebody who leaves while the price is made is noticed."""

    def reprice_while_one_leaves(session: Connection, old: Plan) -> Plan | None:
        anew = reprice(session, old)
        elsewhere(seed, "DELETE FROM subscribers WHERE id = 7694")
        return anew

    result = write(conn, plan, reprice=reprice_while_one_leaves)
    assert result.campaigns[0].refused == "campaign 2: the audience had 2,573 people and has 2,572 now."
    assert not any(journal_rows(seed).values())


def test_the_row_is_not_locked_while_the_price_is_made_or_the_server_looked_at(
    seed: str, conn: Connection, plan: Plan
) -> None:
    """Listmonk can write the row without waiting until the last moment, and what it wrote is then noticed."""
    looked: list[str] = []

    def look(_conn: Connection, _plan: Plan) -> None:
        elsewhere(seed, "UPDATE campaigns SET sent = sent + 39 WHERE id = 2")
        looked.append("written without waiting")

    result = write(conn, plan, check_server=look)
    assert looked
    assert result.campaigns[0].refused == "campaign 2: sent was 2,261 in the plan and is 2,300 now."
    assert not any(journal_rows(seed).values())


def test_the_settings_are_compared_again_under_the_lock(seed: str, conn: Connection, plan: Plan) -> None:
    """A setting saved at the last moment is noticed."""

    def save(_conn: Connection, _plan: Plan) -> None:
        elsewhere(seed, "UPDATE settings SET value = '50' WHERE key = 'app.batch_size'")

    result = write(conn, plan, check_server=save)
    assert result.campaigns[0].refused == "setting app.batch_size was 1000 and is 50 now."
    assert not any(journal_rows(seed).values())


def test_each_changed_column_must_hold_its_old_value(seed: str, conn: Connection, plan: Plan) -> None:
    """Even a plan that guards nothing writes only over the very values that it says it found."""
    elsewhere(seed, "UPDATE campaigns SET sent = 2262")
    bare = replace(plan, guards={})
    sentence = refused(seed, conn, bare, DriftError, reprice=lambda _conn, old: old)
    assert sentence == "The row of campaigns is not as the plan saw it."


def test_a_heartbeat_between_the_look_and_the_lock_is_noticed(seed: str, conn: Connection, plan: Plan) -> None:
    """A row rewritten without a change is not written, even if the plan itself never saw its version."""
    plan = replace(plan, guards={**plan.guards, "xmin": None})

    def beat(_conn: Connection, _plan: Plan) -> None:
        elsewhere(seed, "UPDATE campaigns SET sent = sent WHERE id = 2")

    result = write(conn, plan, check_server=beat)
    assert type(result.campaigns[0].error) is DriftError
    assert "written again while the plan was being applied: a pipe may be open on it" in result.campaigns[0].refused
    assert not any(journal_rows(seed).values())


def test_a_beating_row_is_never_written(seed: str, conn: Connection) -> None:
    """With a pipe open on the row, plans that are a beat old are refused, however often they are made."""
    with Player(seed, open_pipes=[2], interval=0.02):
        for _ in range(10):
            plan = plan_of(conn, 2, "rewind")
            time.sleep(0.05)
            result = write(conn, plan)
            assert "its row was written again" in result.campaigns[0].refused
    assert not any(journal_rows(seed).values())


def test_what_the_look_at_the_server_says_is_obeyed(seed: str, conn: Connection, plan: Plan) -> None:
    """It is asked within the transaction, for each plan that changes a row, and its refusal is passed on."""
    asked: list[tuple[int, str]] = []

    def say_no(session: Connection, one: Plan) -> None:
        asked.append((one.campaign_id, session.info.transaction_status.name))
        raise RefusedError("A pipe is open on campaign 2.", hint="Pause it first.")

    assert refused(seed, conn, plan, RefusedError, check_server=say_no) == "A pipe is open on campaign 2."
    assert asked == [(2, "INTRANS")]


def test_a_second_look_within_the_transaction_sees_new_sessions(seed: str, conn: Connection, plan: Plan) -> None:
    """PostgreSQL keeps what a transaction saw of other sessions; it is forgotten before the server is looked at."""
    found: list[int] = []
    others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'newcomer'"

    def look_early(session: Connection, old: Plan) -> Plan | None:
        found.append(session.execute(others).fetchall()[0][0])
        return reprice(session, old)

    def look(session: Connection, _plan: Plan) -> None:
        found.append(session.execute(others).fetchall()[0][0])

    class Late:
        """Opens a session between the two looks."""

        session: psycopg.Connection[Any] | None = None

    def audience_and_newcomer(session: Connection, one: Plan) -> dict[str, Any]:
        if found and Late.session is None:
            Late.session = psycopg.connect(seed, application_name="newcomer")
        return audience(session, one)

    assert write(conn, plan, reprice=look_early, check_server=look, audience=audience_and_newcomer).code is ExitCode.OK
    assert Late.session is not None
    Late.session.close()
    assert found == [0, 1]


def test_unschedule_is_written_while_a_server_scans(incident_db: IncidentDatabases) -> None:
    """A due row that 4.1.0 picks up and drops at every scan becomes a draft, although its `updated_at` never rests."""
    dsn = incident_db("scheduled-nobody-v4.1.0", fresh=True)
    with connect(dsn) as conn, Player(dsn, drops_empty=True, interval=0.05) as player:
        plan = plan_of(conn, 2, "unschedule")
        scans = player.scans[0]
        while player.scans[0] < scans + 3:
            time.sleep(0.01)
        result = write(conn, plan)
        assert result.campaigns[0].refused == ""
        assert conn.execute("SELECT status::text FROM campaigns WHERE id = 2").fetchall() == [("draft",)]
        assert result.code is ExitCode.OK


def test_unschedule_is_refused_once_the_campaign_was_started(incident_db: IncidentDatabases) -> None:
    """The exception is for a row that was never started; a scan that starts it in time wins."""
    dsn = incident_db("scheduled-nobody-v4.1.0", fresh=True)
    with connect(dsn) as conn:
        plan = plan_of(conn, 2, "unschedule")
        elsewhere(dsn, "UPDATE campaigns SET started_at = now()")
        assert "started_at was not set in the plan" in refused(dsn, conn, plan, DriftError)


def test_the_fingerprint_does_not_depend_on_how_a_moment_is_spelled() -> None:
    """PostgreSQL's, Python's and our own spelling of one moment are one; another moment is another."""
    row = {"sent": 1, "started_at": "2026-01-02T03:04:05.600000+00:00"}
    for spelled in (
        "2026-01-02T03:04:05.6Z",
        "2026-01-02 04:04:05.6+01:00",
        datetime(2026, 1, 2, 3, 4, 5, 600000, UTC),
    ):
        assert guards.fingerprint({**row, "started_at": spelled}) == guards.fingerprint(row)
    assert guards.fingerprint({**row, "started_at": None}) != guards.fingerprint(row)
    assert guards.moment("infinity") == "infinity"


def test_no_message_names_a_command_that_does_not_fit(seed: str, conn: Connection, plan: Plan) -> None:
    """A stale repair is made anew with `repair`, a stale undo with `undo`."""
    elsewhere(seed, "UPDATE campaigns SET sent = 1")
    error = write(conn, plan).campaigns[0].error
    assert error is not None
    assert error.hint == "Nothing was written. See what it would do now: listmonk-doctor repair 2"
    assert json.loads(json.dumps(error.message)) == error.message
