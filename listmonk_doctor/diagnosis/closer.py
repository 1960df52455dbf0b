"""Owns the closer look: campaigns that a check suspects are examined, and what that shows may lower a finding."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.diagnosis.findings import SEVERITIES, Finding, NotRun
from listmonk_doctor.errors import ConnectionFailedError, DoctorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from listmonk_doctor.database.connection import Cursor
    from listmonk_doctor.diagnosis.chunks import Progress
    from listmonk_doctor.diagnosis.report import Examination

    Deeper: TypeAlias = Callable[[Cursor, tuple[int, ...]], Iterable[tuple[int, Examination]]]
    """Examines campaigns in the scan's own snapshot, in one pass, and gives one at a time in the order asked for.

    One that is not there any more is left out.
    """

SECONDS: Final = 10.0
"""For how long suspects are examined once they are read, errors first; the rest keeps the severity of the check."""

_PROVED_BY: Final[dict[str, Callable[[Examination], bool]]] = {
    "LM101": lambda seen: seen.verdict == "incomplete",
    # As the check itself, but with those who left since: a cursor that stands where an honest one would proves nothing.
    "LM103": lambda seen: not seen.account.cursor_trusted and abs(seen.ahead) > seen.settings.concurrency,
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


def examine_closely(
    cur: Cursor, ids: tuple[int, ...], progress: Progress | None = None
) -> Iterator[tuple[int, Examination]]:
    """Examine campaigns in the cursor's transaction, without waiting: whether a pipe is open is not looked at.

    All are read in one pass, of which `progress` is told how far it has come.
    """
    # This brings the bitmaps: only for suspects.
    from listmonk_doctor.diagnosis.examine import each_figures, examine
    from listmonk_doctor.listmonk.server import PERIOD
    from listmonk_doctor.listmonk.sessions import look_at

    look = look_at(cur, PERIOD)
    for figures in each_figures(cur, ids, progress=progress):
        seen = examine(
            figures,
            running=look.running,
            scanners=look.servers(PERIOD),
            pipe="not-looked",
            because=look.because,
        )
        yield figures.campaign.id, seen


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
    import psycopg

    from listmonk_doctor.database.failures import in_session

    settled = list(findings)
    failed: tuple[NotRun, ...] = ()
    warnings: tuple[str, ...] = ()
    try:
        for done, (campaign, seen) in enumerate(_in_time(deeper(cur, wanted), seconds), start=1):
            if seen is None:
                left = len(wanted) - done + 1
                told = f"{left} of {len(wanted)} suspected campaigns were not looked at more closely: time was up."
                warnings = (told,)
                break
            settled = [settle(found, seen) if found.id == campaign else found for found in settled]
    except DoctorError as error:
        if isinstance(error, ConnectionFailedError):
            raise
        failed = (NotRun("examine", error.message),)
    except psycopg.Error as error:
        explained = in_session(error, timeout=0, elapsed=0)
        if explained is None or isinstance(explained, ConnectionFailedError):
            raise
        failed = (NotRun("examine", explained.message),)
    return Looked(tuple(settled), failed, warnings)


def _in_time(examined: Iterable[tuple[int, Examination]], seconds: float) -> Iterator[tuple[int, Examination | None]]:
    """Yield what comes for as long as `seconds` allow after the first; then, where one more came, its id and None."""
    began: float | None = None
    for campaign, seen in examined:
        now = time.monotonic()
        if began is None:
            began = now
        elif now - began >= seconds:
            yield campaign, None
            return
        yield campaign, seen


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
        return found._replace(
            severity="warning", detail=f"{found.detail} It may be that all of them were mailed all the same."
        )
    return found
