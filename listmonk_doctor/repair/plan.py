"""Owns the plan: the changes of a repair as data, with the guards they rest on and their price."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listmonk_doctor.diagnosis.report import Examination, Range

Strategy = Literal[
    "nothing",
    "resume",
    "rewind",
    "follow-up",
    "unschedule",
    "detach-list",
    "accept",
    "follow-up-refresh",
    "follow-up-settle",
]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
TENDING: frozenset[str] = frozenset({"follow-up-refresh", "follow-up-settle"})
"""What is done to a follow-up that was made; the campaign of such a plan is the follow-up."""
ROW_LEFT_ALONE: frozenset[str] = TENDING | {"follow-up"}
"""Strategies that change nothing of the campaign's row itself: taking them back cannot disturb a pipe."""
Prefer = Literal["no-duplicates", "no-gaps"]


@dataclass(frozen=True, slots=True)
class Change:
    """One row's change. `before` None: the row is inserted; `after` None: it is deleted.

    `key` identifies the row (column -> value). `before` and `after` hold JSON values (timestamps as ISO 8601 UTC
    text). For an update both hold the same columns, only those that change; for a delete `before` is the whole row.
    """

    table: str
    key: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Presumed:
    """What a price shrinks to if the named assumptions hold; `assumptions` are codes of the closed list."""

    missed: Range
    duplicates: Range
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """One strategy for one campaign, priced.

    The price is what will be true once it has been applied, Start was pressed, and the campaign ran to its end
    with no further accident and no change of the lists: people missed, second copies, newcomers, people mailed.
    """

    strategy: Strategy
    prefer: Prefer | None
    recommended: bool
    allowed_now: bool
    because: str
    changes: tuple[Change, ...]
    missed: Range
    duplicates: Range
    newcomers: Range
    would_mail: Range
    presumably: Presumed | None = None
    refusal: str = ""
    """Why it is not done at all ("" where it may be); an option that is only not allowed *now* has none."""
    groups: tuple[str, ...] = ()
    """Of a follow-up: the groups of people that it is for."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """An examination with its priced options and the advice that comes before any figure."""

    examination: Examination
    options: tuple[Option, ...]
    advice: tuple[str, ...]

    def option(self, strategy: str, prefer: str | None = None) -> Option | None:
        """Return the option of that strategy (and preference, where the strategy has one)."""
        for option in self.options:
            if option.strategy == strategy and prefer in (None, option.prefer):
                return option
        return None


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of one repair of one campaign, with everything that must still be true when it is applied.

    guards: `row` (all progress columns), `xmin`, `settings` (those that the price rests on), `audience`
    (count and digest of the ids of today's audience), `server` (what was seen of the scanner and the pipe),
    `follow_up` (of a follow-up and its tending: what it was asked for, so that it can be planned again).
    """

    campaign_id: int
    campaign_uuid: str
    campaign_name: str
    listmonk_version: str
    strategy: str
    prefer: str | None
    changes: tuple[Change, ...]
    guards: Mapping[str, Any]
    price: Mapping[str, Any]
    reason: str = ""
    undoes: str | None = None
    notes: tuple[str, ...] = field(default=())
