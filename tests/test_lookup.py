"""Finding the campaign that a person names, in a real database."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.errors import UsageError
from listmonk_doctor.listmonk.lookup import find_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Cursor

ROWS = (
    (7, "00000000-0000-4000-8000-000000000007", "Spring edition"),
    (8, "00000000-0000-4000-8000-000000000008", "Spring edition, again"),
    (9, "00000000-0000-4000-8000-000000000009", "100% off_season"),
    (10, "00000000-0000-4000-8000-000000000010", "7"),
    (11, "00000000-0000-4000-8000-000000000011", "Twin"),
    (12, "00000000-0000-4000-8000-000000000012", "Twin"),
    (13, "00000000-0000-4000-8000-000000000013", "100X offXseason"),
    *((20 + each, str(uuid.UUID(int=each)), f"Weekly {each}") for each in range(7)),
)


@pytest.fixture
def cursor(empty_db: str) -> Iterator[Cursor[Any]]:
    """Give a cursor on a table of campaigns with the columns that are looked at."""
    with psycopg.connect(empty_db, autocommit=True) as conn, conn.cursor() as cur:
        cur.execute("CREATE TABLE campaigns (id serial PRIMARY KEY, uuid uuid, name text, status text DEFAULT 'draft')")
        cur.executemany("INSERT INTO campaigns (id, uuid, name) VALUES (%s, %s, %s)", ROWS)
        yield cur


@pytest.mark.parametrize(
    ("wanted", "campaign", "grade"),
    [
        ("7", 7, 1),
        ("00000000-0000-4000-8000-000000000009", 9, 2),
        ("Spring edition", 7, 3),
        ("again", 8, 4),
        ("AGAIN", 8, 4),
        ("100%", 9, 4),
        ("off_", 9, 4),
        (" Spring edition ", 7, 3),
    ],
)
def test_an_id_beats_a_uuid_beats_a_name_beats_a_part(
    cursor: Cursor[Any], wanted: str, campaign: int, grade: int
) -> None:
    """The name "7" does not hide campaign 7, and % and _ mean themselves."""
    found = find_campaign(cursor, wanted)
    assert (found.id, found.grade) == (campaign, grade)


def test_an_unclear_name_lists_the_candidates(cursor: Cursor[Any]) -> None:
    """Two campaigns of one name are told apart by their ids."""
    with pytest.raises(UsageError) as caught:
        find_campaign(cursor, "Twin")
    assert "2 campaigns" in caught.value.message
    assert '12 "Twin" (draft), 11 "Twin" (draft)' in caught.value.hint


def test_no_more_than_five_candidates_are_listed(cursor: Cursor[Any]) -> None:
    """The rest is counted."""
    with pytest.raises(UsageError) as caught:
        find_campaign(cursor, "Weekly")
    assert caught.value.hint.count("(draft)") == 5
    assert "and 2 more" in caught.value.hint


@pytest.mark.parametrize("wanted", ["nothing like it", "99999999999999999999", "'; DROP TABLE campaigns; --", "  "])
def test_what_names_nothing_is_wrong_usage(cursor: Cursor[Any], wanted: str) -> None:
    """Neither a huge number nor SQL does any harm."""
    with pytest.raises(UsageError):
        find_campaign(cursor, wanted)
    assert cursor.execute("SELECT count(*) FROM campaigns").fetchone() == (len(ROWS),)


def test_a_change_is_not_made_by_a_name(cursor: Cursor[Any]) -> None:
    """The hint holds the id; id and uuid will do."""
    with pytest.raises(UsageError) as caught:
        find_campaign(cursor, "again", exactly=True)
    assert "use its id: 8" in caught.value.hint
    assert find_campaign(cursor, "8", exactly=True).id == 8
    assert find_campaign(cursor, ROWS[1][1], exactly=True).id == 8
