"""Owns the command line of `timeline`: how a campaign's row changed over time."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from pathlib import Path
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt


def timeline(  # noqa: PLR0913 - one per option
    campaign: opt.Campaign,
    *,
    recorded: Annotated[
        Path | None,
        typer.Option("--recorded", metavar="FILE", help="Show what this file holds; no database is needed then."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every version, however many there are.")] = False,
    output: opt.OutputFormat = None,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
) -> int:
    """Show how a campaign's row changed over time: each batch, each count, each death of the sender."""
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands import _timelines

    asked = _timelines.Request(campaign=campaign, recorded=recorded, every=every, output=output)
    return _timelines.run(asked)
