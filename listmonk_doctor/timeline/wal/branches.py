"""Owns the branches of the log: which one the server is on, and where each earlier one was left at a promotion."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.timeline.wal.records import HEADER, XLOG

if TYPE_CHECKING:
    from psycopg import Cursor

    from listmonk_doctor.timeline.wal.pages import Stretch
    from listmonk_doctor.timeline.wal.shelf import Shelf

_LEFT: Final = re.compile(rb"^\s*(\d+)\s+([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})(?:\s|$)")
_BEGINNINGS: Final = (0x90, 0x00)
"""The records that a branch begins with: the end of recovery, or a checkpoint in its stead."""
_BEHIND: Final = HEADER + 2 + 8
"""Bytes of such a record before it names the new branch and the one before."""
_LONGEST: Final = 1 << 20
"""Bytes of a history file that are read: a line for each promotion."""


@dataclass(frozen=True, slots=True)
class Branches:
    """`own` is the server's branch (0: not known), `ends` where in the log each earlier one was left, in bytes.

    `ends` None: it is not known, as no history file was found.
    """

    own: int = 0
    ends: dict[int, int] | None = None

    def foreign(self, branch: int, address: int) -> bool:
        """Tell whether what stands in a branch from a place on is no part of the server's past."""
        if not self.own or branch == self.own:
            return False
        if branch > self.own or self.ends is None:
            return branch > self.own
        return address >= self.ends.get(branch, 0)

    def end(self, branch: int, address: int, size: int) -> int | None:
        """Return the fork within the `size` bytes from a place on, behind which a branch is not the server's past."""
        end = (self.ends or {}).get(branch)
        return end if branch != self.own and end is not None and address < end < address + size else None


UNKNOWN: Final = Branches()


def begun_at(stretch: Stretch, fork: int, before: int) -> int:
    """Return which branch begins at a fork on the first page of a stretch; 0 where the one `before` goes on there."""
    if not stretch.starts:
        return 0
    at, data = max(0, fork - stretch.address - stretch.heads[0]), stretch.data
    if len(data) < at + _BEHIND + 8 or data[at + 17] != XLOG or data[at + 16] & 0xF0 not in _BEGINNINGS:
        return 0
    now, left = struct.unpack_from("<II", data, at + _BEHIND)
    return int(now) if left == before < now else 0


def read_branches(cursor: Cursor[Any], shelf: Shelf) -> Branches:
    """Return which branch of the log the server is on, and where it left the earlier ones, by its history file."""
    cursor.execute(sqlfiles.read("facts/log-branch.sql"))
    own = int(cursor.fetchall()[0][0])
    if own <= 1:
        return Branches(own, {} if own else None)
    text = shelf.read(f"{own:08X}.history", 0, _LONGEST)
    found = (_LEFT.match(line) for line in text.splitlines())
    ends = {int(each[1]): (int(each[2], 16) << 32) + int(each[3], 16) for each in found if each}
    return Branches(own, ends or None)
