"""Owns the truth of a recorded campaign as sets of people, read from the relay's account and from plain SQL."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

    from listmonk_doctor.demo.recording import Recording

NOW = """
SELECT DISTINCT sl.subscriber_id
FROM campaign_lists cl
JOIN campaigns c ON c.id = cl.campaign_id
JOIN lists l ON l.id = cl.list_id
JOIN subscriber_lists sl ON sl.list_id = l.id
JOIN subscribers s ON s.id = sl.subscriber_id AND s.status <> 'blocklisted'
WHERE c.id = %s AND CASE WHEN c.type = 'optin' THEN l.optin = 'double' AND sl.status = 'unconfirmed'
                         WHEN l.optin = 'double' THEN sl.status = 'confirmed'
                         ELSE sl.status <> 'unsubscribed' END
"""
"""Today's audience in the plainest SQL, independent of the program's own pass."""

ON_LISTS = """
SELECT DISTINCT sl.subscriber_id
FROM campaign_lists cl
JOIN subscriber_lists sl ON sl.list_id = cl.list_id AND sl.status <> 'unsubscribed'
WHERE cl.campaign_id = %s
"""
"""Whom versions before 4.0.0 count when they cut a batch."""

FAILING = ("rejects", "render", "m2-backward")
CLEAN_PAUSES = (
    "kill9-after-pause",
    "newcomers",
    "m2-forward",
    "healthy",
    "quickstart",
    "rejects-paused",
    "m2-backward",
)


@dataclass(frozen=True)
class TruthOf:
    """What really happened in one campaign of a recording, loaded into a database."""

    at_start: frozenset[int]
    now: frozenset[int]
    blocklisted: frozenset[int]
    fetchable: frozenset[int]
    mails: dict[int, int]
    failed: frozenset[int]
    contradicted: frozenset[str]
    named_in_log: frozenset[int] = frozenset()
    sent: int = 0
    shifted: int = 10**9
    """How many people changed the lists, or are not where their dates say: as many may be presumed wrongly by that."""
    unseen: int = 0
    """How many people came or went of whom nothing in the database tells."""
    doubled: int | None = None
    """How many mails were counted twice (None: as `sent` tells)."""
    late: int = 0
    """Of how many mails a worker stored count or id too late."""
    workers: int = 0
    """The most workers that any of its settings had."""
    noise: int = 0
    """By how much workers and a flush were larger under former settings."""
    mixed: frozenset[int] = frozenset()
    """Whom an arbitrary subscription decides about under the server of today (M12)."""
    hangs: bool = False
    """Whether every fetch fails on the campaign as it is (M6)."""
    fresh: bool = False
    """Whether nothing was sent since the only stop that lost somebody."""
    most_lost: int = 0
    """The most people that one stop lost."""
    dropped: frozenset[int] = frozenset()
    """Who was thrown away by a stopped pipe while the row said running again."""

    def unexplained(self, named: set[str], wrong: set[int]) -> set[int]:
        """Return who of those that were wrongly presumed reached is not explained by a named assumption that is false.

        A refusal explains only the refused; changes of the lists and a doubled flush so many people as they moved a
        boundary or hid; a lost flush nobody (it makes a hole look larger, not smaller). Whoever was counted and lies
        above the cursor hides one.
        """
        false = named & self.contradicted
        if "no-failures" in false:
            wrong = wrong - self.failed - self.named_in_log
        hidden = 0
        if "lists-unchanged-while-sending" in false:
            hidden += self.shifted
        if "no-flush-lost-or-doubled" in false:
            hidden += self.counted_twice + self.late
        if false - {"no-failures", "lists-unchanged-while-sending", "no-flush-lost-or-doubled"}:
            return set()
        return set() if len(wrong) <= hidden else wrong

    @property
    def counted_twice(self) -> int:
        """How many mails were counted twice; where only the recording tells, everybody may hide behind them."""
        if self.doubled is not None:
            return self.doubled
        return 10**9 if sum(self.mails.values()) < self.sent else 0

    @property
    def missed(self) -> frozenset[int]:
        """In the audience at the start and today, and never mailed; the refused among them."""
        return frozenset(person for person in self.at_start & self.now if not self.mails.get(person))


def server_of(recording: Recording) -> Any:
    """Return what the looks at the server say of a recording: the scanners and the pipes that were there."""
    ids = [int(campaign) for campaign in recording.incident["campaigns"]]
    return SimpleNamespace(
        running=recording.servers_scanning > 0,
        scanners=recording.servers_scanning,
        because="recorded",
        pipes={campaign: "open" if campaign in recording.open_pipes else "none" for campaign in ids},
        xmin={},
    )


def read_truth(conn: Connection[Any], recording: Recording, campaign: int, *, worse: bool, shifted: int = 0) -> TruthOf:
    """Return the truth of one campaign of a recording in this database, in which `worse` shifted so many people."""
    rows = [row for row in recording.truth if row.campaign_id == campaign]
    now = frozenset(person for (person,) in conn.execute(NOW, (campaign,)).fetchall())
    blocked = conn.execute("SELECT id FROM subscribers WHERE status = 'blocklisted'").fetchall()
    return TruthOf(
        at_start=frozenset(row.subscriber_id for row in rows if row.in_audience_at_start),
        now=now,
        blocklisted=frozenset(person for (person,) in blocked),
        fetchable=frozenset(person for (person,) in conn.execute(ON_LISTS, (campaign,)).fetchall()),
        mails={row.subscriber_id: row.mails for row in rows if row.mails},
        failed=frozenset(row.subscriber_id for row in rows if not row.mails and row.failed_attempts),
        contradicted=contradicted(recording, worse=worse),
        named_in_log=frozenset(row.subscriber_id for row in rows if row.log_lines),
        shifted=shifted + 300 * recording.name.startswith("newcomers") + 45 * recording.name.startswith("deleted-list"),
        sent=recording.incident["campaigns"][str(campaign)]["row"]["sent"],
    )


def contradicted(recording: Recording, *, worse: bool) -> frozenset[str]:
    """Return the assumptions that a recording's steps contradict, by what was done in it."""
    steps = " ".join(step["step"] for step in recording.incident["steps"])
    stops = steps.count("killed with SIGKILL") + steps.count("Restart pressed") + steps.count("stopped with SIGTERM")
    false = set()
    if recording.name.startswith(FAILING) or "rejects" in recording.name:
        false.add("no-failures")
    if recording.name.startswith(CLEAN_PAUSES):
        false.add("no-clean-pause-in-mid-batch")
    if stops > 1:
        false.add("stopped-once")
    if stops:
        false.add("no-flush-lost-or-doubled")
    if worse or recording.name.startswith(("newcomers", "deleted-list", "healthy")):
        false.add("lists-unchanged-while-sending")
    return frozenset(false)
