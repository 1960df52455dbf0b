"""Owns the large database that the benchmarks measure on: a million people with five subscriptions each, campaigns.

Everything is made by the server from numbers, so that two runs have the same rows. `scale` 1.0 is one million
subscribers and about five million subscriptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from listmonk_doctor.demo.loading import demo_sql

if TYPE_CHECKING:
    from psycopg import Connection

SHARES: Final = (1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.1, 0.07, 0.05, 0.03)
"""Which share of the people is on each list, by the list's id from 1; the sum is five."""
BIG: Final = 1
"""A campaign to list 1 (everybody, single opt-in) and list 4 (three in five, double opt-in)."""
ONE_LIST: Final = 2
"""A campaign to list 1 alone."""
SMALL: Final = 3
"""A campaign to the smallest list: one subscription of 167."""
FIRST_SUSPECT: Final = 101
"""From here on a hundred campaigns to one to three lists each, started over the last 400 days."""

_PLAIN: Final = """
INSERT INTO settings (key, value) VALUES
    ('migrations', '["v6.2.0"]'), ('app.batch_size', '1000'), ('app.concurrency', '10'), ('app.message_rate', '10'),
    ('app.max_send_errors', '1000'), ('app.message_sliding_window', 'false');
INSERT INTO lists (id, uuid, name, type, optin)
    SELECT n, gen_random_uuid(), 'List ' || n, 'public',
           (CASE WHEN n % 4 = 0 THEN 'double' ELSE 'single' END)::list_optin
    FROM generate_series(1, 14) n;
"""
_PEOPLE: Final = """
INSERT INTO subscribers (id, uuid, email, name, attribs, status, created_at, updated_at)
    SELECT n, gen_random_uuid(), 'user' || n || '@example.test', 'User ' || n,
           jsonb_build_object('city', 'City ' || n % 1000, 'source', 'form'),
           (CASE WHEN n % 97 = 0 THEN 'blocklisted' ELSE 'enabled' END)::subscriber_status,
           timestamptz '2026-01-01' - (1 - n / {people}.0) * interval '900 days',
           timestamptz '2026-01-01' - (1 - n / {people}.0) * interval '900 days'
               * (CASE WHEN n % 97 = 0 THEN n % 100 / 100.0 ELSE 1 END)
    FROM generate_series(1, {people}) n;
"""
# One subscription in three was changed some time after it was made, one in twelve ended; to half of the lists people
# came later than they signed up. Rows lie in the order in which they were last written, as an UPDATE moves them.
_SUBSCRIPTIONS: Final = """
INSERT INTO subscriber_lists (subscriber_id, list_id, status, created_at, updated_at)
    SELECT n, list,
           (CASE WHEN h % 12 = 0 THEN 'unsubscribed' WHEN h % 12 < 4 THEN 'unconfirmed' ELSE 'confirmed' END
           )::subscription_status, made, last
    FROM (
        SELECT n, list, h, made,
               CASE WHEN h / 7 % 3 = 0 THEN made + (timestamptz '2026-01-01' - made) * (h / 11 % 1000 / 1000.0)
                    ELSE made END AS last
        FROM (
            SELECT n, list, h, joined + CASE WHEN list % 2 = 1 THEN interval '1 second' * list
                ELSE (timestamptz '2026-01-01' - joined) * (h / 13 % 1000 / 1000.0) END AS made
            FROM (
                SELECT n, list, share, abs(hashint8(n * 100::bigint + list)::bigint) AS h,
                       timestamptz '2026-01-01' - (1 - n / {people}.0) * interval '900 days' AS joined
                FROM generate_series(1, {people}) n,
                     unnest(ARRAY[{shares}]::float8[]) WITH ORDINALITY AS of (share, list)
            ) AS pairs
            WHERE h % 10007 < share * 10007
        ) AS subscribed
    ) AS changed
    ORDER BY last, n;
"""
_CAMPAIGNS: Final = """
INSERT INTO campaigns (id, uuid, name, subject, from_email, body, status, messenger, to_send, sent, max_subscriber_id,
                       last_subscriber_id, started_at, created_at, updated_at)
    SELECT n, gen_random_uuid(), 'Campaign ' || n, 'Subject', 'a@example.test', repeat('body ', 2000), 'finished',
           'email', {people}, {people} * 9 / 10, {people}, {people} * 9 / 10,
           moment, moment, moment + interval '5 hours'
    FROM (SELECT n, timestamptz '2026-01-01' - CASE WHEN n < 101 THEN interval '9 days'
                                                    ELSE interval '4 days' * (n - 100) END AS moment
          FROM unnest(ARRAY[1, 2, 3] || ARRAY(SELECT generate_series(101, 200))) n) each;
INSERT INTO campaign_lists (campaign_id, list_id, list_name) VALUES
    (1, 1, 'List 1'), (1, 4, 'List 4'), (2, 1, 'List 1'), (3, 14, 'List 14');
INSERT INTO campaign_lists (campaign_id, list_id, list_name)
    SELECT DISTINCT n, 1 + (n * 5 + k * 3) % 14, 'List' FROM generate_series(101, 200) n, generate_series(0, 2) k
    WHERE k <= n % 3;
INSERT INTO bounces (subscriber_id, campaign_id, created_at)
    SELECT n, 1, timestamptz '2026-01-01' - interval '8 days' FROM generate_series(1, {people}, 200) n;
"""


def fill(conn: Connection, scale: float = 1.0) -> None:
    """Make the database of listmonk 6.2.0 (a minute or two for 1.0); indexes are made after the rows."""
    people = int(1_000_000 * scale)
    values = {"people": people, "shares": ", ".join(map(str, SHARES))}
    conn.execute(demo_sql("schema-v6.2.0.sql"))
    conn.execute(b"SET session_replication_role = replica; SET jit = off")  # the rows are right: nothing to check
    large = ("subscribers", "subscriber_lists")
    indexes = conn.execute(
        "SELECT indexdef, indexrelid::regclass::text FROM pg_indexes, pg_index"
        " WHERE indexrelid = (schemaname || '.' || indexname)::regclass AND tablename = ANY(%s) AND NOT EXISTS"
        " (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
        [list(large)],
    ).fetchall()
    for _, name in indexes:
        conn.execute(b"DROP INDEX " + name.encode())
    for statement in (_PLAIN, _PEOPLE, _SUBSCRIPTIONS, _CAMPAIGNS):
        conn.execute(statement.format(**values).encode() if "{" in statement else statement.encode())
    for definition, _ in indexes:
        conn.execute(definition.encode())
    conn.execute(b"RESET session_replication_role; RESET jit")
    conn.execute(b"VACUUM ANALYZE")
