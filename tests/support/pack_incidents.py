"""Packs folders of recorded incidents into tests/incidents/NAME.tar.xz, the same bytes each time.

python tests/support/pack_incidents.py INCIDENTS_FOLDER [NAME ...]
"""

from __future__ import annotations

import io
import lzma
import sys
import tarfile
from pathlib import Path
from typing import Final

OUT: Final = Path(__file__).resolve().parents[1] / "incidents"


def pack(folder: Path) -> bytes:
    """Return all files below `folder` as a tar.xz without times, owners or an order of the file system's."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
            content = path.read_bytes()
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    return lzma.compress(memory.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def main(arguments: list[str]) -> None:
    """Pack the named folders, or every folder that has an incident.json."""
    if not arguments:
        raise SystemExit(__doc__)
    source = Path(arguments[0])
    names = arguments[1:] or sorted(path.parent.name for path in source.glob("*/incident.json"))
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names:
        (OUT / f"{name}.tar.xz").write_bytes(pack(source / name))


if __name__ == "__main__":
    main(sys.argv[1:])
