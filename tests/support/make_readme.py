"""Writes the generated tables of README.md from the code: commands, checks, strategies, exit codes.

Run: python -m tests.support.make_readme [--check]. With --check nothing is written; it fails if README.md is stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from listmonk_doctor.cli import app
from listmonk_doctor.diagnosis.catalogue import catalogue
from listmonk_doctor.errors import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Callable

README: Final = Path(__file__).resolve().parents[2] / "README.md"

FOR_WHOM: Final = {
    "scan": "after an accident; cron with `--quiet`",
    "examine": "after an accident",
    "repair": "after an accident",
    "undo": "after a repair",
    "history": "after a repair",
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
    for name, command in listed.items():
        first = (command.help or "").strip().split("\n")[0].rstrip(".")
        rows.append(f"| `{name}` | {first} | {FOR_WHOM[name]} |")
    return "\n".join(rows)


def checks() -> str:
    """Return the table of checks with the first sentence of what each finds."""
    rows = ["| code | name | severity | what it finds |", "|---|---|---|---|"]
    for check in catalogue():
        first = re.split(r"(?<=[.:])\s", " ".join(check.text.split()))[0].removeprefix("What it finds. ")
        rows.append(f"| {check.code} | `{check.name}` | {check.severity} | {first} |")
    return "\n".join(rows)


def exit_codes() -> str:
    """Return the table of exit codes."""
    rows = ["| code | meaning |", "|---|---|"]
    rows += [f"| {int(code)} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(rows)


TABLES: Final[dict[str, Callable[[], str]]] = {"commands": commands, "checks": checks, "exit-codes": exit_codes}


def generated(text: str) -> str:
    """Return README's text with every table between its markers made anew."""
    for name, make in TABLES.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            message = f"README.md has no markers for {name}"
            raise ValueError(message)
        table = make()
        text = pattern.sub(lambda found, table=table: found[1] + table + found[2], text)  # type: ignore[misc]
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
