"""Plays generated histories of a campaign on the sender's model and holds what the diagnosis says against them.

Three hundred by default, the same in each run; more of them, and others each time:

    LISTMONK_DOCTOR_HISTORIES=10000 python -m pytest -q tests/test_histories.py
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as effort
from hypothesis.stateful import run_state_machine_as_test

from listmonk_doctor.demo.loading import demo_sql
from tests.engine_model import VERSIONS
from tests.support.model_machine import Histories

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_CI: Final = 300
HISTORIES: Final = int(os.environ.get("LISTMONK_DOCTOR_HISTORIES", IN_CI))


def an_effort(histories: int, *, steps: int = 10) -> effort:
    """Return Hypothesis' settings; a run of the usual length is the same each time, a longer one explores anew."""
    return effort(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=HISTORIES <= IN_CI,
        print_blob=True,
    )


@pytest.fixture(scope="session")
def places(databases: Any) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    """One database per version with listmonk's empty tables."""
    opened: dict[str, psycopg.Connection[Any]] = {}
    names = []
    for version in VERSIONS:
        names.append(databases.create())
        opened[version] = psycopg.connect(databases.server.dsn(names[-1]), autocommit=True)
        opened[version].execute(demo_sql(f"schema-v{version}.sql"))
    yield opened
    for conn in opened.values():
        conn.close()
    for name in names:
        databases.drop(name)


MACHINES: Final = {
    version: type(f"Histories{version.replace('.', '_')}", (Histories,), {"version": version}) for version in VERSIONS
}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_said_of_any_history_is_true(places: dict[str, psycopg.Connection[Any]], version: str) -> None:
    """Whatever a campaign that began under this version met, nothing that is said of it is false."""
    machine = MACHINES[version]
    machine.places = places
    run_state_machine_as_test(machine, settings=an_effort(-(-HISTORIES // len(VERSIONS))))
