"""Owns the one-line picture of an audience in id order, and how each group of people is called and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from listmonk_doctor.render.document import Strip, Tone
from listmonk_doctor.render.text import counted

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.report import Recipients

CELLS: Final = 60


@dataclass(frozen=True, slots=True)
class Look:
    """How a group of people is called, explained and drawn."""

    words: str
    meaning: str
    block: str
    ascii: str
    tone: Tone


GROUPS: Final[dict[str, Look]] = {
    "reached": Look("reached", "proved: a bounce, a view, a click or a log says so", "\u2588", "#", "good"),
    "presumed_reached": Look(
        "presumably reached",
        "follows from the batches, if the assumptions above hold",
        "\u2593",
        "=",
        "plain",
    ),
    "failed": Look("failed", "listmonk or the relay says that the hand-over failed", "x", "x", "bad"),
    "never_fetched": Look("never fetched", "not mailed: the cursor never got so far", "\u00b7", ".", "warn"),
    "not_mailed": Look("not mailed", "not mailed: a complete record or a recording says so", "o", "o", "warn"),
    "unknown": Look("unknown", "the figures cannot say whether they got it", "\u2591", "?", "bad"),
    "newcomers": Look("newcomers", "eligible now, not when the campaign started", "+", "+", "dim"),
    "departed": Look("departed", "in the audience at the start, not now", "-", "-", "dim"),
}
"""The groups in the order of the JSON contract; the first six partition the audience."""

PARTITION: Final = ("reached", "presumed_reached", "failed", "never_fetched", "not_mailed", "unknown")
_TIES: Final = ("unknown", "never_fetched", "not_mailed", "failed", "presumed_reached", "reached")
"""Where two groups are equally many in a cell, the earlier one here is drawn: the worse news."""


def strip(recipients: Recipients, cells: int = CELLS) -> Strip | None:
    """Return the audience at start that is still in it now as `cells` equal shares, or None where nobody is left.

    A cell shows the group to which most of its people belong.
    """
    groups = {name: getattr(recipients, name) for name in PARTITION}
    everybody = groups["reached"].copy()
    for name in PARTITION[1:]:
        everybody |= groups[name]
    people = len(everybody)
    if not people:
        return None
    count = min(cells, people)
    drawn = []
    for cell in range(count):
        low = everybody[cell * people // count]
        high = everybody[(cell + 1) * people // count - 1]
        shares = {name: groups[name].range_cardinality(low, high + 1) for name in _TIES}
        drawn.append(max(shares, key=shares.__getitem__))
    legend = tuple((name, f"{GROUPS[name].words} {len(groups[name]):,}") for name in PARTITION if groups[name])
    share = -(-people // count)
    note = f"in id order, about {counted(share, 'person', 'people')} to a cell, drawn as what most of them are"
    return Strip(tuple(drawn), legend, note)
