"""Owns the way into the log by pg_walinspect: the server takes records apart, the model of the pages is the same."""

from __future__ import annotations

import re
import struct
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from listmonk_doctor.timeline.wal.extensions import statement
from listmonk_doctor.timeline.wal.heap import HOT_UPDATE, INSERT, LOCK, MULTI_INSERT, UPDATE, Heap, lines_of
from listmonk_doctor.timeline.wal.records import HEAP, HEAP2, Block, BrokenError, Record
from listmonk_doctor.timeline.wal.stream import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from psycopg import Cursor

_T = TypeVar("_T")
PORTION: Final = 4 << 20
"""Bytes of the log per statement: the server keeps all that one gives in memory, about 34 MB for this."""
_BEHIND: Final = 1 << 14
"""Bytes behind a record in which its transaction mostly ends."""
_TO_DATE: Final = 1 << 16
"""Bytes at the beginning of a segment in which a commit tells how old it is."""
_AT_ONCE: Final = 200
"""Records that are asked for with one statement."""
_FORGOTTEN: Final = 64
"""Portions after which a transaction's end is not looked for any more: its versions count as missing."""
_LOWEST: Final = 1 << 13
"""Where a record can begin at the earliest: no segment has the number 0."""
_GONE: Final = ("58P01", "XX000", "XX001")
"""What the server says where a segment is gone, or no record begins behind a place."""
_OPERATIONS: Final = {"INSERT": INSERT, "UPDATE": UPDATE, "HOT_UPDATE": HOT_UPDATE}
_ANY_MANAGER: Final = 255
_FRESH_PAGE: Final = 0x80
_FIELD: Final = re.compile(r"(\w+): (0x[0-9A-Fa-f]+|\d+)")
_LINES: Final = re.compile(r"offsets: \[([\d, ]*)\]")
_WHEN: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?=\+00|  ?UTC)")
_WITHIN: Final = re.compile(r"subxacts:((?: \d+)+)")


class Part(NamedTuple):
    """A segment that can be read, by its number, and its first commit (None: none was found at its beginning)."""

    number: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Fed:
    """What was fed of one file: the model of its pages, and how the transactions ended."""

    heap: Heap
    outcomes: dict[int, Outcome]


@dataclass(slots=True)
class Inspector:
    """Reads the log through pg_walinspect, whose functions lie in the schema `place`, up to `stop` (bytes).

    `size` is a segment's bytes. The cursor is in a transaction whose time zone is UTC.
    """

    cursor: Cursor[Any]
    place: str
    stop: int
    size: int
    notes: list[str] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    _pending: dict[int, int] = field(default_factory=dict)

    def parts(self, since: datetime, limit: int) -> list[Part]:
        """Return the newest segments that can be read, `limit` at most, back to one that was begun before `since`.

        What a checkpoint has recycled cannot be: the server refuses a segment whose own file has another name by now.
        """
        chosen: list[Part] = []
        current = (self.stop - 1) // self.size
        names = self._names()
        for number in range(current, max(0, current - limit), -1):
            if names is not None and number not in names:
                break
            low = max(number * self.size, _LOWEST)
            found = self._tried(lambda low=low: self._ends([(low, min(low + _TO_DATE, self.stop))]))  # type: ignore[misc]
            if found is None:
                break
            begun = next((outcome.at for _, outcome in found if outcome.at is not None), None)
            chosen.append(Part(number, begun))
            if begun is not None and begun < since:
                break
        return chosen[::-1]

    def _names(self) -> set[int] | None:
        """Return the numbers that names in the server's folder promise; None where it may not be listed."""
        self.cursor.execute("SELECT has_function_privilege('pg_ls_waldir()', 'EXECUTE')")
        if not self.cursor.fetchall()[0][0]:
            return None
        self.cursor.execute("SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")
        per = (1 << 32) // self.size
        return {int(name[8:16], 16) * per + int(name[16:], 16) for (name,) in self.cursor.fetchall()}

    def feed(
        self,
        locators: Sequence[bytes],
        parts: Sequence[Part],
        deadline: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[list[Fed], list[Part]]:
        """Go through segments for some files in one place; return what was fed, and which segments were read.

        The oldest segments are left out where there is no time for all.
        """
        heaps = [Heap(locator) for locator in locators]
        read: list[Part] = []
        began, at, count, low = time.monotonic(), 0, len(parts), 0
        while at < count:
            start = max(parts[at].number * self.size, _LOWEST)
            if not low or parts[at].number != parts[at - 1].number + 1:
                low = start
            low = self._segment(heaps, low, min((parts[at].number + 1) * self.size, self.stop))
            read.append(parts[at])
            at += 1
            if progress:
                progress(at, count)
            now = time.monotonic()
            fitting = max(1, int((deadline - now) * len(read) / max(now - began, 1e-6)))
            if count - at > fitting:
                self.notes.append(f"{count - at - fitting} of {count} segments were left out for want of time")
                at, low = count - fitting, 0
                _forget(heaps)
        return [Fed(heap, self.outcomes) for heap in heaps], read

    def _segment(self, heaps: Sequence[Heap], low: int, stop: int) -> int:
        """Feed a segment from `low` on; return where its last whole record ends, 0 where the segment is gone."""
        high = low
        while high < stop:
            high = min(high + PORTION, stop)
            done = self._tried(lambda low=low, high=high: self._portion(heaps, low, high))  # type: ignore[misc]
            if done is None:
                _forget(heaps)
                return 0
            low = done
        return low

    def _tried(self, step: Callable[[], _T]) -> _T | None:
        """Return what a step gives; None where the server does not have that part of the log any more."""
        import psycopg

        try:
            with self.cursor.connection.transaction():
                return step()
        except psycopg.Error as error:
            if error.sqlstate in _GONE:
                return None
            raise

    def _portion(self, heaps: Sequence[Heap], low: int, high: int) -> int:
        """Feed what lies between two places, of which the first begins a record; return where the last whole one ends.

        A record that crosses the end is not given: the next portion begins with it.
        """
        files = [struct.unpack("<I", heap.locator[8:])[0] for heap in heaps]
        space, database = struct.unpack("<II", heaps[0].locator[:8])
        bounds = {"files": files, "database": database, "space": space, "low": low, "high": high}
        self.cursor.execute(statement("facts/log-blocks.sql", self.place), bounds)
        done, hits = self.cursor.fetchall()[0]
        hits = sorted(hits or (), key=place_of)
        behind: list[tuple[int, int]] = []
        for first in range(0, len(hits), _AT_ONCE):
            for record, end in self._records(hits[first : first + _AT_ONCE]):
                made = [_applied(heap, record) for heap in heaps]
                if any(made) and record.xid not in self.outcomes:
                    self._pending.setdefault(record.xid, 0)
                    behind.append((end, min(end + _BEHIND, self.stop)))
        self._take(_joined(behind))
        if self._pending:  # a long transaction, or one that is known by its parent's commit only
            self._take([(low, high)])
        self._pending = {xid: age + 1 for xid, age in self._pending.items() if age < _FORGOTTEN}
        return int(done) if done is not None else low

    def _records(self, hits: list[str]) -> Iterable[tuple[Record, int]]:
        """Yield records with where each ends; a hit names both places."""
        starts, ends = zip(*(hit.split() for hit in hits), strict=True)
        self.cursor.execute(
            statement("facts/log-records.sql", self.place), {"starts": list(starts), "ends": list(ends)}, binary=True
        )
        for _place, rows in groupby(self.cursor.fetchall(), key=lambda row: row[0]):
            each = list(rows)
            yield _record(each), int(each[0][1])

    def _take(self, stretches: list[tuple[int, int]]) -> None:
        """Take the outcomes of all transactions that end in some stretches."""
        for xid, outcome in self._ends(stretches) if stretches else ():
            self.outcomes[xid] = outcome
            self._pending.pop(xid, None)

    def _ends(self, stretches: list[tuple[int, int]]) -> list[tuple[int, Outcome]]:
        lows, highs = zip(*stretches, strict=True)
        self.cursor.execute(statement("facts/log-outcomes.sql", self.place), {"lows": list(lows), "highs": list(highs)})
        found = []
        for xid, place, kind, description in self.cursor.fetchall():
            when = _WHEN.search(description or "")
            if kind == "COMMIT" and when is None:
                continue
            at = datetime.fromisoformat(when[0]).replace(tzinfo=UTC) if kind == "COMMIT" and when else None
            within = _WITHIN.search(description or "")
            xids = (xid, *map(int, within[1].split() if within else ()))
            found += [(each, Outcome(at, int(place))) for each in xids]
        return found


def place_of(hit: str) -> int:
    """Return where in the log a hit begins."""
    high, low = hit.partition(" ")[0].split("/")
    return int(high, 16) << 32 | int(low, 16)


def _forget(heaps: Sequence[Heap]) -> None:
    for heap in heaps:
        heap.forget()


def _applied(heap: Heap, record: Record) -> bool:
    """Replay a record; tell whether it made a version of that file."""
    try:
        return heap.apply(record)
    except BrokenError:
        heap.forget()
        return False


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return stretches in order, those that overlap as one: each begins where a record does."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(stretches):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        elif low < high:
            result.append((low, high))
    return result


def _record(rows: list[tuple[Any, ...]]) -> Record:
    """Return a record as the raw reader has it, its own data made of the server's description."""
    place, _end, xid, manager, kind, description = rows[0][:6]
    plain, _, fresh = kind.partition("+")
    blocks = [
        Block(
            ident,
            struct.pack("<III", space, database, file),
            fork,
            number,
            None if data is None else bytes(data),
            None if image is None else bytes(image),
        )
        for ident, space, database, file, fork, number, data, image in (row[6:] for row in rows)
    ]
    info, main = LOCK, b""
    fields = {name: int(value, 0) for name, value in _FIELD.findall(description or "")}
    if manager == "Heap" and plain in _OPERATIONS:
        info = _OPERATIONS[plain]
        main = _main(info, fields)
    elif manager == "Heap2" and plain == "MULTI_INSERT":
        info = MULTI_INSERT
        lines = _LINES.search(description or "")
        numbers = [int(each) for each in lines[1].split(",")] if lines else []
        count = fields.get("ntuples", 0)
        if not numbers and blocks[0].image and not fresh:  # with an image the server does not name them
            numbers = lines_of(blocks[0].image, blocks[0].number, xid)[-count:]
            count = len(numbers)
        main = struct.pack(f"<BxH{len(numbers)}H", 0, count, *numbers)
    manager = {"Heap": HEAP, "Heap2": HEAP2}.get(manager, _ANY_MANAGER)
    return Record(int(place), xid, info | (_FRESH_PAGE if fresh == "INIT" else 0), manager, blocks, main)


def _main(info: int, fields: dict[str, int]) -> bytes:
    """Return a record's own data, as far as the model of the pages looks at it."""
    if info == INSERT:
        return struct.pack("<HB", fields.get("off", 0), 0)
    old, flags, new = fields.get("old_off", 0), fields.get("flags", 0), fields.get("new_off", 0)
    return struct.pack("<IHBBIH", 0, old, 0, flags & 0xFF, 0, new)
