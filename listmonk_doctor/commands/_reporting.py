"""Owns what `repair` and `undo` say of a run: the report in the format asked for, and the exit code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from listmonk_doctor.commands._options import Format
from listmonk_doctor.commands._output import chosen, emit, emit_json, show
from listmonk_doctor.errors import ExitCode, worst

if TYPE_CHECKING:
    from listmonk_doctor.render.outcome import RunReport
    from listmonk_doctor.repair.apply import ApplyResult


def for_people(output: Format | None) -> bool:
    """Tell whether the result is read by a person, who is shown a plan before it is written."""
    return chosen(output) in (Format.TERMINAL, Format.PLAIN)


def code_of(report: RunReport) -> int:
    """Return a dry run's exit code: 3 where something was refused or not checked, 4 where it would write, else 0."""
    codes = (
        ExitCode.FAILED if each.refused else ExitCode.WOULD_CHANGE if each.plan else ExitCode.OK
        for each in report.outcomes
    )
    return int(worst(*codes, *(ExitCode.FAILED for _ in report.failed)))


def print_report(report: RunReport, output: Format | None, again: str, *, brief: bool = False) -> None:
    """Write a repair or an undo to stdout; `brief` leaves out, for people, what was shown before."""
    style = chosen(output)
    if style is Format.JSON:
        from listmonk_doctor.render import json_

        emit_json(json_.run(report))
    elif style is Format.CSV:
        from listmonk_doctor.render import csv_

        emit(csv_.run(report))
    else:
        from listmonk_doctor.render import pages_repair

        if brief:
            emit(["\n"])
            show(pages_repair.result(report, again), style)
        else:
            show(pages_repair.run(report, datetime.now(UTC), again), style)


def told(report: RunReport, result: ApplyResult) -> RunReport:
    """Return the report with what became of each plan."""
    became = {each.plan.campaign_id: each for each in result.campaigns}
    outcomes = []
    for outcome in report.outcomes:
        applied = became.get(outcome.campaign_id)
        if applied is None:
            outcomes.append(outcome)
            continue
        hint = applied.error.hint if applied.error else ""
        outcomes.append(replace(outcome, applied=applied.applied, refused=applied.refused, hint=hint))
    run = result.run if any(each.applied for each in result.campaigns) else None
    return replace(report, outcomes=tuple(outcomes), run=run, undo_file=result.undo_file)
