"""Owns the worlds that the checks are tried in: a small listmonk of any version, and per check what it must find."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from listmonk_doctor.demo.loading import demo_sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAY: Final = 86400
PEOPLE: Final = 400
RECORDED: Final = {"v5.0.3": "v5.0.0", "v2.5.1": "v2.5.0"}
"""What a release records that brought no migration."""
VERSIONS: Final = ("v2.5.1", "v3.0.0", "v4.1.0", "v5.0.3", "v6.0.0", "v6.2.0")
SETTINGS: Final[dict[str, Any]] = {
    "app.batch_size": 100,
    "app.concurrency": 5,
    "app.message_rate": 10,
    "app.max_send_errors": 1000,
    "app.message_sliding_window": False,
    "app.message_sliding_window_duration": "1h",
    "app.message_sliding_window_rate": 10000,
    "messengers": [],
    "smtp": [{"enabled": True, "name": ""}],
    "app.cache_slow_queries": False,
    "bounce.postmark": {},
    "security.oidc": {},
    "bounce.forwardemail": {},
    "privacy.domain_allowlist": [],
    "bounce.lettermint": {},
    "privacy.disable_tracking": False,
}


def id_at(rank: int) -> int:
    """Return the id of the person at a rank of list 1: 1000, 1003, 1006 and so on."""
    return 997 + 3 * rank


CEILING: Final = id_at(PEOPLE)


@dataclass(frozen=True)
class Row:
    """A campaign to be seeded, by default one of list 1 that ended yesterday with everybody mailed.

    `columns` holds what differs; `ago` is seconds since its last change, `send_ago` since it was due (negative: in
    the future), `lists` has None for a list that was deleted.
    """

    id: int
    reported: bool
    columns: Mapping[str, Any] = field(default_factory=dict)
    lists: tuple[int | None, ...] = (1,)
    ago: float = DAY
    started_ago: float | None = 2 * DAY
    send_ago: float | None = None


def _row(number: int, status: str, sent: int, cursor: int, more: dict[str, Any]) -> dict[str, Any]:
    """Return Row's arguments: what is no field of Row is a column."""
    others = ("lists", "ago", "started_ago", "send_ago")
    fields: dict[str, Any] = {name: more.pop(name) for name in others if name in more}
    columns = {"status": status, "sent": sent, "last_subscriber_id": cursor, **more}
    return {"id": number, "columns": columns, **fields}


def named(number: int, status: str, sent: int, cursor: int, **more: Any) -> Row:
    """Return a campaign that stands at a cursor and that the check must report."""
    return Row(reported=True, **_row(number, status, sent, cursor, more))


def silent(number: int, status: str, sent: int, cursor: int, **more: Any) -> Row:
    """Return a campaign that stands at a cursor and that the check must leave alone."""
    return Row(reported=False, **_row(number, status, sent, cursor, more))


@dataclass(frozen=True)
class Seed:
    """What a check must find, and what looks like it and must be left alone."""

    version: str
    rows: tuple[Row, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    statements: str = ""
    server: str = "unknown"
    summary: str | None = None
    """The label of the one line that a summarising check gives instead of rows."""


HEALTHY: Final = (
    silent(1, "finished", PEOPLE, CEILING),
    silent(2, "finished", PEOPLE - 1, id_at(PEOPLE - 1)),
    silent(3, "draft", 0, 0, to_send=0, max_subscriber_id=0, started_ago=None),
    silent(4, "scheduled", 0, 0, to_send=0, max_subscriber_id=0, started_ago=None, send_ago=-DAY),
    silent(5, "paused", 150, id_at(150)),
    silent(6, "cancelled", 150, id_at(150)),
    silent(7, "finished", 60, 60, to_send=60, max_subscriber_id=60, lists=(3,)),
)
"""A row of every state, nothing wrong with any; the last one's ids have no gaps, so that a count is also an id."""

BLOCKLISTED: Final = """
INSERT INTO subscribers (id, uuid, email, name, status)
SELECT 1001 + 3 * n, gen_random_uuid(), n || '@b.test', '', 'blocklisted' FROM generate_series(1, 12) n;
INSERT INTO subscriber_lists (subscriber_id, list_id, status)
SELECT id, 1, 'confirmed' FROM subscribers WHERE email LIKE '%@b.test';

INSERT INTO subscribers (id, uuid, email, name, status)
SELECT 9000 + n, gen_random_uuid(), n || '@c.test', '', 'blocklisted' FROM generate_series(1, 50) n;
INSERT INTO subscriber_lists (subscriber_id, list_id, status)
SELECT id, 1, 'confirmed' FROM subscribers WHERE email LIKE '%@c.test';

INSERT INTO subscribers (id, uuid, email, name, status)
SELECT 1700 + 3 * n, gen_random_uuid(), n || '@d.test', '', 'blocklisted' FROM generate_series(1, 50) n;
INSERT INTO subscriber_lists (subscriber_id, list_id, status)
SELECT id, 1, 'unsubscribed' FROM subscribers WHERE email LIKE '%@d.test';
"""
"""Twelve blocklisted people whom to_send counted; fifty who came later and fifty unsubscribed whom it did not."""

DELETED: Final = (
    named(101, "scheduled", 0, 0, lists=(1, None), started_ago=None, send_ago=-DAY),
    named(102, "running", 100, id_at(100), lists=(None, 1), ago=1),
    named(103, "paused", 100, id_at(100), lists=(1, None)),
    silent(104, "finished", PEOPLE, CEILING, lists=(1, None)),
    silent(105, "cancelled", 100, id_at(100), lists=(1, None)),
    silent(106, "draft", 0, 0, lists=(1, None), started_ago=None),
    silent(107, "running", 100, id_at(100), ago=1),
)

SEEDS: Final[dict[str, Seed]] = {
    "LM101": Seed(
        "v4.1.0",
        (
            named(101, "finished", 200, id_at(200)),
            silent(102, "finished", PEOPLE - 5, id_at(PEOPLE - 5)),
            named(103, "finished", PEOPLE - 6, id_at(PEOPLE - 6)),
            silent(104, "finished", 200, PEOPLE),  # the cursor is a count: LM103
            silent(105, "finished", PEOPLE, CEILING, max_subscriber_id=9000),  # only newcomers above it
            named(106, "finished", 5, id_at(5), to_send=id_at(5)),  # a count by chance, where an honest one stands
            silent(107, "finished", 20, 20, to_send=60, max_subscriber_id=60, lists=(2,)),  # nobody confirmed
            named(108, "finished", 20, 20, to_send=60, max_subscriber_id=60, lists=(3, 1)),
        ),
        statements="""
            INSERT INTO subscribers (id, uuid, email, name)
            SELECT 8000 + n, gen_random_uuid(), n || '@n.test', '' FROM generate_series(1, 50) n;
            INSERT INTO subscriber_lists (subscriber_id, list_id, status)
            SELECT id, 1, 'confirmed' FROM subscribers WHERE email LIKE '%@n.test';
            INSERT INTO subscriber_lists (subscriber_id, list_id, status, created_at)
            SELECT n, 2, 'unconfirmed', now() - interval '1 year' FROM generate_series(1, 60) n;
        """,
    ),
    "LM102": Seed(
        "v6.2.0",
        (
            named(101, "finished", 300, CEILING),
            silent(102, "finished", PEOPLE - 5, CEILING),
            named(103, "finished", PEOPLE - 6, CEILING),
            silent(104, "finished", 200, id_at(200)),  # people are left above the cursor: LM101
            silent(105, "cancelled", 200, CEILING),
            named(106, "finished", 300, PEOPLE, to_send=PEOPLE, max_subscriber_id=PEOPLE),  # up to the ceiling
        ),
    ),
    "LM103": Seed(
        "v5.0.3",
        (
            named(101, "paused", 200, PEOPLE),
            named(102, "finished", 300, PEOPLE),
            silent(103, "finished", PEOPLE - 5, PEOPLE),  # everybody was sent: LM113
            silent(104, "cancelled", 200, PEOPLE),
            silent(105, "paused", 5, id_at(5), to_send=id_at(5)),
            silent(106, "paused", 0, PEOPLE),  # nothing sent, nobody below it: a start mails everybody
            named(107, "running", 200, PEOPLE),
            named(108, "scheduled", 200, PEOPLE, send_ago=-DAY),
            named(109, "paused", 0, 2000, to_send=2000),  # too high: a start would leave people out
            silent(110, "paused", 134, id_at(200), to_send=id_at(200)),  # an id, a batch ahead: LM115
            silent(111, "paused", 70, 60, to_send=60, max_subscriber_id=60, lists=(3,)),  # nobody is left above it
            named(112, "paused", 100, 1601, to_send=1601),  # as far ahead, but nobody has that id
        ),
        server="none",
    ),
    "LM104": Seed(
        "v6.2.0",
        (
            named(101, "running", 100, id_at(200)),
            silent(102, "running", 195, id_at(200)),
            named(103, "running", 194, id_at(200)),
            silent(104, "paused", 100, id_at(200)),
        ),
        server="none",
    ),
    "LM105": Seed(
        "v6.2.0",
        (
            named(101, "running", 200, id_at(200), ago=600),
            silent(102, "running", 100, id_at(200), ago=600),  # still sending, perhaps slowly
            silent(103, "running", 200, id_at(200), ago=20),
            named(104, "running", 0, 0, ago=2, started_ago=600),  # picked up anew at every scan: cannot be built
            named(105, "running", 100, id_at(200), ago=2 * DAY, started_ago=3 * DAY),
            silent(106, "paused", 200, id_at(200), ago=600),
        ),
        server="alive",
    ),
    "LM106": Seed(
        "v4.1.0",
        (
            named(101, "scheduled", 0, 0, started_ago=None, send_ago=60),
            silent(102, "scheduled", 0, 0, started_ago=None, send_ago=5),
            silent(103, "running", 10, id_at(10), ago=1, send_ago=60),
            named(104, "scheduled", 150, id_at(150), send_ago=60),
            silent(105, "paused", 150, id_at(150), send_ago=60),
        ),
    ),
    "LM107": Seed(
        "v5.0.3",
        (
            named(101, "finished", 1000, CEILING),
            silent(102, "finished", PEOPLE + 250, CEILING),  # one flush
            silent(103, "finished", 350, CEILING, to_send=20),  # no more than people are there
            named(104, "paused", PEOPLE + 251, id_at(PEOPLE)),
            silent(105, "finished", 1000, CEILING, to_send=900),  # most were deleted since
        ),
    ),
    "LM108": Seed("v6.0.0", DELETED),
    "LM109": Seed(
        "v6.2.0",
        (
            named(101, "scheduled", 0, 0, messenger="sms", started_ago=None, send_ago=-DAY),
            named(102, "paused", 100, id_at(100), messenger="off"),
            silent(103, "paused", 100, id_at(100), messenger="hook"),
            silent(104, "paused", 100, id_at(100), messenger="email-second"),
            named(105, "cancelled", 0, 0, messenger="sms", ago=2 * DAY - 1),
            silent(106, "cancelled", 0, 0, messenger="sms", ago=2 * DAY - 60),  # somebody cancelled it later
            silent(107, "cancelled", 5, id_at(5), messenger="sms", ago=2 * DAY - 1),
            silent(108, "finished", PEOPLE, CEILING, messenger="sms"),
            silent(109, "draft", 0, 0, messenger="sms", started_ago=None),
            named(110, "running", 100, id_at(100), messenger="Email", ago=1),
        ),
        settings={
            "messengers": [{"enabled": True, "name": "hook"}, {"enabled": False, "name": "off"}],
            "smtp": [{"enabled": True, "name": ""}, {"enabled": True, "name": "email-second"}],
        },
    ),
    "LM110": Seed(
        "v2.5.1",
        (silent(101, "paused", 100, id_at(100)), silent(102, "running", 100, id_at(100), ago=1)),
        summary="7 campaigns",  # 101, 102 and the five of HEALTHY that were started
    ),
    "LM111": Seed(
        "v3.0.0",
        (
            named(101, "finished", PEOPLE, CEILING, to_send=PEOPLE + 12),
            silent(102, "finished", PEOPLE - 1, CEILING, to_send=PEOPLE + 12),  # 13 short: LM102
            silent(103, "finished", PEOPLE, CEILING, to_send=PEOPLE + 5),  # noise
            silent(104, "finished", 200, id_at(200), to_send=212),  # people are left: LM101
        ),
        statements=BLOCKLISTED,
    ),
    "LM112": Seed("v6.2.0", DELETED),
    "LM113": Seed(
        "v5.0.3",
        (
            named(101, "cancelled", 200, PEOPLE),
            named(102, "finished", PEOPLE - 5, PEOPLE),
            silent(103, "finished", PEOPLE - 6, PEOPLE),  # LM103
            silent(104, "cancelled", 0, PEOPLE),
            silent(105, "cancelled", 200, id_at(200)),
            silent(106, "cancelled", 10, 58, to_send=58, max_subscriber_id=60, lists=(3,)),  # as good as the ceiling
        ),
    ),
    "LM114": Seed(
        "v6.2.0",
        (
            named(101, "finished", PEOPLE + 6, CEILING),
            silent(102, "finished", PEOPLE + 5, CEILING),
            silent(103, "finished", 1000, CEILING),  # LM107
            named(104, "finished", 350, CEILING, to_send=20),
        ),
    ),
    "LM115": Seed(
        "v5.0.3",
        (
            named(101, "paused", 100, id_at(200)),
            silent(102, "paused", 195, id_at(200)),
            named(103, "scheduled", 100, id_at(200), send_ago=-DAY),
            silent(104, "running", 100, id_at(200), ago=1),
            silent(105, "cancelled", 100, id_at(200)),
            silent(106, "paused", 200, PEOPLE),  # LM103
            named(107, "paused", 134, id_at(200), to_send=id_at(200)),
            silent(108, "paused", 100, 1601, to_send=1601),  # nobody has that id: LM103
        ),
    ),
    "LM116": Seed(
        "v6.0.0",
        (
            named(101, "draft", 0, 0, messenger="sms", started_ago=None),
            named(102, "draft", 0, 0, lists=(1, None), started_ago=None),
            silent(103, "draft", 0, 0, lists=(1, 3), started_ago=None),
            silent(104, "paused", 100, id_at(100), messenger="sms"),
        ),
    ),
    "LM901": Seed("v6.2.0", (), summary="two servers"),
}
"""Per check its seed: a check without one fails the tests."""


def build(dsn: str, version: str, settings: Mapping[str, Any] | None = None) -> None:
    """Make what a listmonk of that version has: 400 people on list 1 (gaps in their ids), 60 on list 3 (none)."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(demo_sql(f"schema-{version}.sql"))
        values = SETTINGS | {"migrations": [RECORDED.get(version, version)]} | dict(settings or {})
        with conn.cursor() as cur:
            cur.executemany(
                "INSERT INTO settings (key, value, updated_at) VALUES (%s, %s, now() - interval '2 years')",
                [(key, json.dumps(value)) for key, value in values.items()],
            )
        conn.execute("INSERT INTO templates (id, name, subject, body) VALUES (1, 'Default', '', '')")
        conn.execute(
            "INSERT INTO lists (id, uuid, name, type, optin) SELECT n, gen_random_uuid(), 'List ' || n, 'public',"
            " CASE n WHEN 2 THEN 'double' ELSE 'single' END::list_optin FROM generate_series(1, 4) n"
        )
        conn.execute(
            "INSERT INTO subscribers (id, uuid, email, name)"
            " SELECT id, gen_random_uuid(), id || '@a.test', 'A' FROM (SELECT generate_series(1, 60)"
            " UNION ALL SELECT 997 + 3 * generate_series(1, %s)) AS people(id)",
            [PEOPLE],
        )
        conn.execute(
            "INSERT INTO subscriber_lists (subscriber_id, list_id, status, created_at, updated_at)"
            " SELECT id, CASE WHEN id > 60 THEN 1 ELSE 3 END, 'confirmed', now() - interval '1 year',"
            " now() - interval '1 year' FROM subscribers"
        )


def seeded(dsn: str, code: str) -> Seed:
    """Build the world of a check's seed."""
    sown = SEEDS[code]
    build(dsn, sown.version, sown.settings)
    seed(dsn, (*HEALTHY, *sown.rows), sown.statements)
    return sown


def seed(dsn: str, rows: Sequence[Row], statements: str = "") -> None:
    """Put campaigns into a database, and whatever else they need."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        if statements:
            conn.execute(statements.encode())
        for each in rows:
            values = {
                "name": f"Campaign {each.id}",
                "subject": "",
                "from_email": "",
                "body": "",
                "messenger": "email",
                "to_send": PEOPLE,
                "max_subscriber_id": CEILING,
                "id": each.id,
                **each.columns,
            }
            names = sql.SQL(", ").join(map(sql.Identifier, values))
            conn.execute(
                sql.SQL(
                    "INSERT INTO campaigns ({}, uuid, started_at, updated_at, send_at) VALUES ({}, gen_random_uuid(),"
                    " now() - %s * interval '1 s', now() - %s * interval '1 s', now() - %s * interval '1 s')"
                ).format(names, sql.SQL(", ").join([sql.Placeholder()] * len(values))),
                [*values.values(), each.started_ago, each.ago, each.send_ago],
            )
            for position, number in enumerate(each.lists):
                conn.execute(
                    "INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES (%s, %s, %s)",
                    [each.id, number, f"List {number or f'gone {position}'}"],
                )
