"""Tests of the pass over the subscriptions: whoever shares it, and however it is cut, each audience is the same."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from array import array
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import capabilities
from psycopg.pq import PipelineStatus
from pyroaring import BitMap
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.database import sqlfiles
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.recording import recordings
from listmonk_doctor.diagnosis import audiences, chunks, packed
from listmonk_doctor.diagnosis.audiences import asked, read_audiences
from listmonk_doctor.diagnosis.examine import each_figures
from listmonk_doctor.diagnosis.idsets import Audience
from listmonk_doctor.listmonk.facts import read_campaigns
from tests.support.plain_audience import plain_audience
from tests.support.seeds import CEILING, build, named
from tests.support.seeds import seed as seed_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from listmonk_doctor.database.connection import Connection, Cursor

TICK: Final = timedelta(microseconds=1)
DAY: Final = timedelta(days=1)
NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
STARTS: Final = [NOW - 40 * DAY, NOW - 30 * DAY, NOW - 30 * DAY, NOW - 20 * DAY, NOW - 10 * DAY, NOW - DAY]
LISTS: Final = {11: "single", 12: "double", 13: "single", 14: "double", 20_000: "single"}
"""Lists of the generated world, with their opt-in."""
PEOPLE: Final = 600


def moments(chance: random.Random) -> datetime | None:
    """Return a date: none, exactly a start or an end, one tick beside it, or any."""
    near = chance.choice([*STARTS, *(start + timedelta(hours=5) for start in STARTS)])
    return chance.choice([None, near, near - TICK, near + TICK, NOW - timedelta(days=chance.uniform(0, 60)), near])


def world(dsn: str, seed: int, step: int = 3) -> list[int]:
    """Make people, subscriptions, campaigns and evidence by chance, full of edge cases; return the campaigns' ids.

    `step` is the distance between two people's ids.
    """
    build(dsn, "v6.2.0")
    chance = random.Random(seed)  # noqa: S311 - repeatable
    with psycopg.connect(dsn) as conn, conn.cursor() as cur:
        cur.execute("TRUNCATE subscribers, lists, campaigns CASCADE")
        cur.executemany(
            "INSERT INTO lists (id, uuid, name, type, optin) VALUES (%s, gen_random_uuid(), 'L', 'public', %s)",
            list(LISTS.items()),
        )
        people = [7 + step * number for number in range(PEOPLE)]
        cur.executemany(
            "INSERT INTO subscribers (id, uuid, email, name, status, updated_at)"
            " VALUES (%s, gen_random_uuid(), %s, '', %s, %s)",
            [
                (
                    who,
                    f"{who}@example.test",
                    chance.choice(["enabled"] * 4 + ["disabled", "blocklisted"]),
                    moments(chance),
                )
                for who in people
            ],
        )
        cur.executemany(
            "INSERT INTO subscriber_lists (subscriber_id, list_id, status, created_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [
                (who, list_id, chance.choice(["confirmed", "unconfirmed", "unsubscribed"]), *dates(chance))
                for who in people
                for list_id in LISTS
                if chance.random() < 0.4
            ],
        )
        campaigns = list(range(101, 117))
        for number, campaign in enumerate(campaigns):
            start = chance.choice([*STARTS, None])
            end = chance.choice([None, (start or NOW) + timedelta(hours=5), (start or NOW) - DAY, NOW - 5 * DAY])
            cur.execute(
                "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, messenger, type, started_at,"
                " updated_at) VALUES (%s, gen_random_uuid(), 'C', 'S', 'a@example.test', 'B', 'email', %s, %s, %s)",
                [campaign, "optin" if number % 4 == 3 else "regular", start, end],
            )
            mine = chance.sample(sorted(LISTS), number % 4) + ([None] if number % 5 == 0 else [])
            for list_id in mine:
                cur.execute(
                    "INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES (%s, %s, 'L')",
                    [campaign, list_id],
                )
            evidence(cur, chance, campaign, start or NOW, people)
    return campaigns


def dates(chance: random.Random) -> tuple[datetime | None, datetime | None]:
    """Return when a subscription was made and changed: often the same, sometimes in the wrong order."""
    made = moments(chance)
    return (made, made) if chance.random() < 0.4 else (made, moments(chance))


def evidence(
    cur: psycopg.Cursor[Any], chance: random.Random, campaign: int, start: datetime, people: list[int]
) -> None:
    """Add bounces, views and clicks before, at and after a start; some views name nobody."""
    cur.execute("INSERT INTO links (id, uuid, url) VALUES (1, gen_random_uuid(), 'u') ON CONFLICT DO NOTHING")
    for table, columns in (("bounces", ""), ("campaign_views", ""), ("link_clicks", "link_id, ")):
        for _ in range(6):
            who = chance.choice(people) if table == "bounces" else chance.choice([None, *people])
            when = start + chance.choice([-1, 0, 1]) * TICK
            link = "1, " if columns else ""
            cur.execute(
                f"INSERT INTO {table} ({columns}campaign_id, subscriber_id, created_at)"  # noqa: S608
                f" VALUES ({link}%s, %s, %s)".encode(),
                [campaign, who, when],
            )


@pytest.fixture
def cursor(empty_db: str) -> Iterator[Callable[..., tuple[Cursor, list[int]]]]:
    """Give a cursor in a snapshot of a generated world, and its campaigns: `cursor(seed, step)`."""
    opened: list[Any] = []

    def start(seed: int, step: int = 3) -> tuple[Cursor, list[int]]:
        campaigns = world(empty_db, seed, step)
        conn: Connection = psycopg.connect(empty_db, autocommit=True)
        shot = snapshot(conn, schema="public")
        opened.extend((conn, shot))
        return shot.__enter__(), campaigns

    yield start
    conn, shot = opened
    shot.__exit__(None, None, None)
    conn.close()


def together(cur: Cursor, ids: list[int], *, fetchable: bool = True) -> dict[int, Audience]:
    """Read audiences in one pass."""
    campaigns = read_campaigns(cur, ids)
    wanted = [asked(campaigns[each], now=NOW, batch_cut_first=fetchable) for each in ids]
    return dict(read_audiences(cur, wanted))


def same(found: Audience, expected: dict[str, set[int]]) -> None:
    """Say which set of an audience differs."""
    assert {each.name: set(getattr(found, each.name)) for each in fields(Audience)} == expected


def all_same(cur: Cursor, ids: list[int]) -> None:
    """Compare each audience of a pass with what reading row by row gives."""
    found = together(cur, ids)
    assert list(found) == ids
    for campaign in ids:
        same(found[campaign], plain_audience(cur, campaign, NOW, fetchable=True))


@pytest.mark.parametrize("seed", range(8))
def test_a_shared_pass_gives_what_reading_row_by_row_gives(cursor: Any, seed: int) -> None:
    """For regular and opt-in campaigns, one, several or no lists, dates that are missing, equal or a tick apart."""
    cur, ids = cursor(seed)
    all_same(cur, ids)
    expected = [plain_audience(cur, campaign, NOW, fetchable=True) for campaign in ids]
    for name in ("now", "sure", "undated", "newcomers", "left", "left_during", "blocked_since", "mixed", "reached"):
        assert any(each[name] for each in expected), name


@pytest.mark.parametrize("seed", range(3))
def test_a_pass_of_its_own_gives_what_reading_row_by_row_gives(cursor: Any, seed: int) -> None:
    """One campaign is read by a statement of its own, with the same result."""
    cur, ids = cursor(seed)
    for campaign in ids:
        all_same(cur, [campaign])
        (found,) = together(cur, [campaign], fetchable=False).values()
        assert not found.fetchable


def test_the_order_of_the_campaigns_does_not_matter(cursor: Any) -> None:
    """Audiences come in the order asked for, and each is the same whatever came before it."""
    cur, ids = cursor(1)
    for order in (ids[::-1], sorted(ids, key=lambda each: each * 7 % 16)):
        all_same(cur, order)


@pytest.mark.parametrize("number", [130_000, 140_000, 170_000])
@pytest.mark.parametrize("alone", [False, True])
def test_chunks_make_no_difference(cursor: Any, monkeypatch: pytest.MonkeyPatch, number: int, *, alone: bool) -> None:
    """Cut by pages, and by ids where the server is too old for that, the pass gives the same."""
    cur, ids = cursor(2)
    monkeypatch.setattr(chunks, "AT_ONCE", 0)
    monkeypatch.setattr(chunks, "FEW_AT_ONCE", 0)
    monkeypatch.setattr(chunks, "PAGES", 2)
    monkeypatch.setattr(chunks, "IDS", 100)
    monkeypatch.setattr(chunks, "PIECE", 64)
    real = chunks.size(cur)
    monkeypatch.setattr(audiences, "size", lambda _cur: real._replace(server=number))
    ranges = chunks.chunks(cur, real._replace(server=number), sorted(LISTS))
    assert len(ranges) > 3
    assert all(each["by_page"] is (number >= 140_000) and each["by_id"] is (number < 140_000) for each in ranges)
    for wanted in [[each] for each in ids[:6]] if alone else [ids]:
        all_same(cur, wanted)


@pytest.mark.parametrize("every", [False, True])
def test_campaigns_to_one_list_share_chunks_of_it(
    empty_db: str, monkeypatch: pytest.MonkeyPatch, *, every: bool
) -> None:
    """A list that all have in common is read alone, whether or not there are others."""
    ids = world(empty_db, 6)[1::4]
    monkeypatch.setattr(chunks, "AT_ONCE", 0)
    monkeypatch.setattr(chunks, "FEW_AT_ONCE", 0)
    monkeypatch.setattr(chunks, "PAGES", 2)
    with psycopg.connect(empty_db, autocommit=True) as conn:
        conn.execute("UPDATE campaign_lists SET list_id = 12 WHERE campaign_id = ANY(%s) AND list_id > 0", [ids])
        if every:
            conn.execute("DELETE FROM lists WHERE id <> 12")
        with snapshot(conn, schema="public") as cur:
            campaigns = read_campaigns(cur, ids).values()
            assert all(asked(each, now=NOW, batch_cut_first=True).lists == [12] for each in campaigns)
            assert len(chunks.chunks(cur, chunks.size(cur), [12])) > 3
            all_same(cur, ids)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("step", "bits"), [(200_000, 27), (3_500_000, 31)])
def test_ids_up_to_the_last_possible_one_are_read(cursor: Any, step: int, bits: int, *, alone: bool) -> None:
    """Codes reach up to the sign of four bytes; where id and code do not fit into four, eight are used."""
    cur, ids = cursor(3, step)
    assert chunks.size(cur).last_id.bit_length() == bits
    for wanted in [[each] for each in ids[:6]] if alone else [ids]:
        all_same(cur, wanted)


@pytest.mark.parametrize("name", recordings())
def test_the_campaigns_of_each_recording_share_a_pass(incident_db: Callable[..., str], name: str) -> None:
    """Together, and each alone, they have the audience that reading row by row gives."""
    with (
        psycopg.connect(incident_db(name, worse=True), autocommit=True) as conn,
        snapshot(conn, schema="public") as cur,
    ):
        ids = [row[0] for row in cur.execute("SELECT id FROM campaigns ORDER BY id").fetchall()]
        for figures in [*each_figures(cur, ids), *(one for each in ids for one in each_figures(cur, [each]))]:
            audience = figures.audience
            expected = plain_audience(cur, figures.campaign.id, figures.now, fetchable=bool(audience.fetchable))
            same(audience, expected)


def test_a_few_rows_are_read_by_the_index_and_many_by_pages(empty_db: str) -> None:
    """The planner's own estimate decides; a range of pages is read as such and not by the index."""
    world(empty_db, 4)
    with psycopg.connect(empty_db, autocommit=True) as conn:
        conn.execute("ANALYZE subscriber_lists")
        with snapshot(conn, schema="public") as cur:
            table = chunks.size(cur)
            assert table.pages > 3
            assert [each["by_page"] for each in chunks.chunks(cur, table, [11, 12])] == [False]


@pytest.mark.parametrize(
    ("rows", "of", "at_once"),
    [
        (2_000_000, 2_000_000, True),
        (2_000_001, 20_000_000, False),
        (2_000_001, 20_000_011, True),
        (16_000_001, 900_000_000, False),
        (3_000_000, -1, False),
    ],
)
def test_how_many_rows_are_read_at_once(monkeypatch: pytest.MonkeyPatch, rows: int, of: int, *, at_once: bool) -> None:
    """Two million in any case; more only of a list that is a small part of the table, and never without bounds."""
    monkeypatch.setattr(chunks, "_expected", lambda _cur, _lists: rows)
    table = chunks.Size(server=170_000, pages=100_000, rows=of, last_id=5, lists=3)
    ranges = chunks.chunks(None, table, [1])  # type: ignore[arg-type]
    assert (len(ranges) == 1) is at_once
    if not at_once:
        assert [each["first_page"] for each in ranges] == [f"({page},0)" for page in range(0, 100_000, 8_192)]
        assert [each["last_page"] for each in ranges][:-1] == [each["first_page"] for each in ranges][1:]
        assert ranges[-1]["last_page"] == "(4294967295,0)"


def test_the_progress_of_a_pass_is_told(cursor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first chunk and after each, up to all of them."""
    cur, ids = cursor(5)
    monkeypatch.setattr(chunks, "AT_ONCE", 0)
    monkeypatch.setattr(chunks, "PAGES", 2)
    told: list[tuple[int, int]] = []
    for _ in each_figures(cur, ids, progress=lambda done, total: told.append((done, total))):
        pass
    total = told[0][1]
    assert total > 3
    assert told == [(done, total) for done in range(total + 1)]


def told_ahead(dsn: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Connection, Any]:
    """Return a session, and its pass over two ranges: the statement sleeps and divides as the range says."""
    text = b"SELECT 12 / %(by)s AS quotient, pg_sleep(%(seconds)s), %(piece)s"
    monkeypatch.setattr(sqlfiles, "read", lambda _path: text)
    conn: Connection = psycopg.connect(dsn, autocommit=True)
    return conn, lambda cur, *ranges: chunks.packed(cur, "any", {}, ranges, None)


def test_the_server_works_on_the_next_chunk_while_one_is_taken(empty_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves in between cancels it there, by Ctrl-C as well, and the session can go on."""
    conn, read = told_ahead(empty_db, monkeypatch)
    with conn, psycopg.connect(empty_db, autocommit=True) as other:
        for error in (GeneratorExit, KeyboardInterrupt, None):
            began = time.monotonic()
            with contextlib.suppress(*((error,) if error else ())), snapshot(conn, schema="public") as cur:
                with contextlib.closing(read(cur, {"by": 3, "seconds": 0}, {"by": 4, "seconds": 30})) as pieces:
                    assert next(pieces)[0] == 4
                    while (state := at_work(other, conn.info.backend_pid)) != [("active",)]:
                        assert time.monotonic() - began < 20, state
                    if error:
                        raise error
                assert conn.info.transaction_status.name == "INERROR"
            assert time.monotonic() - began < 25  # and not the 30 of the second range
            assert at_work(other, conn.info.backend_pid) == [("idle",)]
            assert conn.execute("SELECT 1").fetchall() == [(1,)]


WAITING: Final = """
import sys, psycopg
from listmonk_doctor.database import sqlfiles
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.diagnosis import chunks
sqlfiles.read = lambda path: b"SELECT pg_sleep(%(seconds)s), %(piece)s"
conn = psycopg.connect(sys.argv[1], autocommit=True)
try:
    with snapshot(conn, schema="public") as cur:
        for piece in chunks.packed(cur, "any", {}, [{"seconds": 0}, {"seconds": 30}, {"seconds": 30}], None):
            print(conn.info.backend_pid, flush=True)
except KeyboardInterrupt:
    print(conn.execute("SELECT 'still there'").fetchall()[0][0])
"""
"""Waits for a chunk, and says whether Ctrl-C left the session of use."""


def test_ctrl_c_while_a_chunk_is_waited_for_cancels_it(empty_db: str) -> None:
    """It ends at the server at once, nothing is written to stderr, and the session is as good as before."""
    with (
        psycopg.connect(empty_db, autocommit=True) as other,
        subprocess.Popen(
            [sys.executable, "-c", WAITING, empty_db], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running,
    ):
        assert running.stdout is not None
        pid, began = int(running.stdout.readline()), time.monotonic()
        while at_work(other, pid) != [("active",)]:
            assert time.monotonic() - began < 20
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        assert running.communicate(timeout=20) == ("still there\n", "")
        began = time.monotonic()
        while left := at_work(other, pid):  # the server takes a moment to see that nobody is there any more
            assert time.monotonic() - began < 10, left


def at_work(other: Connection, pid: int) -> list[Any]:
    """Return what a session does, as another sees it."""
    return other.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall()


@pytest.mark.parametrize("pipeline", [True, False])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_error_in_any_chunk_is_raised_as_it_is(
    empty_db: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, which: int, *, pipeline: bool
) -> None:
    """The chunks before it are given, nothing is said elsewhere, and the session can go on; with an old libpq, too."""
    if not pipeline:
        monkeypatch.setattr(capabilities, "has_pipeline", lambda: False)
    conn, read = told_ahead(empty_db, monkeypatch)
    ranges = [{"by": 0 if number == which else 1, "seconds": 0} for number in range(3)]
    given: list[Any] = []
    with conn:
        with pytest.raises(psycopg.errors.DivisionByZero), snapshot(conn, schema="public") as cur:
            given.extend(piece[0] for piece in read(cur, *ranges))
        assert given == [12] * which
        assert conn.info.pipeline_status is PipelineStatus.OFF
        assert not caplog.records
        assert conn.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize(("command", "passes"), [("scan", 1), ("repair", 2)])
def test_all_suspects_share_one_pass(empty_db: str, monkeypatch: pytest.MonkeyPatch, command: str, passes: int) -> None:
    """A scan reads its suspects once, however many; a repair of all scans first, then reads them once more."""
    build(empty_db, "v6.2.0")
    seed_rows(empty_db, [named(100 + number, "finished", 300, CEILING) for number in range(30)])
    read: list[str] = []
    real = chunks.packed

    def spy(cur: Any, statement: str, *more: Any) -> Any:
        read.append(statement)
        return real(cur, statement, *more)

    monkeypatch.setattr(audiences, "packed", spy)
    result = CliRunner().invoke(app, [command, "--dsn", empty_db])
    assert result.exit_code in (1, 3, 4), result.output
    assert read == ["audience/many.sql"] * passes


def test_no_campaigns_are_no_pass(empty_db: str) -> None:
    """Whoever asks for nobody, or for a campaign that is not there, gets nothing."""
    build(empty_db, "v6.2.0")
    with psycopg.connect(empty_db, autocommit=True) as conn, snapshot(conn, schema="public") as cur:
        assert list(each_figures(cur, [])) == list(each_figures(cur, [999])) == []


CODED: Final = st.dictionaries(st.integers(0, 30), st.sets(st.integers(0, 70_000), min_size=1, max_size=20))


@settings(max_examples=60, deadline=None)
@given(CODED)
def test_packed_ids_come_apart_again(content: dict[int, set[int]]) -> None:
    """Each code has its ids, whether both are packed into four bytes or into eight."""
    for how in (packed.packing(31, 70_000), packed.packing(31, 1 << 30)):
        numbers = array("Q" if how.wide else "I")
        numbers.extend(
            one | code << (packed.WORD if how.wide else how.shift) for code in content for one in content[code]
        )
        if sys.byteorder == "little":
            numbers.byteswap()
        mixing = packed.Mixing(how)
        for part in (numbers[:7], numbers[7:]):
            mixing.put(part.tobytes())
        assert mixing.apart() == {code: BitMap(ids) for code, ids in content.items()}
    assert [packed.packing(31, 70_000).wide, packed.packing(31, 1 << 30).wide] == [False, True]
    assert [packed.packing(32, (1 << 27) - 1).wide, packed.packing(33, (1 << 27) - 1).wide] == [False, True]
    for wide in (True, False):
        mixing = packed.Mixing(packed.Packing(wide=wide, shift=5))
        mixing.put(None)
        assert mixing.apart() == {}
