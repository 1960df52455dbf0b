"""Owns the campaign row as this program reads it: progress columns, lists, never a body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

CampaignType = Literal["regular", "optin"]

PROGRESS_COLUMNS = (
    "status",
    "sent",
    "to_send",
    "last_subscriber_id",
    "max_subscriber_id",
    "started_at",
    "updated_at",
    "send_at",
)
"""The columns of `campaigns` that a plan compares before it writes (all versions from 2.0.0)."""


@dataclass(frozen=True, slots=True)
class CampaignList:
    """One row of `campaign_lists`; `list_id` and `optin` are None once the list is deleted."""

    row_id: int
    list_id: int | None
    name: str
    optin: Literal["single", "double"] | None


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign's progress row with its lists.

    `last_subscriber_id` is the cursor, `max_subscriber_id` the ceiling (subscriber ids); `sent` and `to_send`
    are listmonk's own counters; `xmin` is the row version as text.
    """

    id: int
    uuid: str
    name: str
    type: CampaignType
    status: str
    sent: int
    to_send: int
    last_subscriber_id: int
    max_subscriber_id: int
    messenger: str
    created_at: datetime | None
    started_at: datetime | None
    updated_at: datetime | None
    send_at: datetime | None
    xmin: str
    lists: tuple[CampaignList, ...]

    @property
    def cursor(self) -> int:
        """The id from above which the next batch is taken."""
        return self.last_subscriber_id

    @property
    def ceiling(self) -> int:
        """The highest subscriber id that this run will fetch."""
        return self.max_subscriber_id

    @property
    def deleted_lists(self) -> tuple[CampaignList, ...]:
        """The rows of `campaign_lists` whose list is gone."""
        return tuple(entry for entry in self.lists if entry.list_id is None)
