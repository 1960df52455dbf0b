"""Owns `explain`: what one check finds, why it matters, and what to do."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt
from listmonk_doctor.commands.checks import HEADERS, as_row


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="A check's code or name, as in LM101.")],
    *,
    output: opt.OutputFormat = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the check's file, to be run in psql.")] = False,
    verbose: opt.Verbose = False,
) -> None:
    """Explain a check: what it finds, why that matters, what to do. Needs no database."""
    from listmonk_doctor.commands._output import chosen, emit, emit_json, show
    from listmonk_doctor.diagnosis.catalogue import find

    opt.STATE.say(verbose=verbose)
    check = find(code)
    if sql:
        emit([check.sql.decode()])
        return
    row = as_row(check)
    style = chosen(output)
    if style is opt.Format.JSON:
        from listmonk_doctor.render import json_

        emit_json(json_.listed("explain", "checks", [row]))
    elif style is opt.Format.CSV:
        from listmonk_doctor.render import csv_

        emit(csv_.listed([{**row, "tags": " ".join(row["tags"])}], (*HEADERS, "text")))
    else:
        from listmonk_doctor.render import pages_scan

        show(pages_scan.explain(row), style)
