"""Owns filling a campaign's timeline with the versions that the table's pages still hold and the log does not."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import RefusedError
from listmonk_doctor.timeline.model import Gap, RowVersion
from listmonk_doctor.timeline.wal.history import LOST
from listmonk_doctor.timeline.wal.rows import EPOCH
from listmonk_doctor.timeline.wal.table import ANOTHER_WAY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from listmonk_doctor.timeline.model import Timeline
    from listmonk_doctor.timeline.wal.leftover import Leftover

UNDATED: Final = "the table's pages keep what the row was, but not when it was written"
_ROUND: Final = 1 << 32


def filled(begun: Timeline, leftovers: Sequence[Leftover], live: int) -> Timeline | None:
    """Return a timeline with the leftovers that it lacks; None where it has no version even then.

    `live` is the transaction of the row as SELECT gives it. Leftovers that replaced each other, or that a version of
    the log replaced, stand where they belong. Others are put in by the order of their transactions' numbers: that of
    the commits for all that listmonk writes, of which each write is a transaction of its own. Where the log or
    `updated_at` speak against it they are left out. Raises RefusedError where log and pages tell two things of one
    version.
    """
    _agree(begun, leftovers)
    seen = {each.xmin: each for each in leftovers if not each.passing}
    passing = {each.xmin: each.by for each in leftovers if each.passing and each.by != each.xmin}
    follows = {xmin: _final(each.by, passing) for xmin, each in seen.items()}
    order = list(begun.versions)
    told = {int(each.xmin) for each in order}
    for run in _runs({xmin: each for xmin, each in seen.items() if xmin not in told}, follows):
        _insert(order, run, follows, live)
    if not order:
        return None
    versions = _bounded(_linked(order, seen, follows), begun.ended)
    if int(versions[-1].xmin) == live:
        versions[-1] = replace(versions[-1], until=max(versions[-1].until, begun.ended))
    kept = [gap for gap in begun.gaps if gap.because != LOST or int(versions[-1].xmin) != live]
    blind = [list(each) for dated, each in groupby(versions, key=lambda one: one.dated) if not dated]
    gaps = [*kept, *(Gap(each[0].after, each[-1].before, UNDATED) for each in blind)]
    began = versions[0].after
    return replace(begun, began=began, versions=tuple(versions), gaps=tuple(sorted(gaps, key=lambda gap: gap.start)))


def _agree(begun: Timeline, leftovers: Sequence[Leftover]) -> None:
    """Raise RefusedError where the log and the pages tell two things of one version."""
    told = {each.xmin: each for each in begun.versions}
    for each in leftovers:
        same = told.get(str(each.xmin))
        if same is not None and not each.passing and _columns(same) != _columns(_version(each)):
            raise RefusedError(
                f"The log and the table's pages tell two things of one version of campaign {begun.campaign_id}.",
                hint=ANOTHER_WAY,
            )


def _columns(of: RowVersion) -> tuple[object, ...]:
    return (of.status, of.sent, of.to_send, of.cursor, of.ceiling, of.started_at, of.updated_at)


def _final(by: int, passing: dict[int, int]) -> int:
    """Return the transaction whose version stayed, of one that may have replaced its own version further."""
    for _ in range(len(passing)):
        by = passing.get(by, by)
    return by


def _runs(new: dict[int, Leftover], follows: dict[int, int]) -> list[list[Leftover]]:
    """Return leftovers that replaced each other as runs, in order; the run that ended last comes first."""
    before = {follows[xmin]: each for xmin, each in new.items()}
    runs = []
    for xmin, each in new.items():
        if follows[xmin] in new:
            continue
        run = [each]
        while (earlier := before.get(run[0].xmin)) is not None and len(run) < len(new):
            run.insert(0, earlier)
        runs.append(run)
    return sorted(runs, key=lambda run: max(_age(run[-1].xmin, other) for other in new))


def _age(xmin: int, other: int) -> int:
    """Return by how many numbers a transaction is older than another; below 0 where it is younger."""
    age = (other - xmin) % _ROUND
    return age if age < _ROUND // 2 else age - _ROUND


def _insert(order: list[RowVersion], run: Sequence[Leftover], follows: dict[int, int], live: int) -> None:
    """Put a run where it belongs; nowhere where that is not known."""
    by = follows[run[-1].xmin]
    place = next((at for at, each in enumerate(order) if int(each.xmin) == by), None)
    sure = place is not None
    if place is None:
        later = (at for at, each in enumerate(order) if _age(run[-1].xmin, int(each.xmin)) > 0)
        place = next(later, len(order))
        if place == len(order) and run[-1].xmin != live:
            return  # nothing follows the row as it is now
    made = [_version(each) for each in run]
    behind = order[place] if place < len(order) else None
    ahead = order[place - 1] if place else None
    if behind is not None and (behind.linked or (ahead and follows.get(int(ahead.xmin)) == int(behind.xmin))):
        return  # it is known what came before that one, and it is another
    if sure or (_in_time(made[-1], behind) and _in_time(ahead, made[0])):
        order[place:place] = made


def _in_time(first: RowVersion | None, second: RowVersion | None) -> bool:
    """Tell whether one version can be older than another, by what both say of their time."""
    if first is None or second is None:
        return True
    touched = first.updated_at is None or second.updated_at is None or first.updated_at <= second.updated_at
    return touched and not (_known(first) and _known(second) and first.before > second.before)


def _known(version: RowVersion) -> bool:
    return version.dated and version.before > EPOCH


def _version(left: Leftover) -> RowVersion:
    """Return a leftover as a version that is not linked; one whose commit is not known begins with the epoch."""
    at, values = left.at or EPOCH, left.values
    return RowVersion(
        at,
        at,
        at,
        values["status"],
        values["sent"],
        values["to_send"],
        values["last_subscriber_id"],
        values["max_subscriber_id"],
        values["started_at"],
        values["updated_at"],
        str(left.xmin),
        "page",
        None,
        linked=False,
    )


def _linked(order: list[RowVersion], seen: dict[int, Leftover], follows: dict[int, int]) -> list[RowVersion]:
    """Return the versions with what is known of which replaced which."""
    result: list[RowVersion] = []
    for each in order:
        xmin = int(each.xmin)
        linked = follows.get(int(result[-1].xmin)) == xmin if result else each.source == "page" and seen[xmin].inserted
        result.append(replace(each, linked=each.linked or linked))
    return result


def _bounded(order: Sequence[RowVersion], now: datetime) -> list[RowVersion]:
    """Return the versions with the bounds of their commits, where those are not known.

    A version is younger than what it holds in `updated_at` and `started_at`, and than those before it; it is not
    younger than those behind it.
    """
    by, upper = now, []
    for each in reversed(order):
        by = min(by, each.before) if _known(each) else by
        upper.append(by)
    after, result = EPOCH, []
    for each, before in zip(order, reversed(upper), strict=True):
        if _known(each):
            after = max(after, each.before)
            result.append(each)
            continue
        after = min(max(after, each.updated_at or EPOCH, each.started_at or EPOCH), before)
        result.append(replace(each, after=after, before=before, until=before))
    return [
        replace(each, until=behind.before if each.source == "page" and behind.linked and behind.dated else each.until)
        for each, behind in zip(result, [*result[1:], result[-1]], strict=True)
    ]
