"""Owns which segments of the log are read: what they hold by their own first page, dated, the newest first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.wal.branches import UNKNOWN, Branches, begun_at
from listmonk_doctor.timeline.wal.pages import LONG, PAGE, Opening, Stretch, opening, strip
from listmonk_doctor.timeline.wal.shelf import FolderShelf, Shelf, number_of
from listmonk_doctor.timeline.wal.stream import first_commit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_TO_DATE: Final = 1 << 16
"""Bytes at the beginning of a segment in which a commit tells how old it is."""
PORTION: Final = 4 << 20
"""Bytes that are read at a time, so that a segment is never in memory as a whole."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file that holds a stretch of the log.

    `branch` is the one it belongs to: its first page may still be of the one before. `recycled`: its name promises a
    later stretch. `since`: its first commit.
    `end`: where its branch was left within it, and what follows is no part of the server's past (None: nowhere).
    """

    name: str
    opening: Opening
    branch: int
    recycled: bool
    since: datetime | None = None
    end: int | None = None

    @property
    def number(self) -> int:
        """Its number in the log."""
        return self.opening.address // self.opening.size


def held(shelf: Shelf, system: int, major: int, limit: int | None, branches: Branches = UNKNOWN) -> list[Segment]:
    """Return the segments that hold a stretch of this server's log, by number; each number once.

    `system` is the cluster's number (0: not known), `limit` where the log ends. Raises RefusedError for a segment of
    another server.
    """
    found: dict[int, Segment] = {}
    for name, head in sorted(shelf.heads(LONG).items()):
        first = opening(name, head)
        if first is None or (limit is not None and first.address >= limit):
            continue
        _check(shelf, name, first, system, major)
        recycled = number_of(name, first.size) != first.address // first.size
        branch = first.timeline if recycled else int(name[:8], 16)
        if branches.foreign(branch, first.address):
            continue
        segment = _placed(shelf, Segment(name, first, branch, recycled), branches)
        rival = found.get(segment.number)
        if rival is None or rival.branch < segment.branch:
            found[segment.number] = segment
    kept: list[Segment] = []
    for number in sorted(found):
        # What stands behind a segment of a later branch and is of an earlier one was given up at the fork.
        if not kept or found[number].branch >= kept[-1].branch:
            kept.append(found[number])
    return kept


def _placed(shelf: Shelf, segment: Segment, branches: Branches) -> Segment:
    """Return a segment with its end, if its branch was left within it; a recycled copy of the next branch has none."""
    first = segment.opening
    fork = branches.end(segment.branch, first.address, first.size)
    if fork is None:
        return segment
    if segment.recycled:  # its first page is of the branch before, and its name tells nothing
        page = fork - fork % PAGE
        raw = shelf.read(segment.name, page - first.address, 2 * PAGE)
        branch = begun_at(strip(raw, page, first.magic), fork, segment.branch)
        if branch:
            return _placed(shelf, replace(segment, branch=branch), branches)
    return replace(segment, end=fork)


def _check(shelf: Shelf, name: str, first: Opening, system: int, major: int) -> None:
    why = ""
    if system and first.system != system:
        why = "is of another server"
    elif first.major != major:
        why = f"is of PostgreSQL {first.major}, the server is of {major}"
    elif isinstance(shelf, FolderShelf) and shelf.length(name) != first.size:
        why = f"is cut: it has {shelf.length(name)} bytes of {first.size}"
    if why:
        raise RefusedError(f"The log segment {name} {why}.", hint="Name a folder with this server's segments.")


def wanted(shelf: Shelf, segments: list[Segment], since: datetime, limit: int) -> list[Segment]:
    """Return the newest segments back to the one that was begun before `since`, `limit` at most, oldest first."""
    chosen: list[Segment] = []
    for segment in reversed(segments[-limit:]):
        begun = _begun(shelf, segment)
        chosen.append(replace(segment, since=begun))
        if begun is not None and begun < since:
            break
    return chosen[::-1]


def _begun(shelf: Shelf, segment: Segment) -> datetime | None:
    raw = shelf.read(segment.name, 0, _TO_DATE)
    return first_commit(strip(raw, segment.opening.address, segment.opening.magic))


def stretches(shelf: Shelf, segment: Segment, limit: int | None) -> Iterator[Stretch]:
    """Read a segment in portions, up to where the log ends; one that is renamed meanwhile is found again."""
    first, name = segment.opening, segment.name
    if segment.end is not None:
        limit = segment.end if limit is None else min(limit, segment.end)
    for offset in range(0, first.size, PORTION):
        if limit is not None and first.address + offset >= limit:
            return
        stretch = _portion(shelf, name, first, offset, limit)
        if stretch.broken and shelf.live and (moved := _moved(shelf, first)) not in ("", name):
            name = moved
            stretch = _portion(shelf, name, first, offset, limit)
        yield stretch
        if stretch.ended or stretch.broken:
            return


def _portion(shelf: Shelf, name: str, first: Opening, offset: int, limit: int | None) -> Stretch:
    """Read one portion of a segment; broken where it is gone, or is another segment by now."""
    length = min(PORTION, first.size - offset)
    raw = shelf.read(name, offset, length)
    stretch = strip(raw, first.address + offset, first.magic, limit)
    return replace(stretch, broken=True) if len(raw) < length else stretch


def _moved(shelf: Shelf, first: Opening) -> str:
    """Return the name that the segment has now; "" where it is gone."""
    for name, head in shelf.heads(LONG).items():
        now = opening(name, head)
        if now is not None and (now.address, now.timeline) == (first.address, first.timeline):
            return name
    return ""
