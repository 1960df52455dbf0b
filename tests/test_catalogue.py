"""What the files in sql/checks/ declare, how strictly that is read, and how a check is found."""

from __future__ import annotations

import re
from typing import Final

import pytest

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.diagnosis.catalogue import (
    Check,
    MalformedCheckError,
    catalogue,
    find,
    read_all,
    read_check,
    select,
)
from listmonk_doctor.errors import ExitCode, UsageError
from listmonk_doctor.listmonk.versions import Version

FILE: Final = "lm199-some-name.sql"
GOOD: Final = """\
-- code: LM199
-- name: some-name
-- severity: warning
-- tags: campaigns, health
-- since: v3.0.0
-- before: v6.1.0
--
-- What it finds.
--
-- What to do.
SELECT 1 AS id;
"""


def every_check() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("check", catalogue(), ids=lambda check: check.code)


def test_a_file_is_the_whole_declaration() -> None:
    """All that is known of a check stands in its file."""
    check = read_check(FILE, GOOD.encode())
    assert check == Check(
        code="LM199",
        name="some-name",
        severity="warning",
        tags=("campaigns", "health"),
        since=Version(3, 0, 0),
        before=Version(6, 1, 0),
        text="What it finds.\n\nWhat to do.",
        sql=GOOD.encode(),
    )


def test_a_semicolon_in_a_string_or_a_comment_ends_nothing() -> None:
    """The one statement of a check may say whatever it likes."""
    statement = "SELECT 'it''s; so' AS id -- it's one; really\n;\n"
    assert read_check(FILE, GOOD.replace("SELECT 1 AS id;\n", statement).encode()).code == "LM199"


def test_versions_are_optional() -> None:
    """A check without bounds is for all versions."""
    check = read_check(FILE, GOOD.replace("-- since: v3.0.0\n-- before: v6.1.0\n", "").encode())
    assert (check.since, check.before) == (None, None)
    assert check.not_for(Version(2, 0, 0)) is None


@pytest.mark.parametrize(
    ("before", "after", "because"),
    [
        ("-- code: LM199\n", "", "a check declares"),
        ("-- code: LM199", "-- code: LM19", "is no code"),
        ("-- code: LM199", "-- code: LM699", "is no code"),
        ("-- name: some-name", "-- name: Some_name", "is no name"),
        ("-- name: some-name", "-- name: other-name", "named by its code and name"),
        ("-- severity: warning", "-- severity: fatal", "is no severity"),
        ("-- tags: campaigns, health", "-- tags: campaigns, campaigns", "different words"),
        ("-- tags: campaigns, health", "-- tags: campaigns health", "different words"),
        ("-- since: v3.0.0", "-- since: 3.0", "is no version"),
        ("-- since: v3.0.0\n-- before: v6.1.0", "-- before: v6.1.0\n-- since: v3.0.0", "in this order"),
        ("-- since: v3.0.0", "-- since: v3.0.0\n-- since: v3.0.0", "declared twice"),
        ("-- before: v6.1.0", "-- colour: red", "a check declares"),
        ("-- before: v6.1.0\n--\n", "-- before: v6.1.0\n", "`--` alone"),
        ("-- What it finds.\n--\n-- What to do.\n", "", "explanation"),
        ("-- What to do.", "--What to do.", "does not begin"),
        ("SELECT 1 AS id;", "DELETE FROM campaigns;", "one SELECT"),
        ("SELECT 1 AS id;", "SELECT 1 AS id", "semicolon"),
        ("SELECT 1 AS id;", "SELECT 1 AS id; SELECT 2;", "semicolon"),
    ],
)
def test_a_malformed_file_is_refused(before: str, after: str, because: str) -> None:
    """Whatever is not exactly in form is a bug that is named with its file."""
    assert before in GOOD
    with pytest.raises(MalformedCheckError, match=because) as error:
        read_check(FILE, GOOD.replace(before, after).encode())
    assert str(error.value).startswith(FILE)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("lm199-other-name.sql", "some-name", "other-name"),
        ("lm198-some-name.sql", "LM199", "LM198"),
    ],
)
def test_a_code_and_a_name_are_given_once(file: str, before: str, after: str) -> None:
    """Two files can share neither a code nor a name."""
    with pytest.raises(MalformedCheckError, match="is declared by"):
        read_all([(FILE, GOOD.encode()), (file, GOOD.replace(before, after).encode())])


def test_the_catalogue_is_the_folder() -> None:
    """Every file of the folder is a check, and they are sorted by code."""
    codes = [check.code for check in catalogue()]
    assert codes == sorted(codes)
    assert [f"{check.code.lower()}-{check.name}.sql" for check in catalogue()] == sqlfiles.names("checks")
    assert {"LM101", "LM102", "LM103", "LM104", "LM106", "LM108", "LM109"} <= set(codes)


@every_check()
def test_an_explanation_says_what_why_and_what_to_do(check: Check) -> None:
    """The text of `explain` has three paragraphs that fit a terminal."""
    starts = [paragraph.split(":")[0] for paragraph in check.text.split("\n\n")]
    assert starts == ["What it finds", "Why it matters", "What to do"]
    assert max(map(len, check.text.splitlines())) <= 112


@every_check()
def test_a_check_reads_no_body_and_names_its_columns(check: Check) -> None:
    """No check reads a campaign's texts, which would cost far more than all the rest."""
    statement = re.sub(r"--.*", "", check.sql.decode())
    assert not re.search(r"\b(body|body_source|altbody|subject|headers)\b", statement)
    assert not re.search(r"(SELECT|,|\.)\s*\*", statement)


@every_check()
def test_a_check_has_no_placeholders(check: Check) -> None:
    """A check runs as it is in psql: no parameter, no variable, no command of psql."""
    statement = re.sub(r"--.*|'[^']*'", "", check.sql.decode())
    assert not re.search(r"%\(|%s|\$\d|\\|(?<!:):[a-z]", statement)


def test_a_part_of_the_same_name_reads_the_same_everywhere() -> None:
    """The parts that several files have to repeat (settings, versions, server) do not drift apart."""
    parts: dict[str, dict[str, list[str]]] = {}
    shared = ("installed", "dated", "knobs", "server", "messengers", "short", "explained", "counted")
    part = re.compile(r"^(?:WITH )?(\w+) AS MATERIALIZED \((.*?)^\)", re.MULTILINE | re.DOTALL)
    for check in catalogue():
        for name, body in part.findall(check.sql.decode()):
            parts.setdefault(name, {}).setdefault(body, []).append(check.code)
    for name in shared:
        assert len(parts[name]) == 1, parts[name].values()
    assert sum(map(len, parts["dated"].values())) > 1


@pytest.mark.parametrize(
    ("version", "applies"),
    [
        (Version(2, 5, 1), False),
        (Version(3, 0, 0), True),
        (Version(6, 0, 0), True),
        (Version(6, 1, 0), False),
    ],
)
def test_a_check_is_for_versions_from_since_to_before(version: Version, applies: bool) -> None:
    """`since` is the first version a check is for, `before` the first one it is not for."""
    because = read_check(FILE, GOOD.encode()).not_for(version)
    assert (because is None) == applies
    assert because is None or str(version) in because


@pytest.mark.parametrize("word", ["LM101", "lm101", " finished-before-everyone-was-mailed "])
def test_a_check_is_found_by_code_or_name(word: str) -> None:
    """Letter case and blanks do not matter."""
    assert find(word).code == "LM101"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("101", "LM101 (finished-before-everyone-was-mailed)"),
        ("finished-before-everybody-was-mailed", "LM101 (finished-before-everyone-was-mailed)"),
        ("messenger", "LM109 (messenger-that-does-not-exist)"),
        ("qqqq", "`listmonk-doctor checks` lists them."),
    ],
)
def test_what_is_nearly_a_check_is_suggested(word: str, hint: str) -> None:
    """An unknown check is wrong usage, with what comes close."""
    with pytest.raises(UsageError, match="There is no check") as error:
        find(word)
    assert hint in error.value.hint
    assert error.value.code is ExitCode.USAGE


def test_checks_are_selected_by_code_and_tag() -> None:
    """Codes and tags narrow the catalogue, together they narrow it more, and an empty choice is none."""
    assert select() == catalogue()
    assert [check.code for check in select(codes={"LM901", "LM101"})] == ["LM101", "LM901"]
    assert {check.code for check in select(tags={"server"})} == {"LM901"}
    assert select(codes={"LM101"}, tags={"server"}) == ()
    assert select(codes=()) == ()
    assert all("health" in check.tags for check in select(tags={"health"}))


def test_every_warning_and_error_is_watched_by_cron() -> None:
    """What is above info has the tag that cron selects by, and nothing else has it."""
    assert {check.code for check in select(tags={"health"})} == {
        check.code for check in catalogue() if check.severity != "info"
    }
