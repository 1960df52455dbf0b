"""A check that fails is never taken for one that found nothing, whatever command ran it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.diagnosis import scan
from listmonk_doctor.diagnosis.catalogue import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    Break = Callable[[str], None]

BROKEN = b"SELECT 1 / (id - id) FROM campaigns;\n"
SAID = "the check LM109 failed, so what it finds is not known: division by zero"


@pytest.fixture
def break_check(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Give one check of the catalogue a statement that the server refuses."""

    def broken(code: str) -> None:
        checks = tuple(each._replace(sql=BROKEN) if each.code == code else each for each in catalogue())
        assert checks != catalogue()
        monkeypatch.setattr(scan, "catalogue", lambda: checks)

    return broken


def run(dsn: str, *arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, [*arguments, "--dsn", dsn])


@pytest.mark.parametrize("style", ["plain", "json", "csv"])
def test_examine_says_which_check_failed(incident_db: Callable[[str], str], break_check: Break, style: str) -> None:
    """On stderr in any format and in the JSON; the exit code is 3 although there are findings."""
    dsn = incident_db("seed-v4.1.0")
    assert run(dsn, "examine", "2").stderr == ""
    break_check("LM109")
    result = run(dsn, "examine", "2", "--format", style)
    assert result.exit_code == 3
    assert SAID in result.stderr
    if style == "json":
        document = json.loads(result.stdout)
        assert document["failed"] == [{"code": "LM109", "because": "division by zero"}]
        assert [each["code"] for each in document["findings"]] == ["LM103"]


def test_a_repair_of_what_was_found_is_not_the_whole_job(
    incident_db: Callable[[str], str], break_check: Break, tmp_path: Path
) -> None:
    """Dry run, script and --apply do what can be done, say what could not be checked, and exit 3."""
    dsn = incident_db("seed-v4.1.0")
    break_check("LM109")
    for arguments in (["repair"], ["repair", "--format", "json"], ["repair", "--sql"]):
        result = run(dsn, *arguments)
        assert result.exit_code == 3, arguments
        assert SAID in result.stderr
        assert "rewind" in result.stdout
    assert json.loads(run(dsn, "repair", "--format", "json").stdout)["failed"][0]["code"] == "LM109"
    applied = run(dsn, "repair", "--apply", "--yes", "--undo-out", str(tmp_path))
    assert applied.exit_code == 3
    assert SAID in applied.stderr
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT status::text FROM campaigns WHERE id = 2").fetchone() == ("paused",)


def test_no_finding_with_a_failed_check_is_no_clean_bill(incident_db: Callable[[str], str], break_check: Break) -> None:
    """`repair` without a campaign exits 3, and 0 once the check is whole again."""
    dsn = incident_db("many-small-v5.0.3")
    assert run(dsn, "repair").exit_code == 0
    break_check("LM109")
    result = run(dsn, "repair")
    assert result.exit_code == 3
    assert "as far as could be checked" in result.stdout
    assert SAID in result.stderr


def test_a_named_campaign_is_repaired_without_the_checks(incident_db: Callable[[str], str], break_check: Break) -> None:
    """Who names the campaign needs no scan."""
    dsn = incident_db("seed-v4.1.0")
    break_check("LM109")
    assert run(dsn, "repair", "2").exit_code == 4
