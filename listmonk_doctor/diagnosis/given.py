"""Owns what is read of one campaign before anything is ranked: row, settings, audience, what its versions do."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from listmonk_doctor.listmonk.versions import SCAN_SECONDS, behaves

if TYPE_CHECKING:
    from datetime import datetime

    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.idsets import Audience
    from listmonk_doctor.diagnosis.recorded import Recorded
    from listmonk_doctor.diagnosis.repaired import Repaired
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.listmonk.settings import Settings
    from listmonk_doctor.listmonk.versions import Version

ENDED = ("finished",)


@dataclass(frozen=True)
class Given:
    """One campaign's row, settings and audience.

    `now` is the database's clock, `repaired` what repairs that still stand overwrote in the row, `recorded` what a
    recording of its progress says.
    """

    campaign: Campaign
    settings: Settings
    audience: Audience
    now: datetime
    repaired: Repaired | None = None
    recorded: Recorded | None = None

    # -- what the versions do ------------------------------------------------------------------------------------

    @cached_property
    def versions(self) -> tuple[Version, ...]:
        """The versions that may have sent the campaign: those installed between its start and its last change."""
        end = self.now if self.campaign.status == "running" else self.campaign.updated_at
        return self.settings.versions_between(self.campaign.started_at, end)

    @cached_property
    def counts_fetched(self) -> bool:
        """Whether `sent` may count what was fetched (up to 2.5.1): it then proves nothing about mails."""
        return behaves("sent-counts-fetched", self.versions)

    @cached_property
    def can_start_over(self) -> bool:
        """Whether the cursor may have been overwritten with a count while this was sent (3.0.0 to 6.0.0)."""
        return behaves("cursor-overwritten", self.versions)

    @property
    def watched(self) -> Recorded | None:
        """The recording, where it covers everything from before the first batch until now; None elsewhere."""
        return self.recorded if self.recorded is not None and self.recorded.complete else None

    @property
    def may_have_started_over(self) -> bool:
        """Whether people may have been mailed twice by an overwritten cursor: a complete recording tells."""
        return self.can_start_over if self.watched is None else self.watched.started_over

    @cached_property
    def cut_first(self) -> bool:
        """Whether batches may have been cut before ineligible people were filtered out (2.1.0 to 3.0.0)."""
        return behaves("batch-cut-before-filter", self.versions)

    @cached_property
    def arbitrary(self) -> BitMap:
        """People about whom an arbitrary one of their subscriptions may have decided (M12, 2.1.0 to 3.0.0)."""
        several = self.cut_first and len(self.campaign.lists) > 1
        return self.audience.mixed if several else self.audience.now - self.audience.now

    @cached_property
    def ends_early(self) -> bool:
        """Whether it may be called finished before everybody was fetched (M3, M4: up to 4.1.0)."""
        early = ("batch-cut-before-filter", "finished-while-draining", "sent-counts-fetched")
        return any(behaves(name, self.versions) for name in early)

    # -- plain numbers -------------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether a server ever picked it up or counted a mail."""
        return self.campaign.started_at is not None or self.campaign.sent > 0

    @property
    def ended(self) -> bool:
        """Whether it is called finished."""
        return self.campaign.status in ENDED

    @property
    def slack(self) -> int:
        """People by whom a clean finish may be out: one per worker."""
        return self.settings.concurrency

    @cached_property
    def then(self) -> Settings:
        """The settings as they were when it was sent, as far as a log shows that they were not today's.

        Where it only bounds them they are the largest that they can have been.
        """
        log = self.recorded
        batch, rate = self.settings.batch_size, self.settings.message_rate
        if log and log.batches and not log.batches.fits(batch):
            batch = log.batches.most if log.batches.same else max(batch, log.batches.most)
        if log and log.outpaced:
            rate = max(rate, math.ceil(log.outpaced.counted / log.outpaced.seconds / self.settings.concurrency))
        return replace(self.settings, batch_size=batch, message_rate=rate)

    @cached_property
    def flush(self) -> int:
        """The most mails that one count of `sent` can hold: at today's rate, or a faster one that a recording saw."""
        seen = self.recorded.meaning.timeline.paces if self.recorded else ()
        return max(self.then.flush, *(int(SCAN_SECONDS * pace.per_second) for pace in seen), 0)

    @property
    def gap(self) -> int:
        """to_send - sent, in listmonk's own numbers; negative where more was sent than counted."""
        return self.campaign.to_send - self.campaign.sent

    @cached_property
    def blocked_then(self) -> int:
        """People on its lists, not unsubscribed, who may have been blocklisted when it was sent, and are today.

        Versions to 3.0.0 count them in to_send. Whoever was blocklisted after its end, by the date, explains no gap.
        """
        audience = self.audience
        return len(audience.blocked_undated) + len(audience.blocked_since & audience.left_during)

    @cached_property
    def unexplained_gap(self) -> int:
        """The gap without the people that versions to 3.0.0 count although they are blocklisted (M13, assumed).

        Each pick-up counts anew, so only where every version that may have sent it does so.
        """
        if all(behaves("to-send-counts-blocklisted", version) for version in self.versions):
            return max(0, self.gap - self.blocked_then) if self.gap > 0 else self.gap
        return self.gap

    @cached_property
    def shortfall(self) -> int:
        """The unexplained gap, and whoever was in the audience without being counted in the last `to_send`."""
        counted = len(self.audience.sure) + len(self.audience.left_during)
        return max(0, self.unexplained_gap) + max(0, counted - self.campaign.to_send)
