"""A follow-up among servers that scan, people who leave in the very moment, and names that mean harm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from listmonk_doctor.errors import DriftError
from listmonk_doctor.repair import planfile
from listmonk_doctor.repair.followup import LONGEST_NAME
from tests.support.followups import CAMPAIGN, bytes_of, done, draft_of, sent
from tests.support.repairing import connect, elsewhere, journal_rows, psql, write
from tests.support.running import run, said
from tests.test_hostile_names import NAMES, harmless, rename

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Plan

NAME = "kill9-v6.2.0"
FOLLOW_UP = ("repair", str(CAMPAIGN), "--strategy", "follow-up")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_hostile_name_goes_through_it_all_unharmed(
    incident_db: Callable[..., str], tmp_path: Path, name: str
) -> None:
    """Made, refreshed, sent, settled, undone: the name is text in every statement, and harmless on every page."""
    dsn = incident_db(NAME)
    rename(dsn, name)
    before = bytes_of(dsn)
    script = run(*FOLLOW_UP, "--dsn", dsn, "--sql", "--no-look").stdout.replace("pg_sleep(11.5)", "pg_sleep(0)")
    assert all(each in {"\n", "\t"} or each.isprintable() for each in script)
    forth, _, back = script.partition("\n\\q\n")
    assert psql(dsn, forth).returncode == 0
    assert psql(dsn, back).returncode == 0
    assert bytes_of(dsn) == before
    commands = (
        (*FOLLOW_UP,),
        (*FOLLOW_UP, "--apply", "--yes", "--undo-out", str(tmp_path)),
        (*FOLLOW_UP,),
        ("undo",),
        ("examine", "2", "--no-look"),
        ("follow-up", "refresh", "2"),
        ("follow-up", "settle", "2"),
    )
    for command in commands:
        shown = run(*command, "--dsn", dsn, "--format", "plain")
        assert harmless(shown.stdout), command
        assert harmless(shown.stderr), command
        assert "bug" not in shown.stderr
    draft = draft_of(dsn)
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT name FROM campaigns WHERE id = %s", [draft.id]).fetchall()
        listed = conn.execute("SELECT name FROM lists WHERE id = %s", [draft.list_id]).fetchall()
    assert rows == listed
    assert rows[0][0].endswith(" (follow-up)")
    assert name.startswith(rows[0][0].removesuffix(" (follow-up)"))
    assert len(rows[0][0]) <= LONGEST_NAME
    sent(dsn, NAME, draft.id, {})
    finished = bytes_of(dsn)
    done("follow-up", "settle", "2", "--remove-list", "--dsn", dsn, "--undo-out", str(tmp_path))
    done("undo", "--dsn", dsn)
    assert bytes_of(dsn) == finished


def planned(dsn: str, place: Path) -> Plan:
    """Return the plan of a follow-up."""
    path = place / "plan.json"
    run(*FOLLOW_UP, "--dsn", dsn, "--no-look", "--plan-out", str(path))
    return planfile.from_json(json.loads(path.read_text())["plans"][0])


@pytest.mark.parametrize(
    "leaving",
    [
        "UPDATE subscribers SET status = 'blocklisted' WHERE id = {one}",
        "UPDATE subscriber_lists SET status = 'unsubscribed' WHERE subscriber_id = {one} AND list_id = 1",
        "DELETE FROM subscriber_lists WHERE subscriber_id = {one} AND list_id = 1",
        "DELETE FROM subscribers WHERE id = {one}",
    ],
)
def test_nobody_who_leaves_at_the_last_moment_is_put_on_the_list(
    incident_db: Callable[..., str], tmp_path: Path, leaving: str
) -> None:
    """After the last comparison of the audience somebody leaves: the insertion itself finds one too few."""
    dsn = incident_db(NAME)
    plan = planned(dsn, tmp_path)
    one = str((plan.changes[1].after or {})["subscriber_ids"]).partition(",")[0].partition("-")[0]

    def leave(_: Connection, __: Plan) -> None:
        elsewhere(dsn, leaving.format(one=one))

    with connect(dsn) as conn:
        result = write(conn, plan, reprice=same, check_server=leave)
    (only,) = result.campaigns
    assert type(only.error) is DriftError
    assert "have left, were blocklisted or deleted since" in only.refused
    nothing_made(dsn)


def test_a_copy_of_content_that_is_edited_at_the_last_moment_is_taken_back(
    incident_db: Callable[..., str], tmp_path: Path
) -> None:
    """The attachments change after the last comparison, which the row does not show: the copy itself finds it."""
    dsn = incident_db(NAME)
    with psycopg.connect(dsn) as conn:
        conn.execute("INSERT INTO media (uuid, filename, thumb) VALUES (gen_random_uuid(), 'a.pdf', '')")
        conn.execute("INSERT INTO campaign_media (campaign_id, media_id, filename) SELECT 2, id, filename FROM media")
    plan = planned(dsn, tmp_path)

    def edit(_: Connection, __: Plan) -> None:
        elsewhere(dsn, "UPDATE campaign_media SET filename = 'b.pdf'")

    with connect(dsn) as conn:
        result = write(conn, plan, reprice=same, check_server=edit)
    assert "attachments were changed since" in result.campaigns[0].refused
    nothing_made(dsn)


def same(_: Connection, plan: Plan) -> Plan:
    """Find the plan as it was."""
    return plan


def nothing_made(dsn: str) -> None:
    """Assert that no list and no draft was left behind, nor an entry in the journal."""
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) FROM campaigns").fetchall() == [(1,)]
        assert conn.execute("SELECT count(*) FROM lists WHERE name LIKE '%(follow-up)'").fetchall() == [(0,)]
    assert not any(journal_rows(dsn).values())


def test_it_is_written_while_a_server_scans_and_no_pipe_is_open(
    incident_db: Callable[..., str], player: Callable[..., Any], tmp_path: Path
) -> None:
    """The original's row stays as it is, so that a server may go on scanning; two looks see that no pipe is open."""
    dsn = incident_db(NAME, fresh=True)
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT c.xmin::text, c::text FROM campaigns c WHERE id = 2").fetchall()
    with player(dsn, NAME):
        code, report = said(*FOLLOW_UP, "--dsn", dsn, "--apply", "--yes", "--undo-out", str(tmp_path))
        assert code == 0, report
        assert report["campaigns"][0]["listmonk"]["running"] is True
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT c.xmin::text, c::text FROM campaigns c WHERE id = 2").fetchall() == row


def test_it_is_not_made_of_a_campaign_that_may_still_mail_people(
    incident_db: Callable[..., str], player: Callable[..., Any]
) -> None:
    """Running or scheduled there is none; while a paused one drains, the answer is to wait."""
    for name, campaign in (("deleted-list-v6.0.0", 2), ("scheduled-nobody-v4.1.0", 2)):
        dsn = incident_db(name, fresh=True)
        none = run("repair", str(campaign), "--strategy", "follow-up", "--dsn", dsn, "--no-look")
        assert none.exit_code == 3
        assert "not one of the repairs that this campaign allows" in none.stdout
    dsn = incident_db("hung-pipe-v5.0.3", fresh=True)
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE campaigns SET status = 'paused' WHERE id = 2")
    with player(dsn, "hung-pipe-v5.0.3"):
        code, report = said(*FOLLOW_UP, "--group", "unknown,never-fetched", "--dsn", dsn, "--apply", "--yes")
    assert code == 3
    assert "still draining" in report["campaigns"][0]["refused"]
