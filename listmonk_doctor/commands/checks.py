"""Owns `checks`: the list of everything that is looked for."""

# Typer reads the annotations at run time, so they are not postponed.
from typing import TYPE_CHECKING, Any

from listmonk_doctor.commands import _options as opt
from listmonk_doctor.commands._output import chosen, emit, emit_json, show

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.catalogue import Check

HEADERS = ("code", "name", "severity", "tags", "since", "before")


def checks(*, output: opt.OutputFormat = None, verbose: opt.Verbose = False) -> None:
    """List all checks. Needs no database."""
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
    since, before = check.since and str(check.since), check.before and str(check.before)
    words = [f"{since} and later" if since and not before else f"from {since}" if since else "", f"before {before}" if before else ""]
    return {
        "code": check.code,
        "name": check.name,
        "severity": check.severity,
        "tags": list(check.tags),
        "since": since or None,
        "before": before or None,
        "versions": " ".join(word for word in words if word) or "all versions",
        "text": check.text,
    }
