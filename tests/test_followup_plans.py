"""What a follow-up's plan may touch, what stops it, and that its scripts do what apply does."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.errors import UsageError
from listmonk_doctor.repair import planfile
from tests.support.followups import CAMPAIGN, bytes_of, done, draft_of, sent
from tests.support.repairing import journal_rows, psql
from tests.support.replaying import Replay
from tests.support.running import run, said
from tests.support.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "kill9-v6.2.0"
FOLLOW_UP = ("repair", str(CAMPAIGN), "--strategy", "follow-up")


@pytest.fixture
def dsn(incident_db: Callable[..., str]) -> str:
    """Give a database with a campaign that a kill in the middle cut short; it has two attachments."""
    found = incident_db(NAME)
    with psycopg.connect(found) as conn:
        conn.execute(
            "INSERT INTO media (uuid, filename, thumb) VALUES (gen_random_uuid(), 'a.pdf', ''),"
            " (gen_random_uuid(), 'b.pdf', '')"
        )
        conn.execute("INSERT INTO campaign_media (campaign_id, media_id, filename) SELECT 2, id, filename FROM media")
    return found


def saved(dsn: str, place: Path, *words: str) -> dict[str, Any]:
    """Save the plan of a follow-up and return its document."""
    path = place / "plan.json"
    assert run(*FOLLOW_UP, *words, "--dsn", dsn, "--plan-out", str(path), "--no-look").exit_code == 4
    document: dict[str, Any] = json.loads(path.read_text())["plans"][0]
    return document


def test_the_draft_is_a_copy_of_all_that_makes_up_the_mail(dsn: str, tmp_path: Path) -> None:
    """Content, sender, template, tags, attachments are those of the campaign; progress, time and archive are not."""
    with psycopg.connect(dsn) as conn:
        conn.execute(
            """UPDATE campaigns SET altbody = 'plain', body_source = '{"a": 1}', tags = '{one,"t,wo"}', archive = true,
               archive_slug = 'slug', headers = '[{"X-A": "b"}]', attribs = '{"k": [1]}', send_at = now()
               WHERE id = 2"""
        )
    done(*FOLLOW_UP, "--dsn", dsn, "--undo-out", str(tmp_path))
    draft = draft_of(dsn)
    with psycopg.connect(dsn) as conn:
        names = [
            name
            for (name,) in conn.execute(
                "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'campaigns'"
            )
        ]
        rows = sql.SQL("SELECT {} FROM campaigns WHERE id = ANY(%s) ORDER BY id").format(
            sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)
        )
        old, new = (dict(zip(names, row, strict=True)) for row in conn.execute(rows, [[CAMPAIGN, draft.id]]))
        files = [
            conn.execute("SELECT media_id, filename FROM campaign_media WHERE campaign_id = %s ORDER BY 1", [each])
            for each in (CAMPAIGN, draft.id)
        ]
        assert files[0].fetchall() == files[1].fetchall() != []
        kind = conn.execute("SELECT type::text, optin::text, tags FROM lists WHERE id = %s", [draft.list_id])
        assert kind.fetchall() == [("private", "single", ["listmonk-doctor"])]
    same = {name for name in names if old[name] == new[name]}
    moved = set(names) - same
    assert moved <= {
        *("id", "uuid", "name", "status", "send_at", "to_send", "sent", "max_subscriber_id", "last_subscriber_id"),
        *("started_at", "created_at", "updated_at", "archive", "archive_slug", "archive_meta"),
    }
    fresh = ("status", "send_at", "started_at", "sent", "to_send", "last_subscriber_id", "archive", "archive_slug")
    assert [new[name] for name in fresh] == ["draft", None, None, "0", "0", "0", "false", None]


def test_only_the_chosen_groups_are_mailed(dsn: str, tmp_path: Path) -> None:
    """--group says who; the reached, newcomers and the departed cannot be chosen."""
    for word in ("reached", "newcomers", "departed", "everybody"):
        refused = run(*FOLLOW_UP, "--group", word, "--dsn", dsn)
        assert refused.exit_code == 2
        assert "unknown, never_fetched" in refused.stderr
    empty = run(*FOLLOW_UP, "--group", "never_fetched", "--dsn", dsn)
    assert empty.exit_code == 3
    assert "nobody to choose" in empty.stdout
    assert run("repair", "2", "--group", "unknown", "--dsn", dsn).exit_code == 2
    plan = saved(dsn, tmp_path, "--group", "unknown")
    assert plan["guards"]["follow_up"] == {"groups": ["unknown"]}


def test_no_id_is_printed_unless_asked_for(dsn: str, tmp_path: Path) -> None:
    """Pages, CSV and JSON show how many people are put on the list; the plan file and the journal hold their ids."""
    ids = saved(dsn, tmp_path)["changes"][1]["after"]["subscriber_ids"]
    some = ids[:30]
    for output in ("plain", "json", "csv"):
        assert some not in run(*FOLLOW_UP, "--dsn", dsn, "--format", output, "--no-look").stdout
    done(*FOLLOW_UP, "--dsn", dsn, "--undo-out", str(tmp_path))
    for command in (("history",), ("undo",)):
        assert some not in run(*command, "--dsn", dsn, "--format", "json").stdout
    assert some in "".join(journal_rows(dsn)["listmonk_doctor.entries"])


@pytest.mark.parametrize(
    ("meanwhile", "word"),
    [
        ("UPDATE campaigns SET body = body || '.' WHERE id = 2", "its content was edited"),
        ("UPDATE subscriber_lists SET status = 'unsubscribed' WHERE subscriber_id = {one}", "the audience had"),
        ("UPDATE subscribers SET status = 'blocklisted' WHERE id = {one}", "the audience had"),
        ("DELETE FROM subscribers WHERE id = {one}", "the audience had"),
        ("UPDATE campaign_media SET filename = 'c.pdf'", "its attachments were changed"),
        ("UPDATE campaigns SET status = 'running' WHERE id = 2", "status was finished"),
        ("INSERT INTO bounces (subscriber_id, campaign_id) VALUES ({one}, 2)", "people were chosen, and it would be"),
    ],
)
def test_a_plan_is_stale_once_what_it_rests_on_has_moved(dsn: str, tmp_path: Path, meanwhile: str, word: str) -> None:
    """Content edited, somebody left, somebody proved to have the mail: refused with the reason, nothing written."""
    one = saved(dsn, tmp_path)["changes"][1]["after"]["subscriber_ids"].partition(",")[0].partition("-")[0]
    with psycopg.connect(dsn) as conn:
        conn.execute(meanwhile.format(one=one).encode())
    before = bytes_of(dsn)
    refused = run("repair", "--plan", str(tmp_path / "plan.json"), "--apply", "--yes", "--dsn", dsn)
    assert refused.exit_code == 3
    assert word in refused.stdout
    assert bytes_of(dsn) == before
    assert not any(journal_rows(dsn).values())


def _spoil(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets one place of a document."""

    def spoil(document: dict[str, Any]) -> None:
        holder: Any = document
        *steps, last = path.split(".")
        for step in steps:
            holder = holder[int(step) if isinstance(holder, list) else step]
        holder[int(last) if isinstance(holder, list) else last] = value

    return spoil


SPOILT: dict[str, Callable[[dict[str, Any]], None]] = {
    "a public list": _spoil("changes.0.after.type", "public"),
    "a list with double opt-in": _spoil("changes.0.after.optin", "double"),
    "another tag": _spoil("changes.0.after.tags", ["x"]),
    "another column of the list": _spoil("changes.0.after.id", 1),
    "a uuid that is none": _spoil("changes.0.key.uuid", "1"),
    "people on another list": _spoil("changes.1.key.list_uuid", "b50f45e2-69a5-559b-aa03-67eb4061e34b"),
    "people not confirmed": _spoil("changes.1.after.status", "unconfirmed"),
    "another campaign's audience": _spoil("changes.1.after.audience_of", 1),
    "fewer rows than people": _spoil("changes.1.after.rows", 1),
    "nobody": _spoil("changes.1.after.subscriber_ids", ""),
    "people out of order": _spoil("changes.1.after.subscriber_ids", "5,3"),
    "SQL for people": _spoil("changes.1.after.subscriber_ids", "1); DROP TABLE lists; --"),
    "a copy of another campaign": _spoil("changes.2.after.copy_of", 1),
    "a running copy": _spoil("changes.2.after.status", "running"),
    "a column that is none of a mail's": _spoil("changes.2.after.columns", ["subject", "status"]),
    "columns out of order": _spoil("changes.2.after.columns", ["body", "subject"]),
    "no digest": _spoil("changes.2.after.content", "x"),
    "another name": _spoil("changes.2.after.name", "x"),
    "an update of the original": _spoil("changes.2.key", {"id": 2}),
    "another draft's list": _spoil("changes.3.key.campaign_uuid", "b50f45e2-69a5-559b-aa03-67eb4061e34b"),
    "files of another campaign": _spoil("changes.4.after.copy_of", 1),
    "a removal": _spoil("changes.0.before", {"name": "x"}),
    "a table of listmonk's users": _spoil("changes.4.table", "users"),
    "a group that cannot be chosen": _spoil("guards.follow_up.groups", ["reached"]),
    "changes in another order": lambda document: document["changes"].reverse(),
    "a list without a draft": lambda document: document.update(changes=document["changes"][:2]),
    "two lists": lambda document: document["changes"].append(document["changes"][0]),
}


def test_a_plan_that_touches_anything_else_is_refused(dsn: str, tmp_path: Path) -> None:
    """Sealed anew after each tampering, it is refused for what it would do."""
    document = saved(dsn, tmp_path)
    assert planfile.from_json(copy.deepcopy(document)).strategy == "follow-up"
    for name, spoil in SPOILT.items():
        tampered = copy.deepcopy(document)
        spoil(tampered)
        tampered = planfile.sealed({key: value for key, value in tampered.items() if key != "digest"})
        try:
            planfile.from_json(tampered)
        except UsageError as error:
            assert "plan cannot be used" in error.message, name  # noqa: PT017 - the loop names what was spoilt
        else:
            pytest.fail(name)


def scripts(*words: str) -> tuple[str, str]:
    """Return the script of a repair and its undo script; neither watches for 11 seconds."""
    shown = run(*words, "--sql")
    assert shown.exit_code == 0, shown.stderr
    forth, _, back = shown.stdout.replace("pg_sleep(11.5)", "pg_sleep(0)").partition("\n\\q\n")
    return forth, back


def test_the_scripts_do_what_apply_does(dsn: str) -> None:
    """Made, refreshed, settled and each taken back by psql alone, to the byte; what has moved is refused."""
    before = bytes_of(dsn)
    forth, back = scripts(*FOLLOW_UP, "--dsn", dsn, "--no-look")
    assert psql(dsn, forth).returncode == 0
    draft = draft_of(dsn)
    assert psql(dsn, forth).returncode != 0
    ran = psql(dsn, back)
    assert ran.returncode == 0, ran.stderr
    assert bytes_of(dsn) == before
    assert psql(dsn, scripts(*FOLLOW_UP, "--dsn", dsn, "--no-look")[0]).returncode == 0
    draft = draft_of(dsn)
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE subscribers SET status = 'blocklisted' WHERE id = %s", [min(draft.people)])
    made = bytes_of(dsn)
    forth, back = scripts("follow-up", "refresh", "2", "--dsn", dsn)
    assert psql(dsn, forth).returncode == 0
    assert bytes_of(dsn) != made
    ran = psql(dsn, back)
    assert ran.returncode == 0, ran.stderr
    assert bytes_of(dsn) == made
    sent(dsn, NAME, draft.id, {})
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "UPDATE subscriber_lists SET status = 'unsubscribed', updated_at = '2036-01-01Z'"
            " WHERE list_id = %s AND subscriber_id = %s",
            [draft.list_id, max(draft.people)],
        )
    finished = bytes_of(dsn)
    forth, back = scripts("follow-up", "settle", "2", "--remove-list", "--dsn", dsn)
    assert psql(dsn, forth).returncode == 0
    assert len(bytes_of(dsn)["public.lists"]) == len(before["public.lists"])
    ran = psql(dsn, back)
    assert ran.returncode == 0, ran.stderr
    assert bytes_of(dsn) == finished


def test_the_scripts_refuse_what_has_moved(dsn: str) -> None:
    """An edited campaign, a started draft: psql stops with the reason and nothing is written."""
    forth, back = scripts(*FOLLOW_UP, "--dsn", dsn, "--no-look")
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE campaign_media SET filename = 'c.pdf' WHERE campaign_id = 2")
    before = bytes_of(dsn)
    ran = psql(dsn, forth)
    assert b"attachments were changed since" in ran.stderr
    assert bytes_of(dsn) == before
    forth, back = scripts(*FOLLOW_UP, "--dsn", dsn, "--no-look")
    assert psql(dsn, forth).returncode == 0
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE campaigns SET status = 'running' WHERE id = %s", [draft_of(dsn).id])
    before = bytes_of(dsn)
    ran = psql(dsn, back)
    assert b"The draft was started" in ran.stderr
    assert bytes_of(dsn) == before


def test_an_opt_in_campaign_has_no_follow_up(dsn: str) -> None:
    """It asks the unconfirmed of its own lists to confirm; the refusal says so."""
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE campaigns SET type = 'optin' WHERE id = 2")
        conn.execute("UPDATE lists SET optin = 'double' WHERE id = 1")
    refused = run(*FOLLOW_UP, "--group", "unknown", "--dsn", dsn, "--no-look")
    assert refused.exit_code == 3
    assert "opt-in campaign" in refused.stdout


def test_a_second_follow_up_is_refused_and_nothing_else_is_recommended(
    incident_db: Callable[..., str], tmp_path: Path
) -> None:
    """While one stands, going on with the original is priced with the people who may get the mail from it."""
    dsn = incident_db("quickstart-v4.1.0")
    _, before = said("examine", "2", "--dsn", dsn)
    assert [each["strategy"] for each in before["strategies"] if each["recommended"]] == ["resume"]
    option = next(each for each in before["strategies"] if each["strategy"] == "follow-up")
    assert option["groups"] == ["never_fetched"]
    assert option["duplicates"] == [0, 0]
    made = done(*FOLLOW_UP, "--dsn", dsn, "--undo-out", str(tmp_path))
    again = run(*FOLLOW_UP, "--dsn", dsn)
    assert again.exit_code == 3
    assert "is a follow-up of it already" in again.stdout
    _, seen = said("examine", "2", "--dsn", dsn)
    assert not any(each["recommended"] for each in seen["strategies"])
    resume = next(each for each in seen["strategies"] if each["strategy"] == "resume")
    assert resume["duplicates"][1] >= option["would_mail"][1] > 0
    assert any("follow-up refresh" in each for each in seen["advice"])
    assert any("A follow-up was made of it" in each for each in seen["happened"])
    done("undo", made["run"], "--dsn", dsn)
    _, after = said("examine", "2", "--dsn", dsn)
    assert after["strategies"] == before["strategies"]


def test_once_one_was_sent_another_may_be_made_for_others(incident_db: Callable[..., str], tmp_path: Path) -> None:
    """First the tail, then whoever is presumed to have been mailed: nobody stands on both lists."""
    dsn = incident_db("quickstart-v4.1.0")
    groups = ("never_fetched", "never_fetched,presumed_reached")
    done(*FOLLOW_UP, "--group", groups[0], "--dsn", dsn, "--undo-out", str(tmp_path))
    first = draft_of(dsn)
    assert run(*FOLLOW_UP, "--group", groups[1], "--dsn", dsn).exit_code == 3
    sent(dsn, "quickstart-v4.1.0", first.id, {})
    nobody = run(*FOLLOW_UP, "--group", groups[0], "--dsn", dsn)
    assert nobody.exit_code == 3
    assert "nobody to choose" in nobody.stdout
    done(*FOLLOW_UP, "--group", groups[1], "--dsn", dsn, "--undo-out", str(tmp_path))
    second = draft_of(dsn)
    assert second.id != first.id
    assert second.people
    assert first.people.isdisjoint(second.people)
    both = run("follow-up", "refresh", "2", "--dsn", dsn)
    assert both.exit_code == 3
    assert "has 2 follow-ups" in both.stderr
    assert said("follow-up", "refresh", str(second.id), "--dsn", dsn)[0] == 0


def test_a_follow_up_is_recommended_where_a_resume_would_stop_again(incident_db: Callable[..., str]) -> None:
    """M3 with another stretch ahead: the resume is refused, and the people above the cursor are followed up."""
    dsn = incident_db("blockrun-v3.0.0")
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE settings SET value = '1' WHERE key = 'app.batch_size'")
    _, seen = said("examine", "2", "--dsn", dsn)
    (best,) = [each for each in seen["strategies"] if each["recommended"]]
    assert best["strategy"] == "follow-up"
    assert best["groups"] == ["never_fetched"]
    assert best["duplicates"] == [0, 0]
    assert next(each for each in seen["strategies"] if each["strategy"] == "resume")["refused"]


def test_a_role_is_told_every_grant_that_a_follow_up_needs(
    dsn: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With exactly what the refusals ask for, one after the other, it is made and taken back."""
    role = "followup_clerk"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS followup_clerk")
        conn.execute("CREATE ROLE followup_clerk LOGIN")
        conn.execute("GRANT USAGE ON SCHEMA public TO followup_clerk")
        conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO followup_clerk")
        conn.execute("GRANT pg_read_all_stats TO followup_clerk")
        conn.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO followup_clerk").format(sql.Identifier(conn.info.dbname)))

    def drop() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("DROP OWNED BY followup_clerk CASCADE")
            conn.execute("DROP ROLE followup_clerk")

    request.addfinalizer(drop)
    clerk = psycopg.conninfo.make_conninfo(dsn, user=role)
    before = bytes_of(dsn)
    for words in ((*FOLLOW_UP, "--undo-out", str(tmp_path)), ("undo",)):
        for _ in range(3):
            code, report = said(*words, "--dsn", clerk, "--apply", "--yes")
            if code == 0:
                break
            hint = run(*words, "--dsn", clerk, "--apply", "--yes").stdout
            grants = [each.strip() + ";" for each in hint.replace("\n", " ").split("GRANT ")[1:]]
            with psycopg.connect(dsn, autocommit=True) as conn:
                for grant in grants:
                    conn.execute(("GRANT " + grant.partition(";")[0]).encode())
        assert code == 0, report
    assert bytes_of(dsn) == before


def test_with_a_recording_the_proved_hole_is_followed_up(incident_db: Any, tmp_path: Path) -> None:
    """Sending went on after the kill: the follow-up to those proved unmailed doubles nobody, and is recommended."""
    dsn = incident_db(NAME)
    recording = open_recording(NAME)
    file = tmp_path / "flight.sqlite"
    Replay(dsn, recording, incident_db.loaded(dsn).shift).record(file)
    words = ("--recorded", str(file), "--dsn", dsn)
    _, seen = said("examine", "2", *words, "--no-look")
    (best,) = [each for each in seen["strategies"] if each["recommended"]]
    assert (best["strategy"], best["groups"], best["duplicates"]) == ("follow-up", ["not_mailed"], [0, 0])
    _, gapless = said(*FOLLOW_UP, *words, "--prefer", "no-gaps", "--no-look")
    option = next(each for each in gapless["campaigns"][0]["strategies"] if each["strategy"] == "follow-up")
    assert option["groups"] == ["unknown", "not_mailed"]
    assert not option["recommended"]
    with psycopg.connect(dsn) as conn:
        truth = read_truth(conn, recording, CAMPAIGN, worse=False)
    done("repair", "2", *words, "--undo-out", str(tmp_path))
    played = sent(dsn, NAME, draft_of(dsn).id, truth.mails)
    assert len(played.mails) == seen["recipients"]["not_mailed"]["count"]
    assert truth.mails.keys().isdisjoint(played.mails)
    low, high = best["missed"]
    assert low <= len(truth.missed - played.mails.keys()) <= high
