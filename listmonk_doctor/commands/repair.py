"""Owns `repair`: a dry run that shows everything, and on request the very same written."""

# Typer reads the annotations at run time, so they are not postponed.
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listmonk_doctor.commands import _applying, _repairing
from listmonk_doctor.commands import _options as opt
from listmonk_doctor.commands._output import chosen, emit, emit_json, show
from listmonk_doctor.commands._session import Database, opened, warn_if_newer, writable
from listmonk_doctor.errors import ExitCode, UsageError, worst
from listmonk_doctor.render.outcome import Outcome, RunReport

if TYPE_CHECKING:
    from listmonk_doctor.repair.apply import ApplyResult

UNDO_HEAD = r"""
-- The undo follows, for later: keep all that comes after the next line as a file of its own. psql reads no further.
\q
"""
"""Commenting the undo out would not do: a name in it may hold a carriage return, which ends a comment in psql."""
STRATEGIES = "resume, rewind, unschedule, detach-list, accept"


def repair(  # noqa: PLR0913 - one per option
    campaign: Annotated[
        str | None,
        typer.Argument(metavar="CAMPAIGN", help="Id, uuid, or (dry run only) name; none: all that scan finds."),
    ] = None,
    *,
    strategy: Annotated[str | None, typer.Option("--strategy", help=f"One of {STRATEGIES}.")] = None,
    prefer: Annotated[opt.Prefer, typer.Option("--prefer", help="What is the lesser evil.")] = opt.Prefer.NO_DUPLICATES,
    apply: Annotated[bool, typer.Option("--apply", help="Write what is shown.")] = False,
    yes: opt.Yes = False,
    plan_out: Annotated[
        Path | None,
        typer.Option("--plan-out", metavar="FILE", help="Save the plan, to be applied with --plan."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Show or apply a plan that was saved."),
    ] = None,
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Print the transaction and its undo as scripts for a DBA; write nothing."),
    ] = False,
    undo_out: Annotated[
        Path | None,
        typer.Option("--undo-out", metavar="PLACE", help="File or folder of the undo script (default: this folder)."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why a finding is accepted (with --strategy accept).")] = "",
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="Until when it is accepted, as in 2027-01-31."),
    ] = None,
    app_stopped: opt.AppStopped = False,
    no_look: opt.NoLook = False,
    allow_unknown_version: opt.UnknownVersion = False,
    output: opt.OutputFormat = None,
    dsn: opt.Dsn = None,
    service: opt.Service = None,
    config: opt.Config = None,
    schema: opt.Schema = None,
    timeout: opt.Timeout = 60.0,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
) -> int:
    """Show what a repair would change and cost; write it with --apply.

    Without --apply nothing is written, and the exit code is 4 where a repair would change something. What is applied
    is refused if anything has moved since it was shown, and can be taken back with undo.
    """
    opt.STATE.say(verbose=verbose, quiet=quiet)
    _check(
        campaign=campaign,
        strategy=strategy,
        plan=plan,
        plan_out=plan_out,
        reason=reason,
        until=until,
        apply=apply,
        yes=yes,
        sql=sql,
        output=output,
    )
    if apply:
        _applying.may_apply(yes=yes, saved=plan is not None)
    place = _applying.place_of(undo_out) if apply else None
    with opened(opt.Where(dsn, service, tuple(config or ()), schema, timeout)) as database:
        warn_if_newer(database)
        if apply or sql:
            writable(database, allowed=allow_unknown_version)
        if plan is not None:
            from listmonk_doctor.repair import planfile

            made = [_repairing.of_plan(each) for each in planfile.read(plan)]
        else:
            made = _repairing.outcomes(
                database,
                campaign,
                strategy=strategy,
                prefer=prefer,
                reason=reason,
                until=_moment(until),
                exactly=apply,
                wait=not no_look,
                app_stopped=app_stopped,
            )
        if sql:
            return _print_sql(database, made, undo_out)
        if plan_out is not None:
            _save(made, plan_out)
        report = RunReport("repair", tuple(made), plan_file=plan_out or plan)
        if not apply:
            print_report(report, output, database.again)
            return code_of(report)
        return _apply(database, report, place, output, yes=yes, app_stopped=app_stopped)


def _check(  # noqa: PLR0913 - one per option
    *,
    campaign: str | None,
    strategy: str | None,
    plan: Path | None,
    plan_out: Path | None,
    reason: str,
    until: str | None,
    apply: bool,
    yes: bool,
    sql: bool,
    output: opt.Format | None,
) -> None:
    """Raise UsageError for options that contradict each other."""
    names = STRATEGIES.split(", ")
    if strategy is not None and strategy not in names:
        raise UsageError(f'There is no strategy "{strategy}".', hint=f"There are {STRATEGIES}.")
    if plan is not None and (campaign or strategy or plan_out or sql):
        raise UsageError("--plan says everything: campaign, strategy, --plan-out and --sql do not go with it.")
    if strategy is not None and campaign is None:
        raise UsageError("--strategy is for one campaign.", hint="Name the campaign: repair CAMPAIGN --strategy ...")
    if sql and (apply or plan_out):
        raise UsageError("--sql writes nothing, so --apply and --plan-out do not go with it.")
    if sql and output in (opt.Format.JSON, opt.Format.CSV):
        raise UsageError("--sql prints SQL, so --format does not go with it.")
    if apply and plan_out:
        raise UsageError("--plan-out saves a dry run, so --apply does not go with it.")
    if yes and not apply:
        raise UsageError("--yes answers the question that --apply asks; without --apply nothing is written.")
    if strategy == "accept" and not reason.strip():
        raise UsageError("Say why it is accepted.", hint='Add --reason "...": it is kept in the journal.')
    if strategy != "accept" and (reason or until):
        raise UsageError("--reason and --until go with --strategy accept.")
    _moment(until)


def _moment(text: str | None) -> str | None:
    """Return a date or time (UTC unless it says otherwise) as ISO 8601. Raises UsageError where it is none or past."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("--until is no date.", hint="Write it as in 2027-01-31 or 2027-01-31T12:00:00Z.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise UsageError("--until is in the past.")
    return moment.astimezone(UTC).isoformat()


def code_of(report: RunReport) -> int:
    """Return a dry run's exit code: 3 where something was refused, 4 where something would be written, else 0."""
    return int(
        worst(
            *(
                ExitCode.FAILED if each.refused else ExitCode.WOULD_CHANGE if each.plan else ExitCode.OK
                for each in report.outcomes
            ),
        ),
    )


def print_report(report: RunReport, output: opt.Format | None, again: str, *, brief: bool = False) -> None:
    """Write a repair or an undo to stdout; `brief` leaves out what was shown before."""
    style = chosen(output)
    if style is opt.Format.JSON:
        from listmonk_doctor.render import json_

        emit_json(json_.run(report))
    elif style is opt.Format.CSV:
        from listmonk_doctor.render import csv_

        emit(csv_.run(report))
    else:
        from listmonk_doctor.render import pages_repair

        now = datetime.now(UTC)
        if brief:
            emit(["\n"])
        show(pages_repair.result(report, again) if brief else pages_repair.run(report, now, again), style)


def _save(made: list[Outcome], path: Path) -> None:
    """Save the plans. Raises UsageError where there is none."""
    from listmonk_doctor.repair import planfile

    plans = [each.plan for each in made if each.plan is not None]
    if plans:
        planfile.write(plans, path)


def _apply(  # noqa: PLR0913 - what was asked for
    database: Database,
    report: RunReport,
    place: Path | None,
    output: opt.Format | None,
    *,
    yes: bool,
    app_stopped: bool,
) -> int:
    """Show the plans to a person, ask, write them, and say what became of each."""
    plans = [each.plan for each in report.outcomes if each.plan is not None]
    people = chosen(output) in (opt.Format.TERMINAL, opt.Format.PLAIN)
    if people or not plans:
        print_report(replace(report, asking=True), output, database.again)
    if not plans:
        return code_of(report)
    many = f"these {len(plans)} campaigns" if len(plans) > 1 else f"campaign {plans[0].campaign_id}"
    _applying.confirm(f"Write this to {many}?", yes=yes)
    result = _applying.run(database, plans, undo_out=place, app_stopped=app_stopped)
    done = told(report, result)
    print_report(done, output, database.again, brief=True)
    return int(worst(result.code, *(ExitCode.FAILED for each in done.outcomes if each.refused)))


def told(report: RunReport, result: "ApplyResult") -> RunReport:
    """Return the report with what became of each plan."""
    became = {each.plan.campaign_id: each for each in result.campaigns}
    outcomes = []
    for outcome in report.outcomes:
        applied = became.get(outcome.campaign_id)
        if applied is not None:
            hint = applied.error.hint if applied.error else ""
            outcome = replace(outcome, applied=applied.applied, refused=applied.refused, hint=hint)  # noqa: PLW2901
        outcomes.append(outcome)
    run = result.run if any(each.applied for each in result.campaigns) else None
    return replace(report, outcomes=tuple(outcomes), run=run, undo_file=result.undo_file)


def _print_sql(database: Database, made: list[Outcome], undo_out: Path | None) -> int:
    """Print the scripts of the plans, and their undo: to a file if one is named, else where psql does not read on."""
    import uuid

    from listmonk_doctor import __version__
    from listmonk_doctor.commands._failures import say
    from listmonk_doctor.repair import planfile, script

    run = str(uuid.uuid4())
    undo: list[str] = []
    for each in made:
        if each.plan is None:
            say(f"Campaign {each.campaign_id} is left out: {each.refused or 'there is nothing to change'}.")
            continue
        emit([script.sql_script(each.plan, database.schema, run=run, version=__version__), "\n"])
        if each.plan.changes:
            undo.append(script.undo_script(each.plan, database.schema, run=run, version=__version__))
    if undo and undo_out is not None:
        path = undo_out / f"listmonk-doctor-undo-{run}.sql" if undo_out.is_dir() else undo_out
        planfile.create(path, "\n".join(undo))
        say(f"The undo script is {path}")
    elif undo:
        emit([UNDO_HEAD, "\n".join(undo)])
    return int(worst(*(ExitCode.FAILED if each.refused else ExitCode.OK for each in made)))
