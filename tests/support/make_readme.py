"""Writes the generated parts of README.md from the code: a real screen, commands, checks, exit codes.

Run: python -m tests.support.make_readme [--check]. With --check nothing is written; it fails if README.md is stale.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import typer

from listmonk_doctor.cli import app
from listmonk_doctor.diagnosis.catalogue import catalogue
from listmonk_doctor.errors import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

README: Final = Path(__file__).resolve().parents[2] / "README.md"

FOR_WHOM: Final = {
    "scan": "after an accident; cron with `--quiet`",
    "examine": "after an accident",
    "repair": "after an accident",
    "timeline": "after an accident, at once: the log does not last",
    "watch": "after Start; from cron or a service, as a flight recorder with `--record`",
    "undo": "after a repair",
    "history": "after a repair",
    "follow-up refresh": "just before a follow-up is started",
    "follow-up settle": "once a follow-up was sent",
    "explain": "whoever reads a finding",
    "checks": "whoever reads a finding",
    "demo": "whoever wants to try it",
}
"""Who uses a command; a command that is missing here fails the generation."""


def commands() -> str:
    """Return the table of commands with the first sentence of their help."""
    group = typer.main.get_command(app)
    listed = group.commands  # type: ignore[attr-defined]
    rows = ["| command | what it does | who, when |", "|---|---|---|"]
    for name, command in each_command(listed):
        first = (command.help or "").strip().split("\n")[0].rstrip(".")
        rows.append(f"| `{name}` | {first} | {FOR_WHOM[name]} |")
    return "\n".join(rows)


def each_command(listed: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the commands with their whole names; those of a group one by one."""
    for name, command in listed.items():
        below = getattr(command, "commands", None)
        if below:
            yield from each_command(below, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def checks() -> str:
    """Return the table of checks with the first sentence of what each finds."""
    rows = ["| code | name | severity | what it finds |", "|---|---|---|---|"]
    for check in catalogue():
        words = " ".join(check.text.split()).removeprefix("What it finds: ")
        first = re.split(r"(?<=\.)\s(?=[A-Z])", words)[0].rstrip(".").replace("|", "\\|")
        rows.append(f"| {check.code} | `{check.name}` | {check.severity} | {first} |")
    return "\n".join(rows)


def exit_codes() -> str:
    """Return the table of exit codes."""
    rows = ["| code | meaning |", "|---|---|"]
    rows += [f"| {int(code)} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(rows)


def screen() -> str:
    """Return what scan and examine print for the recorded seed, without the parts that hold times."""
    from listmonk_doctor.demo import postgres
    from listmonk_doctor.demo.loading import load
    from listmonk_doctor.demo.recording import open_recording

    with postgres.throwaway() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            load(conn, open_recording("seed-v4.1.0"))
        surroundings = {**os.environ, "LISTMONK_DOCTOR_DSN": server.dsn(), "COLUMNS": "116"}
        program = [sys.executable, "-m", "listmonk_doctor"]

        def run(*words: str) -> list[str]:
            done = subprocess.run([*program, *words], check=False, env=surroundings, capture_output=True, text=True)
            return textwrap_all(done.stdout)

        scanned, examined = run("scan"), run("examine", "2")
    shown = ["$ listmonk-doctor scan", *section(scanned, "Scan:"), "", "$ listmonk-doctor examine 2"]
    shown += [*section(examined, "What to do now"), "", "...", ""]
    shown += [*section(examined, "What happened"), "", "...", "", *section(examined, "What can be done")]
    return "```text\n" + "\n".join(shown) + "\n```"


def textwrap_all(text: str) -> list[str]:
    """Return lines folded to the width of a page, a folded line indented."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, 116, subsequent_indent="  ", drop_whitespace=False) or [""]
    return [line.rstrip() for line in lines]


def section(lines: list[str], title: str) -> list[str]:
    """Return the lines from a title to the next empty line."""
    begin = next(index for index, line in enumerate(lines) if line.startswith(title))
    end = next((index for index in range(begin, len(lines)) if not lines[index]), len(lines))
    return lines[begin:end]


TABLES: Final[dict[str, Callable[[], str]]] = {
    "screen": screen,
    "commands": commands,
    "checks": checks,
    "exit-codes": exit_codes,
}


def generated(text: str) -> str:
    """Return README's text with every table between its markers made anew."""
    for name, make in TABLES.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        found = pattern.search(text)
        if not found:
            message = f"README.md has no markers for {name}"
            raise ValueError(message)
        before, after = text[: found.end(1)], text[found.start(2) :]
        text = before + make() + "\n" + after
    return text


def main() -> int:
    """Write README.md, or say whether it is stale."""
    text = README.read_text(encoding="utf-8")
    fresh = generated(text)
    if "--check" in sys.argv:
        return int(fresh != text)
    README.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
