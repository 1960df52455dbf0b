"""Owns what `watch` expects of a campaign: the price of a repair that stands, else of pressing Start as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from listmonk_doctor.commands._session import Database, diagnosed

if TYPE_CHECKING:
    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.report import Examination, Range
    from listmonk_doctor.diagnosis.watching import Expected


def expected(database: Database, campaign_id: int) -> Expected:
    """Return what Start does to a campaign, by its price: the last repair's where one stands, else as the row is."""
    from listmonk_doctor.diagnosis.idsets import upto
    from listmonk_doctor.diagnosis.report import Range
    from listmonk_doctor.diagnosis.watching import Expected

    said = diagnosed(database, [campaign_id], prefer="no-duplicates", wait=False)[campaign_id]
    seen = said.examination
    campaign, audience = seen.campaign, _audience(database, seen)
    option = next(each for each in said.options if each.strategy == "nothing")
    mails, missed = option.would_mail, option.missed
    if seen.verdict == "not-started" and campaign.status == "draft":
        mails = Range(seen.account.audience_now, seen.account.audience_now)
    in_hand = 0
    if campaign.status in ("running", "paused"):
        in_hand = max(0, min(len(upto(audience, campaign.cursor)) - campaign.sent, seen.settings.one_stop))
    found = Expected(
        "as the row stands",
        campaign.sent,
        campaign.cursor,
        mails,
        missed,
        option.duplicates,
        option.newcomers,
        in_hand,
        audience,
        seen.settings,
        provisional=campaign.started_at is None,
    )
    return _repaired(database, seen, found) or found


def picked_up(database: Database, campaign_id: int, before: Expected) -> Expected:
    """Return what is expected of a campaign that was watched before it was picked up, which counts its people anew.

    People may have come and gone since the watch began. Raises DoctorError.
    """
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.diagnosis.examine import read_figures
    from listmonk_doctor.diagnosis.idsets import upto
    from listmonk_doctor.diagnosis.report import Range

    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
        figures = read_figures(cursor, [campaign_id]).get(campaign_id)
    if figures is None:
        return before
    audience = figures.audience.now
    mails = len(upto(audience, figures.campaign.ceiling))
    return replace(before, audience=audience, would_mail=Range(mails, mails), provisional=False)


def _audience(database: Database, seen: Examination) -> BitMap:
    """Return today's audience: the groups of a campaign that was started hold it, of another one it is read."""
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.diagnosis.examine import read_figures

    campaign = seen.campaign
    if campaign.started_at is None and campaign.sent == 0:
        with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
            return read_figures(cursor, [campaign.id])[campaign.id].audience.now
    people = seen.recipients.newcomers.copy()
    for name, group in seen.recipients.groups().items():
        if name != "departed":
            people |= group
    return people


def _repaired(database: Database, seen: Examination, otherwise: Expected) -> Expected | None:
    """Return the price of the last repair of a campaign, if it stands and the row has only gone on from there."""
    from listmonk_doctor.repair import journal

    if journal.state(database.conn) not in ("readable", "writable"):
        return None
    campaign = seen.campaign
    for entry in journal.history(database.conn, database.schema):
        if (entry.campaign_id, entry.campaign_uuid) != (campaign.id, campaign.uuid) or entry.strategy == "accept":
            continue
        if entry.undoes is not None or entry.undone_by is not None:
            return None
        after = entry.row_after
        if campaign.cursor < after["last_subscriber_id"] or campaign.sent < after["sent"]:
            return None
        would_mail, missed, duplicates, newcomers = (
            _range(entry.price[name]) for name in ("would_mail", "missed", "duplicates", "newcomers")
        )
        return replace(
            otherwise,
            source=f"the price of run {entry.run[:8]}",
            sent=after["sent"],
            cursor=after["last_subscriber_id"],
            would_mail=would_mail,
            missed=missed,
            duplicates=duplicates,
            newcomers=newcomers,
            in_hand=0,
        )
    return None


def _range(pair: tuple[int, int]) -> Range:
    from listmonk_doctor.diagnosis.report import Range

    return Range(int(pair[0]), int(pair[1]))
