"""The option --allow-extension on the command line: what was read, what it cost, and what would have helped."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema
import pytest

from listmonk_doctor.commands._evidence import Evidence
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.timeline.recording import read_recording
from listmonk_doctor.timeline.wal.ways import PAGES
from tests.support.log_world import Witness, serve
from tests.test_timeline_cli import document, run, schema
from tests.test_wal_extensions import by_ways, needs
from tests.test_wal_history import WRITE, fresh
from tests.test_wal_leftovers import UNTOUCHED, campaign_of, lose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTION = "--allow-extension"
EXTENSIONS = "SELECT extname FROM pg_extension ORDER BY 1"


class Lost(NamedTuple):
    """A database whose campaign 2 was sent when its log was another; what was committed, and two DSNs."""

    witness: Witness
    dsn: str
    plain: str


@pytest.fixture(scope="module")
def lost() -> Iterator[Lost]:
    """Send a short campaign, let the log go, and write the row once more."""
    with serve(UNTOUCHED) as server, fresh(server) as conn:
        needs(conn, "pageinspect")
        conn.execute("VACUUM FULL campaigns")
        conn.execute("CREATE ROLE nobody_much LOGIN")
        conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO nobody_much")
        witness = Witness(conn)
        assert campaign_of(witness, 6) == 2
        lose(witness)
        witness.run(WRITE.format("sent = sent + 1"), campaign=2)
        name = conn.info.dbname
        yield Lost(witness, server.dsn(name), server.dsn(name, user="nobody_much"))


def test_the_command_names_its_sources_and_what_it_left_behind(lost: Lost) -> None:
    """The log's versions and the pages' are told as one, with what was read; the extension is gone afterwards."""
    said = document(lost.dsn, "timeline", "2", OPTION)
    jsonschema.validate(said, schema(), jsonschema.Draft202012Validator)
    assert said["source"] == "the log and the table's own pages, by pageinspect"
    assert [each["sent"] for each in said["versions"]] == [row[1] for row in lost.witness.rows[2]]
    assert {each["source"] for each in said["versions"]} == {"page", "log"}
    story = [each["what"] for each in said["moments"]]
    assert story.count("100 sent") == 6
    assert len([each for each in story if each.startswith("a batch up to")]) == 2
    assert said["versions"][-1]["committed_after"] == said["versions"][-1]["committed_by"]
    assert any("pageinspect was made to look and taken back" in note for note in said["notes"])
    page = run(lost.dsn, "timeline", "2", OPTION, "--format", "plain").stdout
    for words in ("the log and the table's own pages", "13 to 110 kB of log", "100 sent", f"--save FILE {OPTION}"):
        assert words in page
    assert lost.witness.conn.execute(EXTENSIONS).fetchall() == [("plpgsql",)]


def test_without_the_option_nothing_is_made(lost: Lost) -> None:
    """The log alone is read, and not one transaction number is used up."""
    number = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    before = lost.witness.conn.execute(number).fetchall()
    said = document(lost.dsn, "timeline", "2")
    assert said["source"] == "the log"
    assert len(said["versions"]) < len(lost.witness.rows[2])
    assert lost.witness.conn.execute(number).fetchall() == before


def test_what_pages_told_can_be_saved(lost: Lost, tmp_path: Path) -> None:
    """The file holds them with where they come from; saved again and read again it tells the same."""
    file = tmp_path / "how.db"
    for _ in range(2):
        document(lost.dsn, "timeline", "2", OPTION, "--save", str(file))
    _, (timeline,) = read_recording(file)
    assert [each.sent for each in timeline.versions] == [row[1] for row in lost.witness.rows[2]]
    assert {each.source for each in timeline.versions} == {"page", "log"}
    again = document(None, "timeline", "2", "--recorded", str(file))
    jsonschema.validate(again, schema(), jsonschema.Draft202012Validator)
    assert document(lost.dsn, "examine", "2", "--no-look", "--recorded", str(file))["recorded"]["file"] == str(file)


def test_examine_uses_both_ways(lost: Lost) -> None:
    """Where it is allowed, examine hears the pages with the log, and says where the price comes from."""
    said = document(lost.dsn, "examine", "2", "--no-look", OPTION)
    assert said["recorded"]["file"] == "the log and the table's own pages, by pageinspect"
    assert lost.witness.conn.execute(EXTENSIONS).fetchall() == [("plpgsql",)]


def test_pages_are_named_only_where_they_told_something(lost: Lost) -> None:
    """Of several campaigns that are looked at together, one may be heard from the log alone."""
    conn = lost.witness.conn
    both = by_ways(conn, [2]).timelines[2]
    alone = replace(both, versions=tuple(each for each in both.versions if each.source == "log"))
    for timeline, source in ((both, f"the log and {PAGES}"), (alone, "the log")):
        known = Evidence(log=True, logged={2: timeline}, sources=("the log", PAGES))
        with snapshot(conn, schema="public") as cur:
            heard = known.heard(cur, [2])
        assert heard is not None
        assert heard[2].source == source


def test_a_plain_role_gets_one_line(lost: Lost) -> None:
    """Examine goes on without the log and says what would have helped, in both ways; timeline says the same."""
    said = run(lost.plain, "examine", "2", "--no-look", OPTION, "--format", "plain")
    assert said.exit_code in (0, 1), said.output
    told = " ".join(said.stdout.split())
    assert "What would have helped: the server's log may hold how it happened." in told
    assert "Nor by pg_walinspect:" in told
    assert "What would have helped" in run(lost.plain, "examine", "2", "--no-look", "--format", "json").stdout
    without = json.dumps(document(lost.plain, "examine", "2", "--no-look"))
    assert "--allow-extension is another way" in without
    done = run(lost.plain, "timeline", "2", OPTION)
    assert done.exit_code == 3
    assert "Nor by pg_walinspect" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("timeline", "2", OPTION, "--wal", "/tmp"),  # noqa: S108 - it is not looked at
        ("timeline", "2", OPTION, "--recorded", "x.db"),
        ("examine", "2", OPTION, "--timeline", "off"),
        ("repair", "2", OPTION, "--timeline", "x.db"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(lost: Lost, arguments: tuple[str, ...]) -> None:
    """The option is about the server's log: with a file, or with the log switched off, it means nothing."""
    done: Any = run(lost.dsn, *arguments)
    assert done.exit_code == 2
    assert OPTION in done.stderr
