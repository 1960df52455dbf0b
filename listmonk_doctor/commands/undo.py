"""Owns `undo`: the reversed plan of a run, priced and guarded like a repair."""

# Typer reads the annotations at run time, so they are not postponed.
from dataclasses import replace
from typing import Annotated

import typer

from listmonk_doctor.commands import _applying, _undoing
from listmonk_doctor.commands import _options as opt
from listmonk_doctor.commands._session import Database, look, opened, warn_if_newer, writable
from listmonk_doctor.commands.repair import code_of, print_report, told
from listmonk_doctor.errors import ExitCode, worst
from listmonk_doctor.render.outcome import RunReport


def undo(  # noqa: PLR0913 - one per option
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="The run's id, or its first 8 characters; none: the last that still stands."
        ),
    ] = None,
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Write what is shown.")] = False,
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
    """Show what taking a run back would change and cost; write it with --apply.

    A run is undone once. It is refused, campaign by campaign, where the row has moved since.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    if yes and not apply:
        from listmonk_doctor.errors import UsageError

        raise UsageError("--yes answers the question that --apply asks; without --apply nothing is written.")
    if apply:
        _applying.may_apply(yes=yes, saved=False)
    with opened(opt.Where(dsn, service, tuple(config or ()), schema, timeout)) as database:
        warn_if_newer(database)
        if apply:
            writable(database, allowed=allow_unknown_version)
        report = _planned(database, run, wait=not no_look, app_stopped=app_stopped)
        if not apply:
            print_report(report, output, database.again)
            return code_of(report)
        return _apply(database, report, output, yes=yes, app_stopped=app_stopped)


def _planned(database: Database, run: str | None, *, wait: bool, app_stopped: bool) -> RunReport:
    """Return what an undo would do, campaign by campaign."""
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.repair.undo import undo_plan, undoable

    entries = undoable(database.conn, database.schema, run)
    plans = [undo_plan(each) for each in entries]
    server = look(database, [each.campaign_id for each in plans if each.changes], wait=wait)
    outcomes = []
    for plan in plans:
        with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
            outcomes.append(_undoing.outcome(cursor, plan, server, database.schema, app_stopped=app_stopped))
    return RunReport("undo", tuple(outcomes), of_run=entries[0].run)


def _apply(
    database: Database,
    report: RunReport,
    output: opt.Format | None,
    *,
    yes: bool,
    app_stopped: bool,
) -> int:
    """Show the undo to a person, ask, write it, and say what became of it."""
    plans = [each.plan for each in report.outcomes if each.plan is not None and not each.refused]
    if opt.Format.JSON != output != opt.Format.CSV or not plans:
        print_report(replace(report, asking=True), output, database.again)
    if not plans:
        return code_of(report)
    _applying.confirm(f"Take run {report.of_run} back?", yes=yes)
    result = _applying.run(database, plans, undo_out=None, app_stopped=app_stopped)
    done = told(report, result)
    print_report(done, output, database.again, brief=True)
    return int(worst(result.code, *(ExitCode.FAILED for each in done.outcomes if each.refused)))
