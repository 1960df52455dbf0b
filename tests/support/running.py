"""Owns running a command in a test as its user would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from listmonk_doctor.cli import app

if TYPE_CHECKING:
    from typer.testing import Result


def run(*words: str) -> Result:
    """Run a command, and return what it printed and its exit code."""
    return CliRunner().invoke(app, list(words))


def said(*words: str) -> tuple[int, dict[str, Any]]:
    """Run a command with --format json and return its exit code and what it said."""
    result = run(*words, "--format", "json")
    assert result.stdout, result.stderr
    return result.exit_code, json.loads(result.stdout)
