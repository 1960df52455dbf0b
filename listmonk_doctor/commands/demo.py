"""Owns `demo`: a throw-away PostgreSQL with a recorded accident, and a walk through all that can be done about it."""

# Typer reads the annotations at run time, so they are not postponed.
import os
import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from listmonk_doctor.commands import _options as opt
from listmonk_doctor.commands._output import chosen, emit, show
from listmonk_doctor.errors import DoctorError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.demo.recording import Recording

STORY = "seed-v4.1.0"
"""The accident that is shown if no other is asked for."""
DSN_VARIABLE = "LISTMONK_DOCTOR_DSN"
KEPT_HOURS = 24
DATABASE = "listmonk"


def demo(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The accident to show.")] = STORY,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up, to try commands on it.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the accidents that can be shown.")] = False,
    output: opt.OutputFormat = None,
    verbose: opt.Verbose = False,
) -> int:
    """Show everything on a recorded accident, in a throw-away PostgreSQL; nothing stays behind.

    Needs the extra: pip install 'listmonk-doctor[demo]'. Connects to nothing of yours.
    """
    from listmonk_doctor.demo.recording import open_recording

    opt.STATE.say(verbose=verbose)
    if listed:
        _list(output)
        return int(ExitCode.OK)
    recording = open_recording(name)
    with _database(recording, keep=keep) as (server, dsn):
        _say(_summary(recording))
        _say(
            "It is loaded into a PostgreSQL of its own. No listmonk is running there, so nothing has to be waited for; "
            "all times are moved as if the accident had ended just now.",
        )
        done = _keep(server, dsn) if keep else _tour(dsn, str(server.folder), output, recording)
    return int(ExitCode.OK if done else ExitCode.FAILED)


def _summary(recording: "Recording") -> str:
    """Return the recording's story without its title."""
    lines = [line for line in recording.readme.splitlines() if line.strip() and not line.startswith("#")]
    return "\n".join(lines)


def _first_sentence(text: str) -> str:
    """Return a story's first sentence, in one line."""
    sentence, stop, _ = " ".join(text.split()).partition(". ")
    return sentence + stop.strip()


def _list(output: opt.Format | None) -> None:
    """Print the accidents, one line each."""
    from listmonk_doctor.demo.recording import open_recording, recordings

    rows = tuple((name, _first_sentence(_summary(open_recording(name)))) for name in recordings())
    if chosen(output) is opt.Format.JSON:
        from listmonk_doctor.commands._output import emit_json
        from listmonk_doctor.render.json_ import listed

        emit_json(listed("demo", "accidents", [{"name": name, "what": what} for name, what in rows]))
        return
    if chosen(output) is opt.Format.CSV:
        from listmonk_doctor.render.csv_ import lines

        emit(lines(("name", "what"), rows))
        return
    from listmonk_doctor.render.document import Table

    show((Table(("name", "what happened"), rows, whole=frozenset({0})),), chosen(output))


@contextmanager
def _database(recording: "Recording", *, keep: bool) -> "Iterator[tuple[Server, str]]":
    """Start a server, load the recording, and name it as the database that is meant until the end."""
    import psycopg

    from listmonk_doctor.demo.loading import load
    from listmonk_doctor.demo.postgres import start

    server = start(outlive=KEPT_HOURS * 3600.0 if keep else 0.0)
    kept = False
    before = os.environ.get(DSN_VARIABLE)
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {DATABASE}".encode())
        dsn = server.dsn(DATABASE)
        with psycopg.connect(dsn, autocommit=True) as conn:
            load(conn, recording)
        os.environ[DSN_VARIABLE] = dsn
        yield server, dsn
        kept = keep
    finally:
        os.environ.pop(DSN_VARIABLE, None)
        if before is not None:
            os.environ[DSN_VARIABLE] = before
        if not kept:
            server.stop()


def _say(text: str) -> None:
    """Print a paragraph of the tour."""
    emit([f"{text}\n\n"])


def _keep(server: "Server", dsn: str) -> bool:
    """Say how to use the server and how to stop it."""
    _say(f"The server stays up for {KEPT_HOURS} hours at most. To use it:")
    emit([f"    export {DSN_VARIABLE}={shlex.quote(dsn)}\n    listmonk-doctor scan\n\n"])
    _say("To stop it and remove its files:")
    emit([f"    kill {server.pid}\n"])
    return True


def _step(words: str, *arguments: str, output: opt.Format | None) -> int:
    """Say what comes next, print the command as it would be typed, run it, and return its exit code."""
    from listmonk_doctor.cli import app

    _say(f"--- {words}")
    emit([f"$ listmonk-doctor {shlex.join(arguments)}\n"])
    style = [f"--format={output.value}"] if output is not None else []
    code = int(app([*arguments, *style], standalone_mode=False) or 0)
    emit([f"(exit code {code})\n\n"])
    if code == 130:  # noqa: PLR2004 - Ctrl-C
        raise KeyboardInterrupt
    return code


def _tour(dsn: str, folder: str, output: opt.Format | None, recording: "Recording") -> bool:
    """Walk through scan, examine, repair, scan and undo; return whether all of it went as it should."""
    emit([f"$ export {DSN_VARIABLE}={shlex.quote(dsn)}\n\n"])
    campaign = min(recording.incident["campaigns"], key=int)
    _step("All campaigns are looked at, in milliseconds.", "scan", output=output)
    _step("One of them in full: what happened, and what each repair would cost.", "examine", campaign, output=output)
    dry = _step("A repair is a dry run until --apply.", "repair", campaign, output=output)
    if dry != ExitCode.WOULD_CHANGE:
        _say("Here nothing is changed: no repair can be recommended, or none is needed. The tour ends.")
        return dry in (ExitCode.OK, ExitCode.FAILED)
    applied = _step(
        "What was shown is written, with an entry in the journal; --yes stands for the answer that it asks for.",
        "repair",
        campaign,
        "--apply",
        "--yes",
        "--undo-out",
        folder,
        output=output,
    )
    if applied != ExitCode.OK:
        raise DoctorError("The repair of the demo was not applied.", hint="Run the demo again with -v.")
    _step("The campaign is paused, and goes on where it should once Start is pressed.", "scan", output=output)
    _step("Every run is in the journal.", "history", output=output)
    _step("A run can be taken back; this, too, is shown and priced first.", "undo", output=output)
    back = _step("Every byte of listmonk's tables is as it was.", "undo", "--apply", "--yes", output=output)
    _say("That was the demo. The server is stopped and its files are removed.")
    sys.stdout.flush()
    return back == ExitCode.OK
