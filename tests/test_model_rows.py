"""Tests that a state of the sender's model reaches a database whole."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.demo.loading import demo_sql
from tests.engine_model import VERSIONS, Row, Sender, Settings
from tests.support.model_rows import write_to_database


@pytest.mark.parametrize("version", VERSIONS)
def test_state_can_be_written_to_a_database(version: str, empty_db: str) -> None:
    """The database then holds the model's row at its times, and exactly its eligible people."""
    settings = Settings(300, 5, 10)
    sender = Sender(
        version, range(1000, 3000, 2), settings, blocklisted=range(1001, 1101, 2), unconfirmed=range(1201, 1301, 2)
    )
    sender.start()
    sender.run(15.3)
    sender.kill()
    with psycopg.connect(empty_db) as conn:
        conn.execute(demo_sql(f"schema-v{version}.sql"))
        zero = write_to_database(conn, sender, unsubscribed={5000: 7.0}, joined={1002: 3.0})
        found = conn.execute(
            "SELECT status::text, sent, to_send, last_subscriber_id, max_subscriber_id, started_at, updated_at"
            " FROM campaigns"
        ).fetchone()
        eligible = {person for _, person in conn.execute(sqlfiles.read("audience/members.sql"))}
    assert found is not None
    times = [(moment - zero).total_seconds() for moment in found[5:]]
    assert Row(*found[:5]) == replace(sender.row, started_at=None, updated_at=None)
    assert times == pytest.approx([sender.row.started_at, sender.row.updated_at])
    assert eligible == sender.eligible
