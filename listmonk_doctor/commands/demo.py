"""Owns the command line of `demo`: a recorded accident in a throw-away PostgreSQL, and a walk through all commands."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt

STORY = "seed-v4.1.0"
"""The accident that is shown if no other is asked for."""


def demo(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The accident to show.")] = STORY,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up, to try commands on it.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the accidents that can be shown.")] = False,
    output: opt.OutputFormat = None,
    verbose: opt.Verbose = False,
) -> int:
    """Show it all on a recorded accident; nothing stays behind.

    In a throw-away PostgreSQL. Needs the extra: pip install 'listmonk-doctor[demo]'. Connects to nothing of yours.
    """
    opt.STATE.say(verbose=verbose)
    from listmonk_doctor.commands import _touring

    return _touring.listed(output) if listed else _touring.run(name, output, keep=keep)
