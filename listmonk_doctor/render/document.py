"""Owns the blocks that a page for people is made of, before it is drawn for a terminal or a pipe.

A page builder says what is shown and in which order; terminal.py and plain.py say how it looks. Every text in a
block is taken as untrusted: the drawers clean it, so that no builder can forget to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Tone = Literal["plain", "strong", "dim", "good", "warn", "bad"]


class Heading(NamedTuple):
    """A line that opens a part of the page; `note` is said beside it, more quietly."""

    text: str
    note: str = ""
    tone: Tone = "strong"


class Lines(NamedTuple):
    """Sentences, one below the other; `bullet` stands before each ("" for none)."""

    items: tuple[str, ...]
    bullet: str = ""
    tone: Tone = "plain"


class Facts(NamedTuple):
    """Names with their values."""

    rows: tuple[tuple[str, str], ...]


class Table(NamedTuple):
    """Rows under headers; the columns in `right` hold numbers and are set to the right, those in `whole` not folded."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()
    tones: tuple[Tone, ...] = ()
    """One per row, or empty."""
    whole: frozenset[int] = frozenset()


class Diff(NamedTuple):
    """One row's change, column by column: None before where there is no old value, None after where no new one."""

    title: str
    rows: tuple[tuple[str, str | None, str | None], ...]


class Strip(NamedTuple):
    """The audience in id order as a line of cells; each cell and each legend entry names a group."""

    cells: tuple[str, ...]
    legend: tuple[tuple[str, str], ...]
    note: str = ""


class Chart(NamedTuple):
    """Mails counted and the cursor over time, for a terminal only; a pipe gets nothing of it.

    `title` stands above it. `points` are (seconds, sent, cursor), by time and at least one; `marks` the seconds of
    deaths; `first` and `last` name the ends of the axis.
    """

    title: str
    points: tuple[tuple[float, int, int], ...]
    marks: tuple[float, ...]
    first: str
    last: str


class Command(NamedTuple):
    """A command as the reader would type it next, with what it does."""

    text: str
    does: str = ""


Block = Heading | Lines | Facts | Table | Diff | Strip | Chart | Command
Document = tuple[Block, ...]


def lines(items: Sequence[str], bullet: str = "-", tone: Tone = "plain") -> tuple[Block, ...]:
    """Return the sentences as a block, or nothing where there are none."""
    return (Lines(tuple(items), bullet, tone),) if items else ()


def part(title: str, items: Sequence[str], note: str = "") -> tuple[Block, ...]:
    """Return a heading with its sentences, or nothing where there are none."""
    return (Heading(title, note), Lines(tuple(items), "-")) if items else ()
