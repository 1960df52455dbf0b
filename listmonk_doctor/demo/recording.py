"""Owns recorded incidents: finding, opening and reading them."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import tarfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.errors import DoctorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER_VARIABLE: Final = "LISTMONK_DOCTOR_INCIDENTS"
"""Environment variable: a folder of further recordings, looked at first."""
_ENDING: Final = ".tar.xz"


@dataclass(frozen=True, slots=True)
class Truth:
    """What the mail relay knows about one person of one campaign, by the recording's clock."""

    campaign_id: int
    subscriber_id: int
    in_audience_at_start: bool
    mails: int
    """How many copies the relay accepted."""
    first_at: datetime | None
    last_at: datetime | None
    failed_attempts: int
    last_refusal: str
    log_lines: int
    """How many lines of listmonk's log name the person."""


@dataclass(frozen=True, slots=True)
class Poll:
    """A campaign's progress at one moment, by the recording's clock."""

    ts: datetime
    id: int
    status: str
    sent: int
    to_send: int
    last_subscriber_id: int
    max_subscriber_id: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded incident."""

    name: str
    version: str
    """The version of listmonk at the end, as `v4.1.0`."""
    incident: Mapping[str, Any]
    """What incident.json says: mechanisms, steps, settings, and per campaign the truth in figures."""
    tables: Mapping[str, str]
    """Per table its rows as CSV with a header, `\\N` for NULL."""
    truth: tuple[Truth, ...]
    polls: tuple[Poll, ...]
    log: str
    """What listmonk wrote, all of its runs."""
    readme: str
    """What happened, told in a few sentences."""

    @property
    def recorded_until(self) -> datetime:
        """The moment of the recording, by its own clock."""
        return datetime.fromisoformat(self.incident["recorded_until"])

    @property
    def servers_scanning(self) -> int:
        """How many listmonk servers were scanning at that moment."""
        return int(self.incident["servers_scanning"])

    @property
    def open_pipes(self) -> tuple[int, ...]:
        """Ids of the campaigns on which a server held a pipe open at that moment."""
        return tuple(self.incident["open_pipes"])


def folders() -> Iterator[Path]:
    """Yield the folders where recordings are looked for: the named one, the package's own, the checkout's."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        yield Path(named)
    here = Path(__file__).resolve().parent
    yield here / "incidents"
    yield here.parents[1] / "tests" / "incidents"


def recordings() -> list[str]:
    """Return the names of all recordings that can be opened, in alphabetical order."""
    return sorted({path.name.removesuffix(_ENDING) for folder in folders() for path in folder.glob(f"*{_ENDING}")})


@functools.lru_cache(maxsize=4)
def open_recording(name: str) -> Recording:
    """Read one recording; a few are kept in memory. Raises DoctorError where there is none of that name."""
    for folder in folders():
        path = folder / f"{name}{_ENDING}"
        if "/" not in name and path.is_file():
            return _read(name, path)
    raise DoctorError(
        f"There is no recording named {name}.", hint=f"There are: {', '.join(recordings()) or 'none at all'}."
    )


def _read(name: str, path: Path) -> Recording:
    """Unpack one archive."""
    files: dict[str, str] = {}
    with tarfile.open(path, mode="r:xz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                files[member.name.partition("/")[2]] = content.read().decode("utf-8")
    incident = json.loads(files["incident.json"])
    return Recording(
        name=name,
        version=incident["listmonk"],
        incident=incident,
        tables={
            file.removeprefix("tables/").removesuffix(".csv"): text
            for file, text in files.items()
            if file.startswith("tables/")
        },
        truth=tuple(_truth(files["truth.csv"])),
        polls=tuple(_polls(files["polls.csv"])),
        log=files["listmonk.log"],
        readme=files["README.md"],
    )


def _truth(text: str) -> Iterator[Truth]:
    for row in csv.DictReader(io.StringIO(text)):
        yield Truth(
            campaign_id=int(row["campaign_id"]),
            subscriber_id=int(row["subscriber_id"]),
            in_audience_at_start=row["in_audience_at_start"] == "t",
            mails=int(row["mails"]),
            first_at=datetime.fromisoformat(row["first_at"]) if row["first_at"] else None,
            last_at=datetime.fromisoformat(row["last_at"]) if row["last_at"] else None,
            failed_attempts=int(row["failed_attempts"]),
            last_refusal=row["last_refusal"],
            log_lines=int(row["log_lines"]),
        )


def _polls(text: str) -> Iterator[Poll]:
    for row in csv.DictReader(io.StringIO(text)):
        yield Poll(
            ts=datetime.fromisoformat(row["ts"]),
            id=int(row["id"]),
            status=row["status"],
            sent=int(row["sent"]),
            to_send=int(row["to_send"]),
            last_subscriber_id=int(row["last_subscriber_id"]),
            max_subscriber_id=int(row["max_subscriber_id"]),
            updated_at=datetime.fromisoformat(row["updated_at"]),
        )
