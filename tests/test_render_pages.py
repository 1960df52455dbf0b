"""What a person reads, drawn of real diagnoses of recorded accidents for terminals and pipes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listmonk_doctor.database.connection import connect
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import resolve
from listmonk_doctor.demo.recording import recordings
from listmonk_doctor.listmonk.server import one_look_state
from listmonk_doctor.render import pages_examine, pages_repair, plain, terminal
from listmonk_doctor.render.document import Block, Command, Diff, Facts, Heading, Lines, Strip, Table
from listmonk_doctor.render.strip import PARTITION, strip
from listmonk_doctor.render.text import columns
from listmonk_doctor.repair.diagnose import diagnose_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from listmonk_doctor.repair.plan import Diagnosis

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def diagnosed(incident_db: Callable[[str], str]) -> Callable[[str, int], Diagnosis]:
    """Diagnoses one campaign of a recording, whose server is not there."""

    def one(recording: str, campaign: int) -> Diagnosis:
        with connect(resolve(incident_db(recording), None, (), {}, Path.cwd())) as conn:
            server = one_look_state(conn, "public", [campaign])
            with snapshot(conn, schema="public") as cursor:
                return diagnose_in(cursor, [campaign], server=server)[campaign]

    return one


def test_examine_begins_with_what_not_to_do(diagnosed: Callable[[str, int], Diagnosis]) -> None:
    """Advice stands before any figure: the first lines say not to press Start."""
    page = plain.render(pages_examine.examine(diagnosed("seed-v4.1.0", 2)))
    lines = page.splitlines()
    assert lines[0] == "What to do now"
    assert lines[1].startswith("- Do not press Start")


def test_examine_tells_the_parts_in_order(diagnosed: Callable[[str, int], Diagnosis]) -> None:
    """What happened, what is known, what cannot be known, then books, causes, people, prices and the next command."""
    said = diagnosed("seed-v4.1.0", 2)
    page = pages_examine.examine(said)
    headings = [block.text for block in page if isinstance(block, Heading)]
    assert headings[1].startswith('Campaign 2 "Spring edition"')
    wanted = [
        "What to do now",
        "What happened",
        "What is known",
        "What cannot be known",
        "The books",
        "Causes",
        "Taken for granted",
        "People",
        "What can be done, and what it costs in people",
        "Next",
    ]
    assert [each for each in headings if each in wanted] == wanted


def test_each_option_has_its_price_in_the_table(diagnosed: Callable[[str, int], Diagnosis]) -> None:
    """`nothing` is among the strategies, and every range that was computed is shown."""
    said = diagnosed("seed-v4.1.0", 2)
    table = next(block for block in pages_examine.prices(said) if isinstance(block, Table))
    shown = {row[0].lstrip("* "): row[1:] for row in table.rows if row[0].strip() != "presumably"}
    for option in said.options:
        assert shown[pages_examine.label(option)] == (
            str(option.missed),
            str(option.duplicates),
            str(option.newcomers),
            str(option.would_mail),
        )
    assert "nothing" in shown


def test_ruled_out_causes_are_one_line_of_codes(diagnosed: Callable[[str, int], Diagnosis]) -> None:
    """A cause that fits is explained; the others are listed by code only."""
    said = diagnosed("blockrun-v3.0.0", 2)
    page = plain.render(pages_examine.examine(said))
    ruled_out = next(line for line in page.splitlines() if line.startswith("Ruled out: "))
    codes = ruled_out.removeprefix("Ruled out: ").split(", ")
    for cause in said.examination.causes:
        assert (cause.code in codes) == (cause.standing == "ruled-out")


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("recording", ["seed-v4.1.0", "kill9-v6.2.0", "deleted-list-v6.0.0"])
def test_no_line_is_wider_than_the_terminal(
    diagnosed: Callable[[str, int], Diagnosis],
    recording: str,
    width: int,
) -> None:
    """At 80 and at 200 columns everything but commands fits, and nothing that was said is cut off."""
    said = diagnosed(recording, 2)
    page = terminal.render(pages_examine.examine(said), {"COLUMNS": str(width)})
    plain_text = ANSI.sub("", page)
    for line in plain_text.splitlines():
        assert columns(line) <= width or line.lstrip().startswith("$ ")
    squeezed = " ".join(plain_text.split())
    for sentence in (*said.advice, *said.examination.happened, *said.examination.known):
        assert " ".join(sentence.split()) in squeezed


@pytest.mark.parametrize(
    ("environ", "live", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": ""}, True, True),
    ],
)
def test_colour_follows_the_conventions(environ: dict[str, str], live: bool, coloured: bool) -> None:
    """NO_COLOR and a dumb terminal take all escapes away, FORCE_COLOR gives them without a terminal."""
    drawn = terminal.render((Heading("Title", tone="bad"), Lines(("text",), tone="good")), environ, 80, live=live)
    assert ("\x1b" in drawn) == coloured
    assert ANSI.sub("", drawn) == "Title\n  text\n"


def test_a_dumb_terminal_gets_the_strip_in_ascii(diagnosed: Callable[[str, int], Diagnosis]) -> None:
    """No block characters where the terminal says that it is dumb."""
    said = diagnosed("seed-v4.1.0", 2)
    drawn = strip(said.examination.recipients)
    assert drawn is not None
    assert terminal.render((drawn,), {"TERM": "dumb"}, 80).isascii()
    assert "\u2593" in terminal.render((drawn,), {}, 80)


def test_the_strip_draws_every_group_where_it_is(diagnosed: Callable[[str, int], Diagnosis]) -> None:
    """The tail that was never fetched stands at the right end, and the legend counts everybody once."""
    people = diagnosed("blockrun-v3.0.0", 2).examination.recipients
    drawn = strip(people)
    assert drawn is not None
    assert len(drawn.cells) == 60
    assert drawn.cells[-1] == "never_fetched"
    assert drawn.cells[0] != "never_fetched"
    counted = sum(int(words.rsplit(" ", 1)[1].replace(",", "")) for _, words in drawn.legend)
    assert counted == sum(len(getattr(people, name)) for name in PARTITION)


def test_markup_in_data_is_not_read() -> None:
    """A name in brackets or with an emoji's name is shown as it is."""
    page = (Heading("[bold]Sale[/bold] :warning:"), Lines(("[link=x]y[/link]",)), Table(("a",), (("[red]1[/]",),)))
    drawn = terminal.render(page, {"NO_COLOR": "1"}, 80)
    assert "[bold]Sale[/bold] :warning:" in drawn
    assert "[link=x]y[/link]" in drawn
    assert "[red]1[/]" in drawn


def test_a_long_table_is_not_drawn_by_rich() -> None:
    """Two thousand rows come out at once, each on its line."""
    rows = tuple((str(number), "1e5") for number in range(2000))
    drawn = terminal.render((Table(("n", "name"), rows),), {}, 80)
    assert len(drawn.splitlines()) == 2001
    assert "1e5" in drawn


def test_plain_tables_read_no_numbers() -> None:
    """A campaign named 1e5 stays 1e5, and one named 007 stays 007."""
    drawn = plain.render((Table(("name", "id"), (("1e5", "1"), ("007", "22")), frozenset({1})),))
    assert drawn.splitlines() == ["name      id", "1e5        1", "007       22"]


def test_plain_output_never_folds() -> None:
    """One thing is one line, however long it is, so that grep finds it."""
    drawn = plain.render((Lines(("word " * 200,), "-"),))
    assert len(drawn.splitlines()) == 1


def test_a_diff_shows_old_and_new_values() -> None:
    """Minus for what is, plus for what would be; a removed row has no plus."""
    diff = Diff("campaigns: change", (("status", "finished", "paused"), ("list_id", "NULL", None)))
    assert plain.render((diff,)).splitlines() == [
        "  campaigns: change",
        "- status  finished",
        "+ status  paused",
        "- list_id NULL",
    ]


@pytest.mark.parametrize(
    ("recording", "offset", "said"),
    [
        ("seed-v4.1.0", timedelta(hours=-1), "ignores it once Start is pressed"),
        ("paused-killed-v5.0.3", timedelta(hours=-1), "within 5 seconds"),
        ("paused-killed-v5.0.3", timedelta(hours=5), "nobody is mailed before then"),
    ],
)
def test_what_start_does_to_a_schedule_is_said(
    diagnosed: Callable[[str, int], Diagnosis],
    recording: str,
    offset: timedelta,
    said: str,
) -> None:
    """From 5.0.0 Start makes a campaign with a time scheduled; before, the time is ignored."""
    from dataclasses import replace

    seen = diagnosed(recording, 2).examination
    now = datetime.now(UTC)
    timed = replace(seen, campaign=replace(seen.campaign, send_at=now + offset))
    assert said in pages_repair.schedule(timed, now)
    assert pages_repair.schedule(replace(seen, campaign=replace(seen.campaign, send_at=None)), now) == ""


@pytest.mark.parametrize("recording", recordings())
def test_every_recording_can_be_shown_to_a_person(incident_db: Callable[[str], str], recording: str) -> None:
    """Each campaign of each recording fits 80 columns, has one line per group and option, and ends with no crash."""
    with connect(resolve(incident_db(recording), None, (), {}, Path.cwd())) as conn:
        ids = [row[0] for row in conn.execute("SELECT id FROM campaigns ORDER BY id").fetchall()]
        server = one_look_state(conn, "public", ids)
        with snapshot(conn, schema="public") as cursor:
            said = diagnose_in(cursor, ids, server=server)
    for each in said.values():
        page = pages_examine.examine(each, ids=True)
        drawn = ANSI.sub("", terminal.render(page, {"COLUMNS": "80"}))
        assert all(columns(line) <= 80 or line.lstrip().startswith("$ ") for line in drawn.splitlines())
        lines = plain.render(page).splitlines()
        for option in each.options:
            assert sum(line.lstrip("* ").startswith(f"{pages_examine.label(option)}  ") for line in lines) == 1


HOSTILE = "[red]=x[/red]\x1b[2J\r\n\u202e\x9b31m jane.doe@example.com"
BLOCKS: dict[str, Block] = {
    "heading": Heading(HOSTILE, HOSTILE),
    "lines": Lines((HOSTILE,), "-"),
    "facts": Facts(((HOSTILE, HOSTILE),)),
    "table": Table(("name",), ((HOSTILE,),)),
    "long table": Table(("name",), ((HOSTILE,),) * 60),
    "diff": Diff(HOSTILE, ((HOSTILE, HOSTILE, HOSTILE), (HOSTILE, None, HOSTILE), (HOSTILE, HOSTILE, None))),
    "strip": Strip(("unknown",), (("unknown", HOSTILE),), HOSTILE),
    "command": Command("listmonk-doctor scan \x1b[2J", HOSTILE),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_both_drawers_clean_whatever_is_in_a_block(kind: str) -> None:
    """No page builder has to remember it: in every kind of block text is made harmless and addresses are masked."""
    for drawn in (plain.render((BLOCKS[kind],)), terminal.render((BLOCKS[kind],), {"NO_COLOR": "1"}, 300)):
        assert all(character == "\n" or character.isprintable() for character in drawn)
        assert "jane.doe" not in drawn
        assert "\\x1b[2J" in drawn
        assert kind == "command" or "[red]=x[/red]" in drawn
