"""Owns what the tests of writing share: plans made of the rows of a real database, and the tables as text."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from pyroaring import BitMap

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.demo import postgres
from listmonk_doctor.errors import ExitCode
from listmonk_doctor.listmonk import facts
from listmonk_doctor.repair import guards
from listmonk_doctor.repair.apply import ApplyResult, apply
from listmonk_doctor.repair.plan import Change, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.listmonk.campaign import Campaign

VERSION: Final = "0.1.0"
ONE_FOR_ANOTHER: Final = """
    UPDATE subscriber_lists
    SET status = (CASE subscriber_id WHEN 7694 THEN 'unsubscribed' ELSE 'unconfirmed' END)::subscription_status
    WHERE list_id = 1
      AND subscriber_id IN (7694, (
          SELECT min(l.subscriber_id) FROM subscriber_lists l JOIN subscribers s ON s.id = l.subscriber_id
          WHERE l.list_id = 1 AND l.status = 'unsubscribed' AND s.status = 'enabled'))
"""
"""The last of the seed's audience leaves, and somebody who had left returns."""
MOVED: Final[Mapping[str, tuple[str, ...]]] = {
    "rewind": ("status", "last_subscriber_id", "sent"),
    "resume": ("status",),
    "detach-list": ("status",),
    "unschedule": ("status",),
    "accept": (),
}


def connect(dsn: str) -> Connection:
    """Open a session as the program does."""
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=None, application_name="listmonk-doctor")


def audience_ids(conn: Connection, schema: str, campaign_id: int) -> BitMap:
    """Return today's audience of a campaign by listmonk's rules, as they are written down for the demo."""
    query = sql.SQL("SELECT subscriber_id FROM ({}) a WHERE campaign_id = {}").format(
        sql.SQL(sqlfiles.read("audience/members.sql").decode().rstrip().rstrip(";")), sql.Literal(campaign_id)
    )
    with conn.transaction():
        conn.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
        return BitMap(row[0] for row in guards.fetch(conn, query))


def audience(conn: Connection, plan: Plan, schema: str = "public") -> dict[str, Any]:
    """Read the guard of the audience, as `apply` wants it."""
    return audience_guard(audience_ids(conn, schema, plan.campaign_id))


def audience_guard(ids: BitMap) -> dict[str, Any]:
    """Return how many people there are and the SHA-256 of their ids, ascending, four bytes each, network order."""
    packed = b"".join(one.to_bytes(4, "big") for one in ids)
    return {"count": len(ids), "digest": hashlib.sha256(packed).hexdigest()}


def plan_of(conn: Connection, campaign_id: int, strategy: str, *, schema: str = "public", reason: str = "") -> Plan:
    """Plan a repair of a real row: a rewind goes to the id at the rank of `sent` minus ten.

    The price is simple and real: whoever has bounced and lies above the new cursor gets a second copy.
    """
    with conn.transaction(), conn.cursor(row_factory=psycopg.rows.tuple_row) as cur:
        cur.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
        settings = facts.read_settings(cur)
        campaign = facts.read_campaigns(cur, [campaign_id])[campaign_id]
        ids = audience_ids(conn, schema, campaign_id)
        changes, cursor = _changes(campaign, ids, strategy)
        bounced = cur.execute(
            "SELECT count(DISTINCT subscriber_id) FROM bounces WHERE campaign_id = %s AND subscriber_id > %s",
            [campaign_id, cursor],
        ).fetchall()[0][0]
    mailed = 0 if strategy in ("unschedule", "accept") else len(ids) - ids.rank(cursor)
    return Plan(
        campaign_id=campaign.id,
        campaign_uuid=campaign.uuid,
        campaign_name=campaign.name,
        listmonk_version=str(settings.version),
        strategy=strategy,
        prefer="no-gaps" if strategy == "rewind" else None,
        changes=changes,
        guards={
            "row": guards.row_of(campaign),
            "xmin": campaign.xmin,
            "settings": dict(settings.raw or {}),
            "audience": audience_guard(ids),
            "lists": [[each.row_id, each.list_id, each.optin] for each in campaign.lists],
            "server": {"running": False},
        },
        price={
            "missed": [0, 10],
            "duplicates": [bounced, bounced + 10],
            "newcomers": [0, 0],
            "would_mail": [mailed, mailed],
            "presumably": {"missed": [0, 0], "duplicates": [bounced, bounced], "assumptions": ["stopped-once"]},
        },
        reason=reason,
        notes=("Press Start in listmonk when you are ready.",),
    )


def _changes(campaign: Campaign, ids: BitMap, strategy: str) -> tuple[tuple[Change, ...], int]:
    """Return the changes of a strategy and the cursor after them."""
    rank = max(1, min(campaign.sent - 10, len(ids)))
    cursor = ids[rank - 1] if strategy == "rewind" else campaign.last_subscriber_id
    target = {
        "status": "draft" if strategy == "unschedule" else "paused",
        "last_subscriber_id": cursor,
        "sent": rank,
    }
    after = {name: target[name] for name in MOVED[strategy] if getattr(campaign, name) != target[name]}
    before = {name: getattr(campaign, name) for name in after}
    gone = [
        {"id": entry.row_id, "campaign_id": campaign.id, "list_id": None, "list_name": entry.name}
        for entry in campaign.deleted_lists
        if strategy == "detach-list"
    ]
    removed = [Change("campaign_lists", {"id": row["id"]}, row, None) for row in gone]
    updated = [Change("campaigns", {"id": campaign.id}, before, after)] if after else []
    return (*removed, *updated), cursor


def reprice(conn: Connection, plan: Plan, schema: str = "public") -> Plan | None:
    """Make a plan anew of the rows as they are; an undo stays as it is."""
    return (
        plan
        if plan.undoes
        else replace(plan_of(conn, plan.campaign_id, plan.strategy, schema=schema), reason=plan.reason)
    )


def no_server(conn: Connection, plan: Plan) -> None:
    """Find nothing against writing: no server runs in most tests."""


def write(conn: Connection, *plans: Plan, **other: Any) -> ApplyResult:
    """Apply plans as the program does; `other` replaces what it would pass."""
    return apply(
        conn,
        plans,
        **{
            "schema": "public",
            "reprice": reprice,
            "check_server": no_server,
            "audience": audience,
            "undo_out": None,
            "version": VERSION,
            **other,
        },
    )


def tables(dsn: str, *schemas: str) -> dict[str, list[str]]:
    """Return every row of every table in the schemas (default: public) as PostgreSQL prints it, in a settled order."""
    with connect(dsn) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        names = conn.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s)", [list(schemas or ("public",))]
        ).fetchall()
        return {
            f"{schema}.{table}": [
                row[0]
                for row in conn.execute(
                    sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(schema, table))
                )
            ]
            for schema, table in names
        }


def journal_rows(dsn: str) -> dict[str, list[str]]:
    """Return the journal's tables as text; none where it was never made."""
    return tables(dsn, "listmonk_doctor")


def psql(dsn: str, script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script with the real psql."""
    named = os.environ.get("LISTMONK_DOCTOR_TEST_PG_BIN")
    program = (Path(named) if named else postgres.find_binaries()) / "psql"
    return subprocess.run(
        [program, "--no-psqlrc", "--dbname", dsn, "--file", "-"],
        input=script.encode(),
        check=False,
        capture_output=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def written(plan: Plan) -> dict[str, Any]:
    """Return the columns that a plan's first change writes, with their new values."""
    return dict(plan.changes[0].after or {})


def elsewhere(dsn: str, statement: str) -> None:
    """Run a statement in another session, as listmonk or a person might."""
    with connect(dsn) as other:
        other.execute("SET lock_timeout = '200ms'")
        other.execute(statement.encode())


def refused(dsn: str, conn: Connection, plan: Plan, kind: type[Exception], **other: Any) -> str:
    """Apply a plan that must not be written, see that nothing was, and return the sentence."""
    before = tables(dsn)
    result = write(conn, plan, **other)
    [only] = result.campaigns
    assert not only.applied
    assert type(only.error) is kind
    assert result.code is ExitCode.FAILED
    assert result.undo_file is None
    assert tables(dsn) == before
    assert not any(journal_rows(dsn).values())
    return only.refused
