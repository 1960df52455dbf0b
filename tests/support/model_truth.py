"""Owns what really happened in a generated history, and which of the named assumptions it broke."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from tests.support.truth import TruthOf

if TYPE_CHECKING:
    from tests.engine_model import Settings
    from tests.support.model_history import History


def visible(history: History) -> frozenset[int]:
    """Return of whom the database still tells that they may have been in the audience at the start.

    By listmonk's dates: subscribed before the start, and eligible now, changed or blocklisted since, or
    blocklisted without a date.
    """
    lists, start = history.lists, history.sender.row.started_at or history.sender.now
    return frozenset(
        person
        for (person, each), held in lists.subscriptions.items()
        if held.created <= start and (lists.counts(each, held.status) or held.updated > start)
    )


def dated(history: History) -> frozenset[int]:
    """Return whose coming back dates from after the start, whose going from the time of the sending, or from never."""
    lists, row = history.lists, history.sender.row
    start, end = row.started_at or 0.0, row.updated_at or 0.0
    blocklisted, eligible = lists.blocklisted(), lists.eligible()

    def tells(person: int) -> bool:
        if person in eligible:
            return any(start < held.updated for _, held in lists.of(person))
        if person in blocklisted:
            return not end < lists.people[person].updated
        return any(start < held.updated <= end for _, held in lists.of(person))

    return frozenset(person for person in visible(history) if tells(person))


def unseen(history: History) -> frozenset[int]:
    """Return whose coming or going nothing in the database tells, and no count of `to_send` either.

    In the audience at the start and gone before the last pick-up counted, without a date that tells (deleted,
    undated, or a later change hides it), or looking like a newcomer today; mailed without having been in it, and not
    visible as a newcomer; in the audience today by a change that no date tells.
    """
    sender, campaign = history.sender, history.sender.campaign
    start = campaign.audience_at_start
    if not campaign.counted:
        return frozenset()
    now, seen = history.lists.eligible(), visible(history)
    gone = start - campaign.counted[-1] - dated(history)
    newcomers = {person for person in now - start if person not in seen}
    guests = sender.mails.keys() - start - newcomers - seen
    disguised = {
        person
        for person in (seen & now) - start
        if all(held.updated <= (sender.row.started_at or 0.0) for _, held in history.lists.of(person))
    }
    masked = (start & now) - seen
    return frozenset(gone | guests | disguised | masked)


def undated(history: History) -> frozenset[int]:
    """Return who was in the audience at the start and is blocklisted since, without a date after it."""
    start = history.sender.row.started_at or 0.0
    people = history.lists.people
    blocklisted = history.lists.blocklisted() & history.sender.audience_at_start
    return frozenset(person for person in blocklisted if people[person].updated <= start)


def off_the_grid(history: History) -> bool:
    """Tell whether some batch ended elsewhere than at a multiple of today's batch size in the audience at start."""
    people = sorted(history.sender.audience_at_start)
    size = history.settings.batch_size
    return any(
        (rank := bisect_right(people, last)) % size and rank != len(people) for last, _ in history.sender.fetches
    )


def contradicted(history: History) -> frozenset[str]:
    """Return the named assumptions that this history really broke."""
    sender, campaign = history.sender, history.sender.campaign
    false = set()
    if any(each != history.settings for each in history.used):
        false.add("same-batch-size")
    if history.changed_while_sending or unseen(history) or undated(history):
        false.add("lists-unchanged-while-sending")
    plain = not history.changed_while_sending and "same-batch-size" not in false
    if campaign.dropped or (off_the_grid(history) and plain):
        false.add("no-clean-pause-in-mid-batch")
    if history.stopped > 1 or len([lost for lost in history.stops if lost]) > 1 or history.ragged:
        false.add("stopped-once")
    if campaign.started_over:
        false.add("never-started-over")
    if sender.failed or campaign.unrenderable & campaign.audience_at_start:
        false.add("no-failures")
    if campaign.doubled or campaign.unflushed or campaign.late:
        false.add("no-flush-lost-or-doubled")
    return frozenset(false)


def truth_of(history: History) -> TruthOf:
    """Return what really happened."""
    sender, lists = history.sender, history.lists
    return TruthOf(
        at_start=sender.audience_at_start,
        now=lists.eligible(),
        blocklisted=lists.blocklisted(),
        fetchable=lists.fetchable(),
        mails=dict(sender.mails),
        failed=frozenset(sender.failed - sender.mails.keys()),
        contradicted=contradicted(history),
        named_in_log=sender.campaign.unrenderable,
        sent=sender.row.sent,
        shifted=len(history.changed_while_sending | unseen(history) | undated(history)) * max(1, len(history.stops)),
        unseen=len(unseen(history)),
        doubled=sender.campaign.doubled,
        late=sender.campaign.late,
        workers=max(used.concurrency for used in history.used),
        noise=noise(history),
        mixed=lists.mixed() if sender.server.behaviour.one_list_decides else frozenset(),
        hangs=lists.gone and sender.server.behaviour.gone_list_fails,
        fresh=history.fresh,
        most_lost=max(history.stops, default=0),
        dropped=frozenset(sender.campaign.dropped),
    )


def noise(history: History) -> int:
    """Return by how much workers and a flush were larger under former settings than they are today."""
    today = history.settings

    def size(each: Settings) -> int:
        return each.concurrency + 6 * each.concurrency * each.message_rate

    return max(0, max(size(each) for each in history.used) - size(today))
