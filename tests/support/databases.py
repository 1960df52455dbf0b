"""Owns the tests' databases: made on the session's server, with recorded incidents in them, and dropped."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from listmonk_doctor.demo.loading import Loaded, load
from listmonk_doctor.demo.recording import open_recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from listmonk_doctor.demo.postgres import Server

STRATEGY_SINCE: Final = 15
"""First major version that can be told to copy a template's files, which is five times faster."""


@dataclass
class Databases:
    """The databases of one server; each name is used once."""

    server: Server
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _templates: dict[tuple[str, bool], tuple[str, Loaded]] = field(default_factory=dict)

    def create(self, template: str = "template0") -> str:
        """Create a database as a copy of another one, an empty one by default, and return its name."""
        name = f"t{next(self._numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        if self.server.major >= STRATEGY_SINCE:
            statement += sql.SQL(" STRATEGY file_copy")
        self._run(statement)
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still in it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def loaded(self, recording: str, *, worse: bool) -> tuple[str, Loaded]:
        """Create a database and load a recording into it (0.1 s)."""
        name = self.create()
        with psycopg.connect(self.server.dsn(name), autocommit=True) as conn:
            return name, load(conn, open_recording(recording), worse=worse)

    def copied(self, recording: str, *, worse: bool) -> tuple[str, Loaded]:
        """Create a copy of the database into which this session has loaded a recording once (0.02 s)."""
        if (recording, worse) not in self._templates:
            self._templates[recording, worse] = self.loaded(recording, worse=worse)
        template, loaded = self._templates[recording, worse]
        return self.create(template), loaded

    def _run(self, statement: sql.Composed) -> None:
        """Run one statement that may not be in a transaction."""
        with psycopg.connect(self.server.dsn(), autocommit=True) as conn:
            conn.execute(statement)


@dataclass
class IncidentDatabases:
    """Called with a recording's name, it gives the DSN of a database of the test's own that holds it."""

    databases: Databases
    _made: dict[str, tuple[str, Loaded]] = field(default_factory=dict)

    def __call__(self, recording: str, *, worse: bool = False, fresh: bool = False) -> str:
        """Copy what the session has loaded; its times grow older with the session.

        Where a test depends on ages (due, asleep, stuck), `fresh` loads the recording anew.
        """
        make = self.databases.loaded if fresh else self.databases.copied
        name, loaded = make(recording, worse=worse)
        dsn = self.databases.server.dsn(name)
        self._made[dsn] = name, loaded
        return dsn

    def loaded(self, dsn: str) -> Loaded:
        """Say by how much the times were moved, and whom `worse` redated and deleted."""
        return self._made[dsn][1]

    def drop(self) -> None:
        """Drop all databases given so far."""
        for name, _ in self._made.values():
            self.databases.drop(name)
