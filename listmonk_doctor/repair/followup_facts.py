"""Owns what a follow-up rests on in the database: the content to copy, and the follow-ups that were made before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.diagnosis.ranges import members
from listmonk_doctor.repair.followup_sql import COPIED, content, files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import Cursor
    from pyroaring import BitMap

    from listmonk_doctor.listmonk.campaign import Campaign


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A follow-up that the journal knows and that was not taken back.

    `of_id`, `of_uuid`: the original; `uuid`, `list_uuid`: of the draft and its list; `people`: whom it was made for,
    without those whom a refresh took off. `id` and what follows is what the draft has come to (None: it was deleted),
    `list_id` None: the list was removed; `settled` is the run of a settle.
    """

    run: str
    schema: str
    applied_at: datetime
    of_id: int
    of_uuid: str
    uuid: str
    list_uuid: str
    list_name: str
    people: BitMap
    id: int | None
    name: str | None
    status: str | None
    sent: int | None
    to_send: int | None
    started_at: datetime | None
    list_id: int | None
    settled: str | None

    @property
    def waiting(self) -> bool:
        """Whether it was not started yet."""
        return self.id is not None and self.status in ("draft", "scheduled") and self.started_at is None

    def __str__(self) -> str:
        """Return it as a person would be told of it."""
        return f'campaign {self.id} "{self.name}"' if self.id is not None else f"the follow-up of run {self.run}"


@dataclass(frozen=True, slots=True)
class Source:
    """The content of a campaign that a follow-up would copy: never the content itself, but its digests.

    `columns` are those to be copied, in order; `content` their digest; `files` the digest of `attachments` rows of
    `campaign_media`, `lost` of which name a file that was deleted; `described` whether lists have a description.
    """

    columns: tuple[str, ...]
    content: str
    attachments: int
    lost: int
    files: str
    described: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says for the follow-ups of one campaign: its content, and those that were made before.

    `made` are follow-ups of it, oldest first; `is_of` the follow-up that it is itself.
    """

    source: Source | None = None
    made: tuple[FollowUp, ...] = ()
    is_of: FollowUp | None = None


def read_known(cur: Cursor[Any], campaigns: Sequence[Campaign]) -> dict[int, Known]:
    """Read what the follow-ups of campaigns rest on, by id, in the cursor's transaction."""
    followups = read_followups(cur, [each.id for each in campaigns])
    return {
        each.id: Known(
            source=read_source(cur, each) if each.status in ("finished", "paused", "cancelled") else None,
            made=tuple(one for one in followups if (one.of_id, one.of_uuid) == (each.id, each.uuid)),
            is_of=next((one for one in followups if one.uuid == each.uuid), None),
        )
        for each in campaigns
    }


def read_followups(cur: Cursor[Any], ids: Sequence[int]) -> tuple[FollowUp, ...]:
    """Read the follow-ups made of these campaigns, or that they are; nothing without a journal that may be read."""
    cur.execute(sqlfiles.read("journal/state.sql"))
    if not any(usable and tables and readable for usable, tables, readable, _ in cur.fetchall()):
        return ()
    cur.execute(sqlfiles.read("journal/followups.sql"), {"ids": list(ids)})
    rows = cur.fetchall()
    cur.execute("SELECT current_schema()")
    schema = cur.fetchall()[0][0]
    return tuple(_followup(*row) for row in rows if row[1] == schema)


def _followup(*row: Any) -> FollowUp:
    """Make a FollowUp of a row of journal/followups.sql, whose columns stand in this order."""
    *values, taken_off = row
    values[8] = members(values[8])
    for each in taken_off:
        values[8] -= members(each)
    return FollowUp(*values)


def read_source(cur: Cursor[Any], campaign: Campaign) -> Source:
    """Read the digests of what a copy of a campaign takes over; its content stays on the server."""
    from psycopg import sql

    cur.execute(sqlfiles.read("followup/source.sql"))
    present, media, described = cur.fetchall()[0]
    columns = tuple(name for name in COPIED if name in present)
    cur.execute(sql.SQL("SELECT {} FROM campaigns c WHERE c.id = %s").format(content("c", columns)), [campaign.id])
    digest = cur.fetchall()[0][0]
    attachments, lost, names = 0, 0, ""
    if media:
        cur.execute(
            sql.SQL(
                "SELECT count(*), count(*) FILTER (WHERE media_id IS NULL), {}"
                " FROM campaign_media WHERE campaign_id = %s"
            ).format(files(sql.Literal(campaign.id))),
            [campaign.id],
        )
        attachments, lost, names = cur.fetchall()[0]
    return Source(columns, digest, attachments, lost, names, described)
