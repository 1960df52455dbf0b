"""Owns the shapes of what a scan says; apart from report.py, so that a scan that finds nothing starts fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that a check reports, as in the JSON of `scan`."""

    code: str
    name: str
    severity: Severity
    table: str
    id: int | None
    label: str
    detail: str
    fix: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NotRun:
    """A check that was skipped or that failed, with the reason."""

    code: str
    because: str


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What `scan` found: findings in order of severity, checks skipped and failed, and what is known of the server."""

    version: str
    running: bool | None
    findings: tuple[Finding, ...]
    skipped: tuple[NotRun, ...] = ()
    failed: tuple[NotRun, ...] = ()
    warnings: tuple[str, ...] = ()
