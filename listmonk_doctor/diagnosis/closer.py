"""Owns the closer look: campaigns that a check suspects are examined, and what that shows may lower a finding."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.diagnosis.findings import SEVERITIES, Finding, NotRun
from listmonk_doctor.errors import ConnectionFailedError, DoctorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from listmonk_doctor.database.connection import Cursor
    from listmonk_doctor.diagnosis.report import Examination

    Deeper: TypeAlias = Callable[[Cursor, tuple[int, ...]], Mapping[int, Examination]]
    """Examines campaigns in the scan's own snapshot, by id; one that is not there any more is left out."""

SECONDS: Final = 10.0
"""For how long suspects are looked at, errors first; whoever is left keeps the severity of the check."""
_AT_ONCE: Final = 10
"""How many suspects are examined in one call: bounds what is in memory, and how late it is seen that time is up."""

_PROVED_BY: Final[dict[str, Callable[[Examination], bool]]] = {
    "LM101": lambda seen: seen.verdict == "incomplete",
    "LM103": lambda seen: not seen.account.cursor_trusted,
    "LM104": lambda seen: (
        seen.running is not True and _standing(seen, "M1") != "ruled-out" and seen.ahead > seen.settings.flush
    ),
    "LM108": lambda seen: _standing(seen, "M6") != "ruled-out",
    "LM109": lambda seen: _standing(seen, "M14") != "ruled-out",
}
"""Per check that calls something an error: what must be seen for that to stay (loss or danger, not a mere gap)."""


def _standing(seen: Examination, code: str) -> str:
    """Return what an examination says of a cause."""
    return next((cause.standing for cause in seen.causes if cause.code == code), "ruled-out")


class Looked(NamedTuple):
    """Findings after the closer look, and what kept it from being complete."""

    findings: tuple[Finding, ...]
    failed: tuple[NotRun, ...] = ()
    warnings: tuple[str, ...] = ()


def examine_closely(cur: Cursor, ids: tuple[int, ...]) -> Mapping[int, Examination]:
    """Examine campaigns in the cursor's transaction, without waiting: whether a pipe is open is not looked at."""
    # This brings the bitmaps: only for suspects.
    from listmonk_doctor.diagnosis.examine import examine, read_figures
    from listmonk_doctor.listmonk.server import PERIOD
    from listmonk_doctor.listmonk.sessions import look_at

    look = look_at(cur, PERIOD)
    return {
        campaign: examine(
            figures,
            running=look.running,
            scanners=look.servers(PERIOD),
            pipe="not-looked",
            because=look.because,
        )
        for each in ids
        for campaign, figures in read_figures(cur, [each]).items()
    }


def suspects(findings: Sequence[Finding]) -> tuple[int, ...]:
    """Return the ids of campaigns with a warning or an error: errors first, of each the newest first."""
    worst: dict[int, int] = {}
    for found in findings:
        if found.table == "campaigns" and found.id is not None and found.severity != "info":
            worst[found.id] = max(worst.get(found.id, 0), SEVERITIES.index(found.severity))
    return tuple(sorted(worst, key=lambda campaign: (-worst[campaign], -campaign)))


def look_closer(
    cur: Cursor,
    findings: Sequence[Finding],
    deeper: Deeper | None,
    *,
    seconds: float = SECONDS,
) -> Looked:
    """Examine the suspects for as long as `seconds` allow, and let what is seen lower their findings.

    A failure (a statement that takes too long, a missing privilege) is reported and ends the look: the findings that
    are left stay as the checks have them. Only a lost session is raised. Nothing is imported where nobody is suspected.
    """
    wanted = suspects(findings) if deeper is not None else ()
    if deeper is None or not wanted:
        return Looked(tuple(findings))
    failed: tuple[NotRun, ...] = ()
    warnings: tuple[str, ...] = ()
    settled = list(findings)
    began = time.monotonic()
    for start in range(0, len(wanted), _AT_ONCE):
        if start and time.monotonic() - began >= seconds:
            left = len(wanted) - start
            warnings = (f"{left} of {len(wanted)} suspected campaigns were not looked at more closely: time was up.",)
            break
        chunk = wanted[start : start + _AT_ONCE]
        answer = _examined(cur, chunk, deeper)
        if isinstance(answer, NotRun):
            failed = (answer,)
            break
        settled = [settle(found, answer.get(found.id or 0)) for found in settled]
    return Looked(tuple(settled), failed, warnings)


def _examined(cur: Cursor, chunk: tuple[int, ...], deeper: Deeper) -> Mapping[int, Examination] | NotRun:
    """Return what is seen of some campaigns, or why it cannot be seen; raise if the session is lost."""
    import psycopg

    from listmonk_doctor.database.failures import in_session

    try:
        return deeper(cur, chunk)
    except DoctorError as error:
        if isinstance(error, ConnectionFailedError):
            raise
        return NotRun("examine", error.message)
    except psycopg.Error as error:
        explained = in_session(error, timeout=0, elapsed=0)
        if explained is None or isinstance(explained, ConnectionFailedError):
            raise
        return NotRun("examine", explained.message)


def settle(found: Finding, seen: Examination | None) -> Finding:
    """Return a campaign's finding with the severity that an examination leaves it; it is never raised.

    A complete campaign has nothing above info, and an error stays one only where loss or danger is proved. Without
    an examination the finding stays as it is.
    """
    if seen is None or found.severity == "info" or found.table != "campaigns":
        return found
    if seen.verdict == "complete":
        return found._replace(severity="info", detail=f"{found.detail} A closer look finds it complete.")
    proved = _PROVED_BY.get(found.code)
    if found.severity == "error" and proved is not None and not proved(seen):
        return found._replace(severity="warning", detail=f"{found.detail} A closer look does not prove it.")
    return found
