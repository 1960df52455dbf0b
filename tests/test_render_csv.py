"""CSV cells hold data, never formulas."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listmonk_doctor.diagnosis.findings import Finding, ScanReport
from listmonk_doctor.render import csv_

TRIGGERS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize("first", list(TRIGGERS))
def test_a_cell_that_would_be_a_formula_is_disarmed(first: str) -> None:
    """A leading apostrophe makes it text."""
    assert csv_.cell(f"{first}cmd|' /C calc'!A0").startswith("'")


def test_blanks_before_a_formula_do_not_help_it() -> None:
    """Some programs trim a cell before they look at it."""
    assert csv_.cell("  =1+1") == "'  =1+1"


def test_a_formula_behind_a_semicolon_is_disarmed() -> None:
    """A program that splits at semicolons finds no formula either."""
    assert csv_.cell("sale; =1+1") == "sale; '=1+1"


def test_numbers_stay_numbers() -> None:
    """A negative figure is no formula."""
    assert csv_.cell(-1000) == "-1000"
    assert csv_.cell(data=True) == "true"
    assert csv_.cell(None) == ""


@given(st.text())
def test_no_cell_begins_a_formula_or_breaks_a_line(raw: str) -> None:
    """Whatever the text, the cell is one harmless line."""
    cell = csv_.cell(raw)
    assert cell[:1] not in set(TRIGGERS)
    assert cell.lstrip()[:1] not in set("=+-@")
    assert "\x1b" not in cell
    assert len(cell.splitlines()) <= 1


def test_a_scan_is_one_line_per_finding() -> None:
    """Headers and cells are as the JSON's names, quotes and commas are escaped."""
    finding = Finding("LM101", "a-name", "error", "campaigns", 2, '=HYPERLINK("x"), "y"', "10, 20 people", None)
    written = "".join(csv_.scan(ScanReport("v4.1.0", running=None, findings=(finding,))))
    rows = list(csv.reader(io.StringIO(written)))
    assert rows == [
        ["code", "name", "severity", "table", "id", "label", "detail"],
        ["LM101", "a-name", "error", "campaigns", "2", '\'=HYPERLINK("x"), "y"', "10, 20 people"],
    ]
    assert written.endswith("\r\n")
