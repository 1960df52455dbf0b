"""Owns what differs between listmonk's versions, as one table of behaviours (no ladders of ifs elsewhere).

The facts were read from the source at each release tag and checked against recordings of real servers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.errors import UnknownSchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Version(NamedTuple):
    """A release, comparable; patch releases without a migration cannot be told from their minor."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        """Return the tag as listmonk writes it, as in v4.1.0."""
        return f"v{self.major}.{self.minor}.{self.patch}"


_TAG: Final = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)")

SCAN_SECONDS: Final = 5.0
"""listmonk's scan: every 5 s it picks campaigns up and flushes `sent` (fixed in all versions up to 6.2.0)."""

OLDEST_READ: Final = Version(2, 0, 0)
"""Before 2.0.0 there is no `bounces` table and no settled progress columns; such a database is refused."""

NEWEST_KNOWN: Final = Version(6, 2, 0)
"""The newest release whose behaviour was read; a newer one is read with a warning and not written unasked."""


def parse(tag: str) -> Version:
    """Return the version of a tag like "v4.1.0" or "4.1.0".

    Raises UnknownSchemaError where it is none.
    """
    found = _TAG.match(tag.strip())
    if found is None:
        raise UnknownSchemaError(
            f"The version that listmonk recorded cannot be read: {tag[:40]!r}.",
            hint="Look at the row of `settings` with the key 'migrations': its last element must be a tag as v4.1.0.",
        )
    return Version(int(found[1]), int(found[2]), int(found[3]))


class Behaviour(NamedTuple):
    """One thing that listmonk does in the versions `since` <= version < `before` (None: no bound)."""

    name: str
    since: Version | None
    before: Version | None
    fact: str

    def holds(self, version: Version) -> bool:
        """Tell whether a server of that version behaves so."""
        return (self.since is None or version >= self.since) and (self.before is None or version < self.before)


_BEHAVIOURS: Final = (
    Behaviour(
        "sent-counts-fetched",
        None,
        Version(3, 0, 0),
        "`sent` and the cursor advance when a batch is fetched; clean-up corrects neither (M15)",
    ),
    Behaviour(
        "batch-cut-before-filter",
        Version(2, 1, 0),
        Version(4, 0, 0),
        "the batch is cut before blocklisted and unconfirmed people are filtered out: a whole batch of them reads "
        "as nobody left (M3), and batch boundaries count them",
    ),
    Behaviour(
        "one-subscription-decides",
        Version(2, 1, 0),
        Version(4, 0, 0),
        "with several lists a subscriber is judged by one arbitrary of their subscriptions (M12)",
    ),
    Behaviour(
        "to-send-counts-blocklisted",
        None,
        Version(4, 0, 0),
        "`to_send` and the ceiling are counted without looking at the subscriber's status (M13)",
    ),
    Behaviour(
        "cursor-overwritten",
        Version(3, 0, 0),
        Version(6, 1, 0),
        "a run that sent nothing writes `to_send` into the cursor (M2)",
    ),
    Behaviour(
        "finished-while-draining",
        Version(3, 0, 0),
        Version(5, 0, 0),
        "pausing and starting again before the old pipe has drained ends as finished, cursor exact (M4)",
    ),
    Behaviour(
        "pipe-hangs",
        Version(3, 0, 0),
        Version(6, 1, 0),
        "an error while a batch is fetched leaves the pipe in memory for ever (M5)",
    ),
    Behaviour(
        "deleted-list-breaks-fetch",
        Version(4, 0, 0),
        Version(6, 1, 0),
        "a NULL row left by a deleted list makes the fetch fail (M6); later versions go on without that list",
    ),
    Behaviour(
        "nobody-loops",
        Version(4, 0, 0),
        Version(5, 0, 1),
        "a due campaign with an empty audience is picked up and dropped at every scan (M7)",
    ),
    Behaviour(
        "spoiled-connection",
        None,
        Version(3, 0, 0),
        "after a refused recipient the connection is used again unreset and the next people are lost (M18)",
    ),
    Behaviour(
        "start-schedules",
        Version(5, 0, 0),
        None,
        "starting a campaign that has `send_at` set makes it scheduled; the next scan makes it running",
    ),
    Behaviour(
        "clean-up-writes-cursor",
        Version(3, 0, 0),
        None,
        "the clean-up of a pipe writes the highest id that was really sent into the cursor",
    ),
    Behaviour(
        "heartbeat",
        Version(3, 0, 0),
        None,
        "each scan updates the row of every open pipe, even when nothing was sent",
    ),
)

BEHAVIOURS: Final[dict[str, Behaviour]] = {behaviour.name: behaviour for behaviour in _BEHAVIOURS}


def behaves(name: str, versions: Version | Iterable[Version]) -> bool:
    """Tell whether any of the versions has that behaviour (KeyError: no such behaviour)."""
    behaviour = BEHAVIOURS[name]
    several = (versions,) if isinstance(versions, Version) else versions
    return any(behaviour.holds(version) for version in several)
