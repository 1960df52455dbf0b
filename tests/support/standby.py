"""Owns a hot standby of a throw-away server in the tests: a copy of it that follows it, and can be promoted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import psycopg

from listmonk_doctor.demo.keeper import dying_with_keeper, server_user
from listmonk_doctor.demo.postgres import find_binaries
from tests.conftest import BIN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection

    from listmonk_doctor.demo.postgres import Server

PORT: Final = 5433
"""The standby's socket lies beside the primary's, whose number is 5432."""
WITHIN: Final = 20.0
"""Seconds that the standby may take to start, to catch up, to be promoted."""


@dataclass
class Standby:
    """A running hot standby; `data` is its data folder, `folder` where its socket lies."""

    folder: Path
    data: Path
    major: int
    process: subprocess.Popen[bytes] = field(repr=False)

    def dsn(self, dbname: str = "postgres", user: str = "postgres") -> str:
        """Return a URI for libpq."""
        return f"postgresql://{quote(user, safe='')}@:{PORT}/{dbname}?host={quote(str(self.folder))}"

    def stop(self) -> None:
        """Stop it, at once if need be."""
        for number in (signal.SIGINT, signal.SIGQUIT):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def follow(server: Server, settings: Mapping[str, str] | None = None) -> Iterator[Standby]:
    """Copy a running server and let the copy follow it for the length of a `with` block."""
    programs, user = _programs(server), server_user()
    data = server.folder / "standby"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    if (icu := programs.parent / "share" / "icu").is_dir():
        env["ICU_DATA"] = str(icu)
    copy = [str(programs / "pg_basebackup"), "-D", str(data), "-d", server.dsn(), "-X", "stream", "-c", "fast"]
    subprocess.run([*copy, "--no-sync"], check=True, capture_output=True, cwd="/", env=env, **user)
    (data / "standby.signal").touch()
    command = [str(programs / "postgres"), "-D", str(data)]
    options = {
        **_settings(server),
        **(settings or {}),
        "primary_conninfo": f"host={server.folder} port=5432 user=postgres",
        "port": str(PORT),
        "listen_addresses": "",
        "unix_socket_directories": str(server.folder),
    }
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    with (server.folder / "standby.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=env,
            start_new_session=True,
            **user,
            preexec_fn=dying_with_keeper(),  # noqa: PLW1509 - it ends with this process, however that ends
        )
    standby = Standby(server.folder, data, server.major, process)
    try:
        _wait_until(standby, "SELECT pg_is_in_recovery()")
        yield standby
    finally:
        standby.stop()


def _programs(server: Server) -> Path:
    """Return the programs that the primary runs: its own copy of them, where its user cannot reach the first."""
    copied = server.folder / "postgres" / "bin"
    if copied.is_dir():
        return copied
    named = os.environ.get(BIN_VARIABLE)
    return Path(named) if named else find_binaries()


def _settings(server: Server) -> dict[str, str]:
    """Return what the primary was started with on its command line."""
    with psycopg.connect(server.dsn()) as conn:
        rows = conn.execute("SELECT name, setting FROM pg_settings WHERE source = 'command line'").fetchall()
        units = conn.execute("SELECT name, current_setting(name) FROM pg_settings WHERE unit IS NOT NULL").fetchall()
    return {**dict(rows), **{name: value for name, value in units if name in dict(rows)}}


def _wait_until(standby: Standby, query: str) -> None:
    """Wait until the standby says that it is so; it must go on running."""
    said: Any = None
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        assert standby.process.poll() is None, (standby.folder / "standby.log").read_text(errors="replace")
        try:
            with psycopg.connect(standby.dsn(), autocommit=True) as conn:
                said = conn.execute(query.encode()).fetchall()[0][0]
        except psycopg.OperationalError as error:
            said = str(error)
        if said is True:
            return
        time.sleep(0.05)
    log = (standby.folder / "standby.log").read_text(errors="replace")
    raise AssertionError(f"the standby still says {said!r} to {query}: {log}")


def catch_up(primary: Connection[Any], standby: Standby) -> None:
    """Wait until the standby has replayed what the primary has written up to now."""
    end = primary.execute("SELECT pg_current_wal_flush_lsn()").fetchall()[0][0]
    primary.execute("SELECT pg_log_standby_snapshot()" if standby.major > 15 else "SELECT txid_current()")
    _wait_until(standby, f"SELECT pg_last_wal_replay_lsn() >= '{end}'::pg_lsn")


def promote(standby: Standby) -> None:
    """Make a primary of it."""
    with psycopg.connect(standby.dsn(), autocommit=True) as conn:
        assert conn.execute("SELECT pg_promote(true, 30)").fetchall() == [(True,)]
