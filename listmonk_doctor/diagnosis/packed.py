"""Owns ids that travel packed, with or without a code above each, and makes bitmaps of them without Python numbers."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from pyroaring import BitMap, BitMap64

if TYPE_CHECKING:
    from collections.abc import Iterator

LITTLE: Final = sys.byteorder == "little"
WORD: Final = 32
"""Bits of an id in an 8-byte number; the code stands above them."""


def unpack(packed: bytes | None) -> BitMap:
    """Return the ids of a packed column (4 bytes each, network order; None: no rows)."""
    ids = array("I")
    ids.frombytes(packed or b"")
    if LITTLE:
        ids.byteswap()
    return BitMap(ids)


class Packing(NamedTuple):
    """How ids and codes are packed together: the code above `shift` bits of 4 bytes, or (wide) above 32 bits of 8."""

    wide: bool
    shift: int

    def unpack(self, packed: bytes | None) -> Iterator[tuple[int, BitMap]]:
        """Yield each code of a packed column with its ids."""
        return wide(packed) if self.wide else narrow(packed, self.shift)


def packing(codes: int, last_id: int) -> Packing:
    """Return the shortest packing for so many codes (from 0) and ids up to `last_id`."""
    shift = max(last_id, 1).bit_length()
    return Packing(wide=codes << shift > 1 << WORD, shift=shift)


def narrow(packed: bytes | None, shift: int) -> Iterator[tuple[int, BitMap]]:
    """Yield each code of a column of 4-byte numbers with its ids."""
    mixed = unpack(packed)
    last = mixed.max() if mixed else -1
    start = 0
    while start <= last:
        code = mixed.next_set_bit(start) >> shift
        start = (code + 1) << shift
        some = mixed & BitMap(range(code << shift, start))
        yield code, some.shift(-(code << shift))


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
