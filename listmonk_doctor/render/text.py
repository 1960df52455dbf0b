"""Owns how text from a database is made harmless, and how numbers, times and ids are written for people."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyroaring import BitMap

_HIDDEN: Final = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])
"""Unicode's categories of what is not seen: controls, bidi marks and zero-width, surrogates, line separators."""
_INVISIBLE_LETTERS: Final = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f\u180b\u180c\u180d\u180f")
"""Characters that Unicode calls letters or marks although nothing is drawn."""
_MOST_MARKS: Final = 2
"""Combining marks on one letter; more would be drawn over the lines above and below."""
_ADDRESS: Final = (
    r"(?P<first>[^\s@<>\"'(),:;\[\]\\])[^\s@<>\"'(),:;\[\]\\]*"
    r"@(?P<host>[^\s@<>\"'(),:;\[\]\\]+\.[^\s@<>\"'(),:;\[\]\\]+)"
)
"""Compiled where there is one, as that takes longer than most scans draw."""
_ASCII: Final = 0x7F
_PLAIN: Final = re.compile(r"[ -~]*")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def mask(text: str) -> str:
    """Return the text with every mail address in it shortened to its first character: `j***@example.com`."""
    if "@" not in text:
        return text
    return re.sub(_ADDRESS, lambda found: f"{found['first']}***@{found['host']}", text)


def _escape(character: str) -> str:
    r"""Return a character as people write it in source code: \n, \x1b, \u202e."""
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def visible(text: str) -> str:
    """Return the text with everything that acts on a terminal, hides or reorders replaced by a visible escape.

    Control characters (so every ANSI sequence loses its ESC, and every line break), bidi controls, zero-width and
    invisible characters, unassigned ones, and combining marks beyond two on a letter are written as escapes; other
    kinds of space become a space.
    """
    if _PLAIN.fullmatch(text):
        return text
    safe: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in _HIDDEN or character in _INVISIBLE_LETTERS or marks > _MOST_MARKS:
            safe.append(_escape(character))
        elif category == "Zs":
            safe.append(" ")
        else:
            safe.append(character)
    return "".join(safe)


def columns(text: str) -> int:
    """Return how many columns of a terminal the text takes: wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def shorten(text: str, width: int) -> str:
    """Return the text cut to `width` columns of a terminal (at least 1), with "..." as its end where it was cut."""
    if columns(text) <= width:
        return text
    kept = ""
    for character in text:
        if columns(kept + character) > width - 3:
            break
        kept += character
    return kept + "..."[: max(1, width - columns(kept))]


def clean(text: object, width: int | None = None) -> str:
    """Return untrusted text as it may be shown: harmless, addresses masked, and cut to `width` columns if given."""
    safe = mask(visible(str(text)))
    return safe if width is None else shorten(safe, width)


def number(value: int) -> str:
    """Return a whole number with thousands separators."""
    return f"{value:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return "1 person" or "1,204 people"; without `many` an s is added."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def utc(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC with Z; a moment without a zone is taken as UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat().replace("+00:00", "Z")


def when(moment: datetime | None) -> str:
    """Return a moment for people, to the second and in UTC; "never" for None."""
    if moment is None:
        return "never"
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{aware:%Y-%m-%d %H:%M:%S} UTC"


def lasting(seconds: float) -> str:
    """Return a duration in words, in the two largest units that say something ("2 h 5 min")."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if whole < _DAY:
        hours, rest = divmod(whole, _HOUR)
        return f"{hours} h {rest // _MINUTE} min" if rest >= _MINUTE else f"{hours} h"
    days, rest = divmod(whole, _DAY)
    return f"{days} d {rest // _HOUR} h" if rest >= _HOUR else f"{days} d"


def ranges(ids: BitMap) -> str:
    """Return the ids as ascending ranges, both ends included: "1000-1050,1063"; "" for no ids."""
    from listmonk_doctor.diagnosis.ranges import ranges as text_of  # no page of a scan needs it

    return text_of(ids)


def some_ranges(ids: BitMap, most: int = 4) -> str:
    """Return the first ranges for people, and how many more there are."""
    firsts = ids - ids.shift(1)
    if len(firsts) <= most:
        return ranges(ids).replace(",", ", ")
    head = ids.copy()
    head.remove_range(firsts[most], ids.max() + 1)
    return f"{ranges(head).replace(',', ', ')} and {counted(len(firsts) - most, 'more range')}"


def value(data: Any) -> str:
    """Return a column's value as SQL people write it: NULL, true, numbers without separators, text as it is."""
    if data is None:
        return "NULL"
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, datetime):
        return utc(data)
    return str(data)
