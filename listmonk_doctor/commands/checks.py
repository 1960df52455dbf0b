"""Owns `checks`: the list of everything that is looked for."""

# Typer reads the annotations at run time, so they are not postponed; what does the work is imported when it is run.
from typing import TYPE_CHECKING, Any

from listmonk_doctor.commands import _options as opt

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.catalogue import Check

HEADERS = ("code", "name", "severity", "tags", "since", "before")


def checks(*, output: opt.OutputFormat = None, verbose: opt.Verbose = False) -> None:
    """List all checks. Needs no database."""
    from listmonk_doctor.commands._output import chosen, emit, emit_json, show
    from listmonk_doctor.diagnosis.catalogue import catalogue

    opt.STATE.say(verbose=verbose)
    rows = [as_row(check) for check in catalogue()]
    style = chosen(output)
    if style is opt.Format.JSON:
        from listmonk_doctor.render import json_

        emit_json(json_.listed("checks", "checks", rows))
    elif style is opt.Format.CSV:
        from listmonk_doctor.render import csv_

        emit(csv_.listed([{**row, "tags": " ".join(row["tags"])} for row in rows], HEADERS))
    else:
        from listmonk_doctor.render import pages_scan

        show(pages_scan.checks(rows), style)


def as_row(check: "Check") -> dict[str, Any]:
    """Return a check's declaration, with its versions in words."""
    return {
        "code": check.code,
        "name": check.name,
        "severity": check.severity,
        "tags": list(check.tags),
        "since": check.since and str(check.since),
        "before": check.before and str(check.before),
        "versions": versions(check),
        "text": check.text,
    }


def versions(check: "Check") -> str:
    """Return the versions that a check is for, in words."""
    if check.since and check.before:
        return f"{check.since} to before {check.before}"
    if check.since:
        return f"{check.since} and later"
    return f"before {check.before}" if check.before else "all versions"
