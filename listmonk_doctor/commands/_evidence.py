"""Owns what is known of campaigns besides their rows: recordings, saved timelines, and the log where it may be read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import ConnectionFailedError, DoctorError, PrivilegeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from listmonk_doctor.commands._session import Database
    from listmonk_doctor.database.connection import Cursor
    from listmonk_doctor.diagnosis.recorded_people import Heard
    from listmonk_doctor.listmonk.campaign import Campaign
    from listmonk_doctor.repair.plan import Diagnosis
    from listmonk_doctor.timeline.model import RowVersion, Timeline

AUTO, OFF = "auto", "off"
LOG: Final = "the log"
HELPED: Final = "What would have helped"
ANOTHER: Final = " Where pg_walinspect can be had (PostgreSQL 16 and later), --allow-extension is another way."
SECONDS: Final = 15.0
"""How long the log may be read for a command that is about something else."""
UNTESTED: Final = (
    "The log could not be used: the row as it is now is not in what is left of it, so nothing shows that it is read "
    "rightly."
)
SAVED_UNTESTED: Final = (
    "The saved log could not be used: it does not hold the row as it was when it was saved, so nothing shows that it "
    "was read rightly."
)
_SETTLED: Final = ("complete", "not-started", "cancelled")


@dataclass(slots=True)
class Evidence:
    """What may be heard of campaigns: `recorded` is a file, `log` whether the log is to be read.

    The log is read once, by `prepare`; what it cannot say is told and never stops the command.
    """

    recorded: Path | None = None
    log: bool = False
    extensions: bool = False
    """Whether pg_walinspect and pageinspect may be made to look, in a transaction that is rolled back."""
    logged: dict[int, Timeline] = field(default_factory=dict)
    left: dict[int, float | None] = field(default_factory=dict)
    because: dict[int, str] = field(default_factory=dict)
    """Why nothing was heard from the log, by campaign; 0: of all of them."""
    sources: tuple[str, ...] = (LOG,)
    """What was read: the log, and the table's pages where they told something of one of the campaigns."""
    missed: tuple[str, ...] = ()
    """What else could have been read, with what would have helped."""
    _prepared: bool = False

    def prepare(self, database: Database, campaign_ids: Sequence[int]) -> None:
        """Read the log, if it is to be read and was not yet; only campaigns that have been started have something."""
        if not self.log or self._prepared:
            return
        self._prepared = True
        from listmonk_doctor.commands import _log
        from listmonk_doctor.database.snapshot import snapshot
        from listmonk_doctor.listmonk.facts import read_campaigns

        with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
            rows = read_campaigns(cursor, campaign_ids)
        started = [each.id for each in rows.values() if each.started_at is not None]
        if not started:
            return
        try:
            log, _ = _log.read(database, started, seconds=SECONDS, extensions=self.extensions)
        except ConnectionFailedError:
            raise
        except PrivilegeError as error:
            another = "" if self.extensions else ANOTHER
            self.because[0] = f"{HELPED}: the server's log may hold how it happened. {error.message}{another}"
        except DoctorError as error:
            self.because[0] = f"The log could not be used: {error.message}"
        except Exception as error:  # noqa: BLE001 - a bug of the decoder is no reason to say nothing at all
            self.because[0] = f"The log could not be read ({type(error).__name__})."
        else:
            if _log.UNTOLD in log.notes:
                self.because[0] = f"The log could not be used: {_log.UNTOLD}."
                return
            moving = {each: of for each, of in log.timelines.items() if _moves(of)}
            self.logged = {each: of for each, of in moving.items() if of.tested}
            self.because |= dict.fromkeys(moving.keys() - self.logged.keys(), UNTESTED)
            self.left = dict(log.reach.left_seconds)
            self.sources = log.sources
            self.missed = tuple(f"{HELPED}, perhaps: {each}." for each in log.missed)

    def heard(self, cursor: Cursor, campaign_ids: Sequence[int], *, log: bool = True) -> dict[int, Heard] | None:
        """Return what is known by campaign, in the cursor's transaction; without the log if not `log`.

        Raises UsageError where the recording is of something else. A log that does not fit is left out.
        """
        from listmonk_doctor.commands._recorded import recorded_of
        from listmonk_doctor.listmonk.facts import read_campaigns

        logged = self.logged if log else {}
        if self.recorded is None and not logged:
            return None
        rows = read_campaigns(cursor, campaign_ids)
        files: dict[int, Timeline] = {}
        if self.recorded is not None:
            files, untested = recorded_of(cursor, rows, self.recorded)
            self.because |= dict.fromkeys(untested - logged.keys(), SAVED_UNTESTED)
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchall()[0][0]
        found = {each: self._of(row, files.get(each), logged.get(each), now) for each, row in rows.items()}
        return {each: heard for each, heard in found.items() if heard is not None}

    def _of(self, row: Campaign, file: Timeline | None, logged: Timeline | None, now: datetime) -> Heard | None:
        """Return what is known of one campaign from both; from the recording alone where the log does not fit."""
        from listmonk_doctor.diagnosis.recorded_people import Heard, misfit
        from listmonk_doctor.timeline.lives import read_meaning
        from listmonk_doctor.timeline.merge import merge

        if logged is not None:
            try:
                both = merge(file, logged)
                meaning = read_meaning(both)
                wrong = misfit(row, now, meaning)
            except DoctorError as error:
                wrong = f"{error.message[:1].lower()}{error.message[1:].rstrip('.')}"
            except Exception as error:  # noqa: BLE001 - as above: the row alone says enough to go on
                wrong = f"it cannot be made sense of ({type(error).__name__})"
            if not wrong:
                if both is file:  # the log lost versions in between
                    return Heard(meaning, str(self.recorded))
                paged = any(version.source == "page" for version in both.versions)
                source = " and ".join(self.sources if paged else self.sources[:1])
                return Heard(meaning, f"{self.recorded} and {source}" if file is not None else source)
            self.because[row.id] = f"The log could not be used: {wrong}."
        return Heard(read_meaning(file), str(self.recorded)) if file is not None else None

    def told(self, said: Diagnosis, again: str) -> Diagnosis:
        """Return a diagnosis with what is to be said of the log: that it is to be saved, or what would have helped."""
        seen = said.examination
        campaign = seen.campaign.id
        because = self.because.get(campaign, self.because.get(0, ""))
        if because and seen.verdict not in _SETTLED:
            seen = replace(seen, unknowable=(*seen.unknowable, because))
            return replace(said, examination=seen)
        if self.missed and seen.verdict not in _SETTLED:
            seen = replace(seen, unknowable=(*seen.unknowable, *self.missed))
            said = replace(said, examination=seen)
        if campaign not in self.logged or campaign in self.because or seen.recorded is None:
            return said
        meaning = seen.recorded.meaning
        cut_short = seen.verdict == "incomplete" and any(life.fetches for life in meaning.lives)
        if seen.verdict in _SETTLED or not (meaning.deaths or meaning.overwrites or cut_short):
            return said
        from listmonk_doctor.render.pages_timeline import lasts

        how = " --allow-extension" if self.extensions else ""
        command = f"listmonk-doctor timeline {campaign} --save FILE{how}{again}"
        advice = f"The log still holds how it happened; save it first: `{command}` ({lasts(self.left.get(campaign))})."
        return replace(said, advice=(advice, *said.advice))


def _moves(timeline: Timeline) -> bool:
    """Tell whether a timeline shows listmonk move the progress; else it knows no more than the row and the journal."""

    def progress(version: RowVersion) -> tuple[object, ...]:
        return (version.status, version.sent, version.to_send, version.cursor)

    return any(progress(was) != progress(now) and not now.by for was, now in pairwise(timeline.versions))


def evidence(recorded: Path | None, timeline: str, *, extensions: bool = False) -> Evidence:
    """Return what the options --recorded, --timeline and --allow-extension mean.

    Raises UsageError where they name two files, or extensions are allowed for a log that is not read.
    """
    if extensions and timeline != AUTO:
        raise UsageError(
            "--allow-extension is about reading the server's log, which --timeline switches off.",
            hint="Leave one of them out, or add --timeline auto.",
        )
    if timeline in (AUTO, OFF):
        return Evidence(recorded, timeline == AUTO, extensions)
    if recorded is not None:
        raise UsageError("--recorded and --timeline name a file each.", hint="Name one: both read the same kind.")
    return Evidence(Path(timeline))
