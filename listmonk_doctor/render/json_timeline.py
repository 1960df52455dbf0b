"""Owns the JSON and the CSV of `timeline`: every version, whatever a page leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.render import csv_
from listmonk_doctor.render.json_ import SCHEMA
from listmonk_doctor.render.json_recorded import life
from listmonk_doctor.timeline.told import Step, Told, moments, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]
HEADERS: Final = (
    "committed_after",
    "committed_by",
    "until",
    "status",
    "sent",
    "to_send",
    "last_subscriber_id",
    "max_subscriber_id",
    "started_at",
    "updated_at",
    "xmin",
    "kind",
    "what",
    "source",
    "lsn",
    "linked",
)


def lsn(place: int | None) -> str | None:
    """Return a place in the log as PostgreSQL writes it, as in 0/16B3748; None for none."""
    return None if place is None else f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def _version(step: Step) -> Object:
    row = step.version
    return dict(
        zip(
            HEADERS,
            (
                row.after,
                row.before,
                row.until,
                row.status,
                row.sent,
                row.to_send,
                row.cursor,
                row.ceiling,
                row.started_at,
                row.updated_at,
                row.xmin,
                step.kind,
                step.words,
                row.source,
                lsn(row.place),
                row.linked,
            ),
            strict=True,
        )
    )


def _reach(told: Told) -> Object | None:
    reach = told.reach
    if reach is None:
        return None
    left = reach.left_seconds.get(told.meaning.timeline.campaign_id)
    return {
        "oldest": reach.oldest,
        "newest": reach.newest,
        "segments": reach.segments,
        "recycled": reach.recycled,
        "bytes_per_second": round(float(reach.bytes_per_second), 1),
        "left_seconds": None if left is None else round(float(left), 1),
    }


def document(told: Told) -> Object:
    """Return the whole of `timeline`."""
    meaning, timeline = told.meaning, told.meaning.timeline
    return {
        "schema": SCHEMA,
        "command": "timeline",
        "campaign": {"id": timeline.campaign_id, "name": timeline.campaign_name, "uuid": timeline.campaign_uuid},
        "source": told.source,
        "saved": told.saved or None,
        "from": timeline.began,
        "to": timeline.ended,
        "from_start": meaning.from_start,
        "unusable": meaning.muddled or None,
        "notes": list(told.notes),
        "reach": _reach(told),
        "moments": [{"from": each.after, "to": each.before, "what": each.what} for each in moments(meaning)],
        "lives": [life(each) for each in meaning.lives],
        "gaps": [{"from": each.start, "to": each.end, "because": each.because} for each in timeline.gaps],
        "versions": [_version(each) for each in steps(meaning)],
    }


def csv(told: Told) -> Iterator[str]:
    """Yield one line per version."""
    from listmonk_doctor.render.json_ import plain

    return csv_.lines(HEADERS, (list(plain(_version(each)).values()) for each in steps(told.meaning)))
