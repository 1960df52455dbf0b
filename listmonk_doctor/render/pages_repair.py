"""Owns the pages of `repair` and `undo`: what would change, who would be mailed, how long it takes, what is next."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from listmonk_doctor.listmonk.versions import behaves, parse
from listmonk_doctor.render import document as doc
from listmonk_doctor.render import pages_examine as examined
from listmonk_doctor.render.changes import cell, heading, sides
from listmonk_doctor.render.text import clean, counted, lasting, shorten, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from listmonk_doctor.diagnosis.report import Examination, Range
    from listmonk_doctor.render.outcome import Outcome, RunReport
    from listmonk_doctor.repair.plan import Change, Option

LEFT_ALONE = "Nothing has been changed."


def _diff(change: Change) -> doc.Diff:
    """Return one row's change, column by column."""
    before, after = sides(change)
    rows = tuple(
        (name, cell(before[name]) if name in before else None, cell(after[name]) if name in after else None)
        for name in dict.fromkeys([*before, *after])
    )
    return doc.Diff(heading(change), rows)


def changes(outcome: Outcome) -> doc.Document:
    """Return the diff of an outcome, or a sentence where no row of listmonk's changes."""
    word = "What was changed" if outcome.applied else "What would change"
    if not outcome.changes:
        return (doc.Heading(word), doc.Lines(("No row of listmonk's.",)))
    return (doc.Heading(word), *(_diff(change) for change in outcome.changes))


def _range(people: Range) -> str:
    """Return a range of people in words."""
    return counted(people.high, "person", "people") if people.low == people.high else f"{people} people"


def price(option: Option, seen: Examination) -> doc.Document:
    """Return who is mailed and who is not, with the presumed figures beside the proved ones."""
    hoped = option.presumably
    missed, twice = _range(option.missed), _range(option.duplicates)
    if hoped:
        missed += f" (presumably {hoped.missed})"
        twice += f" (presumably {hoped.duplicates})"
    rows = [
        ("mailed when Start is pressed", _range(option.would_mail)),
        ("never mailed", missed),
        ("mailed twice", twice),
        ("newcomers mailed", _range(option.newcomers)),
    ]
    blocks: list[doc.Block] = [doc.Heading("What it costs in people"), doc.Facts(tuple(rows))]
    if hoped:
        sentences = {each.code: each.sentence for each in seen.assumptions}
        taken = tuple(f"{sentences.get(code, '')} ({code})".strip() for code in hoped.assumptions)
        blocks += [doc.Lines(('"Presumably" takes for granted:',)), doc.Lines(taken, "-")]
    return tuple(blocks)


def schedule(seen: Examination, now: datetime) -> str:
    """Return what pressing Start does to a campaign that has a time set; "" where there is nothing to say.

    From 5.0.0 Start makes a campaign with `send_at` scheduled and the next scan makes it running once it is due;
    before, Start ignores the time.
    """
    at = seen.campaign.send_at
    if at is None:
        return ""
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not behaves("start-schedules", parse(seen.version)):
        return f"The campaign's time ({when(at)}) is left as it is; this version ignores it once Start is pressed."
    if at <= now:
        return (
            f"The campaign's time ({when(at)}) is past: Start makes it scheduled for a moment, and the server takes it "
            f"up within 5 seconds."
        )
    return (
        f"The campaign's time ({when(at)}) is still to come: Start makes it scheduled, and nobody is mailed before "
        f"then. To send at once, take the time away in listmonk first."
    )


def _run(outcome: Outcome, now: datetime) -> doc.Document:
    """Return how the run will go once Start is pressed."""
    option, said = outcome.option, outcome.diagnosis
    if option is None or said is None or option.would_mail.high == 0:
        return ()
    items = []
    if outcome.lasts:
        low, high = (lasting(each) for each in outcome.lasts)
        window = said.examination.settings
        pace = f"{window.concurrency * window.message_rate:,} a second at most"
        if window.window:
            pace += f", {window.window_rate:,} per {lasting(window.window_seconds)}"
        span = low if low == high else f"{low} to {high}"
        items.append(
            f"The run takes {span} at today's settings ({pace}), if nothing else is sent and the relay keeps up."
        )
    when_due = schedule(said.examination, now)
    return doc.part("Once Start is pressed", (*items, *([when_due] if when_due else [])))


def _notes(outcome: Outcome) -> doc.Document:
    """Return the plan's own notes."""
    return doc.part("Mind", outcome.plan.notes) if outcome.plan and outcome.plan.notes else ()


def _saved_price(outcome: Outcome) -> doc.Document:
    """Return the price that a saved plan or an undo carries, where there is no diagnosis to take it from."""
    if outcome.option is not None or outcome.plan is None or not outcome.plan.price:
        return ()
    words = {
        "would_mail": "mailed when Start is pressed",
        "missed": "never mailed",
        "duplicates": "mailed twice",
        "newcomers": "newcomers mailed",
    }
    rows = []
    for name, word in words.items():
        pair = outcome.plan.price.get(name)
        if isinstance(pair, list | tuple) and len(pair) == 2:  # noqa: PLR2004 - [at least, at most]
            hoped = (outcome.plan.price.get("presumably") or {}).get(name)
            rows.append((word, _pair(pair) + (f" (presumably {_pair(hoped)})" if hoped else "")))
    return (doc.Heading("What it costs in people"), doc.Facts(tuple(rows))) if rows else ()


def _pair(pair: Sequence[int]) -> str:
    """Return [at least, at most] in words."""
    low, high = pair
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _compared(outcome: Outcome) -> doc.Document:
    """Return what leaving the campaign alone would cost."""
    said = outcome.diagnosis
    nothing = said.option("nothing") if said else None
    if nothing is None or (outcome.option and outcome.option.strategy == "nothing"):
        return ()
    text = f"Left as it is: never mailed {nothing.missed}, mailed twice {nothing.duplicates}. {nothing.because}"
    return (doc.Lines((text.strip(),), tone="dim"),)


def _chosen(outcome: Outcome, *, undo: bool = False) -> str:
    """Return the campaign with what is to be done to it."""
    name = f'Campaign {outcome.campaign_id} "{shorten(clean(outcome.campaign_name), examined.NAME_WIDTH)}"'
    strategy = ("undo of " if undo else "") + (outcome.strategy or "no repair")
    return f"{name}: {strategy}" + (f" ({outcome.prefer})" if outcome.prefer else "")


def outcome_page(outcome: Outcome, now: datetime, again: str = "", *, undo: bool = False) -> doc.Document:
    """Return the page of one campaign of a run."""
    idle = outcome.strategy == "nothing"
    state = "done" if outcome.applied else "refused" if outcome.refused else "nothing is written yet"
    if idle or (outcome.option is None and outcome.plan is None):
        state = "no change" if idle else "nothing is done"
    tone: doc.Tone = "good" if outcome.applied else "bad" if outcome.refused else "strong"
    blocks: list[doc.Block] = [doc.Heading(_chosen(outcome, undo=undo), state, tone)]
    if outcome.diagnosis:
        here = f"listmonk-doctor repair {outcome.campaign_id}"
        blocks += doc.part("What to do now", [each for each in outcome.diagnosis.advice if here not in each])
    blocks += doc.part("Once it is undone", outcome.advice)
    if outcome.refused:
        hint = (outcome.hint,) if outcome.hint else ()
        blocks += [doc.Heading("Refused", LEFT_ALONE, "bad"), doc.Lines((outcome.refused, *hint), "-")]
    if outcome.option is None and outcome.diagnosis is not None:
        return (*blocks, *examined.prices(outcome.diagnosis), *examined.next_command(outcome.diagnosis, again))
    if outcome.changes or not (outcome.refused or idle):
        blocks += changes(outcome)
    if outcome.option is not None and outcome.diagnosis is not None:
        if outcome.option.because:
            blocks += doc.part("Why", (outcome.option.because,))
        blocks += price(outcome.option, outcome.diagnosis.examination)
        blocks += _compared(outcome)
    return (*blocks, *_saved_price(outcome), *_run(outcome, now), *_notes(outcome))


def _draft(outcome: Outcome) -> str:
    """Return the name of the draft that a follow-up made; "" for other repairs."""
    made = (change.after for change in outcome.changes if change.table == "campaigns" and change.before is None)
    return next((clean(row["name"]) for row in made if row), "") if outcome.strategy == "follow-up" else ""


def _after(report: RunReport, again: str) -> doc.Document:
    """Return what to do once something was written."""
    done = [each for each in report.outcomes if each.applied]
    blocks: list[doc.Block] = [doc.Heading("Next")]
    steps = []
    mails = [each for each in done if each.strategy in ("resume", "rewind", "detach-list")]
    if report.command == "repair" and mails:
        names = ", ".join(str(each.campaign_id) for each in mails)
        steps.append(f"Open campaign {names} in listmonk and press Start; nobody is mailed before.")
    steps += [
        f'Open the draft "{made}" in listmonk, see that it is what you want, run `listmonk-doctor follow-up refresh '
        f"{each.campaign_id}{again}`, and press Start on the draft; nobody is mailed before."
        for each in done
        if report.command == "repair" and (made := _draft(each))
    ]
    if report.undo_file:
        steps.append(f"The undo is also kept as a script: {report.undo_file}")
    blocks += doc.lines(steps)
    if report.command != "undo" and report.run:
        blocks.append(
            doc.Command(f"listmonk-doctor undo {report.run}{again}", "takes this run back; shows the price first")
        )
    return tuple(blocks) if len(blocks) > 1 else ()


def _dry(report: RunReport, again: str) -> doc.Document:
    """Return how to apply what was shown."""
    able = [each for each in report.outcomes if not each.refused and each.plan]
    if not able:
        return ()
    if report.command == "undo":
        text = f"listmonk-doctor undo {report.of_run} --apply{again}"
    elif report.command != "repair":
        text = f"listmonk-doctor {report.command} {able[0].campaign_id} {_removing(able[0])}--apply{again}"
    elif report.plan_file:
        text = f"listmonk-doctor repair --plan {report.plan_file} --apply{again}"
    else:
        text = f"listmonk-doctor repair {_selected(able)}--apply{again}"
    mind = "Nothing may be started, paused or saved in listmonk meanwhile; what has moved is refused."
    return (
        doc.Heading("Next", LEFT_ALONE),
        doc.Lines((mind,)),
        doc.Command(text, "applies exactly what is shown above"),
    )


def _removing(one: Outcome) -> str:
    """Return the switch of a settle that removes the list."""
    asked = one.plan is not None and one.plan.guards.get("follow_up", {}).get("remove_list")
    return "--remove-list " if asked else ""


def _selected(able: list[Outcome]) -> str:
    """Return the arguments that choose one campaign and its strategy again; several need none."""
    if len(able) != 1:
        return ""
    one = able[0]
    if one.option is not None and one.option.recommended and one.prefer != "no-gaps":
        return f"{one.campaign_id} "
    prefer = f"--prefer {one.prefer} " if one.prefer else ""
    reason = f"--reason {shlex.quote(one.plan.reason)} " if one.plan and one.plan.reason else ""
    groups = f"--group {','.join(one.option.groups)} " if one.option is not None and one.option.groups else ""
    until = f"--until {one.plan.guards['until']} " if one.plan and one.plan.guards.get("until") else ""
    return f"{one.campaign_id} --strategy {one.strategy} {prefer}{groups}{reason}{until}"


def run(report: RunReport, now: datetime, again: str = "") -> doc.Document:
    """Return the page of a repair or an undo: each campaign, then what to do next."""
    if not report.outcomes:
        known = ", as far as could be checked" if report.failed else ""
        return (doc.Heading("Nothing to repair", f"no campaign has a repair that can be recommended{known}"),)
    blocks: list[doc.Block] = []
    if report.command.startswith("follow-up") and not any(each.plan for each in report.outcomes):
        (one,) = report.outcomes
        name = f'campaign {one.campaign_id} "{shorten(clean(one.campaign_name), examined.NAME_WIDTH)}"'
        return (doc.Heading("Nothing to change", name), *doc.lines(one.advice))
    if len(report.outcomes) > 1:
        together = counted(len(report.outcomes), "campaign")
        blocks.append(doc.Heading(f"{together}, one transaction each", f"run {report.run}" if report.run else ""))
    for outcome in report.outcomes:
        blocks += outcome_page(outcome, now, again, undo=report.command == "undo")
    return (*blocks, *(() if report.asking else _dry(report, again)))


def result(report: RunReport, again: str = "") -> doc.Document:
    """Return what became of each campaign once it was to be written, and what to do next."""
    blocks: list[doc.Block] = [doc.Heading(f"Run {report.run}")] if report.run else []
    for outcome in report.outcomes:
        state = "done" if outcome.applied else "refused" if outcome.refused else "nothing to do"
        tone: doc.Tone = "good" if outcome.applied else "bad" if outcome.refused else "dim"
        blocks.append(doc.Heading(_chosen(outcome, undo=report.command == "undo"), state, tone))
        if outcome.refused:
            hint = (outcome.hint,) if outcome.hint else ()
            blocks.append(doc.Lines((outcome.refused, *hint), "-"))
    return (*blocks, *_after(report, again))
