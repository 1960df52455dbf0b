"""Owns spoiling a document key by key: each key taken away, each value made one of another type."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Steps = tuple[str | int, ...]

RETYPED: Final[Mapping[str, Any]] = {
    "null": None,
    "boolean": True,
    "integer": 1,
    "number": 0.5,
    "string": "",
    "array": [],
    "object": {},
}
"""A value of each type of JSON, the emptiest of it: what takes one of them takes the type."""


def type_of(value: Any) -> str:
    """Return the type of a value by JSON Schema; a number that is whole is an integer."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


@dataclass(frozen=True)
class Mutant:
    """A document with one thing spoilt: `path` as in `campaigns[].run`, `became` a type or "missing"."""

    path: str
    was: str
    became: str
    document: Any


def written(steps: Steps) -> str:
    """Return a path without the positions in arrays, as in `campaigns[].strategies[].missed[]`."""
    text = "".join("[]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def places(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Yield every value below a document with the way to it."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in pairs:
        yield (*steps, step), below
        yield from places(below, (*steps, step))


def _changed(document: Any, steps: Steps, change: Callable[[Any, str | int], None]) -> Any:
    """Return a copy in which `change` was called with what holds the last step, and that step."""
    spoilt = copy.copy(document)
    holder = spoilt
    for step in steps[:-1]:
        holder[step] = copy.copy(holder[step])
        holder = holder[step]
    change(holder, steps[-1])
    return spoilt


def mutants(document: Any, done: set[tuple[str, str]]) -> Iterator[Mutant]:
    """Yield the mutants of a document; of alike places (same path, same type) the last stands for all.

    The last, since of the strategies the first is "nothing", which has to be there. `done` holds the places that were
    spoilt before, and is added to.
    """
    for steps, value in reversed(list(places(document))):
        path, was = written(steps), type_of(value)
        if (path, was) in done:
            continue
        done.add((path, was))
        if isinstance(steps[-1], str):
            yield Mutant(path, was, "missing", _changed(document, steps, lambda holder, step: holder.pop(step)))
        for name, other in RETYPED.items():
            if name != was and (was, name) != ("number", "integer"):

                def put(holder: Any, step: str | int, other: Any = other) -> None:
                    holder[step] = other

                yield Mutant(path, was, name, _changed(document, steps, put))


def described(schema: Mapping[str, Any]) -> set[str]:
    """Return the paths of all keys that a schema has something to say about."""
    found: set[str] = set()

    def walk(node: Any, path: str) -> None:
        if not isinstance(node, dict):
            return
        if "$ref" in node:
            walk(schema["$defs"][node["$ref"].rpartition("/")[2]], path)
        for word in ("oneOf", "anyOf", "allOf"):
            for each in node.get(word, ()):
                walk(each, path)
        for word in ("if", "then", "else"):
            walk(node.get(word), path)
        walk(node.get("items"), f"{path}[]")
        for name, below in node.get("properties", {}).items():
            if below is not False:
                here = f"{path}.{name}".removeprefix(".")
                found.add(here)
                walk(below, here)

    walk(schema, "")
    return found
