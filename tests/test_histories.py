"""Plays generated histories of a campaign on the sender's model and holds what the diagnosis says against them.

Three hundred by default, the same in each run; more of them, and others each time:

    LISTMONK_DOCTOR_HISTORIES=10000 python -m pytest -q tests/test_histories.py

A failure prints the history step by step, and a line that plays it again (`reproduce_failure`), whichever run it was.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as effort
from hypothesis.stateful import run_state_machine_as_test

from listmonk_doctor.demo.loading import demo_sql
from listmonk_doctor.diagnosis import candidates
from listmonk_doctor.diagnosis.figures import Figures
from listmonk_doctor.listmonk.settings import Settings
from tests.engine_model import VERSIONS
from tests.support.model_machine import Accidents, Histories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_CI: Final = 300
MUTANT: Final = 60
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


def machine_of(version: str, places: dict[str, psycopg.Connection[Any]], kind: type[Histories] = Histories) -> Any:
    """Return a machine whose histories begin under a version; its name tells it from the others."""
    name = f"{kind.__name__}{version.replace('.', '_')}"
    return type(name, (kind,), {"version": version, "places": places})


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_said_of_any_history_is_true(places: dict[str, psycopg.Connection[Any]], version: str) -> None:
    """Whatever a campaign that began under this version met, nothing that is said of it is false."""
    run_state_machine_as_test(machine_of(version, places), settings=an_effort(-(-HISTORIES // len(VERSIONS))))


def ends_one_early(patch: pytest.MonkeyPatch) -> None:
    """Let every batch end one person before it does."""
    real = candidates._stretch
    patch.setattr(
        candidates,
        "_stretch",
        lambda figures, first, last, because, **more: real(figures, first, last - 1, because, **more),
    )


def forgets_the_queue(patch: pytest.MonkeyPatch) -> None:
    """Let a stop lose no more than a batch and what the workers hold."""
    patch.setattr(Settings, "one_stop", property(lambda self: self.batch_size + self.concurrency))


def believes_the_cursor(patch: pytest.MonkeyPatch) -> None:
    """Let a count that was written into the cursor (M2) be taken for a person, whatever else speaks against it."""
    patch.setattr(Figures, "overwritten", False)
    patch.setattr(Figures, "started_over", False)


@pytest.mark.parametrize(
    ("mutate", "version"),
    [(ends_one_early, "6.2.0"), (forgets_the_queue, "6.2.0"), (believes_the_cursor, "4.1.0")],
)
def test_histories_find_a_diagnosis_that_is_wrong(
    places: dict[str, psycopg.Connection[Any]],
    monkeypatch: pytest.MonkeyPatch,
    mutate: Callable[[pytest.MonkeyPatch], None],
    version: str,
) -> None:
    """A diagnosis with one fact wrong is contradicted by the truth of some history, within so many."""
    machine = machine_of(version, places, Accidents)
    run = effort(an_effort(MUTANT), derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)
    run_state_machine_as_test(machine, settings=run)
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=run)
