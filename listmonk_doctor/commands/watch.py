"""Owns the command line of `watch`: a campaign while it is being sent, and the recording of its progress."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from pathlib import Path
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt


def watch(  # noqa: PLR0913 - one per option
    campaign: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CAMPAIGN]...", help="Id, uuid, name, or a part of the name that is unique."),
    ] = None,
    *,
    all_running: Annotated[
        bool,
        typer.Option("--all-running", help="All campaigns that are running, paused or scheduled at this moment."),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Keep every change and heartbeat, for examine --recorded."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", min=0.1, help="Stop after so long (default: when it has ended)."),
    ] = None,
    every: Annotated[
        float,
        typer.Option("--every", metavar="SECONDS", min=0.2, max=4.0, help="How often the row is looked at."),
    ] = 1.0,
    output: opt.OutputFormat = None,
    dsn: opt.Dsn = None,
    service: opt.Service = None,
    config: opt.Config = None,
    schema: opt.Schema = None,
    timeout: opt.Timeout = 60.0,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
) -> int:
    """Watch a campaign while it is being sent, and say at once when it leaves its price.

    Predicted against actual, rate, end time, heartbeat, and what to press when something goes wrong. Reads only: one
    row a second. With --record FILE it is a flight recorder, whose file makes examine --recorded FILE exact. Ends when
    the campaign has ended, after --for SECONDS, or on Ctrl-C. Exits with 1 where there was an alarm.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands import _watching

    asked = _watching.Request(
        campaigns=tuple(campaign or ()),
        all_running=all_running,
        record=record,
        seconds=seconds,
        every=every,
        output=output,
    )
    _watching.check(asked)
    return _watching.run(asked, opt.Where(dsn, service, tuple(config or ()), schema, timeout))
