# ruff: noqa: S608 - the two statements are put together from names of functions
"""Owns a hot standby of a test's server: a copy of its data that follows its log, for the length of a `with` block."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from listmonk_doctor.demo.postgres import Server

_PORT = 5999
"""The name of its socket; it listens nowhere else."""


@contextlib.contextmanager
def standby(server: Server, conn: Connection[Any]) -> Iterator[Connection[Any]]:
    """Give a connection to the database of `conn` on a standby, which has all that was written so far."""
    data = server.folder / "data"
    lines = (data / "postmaster.pid").read_text().splitlines()
    program = Path(f"/proc/{lines[0]}/exe")
    if not program.exists():
        pytest.skip("a server's program cannot be found here")
    folder = server.folder / "standby"
    _copy(conn, data, folder)
    owner = data.stat()
    with (folder / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = 'host={server.folder} user=postgres'\nhot_standby = on\n")
    for each in (folder, *folder.rglob("*")):
        os.chown(each, owner.st_uid, owner.st_gid)
    folder.chmod(0o700)
    root = os.geteuid() == 0
    # It ends with its folder, which the other server's keeper removes whatever happens to this process.
    process = subprocess.Popen(
        [program.readlink(), "-D", folder, "-k", folder, "-p", str(_PORT), "-h", ""],
        user=owner.st_uid if root else None,
        group=owner.st_gid if root else None,
        extra_groups=[] if root else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with _connected(folder, conn.info.dbname) as there:
            follow(conn, there)
            yield there
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _copy(conn: Connection[Any], data: Path, folder: Path) -> None:
    old = conn.info.server_version < 150000  # the functions were renamed in 15
    start, stop = ("pg_start_backup", "pg_stop_backup") if old else ("pg_backup_start", "pg_backup_stop")
    conn.execute(f"SELECT {start}('standby', true{', false' * old})".encode())
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("postmaster.*", "pg_replslot"))
    (folder / "pg_replslot").mkdir()
    label = conn.execute(f"SELECT labelfile FROM {stop}(false)".encode()).fetchall()[0][0]
    (folder / "backup_label").write_text(label)
    (folder / "standby.signal").touch()


def _connected(folder: Path, database: str) -> Connection[Any]:
    deadline = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(host=str(folder), port=_PORT, user="postgres", dbname=database, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def follow(conn: Connection[Any], there: Connection[Any]) -> None:
    """Wait until the standby has all that the other has written."""
    (place,) = conn.execute("SELECT pg_current_wal_flush_lsn()").fetchall()[0]
    deadline = time.monotonic() + 30
    while there.execute("SELECT pg_last_wal_replay_lsn() < %s::pg_lsn", (place,)).fetchall()[0][0]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
