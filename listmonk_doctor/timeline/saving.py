"""Owns saving a timeline that was read from the log to the file that a recording is kept in."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from listmonk_doctor.timeline.merge import merge
from listmonk_doctor.timeline.recorder import INSERT, claim, pace_row
from listmonk_doctor.timeline.recording import held_of
from listmonk_doctor.timeline.store import explained, open_to_write, stamp

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime
    from pathlib import Path

    from listmonk_doctor.timeline.look import Identity
    from listmonk_doctor.timeline.model import RowVersion, Timeline


def save(path: Path, source: Identity, timeline: Timeline) -> None:
    """Keep what the log held of a campaign, beside what was recorded of it; what was saved before is merged with it.

    A new file has the mode 0600. All or nothing is written. Raises UsageError for a file that is something else or of
    another database, RefusedError where what was recorded contradicts it, DoctorError where it cannot be written.
    """
    base, new = open_to_write(path)
    try:
        claim(base, path, source, new=new)
        with explained(path):
            base.execute("BEGIN IMMEDIATE")
            try:
                recorded, held, numbers = held_of(base, timeline.campaign_uuid)
                whole = timeline if held is None else joined(held, timeline)
                merge(recorded, whole)  # refused here, it is not written
                for number in numbers:
                    base.execute("DELETE FROM version WHERE stretch = ?", (number,))
                    base.execute("DELETE FROM gap WHERE stretch = ?", (number,))
                    base.execute("DELETE FROM stretch WHERE id = ?", (number,))
                _write(base, whole)
                base.execute("COMMIT")
            except BaseException:
                if base.in_transaction:
                    base.execute("ROLLBACK")
                raise
    finally:
        base.close()


def joined(old: Timeline, new: Timeline) -> Timeline:
    """Return what a log told at two moments as one timeline: each version once, linked where either saw the link.

    A new one that was not held to what SELECT gives takes nothing from an old one that was: it is left out. An old one
    that was not is believed beside a new one that was where the two agree on a version.
    """
    if old.tested and not new.tested:
        return old
    if new.tested and not old.tested and not _agree(old, new):
        return new
    by_xmin = {each.xmin: each for each in old.versions}
    for each in new.versions:
        held = by_xmin.get(each.xmin, each)
        by_xmin[each.xmin] = _better(held, each)
    ordered = sorted(by_xmin.values(), key=lambda each: (each.before, each.place or 0))
    known = {(was.xmin, now.xmin) for one in (old, new) for was, now in pairwise(one.versions) if now.linked}
    found = ordered[:1]
    for each in ordered[1:]:
        found[-1] = replace(found[-1], until=min(found[-1].until, each.before))
        found.append(replace(each, linked=(found[-1].xmin, each.xmin) in known))
    began, ended = min(old.began, new.began), max(old.ended, new.ended)
    gaps = tuple(dict.fromkeys((*old.gaps, *new.gaps)))
    return replace(new, began=began, ended=ended, versions=tuple(found), gaps=gaps)


def _agree(old: Timeline, new: Timeline) -> bool:
    """Tell whether two readings have versions in common, and the same in each of them."""
    rows = {each.xmin: each for each in old.versions}
    both = [(rows[each.xmin], each) for each in new.versions if each.xmin in rows]
    return bool(both) and all(_same(was, now) for was, now in both)


def _same(old: RowVersion, new: RowVersion) -> bool:
    """Tell whether two versions say the same; a page may not know when one was committed."""
    moment = new.before
    if old.dated and new.dated and old.before != moment:
        return False
    rows = (replace(each, after=moment, before=moment, until=moment, source="log", place=None) for each in (old, new))
    return len({replace(each, linked=True) for each in rows}) == 1


def _better(old: RowVersion, new: RowVersion) -> RowVersion:
    """Return a version as the log has it, or a page that dates it; where none does, by what both say of its time."""
    if old.dated or new.dated:
        best = new if new.dated else old
        return replace(best, until=max(each.until for each in (old, new) if each.dated))
    before = min(old.before, new.before)
    return replace(new, after=min(max(old.after, new.after), before), before=before, until=before)


def _write(base: sqlite3.Connection, timeline: Timeline) -> None:
    """Write a timeline as one stretch, with the settings that the file does not have yet."""
    head = (timeline.campaign_id, timeline.campaign_uuid, timeline.campaign_name)
    values = (*head, stamp(timeline.began), stamp(timeline.ended))
    statement = "INSERT INTO stretch (campaign, uuid, name, began, ended) VALUES (?, ?, ?, ?, ?)"
    stretch = base.execute(statement, values).lastrowid or 0
    base.executemany(INSERT, [_row(stretch, each) for each in timeline.versions])
    base.executemany(
        "INSERT INTO gap VALUES (?, ?, ?, ?)",
        [(stretch, stamp(gap.start), stamp(gap.end), gap.because) for gap in timeline.gaps],
    )
    held = set(base.execute("SELECT * FROM pace").fetchall())
    rows = dict.fromkeys((stamp(pace.at), *pace_row(pace)) for pace in timeline.paces)
    base.executemany("INSERT INTO pace VALUES (?, ?, ?, ?, ?, ?, ?)", [row for row in rows if row not in held])


def _row(stretch: int, version: RowVersion) -> tuple[object, ...]:
    return (
        stretch,
        stamp(version.after),
        stamp(version.before),
        stamp(version.until),
        version.status,
        version.sent,
        version.to_send,
        version.cursor,
        version.ceiling,
        _stamp(version.started_at),
        _stamp(version.updated_at),
        version.xmin,
        version.source,
        version.place,
        int(version.linked),
    )


def _stamp(moment: datetime | None) -> int | None:
    return None if moment is None else stamp(moment)
