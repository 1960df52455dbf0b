"""Plays generated histories on the sender's model, with every write dated as a log dates it, and holds what is said.

More of them: LISTMONK_DOCTOR_HISTORIES=10000 pytest tests/test_logged.py
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, note
from hypothesis import settings as effort
from hypothesis import strategies as st

from listmonk_doctor.diagnosis.assumptions import name
from listmonk_doctor.diagnosis.causes import Live, judge_causes
from listmonk_doctor.diagnosis.groups import group
from listmonk_doctor.diagnosis.logged_batches import Batches
from listmonk_doctor.diagnosis.recorded_people import read_recorded
from listmonk_doctor.diagnosis.recorded_story import recorded_causes, tell_recorded
from listmonk_doctor.timeline.lives import read_meaning
from tests.engine_model import Sender, Settings
from tests.support.logging_model import FIRST_XMIN, Log, moment
from tests.test_recorded_histories import FIXED, HISTORIES, Watched, a_sender

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.recorded import Recorded
    from listmonk_doctor.diagnosis.report import Cause

TICK = timedelta(milliseconds=1)
"""The model's clock stands still for so long, and writes of one tick are a little apart."""


@dataclass
class Logged:
    """A played campaign and its log."""

    sender: Sender
    begins: int = 0
    lost: frozenset[int] = frozenset()
    stalls: tuple[tuple[float, float], ...] = ()
    log: Log = field(init=False)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Note every write from now on."""
        self.log = Log(self.sender)

    def act(self, action: str) -> None:
        """Press a button or pull a plug."""
        sender = self.sender
        self.done.append(f"{action} at {sender.now:.2f}")
        if action == "pause":
            sender.pause()
        elif action == "start":
            sender.start()
        elif action == "cancel":
            sender.cancel()
        elif action == "kill":
            self.log.kill()
        elif action == "boot":
            self.log.boot()

    @property
    def said(self) -> Recorded:
        """What the log says of the people."""
        figures = Watched(self.sender, writes=len(self.log.versions) - 1 + FIRST_XMIN).figures()
        return read_recorded(figures, read_meaning(self.log.timeline(self.begins, self.lost, self.stalls)), "the log")


@st.composite
def logged(draw: st.DrawFn) -> Logged:
    """Make a history: an audience, settings, and up to eight buttons and plugs."""
    sender = a_sender(draw)
    one = Logged(sender)
    sender.run(draw(st.floats(0.5, 6)))
    one.act("start")
    sender.run(draw(st.floats(1, 40)))
    actions = st.sampled_from(["pause", "start", "kill", "boot", "boot", "start", "cancel", "wait"])
    for action in draw(st.lists(actions, max_size=8)):
        one.act(action)
        sender.run(draw(st.one_of(st.floats(0, 3), st.floats(0, 30))))
    if draw(st.booleans()):
        one.act("boot")
        one.act("start")
        sender.run(draw(st.sampled_from([20.0, 120.0])))
    return one


def hold(one: Logged) -> Recorded:
    """Hold what the log says against what happened, as far as it must be true of any log."""
    said, sender = one.said, one.sender
    note(f"{sender.version} {sender.settings} row {sender.row}: {', '.join(one.done)}")
    note(f"kills {one.log.kills} muddled {said.meaning.muddled!r}")
    for life in said.meaning.lives:
        note(f"{life}")
    for each in said.meaning.moments:
        note(f"{each.after:%M:%S.%f} {each.before:%M:%S.%f} {each.what}")
    mailed = set(sender.mails)
    assert mailed.isdisjoint(said.not_mailed), f"mailed all the same: {sorted(mailed & set(said.not_mailed))[:9]}"
    assert mailed.isdisjoint(said.never), f"fetched all the same: {sorted(mailed & set(said.never))[:9]}"
    silent = set(said.presumed) - mailed - sender.failed
    assert not silent, f"not mailed: {sorted(silent)[:9]}"
    for life in said.meaning.lives if not said.meaning.muddled else ():
        if life.end == "died":
            assert life.died_after is not None
            assert life.died_by is not None
            kills = [
                at for at, _ in one.log.kills if life.died_after <= moment(at) + TICK and moment(at) <= life.died_by
            ]
            assert kills, f"no kill between {life.died_after} and {life.died_by}"
    return said


@effort(max_examples=HISTORIES, deadline=None, print_blob=True, derandomize=HISTORIES <= FIXED)
@given(logged())
def test_what_a_log_says_of_a_generated_history_is_true(one: Logged) -> None:
    """Nobody proved unmailed was mailed, everybody taken was mailed or refused, and each certain death was one."""
    said, sender = hold(one), one.sender
    if said.complete and sender.row.status == "finished":
        held = set().union(*[set(hole.most) for hole in said.holes], said.never, sender.campaign.dropped)
        lost = {person for person in sender.missed if person <= sender.row.last_subscriber_id}  # above it: the tail
        assert lost <= held or said.meaning.overwrites, "missed outside of every hole"
    if said.complete and not said.meaning.muddled and not said.started_over:
        noise = sender.settings.concurrency * len(said.meaning.lives)  # a clean-up's cursor may be as many short
        assert sum(copies > 1 for copies in sender.mails.values()) <= noise


@effort(max_examples=HISTORIES, deadline=None, print_blob=True, derandomize=HISTORIES <= FIXED)
@given(logged(), st.floats(0, 1), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 4)), max_size=4))
def test_a_log_that_begins_late_or_lost_versions_stays_true(
    one: Logged, begins: float, lost: list[tuple[float, int]]
) -> None:
    """Whatever versions are gone, nothing false is said of the rest."""
    count = len(one.log.versions)
    one.begins = int(begins * (count - 1))
    gone = frozenset(int(start * count) + more for start, length in lost for more in range(length))
    one.lost = gone - {one.begins}
    said = hold(one)
    if said.complete:
        assert one.log.versions[one.begins].started_at is None
        assert not [each for each in one.lost if one.begins < each < count - 1]


@effort(max_examples=HISTORIES, deadline=None, print_blob=True, derandomize=HISTORIES <= FIXED)
@given(logged(), st.lists(st.tuples(st.floats(0, 120), st.floats(0.05, 30)), min_size=1, max_size=3))
def test_a_database_that_stands_still_is_no_death(one: Logged, stalls: list[tuple[float, float]]) -> None:
    """Writes that were held up and committed late are no certain death where nobody was killed."""
    one.stalls = tuple(stalls)
    said = one.said
    note(f"{stalls} {', '.join(one.done)}, kills {one.log.kills}")
    for each in said.meaning.moments:
        note(f"{each.after:%M:%S.%f} {each.before:%M:%S.%f} {each.what}")
    if not one.log.kills:
        assert not [life for life in said.meaning.lives if life.end == "died"] or said.meaning.muddled
    assert said.outpaced is None or one.sender.server.races, "a count may be written twice only where flushes race"


def played(version: str = "6.2.0", people: int = 1000, settings: Settings | None = None) -> Logged:
    """Press Start on a campaign that sends 20 a second in batches of 500."""
    one = Logged(Sender(version, range(1000, 1000 + people), settings or Settings(500, 5, 4), seed=1))
    one.sender.run(2)
    one.act("start")
    return one


def test_a_kill_is_found_and_its_hole_ends_exactly() -> None:
    """The death is certain, its moment lies between its bounds, and what it lost lies between the hole's ends."""
    one = played(people=1500)
    one.sender.run(34)
    one.act("kill")
    at, lost = one.log.kills[0]
    one.sender.run(3)
    one.act("boot")
    one.sender.run(120)
    said = one.said
    assert said.complete
    (hole,) = said.holes
    assert hole.certain
    assert hole.after <= moment(at) <= hole.by
    assert (hole.by - hole.after).total_seconds() <= 5.2
    assert hole.last_id == max(one.sender.missed)
    assert one.sender.missed <= set(hole.most)
    assert set(hole.surely) <= one.sender.missed
    assert len(one.sender.missed) == lost
    assert len(hole.surely) > 0.6 * lost


def test_no_death_is_invented_while_all_is_well() -> None:
    """A campaign that is sent, paused and resumed leaves no hole."""
    one = played()
    one.sender.run(20)
    one.act("pause")
    one.sender.run(40)
    one.act("start")
    one.sender.run(120)
    assert one.sender.row.status == "finished"
    assert not [hole for hole in one.said.holes if hole.certain]
    assert not [life for life in one.said.meaning.lives if life.end == "died"]


def seed() -> Logged:
    """Play the accident of 4.1.0: killed in the last batch, and the next run writes a count over the cursor."""
    one = played("4.1.0", people=2000)
    one.sender.run(82)
    assert one.sender.row.last_subscriber_id == 2999
    one.act("kill")
    one.sender.run(4)
    one.act("boot")
    one.sender.run(60)
    assert one.sender.row.status == "finished"
    assert one.sender.row.last_subscriber_id == one.sender.row.to_send == 2000
    return one


def judged(one: Logged) -> dict[str, Cause]:
    """Return the causes by code, with what the log says."""
    figures = replace(Watched(one.sender, writes=len(one.log.versions) - 1 + FIRST_XMIN).figures(), recorded=one.said)
    live = Live(running=True, scanners=1, pipe="none")
    return {cause.code: cause for cause in recorded_causes(judge_causes(figures, live), figures)}


def test_both_causes_of_the_seed_are_established_with_their_times() -> None:
    """The log has the death and the write of the count; everything that was lost lies in the one hole."""
    one = seed()
    causes = judged(one)
    said = one.said
    (hole,) = said.holes
    assert causes["M1"].standing == causes["M2"].standing == "established"
    assert f"the sender died by {hole.by:%H:%M:%S} UTC" in causes["M1"].because
    assert hole.after <= moment(one.log.kills[0][0]) <= hole.by
    written = next(each for each in one.log.versions if each.cursor == 2000)
    assert f"PostgreSQL's log at {written.before:%H:%M:%S} UTC" in causes["M2"].because
    assert said.complete
    assert said.codes == ("same-batch-size", "lists-unchanged-while-sending", "no-failures", "no-write-held-up")
    assert hole.last_id == 2999
    assert one.sender.missed <= set(hole.most)


def test_causes_that_a_whole_log_does_not_have_are_ruled_out() -> None:
    """A campaign that ran to its end under a version that can overwrite the cursor did not lose anybody."""
    one = played("4.1.0")
    one.sender.run(120)
    causes = judged(one)
    assert causes["M1"].standing == causes["M2"].standing == "ruled-out"
    assert not one.said.holes
    assert one.said.codes == ("same-batch-size", "lists-unchanged-while-sending", "no-failures")


def test_a_restored_database_yields_no_claim() -> None:
    """The row was inserted as it is, and nothing was sent since: the log says nothing of anybody."""
    one = seed()
    one.begins = len(one.log.versions) - 1
    said = one.said
    assert not said.complete
    assert not said.narrows
    assert not said.holes
    assert judged(one)["M1"].standing != "established"


@pytest.mark.parametrize("kills", [2, 3])
def test_each_of_several_deaths_is_found(kills: int) -> None:
    """Every kill has a hole of its own, and everybody who is missed lies in one of them."""
    one = played(people=3000)
    for _ in range(kills):
        one.sender.run(33)
        one.act("kill")
        one.sender.run(2)
        one.act("boot")
    one.sender.run(300)
    said = one.said
    assert [hole.certain for hole in said.holes] == [True] * kills
    for hole, (at, _) in zip(said.holes, one.log.kills, strict=True):
        assert hole.after <= moment(at) <= hole.by
    assert one.sender.missed <= set().union(*[set(hole.most) for hole in said.holes])
    assert said.not_mailed
    assert set(said.not_mailed) <= one.sender.missed


def test_a_window_that_sleeps_is_no_death() -> None:
    """A pipe that sleeps beats on, with nothing to count."""
    one = played(settings=Settings(100, 5, 4, window=True, window_rate=100, window_seconds=60.0))
    one.sender.run(400)
    said = one.said
    assert not said.holes or not said.holes[0].certain
    assert [life.end for life in said.meaning.lives] == ["open"]


def test_two_servers_are_seen_by_their_beats() -> None:
    """Two rhythms at once on one row: nothing is concluded from it."""
    one = played()
    one.sender.run(40)
    timeline = one.log.timeline()
    more, versions = 0, list(timeline.versions)
    for number in range(6, len(timeline.versions)):
        each = timeline.versions[number]
        at = each.before + timedelta(seconds=2)
        if each.updated_at == timeline.versions[number - 1].updated_at:
            more += 1
            versions.append(replace(each, after=at, before=at, until=at, xmin=f"9{number}"))
    assert more > 1
    versions.sort(key=lambda each: each.before)
    said = read_meaning(replace(timeline, versions=tuple(versions)))
    assert said.muddled == "two servers were at work"


@pytest.mark.parametrize("today", [Settings(500, 5, 4), Settings(500, 1, 1)])
def test_settings_that_were_lowered_since_take_nobody_for_left(today: Settings) -> None:
    """A hundred a second were sent, today's settings allow far less: the log shows it, and nothing rests on them."""
    one = played(people=3000, settings=Settings(500, 10, 10))
    one.sender.run(23)
    one.act("kill")
    one.sender.run(3)
    one.act("boot")
    one.sender.run(120)
    timeline = one.log.timeline()
    slower = replace(
        timeline.paces[0], concurrency=today.concurrency, message_rate=today.message_rate, batch_size=today.batch_size
    )
    figures = Watched(one.sender, writes=len(one.log.versions) - 1 + FIRST_XMIN).figures()
    said = read_recorded(figures, read_meaning(replace(timeline, paces=(slower,))), "the log")
    assert said.outpaced is not None
    assert said.outpaced.allowed < said.outpaced.counted <= 520
    assert set(one.sender.mails).isdisjoint(said.not_mailed)
    assert set(one.sender.mails).isdisjoint(said.never)
    assert set(said.presumed) <= set(one.sender.mails)
    (hole,) = said.holes
    assert one.sender.missed <= set(hole.most)
    assert hole.last_id == max(each.cursor for each in one.log.versions if each.before <= hole.after)


def test_a_database_that_stood_still_does_not_outpace_the_settings() -> None:
    """A count that was held up for seconds, and the next one at its own time, fit the settings."""
    one = played()
    one.sender.run(60)
    for start in (9.5, 14.9, 19.99):
        for seconds in (0.3, 1.0, 4.0, 7.0):
            one.stalls = ((start, seconds),)
            assert one.said.outpaced is None, one.stalls


def test_a_batch_size_that_was_changed_since_is_seen_in_the_log() -> None:
    """Batches of 300 were taken, and the setting is 500 today: what one stop can lose follows from the 300."""
    one = played(people=3000, settings=Settings(300, 5, 4))
    one.sender.run(50)
    one.act("kill")
    figures = Watched(one.sender, writes=len(one.log.versions) - 1 + FIRST_XMIN).figures()
    figures = replace(figures, settings=replace(figures.settings, batch_size=500))
    heard = replace(figures, recorded=read_recorded(figures, read_meaning(one.log.timeline()), "the log"))
    assert heard.recorded is not None
    assert heard.recorded.batches == Batches(4, 300, 300)
    assert figures.settings.one_stop - heard.then.one_stop == 200
    assert heard.then.batch_size == 300
    _, known, _ = tell_recorded(heard)
    assert "PostgreSQL's log shows 4 full batches of 300 people; the batch size is 500 today." in known
    assert name(["same-batch-size"], heard)[0].sentence == (
        "the batch size was 300 all along, with 5 workers and a message rate of 4, by the log's batches, and the rest "
        "as it is today"
    )
    bounded = replace(heard, recorded=replace(heard.recorded, batches=Batches(4, 998, 1000)))
    assert bounded.then.batch_size == 1000
    assert replace(heard, recorded=replace(heard.recorded, batches=Batches(4, 499, 500))).then == figures.settings
    several = replace(heard, recorded=replace(heard.recorded, batches=Batches(4, 300, 700, same=False)))
    assert several.then.batch_size == 700
    assert name(["same-batch-size"], several)[0].sentence.startswith("no batch held more than 700 people")
    _, known, _ = tell_recorded(several)
    assert any("shows 4 full batches of 300 to 700 people; the batch size is 500 today" in each for each in known)


def test_a_batch_size_that_is_todays_is_known_from_the_log() -> None:
    """That it was the same all along is no assumption then; workers and rate are one still."""
    one = played(people=3000, settings=Settings(300, 5, 4))
    one.sender.run(50)
    one.act("kill")
    figures = Watched(one.sender, writes=len(one.log.versions) - 1 + FIRST_XMIN).figures()
    heard = replace(figures, recorded=read_recorded(figures, read_meaning(one.log.timeline()), "the log"))
    _, known, _ = tell_recorded(heard)
    assert "PostgreSQL's log shows 4 full batches of 300 people: the batch size was what it is today." in known
    assert name(["same-batch-size"], heard)[0].sentence == (
        "there were 5 workers with a message rate of 4 all along, as there are today (that the batch size was 300 the "
        "log shows)"
    )


def ends(one: Logged) -> list[str]:
    """Return how each life ended, by the log."""
    return [life.end for life in one.said.meaning.lives]


def test_a_fetch_at_the_end_of_a_windows_sleep_is_no_certain_death() -> None:
    """The database stood still as the window opened: a late beat and a fetch come together, as from a new process."""
    one = played(people=120, settings=Settings(100, 5, 4, window=True, window_rate=100, window_seconds=61.0))
    one.sender.run(90)
    fetch = next(each for each in one.log.versions if each.cursor == 1119)
    assert moment(60.9) < fetch.before < moment(61.1)
    one.stalls = ((59.9, 1.2),)
    assert one.sender.row.status == "finished"
    assert ends(one) == ["perhaps-died", "closed"]


def test_a_beat_that_comes_late_is_no_death() -> None:
    """One beat of a sleeping pipe is held up for three seconds; the next comes at its time."""
    one = played(settings=Settings(100, 5, 4, window=True, window_rate=100, window_seconds=61.0))
    one.sender.run(90)
    one.stalls = ((29.9, 3.0),)
    assert len([each for each in one.log.timeline(stalls=one.stalls).versions if each.before == moment(32.9)]) == 1
    assert ends(one) == ["open"]


def test_a_pause_that_had_nothing_left_to_write_is_no_certain_death() -> None:
    """All that was fetched had been sent and counted: its end only touches the row, and so would an edit."""
    one = played(settings=Settings(100, 5, 4, window=True, window_rate=100, window_seconds=25.0))
    one.sender.run(20)
    one.act("pause")
    one.sender.run(10)
    one.log.kill()
    one.sender.run(3)
    one.act("boot")
    one.act("start")
    one.sender.run(60)
    assert "died" not in ends(one)
    assert len(ends(one)) > 1


def test_a_run_that_is_started_again_before_it_has_drained_ends_there() -> None:
    """Pause and Start within a second: the old pipe's end is seen, though the row says running."""
    one = played(people=1500)
    one.sender.run(20)
    one.act("pause")
    one.sender.run(0.1)
    one.act("start")
    one.sender.run(200)
    assert one.sender.row.status == "finished"
    assert ends(one) == ["closed", "closed"]
    assert not set(one.said.not_mailed) & set(one.sender.mails)


def test_a_new_process_in_the_rhythm_of_the_old_one_cannot_be_told_from_it() -> None:
    """Statements that failed for a while would look the same: the death is allowed and not certain."""
    one = played(people=1500)
    one.sender.run(31)
    one.act("kill")
    one.sender.run(40 - one.sender.now - 0.15)
    one.act("boot")
    one.sender.run(100)
    assert ends(one) == ["perhaps-died", "closed"]
    assert one.sender.missed <= set(one.said.holes[0].most)


def test_where_a_log_shows_batches_of_several_sizes_no_boundary_is_reckoned() -> None:
    """Which batch was lost before the log begins cannot be told by one size: no candidate rests on it."""
    one = played(people=3000, settings=Settings(300, 5, 4))
    one.sender.run(50)
    one.act("kill")
    one.sender.run(20)
    one.act("start")
    one.sender.run(200)
    figures = Watched(one.sender, writes=len(one.log.versions) - 1 + FIRST_XMIN).figures()
    late = replace(one.log.timeline(), versions=one.log.timeline().versions[-12:])
    told = read_recorded(figures, read_meaning(late), "the log")
    even, uneven = (
        group(replace(figures, recorded=replace(told, batches=Batches(4, 300, most, same=most == 300))))
        for most in (300, 700)
    )
    assert even.recipients.unknown <= uneven.recipients.unknown
    assert any("a batch ended at rank" in block.because for block in even.blocks)
    assert not any("a batch ended at rank" in block.because for block in uneven.blocks)
