"""The built wheel carries what the program reads at run time, and nothing that is not tracked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

import listmonk_doctor

PACKAGE: Final = Path(listmonk_doctor.__file__).resolve().parent
ROOT: Final = Path(__file__).resolve().parents[1]


def test_every_statement_schema_and_demo_incident_is_there() -> None:
    """SQL, JSON Schemas and at least the seed's recording are found beside the code or in the checkout."""
    statements = next(place for place in (PACKAGE / "sql", PACKAGE.parent / "sql") if place.is_dir())
    assert {each.name for each in statements.iterdir() if each.is_dir()} >= {
        "checks",
        "audience",
        "facts",
        "journal",
        "demo",
    }
    assert (PACKAGE / "schemas" / "examine.schema.json").is_file()
    recordings = (PACKAGE / "demo" / "incidents", ROOT / "tests" / "incidents")
    assert any((place / "seed-v4.1.0.tar.xz").is_file() for place in recordings)


def test_the_wheel_ships_no_sql_file_that_is_not_tracked() -> None:
    """What stands in sql/ is what git tracks there: a scratch file would be shipped."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    git = shutil.which("git") or "git"
    tracked = subprocess.run([git, "ls-files", "sql"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sql").rglob("*") if path.is_file()}
    assert found == set(tracked.split())
