"""Tests of the sender's model: held against recordings of real servers, and against what must always be true of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from listmonk_doctor.demo.loading import demo_sql
from tests.engine_model import BEHAVIOURS, VERSIONS, Row, Sender, Settings, resume_from_row
from tests.support.model_replay import Figures, Replay
from tests.support.model_rows import write_to_database

if TYPE_CHECKING:
    from collections.abc import Iterable

PIPES: Final = tuple(version for version in VERSIONS if BEHAVIOURS[version].pipes)
COUNT_INTO_CURSOR: Final = tuple(version for version in VERSIONS if BEHAVIOURS[version].count_into_cursor)


# ---- against recordings


@dataclass(frozen=True)
class Case:
    """A recording to play: which campaigns, and what is special about it."""

    campaigns: tuple[int, ...] = (2,)
    relay_seconds: float = 0.0
    """What the relay took for each mail."""
    moved: bool = False
    """A clean pause in mid batch moved the boundaries."""
    seconds: int = 1
    """By so many seconds' mails the figures may differ."""


# 7 is a draft without people, 9 ran while the relay was held back. Pauses came within 50 ms of a burst of mails, and
# the workers' counters were not at zero but where earlier campaigns had left them: one burst more or less.
HEALTHY: Final = Case((2, 3, 4, 5, 6, 8), seconds=2)
RECORDINGS: Final = {
    "blockrun-v3.0.0": Case(),
    "crashed-down-v6.2.0": Case(),
    "healthy-v5.0.3": HEALTHY,
    "healthy-v6.2.0": HEALTHY,
    "kill9-after-finish-v2.5.1": Case(relay_seconds=0.5),
    "kill9-after-pause-v6.2.0": Case(moved=True),
    "kill9-defaults-v6.2.0": Case(),
    "kill9-rejects-v6.2.0": Case(),
    "kill9-v2.5.1": Case(),
    "kill9-v4.1.0": Case(),
    "kill9-v6.2.0": Case(),
    "m2-backward-v5.0.3": Case(),
    "m2-forward-v6.0.0": Case((2, 3)),
    "many-small-v5.0.3": Case(tuple(range(2, 32))),
    "paused-killed-v5.0.3": Case(),
    "quickstart-v4.1.0": Case(),
    "rejects-paused-v6.2.0": Case(),
    "rejects-v3.0.0": Case(),
    "rejects-v5.0.3": Case(),
    "rejects-v6.2.0": Case(),
    "render-errors-v6.2.0": Case(),
    "restarts-three-v6.2.0": Case(),
    "scheduled-nobody-v4.1.0": Case(),
    "seed-v3.0.0": Case(),
    "seed-v4.1.0": Case(),
    "seed-v6.2.0": Case(),
    "sigterm-v6.2.0": Case(),
    "upgrade-mid-v4.1.0-v6.2.0": Case(),
    "window-stuck-v6.2.0": Case(),
}


def blocks(people: Iterable[int], audience: list[int], longer_than: int) -> list[tuple[int, int]]:
    """Return the stretches of the people's ranks without a gap that are longer than so many, as (first, last)."""
    rank = {person: place for place, person in enumerate(audience, 1)}
    found: list[tuple[int, int]] = []
    for place in sorted(rank[person] for person in people):
        if found and found[-1][1] == place - 1:
            found[-1] = found[-1][0], place
        else:
            found.append((place, place))
    return [(first, last) for first, last in found if last - first >= longer_than]


def assert_alike(recorded: Figures, played: Figures, audience: list[int], noise: int) -> None:
    """Compare two moments: status and counts of people to the letter, what depends on the second within `noise`."""

    def rank(cursor: int) -> int:
        return sum(person <= cursor for person in audience)

    assert (played.status, played.to_send, played.ceiling) == (recorded.status, recorded.to_send, recorded.ceiling)
    assert abs(played.sent - recorded.sent) <= noise
    assert abs(played.mails - recorded.mails) <= noise
    if recorded.status == "finished":
        assert played.cursor == recorded.cursor
    assert abs(rank(played.cursor) - rank(recorded.cursor)) <= noise


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", RECORDINGS)
def test_model_ends_where_the_real_server_ended(name: str, seed: int) -> None:
    """The recorded steps, played at their times, leave the recorded row and the recorded holes.

    Allowed noise: one second's mails and the workers' hands, concurrency x (message rate + 1), in `sent`, mails, first ranks;
    none in status, `to_send`, ceiling, the cursor of a finished campaign, the number of holes, and their last ranks
    (where a pause moved the boundaries: the last ranks counted from the rank of the pause).
    """
    case = RECORDINGS[name]
    play = Replay(name, seed=seed, relay_seconds=case.relay_seconds)
    workers = play.record.settings.concurrency
    noise = workers * (case.seconds * play.record.settings.message_rate + 1)
    for campaign, recorded, played in play.compared:
        assert_alike(replace(recorded, status=played.status), played, play.record.audience(campaign), noise)
    for campaign in case.campaigns:
        audience = play.record.audience(campaign)
        assert_alike(play.record.final(campaign), play.figures(campaign), audience, noise)
        sender = play.senders[campaign]
        assert set(sender.mails.values()) <= {1}
        missed = sender.missed if sender.row.started_at else sender.eligible
        recorded_holes = blocks(play.record.missed(campaign), audience, workers)
        holes = blocks(missed, audience, workers)
        moved = 0
        if case.moved:
            _, recorded, played = play.compared[0]
            moved = played.mails - recorded.mails
        assert [last - moved for _, last in holes] == [last for _, last in recorded_holes]
        for (first, _), (recorded_first, _) in zip(holes, recorded_holes, strict=True):
            assert abs(first - moved - recorded_first) <= noise + abs(moved)
        assert abs(len(missed) - len(play.record.missed(campaign))) <= noise


# ---- what must always hold


@st.composite
def worlds(draw: st.DrawFn, versions: tuple[str, ...] = VERSIONS) -> Sender:
    """Draw a started campaign of 1 to 400 people with gaps between their ids, under any settings."""
    gaps = draw(st.integers(1, 5))
    people = range(draw(st.integers(1, 5000)), 10_000, gaps)[: draw(st.integers(1, 400))]
    settings = Settings(
        batch_size=draw(st.integers(1, 150)), concurrency=draw(st.integers(1, 10)), message_rate=draw(st.integers(1, 20)),
        window=draw(st.booleans()), window_rate=draw(st.integers(1, 200)), window_seconds=draw(st.sampled_from([2.0, 7.5])),
    )
    sender = Sender(draw(st.sampled_from(versions)), people, settings, seed=draw(st.integers(0, 99)))
    sender.start()
    return sender


MOMENTS: Final = st.floats(0, 40).map(lambda seconds: round(seconds, 3))
hundred = effort(max_examples=100, deadline=None)


def largest_hole(sender: Sender) -> int:
    """Return how many people one stop can lose: batch, queue and workers."""
    settings = sender.settings
    queue = 2 * settings.concurrency * (settings.message_rate if sender.version in PIPES else 1)
    return settings.batch_size + queue + settings.concurrency


@hundred
@given(worlds())
def test_everybody_is_mailed_once_when_nothing_stops(sender: Sender) -> None:
    """Without a stop nobody is missed, nobody is mailed twice, and the row tells the truth."""
    assert sender.run_until_idle()
    people = sorted(sender.eligible)
    assert sender.mails == dict.fromkeys(people, 1)
    row = sender.row
    assert (row.status, row.sent, row.to_send, row.last_subscriber_id) == ("finished", len(people), len(people), people[-1])
    assert row.max_subscriber_id == people[-1]
    assert row.started_at == 5.0  # noqa: PLR2004 - the first scan


@hundred
@given(worlds(), MOMENTS)
def test_kill_loses_what_was_in_flight_and_ends_at_a_boundary(sender: Sender, moment: float) -> None:
    """A kill loses at most batch + queue + workers, up to the cursor, which stands at a multiple of the batch size."""
    sender.run(moment)
    lost, uncounted = sender.in_flight, sender.unflushed
    one_second = sender.settings.concurrency * sender.settings.message_rate
    mailed, people = set(sender.mails), sorted(sender.eligible)
    sender.kill()
    row = replace(sender.row)
    below = {person for person in people if person <= row.last_subscriber_id}
    assert below - mailed == lost
    assert len(lost) <= largest_hole(sender)
    assert len(below) % sender.settings.batch_size == 0 or len(below) == len(people)
    assert uncounted <= 6 * one_second
    assert row.sent == (len(mailed) - uncounted if sender.version in PIPES else len(below))
    if mailed and lost:
        assert len(mailed) - (people.index(min(lost))) <= one_second, "the ragged front is longer than a second's mails"
    sender.boot()
    assert sender.run_until_idle()
    assert sender.row.status == "finished"
    assert set(people) - set(sender.mails) == lost
    assert set(sender.mails.values()) <= {1}
    if sender.version in PIPES and set(sender.mails) - mailed:
        assert sender.row.sent == len(people) - len(lost) - uncounted


@hundred
@given(worlds(), st.lists(MOMENTS, min_size=1, max_size=4))
def test_every_hole_lies_in_a_block_before_a_boundary(sender: Sender, moments: list[float]) -> None:
    """After any number of kills whoever is lost lies before a boundary, within the largest hole and the front."""
    for moment in moments:
        sender.run(moment)
        sender.kill()
        sender.boot()
    assert sender.run_until_idle()
    rank = {person: place for place, person in enumerate(sorted(sender.eligible), 1)}
    size, front = sender.settings.batch_size, sender.settings.concurrency * sender.settings.message_rate
    for person in sender.missed:
        boundary = min(-(-rank[person] // size) * size, len(rank))
        farthest = boundary + largest_hole(sender)
        reached = [end for end in range(boundary, min(farthest, len(rank)) + 1) if end % size == 0 or end == len(rank)]
        assert any(end - largest_hole(sender) - front <= rank[person] <= end for end in reached)
    gap = sender.row.to_send - sender.row.sent
    if sender.version in PIPES and sender.row.status == "finished":
        assert len(sender.missed) <= gap


@hundred
@given(worlds(), MOMENTS, st.booleans())
def test_clean_pause_loses_nobody(sender: Sender, moment: float, cancelled: bool) -> None:  # noqa: FBT001 - drawn
    """A pause that may drain leaves an exact row, and going on mails everybody once; a cancel leaves the same row."""
    sender.run(moment)
    pressed = sender.cancel() if cancelled else sender.pause()
    assert sender.run_until_idle()
    if pressed and sender.mails:
        assert sender.row.status == ("cancelled" if cancelled else "paused")
        assert sender.row.last_subscriber_id == max(sender.mails)
        assert sender.row.sent == len(sender.mails)
    if not cancelled:
        sender.start()
        assert sender.run_until_idle()
        assert sender.mails == dict.fromkeys(sorted(sender.eligible), 1)


@hundred
@given(worlds(PIPES), MOMENTS, st.sets(st.integers(0, 399)), st.sets(st.integers(0, 399)))
def test_books_balance(sender: Sender, moment: float, refused: set[int], skipped: set[int]) -> None:
    """rank(cursor) - sent = lost + failed + skipped + sent but not counted, wherever the cursor can be trusted."""
    people = sorted(sender.eligible)
    chosen = [{people[place] for place in places if place < len(people)} for places in (refused, skipped)]
    sender.campaign.fails, sender.campaign.unrenderable = frozenset(chosen[0]), frozenset(chosen[1])
    sender.run(moment)
    uncounted = sender.unflushed
    sender.kill()
    boundary = sender.row.last_subscriber_id
    sender.boot()
    assert sender.run_until_idle()
    cursor = sender.row.last_subscriber_id
    if sender.row.started_at is None or max(sender.mails, default=0) <= boundary:
        return  # the second run sent nothing: the cursor may have been overwritten with a count
    below = {person for person in people if person <= cursor}
    assert len(below) - sender.row.sent == len(below - sender.mails.keys()) + uncounted


@hundred
@given(worlds(), MOMENTS)
def test_resume_from_row_plays_what_the_sender_would_do(sender: Sender, moment: float) -> None:
    """A row taken from a killed server ends as that server's own next run does, and is itself left alone."""
    sender.run(moment)
    sender.kill()
    row, before = replace(sender.row), dict(sender.mails)
    resumed = resume_from_row(row, sender.eligible, sender.settings, sender.version, before)
    assert row == sender.row
    sender.boot()
    assert sender.run_until_idle() == resumed.ended
    assert resumed.total == sender.mails
    assert (resumed.row.status, resumed.row.sent, resumed.row.last_subscriber_id) == (
        sender.row.status, sender.row.sent, sender.row.last_subscriber_id,
    )


@hundred
@given(worlds(), MOMENTS, st.sets(st.integers(0, 9_999)))
def test_ineligible_people_are_never_mailed(sender: Sender, moment: float, banned: set[int]) -> None:
    """Blocklisted people get nothing; before 4.0.0 a batch of them ends the campaign, and nobody above is fetched."""
    listed = sorted(sender.eligible | banned)
    sender.set_people(listed, banned)
    sender.run(moment)
    assert sender.run_until_idle(10_000) or not sender.eligible
    assert not banned & sender.mails.keys()
    everybody = len(sender.mails) == len(sender.eligible)
    stretch = max((last - first + 1 for first, last in blocks(banned, listed, 0)), default=0)
    if BEHAVIOURS[sender.version].cut_before_filter:
        assert everybody or stretch >= sender.settings.batch_size
        assert sender.row.to_send == len(listed)
        assert all(person <= max(sender.mails, default=0) or person not in sender.mails for person in sender.eligible)
    else:
        assert everybody


# ---- accidents by name


def throttled(version: str, people: int = 1600) -> Sender:
    """Return a campaign that was started and sleeps in its window, in mid batch."""
    sender = Sender(version, range(1000, 1000 + people), Settings(500, 10, 10, True, 350, 12.0))  # noqa: FBT003
    sender.start()
    sender.run(17.0)
    return sender


@pytest.mark.parametrize("version", PIPES)
def test_start_before_the_drain_finishes_too_early_up_to_4_1(version: str) -> None:
    """M4: on 3.0.0 to 4.1.0 it ends as finished with an exact cursor; later versions go on and lose nobody."""
    sender = throttled(version)
    assert sender.pause()
    sender.run(1.0)
    assert sender.start()
    assert sender.run_until_idle()
    assert sender.row.status == "finished"
    assert sender.row.last_subscriber_id == max(sender.mails)
    assert set(sender.mails.values()) == {1}
    assert bool(sender.missed) == BEHAVIOURS[version].stopped_may_finish


@pytest.mark.parametrize("version", PIPES)
def test_kill_of_a_drain_that_was_started_again_loses_many_batches(version: str) -> None:
    """A stopped pipe whose row says running again fetches batch after batch and throws them away: a kill loses them all."""
    sender = throttled(version, 3000)
    sender.pause()
    sender.start()
    sender.run(30.0)
    assert sender.pipe_open
    sender.kill()
    lost = {person for person in sender.eligible if person <= sender.row.last_subscriber_id} - sender.mails.keys()
    assert len(lost) > largest_hole(sender)


@pytest.mark.parametrize("version", VERSIONS)
def test_run_that_sends_nothing_overwrites_the_cursor_up_to_6_0(version: str) -> None:
    """M2: a plain Start with nobody above the cursor writes `to_send` into it on 3.0.0 to 6.0.0, and mails nobody."""
    people = range(1000, 1300)
    row = Row("paused", 200, 300, 1299, 1299, 5.0, 60.0)
    resumed = resume_from_row(row, people, Settings(100, 5, 10), version, dict.fromkeys(range(1000, 1200), 1))
    assert (resumed.mails, resumed.row.status) == ({}, "finished")
    assert resumed.row.last_subscriber_id == (300 if version in COUNT_INTO_CURSOR else 1299)
    again = resume_from_row(replace(resumed.row, status="paused"), people, Settings(100, 5, 10), version, resumed.total)
    assert len(again.mails) == (300 if version in COUNT_INTO_CURSOR else 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_too_many_errors_pause(version: str) -> None:
    """The limit of errors pauses the campaign; from 3.0.0 at most the workers' own messages are tried after it."""
    sender = Sender(version, range(1000, 1400), Settings(100, 5, 10, max_send_errors=20), fails=range(1150, 1400))
    sender.start()
    assert sender.run_until_idle()
    assert sender.row.status == "paused"
    assert len(sender.mails) == 150  # noqa: PLR2004 - those below the first refused
    if version in PIPES:
        assert sender.row.last_subscriber_id == 1149  # noqa: PLR2004 - the highest id really sent
        assert 20 <= len(sender.failed) < 25  # noqa: PLR2004 - the limit and the hands of five workers


@pytest.mark.parametrize("version", VERSIONS)
def test_start_of_a_scheduled_campaign_waits_from_5_0(version: str) -> None:
    """From 5.0.0 Start on a row with `send_at` makes it scheduled, and a future date is waited for; idle days are free."""
    row = Row("paused", 0, 10, 0, 1009, 5.0, 60.0, send_at=60.0 + 20 * 86_400)
    resumed = resume_from_row(row, range(1000, 1010), Settings(100, 5, 10), version, {})
    assert len(resumed.mails) == 10  # noqa: PLR2004 - everybody
    waited = (resumed.row.updated_at or 0) > (row.send_at or 0)
    assert waited == BEHAVIOURS[version].start_schedules


@pytest.mark.parametrize("version", VERSIONS)
def test_buttons_refuse_what_the_page_refuses(version: str) -> None:
    """A finished campaign cannot be started, a draft cannot be paused, and a dead server answers nobody."""
    sender = Sender(version, range(10), Settings(100, 5, 10))
    assert not sender.pause()
    assert not sender.cancel()
    assert sender.start()
    assert sender.run_until_idle()
    assert not sender.start()
    sender.row.status = "paused"
    sender.kill()
    assert not sender.start()


def test_races_move_sent_a_little() -> None:
    """With `races` a clean end may be one short or count a flush twice, as on real servers, but nobody is missed."""
    gaps = set()
    for seed in range(60):
        sender = Sender("6.2.0", range(1000, 1120), Settings(50, 5, 10), seed=seed, races=True)
        sender.start()
        sender.run_until_idle()
        assert not sender.missed
        gaps.add(sender.row.sent - sender.row.to_send)
    assert {-1, 0} <= gaps
    assert max(gaps) > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_state_can_be_written_to_a_database(version: str, empty_db: str) -> None:
    """The database then holds the model's row, its settings and exactly its eligible people."""
    sender = Sender(version, range(1000, 3000, 2), Settings(300, 5, 10), blocklisted=range(1001, 1101, 2),
                    unconfirmed=range(1201, 1301, 2))
    sender.start()
    sender.run(15.3)
    sender.kill()
    with psycopg.connect(empty_db) as conn:
        conn.execute(demo_sql(f"schema-v{version}.sql"))
        zero = write_to_database(conn, sender, unsubscribed={5000: 7.0}, joined={1002: 3.0})
        columns = "status::text, sent, to_send, last_subscriber_id, max_subscriber_id"
        found = conn.execute(f"SELECT {columns}, started_at, updated_at FROM campaigns".encode()).fetchone()  # noqa: S608
        eligible = {person for _, person in conn.execute(demo_sql("eligible.sql"))}
    assert found is not None
    times = [(moment - zero).total_seconds() for moment in found[5:]]
    row = sender.row
    assert Row(*found[:5], *times) == replace(row, started_at=times[0], updated_at=times[1])
    assert times == pytest.approx([row.started_at, row.updated_at])
    assert eligible == sender.eligible
