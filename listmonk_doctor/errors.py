"""Owns the program's errors: every failure a user can meet, with its exit code and a hint."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What the process tells its caller; where two apply, 3 beats 4 beats 1 beats 0."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    FAILED = 3
    WOULD_CHANGE = 4


EXIT_CODES: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "nothing at or above `--fail-on` (default: warning); or the repair or undo was done",
    ExitCode.FINDINGS: "findings at or above it",
    ExitCode.USAGE: "wrong usage",
    ExitCode.FAILED: (
        "could not do the job, or not all of it: connection, privilege, unknown schema, drift, "
        "a refused repair, one check failed, a bug"
    ),
    ExitCode.WOULD_CHANGE: "a dry run that would change rows",
}

_RANK: Final = (ExitCode.OK, ExitCode.FINDINGS, ExitCode.WOULD_CHANGE, ExitCode.USAGE, ExitCode.FAILED)


def worst(*codes: ExitCode) -> ExitCode:
    """Return the code that wins where several apply: 3 beats 4 beats 1 beats 0."""
    return max(codes, key=_RANK.index, default=ExitCode.OK)


class DoctorError(Exception):
    """A failure that is explained to the user in one sentence, with a hint that says what to do.

    `message` and `hint` are plain text without secrets; they may hold untrusted names, which the renderer cleans.
    """

    code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "", code: ExitCode | None = None) -> None:
        """Take the sentence, the hint, and an exit code where it is not the class's own."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class UsageError(DoctorError):
    """The command line cannot be understood or contradicts itself (exit 2)."""

    code = ExitCode.USAGE


class ConnectionFailedError(DoctorError):
    """No session with the database: unreachable, wrong password, no such database."""


class UnknownSchemaError(DoctorError):
    """The database is not a listmonk this program can read."""


class DriftError(DoctorError):
    """Something moved between the plan and its application; nothing was written."""


class RefusedError(DoctorError):
    """A repair that is not done, with the reason."""


class PrivilegeError(DoctorError):
    """The role lacks a privilege; the hint holds the exact GRANT."""
