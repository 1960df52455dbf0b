"""Owns the JSON of what a recording says: lives of the sender, gaps, holes, what happened when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from listmonk_doctor.render.text import ranges

if TYPE_CHECKING:
    from pyroaring import BitMap

    from listmonk_doctor.diagnosis.recorded import Hole, Recorded
    from listmonk_doctor.timeline.meaning import Life

Object = dict[str, Any]


def recorded(said: Recorded | None, *, ids: bool) -> Object | None:
    """Return what a recording says of one campaign; None where there was none."""
    if said is None:
        return None
    timeline, meaning = said.meaning.timeline, said.meaning
    return {
        "file": said.source,
        "from": timeline.began,
        "to": timeline.ended,
        "complete": said.complete,
        "unusable": meaning.muddled or None,
        "lives": [life(each) for each in meaning.lives],
        "gaps": [{"from": each.start, "to": each.end, "because": each.because} for each in timeline.gaps],
        "holes": [_hole(each, ids=ids) for each in said.holes],
        "moments": [{"from": each.after, "to": each.before, "what": each.what} for each in meaning.moments],
    }


def life(each: Life) -> Object:
    """Return one life of the sender."""
    return {
        "begun": each.begun,
        "end": each.end,
        "after_id": each.low,
        "last_id": each.high,
        "counted": each.counted,
        "died": [each.died_after, each.died_by] if each.died_after and each.died_by else None,
    }


def _hole(hole: Hole, *, ids: bool) -> Object:
    return {
        "certain": hole.certain,
        "died": [hole.after, hole.by],
        "begins": list(hole.first),
        "last_id": hole.last_id,
        "at_most": _people(hole.most, ids=ids),
        "surely": _people(hole.surely, ids=ids),
    }


def _people(people: BitMap, *, ids: bool) -> Object:
    return {"count": len(people), "ids": ranges(people) if ids else None}
