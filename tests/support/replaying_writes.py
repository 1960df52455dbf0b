"""Owns replaying a recorded accident as the single writes of its sender, read back out of the server's own log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from tests.support.replaying import RESET, runs

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import Connection

    from listmonk_doctor.demo.recording import Poll, Recording
    from listmonk_doctor.timeline.model import Timeline

FETCHED: Final = timedelta(milliseconds=8)
"""From a scan that opens a pipe to the fetch that follows."""


@dataclass(frozen=True)
class Write:
    """One write of a row at its moment by the recording's clock."""

    at: datetime
    row: Poll


def scans(recording: Recording) -> list[datetime]:
    """Return when the recorded servers scanned.

    The steps say when each was started; where a fetch dates itself just behind a scan, that tells to the millisecond.
    """
    end = recording.polls[-1].ts
    found: list[datetime] = []
    fetched = sorted({poll.updated_at for poll in recording.polls})
    for run in runs(recording):
        last, due = run.end or end, run.first_scan
        near = [each for each in fetched if abs((each - due).total_seconds()) < 0.6]
        due = near[0] - FETCHED if near else due
        while due < last:
            found.append(due)
            due += timedelta(seconds=5)
    return sorted(found)


def writes(recording: Recording, campaign: int) -> list[Write]:
    """Return the single writes of one campaign that its polls were made by."""
    polls = [poll for poll in recording.polls if poll.id == campaign]
    due, found = scans(recording), [Write(polls[0].ts, polls[0])]
    for was, now in pairwise(polls):
        found += _between(found[-1].row, was.ts, now, [each for each in due if was.ts < each <= now.ts])
    return found


def _between(row: Poll, before: datetime, now: Poll, due: list[datetime]) -> list[Write]:
    """Return the writes between two polls: the scan's, the fetch, and what pressed or closed."""
    made: list[Write] = []
    closes = now.status == "finished" and row.status != "finished"
    dated = now.updated_at if before - timedelta(seconds=1) < now.updated_at <= now.ts else None
    touched = now.updated_at != row.updated_at
    steps: list[tuple[datetime, str]] = [(each, "scan") for each in due[:1] if row.status != "finished"]
    if touched:
        steps.append((dated or now.ts, "touch"))
    if not steps and (row.sent, row.to_send) != (now.sent, now.to_send):
        steps.append((now.ts, "scan"))
    for at, what in sorted(steps):
        if what == "scan":
            if (
                row.status == "running"
                or (row.status == "scheduled" and now.status != "scheduled")
                or row.sent != now.sent
            ):
                sent = row.sent if closes or (touched and now.status != row.status) else now.sent
                status = "running" if row.status == "scheduled" else row.status
                row = replace(
                    row, sent=sent, to_send=now.to_send, max_subscriber_id=now.max_subscriber_id, status=status
                )
                made.append(Write(at, row))
        else:
            later = [each for each, kind in steps if kind == "scan" and each > at]
            sent = row.sent if later and not closes else now.sent
            fetch = now.last_subscriber_id > row.last_subscriber_id and now.status == "running"
            row = replace(now, sent=row.sent if fetch else sent)
            made.append(Write(at, row))
    if (row.sent, row.to_send, row.max_subscriber_id) != (now.sent, now.to_send, now.max_subscriber_id):
        row = replace(now)
        made.append(Write(max(now.ts, made[-1].at if made else now.ts), row))
    return made


class Written:
    """The writes of a recording, made in a loaded database one after the other, without waiting for their moments."""

    def __init__(self, conn: Connection[Any], recording: Recording, shift: timedelta) -> None:
        """Write them all; `shift` is by how much the recording's times were moved when it was loaded."""
        self.recording, self.shift = recording, shift
        self.moments: dict[str, datetime] = {}
        begun: dict[int, Any] = dict(conn.execute("SELECT id, started_at FROM campaigns").fetchall())
        every = [(w, c) for c in sorted({p.id for p in recording.polls}) for w in writes(recording, c)]
        for write, campaign in sorted(every, key=lambda each: each[0].at):
            row, at = write.row, begun[campaign]
            values = (row.status, row.sent, row.to_send, row.last_subscriber_id, row.max_subscriber_id)
            started = at if at is not None and at - shift <= write.at + FETCHED else None
            updated = row.updated_at + shift
            (xmin,) = conn.execute(
                RESET.encode() + b" RETURNING xmin::text", (*values, updated, started, campaign)
            ).fetchall()[0]
            self.moments[xmin] = write.at + shift

    def dated(self, timeline: Timeline) -> Timeline:
        """Return what was read out of the log with the writes' moments instead of the replay's."""
        kept = [each for each in timeline.versions if each.xmin in self.moments]
        moments = [self.moments[each.xmin] for each in kept]
        ended = max(moments[-1], self.recording.polls[-1].ts + self.shift)
        versions = [
            replace(each, after=at, before=at, until=until)
            for each, at, until in zip(kept, moments, [*moments[1:], ended], strict=True)
        ]
        return replace(timeline, began=moments[0], ended=ended, versions=tuple(versions))
