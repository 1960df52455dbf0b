"""Owns the page of `timeline`: the story of a campaign in words, its versions as a table, and how both were found."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from listmonk_doctor.render import document as doc
from listmonk_doctor.render.pages_examine import NAME_WIDTH
from listmonk_doctor.render.text import clean, counted, lasting, number, shorten, when
from listmonk_doctor.timeline.told import Step, Told, moments, steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

MOST_SHOWN: Final = 40
"""Rows up to which everything is shown; of more the head, the tail and what matters."""
ENDS: Final = 8
"""Rows of the head and of the tail of what is too long."""
_ROUTINE: Final = re.compile(r"[\d,]+ sent|a batch up to id [\d,]+ was taken")
"""What an undisturbed campaign says over and over again."""
HEADERS: Final = ("committed (UTC)", "status", "sent", "to_send", "cursor", "ceiling", "what it was")


class Clock:
    """Writes moments one after the other; the date stands where it changes."""

    def __init__(self) -> None:
        """No date was written yet."""
        self._date = ""

    def __call__(self, after: datetime, before: datetime) -> str:
        """Return when something was: a moment to the millisecond, or from when to when it can have been."""
        date = f"{before:%Y-%m-%d} "
        shown, self._date = ("" if date == self._date else date), date
        if after == before:
            return f"{shown}{before:%H:%M:%S}.{before.microsecond // 1000:03d}"
        first, last = f"{after:%H:%M:%S}", f"{before:%H:%M:%S}"
        if after.date() != before.date():
            first, last = f"{after:%Y-%m-%d} {first}", f"{before:%Y-%m-%d} {last}"
            shown, self._date = "", date
        return f"{shown}{last if first == last else f'{first} to {last}'}"


def kept(routine: Sequence[bool], *, every: bool) -> list[int | None]:
    """Return the places that are shown; None stands where routine was left out.

    Of what is long: the head, the tail, all that is not routine, and what stands beside it.
    """
    count = len(routine)
    if every or count <= MOST_SHOWN:
        return list(range(count))
    near = {place + step for place in range(count) if not routine[place] for step in (-1, 0, 1)}
    found: list[int | None] = []
    for place in range(count):
        if place < ENDS or place >= count - ENDS or place in near:
            found.append(place)
        elif found[-1] is not None:
            found.append(None)
    return found


def _story(told: Told, *, every: bool) -> doc.Document:
    """Return what happened, in order."""
    found = moments(told.meaning)
    clock = Clock()
    rows: list[tuple[str, str]] = []
    tones: list[doc.Tone] = []
    for place in kept([bool(_ROUTINE.fullmatch(each.what)) for each in found], every=every):
        if place is None:
            rows.append(("...", "more of the same: batches taken, mails counted (--all shows them)"))
            tones.append("dim")
            continue
        each = found[place]
        rows.append((clock(each.after, each.before), each.what))
        tones.append("bad" if "died" in each.what or "(M2)" in each.what else "plain")
    heading = doc.Heading("What happened", "UTC, by the database's clock")
    if not rows:
        versions = told.meaning.timeline.versions
        alone = "Only one version of the row is known: what came before it cannot be seen here."
        return (heading, doc.Lines((alone if len(versions) == 1 else "Nothing changed in all that time.",)))
    return (heading, doc.Table(("when", "what"), tuple(rows), tones=tuple(tones), whole=frozenset({0})))


def _versions(found: Sequence[Step], *, every: bool) -> doc.Document:
    """Return the versions of the row."""
    rows: list[tuple[str, ...]] = []
    tones: list[doc.Tone] = []
    clock = Clock()
    for place in kept([each.routine for each in found], every=every):
        if place is None:
            rows.append(("...", "", "", "", "", "", ""))
            tones.append("dim")
            continue
        row, kind, words = found[place]
        figures = (number(each) for each in (row.sent, row.to_send, row.cursor, row.ceiling))
        moment = clock(row.after, row.before)
        if kind == "first" and row.source == "recording":
            moment = f"by {moment}"
        rows.append((moment, row.status, *figures, words))
        tones.append("dim" if kind == "beat" else "bad" if kind == "overwritten" else "plain")
    left_out = any(row[0] == "..." for row in rows)
    note = counted(len(found), "version") + ("; --all shows every one" if left_out else "")
    return (
        doc.Heading("Versions of the row", note),
        doc.Table(HEADERS, tuple(rows), frozenset({2, 3, 4, 5}), tuple(tones), frozenset({0, 1, 2, 3, 4, 5})),
    )


def _chart(told: Told, found: Sequence[Step]) -> doc.Document:
    """Return the chart, where something moved."""
    versions = [each.version for each in found]
    begin = versions[0].before
    points = tuple(((row.before - begin).total_seconds(), row.sent, row.cursor) for row in versions)
    if len({point[1:] for point in points}) < 3:  # noqa: PLR2004 - two states are no curve
        return ()
    marks = tuple(max(0.0, (each.last_write - begin).total_seconds()) for each in told.meaning.deaths)
    ends = (f"{versions[0].before:%H:%M:%S}", f"{versions[-1].before:%H:%M:%S}")
    return (doc.Chart("Mails counted, and the cursor", points, marks, *ends),)


def _facts(told: Told) -> doc.Facts:
    """Return where the timeline comes from, and what it covers."""
    timeline = told.meaning.timeline
    sources = {"log": "the write-ahead log", "recording": "a recording", "page": "the table's own page"}
    seen = dict.fromkeys(sources[each.source] for each in timeline.versions)
    span = (timeline.ended - timeline.began).total_seconds()
    read = told.source if told.reach is not None else f"{told.source} ({', '.join(seen)})"
    rows = [
        ("read from", read),
        ("from", when(timeline.began)),
        ("to", f"{when(timeline.ended)}, {lasting(span)} later"),
        ("begins", "before anybody was fetched" if told.meaning.from_start else "after it had first been started"),
    ]
    return doc.Facts(tuple(rows))


def page(told: Told, *, every: bool = False, again: str = "") -> doc.Document:
    """Return all that a timeline tells; `every` version and moment of it, or what matters."""
    timeline, meaning = told.meaning.timeline, told.meaning
    found = steps(meaning)
    name = shorten(clean(timeline.campaign_name), NAME_WIDTH)
    deaths = sum(each.end == "died" for each in meaning.lives)
    word = timeline.last.status
    if deaths:
        word = "the sender died once" if deaths == 1 else f"the sender died {deaths} times"
    notes = list(told.notes)
    if meaning.muddled:
        notes.insert(0, f"Nothing follows from it for people: {meaning.muddled}.")
    gaps = [f"Not seen: {when(each.start)} to {when(each.end)}, {each.because}." for each in timeline.gaps]
    return (
        doc.Heading(f'Campaign {timeline.campaign_id} "{name}": {word}', tone="bad" if deaths else "strong"),
        _facts(told),
        *doc.lines(notes, "!", "warn"),
        *_story(told, every=every),
        *doc.part("Gaps", gaps),
        *_chart(told, found),
        *_versions(found, every=every),
        *_reach(told),
        *_next(told, again),
    )


def _reach(told: Told) -> doc.Document:
    """Return how far the log was read, how long it lasts, and what makes it last longer next time."""
    reach = told.reach
    if reach is None:
        return ()
    left = reach.left_seconds.get(told.meaning.timeline.campaign_id)
    recycled = f", {number(reach.recycled)} of them waiting to be used again" if reach.recycled else ""
    per_minute = reach.bytes_per_second * 60 / 1024
    rate = f"{per_minute / 1024:,.1f} MB" if per_minute >= 1024 else f"{per_minute:,.1f} kB"  # noqa: PLR2004 - units
    rows = (
        ("reaches back to", when(reach.oldest) if reach.oldest else "no commit was read"),
        ("read", f"{counted(reach.segments, 'segment')}{recycled}"),
        ("written", f"up to {rate} per minute of late"),
        ("oldest version", f"{lasts(left)}"),
    )
    advice = (
        "For next time: ALTER SYSTEM SET wal_keep_size = '1GB'; SELECT pg_reload_conf(); keeps that much of the log "
        "(PostgreSQL 13 and later; no restart). Or run watch --record while it is sent."
    )
    return (doc.Heading("The log"), doc.Facts(rows), doc.Lines((advice,), tone="dim"))


def lasts(seconds: float | None) -> str:
    """Return how long the log still holds something, in words; None: it cannot be reckoned."""
    if seconds is None:
        return "it is not being overwritten at present"
    if seconds < 1:
        return "it may be overwritten at any moment"
    return f"about {lasting(seconds)} left at the present rate"


def _next(told: Told, again: str) -> doc.Document:
    """Return what to type next."""
    which = told.meaning.timeline.campaign_id
    file = told.saved or ("" if told.reach is not None else told.source)
    commands = []
    if not file:
        saving = f"listmonk-doctor timeline {which} --save FILE{again}"
        commands.append(doc.Command(saving, "keeps it: the log is overwritten as time goes on"))
    recorded = f" --recorded {shlex.quote(file)}" if file else ""
    commands.append(
        doc.Command(f"listmonk-doctor examine {which}{recorded}{again}", "says what follows from it for people")
    )
    return (doc.Heading("Next"), *commands)
