"""The commands that take a recording: used where it fits, refused in one sentence where it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.demo.recording import open_recording
from tests.support.replaying import Replay

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.databases import IncidentDatabases


def recorded(incident_db: IncidentDatabases, name: str, file: Path) -> str:
    """Load a recording, replay it under the recorder, and return the DSN."""
    dsn = incident_db(name)
    Replay(dsn, open_recording(name), incident_db.loaded(dsn).shift).record(file)
    return dsn


def run(dsn: str, *arguments: str) -> Any:
    """Run the command line in this process."""
    return CliRunner().invoke(app, [*arguments, "--dsn", dsn])


def test_examine_tells_what_was_recorded(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """The page says when the sender died and where the hole begins; the JSON has the lives, and ids when asked."""
    file = tmp_path / "flight"
    dsn = recorded(incident_db, "kill9-v6.2.0", file)
    page = run(dsn, "examine", "2", "--no-look", "--recorded", str(file), "--format", "plain")
    assert "Recorded: the sender died between" in page.stdout
    assert "What it lost ends at id 3,642" in page.stdout
    assert f"The price rests on {file}" in page.stdout
    said = json.loads(
        run(dsn, "examine", "2", "--no-look", "--ids", "--recorded", str(file), "--format", "json").stdout
    )
    assert [life["end"] for life in said["recorded"]["lives"]] == ["died", "closed"]
    (hole,) = said["recorded"]["holes"]
    assert hole["certain"]
    assert hole["last_id"] == 3642
    assert hole["surely"]["count"] == said["recipients"]["not_mailed"]["count"]
    assert hole["surely"]["ids"].endswith("3642")
    bare = json.loads(run(dsn, "examine", "2", "--no-look", "--format", "json").stdout)
    assert bare["recorded"] is None


def test_repair_prices_and_writes_by_the_recording(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """With it fewer are mailed twice, and presumably nobody is missed; applied, it is priced in the same way."""
    file = tmp_path / "flight"
    dsn = recorded(incident_db, "kill9-v6.2.0", file)
    asked = ("repair", "2", "--strategy", "rewind", "--prefer", "no-gaps", "--no-look", "--format", "json")
    (by_row,) = json.loads(run(dsn, *asked).stdout)["campaigns"]
    (told,) = json.loads(run(dsn, *asked, "--recorded", str(file)).stdout)["campaigns"]
    assert told["price"]["duplicates"][1] < by_row["price"]["duplicates"][1]
    assert told["price"]["presumably"]["missed"] == [0, 0]
    words = ("--recorded", str(file), "--apply", "--yes", "--undo-out", str(tmp_path))
    done = run(dsn, *asked[:6], *words)
    assert done.exit_code == 0, done.output
    with psycopg.connect(dsn) as conn:
        (row,) = conn.execute("SELECT status::text, last_subscriber_id FROM campaigns WHERE id = 2").fetchall()
    assert row == ("paused", told["changes"][0]["after"]["last_subscriber_id"])


@pytest.mark.parametrize("command", ["examine", "repair"])
def test_a_recording_that_does_not_fit_is_refused(incident_db: IncidentDatabases, tmp_path: Path, command: str) -> None:
    """Of another database, of another campaign, no recording at all, or contradicted by the row."""
    file = tmp_path / "flight"
    dsn = recorded(incident_db, "kill9-v6.2.0", file)
    other = incident_db("seed-v4.1.0")
    done = run(other, command, "2", "--no-look", "--recorded", str(file))
    assert done.exit_code == 2
    assert "is of another database" in done.stderr
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE campaigns SET started_at = started_at - interval '1 day' WHERE id = 2")
        done = run(dsn, command, "2", "--no-look", "--recorded", str(file))
        assert done.exit_code == 3
        assert "was started at another time than was recorded" in done.stderr
        conn.execute("UPDATE campaigns SET uuid = gen_random_uuid() WHERE id = 2")
    done = run(dsn, command, "2", "--no-look", "--recorded", str(file))
    assert done.exit_code == 2
    assert "does not hold this campaign" in done.stderr
    (tmp_path / "text").write_text("hello", encoding="utf-8")
    for path, words in ((tmp_path / "text", "cannot be used"), (tmp_path / "none", "there is no such file")):
        done = run(dsn, command, "2", "--no-look", "--recorded", str(path))
        assert done.exit_code == 2
        assert words in done.stderr


def test_an_edit_since_the_recording_leaves_it_whole(incident_db: IncidentDatabases, tmp_path: Path) -> None:
    """A new name makes a new version of the row, but its progress is as it was seen: nothing was sent since."""
    file = tmp_path / "flight"
    dsn = recorded(incident_db, "kill9-v6.2.0", file)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE campaigns SET name = 'Renamed', updated_at = now() WHERE id = 2")
    said = json.loads(run(dsn, "examine", "2", "--no-look", "--recorded", str(file), "--format", "json").stdout)
    assert said["recorded"]["complete"]
    assert said["recipients"]["not_mailed"]["count"] > 250
