"""Owns a plan as SQL: the statement of each change, and the whole transaction as a script for a DBA."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.repair import allowed, followup_sql, guards, journal, quoting, script_guards, statements
from listmonk_doctor.repair.undo import reversed_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from psycopg.sql import Composable

    from listmonk_doctor.repair.plan import Change, Plan

LOOK: Final = 11.5
"""Seconds that a script watches the row before it writes: an open pipe beats every 5 s (two beats and a half)."""
_LONGEST_NAME: Final = 120
_FIGURES: Final = {
    "would_mail": "People who get mail when Start is pressed",
    "missed": "People who never get it",
    "duplicates": "People who get it twice",
    "newcomers": "People mailed who came after it was first started",
}

_TRANSACTION: Final = """\
\\set ON_ERROR_STOP on
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '120s';
SET LOCAL idle_in_transaction_session_timeout = '30s';
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO';
SET LOCAL search_path = {schema}, pg_temp;
DO {tag}
DECLARE
    seen record;
    found_before record;
    found_after record;
    moved text[] := ARRAY[]::text[];
    touched bigint;
BEGIN
    -- One writer at a time.
    PERFORM pg_advisory_xact_lock({key});
{journal}
{once}
    -- Who is in the audience, and is a pipe open on the row? An open one rewrites it every 5 s.
{audience}
{look}
    -- From here on the row is ours: what the plan rests on is compared, then written.
{lock}
{compare}
    IF cardinality(moved) > 0 THEN
        RAISE EXCEPTION '%', array_to_string(moved, '; ')
            USING HINT = {hint};
    END IF;
{changes}
{verify}
    -- Nothing is applied without an entry in the journal.
{record}
    RAISE NOTICE '%', {done};
END
{tag};
COMMIT;
"""


def audience_of(campaign_id: int) -> Composable:
    """Return the query of a campaign's audience of today, one column of ids, for a script to compare with its plan."""
    from psycopg import sql

    members = sqlfiles.read("audience/members.sql").decode().rstrip().rstrip(";")
    return sql.SQL("SELECT subscriber_id FROM (\n{}\n) AS members WHERE campaign_id = {}").format(
        sql.SQL(members),
        sql.Literal(campaign_id),
    )


def sql_script(  # noqa: PLR0913 - what only the caller knows
    plan: Plan,
    schema: str,
    *,
    run: str,
    version: str,
    audience: Composable | None = None,
    look: float = LOOK,
) -> str:
    """Return a plan's transaction as a script for psql, which does all that `apply` does or nothing.

    `run` is the UUID it will have in the journal, `version` this program's. `audience` is a query of one column, the
    ids of today's audience, each once; without it the audience is not compared, and the script says so. `look` is for
    how many seconds it watches the row for a beating pipe (0: not at all; `unschedule` never does).
    Raises UsageError for a plan that touches what no plan may touch.
    """
    from psycopg import sql

    allowed.check(plan)
    parts: dict[str, Composable] = {
        "schema": sql.Identifier(schema),
        "key": sql.Literal(journal.LOCK_KEY),
        "journal": sql.SQL(_create_journal()),
        "once": script_guards.once(plan),
        "audience": script_guards.audience(plan, audience),
        "look": script_guards.look(plan, schema, look),
        "lock": script_guards.row(plan, schema, "found_before", lock=bool(plan.changes)),
        "compare": _lines(script_guards.comparisons(plan, schema)),
        "hint": script_guards.hint(plan),
        "changes": _lines([*_locks(plan), *(_change(each, schema) for each in plan.changes)]),
        "verify": _verify(plan, schema),
        "record": _record(plan, schema, run, version),
        "done": sql.Literal(f"campaign {plan.campaign_id}: done, run {run}"),
    }
    parts["tag"] = sql.SQL(_tag("".join(map(quoting.text, parts.values()))))
    body = quoting.text(sql.SQL(_TRANSACTION).format(**parts))
    return _heading(plan, run, compared=audience is not None) + body


def undo_script(  # noqa: PLR0913 - as sql_script
    plan: Plan,
    schema: str,
    *,
    run: str,
    version: str,
    row_after: Mapping[str, Any] | None = None,
    look: float = LOOK,
) -> str:
    """Return the script that takes a plan back which was or will be applied as `run`.

    It needs no entry in the journal, so that it works where the journal was lost; it refuses a row that is not as
    the repair left it (`row_after`, default: the row that the plan saw with its changes).
    """
    if row_after is None:
        row_after = {**guards.row_guard(plan), **statements.after(plan)}
    back = reversed_plan(plan, run=run, row_after=row_after)
    return sql_script(back, schema, run=str(uuid.uuid4()), version=version, look=look)


def _heading(plan: Plan, run: str, *, compared: bool) -> str:
    """Return the comment that opens a script: what it does, to whom, at which price."""
    what = f"takes back {plan.strategy}, run {plan.undoes}" if plan.undoes else plan.strategy
    lines = [
        "listmonk-doctor: one transaction for psql (psql -f FILE); it does all of this or nothing.",
        f"Campaign {plan.campaign_id} ({plan.campaign_name[:_LONGEST_NAME]}): {what}; in the journal as run {run}.",
        *(line for change in plan.changes for line in _changed(change)),
        *(f"{words}: {guards.range_text(plan.price[name])}." for name, words in _FIGURES.items() if name in plan.price),
        *plan.notes,
        "Start nothing in listmonk until it has run; it refuses a row that a server still rewrites.",
    ]
    if not compared and plan.guards.get("audience"):
        lines.append("Whether the audience changed since is not compared: run it now, or make it anew.")
    return "".join(f"-- {comment(line)}\n" for line in lines)


def _changed(change: Change) -> Iterator[str]:
    """Yield one line for each column that a change moves, or one for a row that comes or goes."""
    key = ", ".join(f"{name} {value}" for name, value in change.key.items())
    if change.before is None or change.after is None:
        rows = followup_sql.expected(change)
        word = "removed" if change.after is None else "put there"
        yield f"{change.table}, {key}: {'the row is' if rows == 1 else f'{rows:,} rows are'} {word}"
        return
    for name, value in change.after.items():
        yield f"{change.table}, {key}: {name} from {change.before[name]} to {value}"


def comment(line: str) -> str:
    """Return untrusted text as part of one line of comment: ASCII only, nothing that ends or hides a line.

    psql reads a comment in the client's encoding, where other bytes might swallow the line's end.
    """
    printable = "".join(sign if sign.isprintable() else " " for sign in line)
    return printable.encode("ascii", "backslashreplace").decode("ascii")


def _create_journal() -> str:
    """Return the creation of the journal, where it is missing."""
    create = sqlfiles.read("journal/create.sql").decode()
    return (
        "    IF NOT EXISTS (\n        SELECT FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n"
        f"        WHERE n.nspname = '{journal.SCHEMA}' AND c.relname = 'accepted'\n    ) THEN\n{create}    END IF;"
    )


def _locks(plan: Plan) -> Iterator[Composable]:
    """Yield the locks on the rows that a follow-up's changes rest on."""
    from psycopg import sql

    for lock in followup_sql.locks(plan):
        yield sql.SQL("    PERFORM 1 FROM ({}) AS locked;").format(lock)


def _lines(parts: Iterable[Composable]) -> Composable:
    """Return parts one below the other."""
    from psycopg import sql

    return sql.SQL("\n").join(parts)


def _change(change: Change, schema: str) -> Composable:
    """Return a change that must touch exactly the rows that it is for."""
    from psycopg import sql

    return sql.SQL(
        "    {};\n    GET DIAGNOSTICS touched = ROW_COUNT;\n    IF touched <> {} THEN\n"
        "        RAISE EXCEPTION '%', {};\n    END IF;"
    ).format(
        statements.statement(change, schema),
        sql.Literal(followup_sql.expected(change)),
        sql.Literal(followup_sql.why(change)),
    )


def _verify(plan: Plan, schema: str) -> Composable:
    """Return the check that the row differs in the changed columns and in nothing else."""
    from psycopg import sql
    from psycopg.types.json import Jsonb

    return sql.SQL(
        "{read}\n"
        "    IF found_after.rest <> found_before.rest\n"
        "        OR found_after.progress <> found_before.progress || {written} THEN\n"
        "        RAISE EXCEPTION '%', {said};\n    END IF;"
    ).format(
        read=script_guards.row(plan, schema, "found_after", lock=False),
        written=sql.Literal(Jsonb(statements.after(plan))),
        said=sql.Literal("writing the row changed other columns too: is there a trigger on campaigns?"),
    )


def _record(plan: Plan, schema: str, run: str, version: str) -> Composable:
    """Return the entry in the journal, and an acknowledgement's row."""
    from psycopg import sql

    entry = journal.record(
        plan,
        run=run,
        schema=schema,
        version=version,
        row_before=sql.SQL("found_before.progress"),
        row_after=sql.SQL("found_after.progress"),
    )
    if plan.strategy != "accept" or plan.undoes:
        return sql.SQL("    {};").format(entry)
    accept = journal.acknowledge(plan, run=run, row=plan.guards["row"])
    return sql.SQL("    {};\n    {};").format(entry, accept)


def _tag(body: str) -> str:
    """Return a dollar quote that does not occur in the text it encloses."""
    tag, number = "$doctor$", 0
    while tag in body:
        number += 1
        tag = f"$doctor{number}$"
    return tag
