"""Read files where memory is scarce, and tell which of them take more than they may.

python -m compat.security.hostile.limited DIRECTORY NAME ...
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from compat.security.hostile.parts import GENUINE
from compat.security.hostile.reading import READERS, in_time
from compat.security.hostile.write import HOSTILE, write
from kerastorch._core.errors import FileError

FREE = 48 << 20  # bytes that any file may take
RATIO = 40  # and bytes for each of the file's; lists of Python's take most
ROOM = 1 << 30  # bytes of addresses beyond those in use


def status(key: str) -> int:
    """Return one of the process's sizes in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def peak(path: Path, reader: str) -> int:
    """Return how many bytes of memory a reader took at most."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS")
    try:
        with in_time():
            READERS[reader](path)
    except FileError:
        pass
    return status("VmHWM") - before


def count_bytes(path: Path) -> int:
    """Return the size of a file, of a directory's files, or of the files that share a prefix."""
    beside = path.parent.glob(f"{path.name}*")
    paths = [path, *path.rglob("*")] if path.is_dir() else list(beside)
    return sum(found.lstat().st_size for found in paths if not found.is_dir())


def main(folder: Path, names: list[str]) -> None:
    for name in GENUINE:
        for reader in READERS:
            peak(write(name, folder).path, reader)  # what is imported and cached stays out
    size = status("VmSize") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    for name in names:
        path = folder / "inside" / name
        taken = peak(
            path, "load_model" if HOSTILE[name].refused == "as a model" else "load_weights"
        )
        allowed = FREE + RATIO * count_bytes(path)
        print("GREEDY" if taken > allowed else "ok", name, taken, allowed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
