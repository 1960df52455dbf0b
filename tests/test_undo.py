"""Tests of taking runs back: every byte returns, once only, and never over what has moved since."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from listmonk_doctor.errors import DriftError, ExitCode, RefusedError, UsageError
from listmonk_doctor.repair import guards, journal, undo
from listmonk_doctor.repair.plan import Change
from tests.support.repairing import connect, plan_of, tables, write, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from listmonk_doctor.database.connection import Connection
    from tests.support.databases import IncidentDatabases

REPAIRS = {
    "rewind": "seed-v4.1.0",
    "resume": "blockrun-v3.0.0",
    "detach-list": "deleted-list-v6.0.0",
    "unschedule": "scheduled-nobody-v4.1.0",
    "accept": "seed-v4.1.0",
}


@pytest.fixture
def seed(incident_db: IncidentDatabases) -> str:
    """Give a database with the seed's finished campaign 2."""
    return incident_db("seed-v4.1.0")


@pytest.fixture
def conn(seed: str) -> Iterator[Connection]:
    """Give a session with the seed's database."""
    with connect(seed) as session:
        yield session


def rewound(conn: Connection) -> str:
    """Rewind the seed's campaign and return the run."""
    result = write(conn, plan_of(conn, 2, "rewind"))
    assert result.code is ExitCode.OK
    return result.run


@pytest.mark.parametrize("strategy", REPAIRS)
def test_undo_restores_every_byte_of_listmonks_tables(incident_db: IncidentDatabases, strategy: str) -> None:
    """Before the repair and after its undo all of listmonk's tables print the same, `updated_at` and ids included."""
    dsn = incident_db(REPAIRS[strategy])
    with connect(dsn) as conn:
        before = tables(dsn)
        plan = plan_of(conn, 2, strategy)
        assert write(conn, plan).code is ExitCode.OK
        assert (tables(dsn) != before) is (strategy != "accept")
        [entry] = undo.undoable(conn, "public")
        result = write(conn, undo.undo_plan(entry))
        assert result.code is ExitCode.OK
        assert tables(dsn) == before


def test_an_undo_is_in_the_journal_beside_what_it_took_back(conn: Connection) -> None:
    """Both entries stay; each names the other's run, and the undo's rows are the repair's the other way round."""
    run = rewound(conn)
    [entry] = undo.undoable(conn, "public", run)
    result = write(conn, undo.undo_plan(entry))
    undone, repaired = journal.history(conn, "public")
    assert (undone.run, undone.undoes, undone.strategy) == (result.run, run, "rewind")
    assert (repaired.run, repaired.undone_by, repaired.undone_at) == (run, result.run, undone.applied_at)
    assert (undone.row_before, undone.row_after) == (repaired.row_after, repaired.row_before)
    assert undone.undone_by is None


def test_a_run_is_undone_once_only(seed: str, conn: Connection) -> None:
    """The second undo says when and by which run, asked for by name, by a saved plan, or by default."""
    run = rewound(conn)
    [entry] = undo.undoable(conn, "public", run[:8])
    plan = undo.undo_plan(entry)
    by = write(conn, plan).run
    before = tables(seed)
    sentence = rf"Run {run} was undone already, at \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC, by run {by}\."
    with pytest.raises(RefusedError, match=sentence):
        undo.undoable(conn, "public", run)
    again = write(conn, plan).campaigns[0]
    assert isinstance(again.error, RefusedError)
    assert f"by run {by}." in again.refused
    with pytest.raises(RefusedError, match="There is nothing to undo"):
        undo.undoable(conn, "public")
    assert tables(seed) == before


def test_the_last_run_that_was_not_undone_is_the_default(incident_db: IncidentDatabases) -> None:
    """Runs are offered from the newest back; undos are not among them."""
    dsn = incident_db("many-small-v5.0.3")
    with connect(dsn) as conn:
        ids = [row[0] for row in conn.execute("SELECT id FROM campaigns ORDER BY id LIMIT 2").fetchall()]
        first, second = (write(conn, plan_of(conn, one, "accept")).run for one in ids)
        for expected in (second, first):
            [entry] = undo.undoable(conn, "public")
            assert entry.run == expected
            write(conn, undo.undo_plan(entry))


def test_an_empty_journal_has_nothing_to_undo(conn: Connection) -> None:
    """Where nothing was ever applied, there is no journal, no history, and nothing is created by asking."""
    assert journal.history(conn, "public") == ()
    with pytest.raises(RefusedError, match="There is nothing to undo"):
        undo.undoable(conn, "public")
    with pytest.raises(RefusedError, match="has no run that begins with 12345678"):
        undo.undoable(conn, "public", "12345678")
    assert journal.state(conn) == "missing"


def test_an_undo_is_not_undone(conn: Connection) -> None:
    """To repair after all, the repair is planned and priced anew."""
    run = rewound(conn)
    by = write(conn, undo.undo_plan(undo.undoable(conn, "public")[0])).run
    with pytest.raises(RefusedError, match=f"is itself an undo, of run {run}") as caught:
        undo.undoable(conn, "public", by)
    assert caught.value.hint.endswith("listmonk-doctor repair 2")


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE campaigns SET sent = 2300", "campaign 2: sent was 2,251 after the repair and is 2,300 now."),
        ("UPDATE campaigns SET status = 'running'", "status was paused after the repair and is running now."),
        ("UPDATE campaigns SET to_send = 7", "to_send was 2,601 after the repair and is 7 now."),
        ("UPDATE campaigns SET updated_at = now()", "campaign 2: updated_at was "),
        ("DELETE FROM campaigns", "campaign 2 is gone."),
    ],
)
def test_a_row_that_moved_since_the_repair_is_not_taken_back(
    seed: str, conn: Connection, statement: str, sentence: str
) -> None:
    """Any progress column that is not as the repair left it stops the undo, which says what moved."""
    rewound(conn)
    conn.execute(statement.encode())
    before = tables(seed)
    [entry] = undo.undoable(conn, "public")
    only = write(conn, undo.undo_plan(entry)).campaigns[0]
    assert isinstance(only.error, DriftError)
    assert sentence in only.refused
    assert only.error.hint.endswith(f"listmonk-doctor undo {entry.run}")
    assert tables(seed) == before
    assert len(journal.history(conn, "public")) == 1


def test_the_undo_of_an_unschedule_wants_the_whole_row_unchanged(incident_db: IncidentDatabases) -> None:
    """A draft is scanned by nobody: whoever moved it since, be it only by its date, is not overruled."""
    with connect(incident_db("scheduled-nobody-v4.1.0")) as conn:
        write(conn, plan_of(conn, 2, "unschedule"))
        conn.execute("UPDATE campaigns SET updated_at = now()")
        only = write(conn, undo.undo_plan(undo.undoable(conn, "public")[0])).campaigns[0]
        assert only.refused.startswith("campaign 2: updated_at was ")


def test_an_undo_goes_backwards(incident_db: IncidentDatabases) -> None:
    """What was changed last is taken back first."""
    with connect(incident_db("deleted-list-v6.0.0")) as conn:
        plan = plan_of(conn, 2, "detach-list")
        write(conn, plan)
        back = undo.undo_plan(undo.undoable(conn, "public")[0])
        assert [change.table for change in plan.changes] == ["campaign_lists", "campaigns"]
        assert [change.table for change in back.changes] == ["campaigns", "campaign_lists"]


def test_a_removed_list_row_whose_id_was_taken_is_not_put_back(incident_db: IncidentDatabases) -> None:
    """What stands in its place is left alone, and the campaign's row with it."""
    dsn = incident_db("deleted-list-v6.0.0")
    with connect(dsn) as conn:
        plan = plan_of(conn, 2, "detach-list")
        write(conn, plan)
        conn.execute(
            "INSERT INTO campaign_lists (id, campaign_id, list_id, list_name) VALUES (%s, 2, NULL, 'other')",
            [plan.changes[0].key["id"]],
        )
        before = tables(dsn)
        only = write(conn, undo.undo_plan(undo.undoable(conn, "public")[0])).campaigns[0]
        assert isinstance(only.error, RefusedError)
        assert "duplicate key" in only.refused
        assert tables(dsn) == before


def test_only_what_a_run_did_is_taken_back(seed: str, conn: Connection) -> None:
    """An undo with other changes than the journal's entry, or of a run it does not know, is refused."""
    run = rewound(conn)
    plan = undo.undo_plan(undo.undoable(conn, "public")[0])
    before = tables(seed)
    other = replace(plan, changes=(replace(plan.changes[0], after={**written(plan), "sent": 1}),))
    assert write(conn, other).campaigns[0].refused == f"What is to be undone is not what run {run} did."
    unknown = replace(plan, undoes="00000000-0000-4000-8000-000000000000")
    assert "has no run 00000000-" in write(conn, unknown).campaigns[0].refused
    forged = replace(plan, changes=(Change("campaigns", {"id": 2}, {"to_send": 1}, {"to_send": 2}),))
    with pytest.raises(UsageError, match="to_send"):
        write(conn, forged)
    assert tables(seed) == before


def test_a_partly_undone_run_can_be_undone_to_the_end(incident_db: IncidentDatabases) -> None:
    """Campaigns that could not be taken back the first time are offered again, the others are not."""
    dsn = incident_db("many-small-v5.0.3")
    with connect(dsn) as conn:
        ids = [
            row[0] for row in conn.execute("SELECT id FROM campaigns WHERE sent > 20 ORDER BY id LIMIT 2").fetchall()
        ]
        before = tables(dsn)
        run = write(conn, *(plan_of(conn, one, "rewind") for one in ids)).run
        conn.execute("UPDATE campaigns SET to_send = to_send + 1 WHERE id = %s", [ids[0]])
        result = write(conn, *map(undo.undo_plan, undo.undoable(conn, "public")))
        assert [each.applied for each in result.campaigns] == [False, True]
        assert result.code is ExitCode.FAILED
        conn.execute("UPDATE campaigns SET to_send = to_send - 1 WHERE id = %s", [ids[0]])
        [rest] = undo.undoable(conn, "public")
        assert (rest.run, rest.campaign_id) == (run, ids[0])
        assert write(conn, undo.undo_plan(rest)).code is ExitCode.OK
        assert tables(dsn) == before


def test_the_journal_keeps_what_a_rewind_overwrote(conn: Connection) -> None:
    """Former counter and cursor can be read there as long as the rewind stands, newest first."""
    uuid = plan_of(conn, 2, "rewind").campaign_uuid
    assert journal.former(conn, "public", 2, uuid) == ()
    first = rewound(conn)
    second = rewound(conn)
    kept = journal.former(conn, "public", 2, uuid)
    assert [(each.run, each.sent, each.status) for each in kept] == [
        (second, 2251, "paused"),
        (first, 2261, "finished"),
    ]
    assert (kept[1].last_subscriber_id, kept[1].to_send, kept[1].max_subscriber_id) == (2601, 2601, 7694)
    assert journal.former(conn, "public", 2, "00000000-0000-4000-8000-000000000000") == ()
    assert journal.former(conn, "public", 3, uuid) == ()
    write(conn, undo.undo_plan(undo.undoable(conn, "public", second)[0]))
    assert [each.run for each in journal.former(conn, "public", 2, uuid)] == [first]


def test_what_is_stored_in_the_journal_is_not_trusted_blindly(conn: Connection) -> None:
    """An entry whose plan was altered in the database is not undone."""
    rewound(conn)
    conn.execute("UPDATE listmonk_doctor.entries SET plan = jsonb_set(plan, '{changes,0,before,sent}', '1')")
    [entry] = undo.undoable(conn, "public")
    with pytest.raises(UsageError, match="it was edited after it was written"):
        undo.undo_plan(entry)


def test_the_guards_of_an_undo_are_the_row_that_was_left(conn: Connection) -> None:
    """All progress columns as the repair left them, and nothing that the caller did not add."""
    rewound(conn)
    [entry] = undo.undoable(conn, "public")
    plan = undo.undo_plan(entry)
    assert set(plan.guards) == {"row"}
    now = guards.read_row(conn, "public", 2)
    assert now is not None
    assert guards.normal(plan.guards["row"]) == guards.normal(now.progress)
