"""Owns what the tests of follow-ups share: the draft started by the sender's model, and the rows it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from listmonk_doctor.demo.recording import open_recording
from tests.engine_model import Row, Settings, resume_from_row
from tests.support.repairing import tables
from tests.support.running import said
from tests.support.truth import NOW

if TYPE_CHECKING:
    from tests.engine_model import Resumed

CAMPAIGN = 2
"""The recorded campaign."""
LISTMONKS = ("public",)


def done(*words: str) -> dict[str, Any]:
    """Run a command that must write, and return what it said."""
    code, report = said(*words, "--apply", "--yes")
    assert code == 0, report
    return report


def bytes_of(dsn: str) -> dict[str, list[str]]:
    """Return every row of every table of listmonk's as text."""
    return tables(dsn, *LISTMONKS)


@dataclass(frozen=True)
class Draft:
    """A follow-up as it stands in the database."""

    id: int
    list_id: int
    people: frozenset[int]


def draft_of(dsn: str) -> Draft:
    """Return the newest campaign with its one list and the people on it who would be mailed."""
    with psycopg.connect(dsn) as conn:
        ((number,),) = conn.execute("SELECT max(id) FROM campaigns").fetchall()
        ((chosen,),) = conn.execute("SELECT list_id FROM campaign_lists WHERE campaign_id = %s", [number]).fetchall()
        people = conn.execute(NOW, [number]).fetchall()
    return Draft(number, chosen, frozenset(person for (person,) in people))


def sent(dsn: str, recording: str, campaign: int, mailed_before: dict[int, int]) -> Resumed:
    """Press Start on a draft: the sender's model plays it to its end and its row is written back."""
    with psycopg.connect(dsn) as conn:
        found: dict[str, Any] = dict(conn.execute("SELECT key, value FROM settings WHERE key LIKE 'app.%%'").fetchall())
        columns = ("status", "sent", "to_send", "last_subscriber_id", "max_subscriber_id")
        (values,) = conn.execute(
            "SELECT status::text, sent, to_send, last_subscriber_id, max_subscriber_id FROM campaigns WHERE id = %s",
            [campaign],
        ).fetchall()
        people = frozenset(person for (person,) in conn.execute(NOW, [campaign]).fetchall())
        settings = Settings(
            batch_size=found["app.batch_size"],
            concurrency=found["app.concurrency"],
            message_rate=found["app.message_rate"],
            max_send_errors=0,
        )
        row = Row(**dict(zip(columns, values, strict=True)), updated_at=0.0)
        version = open_recording(recording).version.removeprefix("v")
        played = resume_from_row(row, people, settings, version, mailed_before)
        end = played.row
        conn.execute(
            "UPDATE campaigns SET status = %s::campaign_status, sent = %s, to_send = %s, last_subscriber_id = %s,"
            " max_subscriber_id = %s, started_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = %s",
            [end.status, end.sent, end.to_send, end.last_subscriber_id, end.max_subscriber_id, campaign],
        )
    return played
