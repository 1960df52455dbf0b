"""Owns going through the log: the records of one table are found by its file's bytes, their commits by their numbers.

Only pages around a hit are walked, so that a log full of other tables' records is passed at the speed of a search.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from listmonk_doctor.timeline.wal.heap import DELETE, LOCK, Heap
from listmonk_doctor.timeline.wal.records import (
    HEADER,
    HEAP,
    OPERATION,
    XACT,
    XLOG,
    BrokenError,
    length_at,
    parse,
    sound,
    walk,
)
from listmonk_doctor.timeline.wal.rows import moment

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.wal.pages import Stretch

COMMIT, ABORT = 0x00, 0x20
SWITCH: Final = 0x40
"""The operation by which the log goes on in the next segment."""
_FURTHER: Final = 0x80
_DATABASE, _SUBTRANSACTIONS = 1, 2
_PATIENCE: Final = 8
"""Stretches in which the commit of a subtransaction is looked for record by record."""
_FORGOTTEN: Final = 64
"""Stretches after which a transaction's end is not looked for any more: its versions count as missing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction ended, and where in the log that stands; `at` None: it was rolled back."""

    at: datetime | None
    place: int


class Stream:
    """Takes stretches of the log in their order, and keeps what they hold of one table and its transactions."""

    def __init__(self, locator: bytes, *, old: bool) -> None:
        """Begin with nothing; `old`: the log is of PostgreSQL 14."""
        self.heap = Heap(locator)
        self.outcomes: dict[int, Outcome] = {}
        self.broken = 0
        self._old = old
        self._pending: dict[int, int] = {}
        self._carried = b""
        self._carried_place = 0
        self._carried_length = 0
        self._at = 0
        self._switched = False

    def gap(self) -> None:
        """Say that what comes next does not follow what was fed last."""
        self._carried = b""
        self.heap.forget()

    def feed(self, stretch: Stretch) -> None:
        """Take the next stretch. Nothing but a gap follows from bytes that make no sense."""
        if not stretch.starts:
            self._after(stretch)
            return
        self._at = 0
        if not self._join(stretch):
            return
        begin = stretch.begin
        if begin is not None:
            for xid in list(self._pending):
                self._seek(stretch, xid, begin)
            self._hits(stretch, begin)
            self._subtransactions(stretch, begin)
            self._carry(stretch)
        self._after(stretch)

    def _after(self, stretch: Stretch) -> None:
        if stretch.broken or (stretch.ended and not self._switched):
            self.gap()
        if stretch.ended:
            self._carried = b""

    def _join(self, stretch: Stretch) -> bool:
        """Finish the record that the last stretch ended within; tell whether anything is left of this stretch."""
        rest = stretch.rests[0]
        if not self._carried:
            return True
        if not rest:  # the server ended within it and began anew: it never was a record
            self._carried = b""
            return True
        if len(self._carried) + rest != self._carried_length:
            self.gap()
            return True
        if rest > len(stretch.data):
            self._carried += stretch.data
            return False
        raw = self._carried + stretch.data[:rest]
        self._carried = b""
        self._switched = raw[17] == XLOG and raw[16] & 0xF0 == SWITCH
        if raw[17] == XACT:
            self._outcome(self._carried_place, raw)
        elif self.heap.locator in raw and (made := self._record(self._carried_place, raw)) is not None:
            self._pending.setdefault(made, 0)
        return True

    def _hits(self, stretch: Stretch, begin: int) -> None:
        """Replay the records that name the table's file."""
        data, needle = stretch.data, self.heap.locator
        hit = data.find(needle, begin)
        while hit >= 0:
            start = self._containing(stretch, hit)
            if start is None:
                hit = data.find(needle, hit + 1)
                continue
            end = start + length_at(data, start)
            if end > len(data):
                return
            if _matters(data, start):
                made = self._record(stretch.place(start), data[start:end])
                if made is not None and made not in self.outcomes and made not in self._pending:
                    self._pending[made] = 0
                    self._seek(stretch, made, end)
            hit = data.find(needle, end)

    def _containing(self, stretch: Stretch, hit: int) -> int | None:
        """Return where the record begins that holds a byte; None where none does."""
        at = stretch.entry_before(hit)
        if at is None:
            return None
        if at < self._at <= hit:
            at = self._at
        while at <= hit:
            length = length_at(stretch.data, at)
            if not length:
                return None
            if at + length > hit:
                self._at = at
                return at
            at = at + length + 7 & ~7
        return None

    def _record(self, place: int, raw: bytes) -> int | None:
        """Replay one record; return its transaction where it made a version."""
        try:
            record = parse(place, raw, old=self._old)
            if self.heap.apply(record):
                return record.xid
        except BrokenError:
            self.broken += 1
            self.heap.forget()
        return None

    def _seek(self, stretch: Stretch, xid: int, begin: int) -> bool:
        """Find how a transaction ended, by its number in the header of a record."""
        data, key = stretch.data, struct.pack("<I", xid)
        found = data.find(key, begin)
        while 0 <= found < len(data) - HEADER:
            start = found - 4
            if start % 8 == 0 and data[start + 17] == XACT and data[start + 16] & OPERATION in (COMMIT, ABORT):
                raw = data[start : start + length_at(data, start)]
                if self._outcome(stretch.place(start), raw):
                    return True
            found = data.find(key, found + 1)
        return False

    def _outcome(self, place: int, raw: bytes) -> bool:
        """Take the outcome of a transaction and of those within it from a record; tell whether it was one."""
        if len(raw) < HEADER or raw[16] & OPERATION not in (COMMIT, ABORT) or not sound(raw):
            return False
        try:
            record = parse(place, raw, old=self._old)
            (when,) = struct.unpack_from("<q", record.main)
            committed = record.info & OPERATION == COMMIT
            outcome = Outcome(moment(when) if committed else None, place)
            for xid in (record.xid, *_within(record.info, record.main)):
                self.outcomes[xid] = outcome
                self._pending.pop(xid, None)
        except (BrokenError, struct.error, OverflowError):
            return False
        return True

    def _subtransactions(self, stretch: Stretch, begin: int) -> None:
        """Look through all commits for those whose number is not in a header: savepoints that were kept."""
        if any(age < _PATIENCE for age in self._pending.values()):
            data = stretch.data
            for at, length in walk(data, begin):
                if data[at + 17] == XACT and data[at + 16] & _FURTHER and data[at + 16] & OPERATION == COMMIT:
                    self._outcome(stretch.place(at), data[at : at + length])
        self._pending = {xid: age + 1 for xid, age in self._pending.items() if age < _FORGOTTEN}

    def _carry(self, stretch: Stretch) -> None:
        """Keep the beginning of a record that ends in the next stretch."""
        at = stretch.entry_before(len(stretch.data))
        if at is None:
            return
        at = max(at, self._at)
        self._switched = False
        for start, length in walk(stretch.data, at):
            self._switched = stretch.data[start + 17] == XLOG and stretch.data[start + 16] & 0xF0 == SWITCH
            at = start + length + 7 & ~7
        length = length_at(stretch.data, at)
        if length and not stretch.broken:
            self._carried = stretch.data[at:]
            self._carried_place, self._carried_length = stretch.place(at), length


def _matters(data: bytes, at: int) -> bool:
    """Tell whether a record can make or show a version: a lock and a delete do not, and there are many locks."""
    if data[at + 17] != HEAP or data[at + 16] & OPERATION not in (LOCK, DELETE):
        return True
    return bool(data[at + HEADER] or data[at + HEADER + 1] & 0x10)


def _within(info: int, main: bytes) -> tuple[int, ...]:
    """Return the transactions within a transaction, from its commit or abort."""
    if not info & _FURTHER:
        return ()
    (what,) = struct.unpack_from("<I", main, 8)
    at = 12 + (8 if what & _DATABASE else 0)
    if not what & _SUBTRANSACTIONS:
        return ()
    (count,) = struct.unpack_from("<i", main, at)
    return struct.unpack_from(f"<{max(0, count)}I", main, at + 4)


def first_commit(stretch: Stretch) -> datetime | None:
    """Return when the first transaction in a stretch was committed; None where none was."""
    begin = stretch.begin
    if begin is None:
        return None
    data = stretch.data
    for at, length in walk(data, begin):
        if data[at + 17] == XACT and data[at + 16] & OPERATION == COMMIT:
            try:
                record = parse(0, data[at : at + length], old=False)
                return moment(struct.unpack_from("<q", record.main)[0])
            except (BrokenError, struct.error, OverflowError):
                return None
    return None
