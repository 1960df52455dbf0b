"""Holds one timeline made of a recording and a log to what really happened: exact where one of them is, never false."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, note
from hypothesis import settings as effort
from hypothesis import strategies as st

from listmonk_doctor.diagnosis.recorded_people import read_recorded
from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.lives import read_meaning
from listmonk_doctor.timeline.merge import merge
from listmonk_doctor.timeline.model import Gap
from tests.engine_model import Sender, Settings
from tests.support.logging_model import FIRST_XMIN, Log, moment
from tests.test_recorded_histories import FIXED, HISTORIES, Watched

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.recorded import Recorded
    from listmonk_doctor.timeline.model import Timeline

TICK = timedelta(microseconds=900)
"""A write is seen by a look of the same millisecond of the model's clock."""


@dataclass
class Both(Watched):
    """A sender that is watched, and that writes a log."""

    log: Log = field(init=False)

    def __post_init__(self) -> None:
        """Note every write from now on."""
        self.log = Log(self.sender)

    def note_write(self, *, beaten: bool = False) -> None:
        """Count the versions as the log does."""
        del beaten
        self.writes = len(self.log.versions) - 1 + FIRST_XMIN

    def act(self, action: str) -> None:
        """Press a button or pull a plug, a little after the last look."""
        self.sender.run(0.002)
        if action == "kill":
            self.log.kill()
        elif action == "boot":
            self.log.boot()
            self.boots += 1
        else:
            super().act(action)

    def logged(self, begins: int = 0, lost: frozenset[int] = frozenset()) -> Timeline:
        """Return what the log says."""
        timeline = self.log.timeline(begins, lost)
        moved = [
            replace(each, after=each.after - TICK, before=each.before - TICK, until=each.until - TICK)
            for each in timeline.versions
        ]
        return replace(timeline, began=timeline.began - TICK, versions=tuple(moved))

    @property
    def recorded(self) -> Timeline:
        """What was seen."""
        assert self.grown.timeline is not None
        return self.grown.timeline

    def told(self, timeline: Timeline) -> Recorded:
        """Return what a timeline says of the people."""
        self.note_write()
        return read_recorded(self.figures(), read_meaning(timeline), "both")


def played(blind: frozenset[int] = frozenset(), *, named: bool = True) -> Both:
    """Send to 400 in batches of 150, killed in the middle of the second, and to the end."""
    one = Both(Sender("6.2.0", range(1000, 1400), Settings(150, 5, 5), seed=1), blind, named=named)
    one.run(2)
    one.act("start")
    one.run(13.5)
    one.act("kill")
    one.run(1)
    one.act("boot")
    one.run(60)
    one.look()
    return one


def test_exact_times_win_and_what_only_a_recording_has_stays() -> None:
    """Every version is the log's, once; sessions and the recording's settings are there still."""
    one = played()
    both = merge(one.recorded, one.logged())
    assert [each.xmin for each in both.versions] == [each.xmin for each in one.log.versions]
    assert all(each.source == "log" for each in both.versions)
    assert both.sessions == one.recorded.sessions
    assert both.sessions
    assert both.paces[: len(one.recorded.paces)] == one.recorded.paces
    assert (both.began, both.ended) == (one.logged().began, max(one.recorded.ended, one.logged().ended))


def test_settings_that_both_know_are_there_once() -> None:
    """The log's settings are added where the recording saw others."""
    one = played()
    logged = one.logged()
    assert len(merge(one.recorded, logged).paces) == 1
    faster = replace(logged, paces=(replace(logged.paces[0], concurrency=9),))
    assert {pace.concurrency for pace in merge(one.recorded, faster).paces} == {5, 9}


def test_a_gap_that_the_log_covers_is_gone_and_another_is_not() -> None:
    """Nobody looked while it was killed; the log tells it all, unless it lost a version of just that time."""
    blind = frozenset(range(10, 40))
    one = played(blind)
    (gap,) = one.recorded.gaps
    logged = one.logged()
    whole = merge(one.recorded, logged)
    assert not whole.gaps
    assert one.told(whole).complete
    assert one.told(whole).holes
    assert not one.told(one.recorded).complete
    inside = next(n for n, each in enumerate(logged.versions) if gap.start < each.before < gap.end)
    holed = merge(one.recorded, one.logged(lost=frozenset({inside})))
    assert holed.gaps == (gap,)
    assert not one.told(holed).complete
    other = Gap(logged.versions[2].before, logged.versions[3].before, "lost")
    assert other in merge(one.recorded, replace(logged, gaps=(other,))).gaps


def test_a_log_that_begins_late_joins_what_was_recorded_before() -> None:
    """The recording saw the beginning and was ended, the log has the rest: together they are complete."""
    one = played(frozenset(range(30, 100)), named=False)
    begins = next(n for n, each in enumerate(one.log.versions) if each.before > moment(20))
    logged = one.logged(begins)
    assert not one.told(logged).complete
    both = merge(one.recorded, logged)
    assert both.versions[0].source == "recording"
    assert both.versions[-1].source == "log"
    said = one.told(both)
    assert said.complete
    assert one.sender.missed <= set().union(*[set(hole.most) for hole in said.holes])


def test_one_alone_is_itself_and_two_campaigns_are_none() -> None:
    """With one of them missing the other is returned; nothing, or another campaign's, is a mistake of the caller."""
    one = played()
    recorded, logged = one.recorded, one.logged()
    assert merge(recorded, None) is recorded
    assert merge(None, logged) is logged
    with pytest.raises(ValueError, match="nothing"):
        merge(None, None)
    with pytest.raises(ValueError, match="two"):
        merge(one.recorded, replace(logged, campaign_uuid="other"))


def test_a_recording_of_another_past_is_refused() -> None:
    """The database was restored: the same version numbers say something else, or lie at another time."""
    one = played()
    logged = one.logged()
    changed = replace(logged.versions[5], sent=77)
    with pytest.raises(RefusedError, match="contradict"):
        merge(one.recorded, replace(logged, versions=(*logged.versions[:5], changed, *logged.versions[6:])))
    late = tuple(
        replace(each, after=each.after + timedelta(hours=1), before=each.before + timedelta(hours=1))
        for each in logged.versions
    )
    with pytest.raises(RefusedError, match="contradict"):
        merge(one.recorded, replace(logged, versions=late))


def test_a_row_first_seen_paused_may_have_ended_in_silence() -> None:
    """Nobody looked until it was paused and done: that it was then quiet until Start is no death."""
    one = Both(Sender("3.0.0", range(100, 120), Settings(20, 1, 1), seed=0), frozenset(range(1, 18)), named=False)
    one.run(1)
    for action, seconds in (("start", 16), ("pause", 0.01), ("pause", 3), ("start", 6), ("pause", 0.01)):
        one.act(action)
        one.run(seconds)
    said = one.told(merge(one.recorded, one.logged(len(one.log.versions) - 1)))
    assert said.meaning.lives
    assert "died" not in [life.end for life in said.meaning.lives]


@pytest.mark.parametrize("killed", [4.5, 6.0])
def test_a_log_that_begins_within_a_clean_up_hides_no_death(killed: float) -> None:
    """Between the last look and the log's first version a new process's whole run may lie: nobody is presumed by it."""
    one = Both(Sender("3.0.0", range(100, 221), Settings(20, 4, 6), seed=0), frozenset(), named=False)
    one.run(1)
    one.act("start")
    one.run(killed)
    one.act("kill")
    one.act("boot")
    one.run(30)
    closing = next(n for n, each in enumerate(one.log.versions) if each.status == "finished") - 1
    assert one.log.versions[closing].status == "running"
    said = one.told(merge(one.recorded, one.logged(closing)))
    assert one.sender.missed
    assert set(said.presumed) <= set(one.sender.mails)
    assert [life.end for life in said.meaning.lives] == ["perhaps-died", "closed"]


def test_a_pause_that_only_looks_saw_may_have_been_its_end() -> None:
    """Paused and done between two looks; the log begins with Start, and the next pipe overwrites the cursor (M2)."""
    one = Both(Sender("3.0.0", range(100, 508), Settings(20, 4, 4), seed=0), frozenset(), named=False)
    one.run(1)
    for action, seconds in (("start", 30.01), ("pause", 6.0), ("start", 3.0)):
        one.act(action)
        one.run(seconds)
    begins = max(n for n, each in enumerate(one.log.versions) if each.status == "paused") + 1
    said = one.told(merge(one.recorded, one.logged(begins)))
    assert one.sender.row.last_subscriber_id == 408
    assert not one.log.kills
    assert "died" not in [life.end for life in said.meaning.lives]


def test_a_pause_and_a_start_between_two_looks_leave_their_date() -> None:
    """Pressed within one second near the end: that the next pipe found nobody and wrote a count (M2) is no death."""
    one = Both(Sender("3.0.0", range(100, 332), Settings(20, 4, 4), seed=0), frozenset(), named=False)
    one.run(1)
    for action, seconds in (("start", 19.01), ("pause", 0.2), ("start", 12.0)):
        one.act(action)
        one.run(seconds)
    assert one.hidden
    assert one.sender.row.status == "finished"
    assert one.sender.row.last_subscriber_id == 232
    said = one.told(merge(one.recorded, one.logged(len(one.log.versions) - 1)))
    assert "died" not in [life.end for life in said.meaning.lives]


@st.composite
def histories(draw: st.DrawFn) -> Both:
    """Make a history that is watched with gaps, and whose log begins late and lost versions."""
    ids = range(100, 100 + draw(st.integers(20, 500)))
    rates = st.integers(1, 6)
    settings = Settings(draw(st.sampled_from([20, 50, 100, 250])), draw(rates), draw(rates))
    version = draw(st.sampled_from(["3.0.0", "4.1.0", "6.0.0", "6.2.0"]))
    stretches = draw(st.lists(st.tuples(st.integers(1, 120), st.integers(1, 40)), max_size=3))
    blind = frozenset(number for start, length in stretches for number in range(start, start + length))
    one = Both(Sender(version, ids, settings, seed=draw(st.integers(0, 9))), blind, named=draw(st.booleans()))
    one.run(draw(st.floats(0.5, 6)))
    one.act("start")
    one.run(draw(st.floats(1, 40)))
    for action in draw(st.lists(st.sampled_from(["pause", "start", "kill", "boot", "boot", "start"]), max_size=6)):
        one.act(action)
        one.run(draw(st.one_of(st.floats(0, 3), st.floats(0, 30))))
    return one


@effort(max_examples=HISTORIES, deadline=None, print_blob=True, derandomize=HISTORIES <= FIXED)
@given(histories(), st.floats(0, 1), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 4)), max_size=4))
def test_what_both_together_say_is_true(one: Both, begins: float, lost: list[tuple[float, int]]) -> None:
    """Whatever either of them missed, nothing false is said, and each certain death was one.

    But for a Pause and a Start between two looks, which a recording takes for granted that there were not.
    """
    if one.grown.timeline is None:
        return
    count = len(one.log.versions)
    first = int(begins * (count - 1))
    gone = frozenset(int(start * count) + more for start, length in lost for more in range(length)) - {first}
    both = merge(one.recorded, one.logged(first, gone))
    note(f"{', '.join(one.done)}; kills {one.log.kills}")
    if not one.figures().started:
        return
    said, sender = one.told(both), one.sender
    for life in said.meaning.lives:
        note(f"{life}")
    for each in both.versions:
        note(f"{each.after:%M:%S.%f} {each.before:%M:%S.%f} {each.sent} {each.cursor} {each.status} {each.source}")
    assert set(sender.mails).isdisjoint(said.not_mailed)
    assert set(sender.mails).isdisjoint(said.never)
    assert one.hidden or set(said.presumed) <= set(sender.mails) | sender.failed
    for life in said.meaning.lives if not said.meaning.muddled else ():
        if life.end == "died" and not one.hidden:
            assert life.died_after is not None
            assert life.died_by is not None
            assert [at for at, _ in one.log.kills if life.died_after <= moment(at) <= life.died_by]
