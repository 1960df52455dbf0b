"""Owns a second way to a campaign's audience: row by row and person by person, slow, and written without the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import Cursor

SETS: Final = (
    *("now", "sure", "undated", "newcomers", "mixed", "fetchable", "reached"),
    *("left", "left_during", "blocked_since", "blocked_undated"),
)
EVIDENCE: Final = ("bounces", "campaign_views", "link_clicks")


class Person(NamedTuple):
    """What one person's subscriptions to a campaign's lists say, and whether and when the person was blocked."""

    eligible: bool
    surely: bool
    """An eligible subscription, made before the start, has not changed since."""
    earlier: bool
    """An eligible subscription was made before the start."""
    moved: bool
    """A subscription that was made before the start has changed since."""
    left: bool
    """One of those is not eligible any more."""
    left_during: bool
    other: bool
    """A subscription that is not eligible was made before the start."""
    blocked: bool
    blocked_since: bool
    blocked_during: bool
    counted: bool
    """A subscription is anything but unsubscribed."""


def before(date: datetime | None, moment: datetime) -> bool:
    """Say whether something was made by a moment; what has no date was."""
    return date is None or date <= moment


def changed(date: datetime | None, moment: datetime) -> bool:
    """Say whether something may have changed after a moment; what has no date may."""
    return date is None or date > moment


def counts(kind: str, optin: str, status: str) -> bool:
    """Say whether a subscription makes its person a member, by the table of listmonk's rules."""
    return {
        ("optin", "double"): status == "unconfirmed",
        ("optin", "single"): False,
        ("regular", "double"): status == "confirmed",
        ("regular", "single"): status != "unsubscribed",
    }[kind, optin]


def person(rows: list[Any], kind: str, start: datetime, end: datetime) -> Person:
    """Return what the rows of one person say: (id, subscription status, made, changed, opt-in, status, changed)."""
    one = [
        (counts(kind, optin, status), before(made, start), changed(last, start), last, status)
        for _, status, made, last, optin, _, _ in rows
    ]
    blocked, since = rows[0][5] == "blocklisted", rows[0][6]
    return Person(
        eligible=any(counted for counted, *_ in one),
        surely=any(counted and early and not moved for counted, early, moved, *_ in one),
        earlier=any(counted and early for counted, early, *_ in one),
        moved=any(early and moved for _, early, moved, *_ in one),
        left=any(not counted and early and moved for counted, early, moved, *_ in one),
        left_during=any(
            not counted and early and moved and before(last, end) for counted, early, moved, last, _ in one
        ),
        other=any(not counted and early for counted, early, *_ in one),
        blocked=blocked,
        blocked_since=blocked and since is not None and since > start,
        blocked_during=blocked and since is not None and start < since <= end,
        counted=any(status != "unsubscribed" for *_, status in one),
    )


def sets_of(people: dict[int, Person]) -> dict[str, set[int]]:
    """Sort people into the sets of an audience, by the names of its fields."""
    found: dict[str, set[int]] = {name: set() for name in SETS}
    for who, each in people.items():
        names = ["fetchable"] if each.counted else []
        if each.blocked:
            if each.earlier or each.left:
                names.append("blocked_since" if each.blocked_since else "blocked_undated")
                names += ["left_during"] if each.blocked_during else []
        elif each.eligible:
            names += ["now", "sure" if each.surely else "undated" if each.moved else "newcomers"]
            names += ["mixed"] if each.other else []
        elif each.left:
            names += ["left", "left_during"] if each.left_during else ["left"]
        for name in names:
            found[name].add(who)
    return found


def plain_audience(cur: Cursor[Any], campaign: int, now: datetime, *, fetchable: bool) -> dict[str, set[int]]:
    """Read one campaign's audience without any of the program's statements; `now` as for `asked`."""
    cur.execute("SELECT type::text, started_at, updated_at FROM campaigns WHERE id = %s", [campaign])
    kind, start, end = cur.fetchall()[0]
    start = start or now
    end = max(end or now, start)
    cur.execute(
        "SELECT s.subscriber_id, s.status::text, s.created_at, s.updated_at, l.optin::text, p.status::text,"
        " p.updated_at"
        " FROM subscriber_lists s JOIN lists l ON l.id = s.list_id JOIN subscribers p ON p.id = s.subscriber_id"
        " WHERE s.list_id IN (SELECT list_id FROM campaign_lists WHERE campaign_id = %s)",
        [campaign],
    )
    rows: dict[int, list[Any]] = {}
    for row in cur.fetchall():
        rows.setdefault(row[0], []).append(row)
    found = sets_of({who: person(mine, kind or "regular", start, end) for who, mine in rows.items()})
    if not fetchable:
        found["fetchable"] = set()
    for table in EVIDENCE:
        cur.execute(f"SELECT subscriber_id, created_at FROM {table} WHERE campaign_id = {campaign:d}".encode())  # noqa: S608
        found["reached"] |= {who for who, seen in cur.fetchall() if who is not None and seen >= start}
    return found
