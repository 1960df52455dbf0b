"""Owns reading a recording: its timelines, with stretches of one campaign joined; the file is not trusted."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.look import Identity
from listmonk_doctor.timeline.merge import merge
from listmonk_doctor.timeline.model import Gap, Pace, RowVersion, Sessions, Timeline
from listmonk_doctor.timeline.store import FIRST_FORMAT, broken, moment, open_to_read, version_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from listmonk_doctor.timeline.model import Source

MOST_VERSIONS: Final = 2_000_000
"""Versions of a row that are read: a campaign that beats for four months has as many."""
BIGGEST: Final = 2**31 - 1
"""The largest number that listmonk's columns hold."""
SOURCES: Final[dict[str, Source]] = {"recording": "recording", "log": "log", "page": "page"}
STATUSES: Final = frozenset({"draft", "scheduled", "running", "paused", "cancelled", "finished"})
_STRETCHES: Final = "SELECT id, campaign, name, began, ended FROM stretch WHERE uuid = ? ORDER BY began, id"


def read_identity(base: sqlite3.Connection, path: Path) -> Identity:
    """Return which database a recording is of. Raises UsageError where it does not say."""
    try:
        rows = base.execute("SELECT cluster, database, number, campaigns FROM source").fetchall()
    except sqlite3.Error as error:
        raise broken(path, str(error)) from None
    if len(rows) != 1 or not all(isinstance(value, str) for value in rows[0]):
        raise broken(path, "it does not say of which database it is")
    return Identity(*rows[0])


def read_recording(path: Path) -> tuple[Identity, tuple[Timeline, ...]]:
    """Read a recording: which database it is of, and one timeline per campaign.

    Raises UsageError, in one sentence, for a file that is damaged, foreign, newer, or says what cannot be.
    """
    source, found = _read(path)
    whole = (merge(*each) for each in found.values())
    return source, tuple(whole)


def read_tested(path: Path) -> tuple[Identity, dict[str, Timeline], frozenset[str]]:
    """Read what can be built on: the timelines by campaign's uuid, and for which of them a saved log was left out.

    Such a log did not hold the row as it was when it was read, so nothing shows that it was read rightly. Raises what
    `read_recording` raises.
    """
    source, found = _read(path)
    untested = frozenset(uuid for uuid, (_, logged) in found.items() if logged is not None and not logged.tested)
    parts = {uuid: (one, None if uuid in untested else logged) for uuid, (one, logged) in found.items()}
    return source, {uuid: merge(*each) for uuid, each in parts.items() if any(each)}, untested


_Parts = tuple["Timeline | None", "Timeline | None"]
"""What was recorded of a campaign, and what was saved of its log."""


def _read(path: Path) -> tuple[Identity, dict[str, _Parts]]:
    """Read what a file holds by campaign's uuid; the two parts of each go together.

    Raises UsageError, in one sentence, for a file that is damaged, foreign, newer, or says what cannot be.
    """
    base = open_to_read(path)
    try:
        source = read_identity(base, path)
        paces = tuple(_pace(row) for row in base.execute("SELECT * FROM pace ORDER BY at"))
        sessions = tuple(_sessions(row) for row in base.execute("SELECT * FROM session ORDER BY first"))
        uuids = [row[0] for row in base.execute("SELECT uuid FROM stretch GROUP BY uuid ORDER BY min(id)")]
        return source, {uuid: _parts(base, uuid, paces, sessions) for uuid in uuids}
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        raise broken(path, f"what it holds cannot be ({error})") from None
    finally:
        base.close()


@dataclass(slots=True)
class _Stretches:
    """What a file holds of one campaign by one source, as it is read."""

    versions: list[RowVersion] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    began: datetime | None = None
    ended: datetime | None = None

    def add(self, began: datetime, ended: datetime, versions: list[RowVersion], gaps: list[Gap]) -> None:
        """Take a later stretch in; what lies between two is a gap."""
        if self.ended is not None:
            if began < self.ended:
                raise ValueError("two stretches of one campaign overlap")
            self.gaps.append(Gap(self.ended, began, "nothing was recorded"))
        _append(self.versions, versions)
        self.gaps += gaps
        self.began, self.ended = self.began or began, ended

    def timeline(self, uuid: str, campaign: tuple[int, str]) -> Timeline | None:
        """Return what was read as a timeline; None where there was nothing."""
        if not self.versions or self.began is None or self.ended is None:
            return None
        gaps = tuple(sorted(self.gaps, key=lambda gap: gap.start))
        number, name = campaign
        return Timeline(number, _text(uuid), name, self.began, self.ended, tuple(self.versions), gaps)


def _parts(base: sqlite3.Connection, uuid: str, paces: tuple[Pace, ...], sessions: tuple[Sessions, ...]) -> _Parts:
    """Return what was recorded of one campaign, and what was saved of its log; they do not contradict each other."""
    recorded, logged, _ = held_of(base, uuid)
    if recorded is not None:
        recorded = replace(recorded, paces=paces, sessions=sessions)
    if logged is not None:
        logged = replace(logged, paces=paces)
    try:
        merge(recorded, logged)
    except RefusedError as error:
        raise ValueError(error.message) from None
    return recorded, logged


def held_of(base: sqlite3.Connection, uuid: str) -> tuple[Timeline | None, Timeline | None, list[int]]:
    """Return what was recorded of a campaign, what was saved of its log, and the numbers of the latter's stretches.

    Stretches are joined in the order of time. Both are without settings and sessions.
    """
    recorded, logged, last, numbers = _Stretches(), _Stretches(), (0, 0, ""), []
    for number, campaign, name, began, ended in base.execute(_STRETCHES, (uuid,)).fetchall():
        versions = _versions(base, number)
        into = recorded
        if _is_logged(versions):
            into = logged
            numbers.append(number)
        into.add(moment(began), moment(ended), versions, _gaps(base, number))
        last = max(last, (ended, _number(campaign), _text(name)))
    return recorded.timeline(uuid, last[1:]), logged.timeline(uuid, last[1:]), numbers


def _is_logged(versions: Sequence[RowVersion]) -> bool:
    """Tell whether a stretch was saved from a log, and not recorded."""
    return bool(versions) and versions[0].source != "recording"


def _gaps(base: sqlite3.Connection, stretch: int) -> list[Gap]:
    found = base.execute('SELECT start, "end", because FROM gap WHERE stretch = ?', (stretch,))
    return [Gap(moment(start), moment(end), _text(because)) for start, end, because in found]


def _versions(base: sqlite3.Connection, stretch: int) -> list[RowVersion]:
    """Return the versions of one stretch, in order."""
    more = ", source, place, linked" if version_of(base) > FIRST_FORMAT else ""
    rows = base.execute(
        "SELECT after, before, until, status, sent, to_send, cursor, ceiling, started_at, updated_at, xmin"  # noqa: S608
        f"{more} FROM version WHERE stretch = ? ORDER BY before, rowid LIMIT ?",
        (stretch, MOST_VERSIONS),
    )
    return [_version(row) for row in rows]


def _append(versions: list[RowVersion], more: Sequence[RowVersion]) -> None:
    """Add a later stretch; its first version is the last one still, where the row did not change in between."""
    for version in more:
        if versions and version.before < versions[-1].until:
            raise ValueError("the versions are not in order")
        if versions and version.xmin == versions[-1].xmin:
            versions[-1] = _longer(versions[-1], version.until)
        elif versions and version.after == version.before and version.source == "recording":
            versions.append(_since(version, versions[-1].until))
        else:
            versions.append(version)


def _longer(version: RowVersion, until: datetime) -> RowVersion:
    return replace(version, until=until)


def _since(version: RowVersion, after: datetime) -> RowVersion:
    return replace(version, after=after)


def _version(row: Sequence[Any]) -> RowVersion:
    after, before, until, status, sent, to_send, cursor, ceiling, started_at, updated_at, xmin, *more = row
    source, place, linked = more or ("recording", None, 1)
    if status not in STATUSES:
        raise ValueError("an unknown status")
    if not after <= before <= until:
        raise ValueError("a version that ends before it begins")
    if source not in SOURCES:
        raise ValueError("an unknown source")
    if place is not None and (not isinstance(place, int) or place < 0):
        raise ValueError("a place that is none")
    return RowVersion(
        moment(after),
        moment(before),
        moment(until),
        status,
        _number(sent),
        _number(to_send),
        _number(cursor),
        _number(ceiling),
        None if started_at is None else moment(started_at),
        None if updated_at is None else moment(updated_at),
        _text(xmin),
        SOURCES[source],
        place,
        bool(_number(linked)),
    )


def _number(value: Any) -> int:
    """Return a counter or an id. Raises ValueError where it is none."""
    if not isinstance(value, int) or not 0 <= value <= BIGGEST:
        raise ValueError("a number that is none of listmonk's")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text that is none")
    return value


def _pace(row: Sequence[Any]) -> Pace:
    at, batch, concurrency, rate, window_rate, window_seconds, version = row
    if not isinstance(window_seconds, float) or window_seconds < 0:
        raise ValueError("a window that is none")
    return Pace(
        moment(at),
        max(1, _number(batch)),
        max(1, _number(concurrency)),
        max(1, _number(rate)),
        _number(window_rate),
        window_seconds,
        _text(version),
    )


def _sessions(row: Sequence[Any]) -> Sessions:
    first, until, names, visible, waiting, servers = row
    return Sessions(
        moment(first),
        moment(until),
        frozenset(_text(names).split()),
        bool(_number(visible)),
        bool(_number(waiting)),
        _number(servers),
    )
