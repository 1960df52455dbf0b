"""Owns how a failure is told: one sentence and a hint on stderr, an exit code, and never a secret."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from typing import Final

import typer

from listmonk_doctor.commands._options import EXIT_INTERRUPTED, STATE
from listmonk_doctor.errors import DoctorError, ExitCode
from listmonk_doctor.render.text import clean, visible

_PASSWORDS: Final = (
    (r"(://[^/\s:@]*:)[^@\s/]+(?=@)", r"\1***"),
    (r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", r"\1***"),
)
SQLSTATES: Final = {
    "57014": ("A statement took longer than it may.", "Allow it more time with --timeout SECONDS."),
    "55P03": ("A lock was not to be had within 2 seconds.", "Something else holds the row; try again."),
    "42501": (
        "The database role lacks a privilege",
        "Reading needs SELECT on listmonk's tables: see the README's GRANTs.",
    ),
    "25006": ("This server only reads: it is a standby, or read-only.", "Connect to the primary."),
    "53300": ("The server has no connection left.", "Try again, or connect as a role with reserved connections."),
}
"""What the server's own error codes mean for the reader; others are told in the server's words."""


def redact(text: str) -> str:
    """Return text without the passwords of this run and without what looks like one in a connection string."""
    for secret in sorted(STATE.secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    for pattern, instead in _PASSWORDS:
        text = re.sub(pattern, instead, text)
    return text


def say(text: str) -> None:
    """Write one line to stderr: harmless, without secrets. Messages never stop the program."""
    try:
        sys.stderr.write(clean(redact(text)) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def tell(message: str, hint: str = "") -> None:
    """Write an error with its hint to stderr; the hint's lines (a GRANT each) are kept."""
    say(f"Error: {message}")
    for index, line in enumerate(hint.splitlines()):
        say(("Hint: " if index == 0 else "      ") + line)


def closed_pipe() -> ExitCode:
    """Point stdout nowhere, so that the interpreter's last flush does not complain either."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    return ExitCode.OK


def _database(error: Exception) -> bool:
    """Tell whether the error comes from the database driver, without importing it."""
    return any(kind.__module__.split(".")[0] == "psycopg" for kind in type(error).__mro__)


def _tell_database(error: Exception) -> ExitCode:
    """Tell an error of the server or the connection in one sentence."""
    state = getattr(error, "sqlstate", None) or ""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    words, hint = SQLSTATES.get(state, ("", ""))
    message = f"{words.rstrip('.')}: {first}" if words else f"The database reports: {first}"
    tell(message, hint or "Nothing was changed." if not STATE.written else hint)
    return ExitCode.FAILED


def _tell_bug(error: Exception) -> ExitCode:
    """Own up to a bug; the traceback is shown only when asked for, as it may quote data."""
    if STATE.verbose:
        for line in traceback.format_exception(error):
            for part in line.rstrip("\n").split("\n"):
                sys.stderr.write(visible(redact(part)) + "\n")
    kept = STATE.written or "Nothing was changed."
    again = "" if STATE.verbose else " Run it again with -v for the details to report."
    tell(f"This is a bug in listmonk-doctor ({type(error).__name__}).", f"{kept[:1].upper()}{kept[1:]}{again}")
    return ExitCode.FAILED


def report(error: Exception) -> int:  # noqa: PLR0911 - one return per kind of failure
    """Tell any failure to the user and return the exit code it stands for."""
    if isinstance(error, DoctorError):
        tell(error.message, error.hint)
        return int(error.code)
    if isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        return closed_pipe()
    if isinstance(error, typer.Abort):
        return EXIT_INTERRUPTED
    if callable(words := getattr(error, "format_message", None)):
        _show_usage(error, words())
        return int(ExitCode.USAGE)
    if _database(error):
        return int(_tell_database(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT):
        closed_pipe()
        tell(f"The output could not be written: {error.strerror}.", STATE.written or "Nothing was changed.")
        return int(ExitCode.FAILED)
    return int(_tell_bug(error))


def _show_usage(error: Exception, message: str) -> None:
    """Show what is wrong with the command line, in Typer's (before 0.29: click's) words, and where help is."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        sys.stderr.write(context.get_help() + "\n")
        return
    path = context.command_path if context is not None else "listmonk-doctor"
    tell(message, f"{path} --help")
