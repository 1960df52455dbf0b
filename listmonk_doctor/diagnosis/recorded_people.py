"""Owns what a recording proves of people: whom each life of the sender reached, and whom it surely did not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.diagnosis.idsets import at_rank, between, count_upto
from listmonk_doctor.diagnosis.logged_batches import batches
from listmonk_doctor.diagnosis.recorded import Hole, Recorded
from listmonk_doctor.diagnosis.report import Range
from listmonk_doctor.errors import RefusedError
from listmonk_doctor.listmonk.versions import SCAN_SECONDS
from listmonk_doctor.timeline.meaning import Unseen, fastest
from listmonk_doctor.timeline.outpaced import outpaced

if TYPE_CHECKING:
    from datetime import datetime

    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.timeline.meaning import Fetch, Life, Meaning

CLOCK: Final = timedelta(seconds=60)
"""How far a recording may seem to reach beyond now: the clock of a server may be set back a little."""
UNCOUNTED: Final = 0.02
"""Share of people taken and not counted above which the rate says nothing: mails fail, or cannot be rendered."""


class Heard(NamedTuple):
    """What a recording of one campaign means, and the file that it comes from."""

    meaning: Meaning
    source: str


def hear(figures: Figures, heard: Heard) -> Figures:
    """Return the figures with what a recording says of them. Raises RefusedError where it contradicts the row."""
    meaning, source = heard
    campaign = figures.campaign
    if wrong := misfit(campaign, figures.now, meaning):
        raise RefusedError(
            f"The recording {source} does not fit campaign {campaign.id}: {wrong}.",
            hint="Was the database restored, or the row edited, since it was recorded? Examine without --recorded.",
        )
    return replace(figures, recorded=read_recorded(figures, meaning, source))


def misfit(campaign: Campaign, now: datetime, meaning: Meaning) -> str:
    """Return in which way what was recorded contradicts the row; "" where it does not."""
    last = meaning.last
    if meaning.timeline.campaign_uuid != campaign.uuid:
        return "it is of another campaign"
    if last.started_at is not None and last.started_at != campaign.started_at:
        return "the campaign was started at another time than was recorded"
    if meaning.timeline.ended > now + CLOCK:
        return "it ends in the future"
    if last.xmin == campaign.xmin and (last.sent, last.cursor) != (campaign.sent, campaign.cursor):
        return "the row says something else of the same moment"
    return ""


@dataclass(frozen=True, slots=True)
class _Reach:
    """What one life did to the people it fetched: `taken` by a worker, `left` surely not."""

    fetched: BitMap
    taken: BitMap
    left: BitMap


def read_recorded(figures: Figures, meaning: Meaning, source: str) -> Recorded:
    """Say what a recording proves of the people of a campaign; its row must not contradict it (see `matching`)."""
    return _Reading(figures, meaning, source).read()


class _Reading:
    """One recording held against one audience."""

    def __init__(self, figures: Figures, meaning: Meaning, source: str) -> None:
        self.figures, self.meaning, self.source = figures, meaning, source
        audience = figures.audience
        self.members = audience.members
        self.nobody = self.members - self.members
        self.sure = audience.sure - (audience.mixed if figures.cut_first else self.nobody)
        self.most = audience.sure | audience.newcomers
        """Who surely was or may have been fetched; whoever else may have been is counted by `_hidden`."""
        self.rate, self.workers, self.queue, _ = fastest(meaning.timeline.paces)
        self.outpaced = outpaced(meaning.timeline)
        """Set where the settings were surely others, so that nothing follows from rate, workers and queue."""
        self.current = self._as_it_was()
        self.unseen = [*meaning.unseen, *self._since()]

    def _as_it_was(self) -> bool:
        """Tell whether nothing was sent since the recording ended: the row was edited, perhaps, not its progress."""
        last, row = self.meaning.last, self.figures.campaign
        progress = (row.status, row.sent, row.to_send, row.cursor, row.ceiling)
        return row.xmin == last.xmin or progress == (last.status, last.sent, last.to_send, last.cursor, last.ceiling)

    def _since(self) -> list[Unseen]:
        """Return what may have been fetched since the recording's end."""
        if self.current:
            return []
        last, row = self.meaning.last, self.figures.campaign
        moved = (last.cursor, last.sent) != (row.cursor, row.sent)
        low, high = (last.cursor, row.cursor) if row.cursor >= last.cursor else (0, max(row.ceiling, last.ceiling))
        return [Unseen(low, high, len(self.meaning.lives), moved)]

    def read(self) -> Recorded:
        figures, meaning = self.figures, self.meaning
        complete = meaning.from_start and not self.unseen and self.current and not meaning.muddled
        reaches, holes = [], []
        for life in () if meaning.muddled else meaning.lives:
            reach = self._reach(life)
            reaches.append(reach)
            if life.end in ("died", "perhaps-died", "open", "unseen"):
                holes.append(self._hole(life, reach))
        fetched, taken = self.nobody.copy(), self.nobody.copy()
        for reach in reaches:
            fetched |= reach.fetched
            taken |= reach.taken
        taken -= figures.arbitrary  # an arbitrary one of their subscriptions decided (M12)
        # Whoever was left out before a time that nobody saw may have been mailed in it (a rewind by hand).
        seen_since = max((each.lives for each in self.unseen if each.moved), default=0)
        left = self.nobody.copy()
        for reach in reaches[seen_since:]:
            left |= reach.left
        left -= taken | figures.arbitrary
        for reach in reaches:
            left -= reach.fetched - reach.left
        never = self.nobody
        doubtful = self._doubtful()
        if complete and not self.outpaced:
            never = self.members - fetched - doubtful - figures.audience.undated
        # What came before is hidden: where a cursor may have been overwritten, anybody may have been mailed.
        certain = complete or not figures.can_start_over
        not_mailed = left - doubtful - figures.audience.undated if certain else self.nobody
        if not complete:
            not_mailed -= between(not_mailed, 0, figures.mailed_floor)
        for each in self.unseen:
            not_mailed -= between(not_mailed, each.low, each.high)
        return Recorded(
            source=self.source,
            meaning=meaning,
            complete=complete,
            presumed=taken,
            not_mailed=not_mailed,
            never=never,
            holes=tuple(hole for hole in holes if hole is not None),
            counted=sum(life.counted for life in meaning.lives),
            started_over=meaning.goes_back,
            again=self._again(),
            outpaced=self.outpaced,
            batches=None if figures.cut_first else batches(meaning.timeline, figures.audience),
        )

    def _again(self) -> BitMap:
        """Return whom a life fetched although an earlier one had reached beyond them: where a cursor became a count."""
        found, highest = self.nobody.copy(), 0
        if not self.meaning.overwrites:
            return found
        for life in self.meaning.lives:
            found |= between(self.figures.audience.now, life.low, min(life.high, highest))
            highest = max(highest, life.reach)
        return found

    def _doubtful(self) -> BitMap:
        """Return who may have been mailed around an overwritten cursor.

        A batch may have ended at just that id, if somebody has it. And a run that counted nothing may have sent as
        many as there are workers, which a count that comes late does not show.
        """
        found = self.nobody.copy()
        for each in self.meaning.overwrites:
            late = at_rank(self.most, count_upto(self.most, each.was) + self.rate + self.workers)
            found |= between(self.members, each.was, late)
            if each.became in self.most and each.became > each.was:
                found |= between(self.members, each.was, each.became)
        for life in self.meaning.lives:
            end = life.high if life.closed_at is None else life.closed_at
            found |= between(self.members, end, self._noise(end))
        return found

    def _noise(self, closed_at: int) -> int:
        """Return up to whom people above a clean-up's cursor may have been mailed: late, or behind some refused."""
        return at_rank(self.most, count_upto(self.most, closed_at) + self.rate + self.workers)

    # -- one life ------------------------------------------------------------------------------------------------

    def _reach(self, life: Life) -> _Reach:
        fetched = between(self.members, life.low, life.high)
        if not fetched:
            return _Reach(fetched, fetched, fetched)
        if life.end == "closed" and life.closed_at is not None:
            return self._closed(life, fetched)
        taken = between(fetched, life.low, self._taken_upto(life))
        gone = life.end == "died" or (life.end == "open" and self.current)
        first = self._left_from(life, life.died_by if gone else None)
        left = between(fetched, first - 1, life.high)
        return _Reach(fetched, taken, left - taken)

    def _closed(self, life: Life, fetched: BitMap) -> _Reach:
        """Return what an orderly end did: up to the highest id sent all were taken; behind it nobody, but for noise.

        A pipe that was stopped skips what its workers hold: single people just below that id. One that ran to its end
        skipped nobody: whoever is behind the id was refused, or mailed and stored too late.
        """
        end = min(life.closed_at or 0, life.high)
        upper = end
        if life.stopped and self._short(life, end) > 0:
            below = between(self.most, life.low, end)
            upper = life.low if self.outpaced else at_rank(below, len(below) - self.rate - self.workers)
        skips = life.stopped and not self.outpaced and not (life.begun and not life.mixed and self._loses(life))
        left = between(fetched, self._noise(end), life.high) if skips else self.nobody
        return _Reach(fetched, between(fetched, life.low, upper), left)

    def _short(self, life: Life, upto: int) -> int:
        """Return how many of those fetched up to an id may not have been counted."""
        counted = life.counted if life.begun and not life.mixed else 0
        return len(between(self.most, life.low, upto)) + self._hidden(life) - counted

    def _hidden(self, life: Life) -> int:
        """Return how many may have been fetched who are in no set any more (deleted), or are not who they were.

        `to_send` was counted when this life began: whoever of it is not surely there today.
        """
        return max(0, life.to_send - len(self.figures.audience.sure))

    def _taken_upto(self, life: Life) -> int:
        """Return the id up to which everybody was surely taken by a worker, and not only held by one.

        By what was counted: people in the order of ids, less the ragged front of the workers. By the fetches: when a
        batch is taken, all of the one before has gone into the queue, and the queue holds no more than `queue`.
        """
        if self._short(life, life.high) <= 0:
            return life.high
        if self.outpaced:
            return life.low
        slack = self.rate + self.workers
        best = life.low
        if life.begun and not life.mixed:
            surely = life.counted - slack - self._hidden(life)
            best = at_rank(between(self.most, life.low, life.high), surely) or best
        for fetch in life.fetches:
            before = between(self.sure, life.low, fetch.low)
            back = self._behind(life, fetch, len(before))
            if back is None:
                continue
            if back <= 0:
                best = max(best, fetch.low)
            elif len(before) > back:
                best = max(best, int(before[len(before) - back]) - 1)
        if self.figures.cut_first:  # inside a batch the order is not known
            best = max((fetch.high for fetch in life.fetches if fetch.high <= best), default=life.low)
        return max(best, life.low)

    def _behind(self, life: Life, fetch: Fetch, passed: int) -> int | None:
        """Return how far behind the people before a batch the workers may have been at the end; None: not known.

        A stopped pipe throws its queue away and fetches on, if Start is pressed at once: what was taken must show in
        the counter, or be younger than the next scan.
        """
        most = self.queue + self.rate + self.workers
        # What was counted of a life whose beginning is not known may be people from before it.
        earlier = 0 if life.begun else most + self.workers + int(SCAN_SECONDS) * self.rate
        if fetch.sent is None:
            end = life.died_by or life.last_write
            uncounted = [each for each in life.fetches if each.sent is None]
            fresh = all((end - each.since).total_seconds() <= SCAN_SECONDS + 1 for each in uncounted)
            return most if fresh and not life.stopped and not self._loses(life) else None
        counted = max(0, fetch.sent - life.sent_first - earlier)
        short = passed - self.queue - self.workers - counted
        return most + max(0, short) - (life.sent_last - fetch.sent if life.begun else 0)

    def _left_from(self, life: Life, died_by: datetime | None) -> int:
        """Return the id from which on nobody can have been taken before the death, at the workers' full rate."""
        nobody = life.high + 1
        if died_by is None or self.outpaced or self._loses(life):
            return nobody
        best = nobody
        for fetch in life.fetches:
            seconds = max(0.0, (died_by - fetch.since).total_seconds()) + 0.1
            most = self.rate * (int(seconds) + 1) + self.workers
            above = between(self.sure, fetch.low, life.high)
            if len(above) > most:
                best = min(best, int(above[most - 1]) + 1)
        if self.figures.cut_first:
            best = min((fetch.low + 1 for fetch in life.fetches if fetch.low + 1 >= best), default=nobody)
        return best

    def _loses(self, life: Life) -> bool:
        """Tell whether people were taken and not counted: failed, or not rendered, so that they took no time."""
        if not life.begun or life.mixed:
            return True
        for fetch in life.fetches:
            if fetch.sent is None:
                continue
            passed = len(between(self.sure, life.low, fetch.low)) - self.queue - self.workers
            missing = passed - (fetch.sent - life.sent_first)
            if missing > self.workers and missing > UNCOUNTED * passed:
                return True
        return False

    def _hole(self, life: Life, reach: _Reach) -> Hole | None:
        most = reach.fetched - reach.taken
        if not most:
            return None
        estimate = self.figures.audience.estimate
        first, surely = count_upto(estimate, int(most.min())), reach.left
        by_rate = self._left_from(life, life.died_by)
        last = count_upto(estimate, min(by_rate, int(most.max()), int(surely.min()) if surely else by_rate))
        after = life.died_after or life.last_write
        by = life.died_by or self.meaning.timeline.ended
        return Hole(after, max(after, by), life.end == "died", most, surely, Range(first, max(first, last)), life.high)
