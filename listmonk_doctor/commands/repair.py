"""Owns the command line of `repair`: a dry run that shows everything, and on request the very same written."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from pathlib import Path
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt

STRATEGIES = ("resume", "rewind", "follow-up", "unschedule", "detach-list", "accept")


def repair(  # noqa: PLR0913 - one per option
    campaign: Annotated[
        str | None,
        typer.Argument(metavar="CAMPAIGN", help="Id, uuid, or (dry run only) name; none: all that scan finds."),
    ] = None,
    *,
    strategy: Annotated[str | None, typer.Option("--strategy", help=f"One of {', '.join(STRATEGIES)}.")] = None,
    prefer: Annotated[
        opt.Prefer | None,
        typer.Option("--prefer", help="What is the lesser evil (default: no-duplicates)."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="NAMES", help="Whom a follow-up is for, as in unknown,never_fetched."),
    ] = None,
    apply: opt.Apply = False,
    yes: opt.Yes = False,
    plan_out: Annotated[
        Path | None,
        typer.Option("--plan-out", metavar="FILE", help="Save the plan, to be applied with --plan."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Show or apply a plan that was saved."),
    ] = None,
    sql: opt.Sql = False,
    undo_out: opt.UndoOut = None,
    reason: Annotated[str, typer.Option("--reason", help="Why a finding is accepted (with --strategy accept).")] = "",
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="Until when it is accepted, as in 2027-01-31."),
    ] = None,
    recorded: opt.Recorded = None,
    timeline: opt.Timeline = "auto",
    allow_extension: opt.AllowExtension = False,
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
    """Show what a repair would change and cost; --apply writes it.

    Without --apply nothing is written, and the exit code is 4 where a repair would change something. What is applied
    is refused if anything has moved since it was shown, and can be taken back with undo.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands import _repair_run
    from listmonk_doctor.commands._evidence import evidence

    request = _repair_run.Request(
        campaign=campaign,
        strategy=strategy,
        prefer=prefer,
        groups=_repair_run.groups_of(group),
        apply=apply,
        yes=yes,
        plan_out=plan_out,
        plan=plan,
        sql=sql,
        undo_out=undo_out,
        reason=reason.strip(),
        until=until,
        app_stopped=app_stopped,
        evidence=evidence(recorded, timeline, extensions=allow_extension),
        wait=not no_look,
        allow_unknown_version=allow_unknown_version,
        output=output,
    )
    _repair_run.check(request, STRATEGIES)
    return _repair_run.run(request, opt.Where(dsn, service, tuple(config or ()), schema, timeout))
