"""Owns `scan`: all campaigns by all checks, in milliseconds."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from typing import TYPE_CHECKING, Annotated

import typer

from listmonk_doctor.commands import _options as opt
from listmonk_doctor.errors import ExitCode, worst

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.catalogue import Check
    from listmonk_doctor.diagnosis.findings import ScanReport

_ORDER = ("info", "warning", "error")


def scan(  # noqa: PLR0913 - one per option
    *,
    fail_on: Annotated[
        opt.Severity,
        typer.Option("--fail-on", help="From which severity on a finding makes the exit code 1."),
    ] = opt.Severity.WARNING,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="CODE", help="Report only this check (can be repeated)."),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="CODE", help="Do not report this check (can be repeated)."),
    ] = None,
    output: opt.OutputFormat = None,
    dsn: opt.Dsn = None,
    service: opt.Service = None,
    config: opt.Config = None,
    schema: opt.Schema = None,
    timeout: opt.Timeout = 60.0,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
) -> int:
    """Look for campaigns that lost people or are in danger.

    Reads only, never waits. Exits 1 if there are findings, 3 if something could not be checked.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    from listmonk_doctor.commands import _scanning
    from listmonk_doctor.commands._session import opened

    checks = _chosen(check, skip)
    with opened(opt.Where(dsn, service, tuple(config or ()), schema, timeout)) as database:
        report = _scanning.scanned(database, checks, _load_the_page)
        _print(report, output, fail_on, database.again)
    return code_of(report, fail_on)


def _load_the_page() -> None:
    """Import what draws a scan that is short: the server's work is used for it."""
    import listmonk_doctor.commands._output
    import listmonk_doctor.render.pages_scan
    import listmonk_doctor.render.plain  # noqa: F401


def code_of(report: "ScanReport", fail_on: str) -> int:
    """Return the exit code of a scan: 3 where a check failed, else 1 where a finding counts."""
    failed = ExitCode.FAILED if report.failed else ExitCode.OK
    counts = any(_ORDER.index(each.severity) >= _ORDER.index(fail_on) for each in report.findings)
    return int(worst(failed, ExitCode.FINDINGS if counts else ExitCode.OK))


def _chosen(wanted: list[str] | None, unwanted: list[str] | None) -> "tuple[Check, ...] | None":
    """Return the checks to run (None: all). Raises UsageError for a check that does not exist."""
    if not wanted and not unwanted:
        return None
    from listmonk_doctor.diagnosis.catalogue import catalogue, find

    named = {find(each).code for each in wanted or ()} or {each.code for each in catalogue()}
    named -= {find(each).code for each in unwanted or ()}
    return tuple(each for each in catalogue() if each.code in named)


def _print(report: "ScanReport", output: opt.Format | None, fail_on: str, again: str) -> None:
    """Write the report to stdout."""
    from listmonk_doctor.commands._failures import say
    from listmonk_doctor.commands._output import chosen, emit, emit_json, show

    style = chosen(output)
    for warning in report.warnings:
        say(f"Warning: {warning}")
    if style is opt.Format.JSON:
        from listmonk_doctor.render import json_

        emit_json(json_.scan(report))
        return
    if style is opt.Format.CSV:
        from listmonk_doctor.render import csv_

        emit(csv_.scan(report))
        return
    from listmonk_doctor.render import pages_scan

    if opt.STATE.quiet:
        loud = tuple(each for each in report.findings if _ORDER.index(each.severity) >= _ORDER.index(fail_on))
        show(pages_scan.scan_lines(report._replace(findings=loud)), opt.Format.PLAIN)
    elif style is opt.Format.TERMINAL:
        show(pages_scan.scan(report, again), style)
    else:
        show(pages_scan.scan_table(report), style)
