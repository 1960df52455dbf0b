"""What untrusted text, numbers and ids look like once they are written out."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from listmonk_doctor.render import text

HOSTILE = "[red]=cmd|' /C calc'!A0[/red]\x1b[2J"


def test_control_characters_become_visible_escapes() -> None:
    """An ANSI sequence loses its ESC and is seen as text; markup stays as it is."""
    assert text.clean(HOSTILE) == "[red]=cmd|' /C calc'!A0[/red]\\x1b[2J"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("tab\there", "tab\\there"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("c1\x9b31m", "c1\\x9b31m"),
        ("line\u2028sep", "line\\u2028sep"),
        ("lone\ud800half", "lone\\ud800half"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("hangul\u3164filler", "hangul\\u3164filler"),
        ("no\u00a0break", "no break"),
        ("a\u0301e\u0301", "a\u0301e\u0301"),
        ("\u00fcml\u00e4ut \u65e5\u672c \U0001f600", "\u00fcml\u00e4ut \u65e5\u672c \U0001f600"),
    ],
)
def test_what_hides_or_reorders_is_made_visible(raw: str, shown: str) -> None:
    """Line breaks, bidi marks, invisible and unpaired characters are escaped; letters of any script are not."""
    assert text.clean(raw) == shown


def test_marks_piled_on_a_letter_are_cut_to_two() -> None:
    """A letter with twenty accents does not draw over its neighbours' lines."""
    shown = text.clean("x" + "\u0300" * 20)
    assert shown.count("\u0300") == 2
    assert shown.count("\\u0300") == 18


@given(st.text())
def test_nothing_that_acts_on_a_terminal_is_left(raw: str) -> None:
    """Whatever goes in, what comes out is one printable line."""
    shown = text.clean(raw)
    assert "\x1b" not in shown
    assert len(shown.splitlines()) <= 1
    assert all(character.isprintable() for character in shown)


def test_addresses_are_masked() -> None:
    """A mail address keeps its first character and its domain."""
    assert text.clean("to john.doe@example.com now") == "to j***@example.com now"
    assert text.clean('"<a@b.test>", c+d@x.example.org;') == '"<a***@b.test>", c***@x.example.org;'
    assert text.clean("no @ address, user@host") == "no @ address, user@host"


def test_text_is_cut_to_columns_not_characters() -> None:
    """Wide characters count twice, and the result is never wider than asked."""
    assert text.shorten("abcdefghij", 8) == "abcde..."
    assert text.columns(text.shorten("\u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8", 8)) <= 8
    assert text.shorten("short", 8) == "short"


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_shortened_text_fits(raw: str, width: int) -> None:
    """Whatever the text and the width, it fits."""
    assert text.columns(text.shorten(text.visible(raw), width)) <= width


@given(st.frozensets(st.integers(min_value=0, max_value=2**32 - 1)) | st.frozensets(st.integers(0, 60)))
def test_ranges_hold_exactly_the_ids(ids: frozenset[int]) -> None:
    """Read back, the range string gives the same ids, ascending and without neighbours left apart."""
    written = text.ranges(BitMap(ids))
    read: list[tuple[int, int]] = []
    for part in filter(None, written.split(",")):
        first, _, last = part.partition("-")
        read.append((int(first), int(last or first)))
    assert {each for first, last in read for each in range(first, last + 1)} == ids
    assert all(before[1] + 1 < after[0] for before, after in pairwise(read))


def test_ranges_of_five_million_ids_take_no_python_list() -> None:
    """The time goes with the number of ranges, not of ids."""
    ids = BitMap(range(1000, 5_001_000))
    ids.remove(2_000_000)
    began = time.perf_counter()
    assert text.ranges(ids) == "1000-1999999,2000001-5000999"
    assert time.perf_counter() - began < 0.2


def test_some_ranges_say_how_many_are_left_out() -> None:
    """A person sees the first few ranges and the number of the others."""
    assert text.some_ranges(BitMap([1, 3, 5, 7, 9, 11, 12])) == "1, 3, 5, 7 and 2 more ranges"
    assert text.some_ranges(BitMap([1, 2, 9])) == "1-2, 9"
    assert text.some_ranges(BitMap()) == ""


def test_times_are_utc() -> None:
    """Every moment is written in UTC, for machines with Z."""
    moment = datetime(2026, 11, 25, 3, 6, 51, 710611, tzinfo=timezone(timedelta(hours=2)))
    assert text.utc(moment) == "2026-11-25T01:06:51.710611Z"
    assert text.when(moment) == "2026-11-25 01:06:51 UTC"
    assert text.when(None) == "never"
    assert text.utc(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3725, "1 h 2 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_are_said_in_two_units(seconds: float, words: str) -> None:
    """Long times are rounded to what matters."""
    assert text.lasting(seconds) == words


def test_counts_have_separators_and_a_plural() -> None:
    """Numbers of people are easy to read."""
    assert text.counted(1, "person", "people") == "1 person"
    assert text.counted(12345, "person", "people") == "12,345 people"
    assert text.counted(2, "cell") == "2 cells"
