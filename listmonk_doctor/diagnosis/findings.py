"""Owns the shapes of what a scan says; apart from report.py, so that a scan that finds nothing starts fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")


class Finding(NamedTuple):
    """One row that a check reports, as in the JSON of `scan`."""

    code: str
    name: str
    severity: Severity
    table: str
    id: int | None
    label: str
    detail: str
    fix: Mapping[str, Any] | None = None


class NotRun(NamedTuple):
    """A check that was skipped or that failed, with the reason."""

    code: str
    because: str


class ScanReport(NamedTuple):
    """What `scan` found: findings in order of severity, checks skipped and failed, and what is known of the server."""

    version: str
    running: bool | None
    findings: tuple[Finding, ...]
    skipped: tuple[NotRun, ...] = ()
    failed: tuple[NotRun, ...] = ()
    warnings: tuple[str, ...] = ()
