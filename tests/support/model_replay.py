"""Owns the replay of a recorded incident by the sender's model: its people, settings and timed steps."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.demo.recording import Recording, Truth, open_recording
from tests.engine_model import Sender, Server, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

_START_UP: Final = 50
"""Milliseconds between a server's ticker and the step that reports the server up."""
_RELOAD: Final = 500
"""Milliseconds that listmonk waits between the page's Restart and its end."""
_PATIENCE: Final = 2_000
"""Milliseconds by which the model may come later to what the recorder waited for."""
_FIGURES: Final = re.compile(r"sent (\d+) / to_send (\d+), last (\d+), max (\d+), mails (\d+)")


@dataclass(frozen=True, slots=True)
class Figures:
    """The progress of a campaign at one moment."""

    status: str
    sent: int
    to_send: int
    cursor: int
    ceiling: int
    mails: int


class Record:
    """A recording as the model needs it, by campaign."""

    def __init__(self, name: str) -> None:
        """Read a recording by its name."""
        self.recording: Recording = open_recording(name)
        self.incident = self.recording.incident
        self.version: str = self.incident["installed_by"].removeprefix("v")
        self.campaigns = sorted(int(number) for number in self.incident["campaigns"])
        self.settings = _settings(self.incident["settings"])

    def audience(self, campaign: int) -> list[int]:
        """Return who was in the audience when Start was pressed, ascending."""
        return sorted(person.subscriber_id for person in self._people(campaign))

    def missed(self, campaign: int) -> list[int]:
        """Return who of that audience got nothing and was not refused, ascending."""
        return sorted(
            person.subscriber_id for person in self._people(campaign) if not person.mails and not person.failed_attempts
        )

    def refused(self, campaign: int) -> frozenset[int]:
        """Return whose mail was refused and never accepted."""
        return frozenset(
            person.subscriber_id for person in self._people(campaign) if person.failed_attempts and not person.mails
        )

    def final(self, campaign: int) -> Figures:
        """Return the row at the end of the recording."""
        told = self.incident["campaigns"][str(campaign)]
        row = told["row"]
        return Figures(
            row["status"],
            row["sent"],
            row["to_send"],
            row["last_subscriber_id"],
            row["max_subscriber_id"],
            told["mails"],
        )

    def ineligible(self, campaign: int) -> tuple[frozenset[int], frozenset[int]]:
        """Return the lists' blocklisted and unconfirmed people who were not in the audience at start."""
        mine = [row for row in self._table("campaign_lists") if row["campaign_id"] == str(campaign)]
        lists = {row["list_id"] for row in mine}
        double = {row["id"] for row in self._table("lists") if row["optin"] == "double"}
        banned = {row["id"] for row in self._table("subscribers") if row["status"] == "blocklisted"}
        audience = set(self.audience(campaign))
        blocklisted, unconfirmed = set(), set()
        for row in self._table("subscriber_lists"):
            person = int(row["subscriber_id"])
            if row["list_id"] not in lists or row["status"] == "unsubscribed" or person in audience:
                continue
            if row["list_id"] in double and row["status"] == "unconfirmed":
                unconfirmed.add(person)
            elif row["subscriber_id"] in banned:
                blocklisted.add(person)
        return frozenset(blocklisted), frozenset(unconfirmed)

    def eligible(self, campaign: int) -> frozenset[int]:
        """Return whom the lists of a regular campaign would mail at the end of the recording."""
        lists = {row["list_id"] for row in self._table("campaign_lists") if row["campaign_id"] == str(campaign)}
        double = {row["id"] for row in self._table("lists") if row["optin"] == "double"}
        banned = {row["id"] for row in self._table("subscribers") if row["status"] == "blocklisted"}
        return frozenset(
            int(row["subscriber_id"])
            for row in self._table("subscriber_lists")
            if row["list_id"] in lists
            and row["subscriber_id"] not in banned
            and (row["status"] == "confirmed" if row["list_id"] in double else row["status"] != "unsubscribed")
        )

    def unrenderable(self) -> frozenset[int]:
        """Return who could not be rendered, as listmonk's log names them."""
        named = set(re.findall(r"error rendering message \(.*?\) \((\S+)\)", self.recording.log))
        return frozenset(int(row["id"]) for row in self._table("subscribers") if row["email"] in named)

    def _table(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.recording.tables[name])))

    def _people(self, campaign: int) -> list[Truth]:
        return [
            person for person in self.recording.truth if person.campaign_id == campaign and person.in_audience_at_start
        ]


def _settings(stored: dict[str, Any]) -> Settings:
    return Settings(
        stored["app.batch_size"],
        stored["app.concurrency"],
        stored["app.message_rate"],
        stored["app.message_sliding_window"],
        stored.get("app.message_sliding_window_rate", 0),
        _seconds(stored.get("app.message_sliding_window_duration", "0s")),
        stored["app.max_send_errors"],
    )


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


class Replay:
    """Plays a recording; `compared` holds (campaign, what a step told, what the model has at that moment)."""

    def __init__(self, name: str, *, seed: int = 0, relay_seconds: float = 0.0) -> None:
        """Play it from its first step to the moment it was recorded."""
        self.record = record = Record(name)
        steps = record.incident["steps"]
        self._zero = datetime.fromisoformat(steps[0]["at"]).timestamp() - _START_UP / 1000
        self.server = Server(record.version, record.settings, seed=seed, relay_seconds=relay_seconds)
        self.senders = {number: self._sender(number) for number in record.campaigns}
        self.compared: list[tuple[int, Figures, Figures]] = []
        self._next_settings = record.settings
        self._next_version = record.version
        for step in steps[1:]:
            self._play(self._moment(step["at"]), step["step"])
        self.server.advance(self._moment(record.incident["recorded_until"]))

    def figures(self, campaign: int) -> Figures:
        """Return the model's progress of a campaign now."""
        row = self.senders[campaign].row
        return Figures(
            row.status,
            row.sent,
            row.to_send,
            row.last_subscriber_id,
            row.max_subscriber_id,
            sum(self.senders[campaign].mails.values()),
        )

    def _sender(self, number: int) -> Sender:
        blocklisted, unconfirmed = self.record.ineligible(number)
        return Sender(
            self.record.version,
            self.record.audience(number),
            self.record.settings,
            server=self.server,
            blocklisted=blocklisted,
            unconfirmed=unconfirmed,
            fails=self.record.refused(number),
            unrenderable=self.record.unrenderable(),
        )

    def _moment(self, at: str) -> int:
        return round((datetime.fromisoformat(at).timestamp() - self._zero) * 1000)

    def _play(self, moment: int, step: str) -> None:
        for pattern, action in _STEPS:
            found = re.search(pattern, step)
            if found is not None:
                action(self, moment, found)
                return
        raise ValueError(step)

    def button(self, moment: int, found: re.Match[str], press: Callable[[Sender], bool]) -> None:
        """Press a button on the step's campaign; the recorded server took it, so must the model's."""
        self.server.advance(moment)
        if not press(self.senders[int(found["n"])]):
            raise ValueError(found.string)

    def schedule(self, moment: int, found: re.Match[str]) -> None:
        """Schedule the step's campaign for the second that its row tells."""
        self.server.advance(moment)
        number = found["n"]
        due = datetime.fromisoformat(self.record.incident["campaigns"][number]["row"]["send_at"])
        self.senders[int(number)].schedule(due.timestamp() - self._zero)

    def look(self, moment: int, found: re.Match[str]) -> None:
        """Compare the figures that the step tells."""
        self.server.advance(moment)
        seen = _FIGURES.search(found.string)
        if seen is None:
            raise ValueError(found.string)
        number = int(found.groupdict().get("n") or self.record.campaigns[0])
        mine = self.figures(number)
        self.compared.append((number, Figures(mine.status, *map(int, seen.groups())), mine))

    def look_drained(self, moment: int, found: re.Match[str]) -> None:
        """Compare the figures after a drain: the recorder waited for it, so wait as well, a little."""
        sender = self.senders[int(found["n"] or self.record.campaigns[0])]
        self.server.advance(moment)
        self.server.advance(moment + _PATIENCE, lambda: not sender.pipe_open)
        self.look(self.server.clock, found)

    def await_status(self, moment: int, found: re.Match[str]) -> None:
        """Let the campaign come to the status that the recorder waited for, at most two seconds later."""
        sender = self.senders[int(found["n"])]
        self.server.advance(moment)
        self.server.advance(moment + _PATIENCE, lambda: sender.row.status == found["status"])

    def delete_list(self, moment: int, found: re.Match[str]) -> None:
        """Delete a list of the first campaign: its people are then those at the end of the recording."""
        self.server.advance(moment)
        number = self.record.campaigns[0]
        seen = _FIGURES.search(found.string)
        self._await_fetch(moment, number, int(seen[3]) if seen else 0)
        self.look(self.server.clock, found)
        self.senders[number].set_people(self.record.eligible(number))
        self.senders[number].campaign.list_gone = True

    def lock(self, moment: int) -> None:
        """Let the next fetch fail, which waits for a lock until it is cancelled; the row tells the one before."""
        self.server.advance(moment)
        number = self.record.campaigns[0]
        final = self.record.final(number)
        if final.status == "running":
            self._await_fetch(moment, number, final.cursor)
        self.server.fail_fetch = True

    def _await_fetch(self, moment: int, number: int, cursor: int) -> None:
        """Let the fetch come that the recorded server had done by this moment."""
        row = self.senders[number].row
        self.server.advance(moment + _PATIENCE, lambda: row.last_subscriber_id >= cursor)

    def kill(self, moment: int) -> None:
        """End the server."""
        self.server.advance(moment)
        self.server.kill()

    def boot(self, moment: int) -> None:
        """Start the server so that it is reported up at `moment`."""
        self.server.advance(moment - _START_UP)
        self.server.boot(self._next_version, self._next_settings)

    def restart(self, moment: int) -> None:
        """Press the page's Restart: the server goes on for half a second."""
        self.kill(moment + _RELOAD)
        self.boot(moment + _RELOAD + _START_UP)

    def save(self, found: re.Match[str]) -> None:
        """Keep the settings that the next server will start with."""
        self._next_settings = replace(self._next_settings, window_rate=int(found["rate"]))

    def upgrade(self, found: re.Match[str]) -> None:
        """Let the next server be of another version."""
        self._next_version = found["version"]


def _on(press: Callable[[Sender], bool]) -> Callable[[Replay, int, re.Match[str]], None]:
    return lambda play, at, found: play.button(at, found, press)


_STEPS: Final[tuple[tuple[str, Callable[[Replay, int, re.Match[str]], None]], ...]] = (
    (r"Start pressed on campaign (?P<n>\d+)", _on(Sender.start)),
    (r"Pause pressed on campaign (?P<n>\d+)", _on(Sender.pause)),
    (r"campaign (?P<n>\d+): status set to paused", _on(Sender.pause)),
    (r"campaign (?P<n>\d+): status set to cancelled", _on(Sender.cancel)),
    (r"campaign (?P<n>\d+):? (status set to )?scheduled", Replay.schedule),
    (r"killed with SIGKILL|stopped with SIGTERM", lambda play, at, _: play.kill(at)),
    (r"listmonk started again", lambda play, at, _: play.boot(at)),
    (r"settings saved: \{'app.message_sliding_window_rate': (?P<rate>\d+)\}", lambda play, _, found: play.save(found)),
    (r"Restart pressed", lambda play, at, _: play.restart(at)),
    (r"listmonk v(?P<version>[\d.]+) --upgrade", lambda play, _, found: play.upgrade(found)),
    (r"list \d+ deleted through", Replay.delete_list),
    (r"locked by another session", lambda play, at, _: play.lock(at)),
    # What the recorder looked at, or waited for.
    (r"row (as the kill left it|after the stop)|before Start|asleep in the window", Replay.look),
    (r"refuses everything after|picked up behind|paused again before|due for more than", Replay.look),
    (r"campaign (?P<n>\d+) (paused|cancelled): |paused cleanly", Replay.look_drained),
    (r"campaign (?P<n>\d+) is (?P<status>\w+): ", Replay.await_status),
    (r"\d+ s later", Replay.look),
    (r"statement that fetches the next batch is cancelled", lambda *_: None),
    (r"is up again|after the finished ones|tables taken", lambda *_: None),
)
