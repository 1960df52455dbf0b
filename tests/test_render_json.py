"""The machine-readable output is what the published schemas promise, on recorded accidents."""

from __future__ import annotations

import json
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import psycopg
import pytest
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.demo.recording import open_recording
from listmonk_doctor.diagnosis import scan
from listmonk_doctor.diagnosis.catalogue import catalogue
from listmonk_doctor.render import json_
from tests.support.databases import IncidentDatabases
from tests.support.followups import draft_of, sent
from tests.support.replaying import Replay
from tests.support.schema_mutants import Mutant, described, mutants, places, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.databases import Databases

COMMANDS = ("scan", "examine", "repair", "undo", "follow-up", "history", "checks", "explain", "timeline")
RECORDINGS = (
    "seed-v4.1.0",
    "kill9-v6.2.0",
    "deleted-list-v6.0.0",
    "scheduled-nobody-v4.1.0",
    "blockrun-v3.0.0",
    "kill9-after-finish-v2.5.1",
    "healthy-v6.2.0",
)
EXAMINE_KEYS = [
    "schema",
    "command",
    "advice",
    "campaign",
    "pipe",
    "verdict",
    "account",
    "causes",
    "assumptions",
    "recipients",
    "strategies",
]


def schema(command: str) -> dict[str, Any]:
    """Return a published schema."""
    found: dict[str, Any] = json.loads((files("listmonk_doctor") / "schemas" / f"{command}.schema.json").read_text())
    return found


def said(command: str, dsn: str, *arguments: str) -> Any:
    """Run a command with --format json, validate what it prints, and return it."""
    result = CliRunner().invoke(app, [command, *arguments, "--dsn", dsn, "--format", "json"])
    assert result.exit_code in (0, 1, 3, 4), result.output
    document = json.loads(result.stdout)
    jsonschema.validate(document, schema(command), jsonschema.Draft202012Validator)
    return document


@pytest.mark.parametrize("command", COMMANDS)
def test_each_schema_is_a_schema(command: str) -> None:
    """Each published schema is valid by draft 2020-12 and names its command."""
    published = schema(command)
    jsonschema.Draft202012Validator.check_schema(published)
    assert published["properties"]["command"] == {"const": command}
    assert published["properties"]["schema"] == {"const": json_.SCHEMA}


@pytest.mark.parametrize("recording", RECORDINGS)
def test_scan_and_examine_keep_the_contract(recording: str, incident_db: Callable[[str], str]) -> None:
    """Every campaign of the recordings, with and without ids."""
    dsn = incident_db(recording)
    assert list(said("scan", dsn)) == ["schema", "command", "listmonk", "findings", "skipped", "failed"]
    for campaign in open_recording(recording).incident["campaigns"]:
        document = said("examine", dsn, campaign, "--ids", "--no-look")
        assert list(document)[: len(EXAMINE_KEYS)] == EXAMINE_KEYS
        assert [cause["code"] for cause in document["causes"]] == [f"M{number}" for number in range(1, 19)]
        for group in document["recipients"].values():
            assert members(group["ids"]) == group["count"]
        bare = said("examine", dsn, campaign, "--no-look")
        assert {name: group["count"] for name, group in bare["recipients"].items()} == {
            name: group["count"] for name, group in document["recipients"].items()
        }
        assert all(group["ids"] is None for group in bare["recipients"].values())


def members(ids: str) -> int:
    """Count the integers of a range string."""
    parts = [part.partition("-") for part in ids.split(",") if part]
    return sum(int(last or first) - int(first) + 1 for first, _, last in parts)


@pytest.mark.parametrize("recording", RECORDINGS)
def test_repair_keeps_the_contract(recording: str, incident_db: Callable[[str], str]) -> None:
    """A dry run says per campaign what would change or why nothing is done; it has no run."""
    dsn = incident_db(recording)
    for campaign in open_recording(recording).incident["campaigns"]:
        document = said("repair", dsn, campaign, "--no-look")
        assert document["run"] is None
        (one,) = document["campaigns"]
        assert one["applied"] is False
        assert one["campaign"]["id"] == int(campaign)
        assert one["changes"] or one["refused"] or one["strategy"] == "nothing"
    said("repair", dsn)


def test_a_run_and_its_undo_keep_the_contract(incident_db: Callable[[str], str], tmp_path: Path) -> None:
    """Applied, listed and taken back, each with the run's id."""
    dsn = incident_db("paused-killed-v5.0.3")
    repaired = said("repair", dsn, "2", "--apply", "--yes", "--undo-out", str(tmp_path))
    assert repaired["applied"] is True
    assert repaired["campaigns"][0]["applied"] is True
    undone = said("undo", dsn, repaired["run"], "--apply", "--yes")
    assert undone["of_run"] == repaired["run"]
    assert undone["campaigns"][0]["applied"] is True
    (after, before) = (undone["campaigns"][0]["changes"][0]["after"], repaired["campaigns"][0]["changes"][0]["before"])
    assert after == before
    runs = said("history", dsn)["runs"]
    assert [each["run"] for each in runs] == [undone["run"], repaired["run"]]
    assert [each["undone_by"] for each in runs] == [None, undone["run"]]


def test_checks_and_explain_keep_the_contract() -> None:
    """No database is needed."""
    for arguments in (["checks"], ["explain", "LM101"], ["explain", "M1"]):
        result = CliRunner().invoke(app, [*arguments, "--format", "json"])
        assert result.exit_code == 0
        document = json.loads(result.stdout)
        jsonschema.validate(document, schema(arguments[0]), jsonschema.Draft202012Validator)


def test_text_beyond_ascii_is_escaped_and_addresses_are_masked() -> None:
    """No control character, no bidi mark and no address reaches a terminal raw, and the JSON reads back."""
    raw = {"name": "\u202e jane.doe@example.com\x1b[2J", "path": [1, None, True, 2.5]}
    written = json_.dumps(raw)
    assert written.isascii()
    assert "\x1b" not in written
    assert json.loads(written) == {"name": "\u202e j***@example.com\x1b[2J", "path": [1, None, True, 2.5]}


UNIONS = {
    "listmonk.running": "boolean null",  # null: cannot tell
    "findings[].id": "integer null",  # null: one line that sums up many rows
    "campaign.lists[].id": "integer null",  # null: the list is deleted
    "campaign.lists[].optin": "string null",
    "campaign.started_at": "string null",
    "campaign.updated_at": "string null",
    "campaign.send_at": "string null",
    **{f"recipients.{group}.ids": "string null" for group in json_.GROUPS},  # null without --ids
    "candidates[].ids": "string null",
    "prefer": "string null",  # an open set of strategies, of which some have variants
    "strategies[].prefer": "string null",
    "strategies[].presumably": "object null",  # null: it adds nothing
    "price.presumably": "object null",
    "strategies[].refused": "string null",
    "refused": "string null",
    "strategy": "string null",  # null: none can be recommended
    "price": "object null",
    "lasts_seconds": "array null",
    "undo_file": "string null",
    "plan_file": "string null",
    "undoes": "string null",
    "undone_by": "string null",
    "recorded": "object null",  # null: nothing was recorded
    "recorded.unusable": "string null",
    "recorded.lives[].died": "array null",
    "recorded.holes[].at_most.ids": "string null",
    "recorded.holes[].surely.ids": "string null",
    "saved": "string null",
    "unusable": "string null",
    "reach": "object null",  # null: a file was read
    "reach.oldest": "string null",
    "reach.left_seconds": "number null",
    "lives[].died": "array null",
    "versions[].started_at": "string null",
    "versions[].updated_at": "string null",
    "versions[].lsn": "string null",  # null: it was recorded
    "since": "string null",
    "before": "string null",
    **{f"changes[].{when}.{at}": "string null" for when in ("before", "after") for at in ("created_at", "updated_at")},
}
"""The keys that are now this, now that: a schema takes either."""
OPTIONAL = {
    f"changes[].{when}.{column}"
    for when in ("before", "after")
    for column in ("status", "last_subscriber_id", "sent", "description")
} | {"changes[].after.subscriber_ids", "changes[].before.meta", "changes[].after.meta"}
"""The keys that may be missing: a change of a campaign's row names only the columns that change, and lists have a
description from 2.3.0 on; subscriptions a meta from 2.5.0 on; the people of a follow-up are named with --ids."""
OF_FOLLOW_UPS = (
    "name",
    "type",
    "optin",
    "tags",
    "description",
    "rows",
    "audience_of",
    "copy_of",
    "columns",
    "content",
    "files",
    "subscriber_ids",
)
OF_LISTS = ("name", "type", "optin", "tags", "description", "rows")
"""What the undo of a settle brings back."""
NOT_SEEN = {
    "history": ("changes[].after.subscriber_ids", "changes[].before.subscriber_ids"),
    "repair": (
        "campaigns[].findings[].",
        *(f"changes[].after.{name}" for name in ("list_id", "campaign_id", "id")),
        *(f"changes[].before.{name}" for name in OF_FOLLOW_UPS),
        "changes[].after.subscriber_ids",
    ),
    "examine": (
        *(f"changes[].after.{name}" for name in ("list_id", "campaign_id", "id")),
        *(f"changes[].before.{name}" for name in OF_FOLLOW_UPS),
    ),
    "undo": (
        "failed[].",
        "changes[].before.id",
        *(f"changes[].after.{name}" for name in OF_FOLLOW_UPS if name not in OF_LISTS),
        *(f"changes[].before.{name}" for name in ("subscriber_ids", "created_at", "meta", "uuid")),
    ),
}
"""What shares its shape with others but never occurs: a repair does not scan the campaigns that it is told and puts
no list back, an undo runs no check and takes no list away."""

Outputs = dict[str, list[Any]]


def break_one_check(patch: pytest.MonkeyPatch) -> None:
    """Give one check a statement that the server refuses."""
    broken = b"SELECT 1 / (id - id) FROM campaigns;\n"
    checks = tuple(each._replace(sql=broken) if each.code == "LM109" else each for each in catalogue())
    patch.setattr(scan, "catalogue", lambda: checks)


def attach(dsn: str) -> None:
    """Give campaign 2 an attachment."""
    with psycopg.connect(dsn) as conn:
        conn.execute("INSERT INTO media (uuid, filename, thumb) VALUES (gen_random_uuid(), 'menu.pdf', '')")
        conn.execute("INSERT INTO campaign_media (campaign_id, media_id, filename) SELECT 2, id, filename FROM media")


def tend(add: Callable[..., None], dsn: str, options: tuple[str, ...]) -> None:
    """Make a follow-up of a campaign with two lists, refresh it, send it, settle it, and take it all back."""
    with psycopg.connect(dsn) as conn:
        conn.execute("INSERT INTO lists (uuid, name, type) VALUES (gen_random_uuid(), 'Second', 'public')")
        conn.execute("INSERT INTO campaign_lists (campaign_id, list_id) SELECT 2, max(id) FROM lists")
    add("repair of a follow-up", dsn, "2", "--strategy", "follow-up", *options)
    draft = draft_of(dsn)
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE subscribers SET status = 'blocklisted' WHERE id = %s", [min(draft.people)])
    add("follow-up refresh", dsn, "refresh", "2")
    add("follow-up refresh", dsn, "refresh", "2", *options)
    add("follow-up refresh", dsn, "refresh", "2")
    add("history of a refresh", dsn)
    add("undo of a refresh", dsn)
    sent(dsn, "kill9-v6.2.0", draft.id, {})
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "UPDATE subscriber_lists SET status = 'unsubscribed', updated_at = '2036-01-01Z'"
            " WHERE list_id = %s AND subscriber_id = %s",
            [draft.list_id, max(draft.people)],
        )
    add("follow-up settle", dsn, "settle", "2", "--remove-list")
    add("follow-up settle", dsn, "settle", "2", "--remove-list", *options)
    add("history of a settle", dsn)
    add("undo of a settle", dsn)
    add("undo of a settle", dsn, "--apply", "--yes")
    add("history of a settle", dsn)


def listen(add: Callable[..., None], made: IncidentDatabases, folder: Path) -> None:
    """Print what is said with recordings, of which one has a gap."""
    for number, name in enumerate(("kill9-v6.2.0", "kill9-v2.5.1", "seed-v4.1.0")):
        dsn, flight = made(name), str(folder / f"flight{number}")
        replay = Replay(dsn, open_recording(name), made.loaded(dsn).shift)
        replay.record(Path(flight), (lambda look: not 8 <= look < 15) if number == 2 else (lambda _: True))
        add("examine recorded", dsn, "2", "--ids", "--no-look", "--recorded", flight)
        add("examine recorded", dsn, "2", "--no-look", "--recorded", flight)
        add("repair", dsn, "2", "--no-look", "--recorded", flight)
        add("timeline recorded", dsn, "2", "--recorded", flight)
    logged = made("m2-backward-v5.0.3", fresh=True)
    with psycopg.connect(logged, autocommit=True) as conn:
        conn.execute("UPDATE campaigns SET sent = sent + 1 WHERE id = 2")
    add("timeline", logged, "2", "--save", str(folder / "how.db"))
    add("timeline recorded", logged, "2", "--recorded", str(folder / "how.db"))


@pytest.fixture(scope="module")
def outputs(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outputs]:
    """Give real outputs by command and kind ("repair from a plan"), each valid by its schema."""
    printed: Outputs = defaultdict(list)
    made = IncidentDatabases(databases)
    folder = tmp_path_factory.mktemp("outputs")

    def add(kind: str, dsn: str, *arguments: str) -> None:
        printed[kind].append(said(kind.partition(" ")[0], dsn, *arguments))

    def read(dsn: str, campaign: str) -> None:
        add("scan", dsn)
        add("examine", dsn, campaign, "--ids", "--no-look")
        add("examine", dsn, campaign, "--no-look")
        add("repair", dsn, campaign, "--no-look")

    for name in ("seed-v4.1.0", "kill9-v6.2.0", "scheduled-nobody-v4.1.0", "unknown-messenger-v6.2.0"):
        dsn = made(name)
        for campaign in open_recording(name).incident["campaigns"]:
            read(dsn, campaign)
    with pytest.MonkeyPatch.context() as patch:
        break_one_check(patch)
        read(made("seed-v4.1.0"), "2")
        add("repair", made("seed-v4.1.0"))
    listen(add, made, folder)
    detached, dsn = made("deleted-list-v6.0.0"), made("paused-killed-v5.0.3")
    add("examine of lists", detached, "2", "--no-look")
    options = ("--apply", "--yes", "--undo-out", str(folder))
    add("repair of lists", detached, "2", "--strategy", "detach-list", *options)
    plan = str(folder / "plan.json")
    add("repair", dsn, "2", "--plan-out", plan)
    add("repair from a plan", dsn, "--plan", plan)
    add("repair from a plan", dsn, "--plan", plan, *options)
    add("history", dsn)
    add("undo", dsn)
    add("undo", dsn, "--apply", "--yes")
    add("repair", dsn, "2", *options)
    add("repair of nothing", dsn, "2", "--strategy", "accept", "--reason", "it may stay so", *options)
    add("history", dsn)
    add("undo of nothing", dsn)
    add("history of lists", detached)
    add("undo of lists", detached, "--apply", "--yes")
    add("history of lists", detached)
    followed = made("kill9-v6.2.0")
    attach(followed)
    add("examine of a follow-up", followed, "2", "--no-look")
    add("repair of a follow-up", followed, "2", "--strategy", "follow-up", *options)
    add("history of a follow-up", followed)
    add("undo of a follow-up", followed, "--apply", "--yes")
    add("history of a follow-up", followed)
    tend(add, made("kill9-v6.2.0"), options)
    for arguments in (["checks"], ["explain", "LM101"], ["explain", "M1"]):
        listed = CliRunner().invoke(app, [*arguments, "--format", "json"])
        printed[arguments[0]].append(json.loads(listed.stdout))
    yield printed
    made.drop()


@pytest.fixture(scope="module")
def taken(outputs: Outputs) -> dict[str, list[Mutant]]:
    """Give the spoilt outputs that the schemas take all the same, by command."""
    found: dict[str, list[Mutant]] = {command: [] for command in COMMANDS}
    for kind, documents in outputs.items():
        command = kind.partition(" ")[0]
        validator = jsonschema.Draft202012Validator(schema(command))
        done: set[tuple[str, str]] = set()
        for document in documents:
            validator.validate(document)
            found[command] += [each for each in mutants(document, done) if validator.is_valid(each.document)]
    return found


def within(path: str) -> str:
    """Return a path within what it belongs to: a change, a campaign of a run, a run, a check; else as it is."""
    before, change, after = path.rpartition("changes[].")
    if change:
        return change + after
    return before + next((path.removeprefix(of) for of in ("campaigns[].", "runs[].", "checks[].") if of in path), path)


def test_a_schema_refuses_whatever_lacks_a_key_or_has_another_type(taken: dict[str, list[Mutant]]) -> None:
    """Each key of real outputs is taken away and made of another type; only what is named above is taken."""
    loose = {
        (command, each.path, each.was, each.became)
        for command, found in taken.items()
        for each in found
        if not {each.was, each.became} <= set(UNIONS.get(within(each.path), "").split())
        and not (each.became == "missing" and within(each.path) in OPTIONAL)
    }
    assert sorted(loose) == []


def test_all_causes_and_leaving_it_as_it_is_are_always_there(outputs: Outputs) -> None:
    """An examination without one of the causes, or without the strategy "nothing", is refused."""
    validator = jsonschema.Draft202012Validator(schema("examine"))
    document = outputs["examine"][0]
    others = [each for each in document["strategies"] if each["strategy"] != "nothing"]
    assert len(others) == len(document["strategies"]) - 1
    assert not validator.is_valid(document | {"strategies": others})
    assert not validator.is_valid(document | {"causes": document["causes"][1:]})


def test_no_exception_is_without_need(taken: dict[str, list[Mutant]]) -> None:
    """A key that is named as optional, or as now this, now that, is one by its schema."""
    every = [each for found in taken.values() for each in found]
    assert {within(each.path) for each in every if each.became == "missing"} == OPTIONAL
    assert {within(each.path) for each in every if each.became != "missing"} == set(UNIONS)


def test_whatever_a_schema_describes_is_printed(outputs: Outputs) -> None:
    """And so was spoilt: no key is described that no output has."""
    seen: dict[str, set[str]] = defaultdict(set)
    for kind, documents in outputs.items():
        seen[kind.partition(" ")[0]] |= {written(steps) for each in documents for steps, _ in places(each)}
    for command in COMMANDS:
        unseen = described(schema(command)) - seen[command]
        assert not {path for path in unseen if not any(known in path for known in NOT_SEEN.get(command, ()))}
        assert all(any(known in path for path in unseen) for known in NOT_SEEN.get(command, ())), command
