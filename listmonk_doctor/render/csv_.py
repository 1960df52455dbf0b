"""Owns CSV output: one table per command, and no cell that a spreadsheet would run as a formula."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.render import changes
from listmonk_doctor.render.strip import GROUPS
from listmonk_doctor.render.text import clean, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from listmonk_doctor.diagnosis.findings import ScanReport
    from listmonk_doctor.render.outcome import RunReport
    from listmonk_doctor.repair.plan import Diagnosis, Option

_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What begins a formula: = + - @, also full-width, with or without blanks before; tab and carriage return."""
_INNER: Final = re.compile(r"([;\t]\s*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""A spreadsheet that splits at semicolons would see the rest as a cell of its own."""


def cell(data: object) -> str:
    """Return one cell: text is made harmless and disarmed with an apostrophe; numbers stay numbers; None is empty."""
    if data is None:
        return ""
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, int | float):
        return str(data)
    raw = str(data)
    text = _INNER.sub(r"\1'", clean(raw))
    return f"'{text}" if _FORMULA.match(raw) or _FORMULA.match(text) else text


def lines(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield CSV lines (RFC 4180: commas, double quotes, CR LF), the headers first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(headers)
    yield buffer.getvalue()
    for row in rows:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow([cell(each) for each in row])
        yield buffer.getvalue()


def scan(report: ScanReport) -> Iterator[str]:
    """Yield one line per finding."""
    headers = ("code", "name", "severity", "table", "id", "label", "detail")
    return lines(headers, ([getattr(each, name) for name in headers] for each in report.findings))


_PRICES: Final = ("missed", "duplicates", "newcomers", "would_mail")
OPTION_HEADERS: Final = (
    "campaign_id",
    "campaign",
    "verdict",
    "strategy",
    "prefer",
    "recommended",
    "allowed_now",
    "refused",
    *(f"{name}_{end}" for name in _PRICES for end in ("at_least", "at_most")),
    "presumably_missed_at_least",
    "presumably_missed_at_most",
    "presumably_duplicates_at_least",
    "presumably_duplicates_at_most",
    "because",
)


def _option(said: Diagnosis, option: Option) -> list[Any]:
    """Return one strategy's line."""
    hoped = option.presumably
    row = said.examination.campaign
    return [
        row.id,
        row.name,
        said.examination.verdict,
        option.strategy,
        option.prefer,
        option.recommended,
        option.allowed_now,
        option.refusal or None,
        *(end for name in _PRICES for end in getattr(option, name)),
        *((*hoped.missed, *hoped.duplicates) if hoped else (None,) * 4),
        option.because,
    ]


def examine(said: Diagnosis, *, ids: bool = False) -> Iterator[str]:
    """Yield one line per strategy with its price; with `ids` one line per person with the group they are in."""
    if not ids:
        return lines(OPTION_HEADERS, (_option(said, option) for option in said.options))
    people = ((who, group) for group in GROUPS for who in getattr(said.examination.recipients, group))
    return lines(("subscriber_id", "group"), people)


RUN_HEADERS: Final = (
    "run",
    "campaign_id",
    "campaign",
    "strategy",
    "prefer",
    "table",
    "key",
    "column",
    "before",
    "after",
    "applied",
    "refused",
)


def run(report: RunReport) -> Iterator[str]:
    """Yield one line per column that was or would be changed; a campaign without a change has one line all the same."""
    return lines(RUN_HEADERS, _changes(report))


def _changes(report: RunReport) -> Iterator[list[Any]]:
    """Yield the lines of `run`."""
    for each in report.outcomes:
        head = [report.run, each.campaign_id, each.campaign_name, each.strategy, each.prefer]
        tail = [each.applied, each.refused or None]
        for change in each.changes:
            key = " ".join(f"{name}={value(of)}" for name, of in change.key.items())
            before, after = changes.sides(change)
            for column in dict.fromkeys([*before, *after]):
                old = changes.cell(before[column]) if column in before else None
                new = changes.cell(after[column]) if column in after else None
                yield [*head, change.table, key, column, old, new, *tail]
        if not each.changes:
            yield [*head, None, None, None, None, None, *tail]


def listed(rows: Sequence[Mapping[str, Any]], headers: Sequence[str]) -> Iterator[str]:
    """Yield one line per thing of a command that lists things."""
    return lines(headers, ([row.get(name) for name in headers] for row in rows))
