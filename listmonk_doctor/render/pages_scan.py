"""Owns the pages of `scan`, `checks`, `explain` and `history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.render import document as doc
from listmonk_doctor.render.text import clean, counted, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from listmonk_doctor.diagnosis.findings import Finding, ScanReport

TONES: Final[dict[str, doc.Tone]] = {"error": "bad", "warning": "warn", "info": "dim"}
LABEL_WIDTH: Final = 60
"""Columns of a label; a longer one is cut, so that one campaign cannot push the others out of sight."""
DETAIL_WIDTH: Final = 2000
MOST_COMMANDS: Final = 3
MOST_INFOS: Final = 10
"""Infos of one check that are listed one by one; on 3.0.0 nearly every campaign has one (M13)."""
LONGEST_TITLE: Final = 30


def _server(running: bool | None) -> str:  # noqa: FBT001 - a value, not a switch
    """Return what is known of the sending server."""
    if running is None:
        return "cannot tell whether a server is running"
    return "a server is running" if running else "no server is running"


def _severities(findings: Sequence[Finding]) -> str:
    """Return "1 error, 2 warnings"."""
    found = [
        counted(count, word, word if word == "info" else "")
        for word in ("error", "warning", "info")
        if (count := sum(each.severity == word for each in findings))
    ]
    return ", ".join(found) or "nothing found"


def _line(each: Finding) -> tuple[str, ...]:
    """Return a finding as one row."""
    row = "-" if each.id is None else str(each.id)
    return (
        each.severity,
        each.code,
        each.table,
        row,
        shorten(clean(each.label), LABEL_WIDTH),
        shorten(clean(each.detail), DETAIL_WIDTH),
    )


def _commands(findings: Sequence[Finding], again: str) -> list[doc.Block]:
    """Return what to type next: the worst campaigns, each once."""
    worst = [each for each in findings if each.table == "campaigns" and each.id is not None and each.severity != "info"]
    campaigns = list(dict.fromkeys(each.id for each in worst))
    return [
        doc.Command(
            f"listmonk-doctor examine {campaign}{again}", "" if index else "what happened, and what each repair costs"
        )
        for index, campaign in enumerate(campaigns[:MOST_COMMANDS])
    ]


def _gaps(report: ScanReport) -> list[doc.Block]:
    """Return the checks that did not run, with the reason."""
    blocks: list[doc.Block] = []
    if report.failed:
        items = tuple(f"{each.code} failed: {each.because}" for each in report.failed)
        blocks += [doc.Heading("Not everything could be checked", tone="bad"), doc.Lines(items, "-")]
    if report.skipped:
        reasons: dict[str, list[str]] = {}
        for each in report.skipped:
            reasons.setdefault(each.because, []).append(each.code)
        items = tuple(f"{', '.join(codes)}: {because}" for because, codes in reasons.items())
        blocks += [doc.Heading("Skipped", tone="dim"), doc.Lines(items, "-", "dim")]
    return blocks


def _gathered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings with many infos of one check drawn together to one line; warnings and errors stay apart."""
    infos: dict[str, list[Finding]] = {}
    for each in findings:
        if each.severity == "info":
            infos.setdefault(each.code, []).append(each)
    shown = [each for each in findings if len(infos.get(each.code, ())) <= MOST_INFOS or each.severity != "info"]
    for several in infos.values():
        if len(several) > MOST_INFOS:
            first = several[0]
            detail = f"The first: {clean(first.detail)} --format json or csv lists them all."
            shown.append(first._replace(id=None, label=f"{len(several):,} {first.table}", detail=detail))
    return tuple(shown)


def scan_table(report: ScanReport) -> doc.Document:
    """Return a scan for a pipe: one line per finding under headers, then the checks that did not run."""
    where = f"listmonk {report.version}, {_server(report.running)}"
    headers = ("severity", "code", "table", "id", "label", "detail")
    rows = tuple(_line(each) for each in _gathered(report.findings))
    table = (doc.Table(headers, rows, frozenset({3})),) if rows else ()
    return (doc.Heading(f"Scan: {_severities(report.findings)}", where), *table, *_gaps(report))


def scan_lines(report: ScanReport) -> doc.Document:
    """Return a scan as bare lines for cron and pipes: one per finding, one per check that failed, nothing else."""
    rows = tuple("  ".join(_line(each)) for each in report.findings)
    failed = tuple(f"failed  {each.code}  {each.because}" for each in report.failed)
    return doc.lines((*rows, *failed), bullet="")


def scan(report: ScanReport, again: str = "") -> doc.Document:
    """Return a scan for a person; `again` is what connects the next command to the same database."""
    where = f"listmonk {report.version}, {_server(report.running)}"
    blocks: list[doc.Block] = [doc.Heading(f"Scan: {_severities(report.findings)}", where)]
    for each in _gathered(report.findings):
        row = "" if each.id is None else f" {each.id}"
        of = f'{each.table.removesuffix("s") if row else each.table}{row} "{shorten(clean(each.label), LABEL_WIDTH)}"'
        blocks.append(doc.Heading(f"{each.severity.upper()}  {each.code} {each.name}", tone=TONES[each.severity]))
        blocks.append(doc.Lines((of, shorten(clean(each.detail), DETAIL_WIDTH))))
    blocks += _gaps(report)
    commands = _commands(report.findings, again)
    if commands:
        blocks += [doc.Heading("Next"), *commands]
    return tuple(blocks)


def checks(rows: Sequence[Mapping[str, Any]]) -> doc.Document:
    """Return the table of checks."""
    headers = ("code", "severity", "name", "versions")
    return (doc.Table(headers, tuple(tuple(str(row[name]) for name in headers) for row in rows)),)


def explain(row: Mapping[str, Any]) -> doc.Document:
    """Return a check's or a cause's explanation: a paragraph "What it finds: ..." becomes a part under that heading."""
    severity = f"severity {row['severity']}, " if "severity" in row else ""
    blocks: list[doc.Block] = [doc.Heading(f"{row['code']} {row['name']}", f"{severity}{row['versions']}")]
    for part in str(row["text"]).split("\n\n"):
        paragraph = " ".join(part.split())
        title, colon, rest = paragraph.partition(": ")
        if colon and len(title) <= LONGEST_TITLE:
            blocks += [doc.Heading(title), doc.Lines((rest[:1].upper() + rest[1:],))]
        elif paragraph:
            blocks.append(doc.Lines((paragraph,)))
    return tuple(blocks)


def history(rows: Sequence[Mapping[str, Any]], again: str = "") -> doc.Document:
    """Return the runs in the journal, the newest first."""
    if not rows:
        return (doc.Lines(("Nothing has been repaired here: the journal is empty.",)),)
    headers = ("at", "run", "command", "campaign", "strategy", "state")
    table = doc.Table(headers, tuple(tuple(shorten(clean(row[name]), LABEL_WIDTH) for name in headers) for row in rows))
    undoable = next((row["run"] for row in rows if row["undoable"]), None)
    command = (
        (doc.Command(f"listmonk-doctor undo {undoable}{again}", "what taking it back would cost"),) if undoable else ()
    )
    return (table, *command)
