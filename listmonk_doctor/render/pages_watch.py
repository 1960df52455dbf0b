"""Owns what `watch` shows: a page for a terminal and a line for a pipe, predicted against actual, alarms first."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from listmonk_doctor.diagnosis.eta import duration
from listmonk_doctor.diagnosis.report import Range
from listmonk_doctor.diagnosis.watching import SILENT
from listmonk_doctor.render import document as doc
from listmonk_doctor.render.pages_examine import NAME_WIDTH
from listmonk_doctor.render.text import clean, counted, number, shorten

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.diagnosis.watching import Alarm, Watch


class Ends(NamedTuple):
    """When a run will end, at the earliest and at the latest, by the database's clock; `measured`: by its own rate."""

    first: datetime
    last: datetime
    measured: bool


def ends(watch: Watch) -> Ends | None:
    """Reckon when a running campaign ends: by the rate that is seen, before it is seen by the settings.

    None where that cannot be said: it is not running, or its row was not written for `SILENT` seconds.
    """
    row, now, left = watch.now, watch.grown.ended, watch.expected.left(watch.now.cursor)
    if row.status != "running" or now is None or left is None or (now - row.before).total_seconds() > SILENT:
        return None
    expected = watch.expected
    total = expected.would_mail.high + expected.in_hand
    people = max(left, min(total, expected.sent + total - row.sent))
    if watch.rate and not expected.settings.window:
        seconds = people / watch.rate
        return Ends(now + timedelta(seconds=seconds), now + timedelta(seconds=seconds), measured=True)
    low, high = duration(Range(left, max(left, people)), expected.settings)
    return Ends(now + timedelta(seconds=low), now + timedelta(seconds=high), measured=False)


def _until(found: Ends | None) -> str:
    if found is None:
        return "cannot be reckoned"
    if found.measured or (found.last - found.first).total_seconds() < 1:
        return f"about {found.last:%H:%M:%S} UTC"
    return f"between {found.first:%H:%M:%S} and {found.last:%H:%M:%S} UTC by its settings"


def _heart(watch: Watch) -> str:
    """Say when the row was written last; an open pipe writes it every 5 s."""
    if watch.grown.ended is None:
        return "not looked"
    silent = (watch.grown.ended - watch.now.before).total_seconds()
    if len(watch.grown.versions) == 1:
        return f"none seen in {silent:.0f} s"
    return f"the row was written {silent:.0f} s ago"


def warn(alarm: Alarm) -> str:
    """Return an alarm as the one line that must not be missed."""
    return f"{'STOP' if alarm.stop else 'LOOK'}: {alarm.what}. What to do: {alarm.do}."


def page(watch: Watch, recording: str = "", note: str = "") -> doc.Document:
    """Return the live page of one campaign."""
    row, expected = watch.now, watch.expected
    done = row.sent - expected.sent
    left = expected.left(row.cursor)
    rate = watch.rate
    facts = [
        ("sent", f"{number(row.sent)} of {number(row.to_send)} (listmonk's own counters)"),
        ("since it is watched", f"{done:+,} counted; {expected.would_mail} should be mailed ({expected.source})"),
        (
            "price",
            f"never mailed {expected.missed}, mailed twice {expected.duplicates}, newcomers {expected.newcomers}",
        ),
        ("left above the cursor", "not known" if left is None else counted(left, "person", "people")),
        ("rate", "nothing counted yet" if rate is None else f"{rate:.1f} mails per second"),
        ("ends", _until(ends(watch)) if row.status == "running" else f"it is {row.status}"),
        ("heartbeat", _heart(watch)),
    ]
    if recording:
        facts.append(("recording", recording))
    name = shorten(clean(watch.grown.name), NAME_WIDTH)
    blocks: list[doc.Block] = []
    blocks += [doc.Lines((warn(alarm),), "!", "bad" if alarm.stop else "warn") for alarm in watch.alarms]
    blocks += [doc.Heading(f'Campaign {watch.grown.campaign_id} "{name}": {row.status}'), doc.Facts(tuple(facts))]
    if note:
        blocks.append(doc.Lines((note,), tone="warn"))
    return tuple(blocks)


def line(watch: Watch, *, at: datetime | None = None) -> str:
    """Return what a pipe is told of a change, on one line that begins with the change's time, or with `at`."""
    row, rate, left = watch.now, watch.rate, watch.expected.left(watch.now.cursor)
    where = f"{at or row.before:%H:%M:%S} campaign {watch.grown.campaign_id} {row.status}"
    words = [f"{where}: {number(row.sent)} of {number(row.to_send)} sent, cursor {row.cursor}"]
    if left is not None:
        words.append(f"{number(left)} left")
    if rate is not None and row.status == "running":
        words.append(f"{rate:.1f}/s")
        words.append(f"ends {_until(ends(watch))}")
    return ", ".join(words)
