"""Owns the command line of `undo`: the reversed plan of a run, priced and guarded like a repair."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt
from listmonk_doctor.errors import UsageError


def undo(  # noqa: PLR0913 - one per option
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run's id, or its first 8 characters (default: the last that stands)."),
    ] = None,
    *,
    apply: opt.Apply = False,
    yes: opt.Yes = False,
    app_stopped: opt.AppStopped = False,
    no_look: opt.NoLook = False,
    allow_unknown_version: opt.UnknownVersion = False,
    output: opt.OutputFormat = None,
    dsn: opt.Dsn = None,
    service: opt.Service = None,
    config: opt.Config = None,
    schema: opt.Schema = None,
    timeout: opt.Timeout = 60.0,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
) -> int:
    """Show what undoing a run would change and cost; --apply writes it.

    A run is undone once. It is refused, campaign by campaign, where the row has moved since.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands import _applying, _undoing
    from listmonk_doctor.commands._reporting import code_of, print_report
    from listmonk_doctor.commands._session import opened, warn_if_newer, writable

    if yes and not apply:
        raise UsageError("--yes answers the question that --apply asks; without --apply nothing is written.")
    if apply:
        _applying.may_apply(output, yes=yes, saved=False, hint=_applying.LOOK_FIRST)
    with opened(opt.Where(dsn, service, tuple(config or ()), schema, timeout)) as database:
        warn_if_newer(database)
        if apply:
            writable(database, allowed=allow_unknown_version)
        report = _undoing.planned(database, run, wait=not no_look, app_stopped=app_stopped)
        if not apply:
            print_report(report, output, database.again)
            return code_of(report)
        return _applying.show_and_write(database, report, output, undo_out=None, yes=yes, app_stopped=app_stopped)
