"""Owns going through the chosen segments once, or twice where the table was rewritten: for its older files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from listmonk_doctor.timeline.wal.rows import UnknownError
from listmonk_doctor.timeline.wal.segments import Segment, stretches
from listmonk_doctor.timeline.wal.stream import Stream
from listmonk_doctor.timeline.wal.table import read_catalog

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Cursor

    from listmonk_doctor.timeline.wal.heap import Heap
    from listmonk_doctor.timeline.wal.rows import Layout
    from listmonk_doctor.timeline.wal.shelf import Shelf
    from listmonk_doctor.timeline.wal.table import Table


@dataclass(frozen=True, slots=True)
class Run:
    """What is gone through, up to which place in the log, until when, and who is told how far it is."""

    shelf: Shelf
    segments: list[Segment]
    stop: int | None
    deadline: float
    progress: Callable[[int, int], None] | None

    def feed(self, streams: list[Stream]) -> tuple[list[Segment], list[str]]:
        """Feed the segments to the streams; the oldest are left out where there is no time for all."""
        began, last, read, at = time.monotonic(), -1, list[Segment](), 0
        notes = []
        count = len(self.segments)
        while at < count:
            segment = self.segments[at]
            if segment.number != last + 1:
                for stream in streams:
                    stream.gap()
            for stretch in stretches(self.shelf, segment, self.stop):
                for stream in streams:
                    stream.feed(stretch)
            last = segment.number if segment.end is None else -1
            read.append(segment)
            at += 1
            if self.progress:
                self.progress(at, count)
            now = time.monotonic()
            fitting = max(1, int((self.deadline - now) * len(read) / max(now - began, 1e-6)))
            if count - at > fitting:
                notes.append(f"{count - at - fitting} of {count} segments were left out for want of time")
                at = count - fitting
        damaged = sum(stream.broken for stream in streams)
        if damaged:
            notes.append(f"{damaged} records of the log were damaged; versions may be missing there")
        return read, notes


def feed(cursor: Cursor[Any], table: Table, run: Run) -> tuple[list[Stream], list[Segment], list[str]]:
    """Go through the log for the table's file, and for its older files where it was rewritten meanwhile."""
    old = table.major < 15  # noqa: PLR2004 - the image's header changed in 15
    streams = [Stream(table.locator, old=old)]
    if not table.rewritten:
        return streams, *run.feed(streams)
    catalog = read_catalog(cursor)
    tables = Stream(catalog.locator, old=old)
    read, notes = run.feed([*streams, tables])
    files = older_files(tables.heap, catalog.layout, table)
    older = [Stream(table.of_file(file), old=old) for file in files]
    if older:
        notes += run.feed(older)[1]
    notes.append(rewritten(len(older)))
    return streams + older, read, notes


def rewritten(older: int) -> str:
    """Return what is said of a table that was rewritten, of which so many older files were read."""
    return "the table of campaigns was rewritten once (VACUUM FULL, CLUSTER, TRUNCATE or an upgrade), " + (
        f"and {older} older files of it were read too" if older else "and the history cannot begin before that"
    )


def older_files(tables: Heap, layout: Layout, table: Table) -> list[int]:
    """Return the numbers of the older files that the history of the server's list of tables gives."""
    tables.connect()
    found = set()
    for version in tables.made:
        try:
            values = layout.decode(version)
        except UnknownError:
            continue
        if values["oid"] == table.number:
            found.add(values["relfilenode"])
    return sorted(found - {table.file, 0})
