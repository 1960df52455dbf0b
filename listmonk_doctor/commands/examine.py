"""Owns `examine`: everything that can be said of one campaign."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from listmonk_doctor.commands import _options as opt
from listmonk_doctor.commands.scan import code_of

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.findings import ScanReport
    from listmonk_doctor.repair.plan import Diagnosis


def examine(  # noqa: PLR0913 - one per option
    campaign: opt.Campaign,
    *,
    ids: Annotated[bool, typer.Option("--ids", help="Give the subscriber ids of each group, too.")] = False,
    prefer: Annotated[
        opt.Prefer,
        typer.Option("--prefer", help="What is the lesser evil; the recommendation follows it."),
    ] = opt.Prefer.NO_DUPLICATES,
    recorded: opt.Recorded = None,
    timeline: opt.Timeline = "auto",
    allow_extension: opt.AllowExtension = False,
    no_look: opt.NoLook = False,
    app_stopped: opt.AppStopped = False,
    fail_on: Annotated[
        opt.Severity,
        typer.Option("--fail-on", help="From which severity on a finding makes the exit code 1."),
    ] = opt.Severity.WARNING,
    output: opt.OutputFormat = None,
    dsn: opt.Dsn = None,
    service: opt.Service = None,
    config: opt.Config = None,
    schema: opt.Schema = None,
    timeout: opt.Timeout = 60.0,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
) -> int:
    """Say what happened to a campaign, and what each repair costs.

    Who was mailed, who was not, of whom it cannot be known. Reads only; may look twice, 11 s apart, where a listmonk
    server is at work. Exits as scan does.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands._evidence import evidence
    from listmonk_doctor.commands._scanning import findings_of, tell_failed
    from listmonk_doctor.commands._session import diagnosed, found, opened, warn_if_newer

    known = evidence(recorded, timeline, extensions=allow_extension)
    with opened(opt.Where(dsn, service, tuple(config or ()), schema, timeout)) as database:
        warn_if_newer(database)
        wanted = found(database, campaign)
        said = diagnosed(
            database,
            [wanted.id],
            prefer=prefer,
            wait=not no_look,
            app_stopped=app_stopped,
            evidence=known,
        )[wanted.id]
        report = findings_of(database, said.examination)
        said = replace(said, examination=replace(said.examination, findings=report.findings))
        _print(said, report, output, database.again, ids=ids)
        tell_failed(report.failed)
    return code_of(report, fail_on)


def _print(said: "Diagnosis", report: "ScanReport", output: opt.Format | None, again: str, *, ids: bool) -> None:
    """Write the examination to stdout."""
    from listmonk_doctor.commands._output import chosen, emit, emit_json, show

    style = chosen(output)
    if style is opt.Format.JSON:
        from listmonk_doctor.render import json_

        emit_json(json_.examine(said, report, ids=ids))
    elif style is opt.Format.CSV:
        from listmonk_doctor.render import csv_

        emit(csv_.examine(said, ids=ids))
    else:
        from listmonk_doctor.render import pages_examine

        show(pages_examine.examine(said, ids=ids, again=again), style)
