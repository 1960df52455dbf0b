"""Plays generated histories of which only pages hold the beginning, without its moments, and holds what is said.

More of them: LISTMONK_DOCTOR_HISTORIES=10000 pytest tests/test_leftover_histories.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from listmonk_doctor.diagnosis.recorded_people import read_recorded
from listmonk_doctor.timeline.lives import read_meaning
from listmonk_doctor.timeline.wal.filling import filled
from listmonk_doctor.timeline.wal.leftover import Leftover
from tests.support.logging_model import FIRST_XMIN
from tests.test_logged import Logged, hold, logged, played
from tests.test_recorded_histories import FIXED, HISTORIES, Watched

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.recorded import Recorded
    from listmonk_doctor.timeline.model import RowVersion, Timeline


class Lying(Logged):
    """A played campaign whose log begins with the version `begins`; pages hold those from `lies` on, but the pruned."""

    def __init__(self, one: Logged, begins: int) -> None:
        """Take a history that was played already."""
        self.sender, self.log, self.done = one.sender, one.log, one.done
        self.begins, self.lost, self.stalls = begins, frozenset(), ()
        self.lies = 0
        self.pruned: frozenset[int] = frozenset()

    @property
    def timeline(self) -> Timeline:
        """What log and pages tell together."""
        versions = self.log.versions
        kept = [number for number in range(self.lies, self.begins) if number not in self.pruned]
        begun = self.log.timeline(self.begins, self.lost, self.stalls)
        found = filled(begun, [left(versions[number], number) for number in kept], int(versions[-1].xmin))
        assert found is not None
        return found

    @property
    def said(self) -> Recorded:
        """What both say of the people."""
        figures = Watched(self.sender, writes=len(self.log.versions) - 1 + FIRST_XMIN).figures()
        return read_recorded(figures, read_meaning(self.timeline), "the log")


def test_what_began_before_the_log_may_have_died_unseen() -> None:
    """A fetch that the log dates, behind a version without a moment: the sender may have been killed in between."""
    one = played()
    one.sender.run(25.4)  # up to the second fetch, and not to a count behind it
    fetches = [number for number, each in enumerate(one.log.versions) if number and moved(one, number)]
    lying = Lying(one, fetches[1])
    lying.lies = fetches[1] - 1
    first, second = lying.timeline.versions[:2]
    assert (first.source, first.dated, second.source, second.linked) == ("page", False, "log", True)
    assert (second.before - first.after).total_seconds() > 5
    assert lying.said.meaning.lives[0].end == "perhaps-died"


def moved(one: Logged, number: int) -> bool:
    """Tell whether a version is a fetch's."""
    return one.log.versions[number].cursor > one.log.versions[number - 1].cursor


def test_what_cannot_be_put_in_order_is_left_out() -> None:
    """Nothing follows the row as it is now; nothing comes between two that the log links; no time runs backwards."""
    one = played()
    one.sender.run(40)
    lying = Lying(one, 6)
    lying.lies = 6
    whole, live = lying.timeline, int(one.log.versions[-1].xmin)
    alone = left(one.log.versions[2], 2)
    put = filled(whole, [replace(alone, by=0)], live)
    assert put is not None
    assert (put.versions[0].xmin, put.versions[1]) == (str(alone.xmin), whole.versions[0])
    late = {**alone.values, "updated_at": whole.ended}
    for strange in (
        replace(alone, xmin=live + 9, by=0, values=late),  # younger than the row as it is now
        replace(alone, xmin=live + 9, by=live),  # what the log says that another version came before
        replace(alone, by=0, values=late),  # written later than what follows
    ):
        assert filled(whole, [strange], live) == whole


def test_runs_of_pages_are_not_put_into_each_other() -> None:
    """What pages know to have replaced each other stays together, whatever number another leftover has."""
    one = played()
    one.sender.run(40)
    versions = one.log.versions
    lying = Lying(one, 8)
    lying.lies = 8
    pair = [replace(left(versions[2], 2), by=704), left(versions[4], 4), left(versions[5], 5), left(versions[6], 6)]
    pair.append(left(versions[7], 7))
    found = filled(lying.timeline, [*pair, replace(left(versions[3], 3), by=0)], int(versions[-1].xmin))
    assert found is not None
    assert [int(each.xmin) for each in found.versions[:5]] == [702, 704, 705, 706, 707]
    assert all(each.linked for each in found.versions[1:])


def left(version: RowVersion, number: int) -> Leftover:
    """Return a version as it lies on a page."""
    values = {
        "status": version.status,
        "sent": version.sent,
        "to_send": version.to_send,
        "last_subscriber_id": version.cursor,
        "max_subscriber_id": version.ceiling,
        "started_at": version.started_at,
        "updated_at": version.updated_at,
    }
    xmin = int(version.xmin)
    return Leftover(xmin, xmin + 1, values, (0, number), passing=False, inserted=number == 0, at=None)


@effort(max_examples=HISTORIES, deadline=None, print_blob=True, derandomize=HISTORIES <= FIXED)
@given(logged(), st.floats(0, 1), st.floats(0, 1), st.lists(st.floats(0, 1), max_size=3))
def test_what_pages_tell_of_a_generated_history_is_true(
    one: Logged, begins: float, lies: float, pruned: list[float]
) -> None:
    """Whatever of it has no moments, nobody proved unmailed was mailed, and each certain death was one."""
    count = len(one.log.versions)
    made = Lying(one, int(begins * (count - 1)))
    made.lies = int(lies * made.begins)
    made.pruned = frozenset(int(each * made.begins) for each in pruned)
    timeline = made.timeline
    held = [number for number in range(made.lies, count) if number >= made.begins or number not in made.pruned]
    assert [int(each.xmin) - FIRST_XMIN for each in timeline.versions] == held
    assert [each.linked for each in timeline.versions] == [number == 0 or number - 1 in held for number in held]
    for each in timeline.versions:
        truth = one.log.versions[int(each.xmin) - FIRST_XMIN].before
        assert each.after <= truth <= each.before
    said = hold(made)
    if said.complete:
        assert timeline.versions[0].started_at is None
