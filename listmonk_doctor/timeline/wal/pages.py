"""Owns the pages of the write-ahead log: their headers, whose they are, and the bare records between them."""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from listmonk_doctor.errors import RefusedError

PAGE: Final = 8192
"""Bytes of a page, of the log and of a table alike; a server built otherwise is refused."""
MAGICS: Final = {0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}
"""What the log's pages begin with, by PostgreSQL's major version."""
SHORT: Final = 24
LONG: Final = 40
CONTINUED: Final = 1
FIRST_OF_SEGMENT: Final = 2
_HEADER: Final = struct.Struct("<HHIQI")
_LONG: Final = struct.Struct("<HHIQI4xQII")


def aligned(at: int) -> int:
    """Return where the next record begins: the log keeps records at multiples of 8 bytes."""
    return at + 7 & ~7


@dataclass(frozen=True, slots=True)
class Opening:
    """What the first page of a segment says: of which server it is, and which stretch of the log it holds.

    `address` is its first byte's place in the log, `system` the cluster's number, `size` a segment's bytes.
    """

    major: int
    magic: int
    timeline: int
    address: int
    system: int
    size: int


def opening(name: str, head: bytes) -> Opening | None:
    """Read the first bytes of a segment; None where nothing was written into it yet.

    Raises RefusedError where it is no segment, or one of a server that cannot be read here.
    """
    if len(head) < LONG or not any(head[:LONG]):
        return None
    magic, info, timeline, address, _rest, system, size, block = _LONG.unpack_from(head)
    if magic not in MAGICS and int.from_bytes(head[:2], "big") in MAGICS:
        raise RefusedError(
            f"The log segment {name} is of a big-endian server, whose log cannot be read.",
            hint="Use a recording of watch --record.",
        )
    if magic not in MAGICS or not info & FIRST_OF_SEGMENT:
        raise RefusedError(
            f"The file {name} is no write-ahead log of PostgreSQL 14 to 18.", hint="Name a folder with such segments."
        )
    if block != PAGE or size < 1 << 20 or size & size - 1 or address % size:
        raise RefusedError(
            f"The log segment {name} has pages of {block} bytes; only {PAGE} can be read.",
            hint="Use a recording of watch --record.",
        )
    return Opening(MAGICS[magic], magic, timeline, address, system, size)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring pages of the log without their headers: in `data` the records stand one behind the other.

    `starts` is where each page begins in `data`, `rests` how many bytes of the record before each page begins with.
    `ended`: the segment was given up here on purpose, and the log goes on in the next one. `broken`: what follows
    here is of another time.
    """

    address: int
    data: bytes
    starts: list[int]
    heads: list[int]
    rests: list[int]
    ended: bool
    broken: bool

    def place(self, at: int) -> int:
        """Return where an offset of `data` lies in the log."""
        page = bisect_right(self.starts, at) - 1
        return self.address + page * PAGE + self.heads[page] + at - self.starts[page]

    @property
    def begin(self) -> int | None:
        """Where the first record that begins in this stretch stands; None where none does."""
        return next((each for each in map(self.entry, range(len(self.starts))) if each is not None), None)

    def entry(self, page: int) -> int | None:
        """Return where the first record that begins in a page stands in `data`; None where none begins there."""
        at = self.starts[page] + aligned(self.rests[page])
        following = self.starts[page + 1] if page + 1 < len(self.starts) else len(self.data)
        return at if at < following else None

    def entry_before(self, at: int) -> int | None:
        """Return a place at or before `at` where a record begins; None where there is none."""
        for page in range(bisect_right(self.starts, at) - 1, -1, -1):
            entry = self.entry(page)
            if entry is not None and entry <= at:
                return entry
        return None


def strip(raw: bytes, address: int, magic: int, limit: int | None = None) -> Stretch:
    """Take the headers out of the pages of `raw`, which stand in the log from `address` on, up to `limit`."""
    view = memoryview(raw)
    pieces: list[memoryview] = []
    starts: list[int] = []
    heads: list[int] = []
    rests: list[int] = []
    total, ended, broken = 0, False, False
    for offset in range(0, len(raw) - PAGE + 1, PAGE):
        if limit is not None and address + offset >= limit:
            break
        mark, info, _timeline, place, rest = _HEADER.unpack_from(raw, offset)
        if mark != magic or place != address + offset:
            ended = not any(view[offset : offset + SHORT])
            broken = not ended
            break
        head = LONG if info & FIRST_OF_SEGMENT else SHORT
        stop = PAGE if limit is None else min(PAGE, limit - address - offset)
        if stop <= head:
            break
        pieces.append(view[offset + head : offset + stop])
        starts.append(total)
        heads.append(head)
        rests.append(rest if info & CONTINUED else 0)
        total += stop - head
    return Stretch(address, b"".join(pieces), starts, heads, rests, ended, broken)
