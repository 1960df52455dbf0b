"""Tests of plans as files: they come back as they were, and an edited or foreign one is refused with a sentence."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listmonk_doctor.errors import ExitCode, UsageError
from listmonk_doctor.listmonk.campaign import PROGRESS_COLUMNS
from listmonk_doctor.repair import allowed, planfile
from listmonk_doctor.repair.plan import Change, Plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UPDATE = Change(
    "campaigns",
    {"id": 2},
    {"status": "finished", "sent": 9, "last_subscriber_id": 40},
    {"status": "paused", "sent": 5, "last_subscriber_id": 30},
)
ROW = {"id": 7, "campaign_id": 2, "list_id": None, "list_name": "Gone \\ 'list' \u2028"}
REMOVAL = Change("campaign_lists", {"id": 7}, ROW, None)
PLAN = Plan(
    campaign_id=2,
    campaign_uuid="f911dd5a-b7dc-4e9a-b428-ed68a0000fd7",
    campaign_name="[red]=cmd|' /C calc'!A0[/red]\x1b[2J \u2028 \u4f60\u597d \U0001f600",
    listmonk_version="v4.1.0",
    strategy="rewind",
    prefer="no-gaps",
    changes=(UPDATE,),
    guards={
        "row": {
            "status": "finished",
            "sent": 9,
            "to_send": 10,
            "last_subscriber_id": 40,
            "max_subscriber_id": 50,
            "started_at": "2026-01-02T03:04:05.000006+00:00",
            "updated_at": None,
            "send_at": None,
        },
        "xmin": "738",
        "settings": {"app.batch_size": 1000, "app.message_sliding_window_duration": "1h", "app.message_rate": 0.5},
        "audience": {"count": 10, "digest": "0" * 64},
        "lists": [[3, 1, "single"], [7, None, None]],
        "server": {"running": None, "pipe": "none"},
    },
    price={
        "missed": [0, 1],
        "duplicates": [2, 3],
        "newcomers": [0, 0],
        "would_mail": [5, 5],
        "presumably": {"missed": [0, 0], "duplicates": [0, 0], "assumptions": ["stopped-once"]},
    },
    reason="why not",
    notes=("one", "two"),
)


def resealed(edit: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return the plan's JSON after an edit, with a digest that fits: what somebody could write by hand."""
    document = json.loads(json.dumps(planfile.to_json(PLAN)))
    edit(document)
    document.pop("digest", None)
    return planfile.sealed(document)


def test_a_plan_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    """Names with control characters, quotes and signs, numbers, nulls and ranges survive; only the owner may read."""
    path = tmp_path / "plan.json"
    other = replace(PLAN, campaign_id=3, strategy="accept", prefer=None, changes=())
    planfile.write([PLAN, other], path)
    assert planfile.read(path) == (PLAN, other)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert (document["schema"], document["kind"], len(document["plans"])) == (1, "plans", 2)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers(0, 2**31 - 1))
def test_any_name_and_number_comes_back(name: str, number: int) -> None:
    """Whatever a campaign is called, its plan is the same after a way through JSON text."""
    plan = replace(PLAN, campaign_name=name, reason=name, guards={**PLAN.guards, "row": {"sent": number}})
    assert planfile.from_json(json.loads(json.dumps(planfile.to_json(plan)))) == plan


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    """A plan is never written over something else, nor where it cannot be."""
    path = tmp_path / "plan.json"
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        planfile.write([PLAN], path)
    assert path.read_text() == "precious"
    with pytest.raises(UsageError, match="cannot be made: No such file"):
        planfile.write([PLAN], tmp_path / "nowhere" / "plan.json")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"sent": 5', '"sent": 6'),
        ('"running": null', '"running": false'),
        ('"why not"', '"because"'),
        ('"count": 10', '"count": 11'),
        ('"one"', '"One"'),
    ],
)
def test_a_hand_edited_file_is_refused(tmp_path: Path, old: str, new: str) -> None:
    """Any value changed in the file is noticed, and the sentence says what happened."""
    path = tmp_path / "plan.json"
    planfile.write([PLAN], path)
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(UsageError, match="edited after it was written") as caught:
        planfile.read(path)
    assert caught.value.code is ExitCode.USAGE
    assert "Make the plan anew" in caught.value.hint


def test_leaving_out_one_of_several_plans_is_an_edit_too(tmp_path: Path) -> None:
    """Each plan has a digest, and so has the list of them."""
    path = tmp_path / "plan.json"
    planfile.write([PLAN, replace(PLAN, campaign_id=3, strategy="accept", changes=())], path)
    document = json.loads(path.read_text())
    document["plans"].pop()
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="edited after it was written"):
        planfile.read(path)


def test_layout_is_no_edit(tmp_path: Path) -> None:
    """Blanks and the order of fields may change on the way, as an editor or jq may do."""
    path = tmp_path / "plan.json"
    planfile.write([PLAN], path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    assert planfile.read(path) == (PLAN,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ('{"schema": NaN}', "no valid JSON"),
        ('{"kind": "plans", "kind": "plans"}', "no valid JSON"),
        ("\xff\xfe", "no valid JSON"),
        ("[]", "no listmonk-doctor plans"),
        ('{"kind": "plan"}', "no listmonk-doctor plans"),
        ('{"kind": "plans", "schema": 2}', "its schema is 2, and this version reads 1"),
        ('{"kind": "plans", "schema": true}', "its schema is True"),
        ('{"kind": "plans", "schema": 1, "plans": []}', "other fields than a plans has: digest"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """Whatever is in the file, there is one sentence and no traceback."""
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=sentence):
        planfile.read(path)


def test_a_missing_or_endless_file_is_refused(tmp_path: Path) -> None:
    """No file, and a file far too long, are read no further than needed."""
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        planfile.read(tmp_path / "plan.json")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(planfile.LONGEST_FILE + 1)
    with pytest.raises(UsageError, match="far too long"):
        planfile.read(tmp_path / "huge")


def test_one_file_holds_one_plan_per_campaign(tmp_path: Path) -> None:
    """Two plans for one row, or none at all, are no plan."""
    for number, plans in enumerate(([], [PLAN, PLAN])):
        planfile.write(plans, tmp_path / str(number))
        with pytest.raises(UsageError, match="one plan for each of its campaigns"):
            planfile.read(tmp_path / str(number))


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    """Return an edit that sets one value deep in a document."""

    def edit(document: dict[str, Any]) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return edit


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (_set("changes", 0, "table", to="users"), "table 'users' is none that a plan may change"),
        (_set("changes", 0, "table", to="campaigns\" SET body = '' --"), "is none that a plan may change"),
        (_set("changes", 0, "key", to={"id": 3}), "not campaign 2"),
        (_set("changes", 0, "key", to={"status": "draft"}), "not campaign 2"),
        (_set("changes", 0, "key", to={}), "not campaign 2"),
        (_set("changes", 0, "after", to=None), "may only be updated"),
        (_set("changes", 0, "before", to=None), "may only be updated"),
        (_set("changes", 0, "after", "body", to="x"), "same columns before and after"),
        (_set("changes", 0, "after", "status", to="running"), "rewind may not set the status 'running'"),
        (_set("changes", 0, "after", "status", to="draft"), "rewind may not set the status 'draft'"),
        (_set("changes", 0, "after", "status", to="'; DROP TABLE campaigns; --"), "there is no status"),
        (_set("changes", 0, "after", "sent", to="1); DELETE FROM users"), "sent must be a number"),
        (_set("changes", 0, "after", "sent", to=-1), "sent must be a number"),
        (_set("changes", 0, "after", "sent", to=True), "sent must be a number"),
        (_set("changes", 0, "after", "sent", to=2**31), "sent must be a number"),
        (_set("changes", 0, "after", "sent", to=9), "'sent' stays as it is"),
        (_set("changes", 0, "more", to=1), "a change must hold"),
        (_set("changes", 0, to="x"), "a change must hold"),
        (_set("changes", 0, "key", to=[]), "must be objects"),
        (_set("changes", to={}), "changes must be a list"),
        (_set("changes", to=[]), "rewind would change nothing"),
        (_set("changes", to=[json.loads(json.dumps(planfile.to_json(PLAN)["changes"][0]))] * 2), "one row twice"),
        (_set("strategy", to="drop"), "there is no strategy 'drop'"),
        (_set("strategy", to="accept"), "accept may not change the column"),
        (_set("strategy", to="resume"), "resume may not change the column 'sent'"),
        (_set("prefer", to="speed"), "there is no preference"),
        (_set("campaign", "id", to="2"), "the campaign's id"),
        (_set("campaign", "id", to=0), "the campaign's id"),
        (_set("campaign", "uuid", to="x"), "the campaign's uuid must be a UUID"),
        (_set("campaign", "name", to="a\0b"), "the campaign's name must be text"),
        (_set("campaign", "more", to=1), "campaign must hold"),
        (_set("undoes", to=1), "undoes must be text"),
        (_set("notes", to="x"), "notes must be a list"),
        (_set("reason", to=None), "reason must be text"),
        (_set("more", to=1), "other fields than a plan has: more"),
        (_set("guards", "more", to=1), "guards may only hold"),
        (_set("guards", "row", "body", to="x"), "may only hold progress columns"),
        (_set("guards", "row", "sent", to="0"), "row.sent must be a number"),
        (_set("guards", "row", "status", to=1), "row.status must be text"),
        (_set("guards", "settings", "smtp", to=[]), "settings that a price rests on"),
        (_set("guards", "xmin", to="1 OR true"), "a transaction's number"),
        (_set("guards", "audience", to={"count": 1, "digest": "x"}), "a count and a digest"),
        (_set("guards", "lists", to=[[1, 2, "triple"]]), "the guard lists must hold"),
        (_set("guards", "lists", to=[1]), "the guard lists must hold"),
        (_set("guards", to=[]), "guards may only hold"),
        (_set("price", to=[]), "price must be an object"),
        (_set("price", "missed", to=[2, 1]), "missed must be a range"),
        (_set("price", "missed", to=3), "missed must be a range"),
        (_set("price", "presumably", to="x"), "presumably must be an object"),
        (_set("price", "presumably", "duplicates", to=[0]), "duplicates must be a range"),
    ],
)
def test_a_plan_that_was_made_by_hand_may_touch_nothing_else(
    edit: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    """Even with a digest that fits, tables, columns, keys and values outside the list are refused."""
    with pytest.raises(UsageError) as caught:
        planfile.from_json(resealed(edit))
    assert sentence in caught.value.message


def test_a_deleted_lists_row_may_go_and_come_back_and_no_other() -> None:
    """Only detach-list removes it, only its undo puts it back, and only where the list is gone."""
    detach = replace(PLAN, strategy="detach-list", prefer=None, changes=(REMOVAL,))
    allowed.check(detach)
    assert planfile.from_json(planfile.to_json(detach)) == detach
    back = replace(detach, changes=(Change("campaign_lists", {"id": 7}, None, ROW),), undoes=PLAN.campaign_uuid)
    allowed.check(back)
    for wrong in (
        replace(back, undoes=None),
        replace(detach, strategy="rewind"),
        replace(detach, undoes=PLAN.campaign_uuid),
        replace(detach, changes=(replace(REMOVAL, before={**ROW, "list_id": 1}),)),
        replace(detach, changes=(replace(REMOVAL, before={**ROW, "campaign_id": 3}),)),
        replace(detach, changes=(replace(REMOVAL, key={"id": 8}),)),
        replace(detach, changes=(replace(REMOVAL, before={"id": 7}),)),
        replace(detach, changes=(replace(REMOVAL, before={**ROW, "list_name": None}),)),
        replace(detach, changes=(replace(REMOVAL, after=ROW),)),
    ):
        with pytest.raises(UsageError):
            allowed.check(wrong)


def test_only_an_undo_may_bring_a_status_back() -> None:
    """`running` is written by no repair, and by an undo only as what was there before."""
    back = replace(PLAN, changes=(Change("campaigns", {"id": 2}, {"status": "paused"}, {"status": "running"}),))
    with pytest.raises(UsageError, match="may not set the status 'running'"):
        allowed.check(back)
    allowed.check(replace(back, undoes=PLAN.campaign_uuid))
    draft = replace(
        PLAN,
        strategy="unschedule",
        changes=(Change("campaigns", {"id": 2}, {"status": "scheduled"}, {"status": "draft"}),),
    )
    allowed.check(draft)


def test_what_is_not_json_has_no_place_in_a_plan() -> None:
    """A value that would not come back the same is a bug, and found when the plan is written."""
    with pytest.raises(TypeError, match="set has no place in a plan"):
        planfile.to_json(replace(PLAN, price={"missed": {1, 2}}))
    with pytest.raises(ValueError, match="JSON compliant"):
        planfile.to_json(replace(PLAN, price={"missed": float("nan")}))


def test_the_guarded_columns_are_those_that_a_plan_compares() -> None:
    """The test's own plan covers every progress column, so that none is added without being read strictly."""
    assert set(PLAN.guards["row"]) == set(PROGRESS_COLUMNS)
