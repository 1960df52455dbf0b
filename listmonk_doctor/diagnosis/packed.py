"""Owns ids that travel packed, with or without a code above each, and makes bitmaps of them without Python numbers."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from pyroaring import BitMap, BitMap64

if TYPE_CHECKING:
    from collections.abc import Iterator

LITTLE: Final = sys.byteorder == "little"
WORD: Final = 32
"""Bits of an id in an 8-byte number; the code stands above them."""
Mixed: TypeAlias = BitMap | BitMap64
"""Ids with a code above each."""


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

    def mixed(self, packed: bytes | None) -> Mixed:
        """Return the numbers of a packed column, ids with their codes."""
        return _eights(packed) if self.wide else unpack(packed)

    def apart(self, mixed: Mixed) -> Iterator[tuple[int, BitMap]]:
        """Yield each code of such numbers with its ids."""
        return _halves(mixed) if isinstance(mixed, BitMap64) else _slices(mixed, self.shift)


class Mixing:
    """Packed columns put together as they come. Their codes are told apart once, at the end: that takes its time."""

    def __init__(self, how: Packing) -> None:
        """Begin with none; `how` ids and codes are packed."""
        self._how = how
        self._mixed: Mixed = BitMap64() if how.wide else BitMap()

    def put(self, packed: bytes | None) -> None:
        """Add a packed column."""
        if packed:
            self._mixed.update(self._how.mixed(packed))

    def apart(self) -> dict[int, BitMap]:
        """Return the ids of each code, and forget them."""
        mixed, self._mixed = self._mixed, BitMap()
        return dict(self._how.apart(mixed))


def packing(codes: int, last_id: int) -> Packing:
    """Return the shortest packing for so many codes (from 0) and ids up to `last_id`."""
    shift = max(last_id, 1).bit_length()
    return Packing(wide=codes << shift > 1 << WORD, shift=shift)


def wide(packed: bytes | None) -> Iterator[tuple[int, BitMap]]:
    """Yield each code of a column of 8-byte numbers with its ids: the code stands above the 32 bits of the id."""
    return _halves(_eights(packed))


def _slices(mixed: BitMap, shift: int) -> Iterator[tuple[int, BitMap]]:
    """Yield each code of 4-byte numbers with its ids."""
    last = mixed.max() if mixed else -1
    start = 0
    while start <= last:
        code = mixed.next_set_bit(start) >> shift
        start = (code + 1) << shift
        some = mixed & BitMap(range(code << shift, start))
        yield code, some.shift(-(code << shift))


def _eights(packed: bytes | None) -> BitMap64:
    """Return the numbers of a column of 8-byte numbers."""
    numbers = array("Q")
    numbers.frombytes(packed or b"")
    if LITTLE:
        numbers.byteswap()
    return BitMap64(numbers)


def _halves(mixed: BitMap64) -> Iterator[tuple[int, BitMap]]:
    """Yield each code of 8-byte numbers with its ids."""
    ordered = mixed.to_array()
    halves = memoryview(ordered).cast("B").cast("I")[0 if LITTLE else 1 :: 2]
    start = 0
    while start < len(ordered):
        code = ordered[start] >> WORD
        end = bisect_left(ordered, (code + 1) << WORD, start)
        ids = array("I")
        ids.frombytes(halves[start:end].tobytes())
        yield code, BitMap(ids)
        start = end
