"""Owns a process of its own that applies the plans of a file, for tests in which it meets another one or is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from listmonk_doctor.repair import planfile
from tests.support.repairing import connect, write

if TYPE_CHECKING:
    from listmonk_doctor.database.connection import Connection
    from listmonk_doctor.repair.plan import Plan


def start(dsn: str, plan_file: Path, *, pause: float = 0.0, undo_out: Path | None = None) -> subprocess.Popen[str]:
    """Start the process; it says `writing` on stdout, rests for `pause` seconds, writes, and says what became of it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.repair_child", dsn, plan_file, str(pause), str(undo_out or "")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
    )


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(dsn: str, plan_file: str, pause: str, undo_out: str) -> None:
    """Apply the plans."""

    def rest(_conn: Connection, _plan: Plan) -> None:
        say("writing")
        time.sleep(float(pause))

    result = write(
        connect(dsn), *planfile.read(Path(plan_file)), check_server=rest, undo_out=Path(undo_out) if undo_out else None
    )
    for each in result.campaigns:
        say("applied" if each.applied else each.refused)


if __name__ == "__main__":
    main(*sys.argv[1:])
