"""Owns `history`: what was repaired and taken back, from the journal."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from typing import TYPE_CHECKING, Any

from listmonk_doctor.commands import _options as opt

if TYPE_CHECKING:
    from listmonk_doctor.repair.journal import Entry

HEADERS = (
    "at",
    "run",
    "command",
    "campaign_id",
    "campaign",
    "strategy",
    "prefer",
    "reason",
    "by",
    "undoes",
    "undone_by",
)


def history(  # noqa: PLR0913 - one per option
    *,
    output: opt.OutputFormat = None,
    dsn: opt.Dsn = None,
    service: opt.Service = None,
    config: opt.Config = None,
    schema: opt.Schema = None,
    timeout: opt.Timeout = 60.0,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
) -> None:
    """List what was repaired and undone here, the newest first."""
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands._output import chosen, emit, emit_json, show
    from listmonk_doctor.commands._session import opened
    from listmonk_doctor.render.text import utc, when

    with opened(opt.Where(dsn, service, tuple(config or ()), schema, timeout)) as database:
        from listmonk_doctor.repair.journal import history as entries

        rows = [as_row(entry) for entry in entries(database.conn, database.schema)]
        style = chosen(output)
        if style is opt.Format.JSON:
            from listmonk_doctor.render import json_

            emit_json(json_.listed("history", "runs", rows))
        elif style is opt.Format.CSV:
            from listmonk_doctor.render import csv_

            emit(csv_.listed([{**row, "at": utc(row["at"])} for row in rows], HEADERS))
        else:
            from listmonk_doctor.render import pages_scan

            shown = [
                {**row, "at": when(row["at"]), "campaign": f"{row['campaign_id']} {row['campaign']}"} for row in rows
            ]
            show(pages_scan.history(shown, database.again), style)


def as_row(entry: "Entry") -> dict[str, Any]:
    """Return one campaign of one run as the JSON has it; `state` is for people."""
    from listmonk_doctor.render.changes import without_ids

    if entry.undoes is not None:
        state = f"took back {entry.undoes[:8]}"
    elif entry.undone_by is not None:
        state = f"taken back by {entry.undone_by[:8]}"
    else:
        state = "stands"
    return {
        "run": entry.run,
        "at": entry.applied_at,
        "command": "repair" if entry.undoes is None else "undo",
        "campaign_id": entry.campaign_id,
        "campaign": entry.campaign_name,
        "strategy": entry.strategy,
        "prefer": entry.prefer,
        "reason": entry.reason,
        "by": entry.applied_by,
        "undoes": entry.undoes,
        "undone_by": entry.undone_by,
        "undoable": entry.undoes is None and entry.undone_by is None,
        "changes": [
            {**each, "before": without_ids(each["before"]), "after": without_ids(each["after"])}
            for each in entry.changes
        ],
        "state": state,
    }
