"""Owns the lists of the sender's model: people, subscriptions, and their dates as listmonk leaves them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

BEFORE: Final = -7_776_000.0
"""The second from which everybody dates who was there before the campaign: 90 days."""


@dataclass(slots=True)
class Person:
    """A row of `subscribers`: status and dates, in seconds of the model's clock."""

    status: str = "enabled"
    created: float = BEFORE
    updated: float = BEFORE


@dataclass(slots=True)
class Subscription:
    """A row of `subscriber_lists`: status and dates, in seconds of the model's clock."""

    status: str
    created: float = BEFORE
    updated: float = BEFORE


@dataclass(slots=True)
class Lists:
    """The lists of one campaign (id -> single or double opt-in) with everybody on them.

    `kind` is the campaign's type; a deleted list leaves `gone` true and takes its subscriptions with it. `touched`
    holds whoever was changed in a way that no date tells.
    """

    optins: dict[int, str]
    kind: str = "regular"
    people: dict[int, Person] = field(default_factory=dict)
    subscriptions: dict[tuple[int, int], Subscription] = field(default_factory=dict)
    gone: bool = False
    touched: set[int] = field(default_factory=set)

    # ---- who is in the audience

    def counts(self, list_id: int, status: str) -> bool:
        """Tell whether a subscription of that status makes somebody of the list eligible."""
        if self.optins[list_id] == "double":
            return status == ("confirmed" if self.kind == "regular" else "unconfirmed")
        return self.kind == "regular" and status != "unsubscribed"

    def of(self, person: int) -> list[tuple[int, Subscription]]:
        """Return somebody's subscriptions by list."""
        return [
            (each, self.subscriptions[person, each]) for each in self.optins if (person, each) in self.subscriptions
        ]

    def _some(self, *, eligible: bool | None) -> frozenset[int]:
        return frozenset(
            person
            for (person, each), held in self.subscriptions.items()
            if (held.status != "unsubscribed" if eligible is None else self.counts(each, held.status) == eligible)
        )

    def subscribed(self) -> frozenset[int]:
        """Return whoever has a subscription that counts, the blocklisted among them."""
        return self._some(eligible=True)

    def blocklisted(self) -> frozenset[int]:
        """Return everybody who is blocklisted."""
        return frozenset(person for person, row in self.people.items() if row.status == "blocklisted")

    def eligible(self) -> frozenset[int]:
        """Return whom a start would mail."""
        return self.subscribed() - self.blocklisted()

    def fetchable(self) -> frozenset[int]:
        """Return whoever takes up a place in a batch before 4.0.0: anything but unsubscribed."""
        return self._some(eligible=None)

    def mixed(self) -> frozenset[int]:
        """Return whose subscriptions disagree: one counts, another does not (M12)."""
        return self.subscribed() & self._some(eligible=False)

    # ---- what can happen to people

    def join(self, person: int, list_id: int, now: float, status: str = "confirmed") -> None:
        """Subscribe somebody, who may be new; whoever is on the list already is left alone."""
        if list_id in self.optins and (person, list_id) not in self.subscriptions:
            self.people.setdefault(person, Person("enabled", now, now))
            self.subscriptions[person, list_id] = Subscription(status, now, now)

    def set_status(self, person: int, status: str, now: float, *, dated: bool = True) -> None:
        """Set all of somebody's subscriptions to a status (unsubscribe, confirm, subscribe again).

        Undated: as a bounce unsubscribes, and as the page of the lists sets a status.
        """
        for _, held in self.of(person):
            if held.status != status:
                held.status = status
                if dated:
                    held.updated = now
                else:
                    self.touched.add(person)

    def blocklist(self, person: int, now: float, how: str) -> None:
        """Blocklist somebody: by hand (all dated), by their own link (subscriptions dated), by a bounce (undated)."""
        row = self.people.get(person)
        if row is None:
            return
        row.status = "blocklisted"
        if how == "hand":
            row.updated = now
        if how != "bounce":
            self.set_status(person, "unsubscribed", now)

    def enable(self, person: int, now: float) -> None:
        """Take somebody off the blocklist; the subscriptions stay as they are."""
        row = self.people.get(person)
        if row is not None and row.status == "blocklisted":
            row.status, row.updated = "enabled", now

    def delete(self, person: int) -> None:
        """Delete somebody, with every subscription."""
        if self.people.pop(person, None) is not None:
            for each in self.optins:
                self.subscriptions.pop((person, each), None)

    def delete_list(self, list_id: int) -> None:
        """Delete a list with its subscriptions; people stay."""
        if self.optins.pop(list_id, None) is not None:
            self.gone = True
            for person, each in list(self.subscriptions):
                if each == list_id:
                    del self.subscriptions[person, each]
