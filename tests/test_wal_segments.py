"""Holds the reader of the log to its segments: recycled, in a folder, missing, cut, foreign or damaged ones."""

from __future__ import annotations

import itertools
import random
import shutil
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.errors import PrivilegeError, RefusedError, UsageError
from listmonk_doctor.timeline.wal import history, segments
from listmonk_doctor.timeline.wal.shelf import FolderShelf, ServerShelf, may_read
from listmonk_doctor.timeline.wal.table import Table, read_table
from tests.support.log_world import Edits, Witness, read, serve, told
from tests.test_wal_history import WRITE, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg import Connection, Cursor

    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.timeline.wal.history import Log


@pytest.fixture(scope="module")
def shipped() -> Iterator[Server]:
    """One server as it is shipped, for this module."""
    with serve({}) as server:
        yield server


@pytest.fixture
def conn(shipped: Server) -> Iterator[Connection[Any]]:
    """Give a connection to a database with campaigns in it."""
    with fresh(shipped) as conn:
        yield conn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an empty folder for segments."""
    made = tmp_path / "archive"
    made.mkdir()
    return made


def archive(server: Server, folder: Path) -> list[Path]:
    """Copy the server's log into a folder, and return the segments that hold something, in order."""
    source = next(server.folder.rglob("pg_wal"))
    for each in source.iterdir():
        if each.is_file():
            shutil.copy(each, folder)
    return sorted(each for each in folder.iterdir() if len(each.name) == 24)


def written(conn: Connection[Any], count: int) -> Witness:
    """Update a campaign some times, and return the witness of it."""
    witness = Witness(conn)
    for number in range(count):
        witness.run(WRITE.format(f"sent = {number}"), campaign=witness.ids[0])
    return witness


def test_recycled_segments_are_read(conn: Connection[Any]) -> None:
    """What a checkpoint has renamed for later use still tells its part of the history, by its own first page."""
    witness = Witness(conn)
    campaign = witness.ids[0]
    for number in range(4):
        for _ in range(5):
            witness.run(WRITE.format(f"sent = sent + {number}"), campaign=campaign)
        witness.run("SELECT pg_switch_wal()")
    for _ in range(2):
        witness.run("CHECKPOINT", WRITE.format("sent = sent + 1"), campaign=campaign)
    log = read(conn, [campaign])
    assert log.reach.recycled > 0
    witness.assert_told(log, campaign)


def test_what_follows_a_gap_in_the_log_is_not_linked(conn: Connection[Any], shipped: Server, folder: Path) -> None:
    """A segment that is missing costs its versions only; the first one behind it says that some may be missing."""
    witness = Witness(conn)
    campaign = witness.ids[0]
    marks = []
    for _ in range(3):
        for _ in range(4):
            witness.run(WRITE.format("sent = sent + 1"), campaign=campaign)
        marks.append(conn.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchall()[0][0])
        witness.run("SELECT pg_switch_wal()")
        archive(shipped, folder)
        witness.run("CHECKPOINT")
    content = (folder / marks[1]).read_bytes()[:16]
    for each in folder.iterdir():  # the file and what it was recycled as
        if each.is_file() and each.read_bytes()[:16] == content:
            each.unlink()
    log = read(conn, [campaign], FolderShelf(folder))
    versions = log.timelines[campaign].versions
    sent = [version.sent for version in versions[-8:]]
    rows = witness.rows[campaign]
    assert sent == [row[1] for row in (*rows[-12:-8], *rows[-4:])]
    assert [version.linked for version in versions[-8:]] == [True, True, True, True, False, True, True, True]
    assert versions[-5].until == versions[-5].before


def test_pages_are_not_carried_over_a_gap(conn: Connection[Any], shipped: Server, folder: Path) -> None:
    """Behind a gap nothing is made up from what stood on the pages before it: versions are left out, none is wrong."""
    # Rows so long that few fit on a page: their places on it are soon used again.
    conn.execute("UPDATE campaigns SET body = (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 55) AS g)")
    witness = Witness(conn)
    campaign = witness.ids[0]
    witness.run("CHECKPOINT")
    marks = []
    for column in ("sent", "to_send", "sent"):
        for _ in range(12):
            witness.run(WRITE.format(f"{column} = {column} + 1000"), campaign=campaign)
        marks.append(conn.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchall()[0][0])
        witness.run("SELECT pg_switch_wal()")
    archive(shipped, folder)
    (folder / marks[1]).unlink()
    log = read(conn, [campaign], FolderShelf(folder))
    timeline = log.timelines[campaign]
    assert [gap.start for gap in timeline.gaps] == [timeline.last.before]
    rows = [told(version) for version in timeline.versions]
    assert [row for row in rows if row in witness.rows[campaign]][:13] == witness.rows[campaign][:13]
    assert not {row[-1] for row in rows if row not in witness.rows[campaign]} & {
        row[-1] for row in witness.rows[campaign]
    }


def test_a_folder_of_segments_tells_the_same(conn: Connection[Any], shipped: Server, folder: Path) -> None:
    """An archive of the log gives the history that the server gives; files of other names in it do no harm."""
    witness = written(conn, 8)
    archive(shipped, folder)
    (folder / "00000001.history").write_text("1\t0/0\tno reason\n")
    log = read(conn, [witness.ids[0]], FolderShelf(folder))
    witness.assert_told(log, witness.ids[0])
    timeline = log.timelines[witness.ids[0]]
    assert not timeline.gaps
    assert timeline.last.until == timeline.ended == log.reach.newest
    assert log.reach.left_seconds == {witness.ids[0]: None}


def test_a_folder_without_segments_is_told(folder: Path) -> None:
    """A folder that holds no log, or is none, is a usage error."""
    with pytest.raises(UsageError, match="holds no log segments"):
        FolderShelf(folder)
    with pytest.raises(UsageError, match="cannot be read"):
        FolderShelf(folder / "nothing")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cut", "is cut"),
        ("big-endian", "big-endian"),
        ("no log", "is no write-ahead log"),
        ("other server", "is of another server"),
        ("other blocks", "has pages of"),
    ],
)
def test_a_faulty_segment_is_refused(
    conn: Connection[Any], shipped: Server, folder: Path, fault: str, words: str
) -> None:
    """A cut segment, one of a big-endian or another server, one of other pages and what is none: a reason each."""
    written(conn, 1)
    segment = archive(shipped, folder)[0]
    raw = bytearray(segment.read_bytes())
    if fault == "cut":
        del raw[-8192:]
    elif fault == "big-endian":
        raw[0], raw[1] = raw[1], raw[0]
    elif fault == "no log":
        raw[:2] = b"PK"
    elif fault == "other server":
        raw[24] ^= 1
    else:
        raw[36:40] = (16384).to_bytes(4, "little")
    segment.write_bytes(raw)
    with pytest.raises(RefusedError, match=words):
        read(conn, [1, 2], FolderShelf(folder))


def test_damaged_bytes_never_give_a_wrong_version(conn: Connection[Any], shipped: Server, folder: Path) -> None:
    """Bytes that fell over anywhere cost versions, but give no wrong one, no endless loop and no other error."""
    witness = written(conn, 30)
    campaign = witness.ids[0]
    name, offset = conn.execute("SELECT * FROM pg_walfile_name_offset(pg_current_wal_lsn())").fetchall()[0]
    archive(shipped, folder)
    whole = (folder / name).read_bytes()
    chance = random.Random(5)  # noqa: S311 - a test's dice
    held = {row[-1]: row for row in witness.rows[campaign]}
    lost = 0
    for _ in range(25):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 40)):
            raw[chance.randrange(40, offset)] ^= 1 << chance.randrange(8)
            raw[offset - chance.randrange(1, 5000)] ^= 1 << chance.randrange(8)
        (folder / name).write_bytes(raw)
        log = read(conn, [campaign], FolderShelf(folder))
        versions = log.timelines[campaign].versions if log.timelines else ()
        here = [version for version in versions if version.xmin in held]
        lost += len(held) - len(here)
        assert all(told(version) == held[version.xmin] for version in here)
    assert lost


def test_a_falsified_layout_is_refused(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the decoded row is not what SELECT gives, nothing is told at all."""
    witness = written(conn, 3)

    def falsified(cursor: Cursor[Any]) -> Table:
        table = read_table(cursor)
        names = {"sent": "to_send", "to_send": "sent"}
        columns = [replace(each, name=names.get(each.name, each.name)) for each in table.layout.attributes]
        return replace(table, layout=replace(table.layout, attributes=tuple(columns)))

    monkeypatch.setattr(history, "read_table", falsified)
    with pytest.raises(RefusedError, match=r"has another (sent|to_send) in it than in its row"):
        read(conn, [witness.ids[0]])


def test_a_role_without_the_privileges_is_told_the_grants(conn: Connection[Any], shipped: Server) -> None:
    """A plain role gets the exact GRANTs, and may read once they are given."""
    conn.execute("CREATE ROLE plain LOGIN")
    conn.execute("GRANT USAGE ON SCHEMA public TO plain")
    conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain")
    witness = written(conn, 4)
    with psycopg.connect(shipped.dsn(conn.info.dbname, user="plain"), autocommit=True) as plain:
        with pytest.raises(PrivilegeError, match="the role plain may not read"):
            read(plain, witness.ids)
        with plain.cursor() as cur:
            why = may_read(cur)
        for each in why.split(": ", 1)[1].split("; "):
            conn.execute(each.encode())
        log = read(plain, [witness.ids[0]])
    witness.assert_told(log, witness.ids[0])


@pytest.mark.parametrize("portion", [8192, 24576])
def test_records_that_cross_portions_are_joined(
    conn: Connection[Any], monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    """However small the portions are in which the log is read, the history is the same."""
    witness = Witness(conn)
    edits = Edits(witness, seed=portion)
    for _ in range(150):
        edits.one()
    monkeypatch.setattr(segments, "PORTION", portion)
    log = read(conn, witness.ids)
    assert not log.notes
    for campaign in witness.ids:
        witness.assert_told(log, campaign)


def test_an_unlogged_table_is_refused(conn: Connection[Any]) -> None:
    """Where the log does not hold the rows, that is told instead of an empty history."""
    conn.execute("CREATE SCHEMA other")
    conn.execute("CREATE UNLOGGED TABLE other.campaigns (LIKE public.campaigns)")
    with snapshot(conn, schema="other", timeout=60.0) as cur, pytest.raises(RefusedError, match="ordinary logged"):
        history.read_logs(cur, ServerShelf(cur), [1])


def test_no_more_segments_are_read_than_allowed(conn: Connection[Any]) -> None:
    """The newest segments are read, as many as asked for, and what is older is not told."""
    witness = Witness(conn)
    campaign = witness.ids[0]
    for _ in range(3):
        witness.run("CHECKPOINT", *[WRITE.format("sent = sent + 1")] * 2, campaign=campaign)
        witness.run("SELECT pg_switch_wal()")
    witness.run("CHECKPOINT")
    for _ in range(3):
        witness.run(WRITE.format("sent = sent + 1"), campaign=campaign)
    told_so_far: list[tuple[int, int]] = []
    log = read(conn, [campaign], limit=1, progress=lambda done, of: told_so_far.append((done, of)))
    assert (log.reach.segments, told_so_far) == (1, [(1, 1)])
    assert [told(version) for version in log.timelines[campaign].versions] == witness.rows[campaign][-3:]
    assert not log.timelines[campaign].versions[0].linked
    assert log.timelines[campaign].paces[0].concurrency > 0


def test_a_branch_that_was_given_up_is_not_read(conn: Connection[Any], shipped: Server, folder: Path) -> None:
    """Even where no history file tells of the fork, the later branch's copy of a segment counts, and none behind it.

    A server that knows that it is on the earlier branch reads that one.
    """
    witness = written(conn, 5)
    campaign = witness.ids[0]
    archive(shipped, folder)
    name = conn.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchall()[0][0]
    raw = bytearray((folder / name).read_bytes())
    (folder / f"00000002{name[8:]}").write_bytes(raw)
    whole = bytes(raw)
    raw[8:16] = (int.from_bytes(raw[8:16], "little") + len(raw)).to_bytes(8, "little")
    (folder / f"{int(name, 16) + 1:024X}").write_bytes(raw)
    shelf = FolderShelf(folder)
    with conn.cursor() as cur:
        table = read_table(cur)
    assert segments.held(shelf, table.system, table.major, None)[-1].name == f"00000002{name[8:]}"
    (folder / f"00000002{name[8:]}").write_bytes(whole[:8192] + bytes(len(raw) - 8192))
    witness.assert_told(read(conn, [campaign], shelf), campaign)


def test_reading_while_the_server_writes(conn: Connection[Any], shipped: Server) -> None:
    """Segments that are written, renamed and recycled meanwhile: each history is true and ends with the row of then."""
    witness = Witness(conn)
    campaign = witness.ids[0]
    stop = threading.Event()

    def write() -> None:
        update = WRITE.format("sent = sent + 1")
        # A checkpoint may take away the segment with the row of now: it waits with another row in the next one.
        steps = [*[update] * 8, "SELECT pg_switch_wal()", "CHECKPOINT", *[update] * 7, "SELECT pg_sleep(0.2)"]
        for step in itertools.cycle(steps):
            if stop.is_set():
                break
            witness.run(step, campaign=campaign)

    logs: list[Log] = []
    writer = threading.Thread(target=write)
    writer.start()
    try:
        with psycopg.connect(shipped.dsn(conn.info.dbname), autocommit=True) as other:
            while writer.is_alive() and (len(logs) < 12 or len(witness.rows[campaign]) < 60):
                logs.append(read(other, [campaign]))
    finally:
        stop.set()
        writer.join()
    rows = witness.rows[campaign]
    assert len(rows) >= 60
    counts = []
    for log in logs:
        if campaign not in log.timelines:
            assert log.notes
            continue
        mine = [told(version) for version in log.timelines[campaign].versions]
        last = rows.index(mine[-1])
        if not log.notes:  # else it says that the row of then is not in the log any more
            counts.append(last)
        joint = [row for row in mine if row in rows]
        assert joint == [row for row in rows[: last + 1] if row in joint]
        for before, version in itertools.pairwise(log.timelines[campaign].versions):
            if version.linked and told(before) in rows:
                assert rows.index(told(version)) == rows.index(told(before)) + 1
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    assert len(counts) > len(logs) / 2
