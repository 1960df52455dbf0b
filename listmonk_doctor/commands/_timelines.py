"""Owns the work of `timeline`: finding the campaign's timeline, saving it, and showing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from listmonk_doctor.commands._failures import say
from listmonk_doctor.commands._options import STATE, Format
from listmonk_doctor.commands._session import found, opened, warn_if_newer
from listmonk_doctor.errors import DoctorError, ExitCode, UsageError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from listmonk_doctor.commands._options import Where
    from listmonk_doctor.commands._session import Database
    from listmonk_doctor.timeline.model import Timeline
    from listmonk_doctor.timeline.told import Told


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line of `timeline` says."""

    campaign: str
    save: Path | None
    recorded: Path | None
    every: bool
    wal: Path | None
    wal_limit: int
    output: Format | None
    extensions: bool = False


def check(asked: Request) -> None:
    """Raise UsageError for options that contradict each other, before anything is connected to."""
    if asked.extensions and (asked.recorded is not None or asked.wal is not None):
        raise UsageError(
            "--allow-extension looks through the server, and --recorded and --wal read files.",
            hint="Name one of them.",
        )
    if asked.recorded is not None and (asked.save is not None or asked.wal is not None):
        raise UsageError(
            "--recorded shows a file, so --save and --wal do not go with it.",
            hint="To merge what the log holds into a file: timeline CAMPAIGN --save FILE",
        )


def run(asked: Request, where: Where) -> int:
    """Show the timeline that was asked for, save it if asked, and return the exit code."""
    if asked.recorded is not None:
        _print(_from_file(asked.campaign, asked.recorded), asked, "")
        return int(ExitCode.OK)
    with opened(where) as database:
        warn_if_newer(database)
        told = _from_log(database, asked)
        again = f"{' --allow-extension' * asked.extensions}{database.again}"
    _print(told, asked, again)
    if told.saved and not STATE.quiet:
        say(f"Saved to {told.saved}")
    return int(ExitCode.OK)


def _from_log(database: Database, asked: Request) -> Told:
    """Return what the log holds of the campaign, saved if that was asked for.

    Raises UsageError for no such campaign or a file that it cannot be saved to, PrivilegeError, RefusedError, and
    DoctorError where the log holds nothing of it any more.
    """
    from listmonk_doctor.commands import _log
    from listmonk_doctor.timeline.lives import read_meaning
    from listmonk_doctor.timeline.told import Told

    campaign = found(database, asked.campaign)
    log, source = _log.read(
        database, [campaign.id], folder=asked.wal, limit=asked.wal_limit, extensions=asked.extensions
    )
    timeline = log.timelines.get(campaign.id)
    if timeline is None:
        pages = "" if asked.extensions else ", --allow-extension for what is left on the table's own pages"
        more = f"More of it: --wal-limit N, --wal DIR for an archive{pages}."
        raise DoctorError(
            f"The log that is left holds nothing of campaign {campaign.id}.{_since(log.reach.oldest)}",
            hint=f"{more} Next time: watch --record, or wal_keep_size.",
        )
    notes = log.notes
    if asked.save is not None:
        if not timeline.tested:
            notes = (*notes, "examine will not build on what was read now: the row as it is is not in it")
        from listmonk_doctor.timeline.saving import save

        save(asked.save, source, timeline)
    saved = "" if asked.save is None else str(asked.save)
    where = " and ".join(log.sources) if asked.wal is None else str(asked.wal)
    return Told(read_meaning(timeline), where, (*notes, *log.missed), saved, log.reach)


def _since(oldest: datetime | None) -> str:
    from listmonk_doctor.render.text import when

    return "" if oldest is None else f" It reaches back to {when(oldest)}."


def _from_file(wanted: str, path: Path) -> Told:
    """Return what a recording or a saved timeline holds of a campaign. Raises UsageError where it has none such."""
    from listmonk_doctor.timeline.lives import read_meaning
    from listmonk_doctor.timeline.recording import read_recording
    from listmonk_doctor.timeline.told import Told

    _, held = read_recording(path)
    return Told(read_meaning(_named(wanted.strip(), held, path)), str(path))


def _named(wanted: str, held: tuple[Timeline, ...], path: Path) -> Timeline:
    """Return the timeline that a word names as it would in the database: by id, uuid, name, a part of the name."""
    ways = (
        [each for each in held if str(each.campaign_id) == wanted],
        [each for each in held if each.campaign_uuid == wanted.lower()],
        [each for each in held if each.campaign_name == wanted],
        [each for each in held if wanted and wanted.lower() in each.campaign_name.lower()],
    )
    found = next((way for way in ways if way), [])
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f'{each.campaign_id} "{each.campaign_name}"' for each in held[:5])
    if not found:
        raise UsageError(f'The recording {path} does not hold a campaign "{wanted}".', hint=f"It holds: {listed}.")
    raise UsageError(f'"{wanted}" names {len(found)} campaigns of the recording {path}.', hint=f"It holds: {listed}.")


def _print(told: Told, asked: Request, again: str) -> None:
    """Write the timeline to stdout."""
    from listmonk_doctor.commands._output import chosen, emit, emit_json, show

    style = chosen(asked.output)
    if style is Format.JSON:
        from listmonk_doctor.render import json_timeline

        emit_json(json_timeline.document(told))
    elif style is Format.CSV:
        from listmonk_doctor.render import json_timeline

        emit(json_timeline.csv(told))
    else:
        from listmonk_doctor.render import pages_timeline

        show(pages_timeline.page(told, every=asked.every, again=again), style)
