"""Owns `explain`: what a check finds or a cause does, why it matters, and what to do."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from typing import Annotated

import typer

from listmonk_doctor.commands import _options as opt
from listmonk_doctor.commands.checks import HEADERS, as_row
from listmonk_doctor.errors import UsageError


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="Code or name of a check (LM101) or a cause (M1).")],
    *,
    output: opt.OutputFormat = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the check's file, to be run in psql.")] = False,
    verbose: opt.Verbose = False,
) -> None:
    """Explain a check or a cause: what it means, why that matters, what to do. Needs no database."""
    from listmonk_doctor.commands._output import chosen, emit, emit_json, show
    from listmonk_doctor.diagnosis.catalogue import find
    from listmonk_doctor.diagnosis.lexicon import look_up

    opt.STATE.say(verbose=verbose)
    cause = look_up(code)
    if cause is not None and sql:
        raise UsageError(f"{cause.code} is a cause, not a check: there is no SQL of it.")
    if cause is None and sql:
        emit([find(code).sql.decode()])
        return
    row = as_row(find(code)) if cause is None else cause.row()
    style = chosen(output)
    if style is opt.Format.JSON:
        from listmonk_doctor.render import json_

        checks, causes = ([row], []) if cause is None else ([], [row])
        emit_json({**json_.listed("explain", "checks", checks), "causes": causes})
    elif style is opt.Format.CSV:
        from listmonk_doctor.render import csv_

        headers = (*HEADERS, "text") if cause is None else tuple(row)
        emit(csv_.listed([{**row, "tags": " ".join(row.get("tags", ()))}], headers))
    else:
        from listmonk_doctor.render import pages_scan

        show(pages_scan.explain(row), style)
