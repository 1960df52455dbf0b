"""Owns the work of `follow-up refresh` and `follow-up settle`: planning, showing, writing, or printing scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from listmonk_doctor.commands import _applying
from listmonk_doctor.commands._options import Format
from listmonk_doctor.commands._reporting import code_of, print_report
from listmonk_doctor.commands._session import found, opened, warn_if_newer, writable
from listmonk_doctor.errors import UsageError
from listmonk_doctor.render.outcome import Outcome, RunReport

if TYPE_CHECKING:
    from pathlib import Path

    from listmonk_doctor.commands._options import Where
    from listmonk_doctor.commands._session import Database
    from listmonk_doctor.repair.plan import Plan


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    what: Literal["refresh", "settle"]
    campaign: str
    apply: bool
    yes: bool
    sql: bool
    undo_out: Path | None
    allow_unknown_version: bool
    output: Format | None
    remove_list: bool = False


def run(asked: Asked, where: Where) -> int:
    """Do what was asked and return the exit code."""
    _check(asked)
    place = _applying.place_of(asked.undo_out) if asked.apply else None
    with opened(where) as database:
        warn_if_newer(database)
        if asked.apply or asked.sql:
            writable(database, allowed=asked.allow_unknown_version)
        plan = _planned(database, asked)
        outcome = Outcome(plan.campaign_id, plan.campaign_name, changes=plan.changes, plan=plan)
        if not plan.changes:
            outcome = Outcome(plan.campaign_id, plan.campaign_name, advice=plan.notes)
        report = RunReport(f"follow-up {asked.what}", (outcome,))
        if asked.sql:
            from listmonk_doctor.commands._repair_run import print_sql
            from listmonk_doctor.commands._repairing import Made

            return print_sql(database, Made([outcome]), asked.undo_out)
        if not asked.apply:
            flags = " --allow-unknown-version" if asked.allow_unknown_version else ""
            print_report(report, asked.output, database.again + flags)
            return code_of(report)
        return _applying.show_and_write(
            database, report, asked.output, undo_out=place, yes=asked.yes, app_stopped=False
        )


def _check(asked: Asked) -> None:
    """Raise UsageError for options that contradict each other."""
    if asked.sql and asked.apply:
        raise UsageError("--sql writes nothing, so --apply does not go with it.")
    if asked.sql and asked.output in (Format.JSON, Format.CSV):
        raise UsageError("--sql prints SQL, so --format does not go with it.")
    if asked.yes and not asked.apply:
        raise UsageError("--yes answers the question that --apply asks; without --apply nothing is written.")
    if asked.apply:
        _applying.may_apply(asked.output, yes=asked.yes, saved=False, hint=_applying.LOOK_FIRST)


def _planned(database: Database, asked: Asked) -> Plan:
    """Return the plan, from one snapshot. Raises RefusedError where there is no such follow-up, or not yet."""
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.repair import tending

    named = found(database, asked.campaign, exactly=asked.apply)
    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
        tended = tending.find(cursor, named.id)
        if asked.what == "refresh":
            return tending.refresh(cursor, tended)
        return tending.settle(cursor, tended, remove_list=asked.remove_list)
