"""Owns how a script writes literals and names that hold characters which are not to be seen: as Unicode escapes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from psycopg.sql import Composable

_QUOTED: Final = re.compile(r"""( ?E)?('(?:[^']|'')*')|("(?:[^"]|"")*")""")
"""A literal or a name as psycopg writes it: quotes doubled; backslashes doubled too, where an E comes first."""
_SHORT: Final = 0x10000
"""From here on an escape has six digits."""


def text(part: Composable) -> str:
    """Return SQL as text that a terminal can be shown, with the same meaning to the server.

    A literal or a name that holds what is not printable (control characters, marks that turn the direction of
    writing) is written as U&'...', which needs standard_conforming_strings; all else is as psycopg writes it.
    """
    from psycopg import sql

    if isinstance(part, sql.Composed):
        return "".join(text(each) for each in part)
    plain = part.as_string(None)
    if plain.isprintable() or isinstance(part, sql.SQL):
        return plain
    return _QUOTED.sub(_escaped, plain)


def _escaped(found: re.Match[str]) -> str:
    """Return one literal or name, with Unicode escapes if it needs them (a blank keeps it from a word before)."""
    mark, literal, name = found.groups()
    quoted: str = literal or name
    if quoted.isprintable():
        return found[0]
    inside = quoted if mark else quoted.replace("\\", "\\\\")
    return " U&" + "".join(sign if sign.isprintable() else _escape(ord(sign)) for sign in inside)


def _escape(number: int) -> str:
    """Return a code point as a Unicode escape."""
    return f"\\{number:04X}" if number < _SHORT else f"\\+{number:06X}"
