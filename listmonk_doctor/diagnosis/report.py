"""Owns the shapes of what the diagnosis says: findings, account, causes, groups of people, examinations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.findings import Finding
    from listmonk_doctor.diagnosis.recorded import Recorded
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.listmonk.settings import Settings

Standing = Literal["established", "consistent", "ruled-out"]
Verdict = Literal["complete", "incomplete", "cannot-tell", "in-progress", "not-started", "cancelled"]
Pipe = Literal["open", "none", "cannot-tell", "not-looked"]


class Range(NamedTuple):
    """A number of people (or mails) known only as [at least, at most]; both ends are part of it."""

    low: int
    high: int

    def __str__(self) -> str:
        """Return "7" for an exact number, else "3 to 9"."""
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"


def exactly(number: int) -> Range:
    """Return the range that holds one number."""
    return Range(number, number)


@dataclass(frozen=True, slots=True)
class Account:
    """A campaign's balance sheet in people (sent and uncounted: mails).

    audience_at_start = mailed + failed + departed_unmailed + in_flight + tail + lost, each within its range.
    A clean-up writes the highest id that was sent into the cursor: the refused above it will be tried again, and count
    as tail. sent + uncounted = mails to people of the audience at start (second copies counted) + mails to others.
    """

    audience_at_start: Range
    audience_now: int
    sent: int
    uncounted: Range
    mailed: Range
    failed: Range
    departed_unmailed: Range
    in_flight: Range
    tail: Range
    lost: Range
    cursor_trusted: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """One of M1 to M18 with its standing and a sentence of figures."""

    code: str
    name: str
    standing: Standing
    because: str


@dataclass(frozen=True, slots=True)
class Assumption:
    """One of design.md's closed list: a code and the sentence that says what is taken for granted here."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Block:
    """A hole candidate: a stretch of the audience that a stop may have lost, ending at a batch boundary.

    `first_id`..`last_id` are subscriber ids (inclusive), `first_rank`..`last_rank` ranks in the audience at start.
    """

    first_id: int
    last_id: int
    first_rank: int
    last_rank: int
    people: int
    because: str


@dataclass(frozen=True, slots=True)
class Recipients:
    """The groups of people. The first six partition the audience at start that is still in the audience now."""

    reached: BitMap
    failed: BitMap
    not_mailed: BitMap
    never_fetched: BitMap
    presumed_reached: BitMap
    unknown: BitMap
    newcomers: BitMap
    departed: BitMap

    def groups(self) -> dict[str, BitMap]:
        """Return the groups by their names in the JSON, in order of precedence."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything the diagnosis says of one campaign, before strategies are priced."""

    campaign: Campaign
    version: str
    settings: Settings
    running: bool | None
    pipe: Pipe
    pipe_because: str
    verdict: Verdict
    account: Account
    causes: tuple[Cause, ...]
    assumptions: tuple[Assumption, ...]
    recipients: Recipients
    candidates: tuple[Block, ...]
    happened: tuple[str, ...]
    known: tuple[str, ...]
    unknowable: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    recorded: Recorded | None = None
    ahead: int = 0
    """People between those counted as sent and the cursor, by the dates: more than a flush were not all mailed."""
