"""Plays generated histories of a campaign on the sender's model and holds what the diagnosis says against them.

More of them: LISTMONK_DOCTOR_HISTORIES=10000 pytest tests/test_histories.py
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, note
from hypothesis import settings as effort
from hypothesis import strategies as st

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.loading import demo_sql
from listmonk_doctor.repair.diagnose import diagnose_in
from tests.engine_model import VERSIONS, Sender, Settings
from tests.support.holding import assert_true
from tests.support.model_rows import CAMPAIGN, write_to_database
from tests.support.truth import TruthOf

if TYPE_CHECKING:
    from collections.abc import Iterator

HISTORIES = int(os.environ.get("LISTMONK_DOCTOR_HISTORIES", "150"))
PLAYED = tuple(version for version in VERSIONS if version in ("2.5.1", "3.0.0", "4.1.0", "5.0.3", "6.0.0", "6.2.0"))
TABLES = "subscriber_lists, subscribers, lists, campaigns, campaign_lists, settings"


@dataclass
class History:
    """One campaign's life, with the assumptions that it contradicts."""

    sender: Sender
    version: str
    contradicted: set[str] = field(default_factory=set)
    stops: int = 0

    def act(self, action: str, seconds: float) -> None:
        """Do one thing, then let the clock run for some seconds."""
        sender = self.sender
        if action == "pause" and sender.pause():
            self.contradicted.add("no-clean-pause-in-mid-batch")
        elif action == "start":
            sender.start()
        elif action == "kill" and sender.alive:
            sender.kill()
            self.stops += 1
            self.contradicted.add("no-flush-lost-or-doubled")
        elif action == "boot" and not sender.alive:
            sender.boot()
        if self.stops > 1:
            self.contradicted.add("stopped-once")
        if any(copies > 1 for copies in sender.mails.values()):
            self.contradicted.add("never-started-over")
        sender.run(seconds)

    def truth(self) -> TruthOf:
        """Return what really happened."""
        sender = self.sender
        if any(copies > 1 for copies in sender.mails.values()):
            self.contradicted.add("never-started-over")
        if sender.failed:
            self.contradicted.add("no-failures")
        return TruthOf(
            at_start=sender.audience_at_start,
            now=sender.eligible,
            blocklisted=sender.campaign.blocklisted,
            fetchable=sender.eligible | sender.campaign.blocklisted,
            mails=dict(sender.mails),
            failed=frozenset(sender.failed - sender.mails.keys()),
            contradicted=frozenset(self.contradicted),
            sent=sender.row.sent,
        )


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Make a history: an audience with gaps in its ids, settings, and up to eight actions with pauses between."""
    version = draw(st.sampled_from(PLAYED))
    people = draw(st.integers(1, 400))
    first, step = draw(st.sampled_from([1, 50, 1000])), draw(st.integers(1, 3))
    ids = [first + index * step for index in range(people)]
    blocked = frozenset(draw(st.lists(st.sampled_from(ids), max_size=20))) if draw(st.booleans()) else frozenset()
    settings = Settings(
        batch_size=draw(st.integers(1, 120)),
        concurrency=draw(st.integers(1, 6)),
        message_rate=draw(st.integers(1, 8)),
        window=(window := draw(st.booleans())),
        window_rate=draw(st.integers(5, 100)) if window else 0,
        window_seconds=draw(st.integers(2, 30)) if window else 0.0,
    )
    audience = [person for person in ids if person not in blocked]
    fails = frozenset(draw(st.lists(st.sampled_from(ids), max_size=8))) if draw(st.integers(0, 3)) == 0 else frozenset()
    sender = Sender(version, audience, settings, blocklisted=blocked, fails=fails, seed=draw(st.integers(0, 9)))
    history = History(sender, version)
    history.act("start", draw(st.floats(5.1, 40)))
    actions = st.sampled_from(["pause", "start", "kill", "boot", "boot", "start", "wait"])
    for action in draw(st.lists(actions, max_size=8)):
        history.act(action, draw(st.floats(0, 30)))
    if draw(st.booleans()):
        history.act("boot", 0)
        history.act("start", draw(st.sampled_from([20.0, 5_000.0])))
    return history


@pytest.fixture(scope="module")
def places(databases: Any) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    """One database per version with listmonk's tables, emptied before each history."""
    opened: dict[str, psycopg.Connection[Any]] = {}
    names = []
    for version in PLAYED:
        names.append(databases.create())
        opened[version] = psycopg.connect(databases.server.dsn(names[-1]), autocommit=True)
        opened[version].execute(demo_sql(f"schema-v{version}.sql"))
    yield opened
    for conn in opened.values():
        conn.close()
    for name in names:
        databases.drop(name)


@given(history=histories())
@effort(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=HISTORIES <= 1000,
    print_blob=True,
)
def test_what_is_said_of_any_history_is_true(places: dict[str, psycopg.Connection[Any]], history: History) -> None:
    """Whatever pauses, kills and restarts a campaign met, the truth lies in every range, group and price."""
    sender, conn = history.sender, places[history.version]
    note(f"{history.version} {sender.settings} row {sender.row} stops {history.stops} {history.contradicted}")
    conn.execute(f"TRUNCATE {TABLES} CASCADE".encode())
    write_to_database(conn, sender)
    server = SimpleNamespace(
        running=sender.alive,
        scanners=int(sender.alive),
        because="played",
        xmin={},
        pipes={CAMPAIGN: "open" if sender.pipe_open else "none"},
    )
    with snapshot(conn, schema="public", timeout=60.0) as cur:
        diagnosis = diagnose_in(cur, [CAMPAIGN], server=server)[CAMPAIGN]  # type: ignore[arg-type]
    assert_true(diagnosis, history.truth(), f"v{history.version}")
