"""Owns id sets as text: ascending ranges with both ends included, as in "1000-1050,1063"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyroaring import BitMap

HIGHEST: Final = 2**31 - 1
_ONE: Final = re.compile(r"([1-9][0-9]{0,9})(?:-([1-9][0-9]{0,9}))?")


def ranges(ids: BitMap) -> str:
    """Return the ids as ascending ranges, both ends included: "1000-1050,1063"; "" for no ids.

    A range's first id is one whose predecessor is missing, its last one whose successor is missing: two set
    operations find them all, so that the time depends on the number of ranges, not of ids.
    """
    firsts, lasts = ids - ids.shift(1), ids - ids.shift(-1)
    return ",".join(
        [str(first) if first == last else f"{first}-{last}" for first, last in zip(firsts, lasts, strict=True)],
    )


def bounds(text: str) -> tuple[list[int], list[int]]:
    """Return the first and the last ids of ranges. Raises ValueError for any other spelling than that of `ranges`."""
    firsts: list[int] = []
    lasts: list[int] = []
    before = -1
    for part in text.split(",") if text else ():
        found = _ONE.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        wide = found is not None and found[2] is not None
        if not before + 1 < first <= last <= HIGHEST or (wide and first == last):
            raise ValueError("ids must be ascending ranges with a gap between them")
        firsts.append(first)
        lasts.append(last)
        before = last
    return firsts, lasts


def count(text: str) -> int:
    """Return how many ids the ranges hold. Raises ValueError as `bounds` does."""
    firsts, lasts = bounds(text)
    return sum(lasts) - sum(firsts) + len(firsts)


def members(text: str) -> BitMap:
    """Return the ids of ranges as a set. Raises ValueError as `bounds` does."""
    from pyroaring import BitMap

    found = BitMap()
    for first, last in zip(*bounds(text), strict=True):
        found.add_range(first, last + 1)
    return found
