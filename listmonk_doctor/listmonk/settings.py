"""Owns the settings that a diagnosis rests on: batch size, workers, rate, window, messengers, dated versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.listmonk.versions import SCAN_SECONDS, Version, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

GUARDED_KEYS: Final = (
    "app.batch_size",
    "app.concurrency",
    "app.message_rate",
    "app.max_send_errors",
    "app.message_sliding_window",
    "app.message_sliding_window_duration",
    "app.message_sliding_window_rate",
)
"""The settings that a price rests on: a plan compares them before it writes."""

READ_KEYS: Final = (*GUARDED_KEYS, "messengers", "smtp", "migrations")

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(h|m(?!s)|s|ms)")
_UNIT_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(duration: str) -> float:
    """Return the seconds of a duration as listmonk writes it ("1h", "1m30s"); 0.0 where it cannot be read."""
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(duration))


@dataclass(frozen=True, slots=True)
class Settings:
    """Today's settings that bear on sending. Whether they were the same while a campaign was sent cannot be seen.

    `batch_size` people per fetch, `concurrency` workers, `message_rate` messages per second and worker; the sliding
    window lets `window_rate` messages through per `window_seconds` (0: no window); `max_send_errors` 0: no limit.
    `versions` are the recorded versions with the moment from which each was installed (None: unknown, or from
    the beginning), oldest first; `raw` holds the guarded keys as JSON values.
    """

    batch_size: int = 1000
    concurrency: int = 10
    message_rate: int = 10
    max_send_errors: int = 1000
    window_rate: int = 0
    window_seconds: float = 0.0
    messengers: frozenset[str] = frozenset({"email"})
    versions: tuple[tuple[Version, datetime | None], ...] = ()
    raw: Mapping[str, Any] | None = None

    @property
    def version(self) -> Version:
        """The version recorded last: what runs today, as far as its migrations tell."""
        return self.versions[-1][0]

    @property
    def queue(self) -> int:
        """Messages between the fetching loop and the workers (3.0.0 and later; 2 x concurrency before)."""
        if self.version < Version(3, 0, 0):
            return 2 * self.concurrency
        return 2 * self.concurrency * self.message_rate

    @property
    def front(self) -> int:
        """Ranks by which single people in the workers' hands can lie before the block that a stop lost."""
        return self.concurrency * self.message_rate

    @property
    def one_stop(self) -> int:
        """The most people that one stop can lose: batch + queue + workers."""
        return self.batch_size + self.queue + self.concurrency

    @property
    def flush(self) -> int:
        """The most mails that one lost or doubled flush of `sent` can hold: 5 s at the full rate, or the window's."""
        return int(SCAN_SECONDS * self.concurrency * self.message_rate)

    @property
    def window(self) -> bool:
        """Whether a sliding window limits the rate (listmonk ignores windows of a second or less)."""
        return self.window_rate > 0 and self.window_seconds > 1

    @property
    def paced_by_window(self) -> bool:
        """Whether the sliding window is slower than the workers, so that sending mostly sleeps in it."""
        return self.window and self.window_rate < self.window_seconds * self.concurrency * self.message_rate

    def versions_between(self, start: datetime | None, end: datetime | None) -> tuple[Version, ...]:
        """Return the versions that may have been installed between two moments, oldest first.

        An undated version is taken as possible from the moment of the one before it until the next dated one.
        """
        possible: list[Version] = []
        since: datetime | None = None
        for index, (version, dated) in enumerate(self.versions):
            since = dated or since
            until = next((later for _, later in self.versions[index + 1 :] if later is not None), None)
            begun = since is None or end is None or since <= end
            over = until is not None and start is not None and until <= start
            if begun and not over:
                possible.append(version)
        return tuple(possible) or (self.version,)


def _whole(value: Any, default: int) -> int:
    """Return a setting as a non-negative whole number; the default where it is none."""
    if isinstance(value, bool):
        return default
    if isinstance(value, int | float) and value >= 0:
        return int(value)
    if isinstance(value, str) and value.strip().isdigit():
        return int(value)
    return default


def _messengers(values: Mapping[str, Any], version: Version) -> frozenset[str]:
    """Return the messengers that exist: `email`, enabled custom ones, and from 5.0.0 named SMTP servers."""
    names = {"email"}
    entries = values.get("messengers")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("enabled") and isinstance(entry.get("name"), str):
            names.add(entry["name"])
    servers = values.get("smtp")
    enabled = [e for e in servers if isinstance(e, dict) and e.get("enabled")] if isinstance(servers, list) else []
    if version >= Version(5, 0, 0) and len(enabled) > 1:
        names.update(str(entry["name"]) for entry in enabled if entry.get("name"))
    return frozenset(names)


def from_rows(values: Mapping[str, Any], dated: Mapping[str, datetime] | None = None) -> Settings:
    """Make Settings of the rows of `settings` (key -> JSON value).

    `dated` tells from when each recorded version was installed (tag -> moment), as far as it is known.
    Raises UnknownSchemaError where the recorded version cannot be read.
    """
    recorded = values.get("migrations")
    tags = [str(tag) for tag in recorded] if isinstance(recorded, list) and recorded else [str(recorded)]
    versions = tuple((parse(tag), (dated or {}).get(tag)) for tag in tags)
    window = values.get("app.message_sliding_window") is True
    return Settings(
        batch_size=max(1, _whole(values.get("app.batch_size"), 1000)),
        concurrency=max(1, _whole(values.get("app.concurrency"), 10)),
        message_rate=max(1, _whole(values.get("app.message_rate"), 10)),
        max_send_errors=_whole(values.get("app.max_send_errors"), 1000),
        window_rate=_whole(values.get("app.message_sliding_window_rate"), 0) if window else 0,
        window_seconds=seconds(str(values.get("app.message_sliding_window_duration", ""))) if window else 0.0,
        messengers=_messengers(values, versions[-1][0]),
        versions=versions,
        raw={key: values.get(key) for key in GUARDED_KEYS},
    )
