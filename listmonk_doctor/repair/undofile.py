"""Owns the file of a run's undo script, which is on the disk before the database is told to commit."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


class UndoFile:
    """The undo script of a run, grown campaign by campaign before each commit, so that it survives the database."""

    def __init__(self, place: Path | None, run: str) -> None:
        """Take a folder (the file is named after the run), a file that does not exist, or None (no script)."""
        named = place / f"listmonk-doctor-undo-{run}.sql" if place and place.is_dir() else place
        self.path: Final = named
        self._lengths: list[int] = [0]

    def add(self, text: str) -> None:
        """Append a campaign's script and see it onto the disk. Raises UsageError where that cannot be done."""
        if self.path is None:
            return
        new = os.O_EXCL if len(self._lengths) == 1 else 0
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | new, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
                self._lengths.append(file.tell())
        except OSError as error:
            raise UsageError(
                f"The undo script {self.path} cannot be written: {error.strerror}; nothing was changed.",
                hint="Name another place with --undo-out.",
            ) from error

    def take_back(self, kept: int) -> None:
        """Cut off what was added after the first `kept` scripts; an empty file is removed."""
        if self.path is None or len(self._lengths) <= kept + 1:
            return
        del self._lengths[kept + 1 :]
        with contextlib.suppress(OSError):
            if kept:
                os.truncate(self.path, self._lengths[-1])
            else:
                self.path.unlink()

    @property
    def scripts(self) -> int:
        """How many campaigns' scripts it holds."""
        return len(self._lengths) - 1
