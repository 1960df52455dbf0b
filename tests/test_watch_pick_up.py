"""Tests of a watch that begins before the campaign is picked up: nobody is known yet to be in its audience."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from listmonk_doctor.commands import _watch_views
from listmonk_doctor.commands._expecting import expected
from listmonk_doctor.commands._options import Format, Where
from listmonk_doctor.commands._session import opened
from listmonk_doctor.commands._watching import Follower
from listmonk_doctor.diagnosis.report import Range
from listmonk_doctor.diagnosis.watching import Expected, Watch
from listmonk_doctor.listmonk.settings import Settings
from listmonk_doctor.timeline.growing import Growing
from listmonk_doctor.timeline.model import RowVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import IncidentDatabases

CAMPAIGN: Final = 2
RESET: Final = (
    "UPDATE campaigns SET status = %s, started_at = NULL, sent = 0, to_send = 0, last_subscriber_id = 0,"
    " max_subscriber_id = 0, send_at = NULL WHERE id = 2"
)
PICK_UP: Final = (
    "UPDATE campaigns SET status = 'running', started_at = now(), to_send = %s, max_subscriber_id = 9999999,"
    " last_subscriber_id = %s WHERE id = 2"
)
PAUSE: Final = (
    "UPDATE campaigns SET status = 'paused', sent = %s, last_subscriber_id = %s, updated_at = now() WHERE id = 2"
)
OVERWRITE: Final = "UPDATE campaigns SET status = 'paused', last_subscriber_id = to_send WHERE id = 2"


@pytest.mark.parametrize("status", ["running", "draft"])
def test_a_watch_begun_before_the_pick_up_knows_whom_an_overwritten_cursor_would_mail_again(
    incident_db: IncidentDatabases, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Start was just pressed, or will be: once it is picked up, its people are counted, and an alarm counts them."""
    dsn = incident_db("healthy-v5.0.3")
    with psycopg.connect(dsn, autocommit=True) as other:
        audience = [
            row[0]
            for row in other.execute(
                "SELECT DISTINCT s.id FROM subscribers s JOIN subscriber_lists l ON l.subscriber_id = s.id"
                " JOIN campaign_lists c ON c.list_id = l.list_id JOIN lists ON lists.id = l.list_id"
                " WHERE c.campaign_id = 2 AND s.status <> 'blocklisted' AND CASE lists.optin"
                " WHEN 'double' THEN l.status = 'confirmed' ELSE l.status <> 'unsubscribed' END ORDER BY 1"
            )
        ]
        fetched, mailed = audience[199], audience[99]  # an orderly pause sets the cursor back to the last one mailed
        other.execute(RESET, [status])
        steps: Iterator[tuple[str, list[int]]] = iter(
            [(PICK_UP, [len(audience), fetched]), (PAUSE, [100, mailed]), (OVERWRITE, [])]
        )

        def turn(_: float) -> None:
            statement, values = next(steps, ("SELECT 1", []))
            other.execute(statement, values)

        with opened(Where(dsn, None, (), None, 60.0)) as database:
            watch = Watch(expected(database, CAMPAIGN), Growing(CAMPAIGN))
            assert watch.expected.provisional
            with _watch_views.view(Format.PLAIN, "") as view:
                ticks = iter(range(100))
                Follower(
                    database, {CAMPAIGN: watch}, None, view, seconds=8, clock=lambda: float(next(ticks)), sleep=turn
                ).follow()
    assert len(audience) < audience[0]  # from `to_send` on, everybody is mailed again
    assert watch.expected.left(0) == watch.expected.would_mail.high == len(audience)
    assert [alarm.code for alarm in watch.alarms] == ["overwritten"]
    assert "from there up to 100 people would be mailed again" in capsys.readouterr().out


def test_the_rate_is_taken_from_the_press_of_start_on() -> None:
    """The time in which a campaign rested before Start is no time in which it was slow."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    grown = Growing(CAMPAIGN)
    steps = [(0, "paused", 100), (10, "running", 100), (15, "running", 350), (20, "running", 600)]
    for xmin, (second, status, sent) in enumerate(steps):
        at = began + timedelta(seconds=second)
        grown.versions.append(RowVersion(at, at, at, status, sent, 1000, 0, 0, began, at, str(xmin)))
        grown.began, grown.ended = grown.began or at, at
    none = Range(0, 0)
    watch = Watch(Expected("", 100, 0, none, none, none, none, 0, None, Settings()), grown)
    assert watch.rate == 50.0
