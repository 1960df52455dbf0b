"""Owns the work of `timeline`: finding the campaign's timeline, saving it, and showing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from listmonk_doctor.commands._options import Format
from listmonk_doctor.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from listmonk_doctor.timeline.model import Timeline
    from listmonk_doctor.timeline.told import Told


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line of `timeline` says."""

    campaign: str
    recorded: Path | None
    every: bool
    output: Format | None


def run(asked: Request) -> int:
    """Show the timeline that was asked for, and return the exit code."""
    if asked.recorded is None:
        raise UsageError("Name a recording.", hint="timeline CAMPAIGN --recorded FILE")
    _print(_from_file(asked.campaign, asked.recorded), asked, "")
    return int(ExitCode.OK)


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
