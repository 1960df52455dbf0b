"""Tests of the sender's model that hold it against recordings of real servers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.model_replay import Figures, Replay

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Case:
    """A recording to play: which campaigns, and what is special about it."""

    campaigns: tuple[int, ...] = (2,)
    relay_seconds: float = 0.0
    """What the relay took for each mail."""
    moved: bool = False
    """A clean pause in mid batch moved the boundaries."""
    seconds: int = 1
    """By so many seconds' mails the figures may differ."""


PLAIN: Final = Case()
# 7 is a draft without people, 9 ran while the relay was held back. Pauses came within 50 ms of a burst of
# mails, and the workers' counters stood where earlier campaigns had left them: one burst more or less.
HEALTHY: Final = Case((2, 3, 4, 5, 6, 8), seconds=2)
RECORDINGS: Final = {
    "blockrun-v3.0.0": PLAIN,
    "crashed-down-v6.2.0": PLAIN,
    "deleted-list-v6.0.0": PLAIN,
    "deleted-list-v6.2.0": PLAIN,
    "fetch-error-v6.2.0": PLAIN,
    "healthy-v5.0.3": HEALTHY,
    "healthy-v6.2.0": HEALTHY,
    "hung-pipe-v5.0.3": PLAIN,
    "kill9-after-finish-v2.5.1": Case(relay_seconds=0.5),
    "kill9-after-pause-v6.2.0": Case(moved=True),
    "kill9-defaults-v6.2.0": PLAIN,
    "kill9-rejects-v6.2.0": PLAIN,
    "kill9-v2.5.1": PLAIN,
    "kill9-v4.1.0": PLAIN,
    "kill9-v6.2.0": PLAIN,
    "m2-backward-v5.0.3": PLAIN,
    "m2-forward-v6.0.0": Case((2, 3)),
    "many-small-v5.0.3": Case(tuple(range(2, 32))),
    "paused-killed-v5.0.3": PLAIN,
    "quickstart-v4.1.0": PLAIN,
    "rejects-paused-v6.2.0": PLAIN,
    "rejects-v3.0.0": PLAIN,
    "rejects-v5.0.3": PLAIN,
    "rejects-v6.2.0": PLAIN,
    "render-errors-v6.2.0": PLAIN,
    "restarts-three-v6.2.0": PLAIN,
    "scheduled-nobody-v4.1.0": PLAIN,
    "seed-v3.0.0": PLAIN,
    "seed-v4.1.0": PLAIN,
    "seed-v6.2.0": PLAIN,
    "sigterm-v6.2.0": PLAIN,
    "upgrade-mid-v4.1.0-v6.2.0": PLAIN,
    "window-stuck-v6.2.0": PLAIN,
}
EXACT: Final = (
    "blockrun-v3.0.0",
    "kill9-after-finish-v2.5.1",
    "m2-backward-v5.0.3",
    "m2-forward-v6.0.0",
    "paused-killed-v5.0.3",
    "quickstart-v4.1.0",
    "seed-v3.0.0",
    "seed-v4.1.0",
    "seed-v6.2.0",
    "window-stuck-v6.2.0",
)
"""Where nothing hangs on the second: window, end or refusal stopped the sending before the accident."""


def holes(people: Iterable[int], audience: list[int], longer_than: int) -> list[tuple[int, int]]:
    """Return the stretches of ranks without a gap that are longer than so many people, as (first, last)."""
    rank = {person: place for place, person in enumerate(audience, 1)}
    found: list[tuple[int, int]] = []
    for place in sorted(rank[person] for person in people):
        if found and found[-1][1] == place - 1:
            found[-1] = found[-1][0], place
        else:
            found.append((place, place))
    return [(first, last) for first, last in found if last - first >= longer_than]


def assert_alike(recorded: Figures, played: Figures, audience: list[int], noise: int) -> None:
    """Compare two moments: counts of people to the letter, what hangs on the second within `noise`."""

    def rank(cursor: int) -> int:
        return sum(person <= cursor for person in audience)

    assert (played.status, played.to_send) == (recorded.status, recorded.to_send)
    assert played.ceiling == recorded.ceiling
    assert abs(played.sent - recorded.sent) <= noise
    assert abs(played.mails - recorded.mails) <= noise
    if recorded.status == "finished":
        assert played.cursor == recorded.cursor
    assert abs(rank(played.cursor) - rank(recorded.cursor)) <= noise


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", RECORDINGS)
def test_model_ends_where_the_real_server_ended(name: str, seed: int) -> None:
    """The recorded steps, played at their times, leave the recorded row and the recorded holes.

    Allowed noise: one second's mails and the workers' hands, concurrency x (message rate + 1), in `sent`,
    mails and first ranks of holes; none in status, `to_send`, ceiling, the cursor of a finished campaign, the
    number of holes and their last ranks (where a pause moved the boundaries: from the rank of the pause).
    """
    case = RECORDINGS[name]
    play = Replay(name, seed=seed, relay_seconds=case.relay_seconds)
    workers = play.record.settings.concurrency
    noise = workers * (case.seconds * play.record.settings.message_rate + 1)
    for campaign, recorded, played in play.compared:
        alive = replace(recorded, status=played.status)
        assert_alike(alive, played, play.record.audience(campaign), noise)
    moved = play.compared[0][2].mails - play.compared[0][1].mails if case.moved else 0
    for campaign in case.campaigns:
        audience, sender = play.record.audience(campaign), play.senders[campaign]
        assert_alike(play.record.final(campaign), play.figures(campaign), audience, noise)
        assert set(sender.mails.values()) <= {1}
        missed = sender.missed if sender.row.started_at else sender.eligible
        recorded_missed = play.record.missed(campaign)
        assert abs(len(missed) - len(recorded_missed)) <= noise
        mine, real = holes(missed, audience, workers), holes(recorded_missed, audience, workers)
        assert [last - moved for _, last in mine] == [last for _, last in real]
        for (first, _), (real_first, _) in zip(mine, real, strict=True):
            assert abs(first - moved - real_first) <= noise + abs(moved)


@pytest.mark.parametrize("name", EXACT)
def test_model_is_exact_where_nothing_hangs_on_the_second(name: str) -> None:
    """Row, mails and everybody who was missed are the recorded ones, person by person."""
    play = Replay(name, relay_seconds=RECORDINGS[name].relay_seconds)
    for campaign in play.record.campaigns:
        assert play.figures(campaign) == play.record.final(campaign)
        assert sorted(play.senders[campaign].missed) == play.record.missed(campaign)


def test_replay_refuses_a_step_it_does_not_know() -> None:
    """A recording with a step that the model cannot play is not passed over in silence."""
    with pytest.raises(ValueError, match="messenger is taken out"):
        Replay("unknown-messenger-v6.2.0")
