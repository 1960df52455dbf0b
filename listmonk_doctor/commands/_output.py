"""Owns writing a result to stdout in the format that was asked for, and which format that is when none was."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from listmonk_doctor.commands._failures import closed_pipe
from listmonk_doctor.commands._options import Format

if TYPE_CHECKING:
    from collections.abc import Iterable

    from listmonk_doctor.render.document import Document


def chosen(asked: Format | None) -> Format:
    """Return the format that was asked for; else terminal on a terminal (or with FORCE_COLOR), plain in a pipe."""
    if asked is not None:
        return asked
    return Format.TERMINAL if sys.stdout.isatty() or os.environ.get("FORCE_COLOR") else Format.PLAIN


def emit(chunks: Iterable[str]) -> None:
    """Write a result to stdout. What the terminal's encoding lacks is written as an escape.

    A reader that has gone (`| head`) is no error: what is done is done to its end, and the exit code is that of it.
    """
    encoding = sys.stdout.encoding or "ascii"
    try:
        for chunk in chunks:
            sys.stdout.write(chunk.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        closed_pipe()


def show(page: Document, style: Format) -> None:
    """Draw a page for people: by rich for a terminal, else plain."""
    if style is Format.TERMINAL:
        from listmonk_doctor.render import terminal

        # shutil's own look at COLUMNS is skipped: terminal.py reads it.
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            width = shutil.get_terminal_size((80, 24)).columns
        emit([terminal.render(page, os.environ, width, live=sys.stdout.isatty())])
        return
    from listmonk_doctor.render import plain

    emit([plain.render(page)])


def emit_json(document: dict[str, object]) -> None:
    """Write a JSON document."""
    from listmonk_doctor.render.json_ import dumps

    emit([dumps(document)])
