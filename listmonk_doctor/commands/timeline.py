"""Owns the command line of `timeline`: how a campaign's row changed over time, by the log or by a file."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from pathlib import Path
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt


def timeline(  # noqa: PLR0913 - one per option
    campaign: opt.Campaign,
    *,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Keep it: the log does not last. For examine --recorded FILE."),
    ] = None,
    recorded: Annotated[
        Path | None,
        typer.Option("--recorded", metavar="FILE", help="Show what this file holds; no database is needed then."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every version, however many there are.")] = False,
    wal: Annotated[
        Path | None,
        typer.Option("--wal", metavar="DIR", help="Read the log's segments from this folder, as of an archive."),
    ] = None,
    wal_limit: Annotated[
        int,
        typer.Option("--wal-limit", metavar="N", min=1, max=10_000, help="The most segments of the log to read."),
    ] = 30,
    allow_extension: opt.AllowExtension = False,
    output: opt.OutputFormat = None,
    dsn: opt.Dsn = None,
    service: opt.Service = None,
    config: opt.Config = None,
    schema: opt.Schema = None,
    timeout: opt.Timeout = 60.0,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
) -> int:
    """Show how a campaign got to where it is, from what PostgreSQL's log still holds: each batch, count and kill.

    The server keeps its write-ahead log for minutes to days without being asked: look soon, and --save. Reads only.
    Needs a superuser, or pg_monitor and EXECUTE on pg_read_binary_file. With --allow-extension also pg_walinspect will
    do (PostgreSQL 16), and a superuser sees what still lies on the table's pages. With --recorded FILE what
    watch --record or --save kept is shown.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands import _timelines

    asked = _timelines.Request(campaign, save, recorded, every, wal, wal_limit, output, allow_extension)
    _timelines.check(asked)
    return _timelines.run(asked, opt.Where(dsn, service, tuple(config or ()), schema, timeout))
