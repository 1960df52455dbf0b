"""Owns the JSON that other programs read: one object per command, names and shapes as in the published schemas.

Strings stay what they are in the database, except that addresses are masked; everything beyond ASCII is escaped, so
that no control character or bidi mark reaches a terminal raw.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.render.changes import without_ids
from listmonk_doctor.render.json_recorded import recorded
from listmonk_doctor.render.text import mask, ranges, utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from listmonk_doctor.diagnosis.findings import Finding, NotRun, ScanReport
    from listmonk_doctor.diagnosis.report import Account, Cause, Recipients
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.render.outcome import Outcome, RunReport
    from listmonk_doctor.repair.plan import Change, Diagnosis, Option

SCHEMA: Final = 1
"""The version of the envelope; it grows only when a name changes its meaning or goes away."""

GROUPS: Final = (
    "reached",
    "presumed_reached",
    "failed",
    "never_fetched",
    "not_mailed",
    "unknown",
    "newcomers",
    "departed",
)
ACCOUNT: Final = (
    "audience_at_start",
    "audience_now",
    "sent",
    "uncounted",
    "mailed",
    "failed",
    "departed_unmailed",
    "in_flight",
    "tail",
    "lost",
    "cursor_trusted",
)

Object = dict[str, Any]


def plain(data: Any) -> Any:
    """Return data as JSON has it: moments as ISO 8601 UTC, tuples as lists, addresses in strings masked."""
    if isinstance(data, str):
        return mask(data)
    if isinstance(data, datetime):
        return utc(data)
    if isinstance(data, dict):
        return {str(key): plain(each) for key, each in data.items()}
    if isinstance(data, list | tuple):
        return [plain(each) for each in data]
    if data is None or isinstance(data, bool | int | float):
        return data
    return mask(str(data)) if not isinstance(data, PurePath) else str(data)


def dumps(document: Mapping[str, Any]) -> str:
    """Return the document as indented JSON in ASCII, with a line break at its end."""
    return json.dumps(plain(dict(document)), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _head(command: str) -> Object:
    return {"schema": SCHEMA, "command": command}


def finding(each: Finding) -> Object:
    """Return a finding by the contract of `scan`."""
    return {
        "code": each.code,
        "name": each.name,
        "severity": each.severity,
        "table": each.table,
        "id": each.id,
        "label": each.label,
        "detail": each.detail,
    }


def not_run(checks: Iterable[NotRun]) -> list[Object]:
    """Return checks that were skipped or failed, with the reason."""
    return [{"code": check.code, "because": check.because} for check in checks]


def scan(report: ScanReport) -> Object:
    """Return the whole of `scan`."""
    return {
        **_head("scan"),
        "listmonk": {"version": report.version, "running": report.running},
        "findings": [finding(each) for each in report.findings],
        "skipped": not_run(report.skipped),
        "failed": not_run(report.failed),
    }


def campaign(row: Campaign) -> Object:
    """Return a campaign's progress row with its lists."""
    return {
        "id": row.id,
        "name": row.name,
        "type": row.type,
        "status": row.status,
        "sent": row.sent,
        "to_send": row.to_send,
        "last_subscriber_id": row.last_subscriber_id,
        "max_subscriber_id": row.max_subscriber_id,
        "started_at": row.started_at,
        "updated_at": row.updated_at,
        "send_at": row.send_at,
        "lists": [{"id": each.list_id, "name": each.name, "optin": each.optin} for each in row.lists],
        "uuid": row.uuid,
    }


def account(books: Account) -> Object:
    """Return a campaign's balance sheet; ranges are pairs [at least, at most]."""
    values = {name: getattr(books, name) for name in ACCOUNT}
    return {name: list(each) if isinstance(each, tuple) else each for name, each in values.items()}


def cause(each: Cause) -> Object:
    """Return a cause with its standing."""
    return {"code": each.code, "name": each.name, "standing": each.standing, "because": each.because}


def recipients(people: Recipients, *, ids: bool) -> Object:
    """Return the groups with their counts, and their ids as range strings if `ids` (else null)."""
    groups = {name: getattr(people, name) for name in GROUPS}
    return {name: {"count": len(each), "ids": ranges(each) if ids else None} for name, each in groups.items()}


def change(each: Change, *, ids: bool = False) -> Object:
    """Return one row's change, or that of many rows alike; the ids of their people only if `ids`."""
    before, after = (each.before, each.after) if ids else (without_ids(each.before), without_ids(each.after))
    return {"table": each.table, "key": each.key, "before": before, "after": after}


def option(each: Option, *, ids: bool = False) -> Object:
    """Return a strategy with its price."""
    hoped = each.presumably
    presumably = hoped and {
        "missed": list(hoped.missed),
        "duplicates": list(hoped.duplicates),
        "assumptions": list(hoped.assumptions),
    }
    return {
        "strategy": each.strategy,
        "prefer": each.prefer,
        "recommended": each.recommended,
        "allowed_now": each.allowed_now,
        "because": each.because,
        "changes": [change(one, ids=ids) for one in each.changes],
        "missed": list(each.missed),
        "duplicates": list(each.duplicates),
        "newcomers": list(each.newcomers),
        "would_mail": list(each.would_mail),
        "presumably": presumably,
        "refused": each.refusal or None,
        "groups": list(each.groups),
    }


def diagnosis(said: Diagnosis, *, ids: bool) -> Object:
    """Return everything that is said of one campaign, in the order of the contract."""
    seen = said.examination
    return {
        "advice": list(said.advice),
        "campaign": campaign(seen.campaign),
        "pipe": seen.pipe,
        "verdict": seen.verdict,
        "account": account(seen.account),
        "causes": [cause(each) for each in seen.causes],
        "assumptions": [each.sentence for each in seen.assumptions],
        "recipients": recipients(seen.recipients, ids=ids),
        "strategies": [option(each, ids=ids) for each in said.options],
        "assumption_codes": [each.code for each in seen.assumptions],
        "pipe_because": seen.pipe_because,
        "listmonk": {"version": seen.version, "running": seen.running},
        "findings": [finding(each) for each in seen.findings],
        "candidates": [
            {
                "ids": f"{block.first_id}-{block.last_id}" if ids else None,
                "ranks": [block.first_rank, block.last_rank],
                "people": block.people,
                "because": block.because,
            }
            for block in seen.candidates
        ],
        "happened": list(seen.happened),
        "known": list(seen.known),
        "unknowable": list(seen.unknowable),
    }


def examine(said: Diagnosis, report: ScanReport | None = None, *, ids: bool = False) -> Object:
    """Return the whole of `examine`; `report` tells which checks did not run."""
    checks = {"skipped": not_run(report.skipped), "failed": not_run(report.failed)} if report else {}
    recording = {"recorded": recorded(said.examination.recorded, ids=ids)}
    return {**_head("examine"), **diagnosis(said, ids=ids), **recording, **checks}


def _outcome(outcome: Outcome, command: str, *, ids: bool) -> Object:
    """Return one campaign of a repair or an undo: what `examine` says, where it was asked, and what was done."""
    if outcome.diagnosis is not None:
        said = diagnosis(outcome.diagnosis, ids=ids)
    else:
        said = {"campaign": {"id": outcome.campaign_id, "name": outcome.campaign_name}}
        if outcome.plan is not None and outcome.plan.undoes is not None:
            said = {"advice": list(outcome.advice), **said}
        elif command == "follow-up":
            said = {"advice": list(outcome.plan.notes if outcome.plan else outcome.advice), **said}
    done: Object = {
        "strategy": outcome.strategy,
        "prefer": outcome.prefer,
        "applied": outcome.applied,
        "changes": [change(each, ids=ids) for each in outcome.changes],
        "refused": outcome.refused or None,
        "price": dict(outcome.plan.price) if outcome.plan else None,
        "lasts_seconds": [round(each, 1) for each in outcome.lasts] if outcome.lasts else None,
    }
    return {**said, **done}


def run(report: RunReport, *, ids: bool = False) -> Object:
    """Return the whole of `repair` or `undo`, or of `follow-up`, whose two commands share one schema."""
    command = report.command.partition(" ")[0]
    return {
        **_head(command),
        "run": report.run,
        "of_run": report.of_run,
        "applied": report.applied,
        "undo_file": report.undo_file,
        "plan_file": report.plan_file,
        "campaigns": [_outcome(each, command, ids=ids) for each in report.outcomes],
        "failed": not_run(report.failed),
    }


def listed(command: str, name: str, rows: Sequence[Mapping[str, Any]]) -> Object:
    """Return a command that lists things: `history` its runs, `checks` and `explain` the checks."""
    return {**_head(command), name: [dict(row) for row in rows]}
