"""Owns the comparisons of a script: the PL/pgSQL that says what moved since the plan was made, as `guards` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listmonk_doctor.repair import guards, journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.sql import Composable

    from listmonk_doctor.repair.plan import Plan


def once(plan: Plan) -> Composable:
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


def audience(plan: Plan, ids: Composable | None) -> Composable:
    """Return the comparison of the audience's count and digest, before any lock is taken: it may take seconds."""
    from psycopg import sql

    then = plan.guards.get("audience")
    if ids is None or not then:
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


def row(plan: Plan, schema: str, into: str, *, lock: bool) -> Composable:
    """Return the reading of the campaign's row into a variable."""
    from psycopg import sql

    return sql.SQL(
        "    {query} INTO {into};\n"
        "    IF NOT FOUND THEN\n"
        "        RAISE EXCEPTION '%', {gone} USING HINT = {hint};\n"
        "    END IF;"
    ).format(
        query=guards.row_query(schema, plan.campaign_id, guards.changed_columns(plan), lock=lock),
        into=sql.SQL(into),
        gone=sql.Literal(f"campaign {plan.campaign_id} is gone"),
        hint=hint(plan),
    )


def hint(plan: Plan) -> Composable:
    """Return what to do after a refusal."""
    from psycopg import sql

    return sql.Literal(f"Nothing was written. Look again: listmonk-doctor examine {plan.campaign_id}")


def look(plan: Plan, schema: str, seconds: float) -> Composable:
    """Return the first reading of the row, and the wait in which a beating pipe shows itself."""
    from psycopg import sql

    reading = row(plan, schema, "seen", lock=False)
    if not plan.changes or not guards.still(plan) or seconds <= 0:
        return reading
    return sql.SQL("{}\n    PERFORM pg_sleep({});").format(reading, sql.Literal(seconds))


def comparisons(plan: Plan, schema: str) -> Iterator[Composable]:
    """Yield the comparisons of the locked row, then of the settings and the version, with what the plan saw."""
    from psycopg import sql

    name, then = f"campaign {plan.campaign_id}", guards.when(plan)
    yield _moved(
        sql.SQL("found_before.uuid"), sql.Literal(plan.campaign_uuid), f"{name}: the uuid was {plan.campaign_uuid}"
    )
    for column, value in guards.row_guard(plan).items():
        now = sql.SQL("found_before.progress ->> {}").format(sql.Literal(column))
        if column in guards.MOMENTS:
            found, wanted = sql.SQL("({})::timestamptz").format(now), sql.SQL("{}::timestamptz")
        else:
            found, wanted = sql.SQL("({})").format(now), sql.SQL("{}::text")
        was = f"{name}: {column} was {guards.shown(column, value)} {then}"
        yield _moved(found, wanted.format(sql.Literal(value)), was)
    if guards.still(plan) and plan.guards.get("xmin") is not None:
        yield _rewritten(f"{name}: its row was written again since the plan was made", plan.guards["xmin"])
    if guards.still(plan) and plan.changes:
        yield _rewritten(f"{name}: its row was written again while it was watched: a pipe is open on it", None)
    if "lists" in plan.guards:
        lists = sql.SQL(
            "(SELECT coalesce(jsonb_agg(jsonb_build_array(row_id, list_id, optin) ORDER BY row_id), '[]') FROM ({}) q)"
        ).format(guards.lists_query(schema, plan.campaign_id))
        text = guards.canonical(plan.guards["lists"])
        yield _moved(lists, _jsonb(text), f"{name}: the table of its lists (row, list, opt-in) was {text}")
    yield from _settings(plan, sql.Identifier(schema, "settings"))


def _settings(plan: Plan, settings: Composable) -> Iterator[Composable]:
    """Yield the comparisons of the settings that the price rests on, and of listmonk's version."""
    from psycopg import sql

    for key, value in plan.guards.get("settings", {}).items():
        text = guards.canonical(value)
        found = sql.SQL("coalesce((SELECT value FROM {} WHERE key = {}), 'null')").format(settings, sql.Literal(key))
        yield _moved(found, _jsonb(text), f"setting {key} was {text}")
    if not plan.undoes:
        last = sql.SQL(
            "(SELECT 'v' || substring(CASE jsonb_typeof(value) WHEN 'array' THEN value ->> -1 ELSE value #>> '{{}}' END"
            " FROM '^v?([0-9]+[.][0-9]+[.][0-9]+)') FROM {} WHERE key = 'migrations')"
        ).format(settings)
        yield _moved(last, sql.Literal(plan.listmonk_version), f"listmonk's version was {plan.listmonk_version}")


def _jsonb(text: str) -> Composable:
    """Return canonical JSON as a literal."""
    from psycopg import sql

    return sql.SQL("{}::jsonb").format(sql.Literal(text))


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
