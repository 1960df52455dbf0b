"""Owns finding in a recording what it says of the campaigns that are examined, and refusing one of another database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.commands._failures import say
from listmonk_doctor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from listmonk_doctor.database.connection import Cursor
    from listmonk_doctor.diagnosis.recorded import Heard


def heard(cursor: Cursor, campaign_ids: Sequence[int], path: Path) -> dict[int, Heard]:
    """Return what a recording means, by campaign, read in the cursor's transaction.

    Raises UsageError where it is of another database or of none of these campaigns; a campaign that it does not hold
    is left out and said on stderr.
    """
    from listmonk_doctor.diagnosis.recorded import Heard
    from listmonk_doctor.listmonk.facts import read_campaigns
    from listmonk_doctor.timeline.lives import read_meaning
    from listmonk_doctor.timeline.look import identity
    from listmonk_doctor.timeline.recording import read_recording

    source, timelines = read_recording(path)
    if not source.same(identity(cursor)):
        raise UsageError(
            f'The recording {path} is of another database ("{source.database}").',
            hint="Examine the database that was recorded; a restored copy is another one.",
        )
    by_uuid = {timeline.campaign_uuid: timeline for timeline in timelines}
    found: dict[int, Heard] = {}
    for campaign in read_campaigns(cursor, campaign_ids).values():
        timeline = by_uuid.get(campaign.uuid)
        if timeline is not None:
            found[campaign.id] = Heard(read_meaning(timeline), str(path))
        elif len(campaign_ids) > 1:
            say(f"The recording {path} does not hold campaign {campaign.id}.")
    if not found:
        held = ", ".join(str(timeline.campaign_id) for timeline in timelines) or "none"
        raise UsageError(f"The recording {path} does not hold this campaign.", hint=f"It holds campaign {held}.")
    return found
