"""The command timeline, on a real log: told, saved, used by examine and repair, and refused in one sentence."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema
import psycopg
import pytest
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.postgres import Server, throwaway
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.errors import DoctorError
from listmonk_doctor.timeline.look import identity, look
from listmonk_doctor.timeline.recorder import Recorder
from listmonk_doctor.timeline.recording import read_recording
from tests.conftest import BIN_VARIABLE, memory
from tests.support.databases import Databases, IncidentDatabases
from tests.support.replaying import Replay
from tests.test_hostile_names import NAMES, harmless, rename

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "kill9-v6.2.0"
AS_SHIPPED = {"full_page_writes": "on", "wal_level": "replica", "max_wal_senders": "10", "autovacuum": "off"}
ROLES = """
CREATE ROLE plain LOGIN;
CREATE ROLE allowed LOGIN;
GRANT pg_monitor TO allowed;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO allowed;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain, allowed;
"""
FRESH = """
UPDATE campaigns SET status = 'running', sent = 0, to_send = 0, last_subscriber_id = 0, max_subscriber_id = 0,
                     started_at = NULL, updated_at = now() WHERE id = 2
"""
TOUCH = "UPDATE campaigns SET updated_at = now() WHERE id = 2"
PICK_UP = """
UPDATE campaigns SET to_send = 1400, max_subscriber_id = 4644, started_at = COALESCE(started_at, now()) WHERE id = 2
"""
FETCH = "UPDATE campaigns SET last_subscriber_id = {}, updated_at = now() WHERE id = 2"
FLUSH = "UPDATE campaigns SET sent = sent + {} WHERE id = 2"
FINISH = "UPDATE campaigns SET sent = sent + 150, status = 'finished', updated_at = now() WHERE id = 2"
ACCIDENT = (
    (0.0, PICK_UP),
    (0.02, FETCH.format(2309)),
    (5.0, FLUSH.format(250)),
    (7.0, FETCH.format(3642)),
    (10.0, FLUSH.format(250)),
    (18.3, PICK_UP),  # the process of before was killed, and another one has started
    (18.32, FETCH.format(4644)),
    (23.3, FLUSH.format(250)),
    (24.5, FINISH),
)
"""What a listmonk 6.2.0 writes that is killed at about 12 s and started again: seconds, statement."""


class World(NamedTuple):
    """A server with the settings that PostgreSQL is shipped with, and the accident in a database of it."""

    server: Server
    made: IncidentDatabases
    dsn: str
    flight: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Let the accident happen in real time, which is what the log keeps."""
    named = os.environ.get(BIN_VARIABLE)
    with throwaway(bin_folder=Path(named) if named else None, settings=AS_SHIPPED, parent=memory()) as server:
        made = IncidentDatabases(Databases(server))
        loaded = made(NAME, fresh=True)
        with psycopg.connect(loaded, autocommit=True) as conn:
            conn.execute(ROLES.encode())
            conn.execute(FRESH)
            template = conn.info.dbname
        # A copy has none of what was written to its template in its own log.
        dsn = server.dsn(made.databases.create(template))
        with psycopg.connect(dsn, autocommit=True) as conn:
            flight = tmp_path_factory.mktemp("flight") / "flight.db"
            conn.execute(TOUCH)
            happen(conn, flight)
        yield World(server, made, dsn, flight)


def happen(conn: psycopg.Connection[Any], flight: Path) -> None:
    """Write what the accident's listmonk wrote, at its moments, and look once a second as `watch --record` does."""
    with snapshot(conn, schema="public") as cursor:
        recorder = Recorder(flight, identity(cursor))
    began, steps = time.monotonic(), list(ACCIDENT)
    with recorder:
        for tick in range(27):
            while steps and steps[0][0] <= tick + 0.5:
                at, statement = steps.pop(0)
                time.sleep(max(0.0, began + at - time.monotonic()))
                conn.execute(statement.encode())
            time.sleep(max(0.0, began + tick + 0.5 - time.monotonic()))
            with snapshot(conn, schema="public") as cursor:
                recorder.add(look(cursor, [2], settings=True))


def run(dsn: str | None, *arguments: str, **environ: str) -> Any:
    """Run the command line in this process, with the log allowed."""
    where = ("--dsn", dsn) if dsn is not None else ()
    return CliRunner().invoke(app, [*arguments, *where], env={"LISTMONK_DOCTOR_TIMELINE": "auto", **environ})


def document(dsn: str | None, *arguments: str) -> Any:
    """Run a command that prints JSON."""
    done = run(dsn, *arguments, "--format", "json")
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


def schema() -> Any:
    """Return the published schema."""
    return json.loads((files("listmonk_doctor") / "schemas" / "timeline.schema.json").read_text())


def as_role(world: World, role: str) -> str:
    """Return the DSN of the accident for another role."""
    return psycopg.conninfo.make_conninfo(world.dsn, user=role)


def test_the_log_tells_when_the_sender_died(world: World) -> None:
    """Nobody recorded anything: the batches, the counts, the death and the pick-up are told, with moments."""
    page = run(world.dsn, "timeline", "2", "--format", "plain").stdout
    assert "the sender died once" in page
    for words in ("a batch up to id 2,309 was taken", "250 sent", "the sender died", "The log", "reaches back to"):
        assert words in page
    assert "wal_keep_size" in page
    assert "Mails counted, and the cursor" not in page  # the chart is for a terminal
    said = document(world.dsn, "timeline", "2")
    jsonschema.validate(said, schema(), jsonschema.Draft202012Validator)
    sent = [each["sent"] for each in said["versions"]]
    assert sent == [0, 0, 0, 250, 250, 500, 500, 500, 750, 900]
    assert {each["source"] for each in said["versions"]} == {"log"}
    assert all(each["committed_after"] == each["committed_by"] and each["lsn"] for each in said["versions"])
    assert [life["end"] for life in said["lives"]] == ["died", "closed"]
    again = next(index for index, each in enumerate(sent) if each == 500) + 1
    assert said["versions"][again]["kind"] == "picked-up"
    assert said["reach"]["segments"] >= 1
    assert said["reach"]["left_seconds"] > 0


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_gets_a_chart_that_fits(world: World, width: int) -> None:
    """However wide it is: the chart with the death in it, and no line of it is folded or cut."""
    drawn = run(world.dsn, "timeline", "2", "--format", "terminal", COLUMNS=str(width), NO_COLOR="1").stdout
    lines = drawn.splitlines()
    assert all(len(line) <= width for line in lines if not line.startswith("    $") and "$ listmonk" not in line)
    begin = lines.index("  Mails counted, and the cursor")
    chart = lines[begin + 1 : begin + 9]
    assert all(line.count("|") == 2 for line in chart)
    assert chart[0].split("|")[0].strip() == "900"
    assert chart[0].split("|")[2].strip() == "4,644"
    assert "x" in lines[begin + 9]


def test_csv_has_every_version(world: World) -> None:
    """One line each, which a spreadsheet can read."""
    rows = list(csv.DictReader(io.StringIO(run(world.dsn, "timeline", "2", "--format", "csv").stdout)))
    assert [row["kind"] for row in rows].count("batch") == 3
    assert rows[-1]["status"] == "finished"


def test_what_was_saved_is_read_as_a_recording(world: World, tmp_path: Path) -> None:
    """The file is private, tells the same without a database, and examine goes by it."""
    file = tmp_path / "how.db"
    said = document(world.dsn, "timeline", "2", "--save", str(file))
    assert said["saved"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for wanted in ("2", said["campaign"]["uuid"], said["campaign"]["name"], said["campaign"]["name"][:4].lower()):
        again = document(None, "timeline", wanted, "--recorded", str(file))
        jsonschema.validate(again, schema(), jsonschema.Draft202012Validator)
        assert again["reach"] is None
        for key in ("moments", "lives", "from_start"):
            assert again[key] == said[key]
        assert [each["lsn"] for each in again["versions"]] == [each["lsn"] for each in said["versions"]]
    for option in ("--recorded", "--timeline"):
        told = document(world.dsn, "examine", "2", "--no-look", option, str(file))
        assert [life["end"] for life in told["recorded"]["lives"]] == ["died", "closed"]
        (hole,) = told["recorded"]["holes"]
        assert hole["last_id"] == 3642
        assert hole["surely"]["count"] > 0


def test_saving_again_and_to_a_recording_merges(world: World, tmp_path: Path) -> None:
    """What was recorded stays, each version is there once, and the exact moments win."""
    file = tmp_path / "flight"
    file.write_bytes(world.flight.read_bytes())
    (recorded,) = read_recording(file)[1]
    assert len(recorded.versions) > 5
    assert not any(each.dated for each in recorded.versions[1:])
    for _ in range(2):
        done = run(world.dsn, "timeline", "2", "--save", str(file))
        assert done.exit_code == 0, done.output
        (merged,) = read_recording(file)[1]
        assert {each.xmin for each in recorded.versions} <= {each.xmin for each in merged.versions}
        assert len({each.xmin for each in merged.versions}) == len(merged.versions)
        assert {each.source for each in merged.versions} == {"log"}
        assert all(each.dated for each in merged.versions)
        assert merged.sessions == recorded.sessions
        assert set(recorded.paces) <= set(merged.paces)
    with closing(sqlite3.connect(file)) as base:
        assert base.execute("SELECT count(*) FROM stretch").fetchone() == (2,)
    both = document(world.dsn, "examine", "2", "--no-look", "--recorded", str(world.flight))
    assert both["recorded"]["file"] == f"{world.flight} and the log"
    assert [life["end"] for life in both["recorded"]["lives"]][:2] == ["died", "closed"]


def test_a_recording_that_the_log_contradicts_is_not_written_to(world: World, tmp_path: Path) -> None:
    """Played again, the same versions have other times: refused, and the file is as it was."""
    dsn, file = world.made(NAME, fresh=True), tmp_path / "flight"
    Replay(dsn, open_recording(NAME), world.made.loaded(dsn).shift).record(file)
    before = read_recording(file)
    done = run(dsn, "timeline", "2", "--save", str(file))
    assert done.exit_code == 3
    assert "contradict" in done.stderr
    assert read_recording(file) == before
    said = document(dsn, "examine", "2", "--no-look", "--recorded", str(file))
    assert said["recorded"]["file"] == str(file)


def test_nothing_else_is_written_over(world: World, tmp_path: Path) -> None:
    """A text, another program's database and a recording of another listmonk stay as they are."""
    text, foreign, other = tmp_path / "text", tmp_path / "foreign", tmp_path / "other"
    text.write_text("hello", encoding="utf-8")
    with closing(sqlite3.connect(foreign)) as base:
        base.execute("CREATE TABLE mine (x)")
    elsewhere = world.made("seed-v4.1.0", fresh=True)
    with psycopg.connect(elsewhere, autocommit=True) as conn:
        conn.execute("UPDATE campaigns SET sent = sent + 1 WHERE id = 2")
    assert run(elsewhere, "timeline", "2", "--save", str(other)).exit_code == 0
    for file, words in ((text, "cannot be used"), (foreign, "not a recording"), (other, "is of another database")):
        before = file.read_bytes()
        done = run(world.dsn, "timeline", "2", "--save", str(file))
        assert done.exit_code == 2
        assert words in done.stderr
        assert file.read_bytes() == before


def test_examine_uses_the_log_by_itself_and_says_to_save_it(world: World) -> None:
    """With it the hole is known and the first advice is to keep it; off, nothing is heard of it."""
    said = document(world.dsn, "examine", "2", "--no-look")
    assert said["advice"][0].startswith(
        "The log still holds how it happened; save it first: `listmonk-doctor timeline 2"
    )
    assert "left at the present rate" in said["advice"][0]
    assert said["recorded"]["file"] == "the log"
    bare = document(world.dsn, "examine", "2", "--no-look", "--timeline", "off")
    assert bare["recorded"] is None
    assert said["recipients"]["unknown"]["count"] < bare["recipients"]["unknown"]["count"]


def test_repair_prices_and_writes_by_the_log(world: World, tmp_path: Path) -> None:
    """What was shown is what is written, and a plan that was made without the log is applied as it was priced."""
    asked = ("repair", "2", "--strategy", "rewind", "--prefer", "no-gaps", "--no-look")
    bare = run(world.dsn, *asked, "--timeline", "off", "--format", "json")
    told = run(world.dsn, *asked, "--format", "json")
    (by_row,), (by_log,) = json.loads(bare.stdout)["campaigns"], json.loads(told.stdout)["campaigns"]
    assert by_log["price"]["duplicates"][1] < by_row["price"]["duplicates"][1]
    plan = tmp_path / "plan.json"
    assert run(world.dsn, *asked, "--timeline", "off", "--plan-out", str(plan)).exit_code == 4
    options = ("--apply", "--yes", "--undo-out", str(tmp_path), "--app-stopped")
    try:
        for words in (("repair", "--plan", str(plan)), asked):
            done = run(world.dsn, *words, *options)
            assert done.exit_code == 0, done.output
            undone = run(world.dsn, "undo", "--apply", "--yes", "--app-stopped")
            assert undone.exit_code == 0, undone.output
    finally:
        with psycopg.connect(world.dsn, autocommit=True) as conn:
            ((status, cursor),) = conn.execute("SELECT status::text, last_subscriber_id FROM campaigns WHERE id = 2")
    assert (status, cursor) == ("finished", 4644)


def test_a_plan_that_was_priced_by_a_log_that_is_gone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused and writes nothing, as the price is another without the log; with the saved log it is applied."""
    from listmonk_doctor.timeline.wal import history

    asked = ("repair", "2", "--strategy", "rewind", "--prefer", "no-gaps", "--no-look")
    plan, kept = tmp_path / "plan.json", tmp_path / "how.db"
    options = ("--apply", "--yes", "--undo-out", str(tmp_path), "--app-stopped")
    assert run(world.dsn, "timeline", "2", "--save", str(kept)).exit_code == 0
    assert run(world.dsn, *asked, "--plan-out", str(plan)).exit_code == 4

    def gone(*_: Any, **__: Any) -> None:
        raise DoctorError("The log that is left holds nothing of campaign 2.")

    monkeypatch.setattr(history, "read_logs", gone)
    row = "SELECT xmin::text, last_subscriber_id FROM campaigns WHERE id = 2"
    with psycopg.connect(world.dsn, autocommit=True) as conn:
        before = conn.execute(row).fetchall()
        done = run(world.dsn, "repair", "--plan", str(plan), *options)
        assert (done.exit_code, "would change other columns or values now" in done.output) == (3, True)
        assert conn.execute(row).fetchall() == before
        done = run(world.dsn, "repair", "--plan", str(plan), "--recorded", str(kept), *options)
        assert done.exit_code == 0, done.output
        undone = run(world.dsn, "undo", "--apply", "--yes", "--app-stopped")
        assert undone.exit_code == 0, undone.output


def test_what_the_doctor_wrote_is_not_taken_for_listmonks_work(world: World, tmp_path: Path) -> None:
    """A repair and its undo are told as what they are: no batch, no mail, no count over a cursor, no cause of them."""
    kept = tmp_path / "how.db"
    assert run(world.dsn, "timeline", "2", "--save", str(kept)).exit_code == 0
    before, told = document(world.dsn, "examine", "2", "--no-look"), document(world.dsn, "timeline", "2")
    asked = ("repair", "2", "--strategy", "rewind", "--prefer", "no-gaps", "--no-look")
    done = run(world.dsn, *asked, "--apply", "--yes", "--undo-out", str(tmp_path), "--app-stopped")
    assert done.exit_code == 0, done.output
    undone = run(world.dsn, "undo", "--apply", "--yes", "--app-stopped")
    assert undone.exit_code == 0, undone.output
    after = document(world.dsn, "timeline", "2")
    more = after["versions"][len(told["versions"]) :]
    assert [each["kind"] for each in more] == ["repaired", "repaired"]
    assert all("listmonk-doctor, run " in each["what"] for each in more)
    assert after["lives"] == told["lives"]
    assert run(world.dsn, "timeline", "2", "--save", str(kept)).exit_code == 0
    for words in ((), ("--recorded", str(kept), "--timeline", "off")):
        again = document(world.dsn, "examine", "2", "--no-look", *words)
        assert again["recorded"]["holes"] == before["recorded"]["holes"]
        for one, other in zip(before["causes"], again["causes"], strict=True):
            assert (one["code"], one["standing"]) == (other["code"], other["standing"])
        for group in ("unknown", "not_mailed", "presumed_reached"):
            assert again["recipients"][group] == before["recipients"][group]


def test_who_may_not_read_the_journal_hears_nothing_of_the_log(world: World, tmp_path: Path) -> None:
    """What the doctor wrote could be taken for listmonk's work then: a line says so, and the row alone speaks."""
    options = ("--apply", "--yes", "--undo-out", str(tmp_path), "--app-stopped", "--no-look")
    assert run(world.dsn, "repair", "2", "--strategy", "rewind", "--prefer", "no-gaps", *options).exit_code == 0
    assert run(world.dsn, "undo", "--apply", "--yes", "--app-stopped").exit_code == 0
    said = document(as_role(world, "allowed"), "examine", "2", "--no-look")
    assert said["recorded"] is None
    assert any("this role may not read its journal" in each for each in said["unknowable"])


def test_a_log_in_which_nothing_moves_is_not_heard(world: World) -> None:
    """A table just loaded, a new name: the log holds versions of the row, but no progress, so the row alone speaks."""
    dsn = world.made(NAME, fresh=True)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE campaigns SET name = 'Renamed' WHERE id = 2")
    assert len(document(dsn, "timeline", "2")["versions"]) == 2
    assert document(dsn, "examine", "2", "--no-look")["recorded"] is None


def test_who_may_not_read_the_log_is_told_what_to_grant(world: World) -> None:
    """A plain role gets a sentence with the GRANTs and examine goes on without; one that has them reads it."""
    plain, allowed = as_role(world, "plain"), as_role(world, "allowed")
    done = run(plain, "timeline", "2")
    assert done.exit_code == 3
    assert "GRANT pg_monitor TO" in done.stderr
    assert "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO" in done.stderr
    said = document(plain, "examine", "2", "--no-look")
    assert said["recorded"] is None
    (helped,) = [each for each in said["unknowable"] if "What would have helped" in each]
    assert "GRANT EXECUTE ON FUNCTION pg_read_binary_file" in helped
    assert document(allowed, "timeline", "2")["lives"]


def test_a_log_that_cannot_be_used_never_stops_examine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, or broken in whatever way: one line says so, and the row alone is examined."""
    from listmonk_doctor.errors import RefusedError
    from listmonk_doctor.timeline.wal import history

    for error, words in ((RefusedError("It is foreign."), "It is foreign."), (IndexError(), "IndexError")):

        def fail(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr(history, "read_logs", fail)
        said = document(world.dsn, "examine", "2", "--no-look")
        assert said["recorded"] is None
        assert [each for each in said["unknowable"] if "The log could not be" in each and words in each]


def test_a_log_without_todays_row_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the row as it is now is not in it, nothing was held to what SELECT gives: the row alone speaks."""
    from listmonk_doctor.timeline.wal import history

    real = history.read_logs

    def behind(*said: Any, **more: Any) -> history.Log:
        log = real(*said, **more)
        lost = {
            each: replace(of, versions=(*of.versions[:-2], replace(of.versions[-2], until=of.versions[-2].before)))
            for each, of in log.timelines.items()
        }
        return replace(log, timelines=lost)

    assert document(world.dsn, "examine", "2", "--no-look")["recorded"] is not None
    monkeypatch.setattr(history, "read_logs", behind)
    said = document(world.dsn, "examine", "2", "--no-look")
    assert said["recorded"] is None
    assert any("nothing shows that it is read rightly" in each for each in said["unknowable"])


def test_wrong_words_are_one_sentence(world: World, tmp_path: Path) -> None:
    """No such campaign, in the database and in a file; no recording; no folder; options that contradict."""
    file = tmp_path / "how.db"
    assert run(world.dsn, "timeline", "2", "--save", str(file)).exit_code == 0
    wrong = (
        ((world.dsn, "timeline", "nobody"), "There is no campaign"),
        ((None, "timeline", "nobody", "--recorded", str(file)), "does not hold a campaign"),
        ((None, "timeline", "2", "--recorded", str(tmp_path / "none")), "there is no such file"),
        ((None, "timeline", "2", "--recorded", str(tmp_path)), "it is no file"),
        ((None, "timeline", "2", "--recorded", str(file), "--save", str(file)), "do not go with it"),
        ((world.dsn, "timeline", "2", "--wal", str(tmp_path / "none")), "There is no folder"),
        ((world.dsn, "timeline", "2", "--wal", str(tmp_path)), "holds no log segments"),
        ((world.dsn, "examine", "2", "--recorded", str(file), "--timeline", str(file)), "name a file each"),
    )
    for words, answer in wrong:
        done = run(*words)
        assert done.exit_code == 2, words
        assert answer in done.stderr, words
        assert "Traceback" not in done.stderr


def test_a_log_that_holds_nothing_of_a_campaign_says_so(world: World) -> None:
    """A copied table was never written to the log: no timeline, and what to do next time."""
    done = run(world.made(NAME), "timeline", "2")
    assert done.exit_code == 3
    assert "holds nothing of campaign 2" in done.stderr
    assert "watch --record" in done.stderr


def test_a_folder_of_segments_is_read_as_well(world: World) -> None:
    """--wal DIR: the server's own folder, read as files, tells the same."""
    with psycopg.connect(world.dsn) as conn:
        ((folder,),) = conn.execute("SHOW data_directory").fetchall()
    said = document(world.dsn, "timeline", "2", "--wal", f"{folder}/pg_wal")
    assert [life["end"] for life in said["lives"]][:2] == ["died", "closed"]


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_a_hostile_name_harms_nothing(world: World, tmp_path: Path, number: int) -> None:
    """Neither on a page, nor in JSON or CSV, nor out of a saved file."""
    dsn, file = world.made("deleted-list-v6.0.0", fresh=True), str(tmp_path / "how.db")
    rename(dsn, NAMES[number])
    for style in ("terminal", "plain", "json", "csv"):
        for done in (
            run(dsn, "timeline", "2", "--save", file, "-q", "--format", style, NO_COLOR="1"),
            run(None, "timeline", "2", "--recorded", file, "--format", style, NO_COLOR="1"),
        ):
            assert done.exit_code == 0, done.output
            assert harmless(done.stdout.replace("\r\n", "\n"))


def test_a_long_timeline_shows_what_matters(world: World) -> None:
    """Of hundreds of flushes the head, the tail and what stands out are shown; --all and JSON have every one."""
    dsn = world.made(NAME, fresh=True)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(FRESH)
        conn.execute(PICK_UP.encode())
        for number in range(150):
            conn.execute(FETCH.format(1000 + number).encode())
            conn.execute(FLUSH.format(2).encode())
            if number == 75:
                conn.execute("UPDATE campaigns SET status = 'paused', updated_at = now() WHERE id = 2")
                conn.execute("UPDATE campaigns SET status = 'running', updated_at = now() WHERE id = 2")
    short, whole = run(dsn, "timeline", "2").stdout, run(dsn, "timeline", "2", "--all").stdout
    assert len(short.splitlines()) < 90
    assert "running became paused" in short
    story = short.partition("Versions of the row")[0]
    assert story.index("it was paused") < story.rindex("it was started")
    assert "--all" in short
    assert len(whole.splitlines()) > 500
    assert len(document(dsn, "timeline", "2")["versions"]) > 300
