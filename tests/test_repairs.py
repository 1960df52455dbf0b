"""Repairs recorded accidents by the command line, lets the sender's model go on, and takes the repair back."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.repair.diagnose import diagnose_in
from tests.engine_model import Resumed, Row, Settings, resume_from_row
from tests.support.holding import assert_true
from tests.support.running import run, said
from tests.support.truth import TruthOf, read_truth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from listmonk_doctor.repair.plan import Diagnosis

TABLES = (
    "bounces",
    "campaign_lists",
    "campaign_views",
    "campaigns",
    "link_clicks",
    "links",
    "lists",
    "settings",
    "subscriber_lists",
    "subscribers",
    "templates",
)
CAMPAIGN = 2


def bytes_of(dsn: str) -> dict[str, list[str]]:
    """Return every row of listmonk's tables as text."""
    with psycopg.connect(dsn) as conn:
        return {
            table: [
                row
                for (row,) in conn.execute(
                    sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(table))
                ).fetchall()
            ]
            for table in TABLES
        }


def played_on(dsn: str, name: str, truth: TruthOf) -> Resumed:
    """Press Start on the row as it is and let the model run to its end."""
    recording = open_recording(name)
    _, report = said("examine", str(CAMPAIGN), "--dsn", dsn, "--no-look")
    campaign = report["campaign"]
    with psycopg.connect(dsn) as conn:
        found: dict[str, Any] = dict(conn.execute("SELECT key, value FROM settings WHERE key LIKE 'app.%%'").fetchall())
    settings = Settings(
        batch_size=found["app.batch_size"],
        concurrency=found["app.concurrency"],
        message_rate=found["app.message_rate"],
        max_send_errors=0,
    )
    row = Row(
        status=campaign["status"],
        sent=campaign["sent"],
        to_send=campaign["to_send"],
        last_subscriber_id=campaign["last_subscriber_id"],
        max_subscriber_id=campaign["max_subscriber_id"],
        started_at=0.0,
        updated_at=0.0,
    )
    return resume_from_row(
        row,
        truth.now,
        settings,
        recording.version.removeprefix("v"),
        truth.mails,
        ineligible=truth.fetchable & truth.blocklisted,
        unconfirmed=truth.fetchable - truth.blocklisted - truth.now,
    )


def resumed(dsn: str, name: str, truth: TruthOf) -> tuple[int, int]:
    """Press Start on the row as it is and let the model run to its end: (missed, mailed twice)."""
    again = played_on(dsn, name, truth).mails
    missed = {person for person in truth.missed if person not in again}
    return len(missed), len([person for person in again if truth.mails.get(person)])


def option_of(report: dict[str, Any], strategy: str, prefer: str | None = None) -> dict[str, Any]:
    """Return one strategy of a report."""
    fitting = (each for each in report["strategies"] if each["strategy"] == strategy)
    return next(each for each in fitting if prefer in (None, each["prefer"]))


def truth_of(dsn: str, name: str) -> TruthOf:
    """Return what really happened to the campaign."""
    with psycopg.connect(dsn) as conn:
        return read_truth(conn, open_recording(name), CAMPAIGN, worse=False)


@pytest.mark.parametrize("name", ["seed-v3.0.0", "seed-v4.1.0"])
def test_the_seed_is_repaired_without_a_miss_and_without_a_second_copy(
    incident_db: Callable[..., str], tmp_path: Path, name: str
) -> None:
    """The recommended rewind says presumably 0 and 0, and so it is; undo restores all bytes."""
    dsn = incident_db(name)
    before, truth = bytes_of(dsn), truth_of(dsn, name)
    _, report = said("examine", str(CAMPAIGN), "--dsn", dsn)
    best = next(each for each in report["strategies"] if each["recommended"])
    assert (best["strategy"], best["prefer"]) == ("rewind", "no-duplicates")
    assert best["presumably"]["missed"] == [0, 0]
    assert best["presumably"]["duplicates"] == [0, 0]
    assert {"stopped-once", "never-started-over"} <= set(report["assumption_codes"])
    start = option_of(report, "resume")
    assert start["duplicates"][1] > 1500
    assert start["presumably"]["duplicates"][0] > 1500
    applied = run("repair", str(CAMPAIGN), "--dsn", dsn, "--apply", "--yes", "--undo-out", str(tmp_path))
    assert applied.exit_code == 0, applied.stderr
    assert resumed(dsn, name, truth) == (0, 0)
    cursor = report["campaign"]["last_subscriber_id"]
    assert f"cursor {cursor:,}" in " ".join(run("examine", str(CAMPAIGN), "--dsn", dsn).stdout.split())
    undone = run("undo", "--dsn", dsn, "--apply", "--yes")
    assert undone.exit_code == 0, undone.stderr
    assert bytes_of(dsn) == before


@pytest.mark.parametrize(
    ("name", "strategy", "prefer"),
    [
        ("blockrun-v3.0.0", "resume", None),
        ("quickstart-v4.1.0", "resume", None),
        ("m2-backward-v5.0.3", "rewind", "no-duplicates"),
        ("m2-backward-v5.0.3", "rewind", "no-gaps"),
        ("crashed-down-v6.2.0", "rewind", "no-duplicates"),
        ("crashed-down-v6.2.0", "rewind", "no-gaps"),
        ("paused-killed-v5.0.3", "rewind", "no-duplicates"),
        ("paused-killed-v5.0.3", "rewind", "no-gaps"),
    ],
)
def test_a_recommended_repair_keeps_to_its_price(
    incident_db: Callable[..., str], tmp_path: Path, name: str, strategy: str, prefer: str | None
) -> None:
    """What the sender does after the repair lies inside the named price, and undo restores all bytes."""
    dsn = incident_db(name)
    before, truth = bytes_of(dsn), truth_of(dsn, name)
    words = ["--prefer", prefer] if prefer else []
    _, report = said("examine", str(CAMPAIGN), "--dsn", dsn, *words)
    best = next(each for each in report["strategies"] if each["recommended"])
    assert (best["strategy"], best["prefer"]) == (strategy, prefer)
    applied = run("repair", str(CAMPAIGN), "--dsn", dsn, "--apply", "--yes", "--undo-out", str(tmp_path), *words)
    assert applied.exit_code == 0, applied.stderr
    missed, twice = resumed(dsn, name, truth)
    assert best["missed"][0] <= missed <= best["missed"][1]
    assert best["duplicates"][0] <= twice <= best["duplicates"][1]
    if prefer == "no-gaps" or strategy == "resume":
        assert missed <= len(truth.failed)
    undone = run("undo", "--dsn", dsn, "--apply", "--yes")
    assert undone.exit_code == 0, undone.stderr
    assert bytes_of(dsn) == before


@pytest.mark.parametrize("name", ["kill9-v4.1.0", "kill9-v6.2.0", "kill9-defaults-v6.2.0", "kill9-after-pause-v6.2.0"])
def test_a_rewind_is_not_recommended_where_sending_went_on(incident_db: Callable[..., str], name: str) -> None:
    """After a kill in the middle nothing is recommended; the rewind to the number sent is refused with the reason."""
    dsn = incident_db(name)
    _, report = said("examine", str(CAMPAIGN), "--dsn", dsn)
    assert not any(each["recommended"] for each in report["strategies"])
    refused = option_of(report, "rewind", "no-duplicates")
    assert not refused["allowed_now"]
    assert "inside or behind the hole" in refused["because"]
    code, _ = said("repair", str(CAMPAIGN), "--dsn", dsn)
    assert code == 3


def test_a_due_campaign_is_unscheduled_while_the_server_scans(
    incident_db: Callable[..., str], player: Callable[..., Any], tmp_path: Path
) -> None:
    """M7: the row moves at every scan, and is made a draft all the same; nobody is mailed."""
    dsn = incident_db("scheduled-nobody-v4.1.0", fresh=True)
    with player(dsn, "scheduled-nobody-v4.1.0"):
        code, report = said("repair", str(CAMPAIGN), "--dsn", dsn)
        assert code == 4
        applied = run("repair", str(CAMPAIGN), "--dsn", dsn, "--apply", "--yes", "--undo-out", str(tmp_path))
        assert applied.exit_code == 0, applied.stderr
    assert report["campaigns"][0]["strategy"] == "unschedule"
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT status::text FROM campaigns").fetchall() == [("draft",)]


def test_a_deleted_list_is_detached_once_the_server_is_gone(
    incident_db: Callable[..., str], player: Callable[..., Any], tmp_path: Path
) -> None:
    """M6: while the pipe beats it is refused and says what to do; with the server stopped it is done, and undone."""
    name = "deleted-list-v6.0.0"
    dsn = incident_db(name, fresh=True)
    words = ("repair", str(CAMPAIGN), "--dsn", dsn, "--strategy", "detach-list")
    with player(dsn, name):
        refused = run(*words, "--apply", "--yes", "--undo-out", str(tmp_path))
        assert refused.exit_code == 3
        assert "stop listmonk" in (refused.stdout + refused.stderr).lower()
    before, truth = bytes_of(dsn), truth_of(dsn, name)
    applied = run(*words, "--apply", "--yes", "--undo-out", str(tmp_path))
    assert applied.exit_code == 0, applied.stderr
    assert resumed(dsn, name, truth) == (0, 0)
    assert run("undo", "--dsn", dsn, "--apply", "--yes").exit_code == 0
    assert bytes_of(dsn) == before


REPAIRED = [
    ("seed-v3.0.0", "rewind", "no-duplicates"),
    ("seed-v4.1.0", "rewind", "no-duplicates"),
    ("seed-v4.1.0", "rewind", "no-gaps"),
    ("blockrun-v3.0.0", "resume", "no-duplicates"),
    ("quickstart-v4.1.0", "resume", "no-duplicates"),
    ("m2-backward-v5.0.3", "rewind", "no-duplicates"),
    ("m2-backward-v5.0.3", "rewind", "no-gaps"),
    ("crashed-down-v6.2.0", "rewind", "no-duplicates"),
    ("crashed-down-v6.2.0", "rewind", "no-gaps"),
    ("paused-killed-v5.0.3", "rewind", "no-duplicates"),
    ("paused-killed-v5.0.3", "rewind", "no-gaps"),
    ("kill9-v4.1.0", "rewind", "no-gaps"),
]


@pytest.mark.parametrize(("name", "strategy", "prefer"), REPAIRED)
def test_a_repair_destroys_no_evidence(
    incident_db: Callable[..., str], tmp_path: Path, name: str, strategy: str, prefer: str
) -> None:
    """Repaired, and again when it was sent to its end, the truth lies in every range, group and price."""
    dsn = incident_db(name)
    truth = truth_of(dsn, name)
    words = ("--strategy", strategy, "--prefer", prefer, "--undo-out", str(tmp_path))
    applied = run("repair", str(CAMPAIGN), "--dsn", dsn, "--apply", "--yes", *words)
    assert applied.exit_code == 0, applied.stderr
    version = open_recording(name).version
    repaired = diagnosis_of(dsn)
    assert_true(repaired, truth, version)
    assert not repaired.advice[0].startswith("Do not press Start"), repaired.advice
    played = played_on(dsn, name, truth)
    end = played.row
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "UPDATE campaigns SET status = %s::campaign_status, sent = %s, to_send = %s, last_subscriber_id = %s,"
            " max_subscriber_id = %s, updated_at = now() WHERE id = %s",
            [end.status, end.sent, end.to_send, end.last_subscriber_id, end.max_subscriber_id, CAMPAIGN],
        )
    after = replace(truth, mails=played.total, sent=end.sent)
    ended = diagnosis_of(dsn)
    assert_true(ended, after, version)
    left = len(after.missed - truth.failed)
    assert ended.examination.verdict != "complete" or left <= repaired.examination.settings.concurrency


def diagnosis_of(dsn: str) -> Diagnosis:
    """Diagnose the campaign with no server there."""
    server = SimpleNamespace(running=False, scanners=0, because="nobody", pipes={CAMPAIGN: "none"}, xmin={})
    with psycopg.connect(dsn, autocommit=True) as conn, snapshot(conn, schema="public") as cursor:
        return diagnose_in(cursor, [CAMPAIGN], server=server)[CAMPAIGN]  # type: ignore[arg-type]


def test_a_campaign_that_was_killed_before_its_first_count_can_be_rewound(incident_db: Callable[..., str]) -> None:
    """Nothing was counted yet and a batch is out: going back before everybody misses nobody."""
    dsn = incident_db("crashed-down-v6.2.0")
    people = sorted(truth_of(dsn, "crashed-down-v6.2.0").now)
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE campaigns SET sent = 0, last_subscriber_id = %s WHERE id = 2", [people[299]])
    for prefer in ("no-duplicates", "no-gaps"):
        _, report = said("examine", str(CAMPAIGN), "--dsn", dsn, "--prefer", prefer)
        best = next(each for each in report["strategies"] if each["recommended"])
        assert (best["strategy"], best["prefer"]) == ("rewind", prefer)
        assert best["duplicates"][1] <= 300 + 10  # and one per worker
    assert best["changes"][0]["after"]["last_subscriber_id"] == 0
    assert best["missed"] == [0, 0]
    assert best["would_mail"] == [len(people), len(people)]


def test_a_first_start_without_a_relay_is_told_by_whom_it_would_skip(incident_db: Callable[..., str]) -> None:
    """Nothing was sent and the cursor became a count (M2): Start would mail nobody twice, and skip the first people."""
    dsn = incident_db("m2-backward-v5.0.3")
    people = sorted(truth_of(dsn, "m2-backward-v5.0.3").now)
    with psycopg.connect(dsn) as conn:
        conn.execute("TRUNCATE bounces, campaign_views, link_clicks")
        conn.execute(
            "UPDATE campaigns SET sent = 0, to_send = %s, last_subscriber_id = %s WHERE id = 2", [people[9]] * 2
        )
    _, report = said("examine", str(CAMPAIGN), "--dsn", dsn)
    assert f"{len(people) - 10:,} people would be mailed, and 10 below it" in report["advice"][0]
    assert "second time" not in report["advice"][0]
    best = next(each for each in report["strategies"] if each["recommended"])
    assert best["strategy"] == "rewind"
    assert best["changes"][0]["after"]["last_subscriber_id"] == 0
    assert best["missed"] == [0, 0]
