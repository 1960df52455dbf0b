"""Holds the explanations of the causes against the table that judges them, and `explain` of a cause."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from listmonk_doctor.cli import app
from listmonk_doctor.diagnosis.causes import CAUSES
from listmonk_doctor.diagnosis.lexicon import LEXICON, Told
from listmonk_doctor.listmonk.versions import BEHAVIOURS, Version, parse

PARTS = ("What happens", "What it leaves", "What to do")


def test_every_cause_is_explained_by_its_own_name() -> None:
    """The explanations are those of the table's causes, in its order."""
    assert [(each.code, each.name) for each in LEXICON] == [(code, name) for code, name, _ in CAUSES]


@pytest.mark.parametrize("told", LEXICON, ids=lambda told: told.code)
def test_an_explanation_has_its_three_parts(told: Told) -> None:
    """What happens, what it leaves and what to do are whole sentences."""
    paragraphs = told.text.split("\n\n")
    assert tuple(paragraph.partition(": ")[0] for paragraph in paragraphs) == PARTS
    assert all(paragraph.endswith(".") for paragraph in paragraphs)


@pytest.mark.parametrize("told", LEXICON, ids=lambda told: told.code)
def test_the_versions_are_those_of_the_behaviour(told: Told) -> None:
    """The first version that is named is the first that behaves so; one that no longer does is not named."""
    behaviour = next(name for code, _, name in CAUSES if code == told.code)
    named = [parse(word) for word in told.versions.replace(",", " ").split() if word.startswith("v") and "." in word]
    if behaviour is None:
        return
    known = BEHAVIOURS[behaviour]
    if known.since is not None:
        assert named[0] == known.since
    if known.before is not None:
        assert max(named) < known.before
        assert known.before <= Version(named[-1].major + 1, 1, 0)


def test_explain_tells_a_cause_by_code_or_name() -> None:
    """The code in any letter case and the name give the same page; SQL of a cause is refused in one sentence."""
    by_code, by_name = (CliRunner().invoke(app, ["explain", word]) for word in ("m1", "fetched-ahead-and-lost"))
    assert by_code.exit_code == 0
    assert by_code.stdout == by_name.stdout
    assert by_code.stdout.startswith("M1 fetched-ahead-and-lost  (all versions to v6.2.0)\n")
    refused = CliRunner().invoke(app, ["explain", "M1", "--sql"])
    assert refused.exit_code == 2
    assert refused.stderr == "Error: M1 is a cause, not a check: there is no SQL of it.\n"


def test_a_cause_that_does_not_exist_is_told_what_comes_close() -> None:
    """M19 is near to others."""
    refused = CliRunner().invoke(app, ["explain", "M19"])
    assert refused.exit_code == 2
    assert "Did you mean" in refused.stderr
