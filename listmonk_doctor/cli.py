"""Owns the assembled command line and the one handler that turns every failure into a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from listmonk_doctor import __version__
from listmonk_doctor.commands import (
    checks,
    demo,
    examine,
    explain,
    followup,
    history,
    repair,
    scan,
    timeline,
    undo,
    watch,
)
from listmonk_doctor.commands._options import EXIT_INTERRUPTED, STATE, Quiet, Verbose
from listmonk_doctor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HELP: Final = (
    "Find, understand, price and mend campaigns that listmonk cut short.\n\n"
    "Reading is the default: nothing is written without --apply, and what was applied can be undone."
)
EPILOG: Final = "Begin with `scan`; without a database of your own, with `demo`."


class Doctor(TyperGroup):
    """The top of the command line: runs a command and maps whatever it raises to an exit code."""

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - typer's own signature
        **extra: Any,
    ) -> int:
        """Run the command; leave with its exit code, or return it outside of standalone mode."""
        STATE.reset()
        if sys.stdout is None:  # started with a closed stdout
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the process's life
        try:
            code = super().main(args=args, prog_name=prog_name or "listmonk-doctor", standalone_mode=False, **extra)
            code = int(code) if isinstance(code, int) else 0
            sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 - the one handler
            from listmonk_doctor.commands._failures import report

            code = report(error)
        if standalone_mode:
            if code == EXIT_INTERRUPTED:
                STATE.interrupted()
            sys.exit(code)
        return code


class Treatment(TyperCommand):
    """One command: refuses words that are no text, which neither the database nor a terminal could be given."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises UsageError for a word that is not UTF-8; a path may be any bytes."""
        for name, given in ctx.params.items():
            words = given if isinstance(given, list | tuple) else (given,)
            if any(isinstance(word, str) and not _is_text(word) for word in words):
                raise UsageError(f"What was given as {name.upper()} is not UTF-8.")
        return super().invoke(ctx)


def _is_text(word: str) -> bool:
    """Tell whether an argument was text; bytes that were none are lone surrogates in it."""
    return not any("\ud800" <= sign <= "\udfff" for sign in word)


app = typer.Typer(
    name="listmonk-doctor",
    cls=Doctor,
    help=HELP,
    epilog=EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:  # noqa: FBT001 - typer's callback
    """Print the version and leave."""
    if asked:
        typer.echo(f"listmonk-doctor {__version__}")
        raise typer.Exit


@app.callback()
def top(
    *,
    version: Annotated[  # noqa: ARG001 - its callback has done the work
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Keep what is said before the command's name."""
    STATE.verbose, STATE.quiet = verbose, quiet


COMMANDS: Final[tuple[Callable[..., int | None], ...]] = (
    scan.scan,
    examine.examine,
    repair.repair,
    timeline.timeline,
    watch.watch,
    undo.undo,
    history.history,
    explain.explain,
    checks.checks,
    demo.demo,
)
for command in COMMANDS:
    app.command(command.__name__, cls=Treatment)(command)
    if command is undo.undo:
        tending = typer.Typer(help=followup.HELP, no_args_is_help=True, rich_markup_mode=None)
        for each in followup.COMMANDS:
            tending.command(each.__name__, cls=Treatment)(each)
        app.add_typer(tending, name="follow-up")


def main() -> None:
    """Run the program (the entry point of the installed command)."""
    app()
