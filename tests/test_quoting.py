"""What a script writes in place of unprintable text means the same to the server."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from listmonk_doctor.repair import quoting

TEXTS = (
    "plain",
    "it's \\ one",
    "\x1b[31m",
    "\x07'\\'\\\\0041\\+00000A E'\\x41'",
    "two\nlines\r\tand\x85\u2028\u202e\u2066\u200b\U000e0041 \u65e5\u672c\u8a9e \U0001f600",
    "".join(map(chr, range(1, 0x180))),
)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_literal_and_a_name_mean_what_they_meant(empty_db: str, text: str) -> None:
    """By themselves, in a list, in JSON, and within the body of a function."""
    name = text[:15]
    query = sql.SQL("SELECT {}, {}, {} ->> 'a', q.{} FROM (SELECT 5 AS {}) q").format(
        sql.Literal(text), sql.Literal(["x", text]), sql.Literal(Jsonb({"a": text})), *[sql.Identifier(name)] * 2
    )
    written = quoting.text(query)
    assert all(sign.isprintable() for sign in written)
    with psycopg.connect(empty_db, autocommit=True) as conn:
        row = conn.execute(written.encode()).fetchone()
        assert row is not None
        assert row[0] == text
        assert row[2:] == (text, 5)
        assert row[1] in (["x", text], conn.execute("SELECT %s::text[]::text", [["x", text]]).fetchall()[0][0])
        body = sql.SQL("BEGIN IF {} <> convert_from({}, 'UTF8') THEN RAISE EXCEPTION '%', {}; END IF; END").format(
            sql.Literal(text), sql.Literal(text.encode()), sql.Literal(text)
        )
        conn.execute(f"DO $tag$ {quoting.text(body)} $tag$".encode())


def test_what_is_printable_stays_as_it_is() -> None:
    """A name in any script can be read in the script; the program's own line breaks stay."""
    query = sql.SQL("SELECT\n\t{}").format(sql.Literal("Ä \u65e5\u672c 'x' \\"))
    assert quoting.text(query) == query.as_string(None)
