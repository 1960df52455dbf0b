"""Owns the options that commands share, what was said of them, and what the one error handler must know of a run."""

# Typer reads these annotations at run time, so nothing here is postponed.
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXIT_INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


class Format(StrEnum):
    """How a result is written."""

    TERMINAL = "terminal"
    PLAIN = "plain"
    JSON = "json"
    CSV = "csv"


class Severity(StrEnum):
    """From which severity on findings count for the exit code."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Prefer(StrEnum):
    """What is the lesser evil."""

    NO_DUPLICATES = "no-duplicates"
    NO_GAPS = "no-gaps"


Dsn = Annotated[
    str | None,
    typer.Option(
        "--dsn",
        metavar="DSN",
        help="PostgreSQL URI or key=value string (or LISTMONK_DOCTOR_DSN, PG* variables).",
    ),
]
Service = Annotated[
    str | None,
    typer.Option("--service", metavar="NAME", help="A service of pg_service.conf."),
]
Config = Annotated[
    list[Path] | None,
    typer.Option("--config", metavar="FILE", help="listmonk's config.toml; several are merged in order."),
]
Schema = Annotated[
    str | None,
    typer.Option("--schema", metavar="NAME", help="The schema of listmonk's tables (default: by search_path)."),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.1, max=2_000_000, help="The longest that one statement may run."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say where the connection comes from; show tracebacks.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all is well.")]
OutputFormat = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="How the result is written (default: terminal, in a pipe plain)."),
]
Campaign = Annotated[
    str,
    typer.Argument(metavar="CAMPAIGN", help="Id, uuid, name, or a part of the name that is unique."),
]
Recorded = Annotated[
    Path | None,
    typer.Option("--recorded", metavar="FILE", help="What `watch --record` or `timeline --save` kept of it."),
]
Timeline = Annotated[
    str,
    typer.Option(
        "--timeline",
        metavar="auto|off|FILE",
        envvar="LISTMONK_DOCTOR_TIMELINE",
        help="auto: what the server's log still holds is used; FILE: what `timeline --save FILE` kept.",
    ),
]
AllowExtension = Annotated[
    bool,
    typer.Option(
        "--allow-extension",
        help="Use pg_walinspect and pageinspect, made and rolled back where not installed (writes some kB of log).",
    ),
]
NoLook = Annotated[
    bool,
    typer.Option("--no-look", help="Do not wait 11 s for the second look at a server that sends."),
]
AppStopped = Annotated[
    bool,
    typer.Option("--app-stopped", help="Your word that no listmonk runs, where this cannot be seen."),
]
UnknownVersion = Annotated[
    bool,
    typer.Option("--allow-unknown-version", help="Write even though this listmonk is newer than is known."),
]
Apply = Annotated[bool, typer.Option("--apply", help="Write what is shown.")]
Sql = Annotated[
    bool,
    typer.Option("--sql", help="Print the transaction and its undo as scripts for a DBA; write nothing."),
]
UndoOut = Annotated[
    Path | None,
    typer.Option("--undo-out", metavar="PLACE", help="File or folder of the undo script (default: this folder)."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --apply (needed off a terminal).")]


@dataclass(slots=True)
class State:
    """What the error handler must know of the run: how much to say, whether something was written, what to hide."""

    verbose: bool = False
    quiet: bool = False
    written: str = ""
    """What may have been written so far, as a sentence; "" as long as nothing was."""
    secrets: set[str] = field(default_factory=set)

    def reset(self) -> None:
        """Forget the run before (tests run several in one process)."""
        self.verbose = self.quiet = False
        self.written = ""
        self.secrets = set()

    def say(self, *, verbose: bool = False, quiet: bool = False) -> None:
        """Keep how much to say; said before the command's name or behind it is the same."""
        self.verbose, self.quiet = self.verbose or verbose, self.quiet or quiet

    def interrupted(self) -> None:
        """Say what Ctrl-C left behind."""
        sys.stderr.write(f"\nStopped; {self.written or 'nothing was changed.'}\n")


STATE = State()


@dataclass(frozen=True, slots=True)
class Where:
    """The connection options of one command."""

    dsn: str | None
    service: str | None
    config: tuple[Path, ...]
    schema: str | None
    timeout: float
