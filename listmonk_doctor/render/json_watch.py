"""Owns the JSON of `watch`: one object per line, each whole by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from listmonk_doctor.render.json_ import SCHEMA, plain
from listmonk_doctor.render.pages_watch import ends

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from listmonk_doctor.diagnosis.watching import Alarm, Watch

Event = Literal["begin", "change", "alarm", "lost", "back", "end"]


def line(document: dict[str, Any]) -> str:
    """Return an object on one line, in ASCII."""
    return json.dumps(plain(document), ensure_ascii=True, allow_nan=False, separators=(", ", ": ")) + "\n"


def head(event: Event, at: datetime | None) -> dict[str, Any]:
    """Return what every line begins with."""
    return {"schema": SCHEMA, "command": "watch", "event": event, "at": at}


def connection(event: Event, at: datetime | None, because: str) -> dict[str, Any]:
    """Return the line that says that the connection was lost or is back."""
    return {**head(event, at), "because": because}


def campaign(event: Event, watch: Watch, alarms: Sequence[Alarm] = ()) -> dict[str, Any]:
    """Return where a campaign stands, what was predicted, and the alarms of this moment."""
    row, expected, found = watch.now, watch.expected, ends(watch)
    ended = watch.grown.ended
    return {
        **head(event, ended),
        "campaign": {
            "id": watch.grown.campaign_id,
            "name": watch.grown.name,
            "status": row.status,
            "sent": row.sent,
            "to_send": row.to_send,
            "last_subscriber_id": row.cursor,
            "max_subscriber_id": row.ceiling,
            "updated_at": row.updated_at,
            "uuid": watch.grown.uuid,
        },
        "written_seconds_ago": round((ended - row.before).total_seconds(), 3) if ended else None,
        "left": expected.left(row.cursor),
        "rate": None if watch.rate is None else round(watch.rate, 2),
        "ends": None if found is None else [found.first, found.last],
        "predicted": {
            "source": expected.source,
            "since": {"sent": expected.sent, "last_subscriber_id": expected.cursor},
            "would_mail": list(expected.would_mail),
            "missed": list(expected.missed),
            "duplicates": list(expected.duplicates),
            "newcomers": list(expected.newcomers),
        },
        "alarms": [{"code": alarm.code, "what": alarm.what, "do": alarm.do, "stop": alarm.stop} for alarm in alarms],
    }
