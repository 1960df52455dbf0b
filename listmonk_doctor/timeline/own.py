"""Owns which versions of a row this program wrote itself, by its journal: they are no work of listmonk's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from listmonk_doctor.database import sqlfiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import Cursor

    from listmonk_doctor.timeline.model import RowVersion, Timeline

_SLACK: Final = timedelta(seconds=1)
"""By how much an entry's moment and the look that saw its change may be apart, beside what bounds that look."""


class Write(NamedTuple):
    """A run that wrote a campaign's row: its transaction, its id, and when."""

    xmin: str
    run: str
    at: datetime


def read_own(cursor: Cursor[Any], uuids: Sequence[str]) -> dict[str, list[Write]] | None:
    """Return what runs of this program wrote to campaigns, by uuid; None where the role may not read the journal."""
    cursor.execute(sqlfiles.read("journal/state.sql"))
    found = cursor.fetchall()
    if not found or not any(tables for _, tables, _, _ in found):
        return {}
    if not any(usable and readable for usable, _, readable, _ in found):
        return None
    cursor.execute(sqlfiles.read("journal/own.sql"), {"uuids": list(uuids)})
    writes: dict[str, list[Write]] = {}
    for uuid, *write in cursor.fetchall():
        writes.setdefault(uuid, []).append(Write(*write))
    return writes


def marked(timeline: Timeline, writes: Mapping[str, Sequence[Write]]) -> Timeline:
    """Return a timeline with the run's id on each version that this program wrote.

    A look that saw a later version behind such a write may have missed what came between the two.
    """
    mine = writes.get(timeline.campaign_uuid, ())
    if not mine:
        return timeline
    runs = {write.xmin: write.run for write in mine}
    seen = {version.xmin for version in timeline.versions}
    missed = [write.at for write in mine if write.xmin not in seen]
    versions = [_one(version, runs, missed) for version in timeline.versions]
    return replace(timeline, versions=tuple(versions))


def _one(version: RowVersion, runs: Mapping[str, str], missed: Sequence[datetime]) -> RowVersion:
    if run := runs.get(version.xmin):
        return replace(version, by=run)
    hidden = not version.dated and any(version.after - _SLACK <= at <= version.before + _SLACK for at in missed)
    return replace(version, linked=False) if hidden else version
