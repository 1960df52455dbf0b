"""Owns one look at the progress of campaigns: rows by their primary key, listmonk's sessions, now and then settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.listmonk.facts import read_settings
from listmonk_doctor.listmonk.server import PERIOD, WAITED
from listmonk_doctor.listmonk.sessions import YOUNG, look_at
from listmonk_doctor.timeline.model import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import Cursor

    from listmonk_doctor.listmonk.sessions import Backend
    from listmonk_doctor.listmonk.sessions import Look as Sessions


@dataclass(frozen=True, slots=True)
class Progress:
    """One campaign's row as a look saw it; the columns are listmonk's, `xmin` is the row's version as text."""

    id: int
    uuid: str
    name: str
    status: str
    sent: int
    to_send: int
    cursor: int
    ceiling: int
    started_at: datetime | None
    updated_at: datetime | None
    xmin: str


@dataclass(frozen=True, slots=True)
class Servers:
    """The sessions at one look: those that ran a scan or a fetch, all that did something just now, and how it went.

    A session's name is its number and its start, which together are never used twice. `waiting`: a scan was held up,
    by a lock for example. `count`: how many servers scanned, at least; `none`: nobody was there who could be
    scanning.
    """

    scanning: frozenset[str]
    busy: frozenset[str]
    visible: bool
    waiting: bool
    count: int
    none: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw at `at` (the database's clock); `pace` is None where the settings were not looked at."""

    at: datetime
    rows: Mapping[int, Progress]
    servers: Servers
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a database from any other; `cluster` is "" where the role may not read it."""

    cluster: str
    database: str
    number: str
    campaigns: str

    def same(self, other: Identity) -> bool:
        """Tell whether both can be the same database: an unreadable cluster says nothing."""
        unlike = self.cluster and other.cluster and self.cluster != other.cluster
        return not unlike and (self.number, self.campaigns) == (other.number, other.campaigns)


def identity(cursor: Cursor[Any]) -> Identity:
    """Read which database this is."""
    cursor.execute(sqlfiles.read("facts/database.sql"))
    return Identity(*(value or "" for value in cursor.fetchall()[0]))


def look(cursor: Cursor[Any], campaign_ids: Sequence[int], *, settings: bool) -> Look:
    """Look once, in the cursor's transaction: two short statements, three with `settings`.

    The search_path must lead to listmonk's tables. A campaign that is gone is not among the rows.
    """
    cursor.execute(sqlfiles.read("facts/progress.sql"), {"ids": list(campaign_ids)})
    found = cursor.fetchall()
    rows = {row[1]: Progress(*row[1:]) for row in found}
    seen = look_at(cursor, PERIOD)
    at: datetime = found[0][0] if found else seen.at
    pace = pace_now(cursor, at) if settings else None
    return Look(at, rows, _servers(seen), pace)


def _servers(seen: Sessions) -> Servers:
    every = (*seen.scanners, *seen.others)
    return Servers(
        scanning=frozenset(_name(each) for each in seen.scanners),
        busy=frozenset(_name(each) for each in every if each.fresh(YOUNG, PERIOD)),
        visible=not (seen.veiled or seen.standby),
        waiting=any(each.active and each.age > WAITED * PERIOD for each in seen.scanners),
        count=seen.servers(PERIOD),
        none=seen.quiet(PERIOD),
    )


def _name(backend: Backend) -> str:
    start = f"{backend.backend_start:%Y%m%dT%H%M%S.%f}" if backend.backend_start else ""
    return f"{backend.pid}@{start}"


def pace_now(cursor: Cursor[Any], at: datetime) -> Pace:
    """Read today's settings as the pace from `at` on."""
    now = read_settings(cursor)
    return Pace(
        at,
        now.batch_size,
        now.concurrency,
        now.message_rate,
        now.window_rate if now.window else 0,
        now.window_seconds if now.window else 0.0,
        str(now.version),
    )
