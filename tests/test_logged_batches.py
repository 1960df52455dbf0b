"""Holds what a log is said to show of the batch size to campaigns whose audience changed since."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pyroaring import BitMap

from listmonk_doctor.diagnosis.idsets import Audience
from listmonk_doctor.diagnosis.logged_batches import Batches, batches
from listmonk_doctor.timeline.model import RowVersion, Timeline

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NOBODY = BitMap()
PEOPLE = BitMap(range(10, 25_001, 10))
"""2,500 people, every tenth id."""
AUDIENCE = Audience(
    now=PEOPLE,
    sure=PEOPLE,
    undated=NOBODY,
    newcomers=NOBODY,
    left=NOBODY,
    left_during=NOBODY,
    blocked_since=NOBODY,
    blocked_undated=NOBODY,
    mixed=NOBODY,
    fetchable=NOBODY,
    reached=NOBODY,
)


def fetched(*cursors: int) -> Timeline:
    """Return a log in which the cursor went from each id to the next, a second apart."""
    versions = []
    for number, cursor in enumerate(cursors):
        at = START + timedelta(seconds=number)
        row = ("running", 0, len(PEOPLE), cursor, 25_000, START, at)
        versions.append(RowVersion(at, at, at, *row, str(700 + number), "log", 1000 * number))
    return Timeline(1, "uuid", "name", START, versions[-1].until, tuple(versions))


def test_full_batches_show_their_size() -> None:
    """Whoever is surely in the audience counts, and the last batch need not be full."""
    assert batches(fetched(0, 10_000, 20_000, 25_000), AUDIENCE) == Batches(2, 1000, 1000)
    assert batches(fetched(20_000, 25_000), AUDIENCE) is None


def test_batches_of_several_sizes_are_told_as_such() -> None:
    """The setting was changed while it was sent: no one size fits, the largest bounds what a stop can lose."""
    seen = batches(fetched(0, 10_000, 15_000, 20_000), AUDIENCE)
    assert seen == Batches(3, 500, 1000, same=False)
    assert seen.size is None
    assert not seen.fits(500)
    assert not seen.fits(1000)


def test_newcomers_may_have_been_taken_with_a_batch() -> None:
    """Two people who joined a list after the start and lie within a batch: it held 1,000 with them, or 998."""
    joined = replace(AUDIENCE, now=PEOPLE, sure=PEOPLE - BitMap([10, 20]), newcomers=BitMap([10, 20]))
    timeline = fetched(0, 10_000)
    timeline = replace(timeline, versions=tuple(replace(each, to_send=2498) for each in timeline.versions))
    assert batches(timeline, joined) == Batches(1, 998, 1000)


@pytest.mark.parametrize("at_end", [24_990, 24_980])
def test_the_last_batch_is_none_where_the_last_person_left(at_end: int) -> None:
    """The ceiling is not reached by the cursor then; the rest that was taken at the end is no full batch."""
    rest = BitMap(range(10, at_end + 1, 10))
    gone = replace(AUDIENCE, now=rest, sure=rest)
    assert batches(fetched(20_000, at_end), gone) is None
