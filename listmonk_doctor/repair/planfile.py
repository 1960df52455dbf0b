"""Owns plans as JSON, in a file or in the journal: read strictly, and sealed so that nobody edits them unseen."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import UUID

from listmonk_doctor.errors import UsageError
from listmonk_doctor.listmonk.campaign import PROGRESS_COLUMNS
from listmonk_doctor.listmonk.settings import GUARDED_KEYS
from listmonk_doctor.repair.allowed import AGAIN, BIGINT, INTEGER, check, refuse, text, whole
from listmonk_doctor.repair.followup_sql import GROUPS
from listmonk_doctor.repair.guards import MOMENTS, canonical, moment
from listmonk_doctor.repair.plan import Change, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCHEMA: Final = 1
LONGEST_FILE: Final = 16 * 1024 * 1024
"""Bytes; a plan of one campaign has about two thousand."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PLAN_KEYS: Final = {
    "schema",
    "kind",
    "campaign",
    "listmonk_version",
    "strategy",
    "prefer",
    "changes",
    "guards",
    "price",
    "reason",
    "undoes",
    "notes",
    "digest",
}
_GUARDS: Final = {"row", "xmin", "settings", "audience", "lists", "server", "until", "follow_up"}
_RANGES: Final = ("missed", "duplicates", "newcomers", "would_mail")


def to_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as a JSON object, sealed with the SHA-256 of its canonical text."""
    return sealed(
        {
            "schema": SCHEMA,
            "kind": "plan",
            "campaign": {"id": plan.campaign_id, "uuid": plan.campaign_uuid, "name": plan.campaign_name},
            "listmonk_version": plan.listmonk_version,
            "strategy": plan.strategy,
            "prefer": plan.prefer,
            "changes": [
                {"table": each.table, "key": each.key, "before": each.before, "after": each.after}
                for each in plan.changes
            ],
            "guards": plan.guards,
            "price": plan.price,
            "reason": plan.reason,
            "undoes": plan.undoes,
            "notes": plan.notes,
        }
    )


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as plain JSON values with its `digest`."""
    plain: dict[str, Any] = json.loads(json.dumps(document, default=_plain, allow_nan=False))
    return {**plain, "digest": f"sha256:{_digest(plain)}"}


def _plain(value: Any) -> Any:
    """Turn mappings and moments, which json does not know, into values that it does."""
    if hasattr(value, "keys"):
        return dict(value)
    if hasattr(value, "isoformat"):
        return moment(value)
    raise TypeError(f"{type(value).__name__} has no place in a plan")


def _digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document without its digest."""
    return hashlib.sha256(
        canonical({name: value for name, value in document.items() if name != "digest"}).encode()
    ).hexdigest()


def _unseal(document: Any, kind: str, keys: set[str]) -> Mapping[str, Any]:
    """Return a document whose kind, keys and digest are right."""
    if not isinstance(document, dict) or document.get("kind") != kind:
        refuse(f"this is no listmonk-doctor {kind}")
    if document.get("schema") != SCHEMA or isinstance(document["schema"], bool):
        refuse(f"its schema is {document.get('schema')!r}, and this version reads {SCHEMA}")
    if set(document) != keys:
        refuse(f"it has other fields than a {kind} has: {', '.join(sorted(set(document) ^ keys, key=str))[:200]}")
    if document["digest"] != f"sha256:{_digest(document)}":
        refuse("it was edited after it was written (its digest does not match)")
    return document


def from_json(data: Any) -> Plan:
    """Return the plan of a JSON object. Raises UsageError where it was edited, or is not what a plan may be."""
    document = _unseal(data, "plan", _PLAN_KEYS)
    campaign = document["campaign"]
    if not isinstance(campaign, dict) or set(campaign) != {"id", "uuid", "name"}:
        refuse("campaign must hold id, uuid and name")
    if not whole(campaign["id"], 1, INTEGER):
        refuse("the campaign's id must be a positive number")
    if document["prefer"] not in (None, "no-duplicates", "no-gaps"):
        refuse(f"there is no preference {document['prefer']!r}")
    plan = Plan(
        campaign_id=campaign["id"],
        campaign_uuid=_uuid(campaign["uuid"], "the campaign's uuid"),
        campaign_name=text(campaign["name"], "the campaign's name"),
        listmonk_version=text(document["listmonk_version"], "listmonk_version"),
        strategy=text(document["strategy"], "strategy"),
        prefer=document["prefer"],
        changes=tuple(_change(each) for each in _list(document["changes"], "changes")),
        guards=_guards(document["guards"]),
        price=_price(document["price"]),
        reason=text(document["reason"], "reason"),
        undoes=None if document["undoes"] is None else _uuid(document["undoes"], "undoes"),
        notes=tuple(text(each, "notes") for each in _list(document["notes"], "notes")),
    )
    check(plan)
    return plan


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        refuse(f"{name} must be a list")
    return value


def _uuid(value: Any, name: str) -> str:
    try:
        return str(UUID(text(value, name)))
    except ValueError:
        refuse(f"{name} must be a UUID")


def _change(value: Any) -> Change:
    """Return one change; what it may touch is for `check`."""
    if not isinstance(value, dict) or set(value) != {"table", "key", "before", "after"}:
        refuse("a change must hold table, key, before and after")
    if not isinstance(value["key"], dict) or not all(isinstance(value[name], dict | None) for name in _SIDES):
        refuse("key, before and after of a change must be objects")
    return Change(text(value["table"], "table"), value["key"], value["before"], value["after"])


_SIDES: Final = ("before", "after")


def _guards(value: Any) -> Mapping[str, Any]:
    """Return the guards; every value is compared or bound as data later, so types and names are enough here."""
    if not isinstance(value, dict) or not set(value) <= _GUARDS:
        refuse(f"guards may only hold {', '.join(sorted(_GUARDS))}")
    row, settings, audience = value.get("row", {}), value.get("settings", {}), value.get("audience")
    if not isinstance(row, dict) or not set(row) <= set(PROGRESS_COLUMNS):
        refuse("the guard row may only hold progress columns")
    for name, column in row.items():
        if name in MOMENTS or name == "status":
            text(column or "", f"the guard row.{name}")
        elif not whole(column, 0, INTEGER):
            refuse(f"the guard row.{name} must be a number")
    if not isinstance(settings, dict) or not set(settings) <= set(GUARDED_KEYS):
        refuse("the guard settings may only hold settings that a price rests on")
    if not re.fullmatch(r"[0-9]{1,20}", text(value.get("xmin") or "0", "the guard xmin")):
        refuse("the guard xmin must be a transaction's number")
    if audience and not _is_audience(audience):
        refuse("the guard audience must hold a count and a digest")
    if not all(map(_is_list, _list(value.get("lists", []), "the guard lists"))):
        refuse("the guard lists must hold [row id, list id, opt-in] each")
    text(value.get("until") or "", "until")
    _check_follow_up(value.get("follow_up", {}))
    return value


def _check_follow_up(value: Any) -> None:
    """Make sure that a value says what a follow-up, or its tending, was asked for, and nothing else."""
    if not isinstance(value, dict) or not set(value) <= {"groups", "remove_list"}:
        refuse("the guard follow_up may only hold groups and remove_list")
    if not set(map(str, _list(value.get("groups", []), "groups"))) <= set(GROUPS):
        refuse("the guard follow_up names a group that a follow-up may not be for")
    if not isinstance(value.get("remove_list", False), bool):
        refuse("the guard follow_up says neither yes nor no to remove_list")


def _is_list(value: Any) -> bool:
    """Tell whether a value is one of a campaign's lists."""
    match value:
        case [row_id, None, None]:
            return whole(row_id, 1, BIGINT)
        case [row_id, list_id, "single" | "double"]:
            return whole(row_id, 1, BIGINT) and whole(list_id, 1, INTEGER)
    return False


def _is_audience(value: Any) -> bool:
    """Tell whether a value is a count and a SHA-256."""
    return (
        isinstance(value, dict)
        and set(value) == {"count", "digest"}
        and whole(value["count"], 0, INTEGER)
        and isinstance(value["digest"], str)
        and _DIGEST.fullmatch(value["digest"]) is not None
    )


def _price(value: Any) -> Mapping[str, Any]:
    """Return the price: its figures are ranges [at least, at most]; what else it holds is only shown."""
    if not isinstance(value, dict):
        refuse("price must be an object")
    presumed = value.get("presumably") or {}
    if not isinstance(presumed, dict):
        refuse("presumably must be an object")
    for figures in (value, presumed):
        for name in _RANGES:
            if name in figures and not _is_range(figures[name]):
                refuse(f"{name} must be a range [at least, at most]")
    return value


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2  # noqa: PLR2004 - at least, at most
        and all(whole(each, 0, BIGINT) for each in value)
        and value[0] <= value[1]
    )


def write(plans: Sequence[Plan], path: Path) -> None:
    """Write plans to a new file that only its owner may read. Raises UsageError where it cannot be made."""
    document = sealed({"schema": SCHEMA, "kind": "plans", "plans": [to_json(plan) for plan in plans]})
    create(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def create(path: Path, content: str) -> None:
    """Make a file that did not exist, mode 0600, and see it onto the disk. Raises UsageError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"The file {path} exists and is not overwritten.", hint="Name another file.") from None
    except OSError as error:
        raise UsageError(f"The file {path} cannot be made: {error.strerror}.", hint="Name another file.") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> tuple[Plan, ...]:
    """Return the plans of a file. Raises UsageError where it is no plan file, or was edited."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"The plan file {path} cannot be read: {error.strerror}.", hint=AGAIN) from error
    if len(content) > LONGEST_FILE:
        refuse("the file is far too long for a plan")
    try:
        data = json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The plan file {path} is no valid JSON.", hint=AGAIN) from error
    document = _unseal(data, "plans", {"schema", "kind", "plans", "digest"})
    plans = tuple(from_json(each) for each in _list(document["plans"], "plans"))
    if len({plan.campaign_id for plan in plans}) != len(plans) or not plans:
        refuse("it must hold one plan for each of its campaigns, and at least one")
    return plans


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a field twice: readers disagree on which one counts."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a field is named twice")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
