"""A campaign's name is untrusted text: it harms no terminal, no spreadsheet, no parser and no script."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from listmonk_doctor.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ISSUE = "[red]=cmd|' /C calc'!A0[/red]\x1b[2J"
NAMES = (
    ISSUE,
    "=cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0; =1+1",
    "two\nlines\r\n-- \\q\rDROP TABLE campaigns; --\t\u202etxt.exe\u200b\u2028",
    "$doctor$; DROP TABLE campaigns; $doctor$ '; DROP TABLE campaigns; --",
    "\\! touch /tmp/owned \\q %s %(x)s {0} {tag} :\"x\" :'y'",
    "jane.doe@example.com wants :warning: [link=file:///etc/passwd]this[/link] | `x` |",
    "\u65e5\u672c\u8a9e" * 400 + "\x9b31m\x07\x00".replace("\x00", ""),
    "1e5",
)


@pytest.fixture(params=range(len(NAMES)), ids=[f"name{number}" for number in range(len(NAMES))])
def named(request: pytest.FixtureRequest, incident_db: Callable[[str], str]) -> tuple[str, str]:
    """Give a database of an accident whose campaign and list have a hostile name: the DSN and the name."""
    dsn, name = incident_db("deleted-list-v6.0.0"), NAMES[request.param]
    rename(dsn, name)
    return dsn, name


def rename(dsn: str, name: str) -> None:
    """Give all campaigns and lists a name."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE campaigns SET name = %s", [name])
        conn.execute("UPDATE lists SET name = %s", [name])
        conn.execute("UPDATE campaign_lists SET list_name = %s", [name])


def run(dsn: str, *arguments: str, **environ: str) -> Any:
    """Run a command; stdout and stderr are looked at as bytes would reach a terminal."""
    result = CliRunner().invoke(app, [*arguments, "--dsn", dsn], env=environ)
    assert result.exit_code in (0, 1, 3, 4), result.output
    assert "bug" not in result.stderr
    return result


def harmless(text: str) -> bool:
    """Tell whether nothing but printable characters and line feeds is in a text."""
    return all(character == "\n" or character.isprintable() for character in text)


COMMANDS = (
    ["scan"],
    ["scan", "-q"],
    ["examine", "2", "--ids", "--no-look"],
    ["repair", "2", "--no-look"],
    ["repair", "2", "--strategy", "follow-up", "--no-look"],
    ["history"],
)


@pytest.mark.parametrize("width", ["80", "200"])
def test_no_control_character_and_no_markup_reaches_a_terminal(named: tuple[str, str], width: str) -> None:
    """With colours off nothing but printable text comes out, the brackets of the name among it."""
    dsn, name = named
    for command in COMMANDS:
        for style in ("terminal", "plain"):
            result = run(dsn, *command, "--format", style, NO_COLOR="1", COLUMNS=width)
            assert harmless(result.stdout), command
            assert harmless(result.stderr), command
            assert "jane.doe" not in result.output
            if name == ISSUE and command[0] != "history":
                assert "[red]=cmd|' /C calc'!A0[/red]\\x1b[2J" in result.stdout


def test_colours_are_ours_alone(named: tuple[str, str]) -> None:
    """With colours on, every escape sequence is one of colour."""
    import re

    dsn, _ = named
    for command in COMMANDS:
        drawn = run(dsn, *command, "--format", "terminal", FORCE_COLOR="1").stdout
        assert harmless(re.sub(r"\x1b\[[0-9;]*m", "", drawn))


def test_no_cell_is_a_formula(named: tuple[str, str]) -> None:
    """In all CSV, no cell begins with what a spreadsheet runs, numbers excepted, and lines stay lines."""
    dsn, _ = named
    for command in COMMANDS:
        written = run(dsn, *command, "--format", "csv").stdout
        assert harmless(written.replace("\r\n", "\n"))
        table = list(csv.reader(io.StringIO(written)))
        assert {len(row) for row in table} == {len(table[0])} if table else True
        for row in table:
            for cell in row:
                negative_number = cell[:1] == "-" and cell[1:].isdigit()
                assert cell.lstrip()[:1] not in set("=+-@\t\r") or negative_number, cell


def test_json_is_ascii_and_gives_the_name_back(named: tuple[str, str]) -> None:
    """A program reads the very name, but for masked addresses."""
    dsn, name = named
    for command in COMMANDS:
        written = run(dsn, *command, "--format", "json").stdout
        assert written.isascii()
        assert harmless(written)
        json.loads(written)
    if "@" not in name:
        assert json.loads(run(dsn, "examine", "2", "--format", "json").stdout)["campaign"]["name"] == name


def test_the_scripts_do_only_what_they_say(incident_db: Callable[[str], str], tmp_path: Path) -> None:
    """Psql runs the repair, then the undo: the tables are there, the row is as before, and no command was run.

    Their text holds no control character but line feeds and tabs, and no mark that turns the direction of writing.
    """
    from listmonk_doctor.demo.postgres import find_binaries

    psql = find_binaries() / "psql"
    if not psql.is_file():
        pytest.skip("these binaries bring no psql")
    dsn = incident_db("deleted-list-v6.0.0")
    name = "\n".join([*NAMES[:7], "\x07\x9b31m\u2066\u202d\U000e0041\\x41 ' \\0041"])
    rename(dsn, name)

    def state() -> list[tuple[Any, ...]]:
        with psycopg.connect(dsn, autocommit=True) as conn:
            rows = conn.execute("SELECT c::text FROM campaigns c ORDER BY id").fetchall()
            return rows + conn.execute("SELECT l::text FROM campaign_lists l ORDER BY id").fetchall()

    before = state()
    printed = run(dsn, "repair", "2", "--sql").stdout_bytes
    head, _, _ = printed.partition(b"\n\\set ON_ERROR_STOP")
    _, _, undo = printed.partition(b"\n\\q\n")
    for script, changed in ((printed, True), (undo, False)):
        ran = subprocess.run(
            [str(psql), "-X", "-f", "-", dsn],
            input=script,
            capture_output=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
        )
        assert ran.returncode == 0, ran.stderr
        assert (state() != before) == changed
    assert harmless(printed.decode().replace("\t", ""))
    assert all(line.startswith("-- ") for line in head.decode().split("\n"))
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.execute("SELECT DISTINCT campaign_name FROM listmonk_doctor.entries").fetchall() == [(name,)]
    assert not list(tmp_path.iterdir())


def test_a_run_keeps_the_name_and_shows_it_harmless(named: tuple[str, str], tmp_path: Path) -> None:
    """Applied, listed and taken back by the commands."""
    dsn, _ = named
    applied = run(dsn, "repair", "2", "--apply", "--yes", "--undo-out", str(tmp_path))
    assert applied.exit_code == 0, applied.output
    for result in (applied, run(dsn, "history"), run(dsn, "undo"), run(dsn, "undo", "--apply", "--yes")):
        assert result.exit_code in (0, 4)
        assert harmless(result.stdout)


def test_a_hostile_word_on_the_command_line_is_shown_harmless(incident_db: Callable[[str], str]) -> None:
    """What names no campaign is repeated, but not to the terminal's harm."""
    result = CliRunner().invoke(app, ["examine", f"{ISSUE}%_'; --", "--dsn", incident_db("seed-v4.1.0")])
    assert result.exit_code == 2
    assert harmless(result.stderr)
