"""Owns one record of the write-ahead log: its header, its checksum, its blocks and its own data."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.timeline.wal.images import Picture, restored

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER: Final = 24
"""Bytes of a record's header; a record is never shorter."""
XLOG: Final = 0
XACT: Final = 1
HEAP2: Final = 9
HEAP: Final = 10
"""Numbers of the managers whose records matter: the log's own, transactions, and two of tables."""
OPERATION: Final = 0x70
"""The bits of `info` that say what a record of a table or a transaction did."""
_LONG_DATA, _SHORT_DATA, _ORIGIN, _TOP_XID = 254, 255, 253, 252
_SAME_FILE, _HAS_DATA, _HAS_IMAGE = 0x80, 0x20, 0x10
_HEAD: Final = struct.Struct("<IIQBB")
_LENGTH: Final = struct.Struct("<I")


class BrokenError(Exception):
    """The bytes are no sound record; never shown to a user."""


class Block(NamedTuple):
    """A page that a record touches: its file's locator, fork and number, the record's data for it, and its image.

    `image` is None where the record has none, b"" where it cannot be restored.
    """

    ident: int
    locator: bytes
    fork: int
    number: int
    data: bytes | None
    image: bytes | None


class Record(NamedTuple):
    """A record at its place in the log; `info` and `manager` say what it did."""

    place: int
    xid: int
    info: int
    manager: int
    blocks: list[Block]
    main: bytes


def length_at(data: bytes, at: int) -> int:
    """Return the length of the record at `at`; 0 where none begins there."""
    if at + 4 > len(data):
        return 0
    length: int = _LENGTH.unpack_from(data, at)[0]
    return length if length >= HEADER else 0


def walk(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield where each record stands from `at` on, with its length, as long as they are whole."""
    size = len(data)
    unpack = _LENGTH.unpack_from
    while at + HEADER <= size:
        length = unpack(data, at)[0]
        if length < HEADER or at + length > size:
            return
        yield at, length
        at = at + length + 7 & ~7


def parse(place: int, raw: bytes, *, old: bool) -> Record:
    """Take a whole record apart; `old`: of PostgreSQL 14. Raises BrokenError where its checksum does not fit."""
    if not sound(raw):
        raise BrokenError
    try:
        return _parse(place, raw, old=old)
    except (struct.error, IndexError) as error:
        raise BrokenError from error


def _parse(place: int, raw: bytes, *, old: bool) -> Record:
    _length, xid, _before, info, manager = _HEAD.unpack_from(raw)
    heads: list[tuple[int, bytes, int, int, int, bool, Picture | None]] = []
    at, main, rest, locator = HEADER, 0, 0, b""
    while at < len(raw) - rest:
        index = raw[at]
        at += 1
        if index in (_SHORT_DATA, _LONG_DATA):
            main = raw[at] if index == _SHORT_DATA else _LENGTH.unpack_from(raw, at)[0]
            at += 1 if index == _SHORT_DATA else 4
            rest += main
            break
        if index in (_ORIGIN, _TOP_XID):
            at += 2 if index == _ORIGIN else 4
            continue
        flags, length = struct.unpack_from("<BH", raw, at)
        at += 3
        picture = None
        if flags & _HAS_IMAGE:
            picture, at = Picture.read(raw, at, old=old)
        if not flags & _SAME_FILE:
            locator = raw[at : at + 12]
            at += 12
        (number,) = _LENGTH.unpack_from(raw, at)
        at += 4
        heads.append((index, locator, flags & 15, number, length, bool(flags & _HAS_DATA), picture))
        rest += length + (picture.length if picture else 0)
    if at + rest != len(raw):
        raise BrokenError
    blocks = []
    for index, file, fork, number, length, has_data, picture in heads:
        image = None
        if picture:
            image = restored(picture, raw[at : at + picture.length])
            at += picture.length
        blocks.append(Block(index, file, fork, number, raw[at : at + length] if has_data else None, image))
        at += length
    return Record(place, xid, info, manager, blocks, raw[len(raw) - main :])


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE: Final = _table()


def sound(raw: bytes) -> bool:
    """Tell whether a record's own checksum (CRC-32C over its data, then its header) fits."""
    if len(raw) < HEADER:
        return False
    value, table = 0xFFFFFFFF, _TABLE
    for part in (raw[HEADER:], raw[:20]):
        for byte in part:
            value = table[(value ^ byte) & 0xFF] ^ value >> 8
    expected: int = _LENGTH.unpack_from(raw, 20)[0]
    return value ^ 0xFFFFFFFF == expected
