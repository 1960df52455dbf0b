"""Owns a small, deterministic model of listmonk's sender: a campaign's row, and who was really mailed.

It is written from facts about each version (BEHAVIOURS) and held against recordings of real servers. Time is
simulated: a campaign of a thousand people takes some milliseconds. Not played: unknown messengers (M14), two
servers (M16), connections spoiled by a refusal (M18), and the order inside a batch, which is unspecified before
4.0.0 and ascending here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tests.support.model_parts import BEHAVIOURS, Behaviour, Campaign, Row, Settings
from tests.support.model_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "BEHAVIOURS",
    "VERSIONS",
    "Behaviour",
    "Resumed",
    "Row",
    "Sender",
    "Server",
    "Settings",
    "resume_from_row",
]

VERSIONS: Final = tuple(BEHAVIOURS)
"""The versions that can be played, oldest first."""
_LONG: Final = 400 * 86_400.0
"""Seconds after which a campaign that never ends is given up."""


class Sender:
    """A campaign under a server that can be paused, cancelled, killed and started again.

    `audience` is whom the lists would have mailed; `blocklisted` and `unconfirmed` people of the lists are
    not mailed (before 4.0.0 they take up places in a batch). Mails to `fails` are refused, messages to
    `unrenderable` skipped. `races` lets `sent` (and rarely the cursor) be off at a run's end as on real
    servers (M10); the relay takes `relay_seconds` for each mail, beside the few milliseconds that all take.
    Campaigns that share a server, with its queue, workers, window and clock, are made with
    `server=other.server`; version, settings, seed, races and relay are then the server's.

    The server is up at second 0 and scans every 5 s after its start. Buttons return False where listmonk's
    page would refuse, or where no server is there to be asked.
    """

    def __init__(  # noqa: PLR0913 - a world has this many parts, all but three have defaults
        self,
        version: str,
        audience: Iterable[int],
        settings: Settings,
        *,
        blocklisted: Iterable[int] = frozenset(),
        unconfirmed: Iterable[int] = frozenset(),
        fails: Iterable[int] = frozenset(),
        unrenderable: Iterable[int] = frozenset(),
        seed: int = 0,
        races: bool = False,
        relay_seconds: float = 0.0,
        server: Server | None = None,
    ) -> None:
        """Make a draft on a server that is up."""
        self.server = server or Server(version, settings, seed=seed, races=races, relay_seconds=relay_seconds)
        self.campaign = Campaign(audience, blocklisted, unconfirmed)
        self.campaign.fails = frozenset(fails)
        self.campaign.unrenderable = frozenset(unrenderable)
        self.server.campaigns.append(self.campaign)
        self._touch()
        if self.server.behaviour.draft_counts:
            self.row.to_send, self.row.max_subscriber_id = self.campaign.count(self.server.behaviour)

    # ---- what can be seen

    @property
    def version(self) -> str:
        """The version of the server, or of the last one where it is down."""
        return self.server.version

    @property
    def settings(self) -> Settings:
        """The settings that the server was started with."""
        return self.server.settings

    @property
    def row(self) -> Row:
        """The campaign's row as the database has it; may be edited while no pipe is open."""
        return self.campaign.row

    @row.setter
    def row(self, row: Row) -> None:
        self.campaign.row = row

    @property
    def now(self) -> float:
        """The clock, in seconds."""
        return self.server.clock / 1000

    @property
    def alive(self) -> bool:
        """Whether a server runs."""
        return self.server.alive

    @property
    def pipe_open(self) -> bool:
        """Whether the server works on this campaign: sends, sleeps in the window or drains."""
        return self.campaign in self.server.open

    @property
    def mails(self) -> dict[int, int]:
        """Copies that each person got, by id; people without one are not in it."""
        return self.campaign.mails

    @property
    def failed(self) -> set[int]:
        """Whose mail the relay refused at least once."""
        return self.campaign.failed

    @property
    def eligible(self) -> frozenset[int]:
        """Whom a start would count today."""
        return self.campaign.people

    @property
    def audience_at_start(self) -> frozenset[int]:
        """Who was eligible at the first pick-up; empty before it."""
        return self.campaign.audience_at_start

    @property
    def missed(self) -> frozenset[int]:
        """Whoever of the audience at start got nothing and was not refused; their turn may yet come."""
        return self.audience_at_start - self.mails.keys() - self.failed

    @property
    def fetches(self) -> list[tuple[int, int]]:
        """Every batch that was ever fetched as (its last id, its size), oldest first."""
        return self.campaign.fetches

    @property
    def in_hand(self) -> frozenset[int]:
        """Whose message a worker holds or is sending."""
        return frozenset(held[1] for held in self.server.hand if held and held[0].campaign is self.campaign)

    @property
    def queued(self) -> frozenset[int]:
        """Whose message waits in the queue, also where a stopped pipe will throw it away."""
        return frozenset(person for pipe, person in self.server.queue if pipe.campaign is self.campaign)

    @property
    def batch_rest(self) -> frozenset[int]:
        """Who was fetched and is not yet in the queue."""
        pipe = self.server.fetching
        return frozenset(self.server.rest) if pipe and pipe.campaign is self.campaign else frozenset()

    @property
    def in_flight(self) -> frozenset[int]:
        """Everybody fetched and not sent whom only the server's memory knows: lost if it ends now."""
        return self.in_hand | self.queued | self.batch_rest

    @property
    def unflushed(self) -> int:
        """Mails of the open pipe that `sent` does not count yet (always 0 before 3.0.0)."""
        pipe = self.server.open.get(self.campaign)
        return pipe.sent if pipe and self.server.behaviour.pipes else 0

    # ---- what can be done

    def set_people(
        self,
        audience: Iterable[int],
        blocklisted: Iterable[int] | None = None,
        unconfirmed: Iterable[int] | None = None,
    ) -> None:
        """Change the lists: who is in them from now on (None: those blocklisted or unconfirmed stay so)."""
        kept = self.campaign
        kept.set_people(
            audience,
            kept.blocklisted if blocklisted is None else blocklisted,
            kept.unconfirmed if unconfirmed is None else unconfirmed,
        )

    def start(self) -> bool:
        """Press Start (or Resume); the next scan picks the campaign up."""
        if not (self.alive and self.row.status in ("draft", "paused")):
            return False
        scheduled = self.server.behaviour.start_schedules and self.row.send_at is not None
        self._touch("scheduled" if scheduled else "running")
        return True

    def schedule(self, send_at: float) -> bool:
        """Schedule a draft for a second of the clock."""
        if not (self.alive and self.row.status == "draft"):
            return False
        self.row.send_at = send_at
        self._touch("scheduled")
        return True

    def pause(self) -> bool:
        """Press Pause; an open pipe drains (before 3.0.0: sends its batch to the end)."""
        return self._stop("paused", ("running",))

    def cancel(self) -> bool:
        """Press Cancel; an open pipe drains as after Pause."""
        return self._stop("cancelled", ("running", "paused"))

    def kill(self) -> None:
        """End the server in any way that loses its memory: SIGKILL, SIGTERM, a crash, the page's Restart."""
        self.server.kill()

    def boot(self, settings: Settings | None = None, version: str | None = None) -> None:
        """Start a server again, also with other settings or another version; running rows go on unasked."""
        self.server.boot(version or self.version, settings or self.settings)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.server.advance(self.server.clock + round(seconds * 1000))

    def run_until_idle(self, limit: float = _LONG) -> bool:
        """Let time pass, at most `limit` seconds, until nothing moves or is due; tell whether that came.

        A campaign that is scheduled, or that is picked up and dropped at each scan (M7), is not idle.
        """
        return self.server.advance(self.server.clock + round(limit * 1000), self._idle)

    # ----

    def _idle(self) -> bool:
        return not self.pipe_open and self.row.status not in ("running", "scheduled") and not self.in_flight

    def _stop(self, status: str, allowed: tuple[str, ...]) -> bool:
        if not (self.alive and self.row.status in allowed):
            return False
        self._touch(status)
        pipe = self.server.open.get(self.campaign)
        if pipe and self.server.behaviour.pipes:
            pipe.stopped = True
        return True

    def _touch(self, status: str | None = None) -> None:
        self.server.touch(self.campaign, status)


@dataclass(frozen=True, slots=True)
class Resumed:
    """What came of a row: the copies of this run and of all, the row at the end, whether it came to one."""

    mails: dict[int, int]
    total: dict[int, int]
    failed: frozenset[int]
    row: Row
    ended: bool


def resume_from_row(  # noqa: PLR0913 - the row's whole world
    row: Row,
    audience_now: Iterable[int],
    settings: Settings,
    version: str,
    mails_before: Mapping[int, int],
    *,
    ineligible: Iterable[int] = frozenset(),
    unconfirmed: Iterable[int] = frozenset(),
    fails: Iterable[int] = frozenset(),
    unrenderable: Iterable[int] = frozenset(),
    mixed: Iterable[int] = frozenset(),
    seed: int = 0,
) -> Resumed:
    """Play: a server comes up on this row, Start is pressed if it has to be, and nothing goes wrong any more.

    `audience_now` are today's eligible people; `ineligible` the blocklisted and `unconfirmed` the unconfirmed
    people of the lists, who matter before 4.0.0, and so do the `mixed`, whose subscriptions disagree. The row may be
    paused, draft, running or scheduled (a future `send_at` is waited for); where Start is refused (finished,
    cancelled) nothing is sent. The row given is not changed.
    """
    sender = Sender(
        version,
        audience_now,
        settings,
        seed=seed,
        blocklisted=ineligible,
        unconfirmed=unconfirmed,
        fails=fails,
        unrenderable=unrenderable,
    )
    server = sender.server
    sender.campaign.mixed = frozenset(mixed)
    server.kill()
    server.clock = round(max(row.updated_at or 0.0, row.started_at or 0.0) * 1000)
    sender.row = replace(row)
    sender.boot()
    sender.start()
    ended = sender.run_until_idle(_LONG + max(0.0, (row.send_at or 0.0) - sender.now))
    total = dict(mails_before)
    for person, copies in sender.mails.items():
        total[person] = total.get(person, 0) + copies
    return Resumed(dict(sender.mails), total, frozenset(sender.failed), replace(sender.row), ended)
