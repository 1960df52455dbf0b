"""Owns a timeline that grows in memory while a campaign is watched."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from listmonk_doctor.timeline.model import LATE, Gap, RowVersion, Sessions, Timeline

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.timeline.look import Look, Progress, Servers
    from listmonk_doctor.timeline.model import Pace


@dataclass(slots=True)
class Growing:
    """What was seen of one campaign so far; `add` a look, ask for the `timeline`."""

    campaign_id: int
    versions: list[RowVersion] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)
    sessions: list[Sessions] = field(default_factory=list)
    uuid: str = ""
    name: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    _known: set[str] = field(default_factory=set)

    def add(self, look: Look) -> bool:
        """Take a look in; tell whether the row has a new version."""
        row = look.rows.get(self.campaign_id)
        if row is None:
            return False
        last = self.ended or look.at
        if (look.at - last).total_seconds() > LATE:
            self.gaps.append(Gap(last, look.at, "nobody looked"))
        self.uuid, self.name = row.uuid, row.name
        self.began, self.ended = self.began or look.at, look.at
        if look.pace is not None and (not self.paces or replace(look.pace, at=self.paces[-1].at) != self.paces[-1]):
            self.paces.append(look.pace)
        self._servers(look.servers, look.at)
        if self.versions and self.versions[-1].xmin == row.xmin:
            self.versions[-1] = replace(self.versions[-1], until=look.at)
            return False
        self.versions.append(version_of(row, last, look.at))
        return True

    def _servers(self, servers: Servers, at: datetime) -> None:
        self._known |= servers.scanning
        seen = Sessions(at, at, servers.busy & self._known, servers.visible, servers.waiting, servers.count)
        if self.sessions and replace(seen, first=self.sessions[-1].first) == replace(self.sessions[-1], until=at):
            self.sessions[-1] = replace(self.sessions[-1], until=at)
        else:
            self.sessions.append(seen)

    @property
    def timeline(self) -> Timeline | None:
        """What was seen so far; None before the first look."""
        if self.began is None or self.ended is None:
            return None
        return Timeline(
            self.campaign_id,
            self.uuid,
            self.name,
            self.began,
            self.ended,
            tuple(self.versions),
            tuple(self.gaps),
            tuple(self.paces),
            tuple(self.sessions),
        )


def version_of(row: Progress, after: datetime, at: datetime) -> RowVersion:
    """Return a row as a version that was committed after `after` and not later than `at`."""
    return RowVersion(
        after,
        at,
        at,
        row.status,
        row.sent,
        row.to_send,
        row.cursor,
        row.ceiling,
        row.started_at,
        row.updated_at,
        row.xmin,
    )
