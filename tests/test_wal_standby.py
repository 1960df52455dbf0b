"""Holds the reader of the log to a hot standby and to its promotion: two real servers, one history."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from listmonk_doctor.timeline.wal import table
from listmonk_doctor.timeline.wal.shelf import FolderShelf
from tests.support.log_world import Witness, read, serve, told
from tests.support.standby import Standby, catch_up, follow, promote
from tests.test_timeline_cli import document, run
from tests.test_wal_history import WRITE, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg import Connection

    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.timeline.wal.history import Log


class Pair(NamedTuple):
    """A primary with its standby, what was seen on the primary since the two parted, and the campaign."""

    server: Server
    standby: Standby
    witness: Witness
    campaign: int

    def write(self, times: int, column: str = "sent") -> None:
        """Update the campaign on the primary."""
        for _ in range(times):
            self.witness.run(WRITE.format(f"{column} = {column} + 1"), campaign=self.campaign)

    def connect(self, role: str = "postgres") -> Connection[Any]:
        """Return a connection to the standby."""
        return psycopg.connect(self.standby.dsn(self.witness.conn.info.dbname, role), autocommit=True)

    def catch_up(self) -> None:
        """Wait until the standby has all that the primary has."""
        catch_up(self.witness.conn, self.standby)

    def told(self, log: Log) -> list[tuple[Any, ...]]:
        """Return the versions of the campaign as the witness writes them down."""
        return [told(version) for version in log.timelines[self.campaign].versions]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Give a primary with a campaign in it, and a standby that follows it."""
    with serve({}) as server, fresh(server) as conn, follow(server) as standby:
        witness = Witness(conn)
        campaign = witness.ids[0]
        witness.run(WRITE.format("sent = 0"), campaign=campaign)  # a copy's log begins when it was copied
        for kept in (witness.rows[campaign], witness.times[campaign]):
            del kept[0]
        yield Pair(server, standby, witness, campaign)


def collect(data: Path, folder: Path) -> None:
    """Copy what lies in a server's folder of its log into another one, as archives do; its own files go first."""
    for each in (data / "pg_wal").iterdir():
        if each.is_file():
            shutil.copy(each, folder)


def lose_the_fork(folder: Path) -> None:
    """Remove the new branch's copy of the segment with the fork, also where it waits under a later name."""
    forked = int((folder / "00000002.history").read_text().split()[1].split("/")[1], 16) >> 24
    for each in folder.iterdir():
        head = each.read_bytes()[:16]
        ours = len(each.name) == 24 and each.name != f"{1:08X}{forked:016X}"
        if ours and int.from_bytes(head[8:16], "little") == forked << 24:
            each.unlink()


def test_a_standby_tells_what_the_primary_wrote(pair: Pair) -> None:
    """The versions are those that were seen on the primary, to the one that SELECT on the standby gives."""
    pair.write(8)
    pair.witness.run("BEGIN", WRITE.format("sent = 99999"), "ROLLBACK", campaign=pair.campaign)
    pair.write(2)
    pair.catch_up()
    with pair.connect() as conn:
        log = read(conn, [pair.campaign])
        assert not log.notes
        pair.witness.assert_told(log, pair.campaign)
        timeline = log.timelines[pair.campaign]
        assert not timeline.gaps
        assert timeline.last.until == timeline.ended <= pair.witness.clock()


def test_what_is_not_replayed_yet_is_not_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that the standby has received and not replayed are left out, and its time stands still with them."""
    pair.write(3)
    pair.catch_up()
    before = list(pair.witness.rows[pair.campaign])
    with pair.connect() as conn:
        conn.execute("SELECT pg_wal_replay_pause()")
        time.sleep(0.3)
        pair.write(4)
        end = pair.witness.conn.execute("SELECT pg_current_wal_flush_lsn()").fetchall()[0][0]
        received = "SELECT pg_last_wal_receive_lsn() >= %s::pg_lsn"
        deadline = time.monotonic() + 20
        while conn.execute(received, (end,)).fetchall() != [(True,)]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.5)
        with monkeypatch.context() as patch:
            patch.setattr(table, "_LAG", 0.4)
            log = read(conn, [pair.campaign])
        assert [each for each in log.notes if "is a standby and holds what the primary wrote up to" in each]
        assert pair.told(log) == before
        # What the primary did since is unknown: a log that reached over it would call a recording's gap covered.
        assert log.timelines[pair.campaign].ended <= pair.witness.times[pair.campaign][len(before)][1]
        conn.execute("SELECT pg_wal_replay_resume()")
        pair.catch_up()
        log = read(conn, [pair.campaign])
    pair.witness.assert_told(log, pair.campaign)


def test_restartpoints_recycle_and_nothing_is_misread(pair: Pair) -> None:
    """Segments that the standby has received and set aside for later use are read by what they hold."""
    for _ in range(4):
        pair.write(5)
        pair.witness.run("SELECT pg_switch_wal()")
    for _ in range(2):
        pair.catch_up()  # without a slot a primary keeps nothing for a standby that is late
        pair.witness.run("CHECKPOINT")
        pair.write(1)
        pair.catch_up()
        with pair.connect() as conn:
            conn.execute("CHECKPOINT")
    with pair.connect() as conn:
        log = read(conn, [pair.campaign])
    assert log.reach.recycled > 0
    assert not log.notes
    pair.witness.assert_told(log, pair.campaign)


def test_the_history_goes_on_over_a_promotion(pair: Pair) -> None:
    """The new primary tells what it replayed and what it wrote, linked; not what the old one wrote after the fork."""
    pair.write(4)
    pair.catch_up()
    promote(pair.standby)
    before = list(pair.witness.rows[pair.campaign])
    pair.write(5, "to_send")
    with pair.connect() as conn:
        new = Witness(conn)
        new.rows[pair.campaign], new.times[pair.campaign] = before, pair.witness.times[pair.campaign][: len(before)]
        for _ in range(4):
            new.run(WRITE.format("sent = sent + 7"), campaign=pair.campaign)
        log = read(conn, [pair.campaign])
        new.assert_told(log, pair.campaign)
        new.run("SELECT pg_switch_wal()", "CHECKPOINT")
        new.run(WRITE.format("sent = sent + 7"), campaign=pair.campaign)
        new.run("SELECT pg_switch_wal()", "CHECKPOINT")
        new.run(WRITE.format("sent = sent + 7"), campaign=pair.campaign)
        new.run("CHECKPOINT")
        log = read(conn, [pair.campaign])
        assert log.reach.recycled > 0
        new.assert_told(log, pair.campaign)
    # And the old one, which goes on, has its own past.
    pair.witness.assert_told(read(pair.witness.conn, [pair.campaign]), pair.campaign)


@pytest.mark.parametrize("fork", ["its copy of the forked segment", "the history file alone"])
def test_a_folder_with_both_branches_tells_each_server_its_own(pair: Pair, tmp_path: Path, fork: str) -> None:
    """Out of one folder with segments of both, history files and partial ones, each server has its own past only."""
    pair.write(4)
    pair.catch_up()
    promote(pair.standby)
    shared = len(pair.witness.rows[pair.campaign])
    with pair.connect() as conn:
        new = Witness(conn)
        rows = new.rows[pair.campaign] = pair.witness.rows[pair.campaign][:shared]
        new.times[pair.campaign] = pair.witness.times[pair.campaign][:shared]
        for _ in range(2):
            pair.write(5, "to_send")
            pair.witness.run("SELECT pg_switch_wal()")
            for _ in range(4):
                new.run(WRITE.format("sent = sent + 7"), campaign=pair.campaign)
            new.run("SELECT pg_switch_wal()")
            new.run("CHECKPOINT")
        new.run(WRITE.format("sent = sent + 7"), campaign=pair.campaign)
        pair.write(1, "to_send")
        collect(pair.standby.data, tmp_path)
        collect(pair.server.folder / "data", tmp_path)
        (tmp_path / "000000010000000000000003.partial").write_bytes(b"not whole")
        if fork == "the history file alone":
            lose_the_fork(tmp_path)
        by_new = read(conn, [pair.campaign], FolderShelf(tmp_path))
        by_old = read(pair.witness.conn, [pair.campaign], FolderShelf(tmp_path))
    assert {each.name for each in tmp_path.iterdir()} >= {"00000002.history"}
    pair.witness.assert_told(by_old, pair.campaign)
    if fork == "the history file alone":
        # What the new branch wrote into that segment is lost; what the old one wrote into its own is not taken for it.
        assert pair.told(by_new) == [*rows[:shared], *rows[shared + 4 :]]
        linked = [version.linked for version in by_new.timelines[pair.campaign].versions]
        assert linked[1:] == [*[True] * (shared - 1), False, *[True] * (len(linked) - shared - 1)]
    else:
        new.assert_told(by_new, pair.campaign)


ROLES = """
CREATE ROLE plain LOGIN;
CREATE ROLE allowed LOGIN;
GRANT pg_monitor TO allowed;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO allowed;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain, allowed;
"""
GRANTS = (
    "GRANT pg_monitor TO plain; GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO plain"
)


@pytest.mark.parametrize("role", ["plain", "allowed", "postgres"])
def test_each_role_gets_what_it_may_on_both_servers(pair: Pair, tmp_path: Path, role: str) -> None:
    """A plain role is told the GRANTs and examine goes on; pg_monitor and the one EXECUTE do for a superuser."""
    pair.witness.conn.execute(ROLES.encode())
    pair.write(3)
    pair.catch_up()
    name, sent = pair.witness.conn.info.dbname, [row[1] for row in pair.witness.rows[pair.campaign]]
    for number, dsn in enumerate((pair.server.dsn(name, role), pair.standby.dsn(name, role))):
        saved = tmp_path / f"{number}.db"
        done = run(dsn, "timeline", str(pair.campaign), "--save", str(saved), "--format", "json")
        said = document(dsn, "examine", str(pair.campaign), "--no-look")
        if role == "plain":
            assert (done.exit_code, done.stdout, saved.exists()) == (3, "", False)
            assert GRANTS in " ".join(done.stderr.split())
            assert "Traceback" not in done.stderr
            assert said["recorded"] is None
            assert [GRANTS in each for each in said["unknowable"] if "What would have helped" in each] == [True]
            continue
        assert done.exit_code == 0, done.output
        assert [each["sent"] for each in json.loads(done.stdout)["versions"]][-len(sent) :] == sent
        assert said["recorded"]["file"] == "the log"
        by_file = document(dsn, "examine", str(pair.campaign), "--no-look", "--timeline", str(saved))
        assert by_file["recipients"] == said["recipients"]
