"""How long a run takes at the configured rate and window."""

from __future__ import annotations

import pytest

from listmonk_doctor.diagnosis.eta import duration
from listmonk_doctor.diagnosis.report import Range, exactly
from listmonk_doctor.listmonk.settings import Settings
from listmonk_doctor.listmonk.versions import SCAN_SECONDS

FREE = Settings(concurrency=10, message_rate=20)
WINDOW = Settings(concurrency=10, message_rate=20, window_rate=753, window_seconds=14.0)


def played(people: int, settings: Settings, used: int) -> float:
    """Send one message after the other by the rule of the window, `used` of which are used up; return the seconds."""
    pause = 1 / (settings.concurrency * settings.message_rate)
    clock, began, count = 0.0, 0.0, used
    for _ in range(people):
        clock += pause
        if clock - began >= settings.window_seconds:
            began, count = clock, 0
        count += 1
        if count >= settings.window_rate:
            clock += max(0.0, settings.window_seconds - (clock - began))
            began, count = clock, 0
    return clock


def test_without_a_window_only_the_rate_counts() -> None:
    """340 people at 200 a second take 1.7 s, and up to one scan more."""
    low, high = duration(exactly(340), FREE)
    assert low == pytest.approx(1.7)
    assert high == pytest.approx(1.7 + SCAN_SECONDS)


def test_nobody_takes_no_time() -> None:
    """An empty run ends with the next scan."""
    assert duration(exactly(0), FREE) == (0.0, SCAN_SECONDS)
    assert duration(exactly(0), WINDOW) == (0.0, SCAN_SECONDS)


@pytest.mark.parametrize("people", [1, 752, 753, 754, 1506, 2601])
@pytest.mark.parametrize("used", [0, 300, 752])
@pytest.mark.parametrize(
    "settings", [WINDOW, Settings(concurrency=1, message_rate=1, window_rate=60, window_seconds=60.0)]
)
def test_a_window_played_message_by_message_lies_within_the_range(people: int, used: int, settings: Settings) -> None:
    """Whatever share of the window is used up at the start, the range holds what really happens."""
    taken = played(people, settings, min(used, settings.window_rate - 1))
    low, high = duration(exactly(people), settings)
    assert low - 0.1 <= taken <= high + 0.1


def test_a_slow_window_takes_days() -> None:
    """5,601 people at 60 an hour take more than 93 hours."""
    slow = Settings(concurrency=10, message_rate=10, window_rate=60, window_seconds=3600.0)
    low, high = duration(exactly(5601), slow)
    assert 93 * 3600 <= low <= high <= 95 * 3600


def test_a_range_of_people_gives_a_range_of_time() -> None:
    """The least time is that of the fewest people, the most that of the most."""
    low, high = duration(Range(100, 2000), WINDOW)
    assert low == duration(exactly(100), WINDOW).low
    assert high == duration(exactly(2000), WINDOW).high
