"""A row is written only where no listmonk can be at work on it: the table of the gate, and what a poor role may do."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.listmonk.campaign import Campaign
from listmonk_doctor.repair.gate import is_due, may_write
from tests.support.repairing import journal_rows, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from typer.testing import Result

    from listmonk_doctor.demo.player import Player
    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.diagnosis.report import Pipe

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MOMENT: Final = timedelta(microseconds=1)
HOUR: Final = timedelta(hours=1)
CAMPAIGN: Final = "2"

Scanner = Literal["alive", "none", "cannot-tell"]
ALIVE: Final = "alive"
NONE: Final = "none"
CANNOT_TELL: Final = "cannot-tell"
RUNNING: Final[dict[Scanner, bool | None]] = {ALIVE: True, NONE: False, CANNOT_TELL: None}

DRAINS: Final = "it is still draining"
PAUSE: Final = "first pause it"
DUE: Final = "unschedule it first"
UNSEEN: Final = "say --app-stopped"
HARMLESS: Final = "it was never started"
STOP: Final = "stop listmonk"
NO_PIPE: Final = "no pipe is open"
NOT_SEEN: Final = "was not seen"
NOBODY: Final = "no listmonk is scanning; nothing may be started"


@dataclass(frozen=True)
class Case:
    """One line of the table: the row, what was seen, and what the gate must say (`says` is a part of its sentence).

    `due_in` None: it has no time. `sent` and `started` are what a row that was never started does not have.
    """

    opens: bool
    says: str
    status: str
    scanner: Scanner
    pipe: Pipe
    due_in: timedelta | None = None
    sent: int = 100
    started: bool = True
    app_stopped: bool = False
    unschedule: bool = False

    @property
    def row(self) -> Campaign:
        """The campaign that the line is about."""
        return Campaign(
            id=2,
            uuid="00000000-0000-4000-8000-000000000002",
            name="A",
            type="regular",
            status=self.status,
            sent=self.sent,
            to_send=400,
            last_subscriber_id=1297,
            max_subscriber_id=2197,
            messenger="email",
            created_at=NOW - 2 * HOUR,
            started_at=NOW - HOUR if self.started else None,
            updated_at=NOW - HOUR,
            send_at=None if self.due_in is None else NOW + self.due_in,
            xmin="700",
            lists=(),
        )


def yes(says: str, status: str, scanner: Scanner, pipe: Pipe, **other: Any) -> Case:
    """Return a line that lets the row be written."""
    return Case(opens=True, says=says, status=status, scanner=scanner, pipe=pipe, **other)


def no(says: str, status: str, scanner: Scanner, pipe: Pipe, **other: Any) -> Case:
    """Return a line that does not."""
    return Case(opens=False, says=says, status=status, scanner=scanner, pipe=pipe, **other)


def fresh(*, opens: bool, says: str, pipe: Pipe, due_in: timedelta = -HOUR, **other: Any) -> Case:
    """Return a line about a scheduled row that was never started, under a scanning server."""
    values: dict[str, Any] = {"status": "scheduled", "scanner": ALIVE, "sent": 0, "started": False} | other
    return Case(opens=opens, says=says, pipe=pipe, due_in=due_in, **values)


STATUSES: Final = ("draft", "running", "scheduled", "paused", "cancelled", "finished")
RESTING: Final = ("paused", "finished", "cancelled")
PIPES: Final[tuple[Pipe, ...]] = ("open", "none", "cannot-tell", "not-looked")
UNKNOWN: Final[tuple[Pipe, ...]] = ("none", "cannot-tell", "not-looked")
WORDS: Final = (False, True)

TABLE: Final = (
    # No scanner: yes, whatever the row is, and whatever was thought of its pipe.
    *(yes(NOBODY, status, NONE, pipe, due_in=-HOUR) for status in STATUSES for pipe in PIPES),
    # Alive, unchanged, not running, not due: yes.
    *(yes(NO_PIPE, status, ALIVE, "none") for status in RESTING),
    *(yes(NO_PIPE, status, ALIVE, "none", due_in=-HOUR) for status in RESTING),  # a time that was kept
    yes(NO_PIPE, "scheduled", ALIVE, "none", due_in=MOMENT),
    yes(NO_PIPE, "scheduled", ALIVE, "none"),
    # Alive and it beats, or is running, or is due: no; the operator's word does not count where it can be seen.
    *(no(DRAINS, status, ALIVE, "open", app_stopped=word) for status in RESTING for word in WORDS),
    *(no(PAUSE, "running", ALIVE, pipe, app_stopped=word) for pipe in PIPES for word in WORDS),
    *(no(DUE, "scheduled", ALIVE, pipe, due_in=-HOUR) for pipe in UNKNOWN),
    *(no(DUE, "scheduled", ALIVE, pipe, due_in=-HOUR, app_stopped=True) for pipe in UNKNOWN),
    no(DUE, "scheduled", ALIVE, "none", due_in=timedelta(0)),
    no(DRAINS, "scheduled", ALIVE, "open", due_in=-HOUR),
    # Alive, and the pipe was not looked at or cannot be told: no.
    *(no(NOT_SEEN, status, ALIVE, pipe) for status in RESTING for pipe in ("cannot-tell", "not-looked")),
    no(NOT_SEEN, "paused", ALIVE, "not-looked", app_stopped=True),
    # The exception: a scheduled row that was never started is taken from the schedule under any server ...
    *(fresh(opens=True, says=HARMLESS, pipe=pipe, unschedule=True) for pipe in PIPES),
    fresh(opens=True, says=HARMLESS, pipe="open", unschedule=True, due_in=HOUR),
    *(fresh(opens=True, says=HARMLESS, pipe=pipe, unschedule=True, scanner=CANNOT_TELL) for pipe in PIPES),
    # ... for no other repair ...
    fresh(opens=False, says=DRAINS, pipe="open"),
    fresh(opens=False, says=DUE, pipe="none"),
    fresh(opens=False, says=UNSEEN, pipe="none", scanner=CANNOT_TELL),
    # ... not where it was started, or has sent ...
    fresh(opens=False, says=DUE, pipe="none", unschedule=True, started=True),
    fresh(opens=False, says=DUE, pipe="none", unschedule=True, sent=1),
    fresh(opens=False, says=DRAINS, pipe="open", unschedule=True, started=True, sent=100),
    fresh(opens=False, says=UNSEEN, pipe="none", unschedule=True, started=True, scanner=CANNOT_TELL),
    # ... and not once it was picked up.
    fresh(opens=False, says=PAUSE, pipe="open", unschedule=True, status="running"),
    fresh(opens=False, says=DRAINS, pipe="open", unschedule=True, status="paused"),
    # Cannot tell: only on the operator's word, and never if the row beats.
    *(no(UNSEEN, status, CANNOT_TELL, pipe) for status in STATUSES for pipe in UNKNOWN),
    *(yes("on your word", status, CANNOT_TELL, pipe, app_stopped=True) for status in STATUSES for pipe in UNKNOWN),
    *(no(STOP, status, CANNOT_TELL, "open", app_stopped=word) for status in STATUSES for word in WORDS),
)


def named(case: Case) -> str:
    """Name a line by what it differs in."""
    flags = [word for word in ("app_stopped", "unschedule") if getattr(case, word)]
    due = "-due" if is_due(case.row, NOW) else ""
    return "-".join([case.scanner, case.pipe, case.status + due, *flags, *([] if case.started else ["fresh"])])


@pytest.mark.parametrize("case", TABLE, ids=named)
def test_each_line_of_the_table(case: Case) -> None:
    """The gate is open or closed as the table says, for the reason that belongs to that line."""
    gate = may_write(
        case.row,
        now=NOW,
        running=RUNNING[case.scanner],
        pipe=case.pipe,
        app_stopped=case.app_stopped,
        unschedule=case.unschedule,
    )
    assert gate.open is case.opens, gate.because
    assert case.says in gate.because


@pytest.mark.parametrize(
    ("status", "due_in", "due"),
    [
        ("scheduled", -MOMENT, True),
        ("scheduled", timedelta(0), True),
        ("scheduled", MOMENT, False),
        ("scheduled", None, False),
        *((status, -HOUR, False) for status in STATUSES if status != "scheduled"),
    ],
)
def test_only_a_scheduled_row_falls_due_at_its_time(status: str, due_in: timedelta | None, due: bool) -> None:
    """A row is due from its very moment on; a time that a started or ended row has kept says nothing."""
    assert is_due(yes("", status, ALIVE, "none", due_in=due_in).row, NOW) is due


READER: Final = """
    GRANT USAGE ON SCHEMA public TO {role};
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
    GRANT UPDATE (status, last_subscriber_id, sent) ON campaigns TO {role};
    GRANT INSERT, DELETE ON campaign_lists TO {role};
    GRANT CREATE ON DATABASE {database} TO {role};
"""
"""The README's grants to a repairer, without the one that lets it see what other roles run."""


@pytest.fixture
def poor(server: Server) -> Iterator[Callable[[str], str]]:
    """Give the DSN of a repairer in a database that may not see what other roles run."""
    name = f"poor repairer {os.getpid()}"
    made: list[str] = []

    def make(dsn: str) -> str:
        with psycopg.connect(dsn, autocommit=True) as owner:
            role, database = sql.Identifier(name), sql.Identifier(owner.info.dbname)
            owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            made.append(dsn)
            owner.execute(sql.SQL(READER).format(role=role, database=database))
            return server.dsn(owner.info.dbname, user=name)

    yield make
    for dsn in made:
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(sql.Identifier(name)))


def repair(dsn: str, *words: str) -> tuple[Result, dict[str, Any]]:
    """Run `repair 2 --apply --yes` and return how it ended and what it said of the campaign."""
    line = ["repair", CAMPAIGN, "--apply", "--yes", "--dsn", dsn, "--format", "json", *words]
    result = CliRunner().invoke(app, line)
    assert result.stdout, result.stderr
    (said,) = json.loads(result.stdout)["campaigns"]
    return result, said


def test_a_beating_row_is_not_written_on_the_operators_word(
    incident_db: Callable[..., str],
    player: Callable[..., AbstractContextManager[Player]],
    poor: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """Sessions of other roles cannot be seen, but the row's heartbeat can: --app-stopped is not believed."""
    dsn = incident_db("deleted-list-v6.0.0", fresh=True)
    role = poor(dsn)
    with player(dsn, "deleted-list-v6.0.0"):
        words = ("--strategy", "detach-list", "--app-stopped", "--undo-out", str(tmp_path))
        result, said = repair(role, *words)
    assert result.exit_code == 3, result.stdout
    assert (said["listmonk"]["running"], said["pipe"]) == (None, "open")
    assert said["applied"] is False
    assert "a pipe is open on this row: stop listmonk first" in said["refused"]
    assert not journal_rows(dsn)
    assert not list(tmp_path.iterdir())


def test_a_silent_row_is_written_on_the_operators_word_only(
    incident_db: Callable[..., str],
    player: Callable[..., AbstractContextManager[Player]],
    poor: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """Where it cannot be seen whether a listmonk runs, nothing is written until somebody says that none does."""
    dsn = incident_db("seed-v4.1.0", fresh=True)
    role = poor(dsn)
    with player(dsn, "seed-v4.1.0") as playing:
        assert playing.scans, "nobody plays a scanner"
        before = tables(dsn)["public.campaigns"]
        result, said = repair(role, "--undo-out", str(tmp_path))
        assert result.exit_code == 3, result.stdout
        assert said["listmonk"]["running"] is None
        assert said["applied"] is False
        assert "stop it and say --app-stopped" in said["refused"]
        assert tables(dsn)["public.campaigns"] == before
        assert not journal_rows(dsn)
        result, said = repair(role, "--undo-out", str(tmp_path), "--app-stopped")
        assert result.exit_code == 0, result.stderr
        assert (said["listmonk"]["running"], said["pipe"]) == (None, "cannot-tell")
    assert said["applied"] is True
    assert tables(dsn)["public.campaigns"] != before
    assert [path.suffix for path in tmp_path.iterdir()] == [".sql"]


def test_what_cannot_be_seen_is_not_called_at_work(incident_db: Callable[..., str], poor: Callable[[str], str]) -> None:
    """A campaign that a kill left running, seen by a role that cannot see servers: both sides are said, and no more."""
    dsn = incident_db("crashed-down-v6.2.0", fresh=True)
    role, said = poor(dsn), []
    with psycopg.connect(dsn):  # whatever this is: its statements cannot be seen
        for words in ((), ("--app-stopped",)):
            line = ["examine", CAMPAIGN, "--no-look", "--format", "json", "--dsn", role, *words]
            said.append(json.loads(CliRunner().invoke(app, line).stdout))
    unseen, told = said
    advice = " ".join(unseen["advice"])
    assert unseen["listmonk"]["running"] is None
    assert "listmonk is at work on it: let it go on" not in advice
    assert "Whether a listmonk is at work on it cannot be seen." in advice
    assert "If listmonk is at work on it, do not restart it" in advice
    assert told["advice"][0].startswith("Do not start listmonk yet")
