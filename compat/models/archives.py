"""The archives of the files of each writer."""

from __future__ import annotations

import tarfile
from pathlib import Path

ARCHIVES = Path(__file__).parents[1] / "files" / "writers"


def unpack(writer: str, folder: Path, prefix: str = "") -> None:
    """Write a writer's files whose names begin with a prefix into a folder.

    By hand, since `extractall` needs another `filter` in each Python from 3.10 to 3.14.
    """
    with tarfile.open(ARCHIVES / f"{writer}.tar.xz") as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if content is not None and member.name.startswith(prefix):
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
