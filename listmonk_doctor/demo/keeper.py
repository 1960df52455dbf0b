"""Owns one throw-away PostgreSQL server and its folder, as a process that outlives its maker to clean up.

However the maker ended, the server is stopped and the folder removed. The module is run as a script
(`python -I -S keeper.py`), so it imports the standard library only. It reads one line of JSON from stdin, answers in
lines of JSON on stdout, and stops the server when stdin ends or at SIGTERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import locale
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

START_WITHIN: Final = 60.0
"""Seconds that the server may take until it accepts connections."""
STOP_WITHIN: Final = 5.0
"""Seconds that a fast shutdown may take before an immediate one is asked for."""
PREFIX: Final = "listmonk-doctor-"
LONGEST_PARENT: Final = 103 - len(f"/{PREFIX}12345678/.s.PGSQL.5432")
"""Characters: a unix socket's path may have 103 on the narrowest system."""
SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
"""What makes a server fast whose data nobody will miss; the request may set others."""
_PR_SET_PDEATHSIG: Final = 1


class KeeperError(Exception):
    """The server cannot be had; the text says why and is meant for the user."""


def say(**answer: object) -> None:
    """Send one answer to the maker."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def server_user() -> dict[str, Any]:
    """Return Popen's arguments for a user that PostgreSQL accepts: it refuses root, so root runs it as `nobody`."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd

    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise KeeperError(
            "PostgreSQL refuses to run as root, and this machine has no user `nobody` to run it as."
        ) from None
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def can_enter(folder: str, user: dict[str, Any]) -> bool:
    """Say whether the server's user can enter a folder."""
    command = ["/bin/sh", "-c", 'cd "$1"', "sh", folder]
    return not user or subprocess.run(command, check=False, stderr=subprocess.DEVNULL, cwd="/", **user).returncode == 0


def make_folder(wanted: str, user: dict[str, Any]) -> Path:
    """Make the server's private folder (mode 0700) where its user can reach it and a socket's path fits."""
    parents = (wanted or tempfile.gettempdir(), "/tmp", "/var/tmp")  # noqa: S108 - mkdtemp is safe there
    for parent in dict.fromkeys(parents):
        if len(parent) <= LONGEST_PARENT and Path(parent).is_dir() and can_enter(parent, user):
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            if user:
                os.chown(folder, user["user"], user["group"])
            return folder
    raise KeeperError(
        "there is no temporary folder for a server's socket: the path is too long, or closed to its user."
    )


def reachable_binaries(folder: Path, bin_folder: Path, user: dict[str, Any]) -> Path:
    """Return a folder of binaries that the server's user can run: `bin_folder`, or a copy of it in `folder`."""
    try:
        subprocess.run([bin_folder / "postgres", "--version"], check=True, capture_output=True, cwd="/", **user)
    except PermissionError:
        for part in ("bin", "lib", "share"):
            copy_tree(bin_folder.parent / part, folder / "postgres" / part)
        (folder / "postgres").chmod(0o755)
        return folder / "postgres" / "bin"
    return bin_folder


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links; a file that others may not read, or on another file system, is really copied."""

    def copy(file: str, to: str) -> None:
        mode = Path(file).stat().st_mode
        wanted = 0o755 if mode & 0o100 else 0o644
        if mode & wanted == wanted:
            with contextlib.suppress(OSError):
                os.link(file, to)
                return
        shutil.copyfile(file, to)
        Path(to).chmod(wanted)

    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=copy)
        for path, _, _ in os.walk(target):
            Path(path).chmod(0o755)


def locale_options(major: int) -> list[str]:
    """Return initdb's options for UTF-8 text whose lower() knows more than ASCII, wherever the machine has that.

    From 17 on PostgreSQL brings such a locale itself; before, the C library must know one.
    """
    options = ["--encoding=UTF8", "--locale=C"]
    if major >= 17:  # noqa: PLR2004
        return [*options, "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    for name in ("C.UTF-8", "C.utf8", "en_US.UTF-8", "UTF-8"):
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, name)
            return [*options, f"--lc-ctype={name}"]
    return options


def dying_with_keeper() -> Callable[[], None] | None:
    """Return what makes the kernel stop a child when the keeper dies, to be run between fork and exec (Linux only).

    The C library is loaded beforehand: as `nobody` the child may not be able to read Python's own files.
    """
    if sys.platform != "linux":
        return None
    libc, keeper = ctypes.CDLL(None), os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
        if os.getppid() != keeper:
            os._exit(1)

    return arrange


class Keeper:
    """One server: its folder, its programs, its process."""

    def __init__(self, request: dict[str, Any], folder: Path, user: dict[str, Any]) -> None:
        """Take the maker's request; nothing runs yet, but binaries out of the user's reach are copied."""
        self.folder = folder
        self.user = user
        self.major: int = request["major"]
        self.settings = {**SETTINGS, **request["settings"]}
        self.password = "" if request["sockets"] else secrets.token_urlsafe(24)
        self.port = 5432
        self.bin = reachable_binaries(folder, Path(request["bin"]), user)
        hostile = ("PG", "LC_", "LANG")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(hostile)}
        icu = self.bin.parent / "share" / "icu"
        if icu.is_dir():
            self.env["ICU_DATA"] = str(icu)
        self.server: subprocess.Popen[bytes] | None = None

    def initialise(self) -> None:
        """Make the data folder."""
        command = [str(self.bin / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres", "--no-sync"]
        command += locale_options(self.major)
        if self.password:
            file = self.folder / "password"
            file.write_text(self.password, encoding="ascii")
            if self.user:
                os.chown(file, self.user["user"], self.user["group"])
            command += ["--auth=scram-sha-256", f"--pwfile={file}"]
        else:
            command += ["--auth=trust"]
        done = subprocess.run(command, check=False, capture_output=True, cwd="/", env=self.env, **self.user)
        if done.returncode != 0:
            raise KeeperError(f"initdb failed: {_last_line(done.stderr)}")

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        if self.password:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        settings = {
            **self.settings,
            "port": str(self.port),
            "listen_addresses": "127.0.0.1" if self.password else "",
            "unix_socket_directories": "" if self.password else str(self.folder),
        }
        command = [str(self.bin / "postgres"), "-D", str(self.folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("wb") as log:
            self.server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self.env,
                start_new_session=True,
                **self.user,
                preexec_fn=dying_with_keeper(),  # noqa: PLW1509 - the keeper has one thread only
            )
        deadline = time.monotonic() + START_WITHIN
        while not self.accepts_connections():
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise KeeperError(f"the server did not start: {_last_line((self.folder / 'log').read_bytes())}")
            time.sleep(0.005)

    def accepts_connections(self) -> bool:
        """Read the eighth line of postmaster.pid, where the server says that it is ready."""
        with contextlib.suppress(OSError):
            lines = (self.folder / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return lines[7:8] == ["ready   "]
        return False

    def stop(self) -> None:
        """Stop the server: orderly, then at once, then by force."""
        if self.server is None:
            return
        for number in (signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGTERM), None):
            if self.server.poll() is None:
                self.server.kill() if number is None else self.server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(STOP_WITHIN)
                return


def _last_line(output: bytes) -> str:
    """Return what a failed program said last."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def remove(folder: Path) -> None:
    """Remove the server's folder, also while its last processes are still leaving it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def keep(request: dict[str, Any]) -> None:
    """Make, start and guard one server until the maker is gone."""
    folder: Path | None = None
    keeper: Keeper | None = None
    try:
        signal.signal(signal.SIGTERM, _leave)
        user = server_user()
        folder = make_folder(request["parent"], user)
        say(folder=str(folder))
        keeper = Keeper(request, folder, user)
        keeper.initialise()
        keeper.start()
        say(port=keeper.port, password=keeper.password)
        sys.stdin.read()
        if request["outlive"] and keeper.server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.server.wait(request["outlive"])
    except (KeeperError, OSError, subprocess.SubprocessError) as error:
        with contextlib.suppress(OSError):
            say(error=str(error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if keeper is not None:
            keeper.stop()
        if folder is not None:
            remove(folder)


if __name__ == "__main__":
    for _name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, _name):
            signal.signal(getattr(signal, _name), signal.SIG_IGN)
    if _line := sys.stdin.readline():
        keep(json.loads(_line))
