"""Owns the question "may this row be written now?": by the scanner, the pipe and the row's status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from listmonk_doctor.diagnosis.report import Pipe
    from listmonk_doctor.listmonk.campaign import Campaign


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether the row may be written now, and the sentence that says why or what to do first."""

    open: bool
    because: str


def is_due(campaign: Campaign, now: datetime) -> bool:
    """Tell whether the next scan would pick it up: scheduled, and its time has come."""
    return campaign.status == "scheduled" and campaign.send_at is not None and campaign.send_at <= now


def may_write(  # noqa: C901, PLR0911, PLR0913 - one return per row of the table
    campaign: Campaign, *, now: datetime, running: bool | None, pipe: Pipe, app_stopped: bool, unschedule: bool = False
) -> Gate:
    """Answer by design.md's table; `app_stopped` is the operator's word where nothing can be seen.

    `unschedule` may be written on a due row that was never started, even while a server scans.
    """
    never_started = campaign.started_at is None and campaign.sent == 0
    if unschedule and never_started and campaign.status == "scheduled":
        return Gate(open=True, because="it was never started: a scanning server does no harm")
    if running is False:
        return Gate(open=True, because="no listmonk is scanning; nothing may be started until it is written")
    if running is None:
        if pipe == "open":
            return Gate(open=False, because="a pipe is open on this row: stop listmonk first")
        if app_stopped:
            return Gate(open=True, because="whether a listmonk runs cannot be seen; taken as stopped on your word")
        return Gate(open=False, because="whether a listmonk runs cannot be seen: stop it and say --app-stopped")
    if pipe == "open":
        if campaign.status == "running":
            return Gate(open=False, because="listmonk is working on it: first pause it and wait, or stop listmonk")
        return Gate(open=False, because="it is still draining: look again when it is done, or stop listmonk first")
    if campaign.status == "running":
        return Gate(open=False, because="it is running: first pause it and wait for the drain, or stop listmonk")
    if is_due(campaign, now):
        return Gate(open=False, because="it is due and would be picked up within 5 s: unschedule it first")
    if pipe == "none":
        return Gate(open=True, because="no pipe is open on this row")
    return Gate(open=False, because="whether a pipe is open on this row was not seen: look again without --no-look")
