"""Owns opening the database for a command: the source, the schema, the version, and the looks at the server."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from listmonk_doctor.commands._failures import say
from listmonk_doctor.commands._options import STATE, Where
from listmonk_doctor.errors import RefusedError, UnknownSchemaError
from listmonk_doctor.listmonk.versions import NEWEST_KNOWN, OLDEST_READ, Version, behaves, parse
from listmonk_doctor.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from listmonk_doctor.commands._evidence import Evidence
    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.database.sources import Target
    from listmonk_doctor.listmonk.lookup import Found
    from listmonk_doctor.listmonk.server import ServerState
    from listmonk_doctor.repair.journal import Former
    from listmonk_doctor.repair.plan import Diagnosis, Prefer

WAITING: Final = (
    "A listmonk server may be scanning: looking twice, 11 s apart, to see whether it works on this campaign"
)


class Database(NamedTuple):
    """An open session with a listmonk's database; `again` is what a next command needs to find the same one."""

    conn: Connection
    schema: str
    version: Version
    timeout: float
    target: Target
    again: str


@contextmanager
def opened(where: Where) -> Iterator[Database]:
    """Open the database that the options mean, find listmonk in it, and check that its version can be read.

    Raises ConnectionFailedError, PrivilegeError, UnknownSchemaError.
    """
    from listmonk_doctor.database.connection import connect, find_schema, recorded_versions
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.database.sources import resolve

    target = resolve(where.dsn, where.service, where.config, os.environ, Path.cwd())
    # A password that is also the name of the user or the database, as listmonk's default is, hides nothing.
    shown = {value for key, value in target.conninfo.items() if key != "password"}
    STATE.secrets.update(set(target.secrets()) - shown)
    if os.environ.get("PGPASSWORD"):
        STATE.secrets.add(os.environ["PGPASSWORD"])
    for warning in target.warnings:
        say(f"Warning: {warning}")
    if STATE.verbose:
        say(f"Connecting to {target.describe()}")
    with connect(target) as conn:
        schema = find_schema(conn, where.schema)
        with snapshot(conn, schema=schema, timeout=where.timeout) as cursor:
            version = parse(recorded_versions(cursor)[-1])
        if STATE.verbose:
            say(f'Found listmonk {version} in the schema "{schema}"')
        if version < OLDEST_READ:
            raise UnknownSchemaError(
                f"This listmonk is {version}; before {OLDEST_READ} its tables are not the ones that are read here.",
                hint=f"Upgrade listmonk to {OLDEST_READ} or later first.",
            )
        yield Database(conn, schema, version, where.timeout, target, _again(where, target))


def warn_if_newer(database: Database) -> None:
    """Warn on stderr of a listmonk that is newer than is known."""
    if database.version > NEWEST_KNOWN:
        say(
            f"Warning: this listmonk is {database.version}, newer than the newest that is known here ({NEWEST_KNOWN}). "
            f"It is read as if it were {NEWEST_KNOWN}; nothing is written unless --allow-unknown-version is given.",
        )


def writable(database: Database, *, allowed: bool) -> None:
    """Raise RefusedError where this listmonk is newer than is known and writing was not allowed all the same."""
    if database.version > NEWEST_KNOWN and not allowed:
        raise RefusedError(
            f"Nothing is written to listmonk {database.version}: the newest that is known here is {NEWEST_KNOWN}.",
            hint="Update listmonk-doctor; or, if you know that sending works as before, add --allow-unknown-version.",
        )


def _again(where: Where, target: Target) -> str:
    """Return the connection options as they were given, for the next command; a password is not repeated."""
    words: list[str] = []
    if where.dsn is not None:
        words += ["--dsn", "DSN" if target.secrets() else where.dsn]
    elif where.service is not None:
        words += ["--service", where.service]
    for path in where.config:
        words += ["--config", str(path)]
    if where.schema is not None:
        words += ["--schema", where.schema]
    return "".join(f" {visible(shlex.quote(word))}" for word in words)


def look(database: Database, campaign_ids: Sequence[int], *, wait: bool = True) -> ServerState:
    """Return whether a server scans and whether pipes are open on the campaigns; may wait 11 s, and says why."""
    from listmonk_doctor.listmonk.server import one_look_state, two_looks

    if not wait:
        return one_look_state(database.conn, database.schema, campaign_ids)
    countdown = Countdown()
    try:
        return two_looks(
            database.conn,
            database.schema,
            campaign_ids,
            heartbeat=behaves("heartbeat", database.version),
            on_wait=countdown.show,
        )
    finally:
        countdown.end()


def found(database: Database, wanted: str, *, exactly: bool = False) -> Found:
    """Return the campaign that the command line names. Raises UsageError where there is none, or several."""
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.listmonk.lookup import find_campaign

    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor:
        return find_campaign(cursor, wanted, exactly=exactly)


def diagnosed(  # noqa: PLR0913 - what the command line says
    database: Database,
    campaign_ids: Sequence[int],
    *,
    prefer: str,
    wait: bool = True,
    app_stopped: bool = False,
    evidence: Evidence | None = None,
    groups: Sequence[str] | None = None,
) -> dict[int, Diagnosis]:
    """Look at the server and the campaigns' rows, then diagnose the campaigns in one snapshot and one pass.

    `evidence` is what may be heard of their progress besides. On a terminal a bar shows how far the pass has come, if
    it takes more than a second. Raises UsageError or RefusedError where the recording cannot be used.
    """
    from listmonk_doctor.commands._progress import Bar
    from listmonk_doctor.database.snapshot import snapshot
    from listmonk_doctor.repair.diagnose import diagnose_in, with_former

    if evidence is not None:
        evidence.prepare(database, campaign_ids)
    server = look(database, campaign_ids, wait=wait)
    with snapshot(database.conn, schema=database.schema, timeout=database.timeout) as cursor, Bar() as bar:
        recordings = evidence.heard(cursor, campaign_ids) if evidence is not None else None
        said = diagnose_in(
            cursor,
            campaign_ids,
            server=server,
            prefer=cast("Prefer", str(prefer)),
            app_stopped=app_stopped,
            recordings=recordings,
            groups=groups,
            progress=bar,
        )
    if evidence is not None:
        said = {each: evidence.told(of, database.again) for each, of in said.items()}
    return {each: with_former(of, _former(database, of)) for each, of in said.items()}


def _former(database: Database, said: Diagnosis) -> tuple[Former, ...]:
    """Return what repairs of a campaign overwrote, by the journal."""
    from listmonk_doctor.repair import journal

    campaign = said.examination.campaign
    return journal.former(database.conn, database.schema, campaign.id, campaign.uuid)


class Countdown:
    """Says once why there is a wait; on a terminal the seconds run down below it."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._live = sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"

    def show(self, left: float) -> None:
        """Show that `left` seconds are left."""
        whole = round(left)
        if STATE.quiet or whole == self._last:
            return
        if self._last is None:
            say(f"{WAITING}.")
        self._last = whole
        if self._live:
            sys.stderr.write(f"\r\x1b[K{whole} s")
            sys.stderr.flush()

    def end(self) -> None:
        """Clear the seconds."""
        if self._last is not None and self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
