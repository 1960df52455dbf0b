"""Owns the reckoning of how long a run will take at the configured rate and sliding window."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from listmonk_doctor.listmonk.versions import SCAN_SECONDS

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.report import Range
    from listmonk_doctor.listmonk.settings import Settings


class Duration(NamedTuple):
    """Seconds from pressing Start to the last mail, [at least, at most], at the configured rate.

    Both take it that nothing else is being sent and that the relay keeps up; a slow relay has no bound.
    """

    low: float
    high: float


def _run(people: int, settings: Settings, *, sleeps: int) -> float:
    """Return the seconds for sending to that many people with that many sleeps in the window.

    A window begins with its first message, so that sending `window_rate` messages and sleeping take one window
    together, or longer where the workers are too slow to use a window up.
    """
    per_second = settings.concurrency * settings.message_rate
    if not settings.window or people == 0:
        return people / per_second
    full = sleeps * max(settings.window_seconds, settings.window_rate / per_second)
    return full + max(0, people - sleeps * settings.window_rate) / per_second


def duration(people: Range, settings: Settings) -> Duration:
    """Return how long it takes to mail `people` (how many get the mail) at today's rate and window.

    At least: a fresh window, the pick-up at once, and no sleep behind the last message. At most: up to 5 s until
    the scan picks the campaign up, one more window, since the window is shared by all campaigns and may be used
    up when the run begins, and one message per sleep, which may come so much later. Nobody to mail takes no time
    but the scan's.
    """
    if not settings.window:
        return Duration(_run(people.low, settings, sleeps=0), SCAN_SECONDS + _run(people.high, settings, sleeps=0))
    fewest = max(0, (people.low - 1) // settings.window_rate) if people.low else 0
    most = people.high // settings.window_rate
    waiting = settings.window_seconds + most / (settings.concurrency * settings.message_rate) if people.high else 0.0
    low = _run(people.low, settings, sleeps=fewest)
    return Duration(low, SCAN_SECONDS + waiting + _run(people.high, settings, sleeps=most))
