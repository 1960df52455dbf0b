"""Owns how a campaign that a person names is found: exact id, then uuid, then exact name, then a part of the name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.errors import UsageError

if TYPE_CHECKING:
    from psycopg import Cursor

MOST_CANDIDATES: Final = 5
"""How many campaigns an answer to an unclear name lists."""

_STATEMENT: Final = """
SELECT id, uuid::text, name, status::text,
       CASE WHEN id::text = %(wanted)s THEN 1
            WHEN uuid::text = lower(%(wanted)s) THEN 2
            WHEN name = %(wanted)s THEN 3
            ELSE 4 END AS grade
  FROM campaigns
 WHERE id::text = %(wanted)s
    OR uuid::text = lower(%(wanted)s)
    OR position(lower(%(wanted)s) IN lower(name)) > 0
 ORDER BY grade, id DESC
 LIMIT 50
"""
"""position() takes the text as it is, so that % and _ in a name mean themselves. Newest campaigns come first."""


@dataclass(frozen=True, slots=True)
class Found:
    """A campaign that was found; `grade` says by what: 1 id, 2 uuid, 3 exact name, 4 a part of the name."""

    id: int
    uuid: str
    name: str
    status: str
    grade: int

    def __str__(self) -> str:
        """Return the campaign as a person would be told of it."""
        return f'{self.id} "{self.name}" ({self.status})'


def _listed(found: list[Found]) -> str:
    """Return some campaigns in one line, and how many more there are."""
    more = len(found) - MOST_CANDIDATES
    rest = f" and {more} more" if more > 0 else ""
    return ", ".join(str(each) for each in found[:MOST_CANDIDATES]) + rest


def _recent(cur: Cursor[Any]) -> list[Found]:
    """Return the newest campaigns, for a hint."""
    cur.execute(
        "SELECT id, uuid::text, name, status::text, 4 FROM campaigns ORDER BY id DESC LIMIT %s",
        [MOST_CANDIDATES],
    )
    return [Found(*row) for row in cur.fetchall()]


def find_campaign(cur: Cursor[Any], wanted: str, *, exactly: bool = False) -> Found:
    """Return the one campaign that `wanted` names: by id, else by uuid, else by exact name, else by a part of it.

    With `exactly` only an id or a uuid will do (what is written must not depend on a name). Letter case counts in
    an exact name, not in a part. The cursor must see listmonk's tables on its search_path and give tuples.
    Raises UsageError where there is none or more than one, with up to five candidates in the hint.
    """
    wanted = wanted.strip()
    if not wanted:
        raise UsageError("The campaign's name is empty.", hint="Give its id, its uuid, its name or a part of the name.")
    cur.execute(_STATEMENT, {"wanted": wanted})
    found = [Found(*row) for row in cur.fetchall()]
    if not found:
        recent = _recent(cur)
        hint = f"The newest campaigns: {_listed(recent)}." if recent else "This listmonk has no campaigns."
        raise UsageError(f'There is no campaign "{wanted}".', hint=hint)
    best = [each for each in found if each.grade == found[0].grade]
    if len(best) > 1:
        raise UsageError(
            f'"{wanted}" names {len(best)} campaigns{" or more" if len(found) == 50 else ""}.',  # noqa: PLR2004
            hint=f"Use the id: {_listed(best)}.",
        )
    if exactly and best[0].grade > 2:  # noqa: PLR2004 - 1 id, 2 uuid
        raise UsageError(
            f'A change is not made by a name, and "{wanted}" is one.',
            hint=f"If campaign {best[0]} is meant, use its id: {best[0].id}.",
        )
    return best[0]
