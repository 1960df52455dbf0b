"""Owns the images of whole pages in the log: their headers in each version, and what they are packed with."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from listmonk_doctor.timeline.wal.pages import PAGE

_HOLE = 1
_OLD_PGLZ: Final = 2
_PGLZ, _LZ4, _ZSTD = 4, 8, 16
_LONG_MATCH: Final = 18


class Picture(NamedTuple):
    """What the header of an image says: its bytes in the record, its packing ("" for none), and the hole left out."""

    length: int
    packing: str
    hole_at: int
    hole: int

    @staticmethod
    def read(raw: bytes, at: int, *, old: bool) -> tuple[Picture, int]:
        """Read the header at `at`, and return it with where it ends; PostgreSQL 14 (`old`) has its own flags."""
        length, hole_at, info = struct.unpack_from("<HHB", raw, at)
        at += 5
        if old:
            packing = "pglz" if info & _OLD_PGLZ else ""
        else:
            packing = "pglz" if info & _PGLZ else "lz4" if info & _LZ4 else "zstd" if info & _ZSTD else ""
        hole = 0
        if info & _HOLE and packing:
            (hole,) = struct.unpack_from("<H", raw, at)
            at += 2
        elif info & _HOLE:
            hole = PAGE - length
        return Picture(length, packing, hole_at, hole), at


def restored(picture: Picture, raw: bytes) -> bytes:
    """Return the page as it was; b"" where it cannot be restored."""
    wanted = PAGE - picture.hole
    try:
        if picture.packing == "pglz":
            raw = _pglz(raw, wanted)
        elif picture.packing == "lz4":
            import lz4.block

            raw = lz4.block.decompress(raw, uncompressed_size=wanted)
        elif picture.packing == "zstd":
            import zstandard

            raw = zstandard.ZstdDecompressor().decompress(raw, max_output_size=wanted)
    except Exception:  # noqa: BLE001 - each library has errors of its own, and may not be there
        return b""
    if len(raw) != wanted or not 0 <= picture.hole_at <= wanted:
        return b""
    return raw[: picture.hole_at] + bytes(picture.hole) + raw[picture.hole_at :]


def _pglz(source: bytes, wanted: int) -> bytes:
    """Unpack PostgreSQL's own packing. Raises IndexError where the bytes are none."""
    out = bytearray()
    at = 0
    while at < len(source) and len(out) < wanted:
        control = source[at]
        at += 1
        for bit in range(8):
            if at >= len(source) or len(out) >= wanted:
                break
            if not control >> bit & 1:
                out.append(source[at])
                at += 1
                continue
            length = (source[at] & 15) + 3
            back = (source[at] & 0xF0) << 4 | source[at + 1]
            at += 2
            if length == _LONG_MATCH:
                length += source[at]
                at += 1
            if not 0 < back <= len(out):
                raise IndexError
            for _ in range(length):
                out.append(out[-back])
    return bytes(out)
