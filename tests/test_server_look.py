"""Tests of telling whether a listmonk server scans and whether a pipe is open, against sessions that do as it does."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.sources import resolve
from listmonk_doctor.demo import keeper, postgres
from listmonk_doctor.demo.loading import load
from listmonk_doctor.demo.player import Player
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.listmonk.heartbeat import Row, judge_pipe
from listmonk_doctor.listmonk.server import ServerState, look_once, one_look_state, two_looks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from listmonk_doctor.database.connection import Connection
    from tests.support.databases import IncidentDatabases

PERIOD = 1.0
"""Seconds between the scans of the servers that are played here; all thresholds follow from it."""
SCAN = "WITH camps AS (SELECT 1) SELECT * FROM camps"
FETCH = "WITH campLists AS (SELECT 1) SELECT * FROM campLists"
RECORDING = "many-small-v5.0.3"
"""A recording with several campaigns."""


def session(dsn: str) -> Connection:
    """Open a session as the program does."""
    return connect(resolve(dsn, None, [], {}, Path()))


def client(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a session as some other client does, listmonk for one."""
    return psycopg.connect(dsn, autocommit=True, application_name="")


@pytest.fixture
def dsn(incident_db: IncidentDatabases) -> str:
    """Give a database with several campaigns and nobody in it."""
    return incident_db(RECORDING)


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    """Give the program's session."""
    with session(dsn) as opened:
        yield opened


@pytest.fixture
def ids(conn: Connection) -> list[int]:
    """Give the ids of two campaigns."""
    return [row[0] for row in conn.execute("SELECT id FROM campaigns ORDER BY id LIMIT 2").fetchall()]


def watch(conn: Connection, ids: Sequence[int], **options: Any) -> ServerState:
    """Take two looks at the pace of these tests."""
    return two_looks(conn, "public", ids, period=PERIOD, **options)


@contextlib.contextmanager
def repeating(*actions: Callable[[], object], every: float) -> Iterator[None]:
    """Do the actions in turn, one each `every` seconds, the first at once, in a thread of their own."""
    leave = threading.Event()
    actions[0]()

    def run() -> None:
        due = time.monotonic() + every
        for action in itertools.chain(actions[1:], itertools.cycle(actions)):
            if leave.wait(max(0.0, due - time.monotonic())):
                return
            action()
            due += every

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()


def test_nobody_there_is_told_without_waiting(conn: Connection, ids: list[int]) -> None:
    """Where no server can be, two looks half a second apart are enough, and nobody is told to wait."""
    waits: list[float] = []
    began = time.monotonic()
    state = two_looks(conn, "public", ids, on_wait=waits.append)
    assert time.monotonic() - began < 3
    assert (state.running, state.scanners, waits) == (False, 0, [])
    assert state.pipes == dict.fromkeys(ids, "none")
    assert 0.5 <= state.watched < 3
    assert set(state.xmin) == set(ids)
    look = look_once(conn)
    assert (look.standing, look.running) == ("none", False)


def test_more_watching_can_be_asked_for(conn: Connection, ids: list[int]) -> None:
    """With at_least a server that has no session for a moment would be seen when it comes back."""
    assert watch(conn, ids, at_least=1.2).watched >= 1.0
    scanner: list[psycopg.Connection[Any]] = []
    late = threading.Timer(0.6, lambda: scanner.append(client(conn.info.dsn)))
    late.start()
    state = watch(conn, ids, at_least=1.2)
    late.join()
    scanner[0].close()
    assert state.watched > 1.2


def test_a_server_that_scans_is_alive_and_its_pipe_beats(dsn: str, conn: Connection, ids: list[int]) -> None:
    """Scans that go on mean a server; the row that beats has a pipe, the silent one has none; waiting is announced."""
    waits: list[float] = []
    with Player(dsn, open_pipes=ids[:1], interval=PERIOD):
        look = look_once(conn, period=PERIOD)
        assert look.standing in ("probably", "alive")
        assert look.running is None
        state = watch(conn, ids, on_wait=waits.append)
    assert (state.running, state.scanners) == (True, 1), state.because
    assert state.pipes == {ids[0]: "open", ids[1]: "none"}
    assert waits[0] == pytest.approx(2.2, abs=0.1)
    assert waits == sorted(waits, reverse=True)
    assert state.watched >= 2.2
    current = conn.execute("SELECT xmin::text FROM campaigns WHERE id = %s", [ids[1]]).fetchone()
    assert current == (state.xmin[ids[1]],)


def test_the_real_pace_is_told_by_the_defaults(dsn: str, conn: Connection, ids: list[int]) -> None:
    """A server that scans every 5 s, as listmonk does, is judged after a little more than 11 s."""
    with Player(dsn, open_pipes=ids[:1]):
        state = two_looks(conn, "public", ids)
    assert (state.running, state.scanners) == (True, 1), state.because
    assert state.pipes == {ids[0]: "open", ids[1]: "none"}
    assert 11 <= state.watched < 13


def test_one_look_waits_for_nothing_and_says_so(dsn: str, conn: Connection, ids: list[int]) -> None:
    """Without the second look a pipe is "not-looked" at, and a server is never more than probable."""
    with Player(dsn, open_pipes=ids[:1], interval=PERIOD):
        state = one_look_state(conn, "public", ids, period=PERIOD)
    assert (state.running, state.watched) == (None, 0.0)
    assert state.pipes == dict.fromkeys(ids, "not-looked")
    assert set(state.xmin) == set(ids)


def test_a_server_that_stops_meanwhile_is_gone(dsn: str, conn: Connection, ids: list[int]) -> None:
    """When the server leaves while it is watched, that is noticed at once, and no pipe is left."""
    with contextlib.ExitStack() as server:
        server.enter_context(Player(dsn, open_pipes=ids[:1], interval=PERIOD))
        stop = threading.Timer(0.8, server.close)
        stop.start()
        state = watch(conn, ids)
        stop.join()
    assert state.running is False
    assert "has left" in state.because
    assert state.pipes == dict.fromkeys(ids, "none")
    assert state.watched < 2.2


def test_a_single_scan_is_not_yet_a_server(dsn: str, conn: Connection, ids: list[int]) -> None:
    """A text of a scan that nothing follows, of a server whose host died, is no server when two periods have passed."""
    with client(dsn) as scanner:
        scanner.execute(SCAN)
        assert look_once(conn, period=PERIOD).standing == "probably"
        time.sleep(1.4)
        assert look_once(conn, period=PERIOD).standing == "cannot-tell"
        assert one_look_state(conn, "public", ids, period=PERIOD).running is None
        state = watch(conn, ids)
        assert state.running is False
        assert "scanned last 2 s ago" in state.because
        assert look_once(conn, period=PERIOD).standing == "cannot-tell"


def test_a_server_that_may_be_stopping_is_not_judged(dsn: str, conn: Connection, ids: list[int]) -> None:
    """One more scan and then none within the watch: neither alive nor gone."""
    with client(dsn) as scanner:
        scanner.execute(SCAN)
        again = threading.Timer(0.6, scanner.execute, [SCAN])
        again.start()
        state = watch(conn, ids)
        again.join()
    assert state.running is None
    assert "may be stopping" in state.because
    assert state.pipes == dict.fromkeys(ids, "cannot-tell")


def test_two_servers_are_counted(dsn: str, conn: Connection, ids: list[int]) -> None:
    """Twice as many scans as one server makes are two servers, also in one look."""
    with Player(dsn, servers=2, open_pipes=ids[:1], interval=PERIOD):
        time.sleep(PERIOD)
        state = watch(conn, ids)
        assert (state.running, state.scanners) == (True, 2), state.because
        assert state.pipes == {ids[0]: "open", ids[1]: "none"}


def test_one_server_on_two_sessions_is_one(dsn: str, conn: Connection, ids: list[int]) -> None:
    """A server scans on whichever of its sessions is free: two texts once a period are not two servers."""
    with (
        client(dsn) as one,
        client(dsn) as two,
        repeating(lambda: one.execute(SCAN), lambda: two.execute(SCAN), every=PERIOD),
    ):
        state = watch(conn, ids)
        assert (state.running, state.scanners) == (True, 1), state.because
        assert one_look_state(conn, "public", ids, period=PERIOD).scanners == 1


def test_the_batch_fetch_tells_a_server_too(dsn: str, conn: Connection, ids: list[int]) -> None:
    """While it sends, a server's fetches stand where its scans stood: it is alive, silence of a row proves nothing."""
    with client(dsn) as sender, repeating(lambda: sender.execute(FETCH), every=0.4):
        state = watch(conn, ids)
    assert state.running is True
    assert state.pipes == dict.fromkeys(ids, "cannot-tell")


@pytest.mark.parametrize("text", [SCAN.lower(), "SELECT 'WITH camps AS'", " " + SCAN])
def test_other_texts_are_no_scans(dsn: str, conn: Connection, ids: list[int], text: str) -> None:
    """Only the very words at the very beginning are listmonk's; any other session is only waited for a moment."""
    with client(dsn) as other:
        other.execute(text.encode())
        look = look_once(conn, period=PERIOD)
        assert look.standing == "cannot-tell"
        assert "may hide a scan" in look.because
        state = watch(conn, ids)
    assert state.running is False
    assert 1.0 < state.watched < 2.2


def test_scans_that_are_hidden_by_other_statements_are_not_denied(dsn: str, conn: Connection, ids: list[int]) -> None:
    """A session that does something else right after each scan may be a server's: never "none"."""
    with client(dsn) as busy, repeating(lambda: (busy.execute(SCAN), busy.execute("SELECT 1")), every=PERIOD):
        state = watch(conn, ids)
    assert state.running is None or (state.running and "scan" in state.because)
    assert "none" not in state.pipes.values() or state.running


def test_tools_and_other_databases_are_no_servers(
    server: postgres.Server,
    dsn: str,
    conn: Connection,
    ids: list[int],
    empty_db: str,
) -> None:
    """psql, another run of this program, and whoever works in another database are not waited for."""
    with (
        psycopg.connect(dsn, autocommit=True, application_name="psql") as psql,
        session(dsn) as other_run,
        client(empty_db) as elsewhere,
        client(server.dsn()) as maintenance,
    ):
        for busy in (psql, other_run):
            busy.execute("SELECT 1")
        for scanning in (elsewhere, maintenance):
            scanning.execute(SCAN)
        assert look_once(conn, period=PERIOD).standing == "none"
        assert watch(conn, ids).running is False


@pytest.fixture
def roles(server: postgres.Server, dsn: str) -> Iterator[Callable[[str, str], str]]:
    """Make roles with grants in the database of the test; called with name and GRANT it returns the role's DSN."""
    made: list[str] = []

    def make(name: str, grant: str) -> str:
        role = sql.Identifier(name)
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            made.append(name)
            owner.execute(sql.SQL(grant).format(role=role))
            return server.dsn(owner.info.dbname, user=name)

    yield make
    with psycopg.connect(dsn, autocommit=True) as owner:
        for name in made:
            owner.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(sql.Identifier(name)))


READ = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"


def test_a_role_that_does_not_see_others_cannot_tell(
    dsn: str,
    ids: list[int],
    roles: Callable[[str, str], str],
) -> None:
    """Hidden sessions are no proof of anything, but a beating row is; with pg_read_all_stats all is seen."""
    poor, seeing = roles("poor_reader", READ), roles("seeing_reader", READ + "; GRANT pg_monitor TO {role}")
    with Player(dsn, open_pipes=ids[:1], interval=PERIOD):
        with session(poor) as conn:
            look = look_once(conn, period=PERIOD)
            assert (look.standing, look.running) == ("cannot-tell", None)
            assert "pg_read_all_stats" in look.because
            state = watch(conn, ids)
            assert (state.running, state.pipes) == (None, {ids[0]: "open", ids[1]: "cannot-tell"})
            assert "pg_read_all_stats" in state.because
        with session(seeing) as conn:
            state = watch(conn, ids)
            assert (state.running, state.pipes) == (True, {ids[0]: "open", ids[1]: "none"})
    with session(poor) as conn:
        assert watch(conn, ids).running is False


def test_a_hidden_session_that_could_not_write_is_no_server(
    ids: list[int],
    roles: Callable[[str, str], str],
) -> None:
    """A hidden session is only a reason for doubt if its role may update campaigns."""
    mine = roles("one_reader", READ)
    writer = roles("one_writer", "GRANT UPDATE ON campaigns TO {role}")
    with client(roles("other_reader", READ)), session(mine) as conn:
        assert look_once(conn, period=PERIOD).standing == "none"
        assert watch(conn, ids).running is False
        with client(writer):
            assert look_once(conn, period=PERIOD).standing == "cannot-tell"


def test_a_server_whose_statements_are_not_tracked_cannot_be_told(
    dsn: str,
    conn: Connection,
    ids: list[int],
    roles: Callable[[str, str], str],
) -> None:
    """With track_activities off there is no text to see."""
    quiet = roles("untracked", "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute("ALTER ROLE untracked SET track_activities = off")
    with client(quiet) as scanner, repeating(lambda: scanner.execute(SCAN), every=PERIOD):
        assert look_once(conn, period=PERIOD).standing == "cannot-tell"
        assert watch(conn, ids).running is None


@contextlib.contextmanager
def writing(dsn: str, statement: str, campaign: int, *, every: float) -> Iterator[None]:
    """Run a statement on a campaign each `every` seconds, in a session that names itself as a tool."""
    with (
        psycopg.connect(dsn, autocommit=True, application_name="psql") as tool,
        repeating(lambda: tool.execute(statement.encode(), [campaign]), every=every),
    ):
        yield


def test_writes_at_another_pace_are_no_heartbeat(dsn: str, conn: Connection, ids: list[int]) -> None:
    """A row that another tool writes every 0.6 periods changes, but does not beat: that cannot be told."""
    poke = "UPDATE campaigns SET sent = sent WHERE id = %s"
    with Player(dsn, open_pipes=ids[:1], interval=PERIOD), writing(dsn, poke, ids[1], every=0.6 * PERIOD):
        state = watch(conn, ids)
    assert state.pipes == {ids[0]: "open", ids[1]: "cannot-tell"}


def test_a_sending_row_has_a_pipe(dsn: str, conn: Connection, ids: list[int]) -> None:
    """Where `sent` goes up again and again the pipe is open, although the changes follow no beat."""
    conn.execute("UPDATE campaigns SET status = 'running' WHERE id = %s", [ids[1]])
    send = "UPDATE campaigns SET sent = sent + 10 WHERE id = %s"
    with Player(dsn, interval=PERIOD), writing(dsn, send, ids[1], every=0.3 * PERIOD):
        state = watch(conn, ids)
    assert state.pipes == {ids[0]: "none", ids[1]: "open"}


def test_a_scan_that_waits_for_a_lock_makes_silence_worthless(dsn: str, conn: Connection, ids: list[int]) -> None:
    """A server whose scan is blocked is alive, but its rows' silence proves nothing."""
    with psycopg.connect(dsn) as blocker, Player(dsn, open_pipes=ids[:1], interval=PERIOD):
        blocker.execute("SELECT 1 FROM campaigns WHERE id = %s FOR UPDATE", [ids[0]])
        time.sleep(1.2 * PERIOD)
        look = look_once(conn, period=PERIOD)
        assert look.standing == "alive"
        state = watch(conn, ids)
        blocker.rollback()
    assert state.running is True
    assert state.pipes == dict.fromkeys(ids, "cannot-tell")


def test_one_blocked_server_spoils_the_silence_under_another(dsn: str, conn: Connection, ids: list[int]) -> None:
    """While one server's scan waits for a lock, another's scans do not prove that the first has no pipe."""
    with (
        psycopg.connect(dsn) as blocker,
        Player(dsn, open_pipes=ids[:1], interval=PERIOD),
        Player(dsn, interval=PERIOD),
    ):
        blocker.execute("SELECT 1 FROM campaigns WHERE id = %s FOR UPDATE", [ids[0]])
        time.sleep(1.2 * PERIOD)
        state = watch(conn, ids)
        blocker.rollback()
    assert state.running is True
    assert state.pipes == dict.fromkeys(ids, "cannot-tell")


def test_before_3_0_0_silence_proves_nothing(dsn: str, conn: Connection, ids: list[int]) -> None:
    """Older servers have no heartbeat, so under one of them a silent row cannot be told."""
    with Player(dsn, interval=PERIOD):
        assert watch(conn, ids, heartbeat=False).pipes == dict.fromkeys(ids, "cannot-tell")


def test_a_campaign_that_is_not_there_is_not_judged(dsn: str, conn: Connection) -> None:
    """An id without a row has no xmin, and under a server nothing is said of its pipe."""
    with Player(dsn, interval=PERIOD):
        state = watch(conn, [999_999])
    assert (state.pipes, state.xmin) == ({999_999: "cannot-tell"}, {})


@pytest.mark.parametrize(
    ("moments", "pipe"),
    [
        ([], "none"),
        ([3.2], "cannot-tell"),
        ([3.2, 8.2], "open"),
        ([1.0, 6.0, 11.0], "open"),
        ([1.0, 3.2, 6.0, 11.0], "open"),
        ([1.0, 4.0, 7.0, 10.0], "cannot-tell"),
        ([2.0, 9.0], "cannot-tell"),
        ([0.7, 7.2], "cannot-tell"),
    ],
)
def test_the_distance_of_changes_decides(moments: list[float], pipe: str) -> None:
    """Changes 4 to 6 s apart are a heartbeat, others another tool's; none in 11 s mean that no pipe is open."""
    looks = [round(number * 0.5, 1) for number in range(24)]
    rows = [Row(at, str(sum(moment <= at for moment in moments)), "paused", 10, 1000) for at in looks]
    assert judge_pipe(rows, running=True, scanned=True, period=5.0) == pipe
    assert judge_pipe(rows, running=False, scanned=False, period=5.0) == "none"
    unsure = judge_pipe(rows, running=None, scanned=False, period=5.0)
    assert unsure == ("open" if pipe == "open" else "cannot-tell")


def test_silence_must_last_long_enough() -> None:
    """Ten seconds of silence are not eleven."""
    rows = [Row(at / 2, "7", "paused", 10, 1000) for at in range(21)]
    assert judge_pipe(rows, running=True, scanned=True, period=5.0) == "cannot-tell"


@pytest.mark.skipif(os.name == "nt", reason="the data folder is taken over as on unix")
def test_a_standby_cannot_tell(tmp_path: Path) -> None:
    """On a hot standby the server's sessions are elsewhere: cannot tell, whatever is silent."""
    del tmp_path
    bin_folder = postgres.find_binaries()
    with postgres.throwaway(bin_folder=bin_folder, settings={"wal_level": "replica"}) as primary:
        with psycopg.connect(primary.dsn(), autocommit=True) as conn:
            load(conn, open_recording(RECORDING))
        with standby(primary, bin_folder), session(primary.dsn()) as conn:
            look = look_once(conn)
            assert (look.standby, look.standing, look.running) == (True, "cannot-tell", None)
            state = watch(conn, [2])
            assert (state.running, state.pipes) == (None, {2: "cannot-tell"})
            assert "standby" in state.because


@contextlib.contextmanager
def standby(primary: postgres.Server, bin_folder: Path) -> Iterator[None]:
    """Stop a throw-away server and run its data as a hot standby on the same socket."""
    data = primary.folder / "data"
    os.kill(int((data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGINT)
    await_that(lambda: not (data / "postmaster.pid").exists())
    (data / "standby.signal").touch()
    user = keeper.server_user()
    if user:
        shutil.chown(data / "standby.signal", user["user"], user["group"])
    copied = primary.folder / "postgres" / "bin"
    options = {"unix_socket_directories": str(primary.folder), "listen_addresses": "", "wal_level": "replica"}
    command = [str((copied if copied.is_dir() else bin_folder) / "postgres"), "-D", str(data)]
    for name, value in (options | {"max_wal_senders": "0"}).items():
        command += ["-c", f"{name}={value}"]
    with subprocess.Popen(
        command,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=keeper.dying_with_keeper(),  # noqa: PLW1509 - nothing but a system call
        **user,
    ) as process:
        try:
            await_that(lambda: accepts(primary.dsn()))
            yield
        finally:
            process.send_signal(signal.SIGINT)


def accepts(dsn: str) -> bool:
    """Tell whether a server lets a session in."""
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def await_that(done: Callable[[], bool]) -> None:
    """Wait until something is so, for 20 seconds."""
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
