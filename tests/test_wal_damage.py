"""Holds the log's decoder to bytes of any kind: it ends, and fails only in the ways that are known."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.wal import records
from listmonk_doctor.timeline.wal.heap import Heap
from listmonk_doctor.timeline.wal.images import Picture, restored
from listmonk_doctor.timeline.wal.pages import PAGE, strip
from listmonk_doctor.timeline.wal.stream import Stream, first_commit

if TYPE_CHECKING:
    import pytest

LOCATOR: Final = bytes(12)
COUNT: Final = 30_000


def some(chance: random.Random) -> bytes:
    """Return bytes that look like a record of a table at their beginning."""
    length = chance.randint(40, 400)
    raw = bytearray(chance.choice([chance.randbytes(length), bytes(length)]))
    raw[16] = chance.choice([0x00, 0x10, 0x20, 0x40, 0x50, 0x80, 0xA0, 0xD0])
    raw[17] = chance.choice([0, 1, 9, 10])
    raw[24:28] = bytes([0, chance.choice([0x00, 0x10, 0x20, 0x30]), chance.randrange(40), 0])
    if not raw[25] & 0x10:
        raw[28:40] = LOCATOR
    return bytes(raw)


def test_records_of_any_bytes_fail_in_known_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even behind a checksum that fits, a record that makes no sense is broken or refused, never anything else."""
    monkeypatch.setattr(records, "sound", lambda _raw: True)
    chance = random.Random(1)  # noqa: S311 - a test's dice
    parsed = 0
    for _ in range(COUNT):
        with contextlib.suppress(records.BrokenError, RefusedError):
            record = records.parse(0, some(chance), old=chance.random() < 0.3)
            parsed += 1
            heap = Heap(LOCATOR)
            heap.apply(record)
            heap.connect()
    assert parsed > 100


def test_pages_of_any_bytes_are_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages with sound headers and any bytes between them are gone through to their end."""
    monkeypatch.setattr(records, "sound", lambda _raw: True)
    chance = random.Random(2)  # noqa: S311 - a test's dice
    magic = 0xD116
    for _ in range(60):
        stream = Stream(LOCATOR, old=False)
        for address in range(0, 8 * PAGE, 2 * PAGE):
            raw = bytearray()
            for place in (address, address + PAGE):
                body = b"".join(some(chance) for _ in range(60))[: PAGE - 24]
                rest = chance.choice([0, 8, chance.randrange(2**32), PAGE])
                raw += magic.to_bytes(2, "little") + bytes([chance.randrange(2), 0]) + (1).to_bytes(4, "little")
                raw += (
                    place.to_bytes(8, "little") + rest.to_bytes(4, "little") + bytes(4) + body.ljust(PAGE - 24, b"\0")
                )
            stretch = strip(bytes(raw), address, magic)
            assert len(stretch.starts) == 2
            first_commit(stretch)
            with contextlib.suppress(RefusedError):
                stream.feed(stretch)


def test_images_of_any_bytes_are_forgotten() -> None:
    """An image that cannot be unpacked, or not to a page's length, is none."""
    chance = random.Random(3)  # noqa: S311 - a test's dice
    for _ in range(500):
        packing = chance.choice(["", "pglz", "lz4", "zstd"])
        picture = Picture(0, packing, chance.randrange(2**16), chance.randrange(2**14))
        assert len(restored(picture, chance.randbytes(chance.randrange(300)))) in (0, PAGE)
