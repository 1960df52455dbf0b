"""Owns the id sets of one campaign: who is in its audience, who was, who is proved to have been mailed.

Ids live in Roaring bitmaps only; no list of ids is ever made of Python numbers.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property

from pyroaring import BitMap


def upto(ids: BitMap, last: int) -> BitMap:
    """Return the members <= last."""
    return between(ids, -1, last)


def above(ids: BitMap, first: int) -> BitMap:
    """Return the members > first."""
    return between(ids, first, int(ids.max())) if ids else BitMap()


def between(ids: BitMap, low: int, high: int) -> BitMap:
    """Return the members with low < id <= high."""
    start, end = max(0, low + 1), min(high, 0xFFFFFFFF) + 1
    return ids & BitMap(range(start, end)) if start < end else BitMap()


def count_between(ids: BitMap, low: int, high: int) -> int:
    """Return how many members have low < id <= high."""
    start, end = max(0, low + 1), min(high, 0xFFFFFFFF) + 1
    return int(ids.range_cardinality(start, end)) if start < end else 0


def count_upto(ids: BitMap, last: int) -> int:
    """Return how many members are <= last: the rank of that id."""
    return int(ids.rank(last)) if last >= 0 else 0


def at_rank(ids: BitMap, rank: int) -> int:
    """Return the id at a rank (1 is the first); 0 for ranks below 1, the last id for ranks above the end."""
    if rank < 1 or not ids:
        return 0
    return int(ids[min(rank, len(ids)) - 1])


@dataclass(frozen=True)
class Audience:
    """A campaign's audience in sets of subscriber ids, by listmonk's rules and by what dates are worth.

    now         in the audience today
    sure        of those, in the audience at the start for certain
    undated     of those, perhaps in the audience at the start (their subscription changed since)
    newcomers   of those, not in the audience at the start (subscribed since)
    left        not in the audience today, subscription changed since the start: perhaps in it at the start
    left_during the part of `left` whose change lies between start and the campaign's last recorded change
    blocked_since  blocklisted with a date after the start: perhaps in it at the start
    blocked_undated  blocklisted without a usable date: perhaps in it at the start
    mixed       of those now, people with another subscription on these lists that is not eligible
    fetchable   whoever counts when a version before 4.0.0 cuts a batch (empty for later versions)
    reached     proved to have been mailed by bounces, views or clicks after the start

    What follows from these sets is worked out once: it is asked for at each of a thousand batch boundaries.
    """

    now: BitMap
    sure: BitMap
    undated: BitMap
    newcomers: BitMap
    left: BitMap
    left_during: BitMap
    blocked_since: BitMap
    blocked_undated: BitMap
    mixed: BitMap
    fetchable: BitMap
    reached: BitMap

    @cached_property
    def members(self) -> BitMap:
        """In the audience today and, for certain or perhaps, at the start."""
        return self.sure | self.undated

    @cached_property
    def departed(self) -> BitMap:
        """Perhaps in the audience at the start, and not today (deleted people are in no set)."""
        return self.left | self.blocked_since | self.blocked_undated

    @cached_property
    def possible(self) -> BitMap:
        """Everybody visible who may have been in the audience at the start."""
        return self.members | self.departed

    @cached_property
    def estimate(self) -> BitMap:
        """The audience at the start if every date is taken at its word."""
        return self.members | self.left | self.blocked_since

    def digest(self) -> str:
        """Return the SHA-256 of today's audience: the ids ascending, four bytes each, in network order."""
        ids = self.now.to_array()
        if sys.byteorder == "little":
            ids.byteswap()
        return hashlib.sha256(ids.tobytes()).hexdigest()


def classify(  # noqa: PLR0913  (one argument per class of the pass)
    *,
    sure: BitMap,
    undatable: BitMap,
    joined: BitMap,
    left_since: BitMap,
    left_during: BitMap,
    never: BitMap,
    fetchable: BitMap,
    blocked: BitMap,
    blocked_since: BitMap,
    blocked_during: BitMap,
    reached: BitMap,
) -> Audience:
    """Join the classes of single subscriptions into sets of people; one person may have several subscriptions."""
    now = (sure | undatable | joined) - blocked
    surely = sure - blocked
    perhaps = (undatable | left_since) & now - surely
    once = sure | undatable | left_since
    left = left_since - now - blocked
    blocked_members = blocked & once
    return Audience(
        now=now,
        sure=surely,
        undated=perhaps,
        newcomers=now - surely - perhaps,
        left=left,
        left_during=(left & left_during) | (blocked_members & blocked_during),
        blocked_since=blocked_members & blocked_since,
        blocked_undated=blocked_members - blocked_since,
        mixed=now & (left_since | never),
        fetchable=fetchable,
        reached=reached,
    )
