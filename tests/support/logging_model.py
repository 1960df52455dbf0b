"""Owns the sender's model with every write noted at its moment, and the timeline that a log of them would hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from listmonk_doctor.timeline.model import Pace, RowVersion, Timeline
from tests.support.model_server import Server
from tests.test_recorded_histories import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tests.engine_model import Sender
    from tests.support.model_parts import Campaign

STARTUP = 0.15
"""Seconds that a process needs before its clock of scans runs."""
FIRST_XMIN = 700


class NotingServer(Server):
    """A server that notes each write of its first campaign."""

    log: Log

    def _scan(self) -> None:
        beating = list(self.open)
        super()._scan()
        if self.behaviour.pipes:
            for campaign in beating:
                self.log.write(campaign)

    def _pick_up(self, campaign: Campaign, now: float) -> None:
        before = len(campaign.counted)
        super()._pick_up(campaign, now)
        if len(campaign.counted) > before:
            self.log.write(campaign)

    def touch(self, campaign: Campaign, status: str | None = None) -> None:
        """Note it as well."""
        super().touch(campaign, status)
        self.log.write(campaign)


class Log:
    """What a log of a played campaign holds: each version of its row, at its moment."""

    def __init__(self, sender: Sender) -> None:
        """Begin with the row as it is; from now on each write is noted."""
        self.sender = sender
        self.versions: list[RowVersion] = []
        self.kills: list[tuple[float, int]] = []
        """When the server was killed, and how many people it had in its hands."""
        server = sender.server
        server.__class__ = NotingServer
        assert isinstance(server, NotingServer)
        server.log = self
        self.write(sender.campaign)

    def write(self, campaign: Campaign) -> None:
        """Note a version of the row."""
        if campaign is not self.sender.campaign:
            return
        row = campaign.row
        at = moment(self.sender.now)
        if self.versions:
            at = max(at, self.versions[-1].before + timedelta(microseconds=40))
        self.versions.append(
            RowVersion(
                at,
                at,
                at,
                row.status,
                row.sent,
                row.to_send,
                row.last_subscriber_id,
                row.max_subscriber_id,
                None if row.started_at is None else moment(row.started_at),
                None if row.updated_at is None else moment(row.updated_at),
                str(len(self.versions) + FIRST_XMIN),
                source="log",
                place=len(self.versions) * 100,
            )
        )

    def kill(self) -> None:
        """End the server, and note when."""
        if self.sender.alive:
            if self.sender.pipe_open:
                self.kills.append((self.sender.now, len(self.sender.in_flight)))
            self.sender.kill()

    def boot(self) -> None:
        """Start a server where none is; it takes its time."""
        if not self.sender.alive:
            self.sender.run(STARTUP)
            self.sender.boot()

    @property
    def pace(self) -> Pace:
        """The settings as they are."""
        model = self.sender.settings
        window = (model.window_rate, model.window_seconds) if model.window else (0, 0.0)
        return Pace(
            moment(self.sender.now),
            model.batch_size,
            model.concurrency,
            model.message_rate,
            *window,
            f"v{self.sender.version}",
        )

    def timeline(
        self, begins: int = 0, lost: frozenset[int] = frozenset(), stalls: Iterable[tuple[float, float]] = ()
    ) -> Timeline:
        """Return what a log says now that begins with a version and has lost some.

        Whatever was written in one of the `stalls` (seconds) was committed at its end.
        """
        now = moment(self.sender.now)
        held = [(moment(start), moment(start + seconds)) for start, seconds in stalls]
        versions: list[RowVersion] = []
        for number, version in enumerate(self.versions):
            if number < begins or (number in lost and number < len(self.versions) - 1):
                continue
            at = max([version.before, *(end for start, end in held if start <= version.before <= end)])
            if versions:
                at = max(at, versions[-1].before + timedelta(microseconds=40))
            linked = number - 1 not in lost if versions else number == 0
            versions.append(replace(version, after=at, before=at, until=at, linked=linked))
        kept = [_until(each, after.before) for each, after in pairwise(versions)]
        kept.append(_until(versions[-1], max(now, versions[-1].before)))
        return Timeline(1, "uuid", "history", versions[0].before, kept[-1].until, tuple(kept), paces=(self.pace,))


def _until(version: RowVersion, until: datetime) -> RowVersion:
    return replace(version, until=until)


def moment(seconds: float) -> datetime:
    """Return a second of the model's clock as a moment."""
    return BEGINNING + timedelta(seconds=seconds)
