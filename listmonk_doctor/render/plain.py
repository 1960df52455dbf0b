"""Owns how a page looks in a pipe: no colour, no folding, one line for one thing, drawn by tabulate."""

from __future__ import annotations

from listmonk_doctor.render import document as doc
from listmonk_doctor.render.text import clean, visible


def table(block: doc.Table) -> str:
    """Return a table in columns, each row on one line; no cell is read as a number."""
    from tabulate import tabulate

    return tabulate(
        [[clean(cell) for cell in row] for row in block.rows],
        headers=list(block.headers),
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if index in block.right else "left" for index in range(len(block.headers))],
        preserve_whitespace=True,
    )


def _diff(block: doc.Diff) -> list[str]:
    """Return a change as a diff whose lines begin with - and +."""
    found = [f"  {clean(block.title)}"]
    width = max((len(name) for name, _, _ in block.rows), default=0)
    for name, before, after in block.rows:
        if before is not None:
            found.append(f"- {clean(name):{width}} {clean(before)}")
        if after is not None:
            found.append(f"+ {clean(name):{width}} {clean(after)}")
    return found


def _strip(block: doc.Strip) -> list[str]:
    """Return the strip in ASCII with its legend."""
    from listmonk_doctor.render.strip import GROUPS

    legend = "   ".join(f"{GROUPS[name].ascii} {clean(words)}" for name, words in block.legend)
    return ["".join(GROUPS[name].ascii for name in block.cells), legend, f"({clean(block.note)})"]


def _draw(block: doc.Block) -> list[str]:  # noqa: PLR0911 - one per kind of block
    """Return the lines of one block."""
    match block:
        case doc.Heading():
            return [clean(block.text) + (f"  ({clean(block.note)})" if block.note else "")]
        case doc.Lines():
            bullet = f"{block.bullet} " if block.bullet else ""
            return [bullet + clean(item) for item in block.items]
        case doc.Facts():
            width = max((len(name) for name, _ in block.rows), default=0)
            return [f"{clean(name):{width}}  {clean(value)}" for name, value in block.rows]
        case doc.Table():
            return table(block).splitlines()
        case doc.Diff():
            return _diff(block)
        case doc.Strip():
            return _strip(block)
        case doc.Chart():
            return []
        case doc.Command():
            return [f"$ {visible(block.text)}" + (f"  # {clean(block.does)}" if block.does else "")]


def render(page: doc.Document) -> str:
    """Return the page as lines of text without colour."""
    drawn: list[str] = []
    for index, block in enumerate(page):
        if isinstance(block, doc.Heading) and index:
            drawn.append("")
        drawn.extend(line.rstrip() for line in _draw(block))
    return "".join(f"{line}\n" for line in drawn)
