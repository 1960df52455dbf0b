"""Owns ids that travel packed, with or without a code above each, and makes bitmaps of them without Python numbers."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from pyroaring import BitMap, BitMap64

if TYPE_CHECKING:
    from collections.abc import Iterator

LITTLE: Final = sys.byteorder == "little"
WORD: Final = 32
"""Bits of an id in an 8-byte number; the code stands above them."""
SHIFT: Final = 27
"""Bits of an id in a 4-byte number; the code (below 32) stands above them."""


def unpack(packed: bytes | None) -> BitMap:
    """Return the ids of a packed column (4 bytes each, network order; None: no rows)."""
    ids = array("I")
    ids.frombytes(packed or b"")
    if LITTLE:
        ids.byteswap()
    return BitMap(ids)


def narrow(packed: bytes | None) -> Iterator[tuple[int, BitMap]]:
    """Yield each code of a column of 4-byte numbers with its ids: the code stands above the 27 bits of the id."""
    mixed = unpack(packed)
    for code in range(1 << (WORD - SHIFT)):
        first = code << SHIFT
        if mixed.range_cardinality(first, first + (1 << SHIFT)):
            yield code, (mixed & BitMap(range(first, first + (1 << SHIFT)))).shift(-first)


def wide(packed: bytes | None) -> Iterator[tuple[int, BitMap]]:
    """Yield each code of a column of 8-byte numbers with its ids: the code stands above the 32 bits of the id."""
    mixed = array("Q")
    mixed.frombytes(packed or b"")
    if LITTLE:
        mixed.byteswap()
    # A bitmap sorts faster than anything else at hand; in order, each code is one slice.
    ordered = BitMap64(mixed).to_array()
    halves = memoryview(ordered).cast("B").cast("I")[0 if LITTLE else 1 :: 2]
    start = 0
    while start < len(ordered):
        code = ordered[start] >> WORD
        end = bisect_left(ordered, (code + 1) << WORD, start)
        ids = array("I")
        ids.frombytes(halves[start:end].tobytes())
        yield code, BitMap(ids)
        start = end
