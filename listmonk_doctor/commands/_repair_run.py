"""Owns the work of `repair`: checking what was asked, planning, showing, saving, writing, or printing scripts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from listmonk_doctor.commands import _applying, _repairing
from listmonk_doctor.commands._options import Format
from listmonk_doctor.commands._output import emit
from listmonk_doctor.commands._reporting import code_of, print_report
from listmonk_doctor.commands._session import opened, warn_if_newer, writable
from listmonk_doctor.errors import ExitCode, UsageError
from listmonk_doctor.render.outcome import RunReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from listmonk_doctor.commands._evidence import Evidence
    from listmonk_doctor.commands._options import Prefer, Where
    from listmonk_doctor.commands._session import Database
    from listmonk_doctor.render.outcome import Outcome

UNDO_HEAD: Final = r"""
-- The undo follows, for later: keep all that comes after the next line as a file of its own. psql reads no further.
\q
"""
"""Commenting the undo out would not do: a name in it may hold a carriage return, which ends a comment in psql."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line of `repair` says; `wait` is whether the second look may be waited for."""

    campaign: str | None
    strategy: str | None
    prefer: Prefer | None
    groups: tuple[str, ...] | None
    apply: bool
    yes: bool
    plan_out: Path | None
    plan: Path | None
    sql: bool
    undo_out: Path | None
    reason: str
    until: str | None
    app_stopped: bool
    wait: bool
    allow_unknown_version: bool
    output: Format | None
    evidence: Evidence | None = None


def check(asked: Request, strategies: Sequence[str]) -> None:
    """Raise UsageError for options that contradict each other, before anything is connected to."""
    accepts = asked.strategy == "accept"
    wrong = (
        (
            asked.strategy not in (None, *strategies),
            f'There is no strategy "{asked.strategy}".',
            f"There are {', '.join(strategies)}.",
        ),
        (
            asked.plan and (asked.campaign or asked.strategy or asked.plan_out or asked.sql),
            "--plan says everything: campaign, strategy, --plan-out and --sql do not go with it.",
            "",
        ),
        (
            asked.strategy and asked.campaign is None and asked.plan is None,
            "--strategy is for one campaign.",
            "Name the campaign: repair CAMPAIGN --strategy ...",
        ),
        (
            asked.sql and (asked.apply or asked.plan_out),
            "--sql writes nothing, so --apply and --plan-out do not go with it.",
            "",
        ),
        (
            asked.sql and asked.output in (Format.JSON, Format.CSV),
            "--sql prints SQL, so --format does not go with it.",
            "",
        ),
        (asked.apply and asked.plan_out, "--plan-out saves a dry run, so --apply does not go with it.", ""),
        (
            asked.yes and not asked.apply,
            "--yes answers the question that --apply asks; without --apply nothing is written.",
            "",
        ),
        (accepts and not asked.reason, "Say why it is accepted.", 'Add --reason "...": it is kept in the journal.'),
        (
            asked.groups is not None and asked.strategy != "follow-up",
            "--group goes with --strategy follow-up.",
            "",
        ),
        (not accepts and (asked.reason or asked.until), "--reason and --until go with --strategy accept.", ""),
    )
    for is_wrong, message, hint in wrong:
        if is_wrong:
            raise UsageError(message, hint=hint)
    if asked.apply:
        _applying.may_apply(asked.output, yes=asked.yes, saved=asked.plan is not None)
    moment(asked.until)


def groups_of(text: str | None) -> tuple[str, ...] | None:
    """Return the groups of people that were named. Raises UsageError for one that nobody can be chosen from."""
    if text is None:
        return None
    from listmonk_doctor.repair.followup_sql import GROUPS

    named = tuple(word.strip().replace("-", "_") for word in text.split(","))
    wrong = next((name for name in named if name not in GROUPS), None)
    if wrong is not None:
        why = {
            "reached": "The reached were mailed, by proof.",
            "newcomers": "Newcomers were never to get this mail.",
            "departed": "The departed may not be mailed any more.",
        }
        raise UsageError(
            why.get(wrong, f'There is no group "{wrong}".'), hint=f"A follow-up may be for {', '.join(GROUPS)}."
        )
    return named


def moment(text: str | None) -> str | None:
    """Return a date or time (UTC unless it says otherwise) as ISO 8601. Raises UsageError where it is none or past."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("--until is no date.", hint="Write it as in 2027-01-31 or 2027-01-31T12:00:00Z.") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if found <= datetime.now(UTC):
        raise UsageError("--until is in the past.")
    return found.astimezone(UTC).isoformat()


def run(asked: Request, where: Where) -> int:
    """Do what was asked and return the exit code."""
    place = _applying.place_of(asked.undo_out) if asked.apply else None
    with opened(where) as database:
        warn_if_newer(database)
        if asked.apply or asked.sql:
            writable(database, allowed=asked.allow_unknown_version)
        made = _made(database, asked)
        if asked.sql:
            return print_sql(database, made, asked.undo_out)
        if asked.plan_out is not None:
            _save(made.outcomes, asked.plan_out)
        plan_file = asked.plan_out or asked.plan
        report = RunReport("repair", tuple(made.outcomes), plan_file=plan_file, failed=made.failed)
        if not asked.apply:
            print_report(report, asked.output, database.again + _flags(asked))
            return code_of(report)
        return _applying.show_and_write(
            database,
            report,
            asked.output,
            undo_out=place,
            yes=asked.yes,
            app_stopped=asked.app_stopped,
            evidence=asked.evidence,
        )


def _flags(asked: Request) -> str:
    """Return the switches that the next command needs as this one did."""
    given = (
        " --app-stopped" if asked.app_stopped else "",
        " --allow-unknown-version" if asked.allow_unknown_version else "",
    )
    return "".join(given)


def _made(database: Database, asked: Request) -> _repairing.Made:
    """Return what is to be done: what a saved plan says, else what is planned now."""
    if asked.plan is not None:
        from listmonk_doctor.repair import planfile

        return _repairing.Made([_repairing.of_plan(each) for each in planfile.read(asked.plan)])
    wanted = _repairing.Wanted(asked.strategy, asked.prefer, asked.reason, moment(asked.until), asked.groups)
    return _repairing.outcomes(
        database,
        asked.campaign,
        wanted,
        exactly=asked.apply,
        wait=asked.wait,
        app_stopped=asked.app_stopped,
        evidence=asked.evidence,
    )


def _save(made: list[Outcome], path: Path) -> None:
    """Save the plans, if there are any. Raises UsageError where the file exists or cannot be made."""
    from listmonk_doctor.repair import planfile

    plans = [each.plan for each in made if each.plan is not None]
    if plans:
        planfile.write(plans, path)


def print_sql(database: Database, made: _repairing.Made, undo_out: Path | None) -> int:
    """Print the scripts of the plans, and their undo: to a file if one is named, else where psql does not read on."""
    import uuid

    from listmonk_doctor import __version__
    from listmonk_doctor.commands._failures import say
    from listmonk_doctor.repair import planfile, script

    run_id = str(uuid.uuid4())
    undo: list[str] = []
    for each in made.outcomes:
        if each.plan is None:
            say(f"Campaign {each.campaign_id} is left out: {each.refused or 'there is nothing to change'}.")
            continue
        people = script.audience_of(each.plan.campaign_id)
        emit([script.sql_script(each.plan, database.schema, run=run_id, version=__version__, audience=people), "\n"])
        if each.plan.changes:
            undo.append(script.undo_script(each.plan, database.schema, run=run_id, version=__version__))
    if undo and undo_out is not None:
        path = undo_out / f"listmonk-doctor-undo-{run_id}.sql" if undo_out.is_dir() else undo_out
        planfile.create(path, "\n".join(undo))
        say(f"The undo script is {path}")
    elif undo:
        emit([UNDO_HEAD, "\n".join(undo)])
    partly = bool(made.failed) or any(each.refused for each in made.outcomes)
    return int(ExitCode.FAILED if partly else ExitCode.OK)
