"""Owns what the renderers are told of a repair or an undo: per campaign what was meant, done or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from listmonk_doctor.diagnosis.eta import Duration
    from listmonk_doctor.diagnosis.findings import NotRun
    from listmonk_doctor.repair.plan import Change, Diagnosis, Option, Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """One campaign of a repair or an undo. What is not known is None: a saved plan comes without a diagnosis.

    `applied`: the changes were committed. `refused`: why nothing was done or will be done ("" where nothing
    stands in the way). `changes` are those that were or would be made.
    """

    campaign_id: int
    campaign_name: str
    changes: tuple[Change, ...] = ()
    applied: bool = False
    refused: str = ""
    hint: str = ""
    diagnosis: Diagnosis | None = None
    option: Option | None = None
    plan: Plan | None = None
    lasts: Duration | None = None
    advice: tuple[str, ...] = ()
    """What will hold once it is done (an undo may make a row dangerous again)."""

    @property
    def strategy(self) -> str | None:
        """The strategy's name, if one was chosen."""
        chosen = self.option or self.plan
        return chosen.strategy if chosen else None

    @property
    def prefer(self) -> str | None:
        """The preference it was chosen by, where the strategy has one."""
        chosen = self.option or self.plan
        return chosen.prefer if chosen else None


@dataclass(frozen=True, slots=True)
class RunReport:
    """A whole run: `command` is as it was typed ("repair", "undo", "follow-up settle").

    `run` is its id in the journal (None for a dry run).

    `of_run` is the run that an undo takes back; `undo_file` the script that was written beside the journal.
    """

    command: str
    outcomes: tuple[Outcome, ...]
    run: str | None = None
    of_run: str | None = None
    undo_file: Path | None = None
    plan_file: Path | None = None
    asking: bool = False
    """Shown before the question whether to write it: how to apply it need not be said."""
    failed: tuple[NotRun, ...] = ()
    """Checks that failed while the campaigns to repair were looked for: others may need it, too."""

    @property
    def applied(self) -> bool:
        """Whether anything was written."""
        return any(outcome.applied for outcome in self.outcomes)
