"""Owns the page of `examine`: advice first, what happened, the figures, the choices with their prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from listmonk_doctor.render import document as doc
from listmonk_doctor.render.strip import GROUPS, strip
from listmonk_doctor.render.text import clean, counted, number, ranges, shorten, when

if TYPE_CHECKING:
    from listmonk_doctor.diagnosis.report import Examination
    from listmonk_doctor.repair.plan import Diagnosis, Option

VERDICTS: Final = {
    "complete": ("complete", "as far as the figures can tell, everybody was mailed, failed by name, or left"),
    "incomplete": ("incomplete", "sending has ended and people were left out"),
    "cannot-tell": ("cannot tell", "the figures do not say whether somebody was left out"),
    "in-progress": ("in progress", "sending has not ended"),
    "not-started": ("not started", "nothing was sent yet"),
    "cancelled": ("cancelled", "it was called off"),
}
VERDICT_TONES: Final[dict[str, doc.Tone]] = {"complete": "good", "incomplete": "bad", "cannot-tell": "warn"}
PIPES: Final = {
    "open": "yes: listmonk is still working on this row, so it must not be edited",
    "none": "no: nothing is being sent for it",
    "cannot-tell": "cannot tell",
    "not-looked": "not looked",
}
ACCOUNT: Final = (
    ("audience_at_start", "people it was for when it started"),
    ("mailed", "people who were mailed"),
    ("failed", "people whose mail failed"),
    ("departed_unmailed", "people who left before their turn"),
    ("in_flight", "people taken from the list and perhaps not mailed yet"),
    ("tail", "people never taken from the list"),
    ("lost", "people taken from the list, never mailed, no error named"),
    ("uncounted", "mails that `sent` does not count (negative: it counts too many)"),
)
NAME_WIDTH: Final = 60
MOST_BLOCKS: Final = 12
MOST_IDS: Final = 2000
"""Characters of a range string that a page for people shows; JSON and CSV give all of it."""


def title(seen: Examination) -> str:
    """Return how the campaign is called on every page."""
    return f'Campaign {seen.campaign.id} "{shorten(clean(seen.campaign.name), NAME_WIDTH)}"'


def label(option: Option) -> str:
    """Return a strategy's name with its preference, if it has one."""
    return f"{option.strategy} ({option.prefer})" if option.prefer else option.strategy


def advice(said: Diagnosis) -> doc.Document:
    """Return what to do now and what not to do; it opens every page for people."""
    return doc.part("What to do now", said.advice)


def _facts(seen: Examination) -> doc.Facts:
    """Return the row's own figures, with listmonk's words for its columns explained."""
    row = seen.campaign
    names = ", ".join(
        shorten(clean(each.name), NAME_WIDTH) + ("" if each.list_id else " (deleted)") for each in row.lists
    )
    running = {True: "running", False: "not running", None: "cannot tell"}[seen.running]
    pipe = PIPES[seen.pipe] + (f"; {seen.pipe_because}" if seen.pipe_because else "")
    ceiling = f"subscriber id {row.ceiling}: this run takes nobody above it"
    if row.started_at is None:
        ceiling = "set when it starts"
    rows = [
        ("status", row.status),
        ("sent / to_send", f"{number(row.sent)} / {number(row.to_send)} (listmonk's own counters)"),
        ("cursor", f"subscriber id {row.cursor}: the next batch is taken from the ids above it"),
        ("ceiling", ceiling),
        ("started", when(row.started_at)),
        ("last batch or press", when(row.updated_at)),
        ("scheduled for", when(row.send_at) if row.send_at else "not scheduled"),
        ("lists", names or "none"),
        ("listmonk", f"{seen.version}, server {running}"),
        ("still being sent", pipe),
    ]
    return doc.Facts(tuple(rows))


def _account(seen: Examination) -> doc.Document:
    """Return the balance sheet: each item with its range."""
    books = seen.account
    rows = []
    for name, meaning in ACCOUNT:
        low, high = getattr(books, name)
        rows.append((meaning, number(low), number(high)))
    trusted = "the cursor can be trusted" if books.cursor_trusted else "the cursor proves nothing here"
    today = f"{counted(books.audience_now, 'person', 'people')} in today's audience; {trusted}"
    return (doc.Heading("The books", today), doc.Table(("", "at least", "at most"), tuple(rows), frozenset({1, 2})))


def _causes(seen: Examination) -> doc.Document:
    """Return the causes that are established or possible, and the others as one line of codes."""
    standing = {"established": "established", "consistent": "possible"}
    likely = sorted(
        (each for each in seen.causes if each.standing in standing), key=lambda each: each.standing != "established"
    )
    items = tuple(f"{each.code} {each.name}, {standing[each.standing]}: {each.because}" for each in likely)
    ruled_out = ", ".join(each.code for each in seen.causes if each.standing == "ruled-out")
    blocks: list[doc.Block] = [doc.Heading("Causes", "`listmonk-doctor explain M1` says what one does")]
    blocks += doc.lines(items or ("None of the known causes fits the figures.",))
    if ruled_out:
        blocks.append(doc.Lines((f"Ruled out: {ruled_out}",), tone="dim"))
    return tuple(blocks)


def _people(seen: Examination, *, ids: bool) -> doc.Document:
    """Return the groups of people that are not empty, with their ids if asked, and the strip."""
    rows = []
    shown = []
    for name, group in ((name, getattr(seen.recipients, name)) for name in GROUPS):
        if not group:
            continue
        rows.append((GROUPS[name].words, number(len(group)), GROUPS[name].meaning))
        if ids:
            shown.append((GROUPS[name].words, shorten(ranges(group).replace(",", ", "), MOST_IDS)))
    blocks: list[doc.Block] = [doc.Heading("People")]
    if rows:
        blocks.append(doc.Table(("", "people", "what it means"), tuple(rows), frozenset({1})))
    else:
        waiting = seen.verdict == "not-started" and seen.account.audience_now > 0
        blocks.append(doc.Lines(("Nobody was mailed yet." if waiting else "Nobody is in its audience.",)))
    if shown:
        blocks += [
            doc.Heading("Their subscriber ids", "the whole lists: --format json or csv"),
            doc.Facts(tuple(shown)),
        ]
    drawn = strip(seen.recipients)
    if drawn:
        blocks += [doc.Heading("The audience, from the lowest id to the highest"), drawn]
    return tuple(blocks)


def _candidates(seen: Examination) -> doc.Document:
    """Return where people may have been lost."""
    if not seen.candidates:
        return ()
    rows = tuple(
        (
            number(each.people),
            f"{each.first_id}-{each.last_id}",
            f"{each.first_rank:,}-{each.last_rank:,}",
            each.because,
        )
        for each in seen.candidates[:MOST_BLOCKS]
    )
    more = len(seen.candidates) - MOST_BLOCKS
    note = "a stop loses one stretch that ends where a batch ended; which of these, the row alone does not say"
    if seen.recorded is not None and seen.recorded.complete:
        note = "what each recorded death of the sender can have lost, at most"
    blocks: list[doc.Block] = [
        doc.Heading("Where people may be missing", note),
        doc.Table(("people", "subscriber ids", "places in the audience", "why"), rows, frozenset({0})),
    ]
    if more > 0:
        blocks.append(
            doc.Lines((f"and {counted(more, 'more stretch', 'more stretches')} (--format json)",), tone="dim")
        )
    return tuple(blocks)


def prices(said: Diagnosis) -> doc.Document:
    """Return the strategies with their prices, `nothing` among them, and below why each is or is not to be done."""
    rows: list[tuple[str, ...]] = []
    tones: list[doc.Tone] = []
    reasons = []
    for option in said.options:
        mark = "* " if option.recommended else "  "
        figures = (option.missed, option.duplicates, option.newcomers, option.would_mail)
        rows.append((mark + label(option), *(str(each) for each in figures)))
        tones.append("good" if option.recommended else "dim" if option.refusal else "plain")
        if option.presumably:
            rows.append(("    presumably", str(option.presumably.missed), str(option.presumably.duplicates), "", ""))
            tones.append("dim")
        reasons.append(f"{label(option)}{_standing(option)}: {option.refusal or option.because}")
    note = "what will be true once it was applied, Start was pressed and the campaign ran to its end"
    headers = ("", "never mailed", "mailed twice", "newcomers", "mailed by Start")
    return (
        doc.Heading("What can be done, and what it costs in people", note),
        doc.Table(headers, tuple(rows), frozenset({1, 2, 3, 4}), tuple(tones), frozenset({0})),
        doc.Lines(tuple(reasons), "-"),
    )


def _standing(option: Option) -> str:
    """Return what is said beside a strategy's name."""
    if option.refusal:
        return " [refused]"
    words = [" [recommended]"] if option.recommended else []
    if not option.allowed_now:
        words.append(" [not now]")
    return "".join(words)


def next_command(said: Diagnosis, again: str = "") -> doc.Document:
    """Return what to type next, if there is something."""
    campaign = said.examination.campaign.id
    best = next((option for option in said.options if option.recommended), None)
    if best is not None and best.strategy != "nothing":
        if not best.allowed_now:
            text, does = f"listmonk-doctor examine {campaign}{again}", "look again before anything is changed"
        else:
            text, does = (
                f"listmonk-doctor repair {campaign}{again}",
                "shows the change; nothing is written without --apply",
            )
        return (doc.Heading("Next"), doc.Command(text, does))
    able = [option for option in said.options if option.strategy != "nothing" and not option.refusal]
    if best is None and able:
        # Nothing is recommended: the choice is the reader's, so each possible one is spelled out.
        commands = []
        for option in able:
            prefer = f" --prefer {option.prefer}" if option.prefer else ""
            reason = ' --reason "..."' if option.strategy == "accept" else ""
            commands.append(
                doc.Command(f"listmonk-doctor repair {campaign} --strategy {option.strategy}{prefer}{reason}{again}"),
            )
        return (doc.Heading("Next", "nothing is recommended, the choice is yours; each of these only shows"), *commands)
    return ()


def examine(said: Diagnosis, *, ids: bool = False, again: str = "") -> doc.Document:
    """Return everything that is said of one campaign, for a person in a hurry."""
    seen = said.examination
    word, meaning = VERDICTS[seen.verdict]
    taken = [f"{each.sentence} ({each.code})" for each in seen.assumptions]
    return (
        *advice(said),
        doc.Heading(f"{title(seen)}: {word}", meaning, VERDICT_TONES.get(seen.verdict, "strong")),
        _facts(seen),
        *doc.part("What happened", seen.happened),
        *doc.part("What is known", seen.known),
        *doc.part("What cannot be known", seen.unknowable),
        *_account(seen),
        *_causes(seen),
        *doc.part("Taken for granted", taken, 'the "presumably" figures hold only if all of these do'),
        *_people(seen, ids=ids),
        *_candidates(seen),
        *prices(said),
        *next_command(said, again),
    )
