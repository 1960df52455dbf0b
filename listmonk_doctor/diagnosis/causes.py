"""Owns the causes M1 to M18: which the figures establish, are consistent with, or rule out, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from listmonk_doctor.diagnosis.account import settled
from listmonk_doctor.diagnosis.candidates import short_by_dates
from listmonk_doctor.diagnosis.idsets import between
from listmonk_doctor.diagnosis.report import Cause
from listmonk_doctor.listmonk.versions import BEHAVIOURS, behaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from listmonk_doctor.diagnosis.figures import Figures
    from listmonk_doctor.diagnosis.report import Pipe, Standing

    Judged = tuple[Standing, str]
    Judge = Callable[[Figures, "Live"], Judged]


@dataclass(frozen=True, slots=True)
class Live:
    """What is known of the server and the pipe: whether one is scanning (None: cannot tell), how many, the pipe."""

    running: bool | None
    scanners: int
    pipe: Pipe


def _lost(figures: Figures, live: Live) -> Judged:  # noqa: PLR0911 - one return per kind of row
    campaign = figures.campaign
    if not figures.started:
        return "ruled-out", "it never started"
    if figures.counts_fetched:
        return "consistent", "`sent` counts what was fetched, so a loss leaves no gap in the row"
    if settled(figures):
        return "ruled-out", f"{campaign.sent:,} sent of {campaign.to_send:,}: nobody is short"
    if figures.overwritten:
        return "consistent", f"{figures.gap:,} are short, and the cursor no longer shows where a stop came"
    short = max(figures.ahead, short_by_dates(figures))
    if short <= figures.slack:
        rank = figures.rank_by_dates(campaign.cursor)
        return "ruled-out", f"{campaign.sent:,} were sent and the cursor stands at rank {rank:,}: no hole below it"
    most = (
        f"one stop can lose up to {figures.then.one_stop:,} (batch, queue and workers{_of_today(figures)}), more where "
        "Start was pressed before a Pause had drained"
    )
    if figures.ended:
        return "consistent", f"{short:,} below the cursor are not counted as sent; {most}{_several(figures, short)}"
    if live_working(figures, live):
        return "consistent", f"{short:,} are fetched and not counted yet; if it is stopped now, they are lost"
    return "consistent", f"{short:,} are fetched and not counted as sent; {most}; a start now would skip them"


def _of_today(figures: Figures) -> str:
    return " of today" if figures.then == figures.settings else ", by what the log shows of them"


def _several(figures: Figures, short: int) -> str:
    """Say that one stop is not enough for what is short, where that is so; else nothing."""
    settings = figures.then
    one = settings.one_stop + settings.flush
    if short <= one:
        return ""
    stops = -(-short // one)
    return f" and leave {settings.flush:,} uncounted, so it was stopped at least {stops} times, or mails failed too"


def live_working(figures: Figures, live: Live) -> bool:
    """Tell whether a server may be working on the row at this moment."""
    return live.pipe == "open" or (live.running is not False and figures.campaign.status == "running")


def _overwritten(figures: Figures, _live: Live) -> Judged:
    campaign = figures.campaign
    same = f"the cursor is {campaign.cursor:,}, the same number as to_send"
    if figures.overwritten:
        if figures.cursor_is_somebody:
            few = figures.left_above <= figures.slack
            but = "more are short below it than one stop can lose" if few else "people are left above it"
            return "consistent", f"{same}; somebody has that id, but {but}"
        return "established", f"{same}, and nobody of the audience has that id"
    if figures.started_over:
        return "consistent", f"{campaign.sent:,} sent, but only {figures.cursor_rank.high:,} can lie below the cursor"
    if figures.ended and figures.unexplained_gap > figures.slack and figures.left_above <= figures.slack:
        return "consistent", "an earlier overwritten cursor may have skipped people; the row no longer shows it"
    if campaign.cursor == campaign.to_send and figures.ahead > figures.slack:
        return "consistent", f"{same}; somebody has that id, and {figures.ahead:,} are short below it"
    return "ruled-out", f"the cursor ({campaign.cursor:,}) is where an honest one may stand"


def _ineligible(figures: Figures, _live: Live) -> Judged:
    if not (figures.ended and figures.cursor_trusted and figures.left_above > figures.slack):
        return "ruled-out", "it did not end with people left above the cursor"
    first = figures.tail.min() if figures.tail else figures.campaign.ceiling
    stretch = len(between(figures.audience.fetchable, figures.campaign.cursor, first - 1))
    batch = figures.settings.batch_size
    said = f"{stretch:,} people in a row above the cursor cannot be mailed; the batch size is {batch:,}"
    return ("established" if stretch >= batch else "consistent"), said


def _draining(figures: Figures, _live: Live) -> Judged:
    if figures.ended and figures.cursor_trusted and figures.left_above > figures.slack:
        return "consistent", f"finished with {figures.left_above:,} people left above the cursor"
    return "ruled-out", "it did not end with people left above the cursor"


def _hung(figures: Figures, live: Live) -> Judged:
    campaign = figures.campaign
    if campaign.status != "running" or live.running is not True:
        return "ruled-out", "it is not running under a live server"
    idle = (figures.now - campaign.updated_at).total_seconds() if campaign.updated_at else 0.0
    if figures.ahead <= figures.slack and figures.left_above and idle > quiet_seconds(figures):
        return "consistent", (
            f"everything fetched was sent, {figures.left_above:,} are left, and no batch came for {idle:,.0f} s"
        )
    return "ruled-out", "it is still at work on what was fetched"


def quiet_seconds(figures: Figures) -> float:
    """Return for how many seconds a working campaign may go without a fetch: window, two batches, three scans."""
    settings = figures.settings
    batches = 2 * settings.batch_size / (settings.concurrency * settings.message_rate)
    window = settings.window_seconds if settings.window else 0.0
    return max(window, batches) + 15.0


def _list_deleted(figures: Figures, _live: Live) -> Judged:
    gone = figures.campaign.deleted_lists
    if gone:
        return "established", f"{len(gone)} of its lists was deleted" if len(gone) == 1 else f"{len(gone)} were deleted"
    return "ruled-out", "all its lists exist"


def _nobody(figures: Figures, _live: Live) -> Judged:
    campaign = figures.campaign
    due = campaign.status == "scheduled" and campaign.send_at is not None and campaign.send_at < figures.now
    if due and not figures.started and not figures.audience.now:
        return "established", "it is due, was never picked up, and nobody is in its audience"
    return "ruled-out", "it is not a due campaign without an audience"


def _window(figures: Figures, live: Live) -> Judged:
    if figures.settings.window and figures.campaign.status == "running" and live.running is not False:
        return "consistent", (
            f"a window of {figures.settings.window_rate:,} per {figures.settings.window_seconds:,.0f} s is set"
        )
    if figures.settings.window and figures.started and not settled(figures):
        return "consistent", "a window is set, so it may have slept while it was sent; that by itself loses nobody"
    return "ruled-out", "no sliding window holds it, and one by itself loses nobody"


def _short(figures: Figures) -> int:
    """Return how many people may be short below the cursor, by the row's own numbers."""
    if not figures.started or settled(figures):
        return 0
    gap = figures.unexplained_gap - (figures.left_above if figures.cursor_trusted else 0)
    unseen = figures.ended or not figures.cursor_trusted
    return max(gap if unseen else 0, figures.ahead, short_by_dates(figures), 0)


def _failures(figures: Figures, _live: Live) -> Judged:
    if figures.counts_fetched and figures.started:
        return "consistent", "`sent` counts the refused as sent; only listmonk's log names them"
    short = _short(figures)
    if short:
        return "consistent", f"up to {short:,} mails may have been refused; only listmonk's or the relay's log tells"
    return "ruled-out", "nobody is short below the cursor"


def _counter(figures: Figures, _live: Live) -> Judged:
    short = _short(figures)
    if figures.started and settled(figures) and figures.gap > 0:
        return "consistent", f"{figures.gap:,} short with {figures.slack} workers"
    if short:
        return "consistent", f"each hard stop loses up to {figures.flush:,} mails of counting"
    return "ruled-out", "the counters agree"


def _recounted(figures: Figures, _live: Live) -> Judged:
    campaign = figures.campaign
    if figures.started and figures.gap < 0:
        joined = len(figures.newcomers_below)
        return "consistent", f"{-figures.gap:,} more were sent than counted; {joined:,} joined since"
    if figures.started and abs(figures.residual) > figures.slack:
        return "consistent", f"to_send ({campaign.to_send:,}) is {abs(figures.residual):,} off what the dates tell"
    return "ruled-out", "to_send fits the audience at the start"


def _one_of_two(figures: Figures, _live: Live) -> Judged:
    mixed = len(figures.audience.mixed)
    if figures.started and len(figures.campaign.lists) > 1 and mixed:
        return "consistent", f"{mixed:,} people have another subscription on its lists that does not count"
    return "ruled-out", "nobody has two subscriptions on its lists that disagree"


def _blocklisted(figures: Figures, _live: Live) -> Judged:
    if figures.started and figures.gap > 0 and figures.blocked_then:
        return "consistent", f"{figures.blocked_then:,} people on its lists are blocklisted, {figures.gap:,} are short"
    return "ruled-out", "no gap, or nobody blocklisted"


def _cannot_build(figures: Figures, _live: Live) -> Judged:
    campaign = figures.campaign
    if campaign.messenger not in figures.settings.messengers:
        stopped = campaign.status == "cancelled" and campaign.sent == 0 and campaign.started_at is not None
        return ("established" if stopped else "consistent"), "its messenger does not exist"
    if campaign.status in ("running", "cancelled") and campaign.sent == 0 and campaign.cursor == 0 and figures.started:
        return "consistent", "it was picked up and nothing was fetched"
    return "ruled-out", "its messenger exists and something was fetched, or it never started"


def _counts_fetched(figures: Figures, _live: Live) -> Judged:
    if figures.started:
        return "established", "it was sent by a version whose `sent` is the number fetched"
    return "ruled-out", "it never started"


def _two_servers(figures: Figures, live: Live) -> Judged:
    if live.scanners > 1:
        return "established", f"{live.scanners} servers are scanning this database now"
    if not figures.started:
        return "ruled-out", "it never started"
    return "consistent", "whether two servers were at work while it was sent cannot be seen afterwards"


def _spoiled(figures: Figures, _live: Live) -> Judged:
    if figures.started:
        return "consistent", "one refused recipient may have lost the next ones on its connection; only a log tells"
    return "ruled-out", "it never started"


_TABLE: Final[tuple[tuple[str, str, str | None, Judge], ...]] = (
    ("M1", "fetched-ahead-and-lost", None, _lost),
    ("M2", "cursor-overwritten-with-a-count", "cursor-overwritten", _overwritten),
    ("M3", "ineligible-batch", "batch-cut-before-filter", _ineligible),
    ("M4", "restarted-while-draining", "finished-while-draining", _draining),
    ("M5", "hung-pipe", "pipe-hangs", _hung),
    ("M6", "list-deleted", None, _list_deleted),
    ("M7", "nobody-to-mail", "nobody-loops", _nobody),
    ("M8", "waiting-for-the-window", None, _window),
    ("M9", "send-errors", None, _failures),
    ("M10", "counter-lag", "clean-up-writes-cursor", _counter),
    ("M11", "recounted-on-resume", None, _recounted),
    ("M12", "one-of-two-lists", "one-subscription-decides", _one_of_two),
    ("M13", "blocklisted-counted", "to-send-counts-blocklisted", _blocklisted),
    ("M14", "cannot-be-built", None, _cannot_build),
    ("M15", "sent-counts-fetched", "sent-counts-fetched", _counts_fetched),
    ("M16", "two-servers", None, _two_servers),
    ("M17", "skipped-at-render", None, _failures),
    ("M18", "spoiled-connection", "spoiled-connection", _spoiled),
)
"""Code, name, the behaviour that a version must have (None: all versions), and the judge."""

CAUSES: Final = tuple((code, name, behaviour) for code, name, behaviour, _ in _TABLE)
"""Code, name and behaviour of every cause."""

_HIDDEN_BY_REPAIR: Final = ("M1", "M2", "M9", "M10", "M17")
"""Causes whose marks a repair covers when it sets `sent` and the cursor."""


def judge_causes(figures: Figures, live: Live) -> tuple[Cause, ...]:
    """Judge every cause; one that no version which may have sent the campaign has is ruled out by that."""
    causes = []
    for code, name, behaviour, judge in _TABLE:
        if behaviour is not None and not behaves(behaviour, figures.versions):
            known = BEHAVIOURS[behaviour]
            bounds = f"{known.since or 'the beginning'} to before {known.before or 'any'}"
            causes.append(Cause(code, name, "ruled-out", f"only versions from {bounds} do that"))
            continue
        standing, because = judge(figures, live)
        if standing == "ruled-out" and figures.repaired and code in _HIDDEN_BY_REPAIR:
            standing, because = "consistent", "a repair that stands made the row fit; the journal has the former one"
        causes.append(Cause(code, name, standing, because))
    return tuple(causes)
