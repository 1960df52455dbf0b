"""Owns the model of a table's pages: row versions as the log's records make them, linked to what they replaced."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.wal.pages import PAGE
from listmonk_doctor.timeline.wal.records import HEAP, HEAP2, OPERATION, Block, BrokenError, Record

HEADER: Final = 23
"""Bytes of a tuple's header on a page, before its bitmap of nulls."""
INSERT, DELETE, UPDATE, HOT_UPDATE, LOCK = 0x00, 0x10, 0x20, 0x40, 0x60
"""Operations of the table manager's records."""
MULTI_INSERT: Final = 0x50
"""The one of its second manager that makes rows."""
_FRESH_PAGE: Final = 0x80
_PREFIX, _SUFFIX = 0x20, 0x40
_ANY: Final = -1
"""The transaction of a version that only its successor speaks of."""
_LAYOUT: Final = 4
_NORMAL: Final = 1
_HEADER: Final = struct.Struct("<I14xHHB")

Spot = tuple[int, int]


@dataclass(eq=False, slots=True)
class Version:
    """One version of some row: its bytes behind the header, and which of them are known.

    `record` is the place in the log of the record that made it (None: only a page's image shows it), `spot` its block
    and line pointer. It shares `shared` bytes at both ends with `twin`, and replaced `replaced`. `data` is None where
    not even its length is known.
    """

    xmin: int
    spot: Spot
    record: int | None = None
    attributes: int = 0
    flags: int = 0
    nulls: bytes = b""
    data: bytearray | None = None
    known: bytearray = field(default_factory=bytearray)
    twin: Version | None = None
    shared: tuple[int, int] = (0, 0)
    replaced: Version | None = None
    inserted: bool = False

    @property
    def whole(self) -> bool:
        """Whether every byte is known."""
        return self.data is not None and 0 not in self.known

    def fill(self, other: Version) -> None:
        """Take the bytes of the same version as a page's image shows it."""
        if not self.whole:
            self.attributes, self.flags, self.nulls = other.attributes, other.flags, other.nulls
            self.data, self.known = other.data, other.known
        self.xmin = other.xmin


def on_page(raw: bytes, spot: Spot) -> Version:
    """Return the version that lies on a page as `raw`. Raises BrokenError where it is none."""
    xmin, attributes, flags, head = _HEADER.unpack_from(raw)
    if not HEADER <= head <= len(raw):
        raise BrokenError
    data = bytearray(raw[head:])
    return Version(xmin, spot, None, attributes, flags, raw[HEADER:head], data, bytearray(b"\1" * len(data)))


def tuples(page: bytes) -> dict[int, bytes]:
    """Return what lies on a page by line pointer. Raises RefusedError where it is no page of this layout."""
    if not any(page[:24]):
        return {}
    lower, _upper, _special, layout = struct.unpack_from("<HHHH", page, 12)
    if layout & 0xFF != _LAYOUT or layout & 0xFF00 != PAGE:
        raise RefusedError(
            "The table's pages have another layout than can be read from the log.",
            hint="Use a recording of watch --record.",
        )
    found = {}
    for number in range(1, (min(lower, PAGE) - 24) // 4 + 1):
        (item,) = struct.unpack_from("<I", page, 20 + 4 * number)
        offset, flags, length = item & 0x7FFF, item >> 15 & 3, item >> 17
        if flags == _NORMAL and length >= HEADER:
            found[number] = page[offset : offset + length]
    return found


def _of_page(page: bytes, block: int) -> dict[int, Version]:
    """Return the versions on a page by line pointer."""
    return {line: on_page(raw, (block, line)) for line, raw in tuples(page).items()}


def lines_of(page: bytes, block: int, xid: int) -> list[int]:
    """Return the line pointers under which a page's image shows versions that one transaction made, in order."""
    return sorted(line for line, version in _of_page(page, block).items() if version.xmin == xid)


class Heap:
    """The pages of one table, fed with its records in the order of the log; `made` holds every version that was met."""

    def __init__(self, locator: bytes) -> None:
        """Begin with nothing known; `locator` is the file's tablespace, database and number, as the log holds them."""
        self.locator = locator
        self.made: list[Version] = []
        self._at: dict[Spot, Version] = {}

    def forget(self) -> None:
        """Begin anew behind a gap in the log: what stands on the pages is not known any more."""
        self._at.clear()

    def apply(self, record: Record) -> bool:
        """Replay one record; tell whether it made a version. Raises BrokenError where it makes no sense."""
        try:
            return self._apply(record)
        except (struct.error, IndexError) as error:
            raise BrokenError from error

    def _apply(self, record: Record) -> bool:
        blocks = [each for each in record.blocks if each.locator == self.locator and each.fork == 0]
        if not blocks:
            return False
        operation = record.info & OPERATION
        first = blocks[0]
        if (
            record.manager in (HEAP, HEAP2)
            and record.info & _FRESH_PAGE
            and operation in ({INSERT, UPDATE, HOT_UPDATE} if record.manager == HEAP else {MULTI_INSERT})
        ):
            self._clear(first.number)
        for block in blocks:
            if block.image is not None:
                self._image(block)
        if record.manager == HEAP2 and operation == MULTI_INSERT:
            return self._many(record, first)
        if record.manager == HEAP and operation == INSERT:
            (line,) = struct.unpack_from("<H", record.main)
            self._put(record, first, line).inserted = True
            return True
        if record.manager == HEAP and operation in (UPDATE, HOT_UPDATE):
            return self._update(record, blocks)
        return False

    def _update(self, record: Record, blocks: list[Block]) -> bool:
        _xmax, old_line, _bits, flags, _new_xmax, line = struct.unpack_from("<IHBBIH", record.main)
        old_spot = (blocks[-1].number, old_line)
        old = self._at.get(old_spot)
        if old is None:
            old = self._at[old_spot] = Version(_ANY, old_spot)
        self._put(record, blocks[0], line, flags, old).replaced = old
        return True

    def _put(self, record: Record, block: Block, line: int, flags: int = 0, old: Version | None = None) -> Version:
        """Set the version that an insert or an update made, from its data or from the page's image."""
        spot = (block.number, line)
        if block.data is not None:
            version = _from_data(block.data, flags, record, spot, old)
        else:
            shown = self._at.get(spot)
            version = Version(record.xid, spot, record.place)
            if shown is not None and shown.xmin == record.xid:
                version.fill(shown)
        self._at[spot] = version
        self.made.append(version)
        return version

    def _many(self, record: Record, block: Block) -> bool:
        """Set the versions of a COPY's record, several to a page."""
        (count,) = struct.unpack_from("<H", record.main, 2)
        fresh = bool(record.info & _FRESH_PAGE)
        lines = range(1, count + 1) if fresh else struct.unpack_from(f"<{count}H", record.main, 4)
        at = 0
        for line in lines:
            if block.data is None:
                self._put(record, block, line).inserted = True
                continue
            at += at % 2
            length, attributes, flags, head = struct.unpack_from("<HHHB", block.data, at)
            at += 7
            body = block.data[at : at + length]
            at += length
            rest = bytearray(body[head - HEADER :])
            version = Version(record.xid, (block.number, line), record.place, attributes, flags)
            version.nulls, version.data, version.inserted = body[: head - HEADER], rest, True
            version.known = bytearray(b"\1" * len(rest))
            self._at[version.spot] = version
            self.made.append(version)
        return True

    def _clear(self, block: int) -> None:
        for spot in [each for each in self._at if each[0] == block]:
            del self._at[spot]

    def _image(self, block: Block) -> None:
        """Take over a page as its image shows it; forget it where the image cannot be restored."""
        fresh = _of_page(block.image, block.number) if block.image else {}
        for spot in [each for each in self._at if each[0] == block.number and each[1] not in fresh]:
            del self._at[spot]
        for line, shown in fresh.items():
            held = self._at.get(shown.spot)
            if held is not None and held.xmin in (shown.xmin, _ANY):
                held.fill(shown)
            else:
                self._at[block.number, line] = shown
                self.made.append(shown)

    def connect(self) -> None:
        """Fill unknown bytes along the links between versions, both ways, until nothing changes."""
        links = [each for each in self.made if each.twin is not None]
        changed = True
        while changed:
            changed = False
            for each in (*links, *reversed(links)):
                changed = _share(each) or changed


def _from_data(raw: bytes, flags: int, record: Record, spot: Spot, old: Version | None) -> Version:
    """Return the version that a record's data describes, perhaps with both ends taken from the old version."""
    at, prefix, suffix = 0, 0, 0
    if flags & _PREFIX:
        (prefix,) = struct.unpack_from("<H", raw, at)
        at += 2
    if flags & _SUFFIX:
        (suffix,) = struct.unpack_from("<H", raw, at)
        at += 2
    attributes, bits, head = struct.unpack_from("<HHB", raw, at)
    at += 5 + head - HEADER
    if head < HEADER or at > len(raw):
        raise BrokenError
    version = Version(record.xid, spot, record.place, attributes, bits, raw[at - head + HEADER : at])
    middle = raw[at:]
    version.data = bytearray(bytes(prefix) + middle + bytes(suffix))
    version.known = bytearray(bytes(prefix) + b"\1" * len(middle) + bytes(suffix))
    if prefix or suffix:
        version.twin, version.shared = old, (prefix, suffix)
    return version


def _share(version: Version) -> bool:
    """Copy what a version or its twin knows of the bytes that they share; tell whether anything was new."""
    twin = version.twin
    if twin is None or twin.data is None or version.data is None:
        return False
    prefix, suffix = version.shared
    if max(prefix, suffix) > min(len(version.data), len(twin.data)):
        raise RefusedError(
            "The log does not fit together: an update shares more with its row than that holds.",
            hint="Use a recording of watch --record.",
        )
    changed = False
    spans = ((0, 0, prefix), (len(version.data) - suffix, len(twin.data) - suffix, suffix))
    for here, there, length in spans:
        changed = _copy(version, here, twin, there, length) or changed
        changed = _copy(twin, there, version, here, length) or changed
    return changed


def _copy(source: Version, start: int, target: Version, at: int, length: int) -> bool:
    if source.data is None or target.data is None or 0 not in target.known[at : at + length]:
        return False
    if 0 not in source.known[start : start + length]:
        target.data[at : at + length] = source.data[start : start + length]
        target.known[at : at + length] = b"\1" * length
        return True
    changed = False
    for offset in range(length):
        if source.known[start + offset] and not target.known[at + offset]:
            target.data[at + offset], target.known[at + offset] = source.data[start + offset], 1
            changed = True
    return changed
