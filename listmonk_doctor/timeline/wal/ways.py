"""Owns reading with the server's extensions, where that is allowed: the log by pg_walinspect, versions on its pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.errors import DoctorError, PrivilegeError
from listmonk_doctor.timeline.look import pace_now
from listmonk_doctor.timeline.model import Timeline
from listmonk_doctor.timeline.wal.by_walinspect import read_inspected
from listmonk_doctor.timeline.wal.extensions import (
    PAGEINSPECT,
    TRACES,
    WALINSPECT,
    Extension,
    extension,
    ready,
    said,
)
from listmonk_doctor.timeline.wal.filling import filled
from listmonk_doctor.timeline.wal.history import Log, read_logs
from listmonk_doctor.timeline.wal.leftover import read_leftovers
from listmonk_doctor.timeline.wal.shelf import ServerShelf, may_read
from listmonk_doctor.timeline.wal.table import ANOTHER_WAY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import Cursor

PAGES: Final = "the table's own pages, by pageinspect"


@dataclass(frozen=True, slots=True)
class Ways:
    """What can be read how: `raw` says why the log's files cannot ("" where they can); then pg_walinspect is asked."""

    raw: str
    walinspect: Extension
    pageinspect: Extension

    @property
    def makes(self) -> bool:
        """Whether something has to be made, which takes a transaction that may write."""
        return self.pageinspect.made or (bool(self.raw) and self.walinspect.made)


def find_ways(cursor: Cursor[Any]) -> Ways:
    """Look which ways are open to the role; raises and logs nothing."""
    return Ways(may_read(cursor), extension(cursor, WALINSPECT), extension(cursor, PAGEINSPECT))


def read_by(  # noqa: PLR0913 - what is read, how, and three bounds
    cursor: Cursor[Any],
    ways: Ways,
    campaign_ids: Sequence[int],
    *,
    limit: int = 30,
    seconds: float = 30.0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Read the log, by pg_walinspect where its files cannot be read, and what the table's pages still hold besides.

    Where `ways.makes`, the cursor's transaction must be one that is rolled back. Pages that may not be read are a
    note. Raises PrivilegeError, with the exact ways, where the log cannot be read either way; RefusedError as
    `read_logs`.
    """
    made = []
    if not ways.raw:
        log = read_logs(cursor, ServerShelf(cursor), campaign_ids, limit=limit, seconds=seconds, progress=progress)
    else:
        walinspect = _walinspect(cursor, ways)
        made += [WALINSPECT.name] * ways.walinspect.made
        log = read_inspected(cursor, walinspect, campaign_ids, limit=limit, seconds=seconds, progress=progress)
    try:
        pageinspect = ready(cursor, ways.pageinspect)
        made += [PAGEINSPECT.name] * ways.pageinspect.made
        if pageinspect.why:
            raise PrivilegeError(pageinspect.why)
        log = _with_pages(cursor, pageinspect.place, campaign_ids, log)
    except DoctorError as error:
        log = replace(log, missed=(f"the table's own pages were not read: {_words(error)}",))
    if made:
        log = replace(log, notes=(*log.notes, TRACES.format(names=" and ".join(made))))
    return log


def _walinspect(cursor: Cursor[Any], ways: Ways) -> Extension:
    """Return pg_walinspect, ready to be asked. Raises PrivilegeError with both reasons where it is not."""
    try:
        found = ready(cursor, ways.walinspect)
        why = found.why
    except PrivilegeError as error:
        why = _words(error)
    if why:
        raise PrivilegeError(f"The log was not read: {ways.raw}. Nor by pg_walinspect: {why}.", hint=ANOTHER_WAY)
    return found


def _words(error: DoctorError) -> str:
    return error.message.rstrip(".")


def _with_pages(cursor: Cursor[Any], place: str, campaign_ids: Sequence[int], log: Log) -> Log:
    """Return the log with the versions that only the pages hold. Raises DoctorError where they cannot be read."""
    import psycopg

    try:
        with cursor.connection.transaction():
            rows, leftovers, notes = read_leftovers(cursor, place, campaign_ids)
    except psycopg.errors.InsufficientPrivilege as error:
        raise PrivilegeError(f'the server says "{said(error)}"') from error
    timelines = dict(log.timelines)
    count = 0
    for ident, row in rows.items():
        now = log.reach.newest
        known = log.timelines.get(ident)
        begun = known or Timeline(ident, row.uuid, row.name, now, now, (), (), (pace_now(cursor, now),))
        whole = filled(begun, leftovers[ident], row.xmin)
        if whole is not None:
            count += len(whole.versions) - len(begun.versions)
            timelines[ident] = whole
    sources = (*log.sources, PAGES) if count else log.sources
    return replace(log, timelines=timelines, notes=(*log.notes, *notes), sources=sources)
