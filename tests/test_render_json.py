"""The machine-readable output is what the published schemas promise, on recorded accidents."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.render import json_

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMANDS = ("scan", "examine", "repair", "undo", "history", "checks", "explain")
RECORDINGS = (
    "seed-v4.1.0",
    "kill9-v6.2.0",
    "deleted-list-v6.0.0",
    "scheduled-nobody-v4.1.0",
    "blockrun-v3.0.0",
    "kill9-after-finish-v2.5.1",
    "healthy-v6.2.0",
)
EXAMINE_KEYS = [
    "schema",
    "command",
    "advice",
    "campaign",
    "pipe",
    "verdict",
    "account",
    "causes",
    "assumptions",
    "recipients",
    "strategies",
]


def schema(command: str) -> dict[str, Any]:
    """Return a published schema."""
    found: dict[str, Any] = json.loads((files("listmonk_doctor") / "schemas" / f"{command}.schema.json").read_text())
    return found


def said(command: str, dsn: str, *arguments: str) -> Any:
    """Run a command with --format json, validate what it prints, and return it."""
    result = CliRunner().invoke(app, [command, *arguments, "--dsn", dsn, "--format", "json"])
    assert result.exit_code in (0, 1, 3, 4), result.output
    document = json.loads(result.stdout)
    jsonschema.validate(document, schema(command), jsonschema.Draft202012Validator)
    return document


@pytest.mark.parametrize("command", COMMANDS)
def test_each_schema_is_a_schema(command: str) -> None:
    """Each published schema is valid by draft 2020-12 and names its command."""
    published = schema(command)
    jsonschema.Draft202012Validator.check_schema(published)
    assert published["properties"]["command"] == {"const": command}
    assert published["properties"]["schema"] == {"const": json_.SCHEMA}


@pytest.mark.parametrize("recording", RECORDINGS)
def test_scan_and_examine_keep_the_contract(recording: str, incident_db: Callable[[str], str]) -> None:
    """Every campaign of the recordings, with and without ids."""
    dsn = incident_db(recording)
    assert list(said("scan", dsn)) == ["schema", "command", "listmonk", "findings", "skipped", "failed"]
    for campaign in open_recording(recording).incident["campaigns"]:
        document = said("examine", dsn, campaign, "--ids", "--no-look")
        assert list(document)[: len(EXAMINE_KEYS)] == EXAMINE_KEYS
        assert [cause["code"] for cause in document["causes"]] == [f"M{number}" for number in range(1, 19)]
        for group in document["recipients"].values():
            assert members(group["ids"]) == group["count"]
        bare = said("examine", dsn, campaign, "--no-look")
        assert {name: group["count"] for name, group in bare["recipients"].items()} == {
            name: group["count"] for name, group in document["recipients"].items()
        }
        assert all(group["ids"] is None for group in bare["recipients"].values())


def members(ids: str) -> int:
    """Count the integers of a range string."""
    parts = [part.partition("-") for part in ids.split(",") if part]
    return sum(int(last or first) - int(first) + 1 for first, _, last in parts)


@pytest.mark.parametrize("recording", RECORDINGS)
def test_repair_keeps_the_contract(recording: str, incident_db: Callable[[str], str]) -> None:
    """A dry run says per campaign what would change or why nothing is done; it has no run."""
    dsn = incident_db(recording)
    for campaign in open_recording(recording).incident["campaigns"]:
        document = said("repair", dsn, campaign, "--no-look")
        assert document["run"] is None
        (one,) = document["campaigns"]
        assert one["applied"] is False
        assert one["campaign"]["id"] == int(campaign)
        assert one["changes"] or one["refused"] or one["strategy"] == "nothing"
    said("repair", dsn)


def test_a_run_and_its_undo_keep_the_contract(incident_db: Callable[[str], str], tmp_path: Path) -> None:
    """Applied, listed and taken back, each with the run's id."""
    dsn = incident_db("paused-killed-v5.0.3")
    repaired = said("repair", dsn, "2", "--apply", "--yes", "--undo-out", str(tmp_path))
    assert repaired["applied"] is True
    assert repaired["campaigns"][0]["applied"] is True
    undone = said("undo", dsn, repaired["run"], "--apply", "--yes")
    assert undone["of_run"] == repaired["run"]
    assert undone["campaigns"][0]["applied"] is True
    (after, before) = (undone["campaigns"][0]["changes"][0]["after"], repaired["campaigns"][0]["changes"][0]["before"])
    assert after == before
    runs = said("history", dsn)["runs"]
    assert [each["run"] for each in runs] == [undone["run"], repaired["run"]]
    assert [each["undone_by"] for each in runs] == [None, undone["run"]]


def test_checks_and_explain_keep_the_contract() -> None:
    """No database is needed."""
    for arguments in (["checks"], ["explain", "LM101"]):
        result = CliRunner().invoke(app, [*arguments, "--format", "json"])
        assert result.exit_code == 0
        document = json.loads(result.stdout)
        jsonschema.validate(document, schema(arguments[0]), jsonschema.Draft202012Validator)


def test_text_beyond_ascii_is_escaped_and_addresses_are_masked() -> None:
    """No control character, no bidi mark and no address reaches a terminal raw, and the JSON reads back."""
    raw = {"name": "\u202e jane.doe@example.com\x1b[2J", "path": [1, None, True, 2.5]}
    written = json_.dumps(raw)
    assert written.isascii()
    assert "\x1b" not in written
    assert json.loads(written) == {"name": "\u202e j***@example.com\x1b[2J", "path": [1, None, True, 2.5]}
