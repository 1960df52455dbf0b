"""Owns the shapes of what a recording says of people, and how it narrows the groups that the row alone allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from listmonk_doctor.diagnosis.account import settled
from listmonk_doctor.diagnosis.candidates import pinned, union
from listmonk_doctor.diagnosis.report import Block, Range

if TYPE_CHECKING:
    from datetime import datetime

    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.logged_batches import Batches
    from listmonk_doctor.timeline.meaning import Meaning
    from listmonk_doctor.timeline.outpaced import Outpaced

CODES: Final = ("no-clean-pause-in-mid-batch", "lists-unchanged-while-sending", "no-failures")
"""What a recording does not see: a Pause and a Start between two looks, changes of the lists, whose mail failed."""

LOGGED: Final = ("same-batch-size", "lists-unchanged-while-sending", "no-failures")
"""What a log does not see: the settings of its time, changes of the lists, whose mail failed."""
HELD_UP: Final = "no-write-held-up"
"""What a death by a log's beats rests on: the sender was gone when its next beat was due."""


@dataclass(frozen=True, slots=True)
class Hole:
    """What one death of the sender lost: nobody outside `most`; everybody in `surely`.

    `after` and `by` bound the moment of the death. `certain` False: that it died cannot be told from going on.
    """

    after: datetime
    by: datetime
    certain: bool
    most: BitMap
    surely: BitMap
    first: Range
    last_id: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording says of one campaign's people.

    `complete`: it was watched from before the first batch until now, so that nothing else can have happened; else it
    narrows only what it covers. `presumed` were taken by a worker; `not_mailed` were not, ever; `never` were never
    fetched (only where it is complete). `counted` is how many mails were counted while it was watched, `again` are of
    today's audience, taken by a life after an earlier one may have mailed them. `outpaced` is set where the log shows
    that the settings were others when it was sent, so that nothing follows from how fast it can have been. `batches`
    are those that it shows, whose size may not be today's either.
    """

    source: str
    meaning: Meaning
    complete: bool
    presumed: BitMap
    not_mailed: BitMap
    never: BitMap
    holes: tuple[Hole, ...]
    counted: int
    started_over: bool
    again: BitMap
    outpaced: Outpaced | None = None
    batches: Batches | None = None

    @property
    def uneven(self) -> bool:
        """Whether the log shows batches that cannot all have been of one size."""
        return self.batches is not None and not self.batches.same

    @property
    def narrows(self) -> bool:
        """Whether anything follows from it for people."""
        return bool(self.complete or self.presumed or self.not_mailed or self.never)

    @property
    def logged(self) -> bool:
        """Whether a log has every write that it rests on, so that nothing lies between two looks."""
        return all(version.source != "recording" for version in self.meaning.timeline.versions)

    @property
    def noun(self) -> str:
        """What it is called in a sentence."""
        return "PostgreSQL's log" if self.logged else "the recording"

    @property
    def saw(self) -> str:
        """What a sentence begins with that it proves."""
        return "PostgreSQL's log" if self.logged else "Recorded"

    @property
    def codes(self) -> tuple[str, ...]:
        """The assumptions that it rests on."""
        versions = self.meaning.timeline.versions
        if all(version.source == "recording" for version in versions):
            return CODES
        exact = self.logged and all(version.dated for version in versions)
        held_up = (HELD_UP,) if self.holes else ()
        return (*LOGGED, *(() if exact else CODES), *held_up)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The recorded holes as hole candidates."""
        return tuple(_block(hole, self.saw if self.logged else "recorded") for hole in self.holes if hole.most)


def _block(hole: Hole, saw: str) -> Block:
    word = "died" if hole.certain else "may have died"
    begins = f"it begins between ranks {hole.first.low:,} and {hole.first.high:,}"
    return Block(
        int(hole.most.min()),
        hole.last_id,
        hole.first.low,
        hole.first.low + len(hole.most) - 1,
        len(hole.most),
        f"{saw}: the sender {word} by {hole.by:%H:%M:%S} UTC; {begins}",
    )


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The groups after a recording was heard: who stays unknown, and the assumptions that the others still need."""

    unknown: BitMap
    not_mailed: BitMap
    never: BitMap
    codes: tuple[str, ...]
    blocks: tuple[Block, ...]


def narrowed(figures: Figures, recorded: Recorded, rest: BitMap, by_row: Narrowed) -> Narrowed:
    """Let a recording narrow who is unknown among the `rest` of the members.

    A complete recording replaces what the row alone allows, unless that says more, by a clean end or by M2 on a
    finished row: then both hold, under the assumptions of both. A partial one takes away whom it covers, and the
    assumptions stay.
    """
    unknown, codes, blocks = by_row.unknown, by_row.codes, by_row.blocks
    not_mailed, never = rest & recorded.not_mailed, rest & recorded.never
    open_people = rest - not_mailed - never
    left = unknown - recorded.presumed
    if not recorded.complete:
        return Narrowed(open_people & left, not_mailed, never, (*codes, *recorded.codes), (*blocks, *recorded.blocks))
    told = open_people - recorded.presumed
    # The row alone takes for granted that it never started over; a recording that saw it do so knows better.
    if settled(figures) and not recorded.again and not told <= unknown:
        return Narrowed(unknown & told, not_mailed, never, (*codes, *recorded.codes), recorded.blocks)
    once = len(recorded.holes) == 1 and not recorded.again  # stopped-once and never-started-over are known
    pin = pinned(replace(figures, recorded=None)) if once else None
    if pin and not told <= (held := union(figures, (pin,))):
        return Narrowed(
            told & (held | figures.arbitrary),
            not_mailed,
            never,
            ("no-flush-lost-or-doubled", *recorded.codes),
            recorded.blocks,
        )
    return Narrowed(told, not_mailed, never, recorded.codes, recorded.blocks)
