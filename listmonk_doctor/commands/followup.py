"""Owns the command line of `follow-up`: tending one that `repair --strategy follow-up` made."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt

HELP = "Tend a follow-up: refresh its list before it is started, settle it once it was sent."

FollowUp = Annotated[
    str,
    typer.Argument(metavar="CAMPAIGN", help="The follow-up or its original: id, uuid, or (dry run only) name."),
]


def refresh(  # noqa: PLR0913 - one per option
    campaign: FollowUp,
    *,
    apply: opt.Apply = False,
    yes: opt.Yes = False,
    sql: opt.Sql = False,
    undo_out: opt.UndoOut = None,
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
    """Show whom to take off a follow-up's list before Start; --apply does it.

    Off goes whoever was blocklisted, has left the lists of the original since, or is proved by now to have been
    mailed. Nobody is put on the list.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands import _followup_run as work

    asked = work.Asked("refresh", campaign, apply, yes, sql, undo_out, allow_unknown_version, output)
    return work.run(asked, opt.Where(dsn, service, tuple(config or ()), schema, timeout))


def settle(  # noqa: PLR0913 - one per option
    campaign: FollowUp,
    *,
    remove_list: Annotated[
        bool, typer.Option("--remove-list", help="Remove the follow-up's list with its subscriptions, too.")
    ] = False,
    apply: opt.Apply = False,
    yes: opt.Yes = False,
    sql: opt.Sql = False,
    undo_out: opt.UndoOut = None,
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
    """Show how a sent follow-up is given the lists of its original; --apply does it.

    The unsubscribe links in its mails then lead to the lists that people know, and whoever unsubscribed through the
    follow-up's list is unsubscribed from these lists.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands import _followup_run as work

    asked = work.Asked(
        "settle", campaign, apply, yes, sql, undo_out, allow_unknown_version, output, remove_list=remove_list
    )
    return work.run(asked, opt.Where(dsn, service, tuple(config or ()), schema, timeout))


COMMANDS = (refresh, settle)
