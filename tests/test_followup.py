"""A follow-up on recorded accidents: made, sent by the sender's model, settled, and taken back to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from listmonk_doctor.demo.recording import open_recording, recordings
from listmonk_doctor.diagnosis.ranges import members
from tests.support.followups import CAMPAIGN, bytes_of, done, draft_of, sent
from tests.support.running import run, said
from tests.support.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ACCIDENTS = [
    *(name for name in recordings() if name.startswith("kill9-")),
    "m2-forward-v6.0.0",
    "restarts-three-v6.2.0",
]


@pytest.mark.parametrize("name", ACCIDENTS)
def test_a_follow_up_mails_exactly_the_group_and_keeps_to_its_price(
    incident_db: Callable[..., str], tmp_path: Path, name: str
) -> None:
    """List and draft hold the group; sent, it misses and doubles as priced; settle and undo leave every byte."""
    dsn = incident_db(name)
    where = ("--dsn", dsn)
    before = bytes_of(dsn)
    with psycopg.connect(dsn) as conn:
        truth = read_truth(conn, open_recording(name), CAMPAIGN, worse=False)
    _, seen = said("examine", str(CAMPAIGN), *where, "--ids")
    option = next(each for each in seen["strategies"] if each["strategy"] == "follow-up")
    group: set[int] = set()
    for each in option["groups"]:
        group |= set(members(seen["recipients"][each]["ids"]))
    words = ("repair", str(CAMPAIGN), *where, "--strategy", "follow-up", "--undo-out", str(tmp_path))
    made = done(*words)
    assert set(before["public.campaigns"]) < set(bytes_of(dsn)["public.campaigns"])
    draft = draft_of(dsn)
    assert draft.people == group
    assert option["would_mail"] == [len(group), len(group)]
    undone = done("undo", made["run"], *where)
    assert undone["of_run"] == made["run"]
    assert bytes_of(dsn) == before

    done(*words)
    draft = draft_of(dsn)
    waiting = bytes_of(dsn)
    played = sent(dsn, name, draft.id, truth.mails)
    assert set(played.mails) == group
    assert set(played.mails.values()) <= {1}
    missed = len([person for person in truth.missed if person not in played.mails])
    twice = len([person for person in played.mails if truth.mails.get(person)])
    joined = len(set(played.mails) - truth.at_start)
    for figure, name_of in ((missed, "missed"), (twice, "duplicates"), (joined, "newcomers")):
        low, high = option[name_of]
        assert low <= figure <= high, (name_of, figure, option[name_of])

    refused = run("undo", *where)
    assert refused.exit_code == 3
    assert "was started" in refused.stdout
    finished = bytes_of(dsn)
    settled = done("follow-up", "settle", str(CAMPAIGN), *where, "--undo-out", str(tmp_path))
    with psycopg.connect(dsn) as conn:
        lists = [
            conn.execute("SELECT list_id, list_name FROM campaign_lists WHERE campaign_id = %s ORDER BY 1", [each])
            for each in (CAMPAIGN, draft.id)
        ]
        assert lists[0].fetchall() == lists[1].fetchall()
    done("undo", settled["run"], *where)
    assert bytes_of(dsn) == finished != waiting
    removed = done("follow-up", "settle", str(draft.id), "--remove-list", *where, "--undo-out", str(tmp_path))
    after = bytes_of(dsn)
    assert after["public.lists"] == before["public.lists"]
    assert after["public.subscriber_lists"] == before["public.subscriber_lists"]
    assert len(after["public.campaigns"]) == len(before["public.campaigns"]) + 1
    done("undo", removed["run"], *where)
    assert bytes_of(dsn) == finished
