"""Owns what `repair --apply` and `undo --apply` share: asking, the looks within the transaction, and the last word."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor import __version__
from listmonk_doctor.commands._options import STATE
from listmonk_doctor.commands._reporting import code_of, for_people, print_report, told
from listmonk_doctor.commands._session import Countdown, Database
from listmonk_doctor.errors import ExitCode, RefusedError, UsageError, worst
from listmonk_doctor.listmonk.versions import behaves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from listmonk_doctor.commands._evidence import Evidence
    from listmonk_doctor.commands._options import Format
    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.render.outcome import RunReport
    from listmonk_doctor.repair.apply import ApplyResult
    from listmonk_doctor.repair.plan import Diagnosis, Plan

IN_JOURNAL = "what was committed by then is in the journal: `listmonk-doctor history` lists it."


def askable() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


SAVE_FIRST: Final = (
    "Add --yes; or save the plan with --plan-out FILE, look at it, and apply it with --plan FILE --apply."
)
LOOK_FIRST: Final = "Look at what it would change by leaving out --apply; then add --yes."


def may_apply(output: Format | None, *, yes: bool, saved: bool, hint: str = SAVE_FIRST) -> None:
    """Raise UsageError where nobody can be asked, and neither --yes nor a plan file (`saved`) has answered.

    Somebody who reads JSON or CSV is shown no plan, so is not asked either. `hint` is the way out.
    """
    if not (yes or saved or (askable() and for_people(output))):
        raise UsageError("There is nobody to ask, so nothing was applied.", hint=hint)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal, where only "yes" will do. Raises RefusedError for any other answer."""
    if yes or not askable():
        return
    sys.stderr.write(f"{question} Type yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise RefusedError("Not confirmed; nothing was changed.")


def show_and_write(  # noqa: PLR0913 - what was asked for
    database: Database,
    report: RunReport,
    output: Format | None,
    *,
    undo_out: Path | None,
    yes: bool,
    app_stopped: bool,
    evidence: Evidence | None = None,
) -> int:
    """Show the plans to a person, ask, write those that are not refused, and say what became of each."""
    plans = [each.plan for each in report.outcomes if each.plan is not None and not each.refused]
    people = for_people(output)
    if people or not plans:
        print_report(replace(report, asking=True), output, database.again)
    if not plans:
        return code_of(report)
    if people:
        confirm(_question(report, plans), yes=yes)
    result = run(database, plans, undo_out=undo_out, app_stopped=app_stopped, evidence=evidence)
    done = told(report, result)
    print_report(done, output, database.again, brief=True)
    partly = bool(done.failed) or any(each.refused for each in done.outcomes)
    return int(worst(result.code, ExitCode.FAILED if partly else ExitCode.OK))


def _question(report: RunReport, plans: Sequence[Plan]) -> str:
    """Return what is asked before something is written."""
    named = f"these {len(plans)} campaigns" if len(plans) > 1 else f"campaign {plans[0].campaign_id}"
    return f"Take run {report.of_run} back for {named}?" if report.of_run else f"Write this to {named}?"


class Reader:
    """Reads within the transaction of `apply` what a plan rests on."""

    def __init__(self, database: Database, *, app_stopped: bool, evidence: Evidence | None = None) -> None:
        self.database = database
        self.app_stopped = app_stopped
        self.evidence = evidence

    def _diagnosis(self, conn: Connection, plan: Plan, *, log: bool = True) -> Diagnosis | None:
        from listmonk_doctor.repair.diagnose import diagnose_in

        ids = [plan.campaign_id]
        groups = plan.guards.get("follow_up", {}).get("groups") or None
        with conn.cursor() as cursor:
            told = self.evidence.heard(cursor, ids, log=log) if self.evidence is not None else None
            found = diagnose_in(cursor, ids, server=None, app_stopped=self.app_stopped, recordings=told, groups=groups)
        return found.get(plan.campaign_id)

    def reprice(self, conn: Connection, plan: Plan) -> Plan | None:
        """Make the plan anew from today's rows; None where its strategy is refused or gone."""
        from listmonk_doctor.commands import _undoing
        from listmonk_doctor.repair.plan import TENDING

        if plan.undoes is not None:
            return _undoing.priced(conn, plan)
        if plan.strategy in TENDING:
            from listmonk_doctor.repair import tending

            with conn.cursor() as cursor:
                return tending.again(cursor, plan)
        anew = self._made(conn, plan)
        if self.evidence is None or not self.evidence.logged or (anew and _alike(anew, plan)):
            return anew
        # It was made without the log (by a role that may not read it, perhaps): what holds without it holds with it.
        without = self._made(conn, plan, log=False)
        return without if without and _alike(without, plan) else anew

    def _made(self, conn: Connection, plan: Plan, *, log: bool = True) -> Plan | None:
        """Plan the same strategy again; None where it is refused or gone."""
        from listmonk_doctor.repair.diagnose import make_plan

        said = self._diagnosis(conn, plan, log=log)
        option = said.option(plan.strategy, plan.prefer) if said else None
        if said is None or option is None or option.refusal:
            return None
        return make_plan(said, option, reason=plan.reason)

    def audience(self, conn: Connection, plan: Plan) -> Mapping[str, Any]:
        """Read today's audience as a plan guards it: a count and a digest."""
        said = self._diagnosis(conn, plan)
        return said.examination.facts["audience"] if said else {"count": 0, "digest": ""}


def _alike(one: Plan, other: Plan) -> bool:
    """Tell whether two plans change the same for the same price."""
    return one.changes == other.changes and one.price == other.price


def server_check(database: Database, *, app_stopped: bool) -> Any:
    """Return the check that `apply` makes before it locks the row: by two looks of a session of its own."""
    from datetime import UTC, datetime

    from listmonk_doctor.database.connection import connect
    from listmonk_doctor.listmonk.facts import read_campaigns
    from listmonk_doctor.listmonk.server import PERIOD, two_looks
    from listmonk_doctor.repair.gate import may_write
    from listmonk_doctor.repair.plan import ROW_LEFT_ALONE, TENDING

    def check(conn: Connection, plan: Plan) -> None:
        with conn.cursor() as cursor:
            campaign = read_campaigns(cursor, [plan.campaign_id])[plan.campaign_id]
            now = cursor.execute("SELECT clock_timestamp()").fetchall()[0][0] or datetime.now(UTC)
        left_alone = plan.strategy in TENDING or (plan.strategy in ROW_LEFT_ALONE and plan.undoes is not None)
        if left_alone and (plan.strategy == "follow-up" or campaign.status != "cancelled"):
            return  # a cancelled one may still drain, and its lists must not go meanwhile
        unschedule = plan.strategy == "unschedule" and plan.undoes is None
        if (
            unschedule
            and may_write(
                campaign,
                now=now,
                running=True,
                pipe="open",
                app_stopped=False,
                unschedule=True,
            ).open
        ):
            return
        countdown = Countdown()
        with connect(database.target) as watch:
            try:
                state = two_looks(
                    watch,
                    database.schema,
                    [campaign.id],
                    heartbeat=behaves("heartbeat", database.version),
                    at_least=PERIOD if campaign.status == "running" else 0.0,
                    on_wait=countdown.show,
                )
            finally:
                countdown.end()
        gate = may_write(
            campaign,
            now=now,
            running=state.running,
            pipe=state.pipes[campaign.id],
            app_stopped=app_stopped,
            unschedule=unschedule,
        )
        if not gate.open:
            raise RefusedError(
                f"Campaign {campaign.id} may not be written now: {gate.because}.",
                hint=f"Nothing was written. What was seen: {state.because}.",
            )

    return check


def run(
    database: Database,
    plans: Sequence[Plan],
    *,
    undo_out: Path | None,
    app_stopped: bool,
    evidence: Evidence | None = None,
) -> ApplyResult:
    """Apply plans as one run, and keep in mind for Ctrl-C that something may be written from here on."""
    from listmonk_doctor.repair.apply import apply

    if evidence is not None:
        evidence.prepare(database, [plan.campaign_id for plan in plans])
    reader = Reader(database, app_stopped=app_stopped, evidence=evidence)
    STATE.written = IN_JOURNAL
    result = apply(
        database.conn,
        plans,
        schema=database.schema,
        reprice=reader.reprice,
        audience=reader.audience,
        check_server=server_check(database, app_stopped=app_stopped),
        undo_out=undo_out,
        version=__version__,
    )
    if not any(each.applied for each in result.campaigns):
        STATE.written = ""
    return result


def place_of(undo_out: Path | None) -> Path:
    """Return where the undo script goes: as asked, else the current folder. Raises UsageError where it cannot be."""
    place = undo_out or Path.cwd()
    folder = place if place.is_dir() else place.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            f"The undo script cannot be written to {folder}; nothing was changed.",
            hint="Name a place with --undo-out.",
        )
    return place
