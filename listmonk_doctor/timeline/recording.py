"""Owns reading a recording: its timelines, with stretches of one campaign joined; the file is not trusted."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.timeline.look import Identity
from listmonk_doctor.timeline.model import Gap, Pace, RowVersion, Sessions, Timeline
from listmonk_doctor.timeline.store import broken, moment, open_to_read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

MOST_VERSIONS: Final = 2_000_000
"""Versions of a row that are read: a campaign that beats for four months has as many."""
BIGGEST: Final = 2**31 - 1
"""The largest number that listmonk's columns hold."""
STATUSES: Final = frozenset({"draft", "scheduled", "running", "paused", "cancelled", "finished"})


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
    base = open_to_read(path)
    try:
        source = read_identity(base, path)
        paces = tuple(_pace(row) for row in base.execute("SELECT * FROM pace ORDER BY at"))
        sessions = tuple(_sessions(row) for row in base.execute("SELECT * FROM session ORDER BY first"))
        uuids = [row[0] for row in base.execute("SELECT uuid FROM stretch GROUP BY uuid ORDER BY min(id)")]
        return source, tuple(_timeline(base, uuid, paces, sessions) for uuid in uuids)
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        raise broken(path, f"what it holds cannot be ({error})") from None
    finally:
        base.close()


def _timeline(base: sqlite3.Connection, uuid: str, paces: tuple[Pace, ...], sessions: tuple[Sessions, ...]) -> Timeline:
    """Join the stretches of one campaign, in the order of time; what lies between two is a gap."""
    stretches = base.execute(
        "SELECT id, campaign, name, began, ended FROM stretch WHERE uuid = ? ORDER BY began, id", (uuid,)
    ).fetchall()
    versions: list[RowVersion] = []
    gaps: list[Gap] = []
    for before, after in pairwise(stretches):
        if after[3] < before[4]:
            raise ValueError("two stretches of one campaign overlap")
        gaps.append(Gap(moment(before[4]), moment(after[3]), "nothing was recorded"))
    for number, *_ in stretches:
        rows = base.execute(
            "SELECT after, before, until, status, sent, to_send, cursor, ceiling, started_at, updated_at, xmin "
            "FROM version WHERE stretch = ? ORDER BY before LIMIT ?",
            (number, MOST_VERSIONS),
        )
        _append(versions, [_version(row) for row in rows])
        found = base.execute('SELECT start, "end", because FROM gap WHERE stretch = ?', (number,))
        gaps += [Gap(moment(start), moment(end), _text(because)) for start, end, because in found]
    if not versions:
        raise ValueError("a campaign without a row")
    last = stretches[-1]
    began, ended = moment(stretches[0][3]), moment(last[4])
    gaps.sort(key=lambda gap: gap.start)
    return Timeline(
        _number(last[1]), _text(uuid), _text(last[2]), began, ended, tuple(versions), tuple(gaps), paces, sessions
    )


def _append(versions: list[RowVersion], more: Sequence[RowVersion]) -> None:
    """Add a later stretch; its first version is the last one still, where the row did not change in between."""
    for version in more:
        if versions and version.before < versions[-1].until:
            raise ValueError("the versions are not in order")
        if versions and version.xmin == versions[-1].xmin:
            versions[-1] = _longer(versions[-1], version.until)
        elif versions and version.after == version.before:
            versions.append(_since(version, versions[-1].until))
        else:
            versions.append(version)


def _longer(version: RowVersion, until: datetime) -> RowVersion:
    from dataclasses import replace

    return replace(version, until=until)


def _since(version: RowVersion, after: datetime) -> RowVersion:
    from dataclasses import replace

    return replace(version, after=after)


def _version(row: Sequence[Any]) -> RowVersion:
    after, before, until, status, sent, to_send, cursor, ceiling, started_at, updated_at, xmin = row
    if status not in STATUSES:
        raise ValueError("an unknown status")
    if not after <= before <= until:
        raise ValueError("a version that ends before it begins")
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
