"""Tests of the recorded incidents: packed, opened, loaded whole at the right time, and made worse as announced."""

from __future__ import annotations

import csv
import dataclasses
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from listmonk_doctor.demo.loading import ORDER, load
from listmonk_doctor.demo.recording import FOLDER_VARIABLE, Recording, open_recording, recordings
from listmonk_doctor.errors import DoctorError

if TYPE_CHECKING:
    from psycopg import Connection

    from tests.support.databases import IncidentDatabases

ALL = sorted(path.name.removesuffix(".tar.xz") for path in (Path(__file__).parent / "incidents").iterdir())
NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)
"""A moment at which recordings are put where a test compares two loads of one."""


def rows_of(recording: Recording, table: str) -> list[dict[str, str]]:
    """Return a recorded table's rows as text."""
    return list(csv.DictReader(io.StringIO(recording.tables[table])))


def values(conn: Connection[Any], query: str, *parameters: object) -> list[Any]:
    """Return the first column of a query's rows."""
    return [row[0] for row in conn.execute(query.encode(), parameters or None)]


def moved(moment: str, shift: timedelta) -> str:
    """Return a recorded moment as it should read once it is loaded."""
    return "None" if moment == r"\N" else str(datetime.fromisoformat(moment) + shift)


def first_start(recording: Recording) -> datetime:
    """Return when the first of a recording's campaigns was started (never: the end of time)."""
    started = [row["started_at"] for row in rows_of(recording, "campaigns") if row["started_at"] != r"\N"]
    return min(map(datetime.fromisoformat, started), default=datetime.max.replace(tzinfo=UTC))


def departed(recording: Recording) -> set[int]:
    """Return who was in an audience at its start and is not eligible for it any more, but still exists."""
    status = {row["id"]: row["status"] for row in rows_of(recording, "subscribers")}
    double = {row["id"]: row["optin"] == "double" for row in rows_of(recording, "lists")}
    kind = {row["id"]: row["type"] for row in rows_of(recording, "campaigns")}
    members: dict[str, list[tuple[str, str]]] = {}
    for row in rows_of(recording, "subscriber_lists"):
        members.setdefault(row["list_id"], []).append((row["subscriber_id"], row["status"]))
    eligible = set()
    for row in rows_of(recording, "campaign_lists"):
        for person, subscription in members.get(row["list_id"], ()):
            if kind[row["campaign_id"]] == "optin":
                may = double[row["list_id"]] and subscription == "unconfirmed"
            else:
                may = subscription == "confirmed" if double[row["list_id"]] else subscription != "unsubscribed"
            if may and status[person] != "blocklisted":
                eligible.add((int(row["campaign_id"]), int(person)))
    at_start = {(row.campaign_id, row.subscriber_id) for row in recording.truth if row.in_audience_at_start}
    return {person for _, person in at_start - eligible if str(person) in status}


def test_all_recordings_are_there() -> None:
    """The checkout carries 39 recordings, among them the story that the demo tells, and lists them by name."""
    assert len(ALL) == 39
    assert "seed-v4.1.0" in ALL
    assert recordings() == ALL


def test_an_unknown_recording_is_an_error_that_lists_the_known() -> None:
    """A wrong name, also one that tries to leave the folder, is told with the names that exist."""
    for name in ("no-such", "../incidents/seed-v4.1.0"):
        with pytest.raises(DoctorError, match="no recording named") as caught:
            open_recording(name)
        assert "seed-v4.1.0" in caught.value.hint


def test_recordings_of_ones_own_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named by the environment is searched before the others."""
    (tmp_path / "mine.tar.xz").write_bytes((Path(__file__).parent / "incidents" / "seed-v4.1.0.tar.xz").read_bytes())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert "mine" in recordings()
    assert open_recording("mine").version == "v4.1.0"


def test_a_recording_tells_the_whole_story() -> None:
    """The seed's figures, truth, polls, log and text are readable as values."""
    seed = open_recording("seed-v4.1.0")
    assert (seed.version, seed.servers_scanning, seed.open_pipes) == ("v4.1.0", 1, ())
    campaign = seed.incident["campaigns"]["2"]
    missed = [row.subscriber_id for row in seed.truth if row.in_audience_at_start and not row.mails]
    assert len(missed) == campaign["missed"]["count"] == 340
    assert sum(row.mails for row in seed.truth) == campaign["mails"]
    assert (seed.polls[-1].sent, seed.polls[-1].to_send, seed.polls[-1].status) == (2261, 2601, "finished")
    assert "finished" in seed.log.splitlines()[-1]
    assert seed.readme.startswith("# seed-v4.1.0")
    assert all(row.first_at is not None and row.first_at <= seed.recorded_until for row in seed.truth if row.mails)


@pytest.mark.parametrize("name", ALL)
def test_a_recording_is_loaded_whole(name: str, incident_db: IncidentDatabases) -> None:
    """Each table holds the recorded values, every moment moved by the one shift, and new rows get new ids."""
    recording = open_recording(name)
    dsn = incident_db(name)
    shift = incident_db.loaded(dsn).shift
    with psycopg.connect(dsn, options="-c TimeZone=UTC -c DateStyle=ISO") as conn:
        for table in ORDER:
            cursor = conn.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            names = [column.name for column in cursor.description or ()]
            moments = {column.name for column in cursor.description or () if column.type_display == "timestamptz"}
            loaded = sorted(
                (str(row[0]), *(str(value) for name, value in zip(names, row, strict=True) if name in moments))
                for row in cursor
            )
            recorded = sorted(
                (row[names[0]], *(moved(row[name], shift) for name in names if name in moments))
                for row in rows_of(recording, table)
            )
            assert loaded == recorded, table
        progress = "SELECT to_jsonb(c) - '{send_at,started_at,created_at,updated_at}'::text[] FROM campaigns c"
        for row in values(conn, progress):
            written = next(other for other in rows_of(recording, "campaigns") if other["id"] == str(row["id"]))
            for column in ("uuid", "name", "status", "sent", "to_send", "last_subscriber_id", "max_subscriber_id"):
                assert str(row[column]) == written[column]
        assert values(conn, "SELECT nextval('subscribers_id_seq') - max(id) FROM subscribers") == [1]
        assert values(conn, "SELECT nextval('users_id_seq')" if "users" in all_tables(conn) else "SELECT 1") == [1]


def all_tables(conn: Connection[Any]) -> set[str]:
    """Return the names of the tables in schema public."""
    return set(values(conn, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"))


def test_the_moment_of_recording_becomes_now(incident_db: IncidentDatabases) -> None:
    """A freshly loaded recording ends now: what was two seconds old when it was recorded is two seconds old."""
    recording = open_recording("seed-v4.1.0")
    dsn = incident_db("seed-v4.1.0", fresh=True)
    last = max(datetime.fromisoformat(row["updated_at"]) for row in rows_of(recording, "campaigns"))
    with psycopg.connect(dsn) as conn:
        [age] = values(conn, "SELECT clock_timestamp() - max(updated_at) FROM campaigns")
    assert timedelta(0) <= age - (recording.recorded_until - last) < timedelta(seconds=5)


def test_a_moment_can_be_given(empty_db: str) -> None:
    """Loaded for a given moment, a recording ends at that moment."""
    recording = open_recording("seed-v4.1.0")
    with psycopg.connect(empty_db) as conn:
        loaded = load(conn, recording, now=NOON)
    assert recording.recorded_until + loaded.shift == NOON


def test_a_version_without_known_tables_is_refused(empty_db: str) -> None:
    """A recording of a version whose tables the demo does not know changes nothing."""
    recording = dataclasses.replace(open_recording("seed-v4.1.0"), version="v9.9.9")
    with psycopg.connect(empty_db) as conn:
        with pytest.raises(DoctorError, match=r"schema-v9\.9\.9"):
            load(conn, recording)
        assert all_tables(conn) == set()


def changed(conn: Connection[Any], table: str, only_in: str, not_in: str) -> list[dict[str, Any]]:
    """Return the rows that are in one schema's table and not in the other's, as JSON."""
    query = sql.SQL("SELECT to_jsonb(a) FROM {} a WHERE NOT EXISTS (SELECT FROM {} b WHERE b::text = a::text)").format(
        sql.Identifier(only_in, table), sql.Identifier(not_in, table)
    )
    return [row[0] for row in conn.execute(query)]


@pytest.mark.parametrize("name", ALL)
def test_worse_destroys_what_it_says_and_nothing_else(name: str, empty_db: str) -> None:
    """Made worse, a recording differs by the deleted people's rows and the redated people's dates alone."""
    recording = open_recording(name)
    start = first_start(recording)
    with psycopg.connect(empty_db, autocommit=True) as conn:
        load(conn, recording, schema="good", now=NOON)
        loaded = load(conn, recording, schema="bad; schema", now=NOON, worse=True)
        deleted, redated = set(loaded.deleted), set(loaded.redated)
        was = {table: changed(conn, table, "good", "bad; schema") for table in ORDER}
        is_now = {table: changed(conn, table, "bad; schema", "good") for table in ORDER}
        left = set(values(conn, 'SELECT id FROM "bad; schema".subscribers'))

    assert deleted == set(sorted(departed(recording))[::50])
    blocklisted = {
        int(row["id"])
        for row in rows_of(recording, "subscribers")
        if row["status"] == "blocklisted" and datetime.fromisoformat(row["updated_at"]) > start
    }
    assert redated == blocklisted
    assert not deleted & left
    assert {row["id"] for row in was["subscribers"]} == deleted | redated
    assert {row["id"] for row in is_now["subscribers"]} == redated - deleted
    former = {row["id"]: row for row in was["subscribers"]}
    assert all(row == {**former[row["id"]], "updated_at": row["created_at"]} for row in is_now["subscribers"])
    for table in ("subscriber_lists", "bounces"):
        assert {row["subscriber_id"] for row in was[table]} <= deleted
        assert is_now[table] == []
    for table in ("campaign_views", "link_clicks"):
        assert {row["subscriber_id"] for row in was[table]} <= deleted
        assert all(row["subscriber_id"] is None for row in is_now[table])
    for table in set(ORDER) - {"subscribers", "subscriber_lists", "bounces", "campaign_views", "link_clicks"}:
        assert was[table] == is_now[table] == []
