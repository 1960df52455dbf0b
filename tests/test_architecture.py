"""Holds the code to the map of the design: imports point one way, heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import listmonk_doctor

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = Path(listmonk_doctor.__file__).resolve().parent
ROOMS: Final = {
    "errors": frozenset[str](),
    "database": frozenset({"errors"}),
    "listmonk": frozenset({"database", "errors"}),
    "timeline": frozenset({"listmonk", "database", "errors"}),
    "evidence": frozenset({"listmonk", "database", "errors"}),
    "diagnosis": frozenset({"evidence", "timeline", "listmonk", "database", "errors"}),
    "repair": frozenset({"diagnosis", "listmonk", "database", "errors"}),
    "render": frozenset({"repair", "diagnosis", "timeline", "listmonk", "errors"}),
    "demo": frozenset({"database", "errors"}),
    "commands": frozenset({"render", "repair", "diagnosis", "timeline", "listmonk", "database", "demo", "errors"}),
}
"""Each room, and the rooms that it may import from."""
ONLY_IN: Final = {
    "typer": ("cli.py", "commands/"),
    "rich": ("render/terminal.py",),
    "tabulate": ("render/plain.py",),
}
"""Which files may import a library, by the beginning of their path."""
LONGEST: Final = 330
"""Lines of a module: about 300, and a little room."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield each module's path within the package with its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the modules that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_one_way() -> None:
    """No room imports from one that stands above it."""
    wrong = []
    for path, tree in modules():
        room = path.split("/")[0].removesuffix(".py")
        if room not in ROOMS:
            continue
        for name in imported(tree):
            found = re.match(r"listmonk_doctor\.(\w+)", name)
            if found and found[1] in ROOMS and found[1] not in ROOMS[room] | {room}:
                wrong.append(f"{path} imports {name}")
    assert not wrong


def test_libraries_are_imported_only_where_they_belong() -> None:
    """Typer stays in the command line, rich and tabulate in their one drawer each."""
    wrong = [
        f"{path} imports {name}"
        for path, tree in modules()
        for name in imported(tree)
        for library, places in ONLY_IN.items()
        if name.split(".")[0] == library and not path.startswith(places)
    ]
    assert not wrong


def test_only_the_database_room_opens_connections() -> None:
    """`psycopg.connect` is called in database/ alone, and by the player that stands in for listmonk's own sessions."""
    found = {
        path
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "psycopg.connect"
    }
    assert {path for path in found if not path.startswith("database/")} == {"demo/player.py"}


def test_help_imports_nothing_heavy() -> None:
    """`--help` comes without the database driver, the bitmaps, rich and tabulate."""
    code = (
        "import sys\n"
        "from listmonk_doctor import cli\n"
        "cli.app(['--help'], standalone_mode=False)\n"
        "print(sorted({'psycopg', 'pyroaring', 'rich', 'tabulate'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_every_module_says_what_it_owns_and_stays_small() -> None:
    """Each module opens with a sentence, and none holds two things' worth of lines."""
    for path, tree in modules():
        assert ast.get_docstring(tree), path
        assert len((PACKAGE / path).read_text(encoding="utf-8").splitlines()) <= LONGEST, path
