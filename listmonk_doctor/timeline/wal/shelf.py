"""Owns where the segments of the log lie: on the server, read through it, or in a folder of archived ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Cursor

_READING: Final = "pg_read_binary_file(text, bigint, bigint, boolean)"
_NAME: Final = re.compile(r"[0-9A-F]{24}")
_FORKS: Final = re.compile(r"[0-9A-F]{8}\.history")


def number_of(name: str, size: int) -> int:
    """Return the number of the segment that a file's name promises; `size` is a segment's bytes."""
    return int(name[8:16], 16) * ((1 << 32) // size) + int(name[16:], 16)


class Shelf(Protocol):
    """Segments by name; `live`: they belong to the server that runs, which goes on writing them."""

    live: bool

    def heads(self, length: int) -> dict[str, bytes]:
        """Return the first bytes of every segment."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a segment, or of a history file; fewer where it ends or is gone."""


class ServerShelf:
    """The segments in the server's own folder, read by its functions in the cursor's transaction."""

    live = True

    def __init__(self, cursor: Cursor[Any]) -> None:
        """Read through `cursor`, whose role must be allowed to (`may_read`)."""
        self._cursor = cursor

    def heads(self, length: int) -> dict[str, bytes]:
        """Return the first bytes of every segment."""
        self._cursor.execute(sqlfiles.read("facts/log-segments.sql"), {"length": length}, binary=True)
        return {name: bytes(head) for name, head in self._cursor.fetchall() if head is not None}

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a segment; fewer where it ends or was renamed."""
        self._cursor.execute(
            "SELECT pg_read_binary_file('pg_wal/' || %s, %s, %s, true)", (name, offset, length), binary=True
        )
        found = self._cursor.fetchall()[0][0]
        return found or b""


class FolderShelf:
    """The segments in a folder, such as an archive of the log; files of other names are passed over."""

    live = False

    def __init__(self, path: Path) -> None:
        """Take the folder. Raises UsageError where it holds no segments."""
        try:
            self._files = {each.name: each for each in path.iterdir() if _NAME.fullmatch(each.name)}
            self._forks = {each.name: each for each in path.iterdir() if _FORKS.fullmatch(each.name)}
        except OSError as error:
            raise UsageError(
                f"The folder {path} cannot be read: {error.strerror}.", hint="Name a folder of log segments."
            ) from None
        if not self._files:
            raise UsageError(
                f"The folder {path} holds no log segments.",
                hint="They have names of 24 digits such as 000000010000000000000001, and are not packed.",
            )

    def heads(self, length: int) -> dict[str, bytes]:
        """Return the first bytes of every segment."""
        return {name: self.read(name, 0, length) for name in self._files}

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return bytes of a segment, or of a history file; fewer where it ends, none where there is no such."""
        path = self._files.get(name) or self._forks.get(name)
        if path is None:
            return b""
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise UsageError(
                f"The log segment {path} cannot be read: {error.strerror}.",
                hint="May you read the files of that folder?",
            ) from None

    def length(self, name: str) -> int:
        """Return how many bytes a segment's file has."""
        return self._files[name].stat().st_size


def may_read(cursor: Cursor[Any]) -> str:
    """Return "" where the role may read the server's log, else the reason with the exact GRANTs; nothing is logged."""
    cursor.execute(sqlfiles.read("facts/log-privileges.sql"))
    role, listing, reading = cursor.fetchall()[0]
    if listing and reading:
        return ""
    grants = ["pg_monitor"] * (not listing) + [f"EXECUTE ON FUNCTION {_READING}"] * (not reading)
    words = "; ".join(f"GRANT {each} TO {role}" for each in grants)
    return f"the role {role} may not read the server's log; a superuser can allow it: {words}"
