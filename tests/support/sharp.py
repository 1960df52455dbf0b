"""Owns how sharp `unknown` has to be, by the formula for hole candidates, from the truth and the row alone.

Nothing of the program's diagnosis is used: the audience at the start and its order come from the relay's account, the
undatable from plain SQL, the settings from the recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

    from listmonk_doctor.demo.recording import Recording
    from listmonk_doctor.diagnosis.report import Examination
    from tests.support.truth import TruthOf

UNDATABLE = """
SELECT DISTINCT s.id
FROM campaigns c
JOIN campaign_lists cl ON cl.campaign_id = c.id
JOIN subscriber_lists sl ON sl.list_id = cl.list_id
JOIN subscribers s ON s.id = sl.subscriber_id
WHERE c.id = %s AND sl.created_at <= c.started_at AND (s.status = 'blocklisted' OR sl.updated_at > c.started_at)
"""
"""People of its lists whose state at the start no date tells: changed since, or blocklisted."""

NEARLY_KNOWN = ("quickstart", "blockrun", "healthy")
"""Recordings whose stopped and finished campaigns leave hardly anybody unknown who was not really missed."""
BEYOND = 0.05
"""Of the audience: as many may be unknown there beyond those who were missed."""


@dataclass(frozen=True)
class Yardstick:
    """How many people the candidate blocks of one campaign hold, and how many cannot be dated."""

    union: int
    undatable: int


def yardstick(conn: Connection[Any], recording: Recording, campaign: int, truth: TruthOf) -> Yardstick:
    """Return the size of the candidate union: before every boundary jB, and the end, the largest hole and the front.

    The largest hole is the gap and the departed, at most batch + queue + workers. Before 4.0.0 the order inside a batch
    is not known, so that a hole of one may be anybody; before 3.0.0 `sent` says nothing of a hole.
    """
    row = recording.incident["campaigns"][str(campaign)]["row"]
    knobs = recording.incident["settings"]
    batch, workers, rate = (int(knobs[f"app.{name}"]) for name in ("batch_size", "concurrency", "message_rate"))
    people = sorted(truth.at_start)
    undatable = {person for (person,) in conn.execute(UNDATABLE, (campaign,)).fetchall()}
    departed = len(truth.at_start - truth.now)
    gap = row["to_send"] - row["sent"] + departed
    hole = max(0, min(gap, batch + 2 * workers * rate + workers))
    union: set[int] = set()
    if recording.version < "v4":
        union = set(people) if hole or recording.version < "v3" else set()
    elif hole:
        for boundary in (*range(batch, len(people), batch), len(people)):
            union |= set(people[max(0, boundary - hole - workers * rate) : boundary])
    return Yardstick(len(union & truth.now), len(undatable & truth.now))


def assert_sharp(examination: Examination, truth: TruthOf, recording: Recording, yard: Yardstick) -> None:
    """Assert that no more people are called unknown than the formula leaves open."""
    unknown = set(examination.recipients.unknown)
    assert len(unknown) <= yard.union + yard.undatable
    status, workers = examination.campaign.status, examination.settings.concurrency
    if recording.name.startswith(NEARLY_KNOWN) and status in ("finished", "paused", "cancelled"):
        assert len(unknown - truth.missed) <= BEYOND * len(truth.at_start & truth.now)
    if recording.name == "seed-v4.1.0":
        assert len(unknown) <= len(truth.missed) + examination.settings.queue + workers
