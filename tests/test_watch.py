"""What watch says while a campaign is sent: silent as long as it keeps its price, loud and in time when it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import psycopg
import pytest
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.commands._expecting import expected
from listmonk_doctor.commands._options import Where
from listmonk_doctor.commands._session import opened
from listmonk_doctor.commands._watching import Follower
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.diagnosis.watching import Watch
from listmonk_doctor.render import pages_watch, plain, terminal
from listmonk_doctor.timeline.growing import Growing
from listmonk_doctor.timeline.look import look
from tests.support.replaying import Replay

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from listmonk_doctor.diagnosis.watching import Alarm
    from tests.support.databases import IncidentDatabases


class Told:
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.changes = 0
        self.alarms: list[Alarm] = []

    def seen(self, watch: Watch, *, changed: bool, first: bool, alarms: Sequence[Alarm]) -> None:
        """Keep the alarms; every page can be drawn."""
        self.changes += changed or first
        self.alarms += alarms
        assert plain.render(pages_watch.page(watch))
        assert pages_watch.line(watch)

    def lost(self, because: str) -> None:
        """Nothing is lost here."""

    def back(self, seconds: float) -> None:
        """Nothing comes back here."""

    def note(self, text: str) -> None:
        """Nothing is noted here."""

    def ended(self, watch: Watch) -> None:
        """Nothing is ended here."""


def played(incident_db: IncidentDatabases, name: str, campaign: int = 2) -> Told:
    """Watch a replayed recording from its first poll to its last, by the program's own loop."""
    dsn = incident_db(name)
    replay = Replay(dsn, open_recording(name), incident_db.loaded(dsn).shift)
    told = Told()
    with opened(Where(dsn, None, (), None, 60.0)) as database:
        looks = replay.looks()
        first = next(looks)
        watch = Watch(expected(database, campaign), Growing(campaign))
        follower = Follower(database, {campaign: watch}, None, told)
        for seen in (first, *looks):
            follower._take(seen)
    return told


SILENT = (
    ("healthy-v6.2.0", 2),
    ("healthy-v5.0.3", 3),
    ("healthy-v3.0.0", 4),
    ("fetch-error-v6.2.0", 2),
    ("window-stuck-v6.2.0", 2),
    ("newcomers-v6.2.0", 2),
    ("many-small-v5.0.3", 5),
)
LOUD = (
    ("m2-backward-v5.0.3", "overwritten", True),
    ("m2-forward-v6.0.0", "overwritten", True),
    ("kill9-v6.2.0", "skipped", False),
    ("kill9-v4.1.0", "skipped", False),
    ("restarts-three-v6.2.0", "skipped", False),
    ("quickstart-v4.1.0", "finished-short", False),
    ("deleted-list-v6.0.0", "hung", False),
)


@pytest.mark.parametrize(("name", "campaign"), SILENT)
def test_a_campaign_that_keeps_its_price_raises_no_alarm(
    incident_db: IncidentDatabases, name: str, campaign: int
) -> None:
    """Sent cleanly, asleep in a window, paused and resumed, with newcomers: not a word."""
    told = played(incident_db, name, campaign)
    assert told.alarms == []
    assert told.changes > 1


@pytest.mark.parametrize(("name", "code", "stop"), LOUD)
def test_what_leaves_the_price_is_said_with_what_to_press(
    incident_db: IncidentDatabases, name: str, code: str, *, stop: bool
) -> None:
    """An overwritten cursor, people skipped, finished too early, a hung pipe: said once, with what to do."""
    told = played(incident_db, name)
    found = [alarm for alarm in told.alarms if alarm.code == code]
    assert len(found) == 1
    assert found[0].stop is stop
    assert found[0].do
    line = pages_watch.warn(found[0])
    assert line.startswith("STOP: " if stop else "LOOK: ")
    if name.startswith("m2-backward"):
        assert "do not press Start" in line
        assert "900" in line
        assert "would be mailed again" in line


def resumed(incident_db: IncidentDatabases, tmp_path: Path, steps: list[tuple[str, int, int]]) -> Told:
    """Repair a stopped campaign, press Start, and watch the steps: status, sent more, people taken.

    -1 sent: whoever is left; -1 people: the cursor goes to the very beginning.
    """
    dsn = incident_db("crashed-down-v6.2.0")
    options = ["--prefer", "no-gaps", "--apply", "--yes", "--undo-out", str(tmp_path), "--app-stopped"]
    done = CliRunner().invoke(app, ["repair", "2", "--dsn", dsn, *options])
    assert done.exit_code == 0, done.output
    told = Told()
    with opened(Where(dsn, None, (), None, 60.0)) as database, psycopg.connect(dsn, autocommit=True) as conn:
        watch = Watch(expected(database, 2), Growing(2))
        assert watch.expected.source.startswith("the price of run")
        follower = Follower(database, {2: watch}, None, told)
        start = watch.expected.cursor
        people = sorted(watch.expected.audience or ())
        ahead = [person for person in people if person > start]
        done_so_far = 0
        for number, (status, more, taken) in enumerate(steps):
            sent = len(ahead) - done_so_far if more < 0 else more
            done_so_far += sent
            cursor = people[0] if taken < 0 else (ahead[taken - 1] if taken else start)
            conn.execute(
                "UPDATE campaigns SET status = %s, sent = sent + %s, last_subscriber_id = %s, updated_at = "
                "CASE WHEN last_subscriber_id <> %s OR status::text <> %s THEN now() ELSE updated_at END WHERE id = 2",
                (status, sent, cursor, cursor, status),
            )
            with snapshot(conn, schema="public") as cur:
                seen = look(cur, [2], settings=True)
            at = seen.at + timedelta(seconds=5 * number)
            follower._take(replace(seen, at=at, pace=replace(seen.pace, at=at) if seen.pace else None))
    return told


GOOD = [("paused", 0, 0), ("running", 0, 0), ("running", 0, 500), ("running", 250, 500), ("running", 250, 1000)]


def test_a_good_resume_after_a_repair_is_silent(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """Predicted by the price in the journal, sent as predicted: no alarm."""
    told = resumed(incident_db, tmp_path, [*GOOD, ("running", 250, 1000), ("finished", -1, 1000)])
    assert told.alarms == []


def test_a_cursor_that_goes_back_after_a_repair_is_an_alarm(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """It was set to the beginning: Stop, with how many are mailed a second time."""
    told = resumed(incident_db, tmp_path, [*GOOD, ("running", 250, -1)])
    assert [alarm.code for alarm in told.alarms] == ["went-back"]
    assert told.alarms[0].stop
    assert told.alarms[0].do == "press Pause"
    assert "are mailed a second time" in told.alarms[0].what


def test_more_mails_than_could_be_is_an_alarm(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """The counter passes what Start could send: somebody gets it twice."""
    told = resumed(incident_db, tmp_path, [*GOOD, ("running", 5000, 1000)])
    assert [alarm.code for alarm in told.alarms] == ["too-many"]
    assert told.alarms[0].stop


def watching(dsn: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the real command."""
    return subprocess.Popen(
        [sys.executable, "-m", "listmonk_doctor", "watch", *arguments],
        env={**os.environ, "LISTMONK_DOCTOR_DSN": dsn},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def schema() -> dict[str, Any]:
    """Return the published schema of a line."""
    found: dict[str, Any] = json.loads((files("listmonk_doctor") / "schemas" / "watch.schema.json").read_text())
    return found


def test_each_json_line_keeps_the_contract(incident_db: IncidentDatabases) -> None:
    """Begin, change, lost, back and end are objects of their own, each valid by the schema."""
    dsn = incident_db("crashed-down-v6.2.0")
    watch = watching(dsn, "2", "--for", "9", "--every", "0.2", "--format", "json")
    ours = "application_name = 'listmonk-doctor' AND datname = current_database()"
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert watch.stdout is not None
        lines = [watch.stdout.readline()]
        conn.execute("UPDATE campaigns SET sent = sent + 1 WHERE id = 2")
        time.sleep(0.5)
        conn.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")  # noqa: S608 - constant
    rest, _ = watch.communicate(timeout=60)
    lines += rest.splitlines()
    documents = [json.loads(line) for line in lines]
    assert [each["event"] for each in documents] == ["begin", "change", "lost", "back", "end"]
    validator = jsonschema.Draft202012Validator(schema())
    jsonschema.Draft202012Validator.check_schema(schema())
    for document in documents:
        validator.validate(document)
        for key in document:
            assert not validator.is_valid({name: value for name, value in document.items() if name != key}), key
    assert documents[1]["campaign"]["sent"] == documents[0]["campaign"]["sent"] + 1
    assert documents[0]["predicted"]["would_mail"][1] > 0


def test_it_reads_only_and_holds_nothing_open(incident_db: IncidentDatabases) -> None:
    """No row is written, and no transaction of its is ever older than a second."""
    dsn = incident_db("crashed-down-v6.2.0")
    watch = watching(dsn, "2", "--for", "4", "--every", "0.2")
    open_ones = (
        "SELECT count(*) FILTER (WHERE now() - xact_start > interval '1 s'), count(*) FROM pg_stat_activity "
        "WHERE application_name = 'listmonk-doctor' AND datname = current_database()"
    )
    with psycopg.connect(dsn, autocommit=True) as conn:
        before = conn.execute("SELECT xmin::text, c::text FROM campaigns c ORDER BY id").fetchall()
        seen = 0
        while watch.poll() is None:
            ((long, there),) = conn.execute(open_ones).fetchall()
            assert long == 0
            seen += there
            time.sleep(0.05)
        watch.communicate()
        assert conn.execute("SELECT xmin::text, c::text FROM campaigns c ORDER BY id").fetchall() == before
    assert seen
    assert watch.returncode == 0


def test_it_ends_by_itself_when_the_campaign_has_ended(incident_db: IncidentDatabases) -> None:
    """A finished row that nothing writes any more is watched for two missed heartbeats, and no longer."""
    began = time.monotonic()
    watch = watching(incident_db("kill9-v6.2.0"), "2")
    said, errors = watch.communicate(timeout=60)
    assert watch.returncode == 0, errors
    assert 10 < time.monotonic() - began < 40
    first, *_, last = said.splitlines()
    assert last.endswith("end of the watch")
    assert last[:8] != first[:8]  # the moment of the last look, not that of the last change
    assert f"last written {first[:8]}" in last


def test_what_to_watch_must_be_said(incident_db: IncidentDatabases) -> None:
    """Neither a campaign nor --all-running, both, CSV, or nothing that runs: a sentence and exit code 2."""
    dsn = incident_db("kill9-v6.2.0")
    for arguments in ((), ("2", "--all-running"), ("2", "--format", "csv"), ("--all-running",)):
        done = CliRunner().invoke(app, ["watch", *arguments, "--dsn", dsn])
        assert done.exit_code == 2, arguments


def test_a_page_for_a_terminal_shows_predicted_and_actual(incident_db: IncidentDatabases) -> None:
    """The page names the price, what was counted since, what is left, the rate, the end and the heartbeat."""
    dsn = incident_db("crashed-down-v6.2.0")
    with opened(Where(dsn, None, (), None, 60.0)) as database:
        watch = Watch(expected(database, 2), Growing(2))
        with snapshot(database.conn, schema="public") as cur:
            watch.grown.add(look(cur, [2], settings=True))
    drawn = terminal.render(pages_watch.page(watch, "flight.db"), {"NO_COLOR": "1"}, 120)
    for words in ("500 of 1,500", "should be mailed", "mailed twice 0", "500 people", "heartbeat", "flight.db"):
        assert words in drawn


def test_no_end_is_reckoned_where_nobody_writes_the_row(incident_db: IncidentDatabases) -> None:
    """A running campaign without three heartbeats ends at no time, instead of ever later."""
    dsn = incident_db("crashed-down-v6.2.0")
    with opened(Where(dsn, None, (), None, 60.0)) as database:
        watch = Watch(expected(database, 2), Growing(2))
        with snapshot(database.conn, schema="public") as cur:
            seen = look(cur, [2], settings=True)
        watch.grown.add(seen)
        assert pages_watch.ends(watch) is not None
        for seconds in range(1, 20):
            watch.grown.add(replace(seen, at=seen.at + timedelta(seconds=seconds)))
        assert pages_watch.ends(watch) is None
