"""Owns the tour of `demo`: the server, the recorded accident, and the commands, printed as a user would type them."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from listmonk_doctor.commands._options import EXIT_INTERRUPTED, Format
from listmonk_doctor.commands._output import chosen, emit, emit_json, show
from listmonk_doctor.errors import DoctorError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from listmonk_doctor.demo.postgres import Server
    from listmonk_doctor.demo.recording import Recording

DSN_VARIABLE: Final = "LISTMONK_DOCTOR_DSN"
KEPT_HOURS: Final = 24
DATABASE: Final = "listmonk"
KNOWN: Final = "What the mail relay knew at that moment, and listmonk's database does not:"


def _story(recording: Recording) -> str:
    """Return what happened, as the recording tells it, up to where its figures begin."""
    lines: list[str] = []
    for line in recording.readme.splitlines():
        if line.startswith("listmonk v") and lines:
            break
        if line.strip() and not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines)


def _truth(recording: Recording) -> str:
    """Return what the mail relay knows of each campaign, which listmonk's database does not."""
    lines = []
    for campaign, known in recording.incident["campaigns"].items():
        missed, twice = known["missed"]["count"], known["duplicated"]["count"]
        lines.append(
            f"Campaign {campaign}: {known['people_mailed']:,} people mailed, {missed:,} of the audience at the start "
            f"not, {known['failed']['count']:,} refused, {twice:,} mailed twice."
        )
    return "\n".join(lines)


def _first_sentence(text: str) -> str:
    """Return a story's first sentence, in one line."""
    sentence, stop, _ = " ".join(text.split()).partition(". ")
    return sentence + stop.strip()


def listed(output: Format | None) -> int:
    """Print the accidents, one line each."""
    from listmonk_doctor.demo.recording import open_recording, recordings

    rows = tuple((name, _first_sentence(_story(open_recording(name)))) for name in recordings())
    style = chosen(output)
    if style is Format.JSON:
        from listmonk_doctor.render import json_

        emit_json(json_.listed("demo", "accidents", [{"name": name, "what": what} for name, what in rows]))
    elif style is Format.CSV:
        from listmonk_doctor.render import csv_

        emit(csv_.lines(("name", "what"), rows))
    else:
        from listmonk_doctor.render.document import Table

        show((Table(("name", "what happened"), rows, whole=frozenset({0})),), style)
    return int(ExitCode.OK)


def run(name: str, output: Format | None, *, keep: bool) -> int:
    """Load an accident into a server of its own and walk through it, or leave the server up for the user."""
    from listmonk_doctor.demo.recording import open_recording

    recording = open_recording(name)
    with _database(recording, keep=keep) as (server, dsn):
        _say(_story(recording))
        _say(
            "It is loaded into a PostgreSQL of its own. No listmonk is running there, so nothing has to be waited for; "
            "all times are moved as if the accident had ended just now.",
        )
        done = _keep(server, dsn) if keep else _tour(dsn, str(server.folder), output, recording)
    return int(ExitCode.OK if done else ExitCode.FAILED)


@contextmanager
def _database(recording: Recording, *, keep: bool) -> Iterator[tuple[Server, str]]:
    """Start a server, load the recording, and name it as the database that is meant until the end."""
    from listmonk_doctor.database.connection import connect
    from listmonk_doctor.database.sources import resolve
    from listmonk_doctor.demo.loading import load
    from listmonk_doctor.demo.postgres import start

    server = start(outlive=KEPT_HOURS * 3600.0 if keep else 0.0)
    kept = False
    before = os.environ.get(DSN_VARIABLE)
    try:
        with connect(resolve(server.dsn(), None, (), {}, Path.cwd())) as conn:
            conn.execute(f"CREATE DATABASE {DATABASE}".encode())
        dsn = server.dsn(DATABASE)
        with connect(resolve(dsn, None, (), {}, Path.cwd())) as conn:
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


def _keep(server: Server, dsn: str) -> bool:
    """Say how to use the server and how to stop it."""
    _say(f"The server stays up for {KEPT_HOURS} hours at most. To use it:")
    emit([f"    export {DSN_VARIABLE}={shlex.quote(dsn)}\n    listmonk-doctor scan\n\n"])
    _say("To stop it and remove its files:")
    emit([f"    kill {server.pid}\n"])
    return True


def _step(words: str, *arguments: str, output: Format | None) -> int:
    """Say what comes next, print the command as it would be typed, run it, and return its exit code."""
    from listmonk_doctor.cli import app

    _say(f"--- {words}")
    emit([f"$ listmonk-doctor {shlex.join(arguments)}\n"])
    style = [f"--format={output.value}"] if output is not None else []
    code = int(app([*arguments, *style], standalone_mode=False) or 0)
    emit([f"(exit code {code})\n\n"])
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return code


def _tour(dsn: str, folder: str, output: Format | None, recording: Recording) -> bool:
    """Walk through scan, examine, repair, scan and undo; return whether all of it went as it should."""
    emit([f"$ export {DSN_VARIABLE}={shlex.quote(dsn)}\n\n"])
    campaign = min(recording.incident["campaigns"], key=int)
    _step("All campaigns are looked at, in milliseconds.", "scan", output=output)
    _step("One of them in full: what happened, and what each repair would cost.", "examine", campaign, output=output)
    dry = _step("A repair is a dry run until --apply.", "repair", campaign, output=output)
    if dry != ExitCode.WOULD_CHANGE:
        _say("Here nothing is changed: no repair can be recommended, or none is needed.")
        _say(f"{KNOWN}\n{_truth(recording)}")
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
    _say(f"{KNOWN}\n{_truth(recording)}")
    _say("That was the demo. The server is stopped and its files are removed.")
    sys.stdout.flush()
    return back == ExitCode.OK
