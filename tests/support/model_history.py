"""Owns a generated history: one campaign's life with its server and its lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.engine_model import VERSIONS, Sender, Settings
from tests.support.model_lists import BEFORE, Lists, Person, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG: Final = 3_000.0
"""Seconds after which a campaign that does not end is left as it is."""
STATUSES: Final = {
    "unsubscribe": ("unsubscribed", True),
    "unsubscribe undated": ("unsubscribed", False),
    "confirm": ("confirmed", True),
    "subscribe again": ("", True),
    "subscribe again undated": ("", False),
}
"""Changes of somebody's subscriptions: the status ("": that of the audience), and whether a date tells."""
CHANGES: Final = (
    "join",
    "join another",
    *STATUSES,
    "blocklist by hand",
    "blocklist by link",
    "blocklist by bounce",
    "enable",
    "delete",
)
"""What can happen to people of the lists."""


class History:
    """A campaign on a server, under which everything can happen; the clock starts with the server."""

    def __init__(  # noqa: PLR0913 - a world has that many parts
        self,
        version: str,
        settings: Settings,
        lists: Lists,
        *,
        seed: int = 0,
        races: bool = False,
        relay_seconds: float = 0.0,
    ) -> None:
        """Make a draft."""
        self.lists = lists
        self.sender = Sender(version, (), settings, seed=seed, races=races, relay_seconds=relay_seconds)
        self.sender.campaign.list_gone = False
        self.versions = [(version, BEFORE)]
        self.used = [settings]
        self.views: dict[int, float] = {}
        self.stops: list[int] = []
        self.stopped = 0  # how often while it was being sent
        self._sent_at_loss = 0
        self.ragged = False  # stopped with mails in the workers' hands, although the window sets the pace
        self.changed_while_sending: set[int] = set()
        self._next = max(lists.people, default=0) + 1
        self._tell()
        if self.sender.server.behaviour.draft_counts:
            row = self.sender.row
            row.to_send, row.max_subscriber_id = self.sender.campaign.count(self.sender.server.behaviour)

    # ---- what can be seen

    @property
    def version(self) -> str:
        """The version that runs, or ran last."""
        return self.sender.version

    @property
    def settings(self) -> Settings:
        """The settings of the page today."""
        return self.used[-1]

    @property
    def fresh(self) -> bool:
        """Whether nothing was sent since the only stop that lost somebody."""
        lossy = [lost for lost in self.stops if lost]
        return len(lossy) == 1 and self._sent_at_loss == sum(self.sender.mails.values())

    # ---- what can happen to the server

    def button(self, name: str) -> None:
        """Press Start, Pause or Cancel; nothing happens where the page would refuse."""
        {"start": self.sender.start, "pause": self.sender.pause, "cancel": self.sender.cancel}[name]()

    def stop(self) -> None:
        """End the server, losing its memory."""
        if self.sender.alive:
            self.stops.append(len(self.sender.in_flight))
            self.stopped += self.sender.row.started_at is not None and self.sender.row.status == "running"
            if self.stops[-1]:
                self._sent_at_loss = sum(self.sender.mails.values())
            self.ragged |= self._paced and bool(self.sender.in_hand)
            self.sender.campaign.unflushed += self.sender.unflushed
            self.sender.kill()

    @property
    def _paced(self) -> bool:
        used = self.settings
        workers = used.window_seconds * used.concurrency * used.message_rate
        return used.window and used.window_rate > 0 and used.window_seconds > 1 and used.window_rate < workers

    def boot(self, settings: Settings | None = None, version: str | None = None) -> None:
        """Start a server that is down, perhaps a later version or with other settings."""
        if self.sender.alive:
            return
        version = version or self.version
        if version != self.version:
            self.versions.append((version, self.sender.now))
        if settings is not None and settings != self.used[-1]:
            self.used.append(settings)
        self.sender.boot(self.used[-1], version)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.sender.run(seconds)

    def wait_for_a_fetch(self, more: float, limit: float = 60.0) -> None:
        """Let time pass to just behind the next fetch of a batch, and `more` seconds."""
        fetches, server = self.sender.fetches, self.sender.server
        before = len(fetches)
        server.advance(server.clock + round(limit * 1000), lambda: len(fetches) > before)
        self.wait(more)

    def wait_for_a_scan(self, more: float) -> None:
        """Let time pass to the next scan, which writes the count, and `more` seconds."""
        server = self.sender.server
        server.advance(server.next_scan())
        self.wait(more)

    def send(self, part: float, more: float = 0.0, limit: float = 600.0) -> None:
        """Let time pass until that part of those still to be mailed were mailed, and `more` seconds."""
        server, mails = self.sender.server, self.sender.mails
        wanted = len(mails) + part * max(0, len(self.sender.eligible) - len(mails))
        server.advance(server.clock + round(limit * 1000), lambda: len(mails) >= wanted or not self.working)
        self.wait(more)

    @property
    def working(self) -> bool:
        """Whether something is being sent, or will be."""
        return self.sender.pipe_open or self.sender.row.status in ("running", "scheduled")

    def pause_at_the_pick_up(self, more: float) -> None:
        """Start the server anew, and press Pause before the first mail of its run is sent."""
        self.stop()
        self.boot()
        server = self.sender.server
        server.hold(6.0)
        server.advance(server.clock + 5_000, lambda: self.sender.pipe_open)
        self.button("pause")
        self.wait(more)

    def go_on(self) -> None:
        """Let a server run until nothing moves any more; Start is pressed where it is paused."""
        self.boot()
        self.button("start")
        self.sender.run_until_idle(LONG)

    # ---- what can happen to the lists

    def change(self, what: str, person: int) -> None:
        """Let something happen to one person: one of CHANGES."""
        lists, now = self.lists, self.sender.now
        wanted = "confirmed" if lists.kind == "regular" else "unconfirmed"
        if what == "join":
            person = self._next
            self._next += 1
        before = person in lists.eligible()
        if what in ("join", "join another"):
            known = what == "join" or person in lists.people
            for each in lists.optins if known else ():
                lists.join(person, each, now, wanted)
        elif what in STATUSES:
            status, dated = STATUSES[what]
            lists.set_status(person, status or wanted, now, dated=dated)
        elif what.startswith("blocklist by "):
            lists.blocklist(person, now, what.removeprefix("blocklist by "))
        elif what == "enable":
            lists.enable(person, now)
        elif what == "delete":
            lists.delete(person)
        else:
            raise ValueError(what)
        self._changed(person, before)

    def delete_list(self, list_id: int) -> None:
        """Delete a list of the campaign."""
        before = self.lists.eligible()
        self.lists.delete_list(list_id)
        self.sender.campaign.list_gone = self.lists.gone
        for person in before - self.lists.eligible():
            self._changed(person, before=True)
        self._tell()

    def _changed(self, person: int, before: bool) -> None:
        started = self.sender.row.started_at is not None
        ended = self.sender.row.status == "finished"
        if started and not ended and before != (person in self.lists.eligible()):
            self.changed_while_sending.add(person)
        self._tell()

    def _tell(self) -> None:
        """Tell the sender who is on its lists now."""
        lists, campaign = self.lists, self.sender.campaign
        on, counts = lists.fetchable(), lists.subscribed()
        campaign.set_people(on | counts, (on | counts) & lists.blocklisted(), on - counts)
        campaign.mixed = lists.mixed()


def make_lists(  # noqa: PLR0913 - a world has that many parts
    ids: Iterable[int],
    *,
    optin: str,
    kind: str = "regular",
    second: Iterable[int] = (),
    second_optin: str = "single",
    unconfirmed: Iterable[int] = (),
    unsubscribed: Iterable[int] = (),
    blocklisted: Iterable[int] = (),
) -> Lists:
    """Return one or two lists of people who were there long before.

    `second` are on the other list as well; `unconfirmed` and `unsubscribed` concern the first list.
    """
    lists = Lists({1: optin}, kind)
    wanted = "confirmed" if kind == "regular" else "unconfirmed"
    other = "unconfirmed" if kind == "regular" else "confirmed"
    unconfirmed, unsubscribed, blocklisted = set(unconfirmed), set(unsubscribed), set(blocklisted)
    for person in ids:
        status = "unsubscribed" if person in unsubscribed else other if person in unconfirmed else wanted
        lists.people[person] = Person("blocklisted" if person in blocklisted else "enabled")
        lists.subscriptions[person, 1] = Subscription(status)
    second = set(second)
    if second:
        lists.optins[2] = second_optin
        for person in second & lists.people.keys():
            lists.subscriptions[person, 2] = Subscription(wanted)
    return lists


def later(version: str) -> list[str]:
    """Return the playable versions after one."""
    return list(VERSIONS[VERSIONS.index(version) + 1 :])
