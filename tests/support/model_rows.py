"""Owns writing the state of the sender's model into a database that has listmonk's tables."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from tests.support.model_lists import BEFORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from psycopg import Connection

    from tests.engine_model import Sender
    from tests.support.model_history import History

RECORDED: Final = {"2.5.1": "v2.5.0", "5.0.3": "v5.0.0"}
"""What the setting `migrations` ends with where it is not the version itself."""
LIST: Final = 1
CAMPAIGN: Final = 2
_LONG_BEFORE: Final = timedelta(days=90)


def write_to_database(  # noqa: PLR0913 - what a history leaves behind has this many parts
    conn: Connection[tuple[object, ...]],
    sender: Sender,
    *,
    now: datetime | None = None,
    campaign_id: int = CAMPAIGN,
    list_id: int = LIST,
    name: str = "Played",
    unsubscribed: Mapping[int, float] | None = None,
    joined: Mapping[int, float] | None = None,
) -> datetime:
    """Write a model's people, list, subscriptions, settings and campaign, in one transaction.

    `now` is what the model's clock becomes (default: the present); returned is the moment of its second 0.
    Subscriptions date from 90 days before it, but for those who `joined` at a second. `unsubscribed` are
    people no longer in the model's lists, with the second they left. The unconfirmed make the list one with
    double opt-in. Needs empty tables, or another `campaign_id` and `list_id` and people who are not in it
    yet. The schema is the connection's search path.
    """
    zero = (now or datetime.now(UTC)) - timedelta(seconds=sender.now)
    left, newcomers = unsubscribed or {}, joined or {}
    with conn.transaction():
        _write_settings(conn, sender)
        conn.execute(
            "INSERT INTO lists (id, uuid, name, type, optin, tags, created_at, updated_at)"
            " VALUES (%s, %s, %s, 'public', %s::list_optin, '{}', %s, %s)",
            [
                list_id,
                uuid.uuid4(),
                f"List {list_id}",
                "double" if sender.campaign.unconfirmed else "single",
                zero - _LONG_BEFORE,
                zero - _LONG_BEFORE,
            ],
        )
        banned = sender.campaign.blocklisted
        everybody = sorted(sender.eligible | banned | sender.campaign.unconfirmed | left.keys())
        columns = "id, uuid, email, name, status, created_at, updated_at"
        with conn.cursor().copy(f"COPY subscribers ({columns}) FROM STDIN".encode()) as copy:
            for person in everybody:
                since = _since(zero, newcomers.get(person))
                copy.write_row(
                    (
                        person,
                        uuid.UUID(int=(1 << 80) + person),
                        f"user{person}@example.test",
                        f"User {person}",
                        "blocklisted" if person in banned else "enabled",
                        since,
                        since,
                    )
                )
        columns = "subscriber_id, list_id, status, created_at, updated_at"
        with conn.cursor().copy(f"COPY subscriber_lists ({columns}) FROM STDIN".encode()) as copy:
            for person, status, since, changed in _subscriptions(sender, everybody, left, newcomers, zero):
                copy.write_row((person, list_id, status, since, changed))
        _write_campaign(conn, sender, campaign_id=campaign_id, list_id=list_id, name=name, zero=zero)
        for table in ("subscribers", "lists", "campaigns", "campaign_lists"):
            statement = "SELECT setval(pg_get_serial_sequence('%t', 'id'), max(id)) FROM %t"
            conn.execute(statement.replace("%t", table).encode())
    return zero


def _since(zero: datetime, joined: float | None) -> datetime:
    return zero - _LONG_BEFORE if joined is None else zero + timedelta(seconds=joined)


def _subscriptions(
    sender: Sender,
    everybody: Iterable[int],
    left: Mapping[int, float],
    joined: Mapping[int, float],
    zero: datetime,
) -> Iterator[tuple[int, str, datetime, datetime]]:
    for person in everybody:
        since = changed = _since(zero, joined.get(person))
        status = "unconfirmed" if person in sender.campaign.unconfirmed else "confirmed"
        if person in left:
            status, changed = "unsubscribed", zero + timedelta(seconds=left[person])
        yield person, status, since, changed


def _write_settings(conn: Connection[tuple[object, ...]], sender: Sender) -> None:
    settings = sender.settings
    values = {
        "migrations": [RECORDED.get(sender.version, f"v{sender.version}")],
        "app.batch_size": settings.batch_size,
        "app.concurrency": settings.concurrency,
        "app.message_rate": settings.message_rate,
        "app.max_send_errors": settings.max_send_errors,
        "app.message_sliding_window": settings.window,
        "app.message_sliding_window_rate": settings.window_rate or 10_000,
        "app.message_sliding_window_duration": f"{settings.window_seconds or 3600:g}s",
        "messengers": [],
        "smtp": [{"enabled": True, "name": "", "host": "smtp.example.test", "port": 25}],
        "privacy.individual_tracking": False,
    }
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO settings (key, value) VALUES (%s, %s::jsonb)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [(key, json.dumps(value)) for key, value in values.items()],
        )


def _write_campaign(  # noqa: PLR0913 - handed through
    conn: Connection[tuple[object, ...]],
    sender: Sender,
    *,
    campaign_id: int,
    list_id: int,
    name: str,
    zero: datetime,
) -> None:
    row = sender.row

    def moment(seconds: float | None) -> datetime | None:
        return None if seconds is None else zero + timedelta(seconds=seconds)

    conn.execute(
        "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, content_type, tags, type,"
        " messenger, template_id, archive_template_id, status, sent, to_send, last_subscriber_id,"
        " max_subscriber_id, send_at, started_at, created_at, updated_at)"
        " VALUES (%s, %s, %s, 'Subject', 'sender@example.test', 'Body', 'plain', '{}', 'regular', 'email',"
        " NULL, NULL, %s::campaign_status, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            campaign_id,
            uuid.uuid4(),
            name,
            row.status,
            row.sent,
            row.to_send,
            row.last_subscriber_id,
            row.max_subscriber_id,
            moment(row.send_at),
            moment(row.started_at),
            zero,
            moment(row.updated_at),
        ],
    )
    conn.execute(
        "INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES (%s, %s, %s)",
        [campaign_id, list_id, f"List {list_id}"],
    )


MIGRATIONS: Final = (
    "v2.5.0",
    "v3.0.0",
    "v4.0.0",
    "v4.1.0",
    "v5.0.0",
    "v5.1.0",
    "v6.0.0",
    "v6.1.0",
    "v6.2.0",
)
"""The versions that an upgrade records one after the other."""
BROUGHT: Final = {
    "v3.0.0": "app.cache_slow_queries",
    "v4.0.0": "security.oidc",
    "v5.0.0": "privacy.domain_allowlist",
    "v6.1.0": "privacy.disable_tracking",
    "v6.2.0": "app.show_optin_page",
}
"""A setting that came with a version: its row keeps the moment of the upgrade (or of the installation)."""


def write_history(conn: Connection[tuple[object, ...]], history: History) -> None:
    """Write a generated history into the connection's open transaction, whose start is the history's present.

    Needs empty tables.
    """
    sender, lists = history.sender, history.lists
    [(now,)] = conn.execute("SELECT now()").fetchall()
    assert isinstance(now, datetime)
    zero = now - timedelta(seconds=sender.now)

    def moment(seconds: float | None) -> datetime | None:
        return None if seconds is None else zero + timedelta(seconds=seconds)

    _write_settings(conn, sender)
    _write_versions(conn, history, zero)
    with conn.cursor().copy(b"COPY lists (id, uuid, name, type, optin, created_at, updated_at) FROM STDIN") as copy:
        for each, optin in lists.optins.items():
            copy.write_row((each, uuid.UUID(int=each), f"List {each}", "public", optin, moment(BEFORE), moment(BEFORE)))
    with conn.cursor().copy(
        b"COPY subscribers (id, uuid, email, name, status, created_at, updated_at) FROM STDIN"
    ) as copy:
        for person, row in lists.people.items():
            name = f"user{person}@example.test"
            made, changed = moment(row.created), moment(row.updated)
            copy.write_row((person, uuid.UUID(int=(1 << 80) + person), name, "", row.status, made, changed))
    with conn.cursor().copy(
        b"COPY subscriber_lists (subscriber_id, list_id, status, created_at, updated_at) FROM STDIN"
    ) as copy:
        for (person, each), held in lists.subscriptions.items():
            copy.write_row((person, each, held.status, moment(held.created), moment(held.updated)))
    _write_row(conn, history, moment)
    with conn.cursor().copy(b"COPY campaign_views (campaign_id, subscriber_id, created_at) FROM STDIN") as copy:
        for person, seen in history.views.items():
            if person in lists.people:
                copy.write_row((CAMPAIGN, person, moment(seen)))


def _write_versions(conn: Connection[tuple[object, ...]], history: History, zero: datetime) -> None:
    """Write which versions were installed, and the settings that date them."""
    recorded: list[str] = []
    rows = []
    for version, since in history.versions:
        tag = RECORDED.get(version, f"v{version}")
        begin = MIGRATIONS.index(recorded[-1]) + 1 if recorded else MIGRATIONS.index(tag)
        came = MIGRATIONS[begin : MIGRATIONS.index(tag) + 1]
        brought = came if recorded else MIGRATIONS[: MIGRATIONS.index(tag) + 1]
        rows += [(BROUGHT[each], "false", zero + timedelta(seconds=since)) for each in brought if each in BROUGHT]
        recorded += came
    conn.execute("UPDATE settings SET value = %s::jsonb WHERE key = 'migrations'", [json.dumps(recorded)])
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO settings (key, value, updated_at) VALUES (%s, %s::jsonb, %s)", rows)


def _write_row(
    conn: Connection[tuple[object, ...]], history: History, moment: Callable[[float | None], datetime | None]
) -> None:
    """Write the campaign with its lists, the deleted one as NULL."""
    row, lists = history.sender.row, history.lists
    conn.execute(
        "INSERT INTO campaigns (id, uuid, name, subject, from_email, body, content_type, type, messenger, template_id,"
        " archive_template_id, status, sent, to_send, last_subscriber_id, max_subscriber_id, send_at, started_at,"
        " created_at, updated_at)"
        " VALUES (%s, %s, 'Played', 'Subject', 'sender@example.test', 'Body', 'plain', %s::campaign_type, 'email',"
        " NULL, NULL, %s::campaign_status, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            CAMPAIGN,
            uuid.UUID(int=1 << 90),
            lists.kind,
            row.status,
            row.sent,
            row.to_send,
            row.last_subscriber_id,
            row.max_subscriber_id,
            moment(row.send_at),
            moment(row.started_at),
            moment(0.0),
            moment(row.updated_at),
        ],
    )
    named = [(CAMPAIGN, each, f"List {each}") for each in lists.optins]
    if lists.gone:
        named.append((CAMPAIGN, None, "Gone"))  # type: ignore[arg-type]
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES (%s, %s, %s)", named)
