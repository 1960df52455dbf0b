"""Owns finding the SQL files: in the package first (a zip archive too), in the checkout second."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_PACKAGE = Path(__file__).resolve().parent.parent


def _root() -> Path | Traversable:
    """Return the folder that holds the SQL files."""
    for folder in (_PACKAGE / "sql", _PACKAGE.parent / "sql"):
        if folder.is_dir():
            return folder
    from importlib.resources import files  # only for a package inside an archive: costs start-up time

    return files("listmonk_doctor") / "sql"


@cache
def read(path: str) -> bytes:
    """Return the SQL file at `path` below the folder, as in "audience/pass.sql".

    Bytes, so that psycopg takes it as a statement and never as text put together. Raises FileNotFoundError.
    """
    entry = _root()
    for part in _parts(path):
        entry = entry / part
    return entry.read_bytes()


def names(folder: str) -> list[str]:
    """Return the names of the SQL files in a folder such as "checks", sorted; none where it is not there."""
    entry = _root()
    for part in _parts(folder):
        entry = entry / part
    if not entry.is_dir():
        return []
    return sorted(file.name for file in entry.iterdir() if file.name.endswith(".sql"))


def _parts(path: str) -> list[str]:
    """Return the parts of a relative path; refuse one that leads out of the folder."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or path.startswith("/") or "\\" in path:
        message = f"not a path below sql/: {path!r}"
        raise ValueError(message)
    return parts
