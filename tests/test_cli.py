"""The command line from outside: exit codes, errors, questions, pipes and signals, on real databases."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from listmonk_doctor import __version__
from listmonk_doctor.cli import app
from listmonk_doctor.commands import _scanning

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

    Incident = Callable[[str], str]

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "listmonk_doctor"]
SECRET = "s3cr3t-w0rd"  # noqa: S105 - a password that must not be seen


def doctor(dsn: str | None, *arguments: str, **environ: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [*arguments, *(["--dsn", dsn] if dsn else [])], env=environ)


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which the package under test is found, without colours and databases."""
    path = os.pathsep.join(each for each in sys.path if each)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LISTMONK"))}
    return {**kept, "PYTHONPATH": path, **more}


def process(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the program as a process of its own."""
    environ = environment(**more.pop("environ", {}))
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        timeout=120,
        **more,
    )


def rows(dsn: str) -> list[tuple[Any, ...]]:
    """Return every byte of the tables that a repair may touch."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        found = conn.execute("SELECT c::text FROM campaigns c ORDER BY id").fetchall()
        return found + conn.execute("SELECT l::text FROM campaign_lists l ORDER BY id").fetchall()


def execute(dsn: str, statement: bytes) -> None:
    """Run one statement as somebody else would."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(statement)


# The top ----------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    """--help answers without the database driver, the bitmaps or the table drawers."""
    script = (
        "import sys; sys.argv = ['x', '--help']\nfrom listmonk_doctor.cli import main\n"
        "try:\n    main()\nfinally:\n    print(sorted({'psycopg', 'rich', 'pyroaring', 'tabulate'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert result.returncode == 0
    assert result.stdout.rstrip().endswith("[]")
    assert "examine" in result.stdout


@pytest.mark.parametrize("asked", ["--help", "-h"])
@pytest.mark.parametrize("command", ["", "scan", "examine", "repair", "undo", "history", "explain", "checks", "demo"])
def test_every_command_has_help(command: str, asked: str) -> None:
    """Long and short."""
    result = doctor(None, *([command] if command else []), asked)
    assert result.exit_code == 0
    assert "Usage: listmonk-doctor" in result.stdout


def test_version_is_printed() -> None:
    """One line, by both ways of starting."""
    assert doctor(None, "--version").stdout == f"listmonk-doctor {__version__}\n"
    assert process("--version").stdout == f"listmonk-doctor {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", "--nope"],
        ["nope"],
        ["scan", "--format", "xml"],
        ["scan", "--fail-on", "never"],
        ["scan", "--check", "LM000"],
        ["explain", "LM000"],
        ["examine"],
        ["repair", "2", "--yes"],
        ["repair", "2", "--strategy", "magic"],
        ["repair", "--strategy", "resume"],
        ["repair", "2", "--strategy", "accept"],
        ["repair", "2", "--reason", "because"],
        ["repair", "2", "--strategy", "accept", "--reason", "x", "--until", "soon"],
        ["repair", "2", "--strategy", "accept", "--reason", "x", "--until", "2001-01-01"],
        ["repair", "2", "--plan", "file.json"],
        ["repair", "2", "--sql", "--apply"],
        ["repair", "2", "--sql", "--format", "json"],
        ["repair", "2", "--apply", "--plan-out", "file.json"],
        ["undo", "--yes"],
        ["scan", "--timeout", "0"],
    ],
)
def test_wrong_usage_exits_2_before_any_connection(arguments: list[str]) -> None:
    """What contradicts itself is told in one sentence, with a hint or nothing, and stdout stays empty."""
    result = doctor(None, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["examine", b"\xff"],
        ["repair", "2", "--strategy", "accept", "--reason", b"caf\xe9"],
        ["undo", b"\xff"],
        ["scan", "--check", b"\xff"],
        ["scan", "--dsn", b"\xff"],
        ["explain", b"\xff"],
    ],
)
def test_words_that_are_not_utf_8_are_wrong_usage(arguments: list[str | bytes]) -> None:
    """They are refused before any connection, and not called a bug."""
    words: list[str | bytes] = [*PROGRAM, *arguments]
    result = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=60,
    )
    assert result.returncode == 2
    assert re.fullmatch(r"Error: What was given as [A-Z]+ is not UTF-8\.\n", result.stderr)
    assert result.stdout == ""


def test_a_path_may_be_any_bytes(incident_db: Incident, tmp_path: Path) -> None:
    """A folder that is not named in UTF-8 takes the undo script."""
    dsn, folder = incident_db("seed-v4.1.0"), os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102 - the name is bytes
    apply: list[str | bytes] = [*PROGRAM, "repair", "2", "--apply", "--yes", "--dsn", dsn, "--undo-out", folder]
    result = subprocess.run(apply, capture_output=True, check=False, env=environment(), timeout=60)
    assert result.returncode == 0, result.stderr
    assert len(os.listdir(folder)) == 1  # noqa: PTH208 - as above


def test_no_command_shows_the_help_and_exits_2() -> None:
    """A bare call is no success."""
    result = doctor(None)
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_a_bug_exits_3_and_says_so(incident_db: Incident, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback comes only with -v, and no password is in it."""
    dsn = incident_db("many-small-v5.0.3")

    def broken(*_: object) -> None:
        raise KeyError(f"password={SECRET}")

    monkeypatch.setattr(_scanning, "scanned", broken)
    result = doctor(dsn, "scan")
    assert result.exit_code == 3
    assert "This is a bug in listmonk-doctor (KeyError)" in result.stderr
    assert "Traceback" not in result.stderr
    assert SECRET not in result.stderr
    verbose = doctor(dsn, "scan", "-v")
    assert "Traceback" in verbose.stderr
    assert SECRET not in verbose.stderr


# The connection ---------------------------------------------------------------------------------------------------


def test_an_unreachable_server_is_one_sentence_and_exit_3() -> None:
    """Neither a traceback nor the password."""
    dsn = f"postgresql://someone:{SECRET}@127.0.0.1:1/listmonk"
    result = doctor(dsn, "scan", "-v")
    assert result.exit_code == 3
    assert "Error: Nothing listens at 127.0.0.1:1." in result.stderr
    assert "Hint: " in result.stderr
    assert "Warning: " in result.stderr
    assert SECRET not in result.output


def test_no_database_named_lists_what_was_tried(tmp_path: Path) -> None:
    """The one error for a first try."""
    result = process("scan", cwd=tmp_path)
    assert result.returncode == 3
    assert "LISTMONK_DOCTOR_DSN" in result.stderr
    assert "config.toml" in result.stderr


def test_verbose_says_which_source_won(incident_db: Incident) -> None:
    """On stderr, so that stdout stays the result."""
    dsn = incident_db("many-small-v5.0.3")
    result = doctor(None, "scan", "-v", "--format", "json", LISTMONK_DOCTOR_DSN=dsn)
    assert "from LISTMONK_DOCTOR_DSN" in result.stderr
    assert result.stdout.startswith("{")


def test_a_database_without_listmonk_is_exit_3(empty_db: str) -> None:
    """It is not called a bug."""
    result = doctor(empty_db, "scan")
    assert result.exit_code == 3
    assert "has no listmonk tables" in result.stderr


@pytest.mark.parametrize("tag", ["v1.1.0", "v0.9.0"])
def test_a_listmonk_before_2_is_refused(incident_db: Incident, tag: str) -> None:
    """Its tables are not the ones that are read."""
    dsn = incident_db("seed-v4.1.0")
    execute(dsn, b"""UPDATE settings SET value = '["%s"]' WHERE key = 'migrations'""" % tag.encode())
    for command in (["scan"], ["examine", "2"], ["repair", "2"], ["history"]):
        result = doctor(dsn, *command)
        assert result.exit_code == 3
        assert tag in result.stderr


def test_a_newer_listmonk_is_read_with_a_warning_and_not_written_unasked(incident_db: Incident, tmp_path: Path) -> None:
    """Only with --allow-unknown-version."""
    dsn = incident_db("paused-killed-v5.0.3")
    execute(dsn, b"""UPDATE settings SET value = value || '["v9.0.0"]' WHERE key = 'migrations'""")
    before = rows(dsn)
    for command in (["scan"], ["examine", "2"], ["repair", "2"]):
        result = doctor(dsn, *command)
        assert result.exit_code in (0, 1, 4)
        assert "newer than" in result.stderr
    apply = ["repair", "2", "--apply", "--yes", "--undo-out", str(tmp_path)]
    refused = doctor(dsn, *apply)
    assert refused.exit_code == 3
    assert "--allow-unknown-version" in refused.stderr
    assert rows(dsn) == before
    assert doctor(dsn, *apply, "--allow-unknown-version").exit_code == 0
    assert rows(dsn) != before


# Scan and examine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "arguments", "code"),
    [
        ("seed-v4.1.0", ["scan"], 1),
        ("seed-v4.1.0", ["scan", "--skip", "LM103"], 0),
        ("seed-v4.1.0", ["scan", "--check", "lm103"], 1),
        ("seed-v4.1.0", ["scan", "--check", "LM101"], 0),
        ("seed-v4.1.0", ["examine", "2"], 1),
        ("seed-v4.1.0", ["examine", "spring"], 1),
        ("seed-v4.1.0", ["examine", "f911dd5a-b7dc-4e9a-b428-ed68a0000fd7"], 1),
        ("seed-v4.1.0", ["examine", "3"], 2),
        ("seed-v4.1.0", ["repair", "2"], 4),
        ("seed-v4.1.0", ["repair"], 4),
        ("seed-v4.1.0", ["repair", "2", "--strategy", "resume"], 3),
        ("seed-v4.1.0", ["repair", "2", "--strategy", "unschedule"], 3),
        ("seed-v4.1.0", ["repair", "2", "--strategy", "rewind", "--prefer", "no-gaps"], 4),
        ("seed-v4.1.0", ["history"], 0),
        ("seed-v4.1.0", ["undo"], 3),
        ("many-small-v5.0.3", ["scan"], 0),
        ("many-small-v5.0.3", ["examine", "2"], 0),
        ("many-small-v5.0.3", ["repair", "2"], 0),
        ("many-small-v5.0.3", ["repair"], 0),
        ("kill9-v6.2.0", ["repair", "2"], 3),
        ("kill9-v6.2.0", ["scan", "--fail-on", "error"], 0),
        ("kill9-v6.2.0", ["scan"], 1),
        ("kill9-after-finish-v2.5.1", ["scan", "--fail-on", "info"], 1),
    ],
)
def test_exit_codes_are_those_of_the_table(
    incident_db: Incident,
    recording: str,
    arguments: list[str],
    code: int,
) -> None:
    """0 all well, 1 findings, 2 wrong usage, 3 not done, 4 would change."""
    result = doctor(incident_db(recording), *arguments)
    assert result.exit_code == code, result.output


def test_a_check_that_fails_is_exit_3_and_the_others_are_reported(incident_db: Incident) -> None:
    """A missing privilege on one table does not hide what another check finds."""
    dsn = incident_db("seed-v4.1.0")
    execute(dsn, b"ALTER TABLE campaigns RENAME COLUMN messenger TO messenger_gone")
    result = doctor(dsn, "scan")
    assert result.exit_code == 3
    assert "LM103" in result.stdout
    assert "LM109" in result.stdout
    assert "failed" in result.stdout


def test_quiet_is_silent_when_all_is_well_and_one_line_per_problem(incident_db: Incident) -> None:
    """What cron mails is nothing, or the problem."""
    well = process("scan", "--quiet", "--dsn", incident_db("many-small-v5.0.3"))
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    ill = process("scan", "-q", "--dsn", incident_db("seed-v4.1.0"))
    assert ill.returncode == 1
    assert len(ill.stdout.splitlines()) == 1
    assert ill.stdout.startswith("error  LM103  campaigns  2  Spring edition  ")
    before_the_command = process("-q", "scan", "--dsn", incident_db("many-small-v5.0.3"))
    assert before_the_command.stdout == ""


def test_a_pipe_gets_plain_text(incident_db: Incident) -> None:
    """No colour, and one finding is one line that grep finds."""
    result = process("scan", "--dsn", incident_db("seed-v4.1.0"))
    assert "\x1b" not in result.stdout
    (line,) = [each for each in result.stdout.splitlines() if "LM103" in each]
    assert line.startswith("error")
    assert "Spring edition" in line
    coloured = process("scan", "--dsn", incident_db("seed-v4.1.0"), environ={"FORCE_COLOR": "1"})
    assert "\x1b[" in coloured.stdout


def test_a_closed_pipe_is_no_error(incident_db: Incident) -> None:
    """`| head -1` ends the output, not the exit status, and nothing is said on stderr."""
    dsn = incident_db("seed-v4.1.0")
    command = " ".join([sys.executable, "-m listmonk_doctor examine 2 --ids --format csv --dsn", f"'{dsn}'"])
    script = f"set -o pipefail; {command} | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["/bin/bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert result.stdout.splitlines()[0] == "subscriber_id,group"
    assert result.stdout.splitlines()[-1] in ("0", "1")
    assert result.stderr == ""


def test_output_that_the_encoding_lacks_is_escaped(incident_db: Incident) -> None:
    """A terminal in ASCII gets escapes, not a crash."""
    dsn = incident_db("seed-v4.1.0")
    environ = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = process("examine", "2", "--format", "terminal", "--dsn", dsn, environ=environ)
    assert result.returncode == 1
    assert result.stdout.isascii()
    assert "\\u2593" in result.stdout


# The live server --------------------------------------------------------------------------------------------------


def test_the_wait_for_the_second_look_is_explained_once(
    incident_db: Callable[..., str],
    player: Callable[..., Any],
) -> None:
    """In a pipe one line says why; the pipe that is open is seen, and nothing may be written."""
    dsn = incident_db("deleted-list-v6.0.0", fresh=True)
    with player(dsn, "deleted-list-v6.0.0"):
        result = process("repair", "2", "--strategy", "detach-list", "--dsn", dsn)
    assert result.returncode == 3
    assert result.stderr.count("looking twice, 11 s apart") == 1
    assert len(result.stderr.splitlines()) == 1
    assert "Refused" in result.stdout


def test_ctrl_c_ends_at_once_and_leaves_nothing(incident_db: Callable[..., str], player: Callable[..., Any]) -> None:
    """While it waits for the second look: exit 130, one sentence, and no session stays."""
    dsn = incident_db("deleted-list-v6.0.0", fresh=True)
    before = rows(dsn)
    with player(dsn, "deleted-list-v6.0.0"):
        running = subprocess.Popen(
            [*PROGRAM, "examine", "2", "--dsn", dsn],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        time.sleep(3)
        running.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = running.communicate(timeout=10)
        assert time.monotonic() - began < 3
        with psycopg.connect(dsn) as conn:
            named = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'listmonk-doctor'"
            assert conn.execute(named).fetchone() == (0,)
    assert running.returncode == 130
    assert errors.splitlines()[-1] == "Stopped; nothing was changed."
    assert "Traceback" not in errors
    assert rows(dsn) == before


# Repair and undo --------------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(incident_db: Incident) -> None:
    """Not even the journal's schema."""
    dsn = incident_db("seed-v4.1.0")
    before = rows(dsn)
    result = doctor(dsn, "repair", "2")
    assert "- status             finished" in result.stdout
    assert "+ status             paused" in result.stdout
    assert rows(dsn) == before
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT to_regnamespace('listmonk_doctor')").fetchone() == (None,)


def test_apply_off_a_terminal_needs_yes(incident_db: Incident) -> None:
    """Before anything is looked at, the way out is named."""
    dsn = incident_db("seed-v4.1.0")
    before = rows(dsn)
    result = process("repair", "2", "--apply", "--dsn", dsn, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert rows(dsn) == before


def test_undo_off_a_terminal_names_what_undo_has(incident_db: Incident) -> None:
    """It has no plan files."""
    result = process("undo", "--apply", "--dsn", incident_db("seed-v4.1.0"), stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert "plan" not in result.stderr


def test_apply_takes_no_name(incident_db: Incident, tmp_path: Path) -> None:
    """The hint has the id."""
    dsn = incident_db("seed-v4.1.0")
    before = rows(dsn)
    result = doctor(dsn, "repair", "Spring edition", "--apply", "--yes", "--undo-out", str(tmp_path))
    assert result.exit_code == 2
    assert "use its id: 2" in result.stderr
    assert rows(dsn) == before


def test_a_repair_is_applied_listed_and_taken_back_once(incident_db: Incident, tmp_path: Path) -> None:
    """Every byte is as it was after the undo; the undo script is private; a second undo is refused."""
    dsn = incident_db("seed-v4.1.0")
    before = rows(dsn)
    applied = doctor(dsn, "repair", "2", "--apply", "--yes", "--undo-out", str(tmp_path))
    assert applied.exit_code == 0, applied.output
    run = re.search(r"Run ([0-9a-f-]{36})", applied.stdout)
    assert run is not None
    script = tmp_path / f"listmonk-doctor-undo-{run[1]}.sql"
    assert script.stat().st_mode & 0o777 == 0o600
    assert rows(dsn) != before
    assert run[1] in doctor(dsn, "history").stdout
    assert doctor(dsn, "scan").exit_code == 0
    dry = doctor(dsn, "undo", run[1][:8])
    assert dry.exit_code == 4
    assert dry.stdout.index("Do not press Start") < dry.stdout.index("What would change")
    advice = json.loads(doctor(dsn, "undo", run[1][:8], "--format", "json").stdout)["campaigns"][0]["advice"]
    assert advice[0].startswith("Do not press Start")
    undone = doctor(dsn, "undo", run[1], "--apply", "--yes")
    assert undone.exit_code == 0, undone.output
    assert rows(dsn) == before
    again = doctor(dsn, "undo", run[1], "--apply", "--yes")
    assert again.exit_code == 3
    assert "undone already" in again.stderr


def test_an_undo_of_a_row_that_moved_is_refused_and_says_what_moved(incident_db: Incident, tmp_path: Path) -> None:
    """Old and new value are named, and nothing is written."""
    dsn = incident_db("seed-v4.1.0")
    assert doctor(dsn, "repair", "2", "--apply", "--yes", "--undo-out", str(tmp_path)).exit_code == 0
    execute(dsn, b"UPDATE campaigns SET status = 'cancelled' WHERE id = 2")
    moved = rows(dsn)
    for arguments in (["undo"], ["undo", "--apply", "--yes"]):
        result = doctor(dsn, *arguments)
        assert result.exit_code == 3
        assert "status was paused after the repair and is cancelled now" in result.stdout
    assert rows(dsn) == moved


def test_a_saved_plan_is_applied_without_a_question(incident_db: Incident, tmp_path: Path) -> None:
    """Off a terminal the file is the confirmation; it is private and not overwritten."""
    dsn, file = incident_db("seed-v4.1.0"), tmp_path / "plan.json"
    assert doctor(dsn, "repair", "2", "--plan-out", str(file)).exit_code == 4
    assert file.stat().st_mode & 0o777 == 0o600
    assert doctor(dsn, "repair", "2", "--plan-out", str(file)).exit_code == 2
    assert doctor(dsn, "repair", "--plan", str(file)).exit_code == 4
    applied = doctor(dsn, "repair", "--plan", str(file), "--apply", "--undo-out", str(tmp_path))
    assert applied.exit_code == 0, applied.output
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT status::text FROM campaigns WHERE id = 2").fetchone() == ("paused",)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (b"UPDATE campaigns SET sent = 2300 WHERE id = 2", "sent was 2,261 in the plan and is 2,300 now"),
        (b"UPDATE settings SET value = '500' WHERE key = 'app.batch_size'", "app.batch_size was 1000 and is 500 now"),
        (
            b"""UPDATE subscriber_lists SET status = 'unsubscribed' WHERE subscriber_id =
                (SELECT max(subscriber_id) FROM subscriber_lists WHERE list_id = 1 AND status = 'confirmed')""",
            "audience",
        ),
    ],
)
def test_a_plan_that_went_stale_is_refused(incident_db: Incident, tmp_path: Path, statement: bytes, said: str) -> None:
    """A row, a setting or the audience that moved: exit 3, what moved, and nothing written."""
    dsn, file = incident_db("seed-v4.1.0"), tmp_path / "plan.json"
    assert doctor(dsn, "repair", "2", "--plan-out", str(file)).exit_code == 4
    execute(dsn, statement)
    moved = rows(dsn)
    result = doctor(dsn, "repair", "--plan", str(file), "--apply", "--undo-out", str(tmp_path))
    assert result.exit_code == 3
    assert said in result.stdout
    assert rows(dsn) == moved
    assert not list(tmp_path.glob("*.sql"))


def test_the_sql_scripts_do_and_undo_the_same_in_psql(incident_db: Incident, server: Any) -> None:
    """The whole output fed to psql repairs and stops before the undo; the undo behind it takes it back."""
    del server
    from listmonk_doctor.demo.postgres import find_binaries

    psql = find_binaries() / "psql"
    if not psql.is_file():
        pytest.skip("these binaries bring no psql")
    dsn = incident_db("paused-killed-v5.0.3")
    before = rows(dsn)
    printed = doctor(dsn, "repair", "2", "--sql")
    assert printed.exit_code == 0
    assert rows(dsn) == before
    _, _, undo = printed.stdout.partition("\n\\q\n")
    for script, changed in ((printed.stdout, True), (undo, False)):
        ran = subprocess.run(
            [str(psql), "-X", "-f", "-", dsn],
            input=script,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        assert (rows(dsn) != before) == changed


def test_accepting_quiets_the_scan_until_the_row_moves(incident_db: Incident) -> None:
    """Cron stops reporting it; the next change of the row brings it back."""
    dsn = incident_db("kill9-v6.2.0")
    assert doctor(dsn, "scan").exit_code == 1
    accept = ["repair", "2", "--strategy", "accept", "--reason", "known, mailed by hand", "--until", "2999-01-01"]
    assert doctor(dsn, *accept).exit_code == 4
    accepted = doctor(dsn, *accept, "--apply", "--yes")
    assert accepted.exit_code == 0, accepted.output
    quiet = doctor(dsn, "scan")
    assert quiet.exit_code == 0
    assert "Accepted: known, mailed by hand" in quiet.stdout
    assert doctor(dsn, "examine", "2").exit_code == 0
    execute(dsn, b"UPDATE campaigns SET sent = sent - 1 WHERE id = 2")
    assert doctor(dsn, "scan").exit_code == 1


def test_a_reader_without_the_journal_is_told_what_to_grant(incident_db: Incident) -> None:
    """An accepted finding is loud again, and one line says why; with exactly these grants it is quiet."""
    dsn, role = incident_db("kill9-v6.2.0"), "journal_stranger"
    accept = ["repair", "2", "--strategy", "accept", "--reason", "known", "--apply", "--yes"]
    assert doctor(dsn, *accept).exit_code == 0
    assert doctor(dsn, "scan").stderr == ""
    try:
        execute(dsn, b"CREATE ROLE journal_stranger LOGIN")
        execute(dsn, b"GRANT SELECT ON ALL TABLES IN SCHEMA public TO journal_stranger")
        stranger = psycopg.conninfo.make_conninfo(dsn, user=role)
        for command in (["scan"], ["examine", "2"], ["repair"]):
            told = doctor(stranger, *command).stderr
            assert told.count("Note: acknowledgements cannot be read") == 1
        assert doctor(stranger, "scan").exit_code == 1
        grants = re.search(r"GRANT USAGE .*;", told)
        assert grants is not None
        execute(dsn, grants[0].encode())
        quiet = doctor(stranger, "scan")
        assert (quiet.exit_code, "acknowledgements" in quiet.stderr) == (0, False)
    finally:
        execute(dsn, b"DROP OWNED BY journal_stranger; DROP ROLE journal_stranger")


def on_terminal(answer: bytes, *arguments: str) -> tuple[int, str]:
    """Run the program on a pseudo terminal, give one answer, and return exit code and all that was shown."""
    child, handle = pty.fork()
    if child == 0:  # pragma: no cover - the other process
        os.environ.update(environment(TERM="xterm", COLUMNS="80"))
        os.execv(sys.executable, [*PROGRAM, *arguments])  # noqa: S606
    shown, answered = b"", False
    while True:
        try:
            part = os.read(handle, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
        if b"Type yes" in shown and not answered:
            os.write(handle, answer)
            answered = True
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


def test_on_a_terminal_it_asks_and_only_yes_will_do(incident_db: Incident, tmp_path: Path) -> None:
    """The plan is shown in colour, then the question; any other answer changes nothing."""
    dsn = incident_db("seed-v4.1.0")
    before = rows(dsn)
    arguments = ("repair", "2", "--apply", "--undo-out", str(tmp_path), "--dsn", dsn)
    for answer in (b"y\n", b"\n"):
        code, shown = on_terminal(answer, *arguments)
        assert code == 3
        assert "nothing was changed" in shown
        assert rows(dsn) == before
    code, shown = on_terminal(b"yes\n", *arguments)
    assert code == 0, shown
    assert shown.index("What would change") < shown.index("Type yes") < shown.index("(done)")
    assert "\x1b[" in shown
    assert rows(dsn) != before


# The demo ---------------------------------------------------------------------------------------------------------


def leftovers() -> set[Path]:
    """Return the folders of throw-away servers that are there."""
    import tempfile

    return set(Path(tempfile.gettempdir()).glob("listmonk-doctor-*"))


def test_the_demo_walks_through_and_leaves_nothing() -> None:
    """Scan, examine, dry run, repair, scan, undo: each command is printed as it would be typed."""
    result = process("demo", cwd="/")
    assert result.returncode == 0, result.stderr
    typed = [line for line in result.stdout.splitlines() if line.startswith("$ listmonk-doctor") and "  #" not in line]
    assert [each.split()[2] for each in typed] == [
        "scan",
        "examine",
        "repair",
        "repair",
        "scan",
        "history",
        "undo",
        "undo",
    ]
    assert "No listmonk is running there" in result.stdout
    folder = re.search(r"host=(\S+?)'", result.stdout)
    assert folder is not None
    assert not Path(folder[1]).exists()


def test_a_killed_demo_leaves_nothing() -> None:
    """Neither a server nor a file stays behind, seconds after a SIGKILL."""
    running = subprocess.Popen(
        [*PROGRAM, "demo"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert running.stdout is not None
    folder = next(found[1] for line in running.stdout if (found := re.search(r"host=(\S+?)'", line)))
    assert Path(folder).exists()
    running.kill()
    running.communicate()
    for _ in range(100):
        if not Path(folder).exists():
            break
        time.sleep(0.1)
    assert not Path(folder).exists()


def test_a_kept_demo_says_how_to_use_and_how_to_stop_it() -> None:
    """The server outlives the command, answers, and is gone after the kill that was printed."""
    result = process("demo", "blockrun-v3.0.0", "--keep")
    assert result.returncode == 0, result.stderr
    dsn = re.search(r"export LISTMONK_DOCTOR_DSN='([^']+)'", result.stdout)
    pid = re.search(r"kill (\d+)", result.stdout)
    assert dsn is not None
    assert pid is not None
    folder = Path(dsn[1].partition("host=")[2])
    try:
        assert doctor(dsn[1], "scan").exit_code == 1
    finally:
        os.kill(int(pid[1]), signal.SIGTERM)
    for _ in range(100):
        if not folder.exists():
            break
        time.sleep(0.1)
    assert not folder.exists()


def test_the_demo_lists_its_accidents() -> None:
    """One line each, without a server."""
    result = doctor(None, "demo", "--list")
    assert result.exit_code == 0
    assert any(line.startswith("seed-v4.1.0") for line in result.stdout.splitlines())
    assert doctor(None, "demo", "no-such-accident").exit_code == 3


def test_a_repair_without_a_campaign_is_one_run_of_all_that_can_be_recommended(
    incident_db: Incident, tmp_path: Path
) -> None:
    """Each campaign has a transaction of its own; what cannot be recommended is named and left alone."""
    dsn = incident_db("seed-v4.1.0")
    execute(
        dsn,
        b"""CREATE TEMP TABLE copied AS SELECT * FROM campaigns;
            UPDATE copied SET id = 90, uuid = gen_random_uuid(), name = 'A second one';
            INSERT INTO campaigns SELECT * FROM copied;
            INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES (90, 1, 'Newsletter');
            UPDATE copied SET id = 91, uuid = gen_random_uuid(), name = 'A third one', last_subscriber_id = 7694;
            INSERT INTO campaigns SELECT * FROM copied;
            INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES (91, 1, 'Newsletter')""",
    )
    dry = doctor(dsn, "repair")
    assert dry.exit_code == 4
    assert "2 campaigns, one transaction each" in dry.stdout
    assert "Left out, since no repair can be recommended: campaign 91" in dry.stderr
    applied = doctor(dsn, "repair", "--apply", "--yes", "--undo-out", str(tmp_path))
    assert applied.exit_code == 0, applied.output
    assert len(list(tmp_path.glob("*.sql"))) == 1
    with psycopg.connect(dsn) as conn:
        stati = conn.execute("SELECT id, status::text FROM campaigns ORDER BY id").fetchall()
        assert stati == [(2, "paused"), (90, "paused"), (91, "finished")]
        assert conn.execute("SELECT count(DISTINCT run), count(*) FROM listmonk_doctor.entries").fetchone() == (1, 2)


def test_a_partial_success_is_reported_as_such(incident_db: Incident, tmp_path: Path) -> None:
    """One campaign is written, the other has moved since the plan: exit 3, and both are named."""
    dsn, file = incident_db("seed-v4.1.0"), tmp_path / "plan.json"
    execute(
        dsn,
        b"""CREATE TEMP TABLE copied AS SELECT * FROM campaigns;
            UPDATE copied SET id = 90, uuid = gen_random_uuid(), name = 'A second one';
            INSERT INTO campaigns SELECT * FROM copied;
            INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES (90, 1, 'Newsletter')""",
    )
    assert doctor(dsn, "repair", "--plan-out", str(file)).exit_code == 4
    execute(dsn, b"UPDATE campaigns SET sent = 2262 WHERE id = 90")
    result = doctor(dsn, "repair", "--plan", str(file), "--apply", "--undo-out", str(tmp_path))
    assert result.exit_code == 3
    assert 'Campaign 2 "Spring edition": rewind (no-duplicates)  (done)' in result.stdout
    assert 'Campaign 90 "A second one": rewind (no-duplicates)  (refused)' in result.stdout
    assert "sent was 2,261 in the plan and is 2,262 now" in result.stdout


def test_a_preference_that_was_asked_for_is_kept_to(incident_db: Incident) -> None:
    """Without one the recommended variant is shown; with one never the other."""
    dsn = incident_db("seed-v4.1.0")
    assert "rewind (no-duplicates)" in doctor(dsn, "repair", "2", "--strategy", "rewind").stdout
    asked = doctor(dsn, "repair", "2", "--strategy", "rewind", "--prefer", "no-gaps")
    assert asked.stdout.startswith('Campaign 2 "Spring edition": rewind (no-gaps)')
    assert "repair 2 --strategy rewind --prefer no-gaps --apply" in asked.stdout


def test_who_reads_json_is_not_asked(incident_db: Incident) -> None:
    """A plan that nobody was shown is applied with --yes only, terminal or not."""
    dsn = incident_db("seed-v4.1.0")
    before = rows(dsn)
    code, shown = on_terminal(b"yes\n", "repair", "2", "--apply", "--format", "json", "--dsn", dsn)
    assert code == 2
    assert "--yes" in shown
    assert rows(dsn) == before


def test_a_reader_that_leaves_early_changes_nothing_about_the_exit_code(
    incident_db: Callable[..., str], tmp_path: Path
) -> None:
    """`repair --apply | head -1` is done to its end and says 0; a full disk is told in one sentence, exit 3."""
    dsn = incident_db("crashed-down-v6.2.0")
    program = f"{sys.executable} -m listmonk_doctor"
    words = f"repair 2 --apply --yes --undo-out {tmp_path} --dsn '{dsn}'"
    done = subprocess.run(
        ["/bin/bash", "-c", f"{program} {words} | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    full = subprocess.run(
        ["/bin/bash", "-c", f"{program} scan --dsn '{dsn}' > /dev/full"], check=False, capture_output=True, text=True
    )
    assert full.returncode == 3
    assert "could not be written" in full.stderr
    assert "bug" not in full.stderr
