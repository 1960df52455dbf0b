"""Owns the reading of listmonk's rows: settings with dated versions, campaigns with their lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.listmonk.campaign import Campaign, CampaignList
from listmonk_doctor.listmonk.settings import READ_KEYS, Settings, from_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from psycopg import Cursor

KEYS_THAT_DATE: Final[dict[str, tuple[str, ...]]] = {
    "v3.0.0": ("app.cache_slow_queries", "bounce.postmark"),
    "v4.0.0": ("security.oidc",),
    "v4.1.0": ("bounce.forwardemail",),
    "v5.0.0": ("privacy.domain_allowlist",),
    "v5.1.0": ("security.captcha",),
    "v6.1.0": ("bounce.lettermint", "privacy.disable_tracking"),
    "v6.2.0": ("app.show_optin_page", "bounce.azure"),
}
"""Settings that a version's migration inserted first: their date is the date of that upgrade (observed)."""


def read_settings(cur: Cursor[Any]) -> Settings:
    """Read today's settings; each recorded version is dated where a key of its migration tells.

    Raises UnknownSchemaError where the recorded version cannot be read.
    """
    cur.execute(sqlfiles.read("facts/settings.sql"), {"keys": list(READ_KEYS)})
    rows = cur.fetchall()
    values = {key: value for key, value, _ in rows if key in READ_KEYS}
    dates = {key: date for key, _, date in rows if date is not None}
    return from_rows(values, _dated(dates))


def _dated(dates: Mapping[str, datetime]) -> dict[str, datetime]:
    """Return from when each version was installed, by the latest date among the keys that it brought."""
    found: dict[str, datetime] = {}
    for tag, keys in KEYS_THAT_DATE.items():
        seen = [dates[key] for key in keys if key in dates]
        if seen:
            found[tag] = min(seen)
    return found


def read_campaigns(cur: Cursor[Any], ids: Sequence[int]) -> dict[int, Campaign]:
    """Read the progress rows of campaigns with their lists, by id; an id that does not exist is left out."""
    wanted = {"ids": list(ids)}
    cur.execute(sqlfiles.read("facts/campaign-lists.sql"), wanted)
    lists: dict[int, list[CampaignList]] = {}
    for campaign_id, row_id, list_id, kept_name, name, optin in cur.fetchall():
        lists.setdefault(campaign_id, []).append(CampaignList(row_id, list_id, name or kept_name, optin))
    cur.execute(sqlfiles.read("facts/campaigns.sql"), wanted)
    return {row[0]: _campaign(row, lists.get(row[0], ())) for row in cur.fetchall()}


def _campaign(row: Sequence[Any], lists: Iterable[CampaignList]) -> Campaign:
    """Make a Campaign of a row of facts/campaigns.sql, whose columns stand in this order."""
    return Campaign(
        id=row[0],
        uuid=row[1],
        name=row[2],
        type=row[3] or "regular",
        status=row[4],
        sent=row[5],
        to_send=row[6],
        last_subscriber_id=row[7],
        max_subscriber_id=row[8],
        messenger=row[9],
        created_at=row[10],
        started_at=row[11],
        updated_at=row[12],
        send_at=row[13],
        xmin=row[14],
        lists=tuple(lists),
    )
