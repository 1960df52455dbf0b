"""Owns finding in a recording what it says of the campaigns that are examined, and refusing one of another database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.commands._failures import say
from listmonk_doctor.errors import PrivilegeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from listmonk_doctor.database.connection import Cursor
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.timeline.model import Timeline


def recorded_of(
    cursor: Cursor, campaigns: Mapping[int, Campaign], path: Path
) -> tuple[dict[int, Timeline], frozenset[int]]:
    """Return what a recording holds of campaigns, by their id; the cursor tells which database it is.

    And of which of them it holds a saved log that cannot be built on. Raises UsageError where it is of another database
    or of none of these campaigns; a campaign that it does not hold is left out and said on stderr.
    """
    from listmonk_doctor.timeline.look import identity
    from listmonk_doctor.timeline.own import marked, read_own
    from listmonk_doctor.timeline.recording import read_tested

    source, by_uuid, untested = read_tested(path)
    if not source.same(identity(cursor)):
        raise UsageError(
            f'The recording {path} is of another database ("{source.database}").',
            hint="Examine the database that was recorded; a restored copy is another one.",
        )
    writes = read_own(cursor, list(by_uuid))
    if writes is None:
        raise PrivilegeError(
            f"The recording {path} cannot be used: this role may not read the journal, so that what listmonk-doctor "
            "itself wrote cannot be told from listmonk's work.",
            hint="Its owner can grant USAGE on the schema listmonk_doctor, and SELECT on all tables in it.",
        )
    found: dict[int, Timeline] = {}
    for campaign in campaigns.values():
        timeline = by_uuid.get(campaign.uuid)
        if timeline is not None:
            found[campaign.id] = marked(timeline, writes)
        elif len(campaigns) > 1 and campaign.uuid not in untested:
            say(f"The recording {path} does not hold campaign {campaign.id}.")
    without = frozenset(campaign.id for campaign in campaigns.values() if campaign.uuid in untested)
    if not found and not without:
        held = ", ".join(str(timeline.campaign_id) for timeline in by_uuid.values()) or "none"
        raise UsageError(f"The recording {path} does not hold this campaign.", hint=f"It holds campaign {held}.")
    return found, without
