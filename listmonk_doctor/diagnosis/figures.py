"""Owns the figures of one campaign that every statement rests on: ranks with their error bars, trust in the cursor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from listmonk_doctor.diagnosis.given import Given
from listmonk_doctor.diagnosis.idsets import above, at_rank, between, count_upto, upto
from listmonk_doctor.diagnosis.report import Range
from listmonk_doctor.listmonk.versions import behaves

if TYPE_CHECKING:
    from pyroaring import BitMap


@dataclass(frozen=True)
class Figures(Given):
    """What follows from one campaign's row, settings and audience without any assumption.

    All ranks count people of the audience at the start.
    """

    # -- ranks ---------------------------------------------------------------------------------------------------

    @cached_property
    def invisible(self) -> int:
        """The most people of the audience at the start who may have been deleted since, as far as to_send bounds it."""
        if not self.started:
            return 0
        return max(0, self.campaign.to_send + len(self.audience.left_during) - len(self.audience.sure))

    @cached_property
    def at_start(self) -> Range:
        """How many people were in the audience at the start; nobody above the ceiling was for certain."""
        if not self.started:
            return Range(0, 0)
        audience = self.audience
        # Not in to_send, if they were away when it was counted last: who left, and who may have come back since.
        away = len(audience.left_during) + len(audience.blocked_undated) + len(audience.undated)
        counted = self.campaign.to_send + away
        below = count_upto(audience.sure, max(self.campaign.ceiling, self.campaign.cursor))
        return Range(below, max(len(audience.members), counted))

    @cached_property
    def residual(self) -> int:
        """to_send less the audience as the dates tell it: people whom the dates do not show (negative: too many)."""
        estimate = len(upto(self.audience.estimate, max(self.campaign.ceiling, self.campaign.cursor)))
        if behaves("to-send-counts-blocklisted", self.versions):
            estimate += len(upto(self.audience.blocked_undated, self.campaign.ceiling))
        return self.campaign.to_send - estimate

    @cached_property
    def doubtful(self) -> int:
        """People counted into the audience at the start although their dates leave it open.

        Subscriptions that changed since; with a double opt-in list whoever left as well, as confirming has no date.
        """
        double = any(entry.optin == "double" for entry in self.campaign.lists)
        return len(self.audience.undated) + (len(self.audience.left) if double else 0)

    @cached_property
    def rank_error(self) -> tuple[int, int]:
        """By how much a rank by dates may be (too high, too low) if the dates and lists are as is assumed.

        Too low by people whom the dates do not show (deleted since); too high where `to_send` is short of the dates by
        more than left while it was sent.
        """
        return max(0, -self.residual - len(self.audience.left_during)), max(0, self.residual)

    def rank(self, last: int) -> Range:
        """Return how many of the audience at the start have an id <= last, whatever the undatable people were."""
        possible = count_upto(self.audience.possible, last) + self.invisible
        return Range(count_upto(self.audience.sure, last), min(possible, self.at_start.high))

    def rank_by_dates(self, last: int) -> int:
        """Return that rank if every date is taken at its word."""
        return count_upto(self.audience.estimate, last)

    def id_at(self, rank: int) -> int:
        """Return the id at a rank if every date is taken at its word (0 below the first)."""
        return at_rank(self.audience.estimate, rank)

    @cached_property
    def cursor_rank(self) -> Range:
        """The cursor's rank."""
        return self.rank(self.campaign.cursor)

    @cached_property
    def ahead(self) -> int:
        """People between what was counted as sent and the cursor, by the dates; negative: sent is ahead."""
        return self.rank_by_dates(self.campaign.cursor) - self.campaign.sent

    # -- trust in the cursor -------------------------------------------------------------------------------------

    @cached_property
    def overwritten(self) -> bool:
        """Whether the cursor is a count and not where the sending stood (M2, 3.0.0 to 6.0.0).

        cursor = to_send, unless an honest one may stand there too: somebody has that id, nobody is left above it but
        for the clean-up's noise, and no more are short below it than one stop explains (where it has not ended). That
        its rank fits `sent` proves little: a stop may have lost the count of what was sent before.
        """
        campaign = self.campaign
        if not (self.can_start_over and self.started and campaign.to_send > 0):
            return False
        if self.repaired is not None and campaign.cursor == self.repaired.cursor:
            return False
        if campaign.cursor != campaign.to_send:
            return False
        left = between(self.audience.possible, campaign.cursor, campaign.ceiling)
        short = 0 if self.ended else self.ahead - self.flush - self.then.front
        return len(left) > self.slack or not self.cursor_is_somebody or short > self.then.one_stop

    @property
    def cursor_is_somebody(self) -> bool:
        """Whether the cursor's number is an id: of somebody who may have been mailed, or of the last one counted.

        The ceiling was somebody's id when it was counted, also where that person was deleted since.
        """
        cursor, audience = self.campaign.cursor, self.audience
        return cursor in audience.possible or cursor in audience.newcomers or cursor == self.campaign.ceiling

    @cached_property
    def mailed_floor(self) -> int:
        """The id up to which people may have been mailed before a repair set the cursor back (0: none did)."""
        return self.repaired.floor if self.repaired else 0

    @cached_property
    def proofs_above_cursor(self) -> int:
        """People above the cursor who are proved to have been mailed, and not before a repair set it back."""
        last = max(self.campaign.cursor, self.mailed_floor)
        return len(between(self.audience.reached, last, self.campaign.ceiling))

    @cached_property
    def started_over(self) -> bool:
        """Whether more was counted than can lie below the cursor, and people are left above it.

        It must have started over, counted twice, or been sent by two servers, of which the slower wrote its own last id
        into the cursor at its end (M16).
        """
        if self.counts_fetched or (self.ended and self.left_above <= self.slack):
            return False
        high = self.cursor_rank.high + count_upto(self.audience.newcomers, self.campaign.cursor)
        return self.campaign.sent > high + self.slack

    @cached_property
    def cursor_trusted(self) -> bool:
        """Whether everybody above the cursor is taken as never fetched."""
        return not (self.overwritten or self.started_over or self.proofs_above_cursor > self.slack)

    @cached_property
    def proved_unmailed(self) -> BitMap:
        """Members below what counts as never fetched of whom a recording proves that they were not mailed."""
        found = self.recorded.not_mailed if self.recorded else self.audience.now - self.audience.now
        return found - self.audience.reached - self.tail

    @cached_property
    def noise_end(self) -> int:
        """The id up to which people above an honest cursor may have been mailed: so many as there are workers.

        Only those who were in the audience for certain are counted; the others may lie between, and so may those whom
        an arbitrary subscription left out (M12).
        """
        surely = self.audience.sure - self.audience.mixed if self.cut_first else self.audience.sure
        rank = count_upto(surely, self.campaign.cursor) + self.slack
        return at_rank(surely, rank) if rank <= len(surely) else self.campaign.ceiling

    @cached_property
    def tail(self) -> BitMap:
        """Members above a trusted cursor up to the ceiling, without those whom the clean-up's noise may hide.

        A clean-up writes the highest id that was sent, which may fall short by some workers: the first
        `concurrency` people above a cursor are left out, of a running campaign too: it may have been started
        again and not have fetched yet. From 5.0.0 on it finishes only when everybody was fetched: whoever is above the
        cursor was refused, or skipped at rendering.
        """
        members = self.audience.members
        if not (self.cursor_trusted and self.started) or (self.ended and not self.ends_early):
            return members & members.__class__()
        low = self.campaign.cursor
        if behaves("clean-up-writes-cursor", self.versions):
            low = max(low, self.noise_end)
        low = max(low, self.mailed_floor)
        return between(members, low, self.campaign.ceiling) - self.audience.reached

    @cached_property
    def fetched(self) -> BitMap:
        """Everybody visible who may have been fetched: up to a trusted cursor and its noise, else to the ceiling."""
        return upto(self.audience.possible, max(self.campaign.ceiling, self.campaign.cursor)) - self.tail

    @cached_property
    def fetched_surely(self) -> BitMap:
        """Everybody visible up to a trusted cursor, without the noise above it; nobody where it is not trusted."""
        last = self.campaign.cursor if self.cursor_trusted else 0
        return upto(self.audience.possible, last)

    @cached_property
    def left_above(self) -> int:
        """Members above the cursor up to the ceiling: T of the figures, whatever the cursor is worth."""
        return len(between(self.audience.members, self.campaign.cursor, self.campaign.ceiling))

    @cached_property
    def newcomers_below(self) -> BitMap:
        """Newcomers who may have been mailed: subscribed since the start, and not above what was fetched."""
        last = max(self.campaign.cursor, self.mailed_floor)
        if not self.cursor_trusted or (self.ended and not self.ends_early):
            last = max(last, self.campaign.ceiling)
        else:  # the clean-up's noise, as for the tail
            last = max(last, self.noise_end)
        return upto(self.audience.newcomers, last if self.started else 0)

    @cached_property
    def next_start_mails(self) -> BitMap:
        """Whom a plain Start would mail today: everybody above the cursor, newcomers too (the ceiling is recounted)."""
        return above(self.audience.now, self.campaign.cursor)
