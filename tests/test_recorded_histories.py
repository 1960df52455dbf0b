"""Plays generated histories on the sender's model, watches them once a second, and holds what a recording says.

More of them: LISTMONK_DOCTOR_HISTORIES=10000 pytest tests/test_recorded_histories.py
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, note
from hypothesis import settings as effort
from hypothesis import strategies as st
from pyroaring import BitMap

from listmonk_doctor.diagnosis.figures import Figures
from listmonk_doctor.diagnosis.idsets import Audience
from listmonk_doctor.diagnosis.recorded_people import read_recorded
from listmonk_doctor.listmonk import settings as listmonk
from listmonk_doctor.listmonk.campaign import Campaign, CampaignList
from listmonk_doctor.listmonk.versions import parse
from listmonk_doctor.timeline.growing import Growing
from listmonk_doctor.timeline.lives import read_meaning
from listmonk_doctor.timeline.look import Look, Progress, Servers
from listmonk_doctor.timeline.model import Pace
from tests.engine_model import Sender, Settings

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.recorded import Recorded

HISTORIES = int(os.environ.get("LISTMONK_DOCTOR_HISTORIES", "150"))
FIXED = 1000
"""Up to so many are the same in every run, so that a red run can be run again."""
BEGINNING = datetime(2030, 6, 1, 12, tzinfo=UTC)
PLAYED = ("3.0.0", "4.1.0", "5.0.3", "6.0.0", "6.2.0")
STEP = 0.25
"""Seconds of the model between two looks for a heartbeat of its own."""


@dataclass
class Watched:
    """A sender that is watched once a second; `blind` stretches of looks are left out."""

    sender: Sender
    blind: frozenset[int] = frozenset()
    offset: float = 0.0
    named: bool = True
    """Whether one of the server's sessions is seen at work all the time, which proves that it lives."""
    grown: Growing = field(default_factory=lambda: Growing(1))
    writes: int = 0
    looks: int = 0
    boots: int = 0
    done: list[str] = field(default_factory=list)
    hidden: bool = False
    """Whether Pause and Start were both pressed between two looks: no-clean-pause-in-mid-batch does not hold then."""
    _pressed: frozenset[str] = frozenset()
    _row: tuple[object, ...] = ()
    _due: float = 0.0

    def run(self, seconds: float) -> None:
        """Let time pass, and look whenever a second is over."""
        end = self.sender.now + seconds
        while self.sender.now < end - 0.001:
            self._advance(max(0.001, min(STEP, end - self.sender.now)))
            if self.sender.now >= self._due:
                self._due = self.sender.now + 1.0 + self.offset
                self.look()

    def _advance(self, seconds: float) -> None:
        """Let a little time pass; whatever was written, a heartbeat too, makes a new version of the row."""
        server, before = self.sender.server, self.sender.server.clock
        beats = self.sender.pipe_open and self.sender.alive
        self.sender.run(seconds)
        since = server._booted
        scanned = (server.clock - since) // 5000 > (before - since) // 5000
        self.note_write(beaten=beats and scanned and self.sender.alive)

    def note_write(self, *, beaten: bool = False) -> None:
        """Count a write where the row differs, or where a heartbeat fell due on an open pipe."""
        row = self.sender.row
        now = (row.status, row.sent, row.to_send, row.last_subscriber_id, row.max_subscriber_id, row.updated_at)
        if now != self._row or beaten:
            self.writes += 1
            self._row = now

    def look(self) -> None:
        """Look at the row as the recorder does."""
        self.looks += 1
        if self.looks in self.blind:
            return
        self._pressed = frozenset()
        self.note_write()
        row, model = self.sender.row, self.sender.settings
        at = moment(self.sender.now)
        names = frozenset([f"server {self.boots}"]) if self.sender.alive and self.named else frozenset[str]()
        servers = Servers(names, names, visible=True, waiting=False, count=int(self.sender.alive))
        window = (model.window_rate, model.window_seconds) if model.window else (0, 0.0)
        pace = Pace(at, model.batch_size, model.concurrency, model.message_rate, *window, f"v{self.sender.version}")
        progress = Progress(
            1,
            "uuid",
            "history",
            row.status,
            row.sent,
            row.to_send,
            row.last_subscriber_id,
            row.max_subscriber_id,
            None if row.started_at is None else moment(row.started_at),
            None if row.updated_at is None else moment(row.updated_at),
            str(self.writes),
        )
        self.grown.add(Look(at, {1: progress}, servers, pace))

    def act(self, action: str) -> None:
        """Press a button or pull a plug."""
        sender = self.sender
        self.done.append(f"{action} at {sender.now:.2f}")
        if action == "pause":
            self._press(action, done=sender.pause())
        elif action == "start":
            self._press(action, done=sender.start())
        elif action == "cancel":
            sender.cancel()
        elif action == "kill" and sender.alive:
            sender.kill()
        elif action == "boot" and not sender.alive:
            sender.boot()
            self.boots += 1
        self.note_write()

    def _press(self, action: str, *, done: bool) -> None:
        self._pressed |= {action} if done else set()
        self.hidden |= len(self._pressed) > 1

    def figures(self) -> Figures:
        """Return the figures of the row as it is, with an audience of which everything is known."""
        row, model = self.sender.row, self.sender.settings
        campaign = Campaign(
            1,
            "uuid",
            "history",
            "regular",
            row.status,
            row.sent,
            row.to_send,
            row.last_subscriber_id,
            row.max_subscriber_id,
            "email",
            BEGINNING,
            None if row.started_at is None else moment(row.started_at),
            None if row.updated_at is None else moment(row.updated_at),
            None,
            str(self.writes),
            (CampaignList(1, 1, "list", "single"),),
        )
        known = listmonk.Settings(
            batch_size=model.batch_size,
            concurrency=model.concurrency,
            message_rate=model.message_rate,
            window_rate=model.window_rate,
            window_seconds=model.window_seconds,
            versions=((parse(self.sender.version), None),),
        )
        people, nobody = BitMap(self.sender.eligible), BitMap()
        audience = Audience(people, people, *[nobody] * 9)
        return Figures(campaign, known, audience, moment(self.sender.now))


def moment(seconds: float) -> datetime:
    """Return a second of the model's clock as a moment."""
    return BEGINNING + timedelta(seconds=seconds)


def a_sender(draw: st.DrawFn) -> Sender:
    """Make a sender: a version, an audience, settings, and whom the relay refuses."""
    version = draw(st.sampled_from(PLAYED))
    people = draw(st.integers(1, 600))
    step = draw(st.integers(1, 3))
    ids = [50 + index * step for index in range(people)]
    settings = Settings(
        batch_size=draw(st.sampled_from([5, 20, 50, 100, 250])),
        concurrency=draw(st.integers(1, 6)),
        message_rate=draw(st.integers(1, 8)),
        window=(window := draw(st.integers(0, 2)) == 0),
        window_rate=draw(st.integers(5, 100)) if window else 0,
        window_seconds=draw(st.integers(2, 30)) if window else 0.0,
    )
    refusing = draw(st.integers(0, 3)) == 0
    fails = frozenset(draw(st.lists(st.sampled_from(ids), max_size=40))) if refusing else frozenset()
    return Sender(version, ids, settings, fails=fails, seed=draw(st.integers(0, 9)), races=draw(st.booleans()))


@st.composite
def watched(draw: st.DrawFn) -> Watched:
    """Make a history: an audience, settings, up to eight buttons and plugs, and looks that may be missing."""
    sender = a_sender(draw)
    stretches = draw(st.lists(st.tuples(st.integers(1, 120), st.integers(1, 15)), max_size=3))
    blind = frozenset(number for start, length in stretches for number in range(start, start + length))
    one = Watched(sender, blind, draw(st.sampled_from([0.0, 0.03, 0.2])), named=draw(st.booleans()))
    one.run(draw(st.floats(0.5, 6)))
    one.act("start")
    one.run(draw(st.floats(1, 40)))
    actions = st.sampled_from(["pause", "start", "kill", "boot", "boot", "start", "cancel", "wait"])
    for action in draw(st.lists(actions, max_size=8)):
        one.act(action)
        one.run(draw(st.one_of(st.floats(0, 3), st.floats(0, 30))))
    if draw(st.booleans()):
        one.act("boot")
        one.act("start")
        one.run(draw(st.sampled_from([20.0, 120.0])))
    return one


def told(one: Watched) -> Recorded | None:
    """Return what the recording says; None where nothing was seen."""
    timeline = one.grown.timeline
    if timeline is None:
        return None
    figures = one.figures()
    return read_recorded(figures, read_meaning(timeline), "flight") if figures.started else None


@effort(max_examples=HISTORIES, deadline=None, print_blob=True, derandomize=HISTORIES <= FIXED)
@given(watched())
def test_what_a_recording_says_of_a_generated_history_is_true(one: Watched) -> None:
    """Nobody proved unmailed was mailed, everybody taken was mailed or refused, and nobody else can start over.

    But for a Pause and a Start between two looks, which a recording takes for granted that there were not.
    """
    said = told(one)
    if said is None:
        return
    sender = one.sender
    note(f"{sender.version} {sender.settings} row {sender.row}: {', '.join(one.done)}")
    for life in said.meaning.lives:
        note(f"{life}")
    for each in said.meaning.moments:
        note(f"{each.after:%M:%S.%f} {each.before:%M:%S.%f} {each.what}")
    mailed = set(sender.mails)
    assert mailed.isdisjoint(said.not_mailed), f"mailed all the same: {sorted(mailed & set(said.not_mailed))[:9]}"
    assert mailed.isdisjoint(said.never), f"fetched all the same: {sorted(mailed & set(said.never))[:9]}"
    silent = set(said.presumed) - mailed - sender.failed
    assert not silent or one.hidden, f"not mailed: {sorted(silent)[:9]}"
    if said.complete and not said.meaning.muddled and not said.started_over:
        noise = sender.settings.concurrency * len(said.meaning.lives)  # a clean-up's cursor may be as many short
        assert sum(copies > 1 for copies in sender.mails.values()) <= noise


@pytest.mark.parametrize("seed", range(40))
def test_a_clean_up_may_write_less_than_was_mailed(seed: int) -> None:
    """Counts come late and people were refused above the id it wrote: nobody who was mailed is called never fetched."""
    refused = frozenset({56, 57, 58})
    one = Watched(Sender("3.0.0", range(50, 60), Settings(5, 3, 4), fails=refused, seed=seed, races=True))
    one.run(1)
    one.act("start")
    one.run(20)
    said = told(one)
    assert said is not None
    assert set(one.sender.mails).isdisjoint(said.never)


def killed(version: str = "6.2.0") -> Watched:
    """Play a campaign of 400 that is killed in the middle of its second batch of 150, and then goes on."""
    sender = Sender(version, range(1000, 1400), Settings(150, 5, 5), seed=1)
    one = Watched(sender, named=False)
    one.run(2)
    one.act("start")
    one.run(13.5)
    one.act("kill")
    one.run(1)
    one.act("boot")
    one.run(60)
    return one


def test_a_kill_is_found_and_most_of_its_hole_is_proved() -> None:
    """Everybody whom the kill lost lies in the recorded hole, and many of them are surely not mailed."""
    one = killed()
    said = told(one)
    assert said is not None
    assert said.complete
    (hole,) = said.holes
    assert hole.certain
    assert one.sender.missed <= set(hole.most)
    assert len(said.not_mailed) > 20
    assert set(said.not_mailed) <= one.sender.missed


def test_whoever_is_behind_the_end_of_a_whole_run_is_not_said_to_be_unmailed() -> None:
    """The last one was mailed and stored too late, two before were refused: the cursor stops short of all three."""
    sender = Sender("3.0.0", range(50, 89), Settings(5, 2, 4), fails=frozenset({86, 87}), seed=0, races=True)
    one = Watched(sender, named=False)
    one.run(1)
    one.act("start")
    one.run(20)
    assert (sender.row.status, sender.row.last_subscriber_id) == ("finished", 85)
    assert 88 in sender.mails
    said = told(one)
    assert said is not None
    assert 88 not in said.not_mailed


def test_whoever_was_mailed_in_a_time_that_nobody_saw_is_not_said_to_be_unmailed() -> None:
    """The cursor is set back by hand while nobody looks, and all are mailed after all: nothing is claimed of them."""
    one = killed()
    before = told(one)
    assert before is not None
    lost = set(before.not_mailed)
    one.blind = frozenset(range(one.looks + 1, one.looks + 1000))
    one.sender.row.status, one.sender.row.last_subscriber_id = "paused", 1000
    one.act("start")
    one.run(120)
    one.blind = frozenset()
    one.run(10)
    assert lost <= set(one.sender.mails)
    after = told(one)
    assert after is not None
    assert not after.complete
    assert not set(after.not_mailed) & set(one.sender.mails)
