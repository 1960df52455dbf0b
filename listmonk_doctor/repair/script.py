"""Owns a plan as SQL: the statement of each change, and the whole transaction as a script for a DBA."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.repair import allowed, guards, journal
from listmonk_doctor.repair.undo import reversed_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg.sql import Composable, Composed

    from listmonk_doctor.repair.plan import Change, Plan

LOOK: Final = 11.5
"""Seconds that a script watches the row before it writes: an open pipe beats every 5 s (two beats and a half)."""
_LONGEST_NAME: Final = 120

_TRANSACTION: Final = """\
\\set ON_ERROR_STOP on
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '120s';
SET LOCAL idle_in_transaction_session_timeout = '30s';
SET LOCAL TimeZone = 'UTC';
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


def statement(change: Change, schema: str) -> Composed:
    """Return the one UPDATE, DELETE or INSERT of a change, which touches its row only if it is as it was before.

    Names pass `allowed.check` first and are quoted as identifiers; values are literals.
    """
    from psycopg import sql

    table = sql.Identifier(schema, change.table)
    if change.before is None:
        row = change.after or {}
        return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table, sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Literal, row.values()))
        )
    same = [_pair(name, value, " = ") for name, value in change.key.items()]
    same += [_pair(name, value, " IS NOT DISTINCT FROM ") for name, value in change.before.items()]
    where = sql.SQL(" AND ").join(same)
    if change.after is None:
        return sql.SQL("DELETE FROM {} WHERE {}").format(table, where)
    to = sql.SQL(", ").join(_pair(name, value, " = ") for name, value in change.after.items())
    return sql.SQL("UPDATE {} SET {} WHERE {}").format(table, to, where)


def _pair(name: str, value: Any, operator: str) -> Composed:
    """Return `name operator value`."""
    from psycopg import sql

    return sql.SQL("{}{}{}").format(sql.Identifier(name), sql.SQL(operator), sql.Literal(value))


def sql_script(
    plan: Plan, schema: str, *, run: str, version: str, audience: Composable | None = None, look: float = LOOK,
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
        "once": _once(plan),
        "audience": _audience(plan, audience),
        "look": _look(plan, schema, look),
        "lock": _row(plan, schema, "found_before", lock=bool(plan.changes)),
        "compare": _lines(_comparisons(plan, schema)),
        "hint": sql.Literal(f"Nothing was written. Look again: listmonk-doctor examine {plan.campaign_id}"),
        "changes": _lines(_change(each, schema) for each in plan.changes),
        "verify": _verify(plan, schema),
        "record": _record(plan, schema, run, version),
        "done": sql.Literal(f"campaign {plan.campaign_id}: done, run {run}"),
    }
    parts["tag"] = sql.SQL(_tag("".join(part.as_string(None) for part in parts.values())))
    body = sql.SQL(_TRANSACTION).format(**parts).as_string(None)
    return _heading(plan, run, compared=audience is not None) + body


def undo_script(
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
        row_after = {**plan.guards.get("row", {}), **after(plan)}
    back = reversed_plan(plan, run=run, row_after=row_after)
    return sql_script(back, schema, run=str(uuid.uuid4()), version=version, look=look)


def after(plan: Plan) -> dict[str, Any]:
    """Return the columns of the campaign's row that a plan writes, with their new values."""
    return {
        name: value
        for change in plan.changes
        if change.table == "campaigns"
        for name, value in (change.after or {}).items()
    }


def changes_text(plan: Plan, schema: str) -> tuple[str, ...]:
    """Return the statements of a plan's changes as text: equal for plans that do the same."""
    return tuple(statement(change, schema).as_string(None) for change in plan.changes)


def _heading(plan: Plan, run: str, *, compared: bool) -> str:
    """Return the comment that opens a script: what it does, to whom, at which price."""
    what = f"takes run {plan.undoes} back ({plan.strategy})" if plan.undoes else plan.strategy
    lines = [
        "listmonk-doctor: one transaction for psql (psql -f FILE); it does all of this or nothing.",
        f"Campaign {plan.campaign_id} ({plan.campaign_name[:_LONGEST_NAME]}): {what}; in the journal as run {run}.",
        *(
            f"{change.table} {dict(change.key)}: {name} from {(change.before or {}).get(name)} "
            f"to {(change.after or {}).get(name)}"
            for change in plan.changes
            for name in (change.after or change.before or {})
        ),
        *(f"Price: {name} {low} to {high}." for name, (low, high) in _figures(plan)),
        *plan.notes,
        "Start nothing in listmonk until it has run; it refuses a row that a server still rewrites.",
    ]
    if not compared and "audience" in plan.guards:
        lines.append("The audience is not compared: run it now, or make it anew.")
    return "".join(f"-- {comment(line)}\n" for line in lines)


def _figures(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Yield the ranges of a price."""
    for name in (*guards.COSTS, "would_mail"):
        if name in plan.price:
            yield name, plan.price[name]


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


def _lines(parts: Iterator[Composable]) -> Composable:
    """Return parts one below the other."""
    from psycopg import sql

    return sql.SQL("\n").join(parts)


def _once(plan: Plan) -> Composable:
    """Return the check that an undo is the first of its run; nothing for a repair."""
    from psycopg import sql

    if plan.undoes is None:
        return sql.SQL("")
    return sql.SQL(
        "    SELECT e.run, e.applied_at INTO seen FROM {entries} e WHERE e.undoes = {run} AND e.campaign_id = {id};\n"
        "    IF FOUND THEN\n"
        "        RAISE EXCEPTION '%', {said} || seen.applied_at || ', by run ' || seen.run;\n"
        "    END IF;"
    ).format(
        entries=sql.Identifier(journal.SCHEMA, "entries"),
        run=sql.Literal(plan.undoes),
        id=sql.Literal(plan.campaign_id),
        said=sql.Literal(f"run {plan.undoes} was undone already, at "),
    )


def _audience(plan: Plan, ids: Composable | None) -> Composable:
    """Return the comparison of the audience's count and digest, before any lock is taken: it may take seconds."""
    from psycopg import sql

    then = plan.guards.get("audience")
    if ids is None or then is None:
        return sql.SQL("")
    return sql.SQL(
        "    SELECT count(*) AS people,\n"
        "           encode(sha256(coalesce(string_agg(int4send(a.id), ''::bytea ORDER BY a.id), ''::bytea)), 'hex')"
        " AS digest\n"
        "    INTO seen FROM ({ids}) AS a (id);\n"
        "    IF seen.people <> {count} THEN\n"
        "        moved := moved || ({had} || seen.people || ' now');\n"
        "    ELSIF seen.digest <> {digest} THEN\n"
        "        moved := moved || {others}::text;\n"
        "    END IF;"
    ).format(
        ids=ids,
        count=sql.Literal(then["count"]),
        digest=sql.Literal(then["digest"]),
        had=sql.Literal(f"campaign {plan.campaign_id}: the audience had {then['count']:,} people and has "),
        others=sql.Literal(f"campaign {plan.campaign_id}: the audience has as many people, but not the same ones"),
    )


def _row(plan: Plan, schema: str, into: str, *, lock: bool) -> Composable:
    """Return the reading of the campaign's row into a variable."""
    from psycopg import sql

    query = guards.row_query(schema, plan.campaign_id, guards.changed_columns(plan), lock=lock)
    gone = sql.Literal(f"campaign {plan.campaign_id} is gone")
    return sql.SQL("    {} INTO {};\n    IF NOT FOUND THEN\n        RAISE EXCEPTION '%', {};\n    END IF;").format(
        query, sql.SQL(into), gone
    )


def _look(plan: Plan, schema: str, seconds: float) -> Composable:
    """Return the first reading of the row, and the wait in which a beating pipe shows itself."""
    from psycopg import sql

    read = _row(plan, schema, "seen", lock=False)
    if not guards.still(plan) or seconds <= 0:
        return read
    return sql.SQL("{}\n    PERFORM pg_sleep({});").format(read, sql.Literal(seconds))


def _comparisons(plan: Plan, schema: str) -> Iterator[Composable]:
    """Yield the comparisons of the locked row, then of the settings and the version, with what the plan saw."""
    from psycopg import sql

    name, then = f"campaign {plan.campaign_id}", guards.when(plan)
    yield _moved(
        sql.SQL("found_before.uuid"), sql.Literal(plan.campaign_uuid), f"{name}: the uuid was {plan.campaign_uuid}"
    )
    for column, value in guards.normal(plan.guards.get("row", {})).items():
        now = sql.SQL("found_before.progress ->> {}").format(sql.Literal(column))
        if column in guards.MOMENTS:
            found, wanted = sql.SQL("({})::timestamptz").format(now), sql.SQL("{}::timestamptz")
        else:
            found, wanted = sql.SQL("({})").format(now), sql.SQL("{}::text")
        was = f"{name}: {column} was {guards.shown(column, value)} {then}"
        yield _moved(found, wanted.format(sql.Literal(value)), was)
    if plan.guards.get("xmin") is not None:
        yield _rewritten(f"{name}: its row was written again since the plan was made", plan.guards["xmin"])
    if guards.still(plan):
        yield _rewritten(f"{name}: its row was written again while it was watched: a pipe is open on it", None)
    settings, same = sql.Identifier(schema, "settings"), sql.SQL("coalesce((SELECT value FROM {} WHERE key = {}), 'null')")
    for key, value in plan.guards.get("settings", {}).items():
        text = guards.canonical(value)
        yield _moved(
            same.format(settings, sql.Literal(key)), sql.SQL("{}::jsonb").format(sql.Literal(text)),
            f"setting {key} was {text}",
        )
    if not plan.undoes:
        last = sql.SQL(
            "(SELECT CASE jsonb_typeof(value) WHEN 'array' THEN value ->> -1 ELSE value #>> '{{}}' END"
            " FROM {} WHERE key = 'migrations')"
        ).format(settings)
        yield _moved(last, sql.Literal(plan.listmonk_version), f"listmonk's version was {plan.listmonk_version}")


def _moved(found: Composable, wanted: Composable, was: str) -> Composable:
    """Return one comparison and its sentence."""
    from psycopg import sql

    return sql.SQL(
        "    IF {found} IS DISTINCT FROM {wanted} THEN\n"
        "        moved := moved || ({was} || coalesce({found}::text, 'not set') || ' now');\n"
        "    END IF;"
    ).format(found=found, wanted=wanted, was=sql.Literal(f"{was} and is "))


def _rewritten(sentence: str, xmin: str | None) -> Composable:
    """Return the comparison of the row's version, which speaks where no column does."""
    from psycopg import sql

    wanted = sql.SQL("seen.xmin") if xmin is None else sql.Literal(xmin)
    return sql.SQL(
        "    IF cardinality(moved) = 0 AND found_before.xmin <> {} THEN\n"
        "        moved := moved || {}::text;\n    END IF;"
    ).format(wanted, sql.Literal(sentence))


def _change(change: Change, schema: str) -> Composable:
    """Return a change that must touch exactly one row."""
    from psycopg import sql

    return sql.SQL(
        "    {};\n    GET DIAGNOSTICS touched = ROW_COUNT;\n    IF touched <> 1 THEN\n"
        "        RAISE EXCEPTION '%', {};\n    END IF;"
    ).format(statement(change, schema), sql.Literal(f"the row of {change.table} is not as the plan saw it"))


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
        read=_row(plan, schema, "found_after", lock=False),
        written=sql.Literal(Jsonb(after(plan))),
        said=sql.Literal("writing the row changed other columns too: is there a trigger on campaigns?"),
    )


def _record(plan: Plan, schema: str, run: str, version: str) -> Composable:
    """Return the entry in the journal, and an acknowledgement's row."""
    from psycopg import sql

    entry = journal.record(
        plan, run=run, schema=schema, version=version,
        row_before=sql.SQL("found_before.progress"), row_after=sql.SQL("found_after.progress"),
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
