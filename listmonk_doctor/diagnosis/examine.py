"""Owns the examination of campaigns: from one snapshot's rows to everything the diagnosis says of each."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Any

from listmonk_doctor.diagnosis.account import account, bounds, judge
from listmonk_doctor.diagnosis.assumptions import name
from listmonk_doctor.diagnosis.audiences import asked, read_audiences
from listmonk_doctor.diagnosis.causes import Live, judge_causes
from listmonk_doctor.diagnosis.figures import Figures
from listmonk_doctor.diagnosis.groups import group
from listmonk_doctor.diagnosis.recorded import Heard, hear
from listmonk_doctor.diagnosis.recorded_story import recorded_causes, tell_recorded
from listmonk_doctor.diagnosis.repaired import read_repaired
from listmonk_doctor.diagnosis.report import Examination
from listmonk_doctor.diagnosis.story import tell
from listmonk_doctor.listmonk.facts import read_campaigns, read_settings
from listmonk_doctor.listmonk.versions import behaves

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from psycopg import Cursor

    from listmonk_doctor.diagnosis.chunks import Progress
    from listmonk_doctor.diagnosis.report import Pipe


def read_figures(
    cur: Cursor[Any],
    ids: Sequence[int],
    recordings: Mapping[int, Heard] | None = None,
    progress: Progress | None = None,
) -> dict[int, Figures]:
    """Read rows, settings and audiences of campaigns in the cursor's transaction, by id; unknown ids are left out.

    `recordings` says, by id, what recordings of their progress mean. Raises RefusedError for one that contradicts
    the row.
    """
    return {figures.campaign.id: figures for figures in each_figures(cur, ids, recordings, progress)}


def each_figures(
    cur: Cursor[Any],
    ids: Sequence[int],
    recordings: Mapping[int, Heard] | None = None,
    progress: Progress | None = None,
) -> Iterator[Figures]:
    """Read campaigns as `read_figures` does, all in one pass, and yield them one at a time, in the order of `ids`.

    A hundred need little more memory than one if each is let go of before the next. `progress` is told how far the
    pass has come.
    """
    settings = read_settings(cur)
    campaigns = read_campaigns(cur, ids)
    cur.execute("SELECT clock_timestamp()")
    now: datetime = cur.fetchall()[0][0]
    repaired = read_repaired(cur, campaigns)
    wanted = []
    for campaign in (campaigns[each] for each in dict.fromkeys(ids) if each in campaigns):
        versions = settings.versions_between(campaign.started_at, now)
        cut_first = behaves("batch-cut-before-filter", (*versions, settings.version))
        wanted.append(asked(campaign, now=now, batch_cut_first=cut_first))
    for campaign_id, audience in read_audiences(cur, wanted, progress):
        figures = Figures(campaigns[campaign_id], settings, audience, now, repaired.get(campaign_id))
        heard = (recordings or {}).get(campaign_id)
        yield hear(figures, heard) if heard is not None else figures


def examine(figures: Figures, *, running: bool | None, scanners: int, pipe: Pipe, because: str) -> Examination:
    """Say of one campaign what its figures allow.

    `running`: whether a listmonk is scanning (None: cannot tell); `scanners`: how many; `pipe` and `because`: what
    the looks at the row's version say.
    """
    limits = bounds(figures)
    grouping = group(figures)
    verdict = judge(figures)
    causes = recorded_causes(judge_causes(figures, Live(running=running, scanners=scanners, pipe=pipe)), figures)
    assumptions = name(grouping.assumptions, figures)
    books = account(figures, limits)
    happened, known, unknowable = map(add, tell(figures, books, verdict), tell_recorded(figures))
    return Examination(
        campaign=figures.campaign,
        version=str(figures.settings.version),
        settings=figures.settings,
        running=running,
        pipe=pipe,
        pipe_because=because,
        verdict=verdict,
        account=books,
        causes=causes,
        assumptions=assumptions,
        recipients=grouping.recipients,
        candidates=grouping.blocks,
        happened=happened,
        known=known,
        unknowable=unknowable,
        recorded=figures.recorded,
        ahead=figures.ahead,
    )
