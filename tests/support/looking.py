"""Owns replayed looks for tests: what the recorder would see, kept to be given again in part or to a watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.timeline.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from listmonk_doctor.timeline.look import Identity, Look


def write(file: Path, source: Identity, looks: Iterable[Look]) -> None:
    """Let the real recorder keep these looks."""
    with Recorder(file, source) as recorder:
        for look in looks:
            recorder.add(look)
