"""Owns the closed list of assumptions: a code and the sentence for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from listmonk_doctor.diagnosis.report import Assumption

if TYPE_CHECKING:
    from collections.abc import Iterable

    from listmonk_doctor.diagnosis.figures import Figures

CODES: Final = (
    "same-batch-size",
    "no-clean-pause-in-mid-batch",
    "lists-unchanged-while-sending",
    "stopped-once",
    "never-started-over",
    "no-failures",
    "no-flush-lost-or-doubled",
    "no-write-held-up",
)
"""Every assumption that may be named, in the order in which they are listed."""


def _settings(figures: Figures) -> str:
    """Return the sentence for the settings; a recording that saw them change knows better than today's."""
    settings = figures.then
    seen = figures.recorded.meaning.timeline.paces if figures.recorded else ()
    if len({(pace.batch_size, pace.concurrency, pace.message_rate) for pace in seen}) > 1:
        return "batch size, workers and message rate were those that the recording saw, and no others in between"
    if figures.recorded is not None and figures.recorded.uneven:
        return (
            f"no batch held more than {settings.batch_size:,} people, those included that the log does not show, with "
            f"{settings.concurrency:,} workers and a message rate of {settings.message_rate:,}"
        )
    log = figures.recorded.batches if figures.recorded else None
    if log is not None and log.size == settings.batch_size and settings == figures.settings:
        return (
            f"there were {settings.concurrency:,} workers with a message rate of {settings.message_rate:,} all along, "
            f"as there are today (that the batch size was {settings.batch_size:,} the log shows)"
        )
    shown = ["batches"] if settings.batch_size != figures.settings.batch_size else []
    shown += ["flushes"] if settings.message_rate != figures.settings.message_rate else []
    how = f"by the log's {' and '.join(shown)}, and the rest as it is today" if shown else "as it is today"
    return (
        f"the batch size was {settings.batch_size:,} all along, with {settings.concurrency:,} workers and a "
        f"message rate of {settings.message_rate:,}, {how}"
    )


def _sentence(code: str, figures: Figures) -> str:
    settings, undated = figures.settings, len(figures.audience.blocked_undated)
    lists = "nobody joined, left or was blocklisted while it was being sent"
    if undated:
        lists += f", {undated:,} blocklisted people without a usable date were so before the start"
    if doubtful := figures.doubtful:
        lists += f", {doubtful:,} whose subscription changed since were in the audience at the start"
    asleep = ", while it slept in the sliding window" if settings.paced_by_window else ""
    return {
        "same-batch-size": _settings(figures),
        "no-clean-pause-in-mid-batch": (
            "Pause and Start were never both pressed between two looks of the recording"
            if figures.watched
            else "it was never paused cleanly in the middle of a batch"
        ),
        "lists-unchanged-while-sending": lists,
        "stopped-once": f"it was stopped only once{asleep}",
        "never-started-over": "no earlier overwritten cursor made it start over",
        "no-failures": "no mail failed, was refused or could not be rendered",
        "no-flush-lost-or-doubled": (
            "every 5-second count of sent mails reached the row, none twice, and each clean-up wrote the last id"
        ),
        "no-write-held-up": (
            "no write of the sender was held up for seconds, by a lock or a database that stood still, when it died"
        ),
    }[code]


def name(codes: Iterable[str], figures: Figures) -> tuple[Assumption, ...]:
    """Return the named assumptions in the list's order, each once, with its sentence for this campaign."""
    wanted = set(codes)
    return tuple(Assumption(code, _sentence(code, figures)) for code in CODES if code in wanted)
