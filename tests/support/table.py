"""Owns the tables of what was said and what was true, which the tests print when they have run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from tests.support.holding import comes_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from listmonk_doctor.repair.plan import Diagnosis
    from tests.support.truth import TruthOf

GROUPS, PRICES = "said of people", "said of strategies"
"""Names of a test's properties that hold rows of the two tables."""
_GROUPS = (
    "recording",
    "id",
    "status",
    "members",
    "missed",
    "never fetched",
    "presumed",
    "unknown",
    "wrongly",
    "broken",
)
_PRICES = ("recording", "id", "strategy", "missed", "came", "presumably", "twice", "came", "presumably")


def group_row(name: str, diagnosis: Diagnosis, truth: TruthOf) -> list[Any]:
    """Return the row of one campaign: how many were missed, how the members are grouped, and what was wrong in that."""
    seen = diagnosis.examination
    wrong = set(seen.recipients.presumed_reached) - truth.mails.keys()
    broken = {assumption.code for assumption in seen.assumptions} & truth.contradicted if wrong else set()
    counts = [len(truth.at_start & truth.now), len(truth.missed)]
    counts += [len(getattr(seen.recipients, group)) for group in ("never_fetched", "presumed_reached", "unknown")]
    return [name, seen.campaign.id, seen.campaign.status, *counts, len(wrong), " ".join(sorted(broken))]


def price_rows(name: str, diagnosis: Diagnosis, truth: TruthOf, version: str) -> list[list[Any]]:
    """Return a row for each strategy of a campaign: its price, and what the model's resume really gave."""
    rows = []
    for option in diagnosis.options:
        came = comes_of(diagnosis.examination, option, truth, version)
        if came is None:
            continue
        told = option.presumably
        strategy = f"{option.strategy} {option.prefer or ''}{' *' if option.recommended else ''}"
        missed = [f"{option.missed}", came.missed, f"{told.missed}" if told else ""]
        twice = [f"{option.duplicates}", came.twice, f"{told.duplicates}" if told else ""]
        rows.append([name, diagnosis.examination.campaign.id, strategy, *missed, *twice])
    return rows


def tables(properties: Iterable[tuple[str, Any]]) -> str:
    """Return the tables of all rows that tests have left in their properties; nothing where there are none."""
    groups: list[list[Any]] = []
    prices: list[list[Any]] = []
    for name, rows in properties:
        if name == GROUPS:
            groups += rows
        elif name == PRICES:
            prices += rows
    if not groups:
        return ""
    said = tabulate(sorted(groups), headers=_GROUPS, disable_numparse=True)
    cost = tabulate(sorted(prices), headers=_PRICES, disable_numparse=True)
    return f"What was said of people, and what was true\n\n{said}\n\nPrices, and what came (* recommended)\n\n{cost}\n"
