"""Owns how a page looks on a terminal, drawn by rich; data only ever enters as Text, never as markup."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, Literal

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from listmonk_doctor.render import document as doc
from listmonk_doctor.render import plain
from listmonk_doctor.render.strip import GROUPS
from listmonk_doctor.render.text import clean, visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self, TextIO

STYLES: Final[dict[doc.Tone, str]] = {
    "plain": "",
    "strong": "bold",
    "dim": "dim",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
}
MOST_ROWS: Final = 50
"""A rich table of thousands of rows takes seconds; longer tables are drawn as plain text."""
WIDEST: Final = 110
"""Columns: longer lines of prose are hard to read, however wide the window is."""


def _text(data: str, tone: doc.Tone = "plain") -> Text:
    """Return data as a Text: cleaned, and no markup in it."""
    return Text(clean(data), style=STYLES[tone])


def colour(environ: Mapping[str, str], *, live: bool) -> bool:
    """Tell whether colours may be used: on a terminal or with FORCE_COLOR; never with NO_COLOR or a dumb terminal."""
    if environ.get("NO_COLOR") or dumb(environ):
        return False
    return live or bool(environ.get("FORCE_COLOR"))


def dumb(environ: Mapping[str, str]) -> bool:
    """Tell whether the terminal says that it can draw nothing but text."""
    return environ.get("TERM", "").lower() in ("dumb", "unknown")


def console(environ: Mapping[str, str], width: int | None = None, *, live: bool = True) -> Console:
    """Return a console that writes to memory; COLUMNS, where it is a number, beats `width`."""
    columns = environ.get("COLUMNS", "")
    asked = int(columns) if columns.isdigit() and int(columns) > 0 else width
    coloured = colour(environ, live=live)
    return Console(
        file=io.StringIO(),
        force_terminal=coloured,
        force_interactive=False,
        no_color=not coloured,
        color_system="standard" if coloured else None,
        width=max(20, asked or 80),
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )


def _grid(block: doc.Lines) -> RichTable:
    """Return sentences with a hanging indent behind their bullet."""
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    if block.bullet:
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for item in block.items:
        bullet = [Text(block.bullet)] if block.bullet else []
        grid.add_row(*bullet, _text(item, block.tone))
    return grid


def _facts(block: doc.Facts) -> RichTable:
    """Return names and values in two columns."""
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in block.rows:
        grid.add_row(_text(name, "dim"), _text(value))
    return grid


def _table(block: doc.Table) -> RichTable | Text:
    """Return a table; one that is too long for rich as plain text."""
    if len(block.rows) > MOST_ROWS:
        return Text(plain.table(block))
    table = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
    for index, header in enumerate(block.headers):
        justify: Literal["left", "right"] = "right" if index in block.right else "left"
        table.add_column(Text(header), justify=justify, overflow="fold", no_wrap=index in block.whole)
    for index, row in enumerate(block.rows):
        tone = block.tones[index] if block.tones else "plain"
        table.add_row(*[_text(cell, tone) for cell in row])
    return table


def _diff(block: doc.Diff) -> Group:
    """Return a change as a diff, old values in red and new ones in green."""
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, before, after in block.rows:
        if before is not None:
            grid.add_row(Text("-", style="red"), _text(name), Text(clean(before), style="red"))
        if after is not None:
            grid.add_row(Text("+", style="green"), _text(name), Text(clean(after), style="green"))
    return Group(_text(block.title, "strong"), grid)


def _strip(block: doc.Strip, *, blocks: bool) -> Text:
    """Return the strip with its legend below."""
    drawn = Text()
    for name in block.cells:
        look = GROUPS[name]
        drawn.append(look.block if blocks else look.ascii, style=STYLES[look.tone])
    drawn.append("\n")
    for index, (name, words) in enumerate(block.legend):
        look = GROUPS[name]
        drawn.append("" if not index else "   ")
        drawn.append(look.block if blocks else look.ascii, style=STYLES[look.tone])
        drawn.append(f" {clean(words)}")
    if block.note:
        drawn.append(f"\n({clean(block.note)})", style="dim")
    return drawn


def _command(block: doc.Command) -> Text:
    """Return a command on a line of its own, never folded, so that it can be copied."""
    drawn = Text(no_wrap=True, overflow="ignore")
    drawn.append(f"  $ {visible(block.text)}", style="bold")
    if block.does:
        drawn.append(f"\n    {clean(block.does)}", style="dim")
    return drawn


def _chart(block: doc.Chart, width: int) -> Text:
    """Return the chart, as wide as there is room."""
    from listmonk_doctor.render import chart

    drawn = Text("\n", no_wrap=True)
    drawn.append(f"{clean(block.title)}\n", style=STYLES["strong"])
    return drawn.append("\n".join(clean(line) for line in chart.lines(block, width)))


def _draw(block: doc.Block, *, blocks: bool, width: int) -> RenderableType:  # noqa: PLR0911 - one per kind of block
    """Return what rich prints for a block."""
    match block:
        case doc.Heading():
            return Text.assemble(_text(block.text, block.tone), _text(f"  ({block.note})" if block.note else "", "dim"))
        case doc.Lines():
            return _grid(block)
        case doc.Facts():
            return _facts(block)
        case doc.Table():
            return _table(block)
        case doc.Diff():
            return _diff(block)
        case doc.Strip():
            return _strip(block, blocks=blocks)
        case doc.Chart():
            return _chart(block, width - 2)
        case doc.Command():
            return _command(block)


class Screen:
    """A page that is drawn anew in place while something is watched; a context manager.

    It writes to `stream`, a terminal. What rich's own thread would do is not needed: it draws when it is told to.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        """Take the terminal; nothing is drawn yet."""
        from rich.live import Live

        coloured = colour(environ, live=True)
        self._environ = environ
        self._console = Console(
            file=stream,
            force_terminal=True,
            no_color=not coloured,
            color_system="standard" if coloured else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last page standing."""
        self._live.stop()

    def show(self, page: doc.Document) -> None:
        """Draw a page in the place of the one before."""
        drawn = render(page, self._environ, self._console.width, live=True)
        self._live.update(Text.from_ansi(drawn.rstrip("\n")), refresh=True)


def render(page: doc.Document, environ: Mapping[str, str], width: int | None = None, *, live: bool = True) -> str:
    """Return the page as text for a terminal `width` columns wide (COLUMNS beats it), with ANSI colours or none.

    `live`: it is a terminal that it goes to.
    """
    target = console(environ, width, live=live)
    blocks = not dumb(environ)
    for index, block in enumerate(page):
        heading = isinstance(block, doc.Heading)
        if heading and index:
            target.print()
        drawn = _draw(block, blocks=blocks, width=target.width)
        if isinstance(block, doc.Command) or (isinstance(block, doc.Table) and len(block.rows) > MOST_ROWS):
            target.print(drawn, soft_wrap=True)
            continue
        prose = isinstance(block, doc.Lines | doc.Facts | doc.Heading)
        target.print(
            drawn if heading else Padding(drawn, (0, 0, 0, 2), expand=False),
            width=min(target.width, WIDEST) if prose else None,
        )
    drawn_text: str = target.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in drawn_text.split("\n")[:-1])


class Meter:
    """A bar on stderr that shows how far something has come; it draws itself, and is gone when it stops."""

    def __init__(self, text: str, done: int, total: int) -> None:
        """Begin to draw."""
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        shown = Console(stderr=True, highlight=False, markup=False, emoji=False)
        what = TextColumn("{task.description}", markup=False)
        columns = (what, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=shown, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._task = self._bar.add_task(text, total=total, completed=done)
        self._bar.start()

    def show(self, done: int, total: int) -> None:
        """Show that so much of so much is done."""
        self._bar.update(self._task, completed=done, total=total)

    def stop(self) -> None:
        """Clear the line."""
        self._bar.stop()
