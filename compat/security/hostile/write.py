"""Write harmless files that do what hostile model files do.

    python -m compat.security.hostile.write DIRECTORY

Each file of the table reproduces a published issue of Keras, or a weakness without one, with a
harmless effect: it would make a directory `outside/touched`, read `outside/secret`, or take far
more time or memory than its size warrants.
"""

from __future__ import annotations

import sys
from pathlib import Path

from compat.security.hostile import archives, arrays, configs, hdf5
from compat.security.hostile.parts import GENUINE, Case, Place, prepare
from compat.security.hostile.tensorflow import (
    entries,
    files,
    layers_models,
    objects,
    saved_models,
    tables,
)

KERAS = (configs, hdf5, archives, arrays)
TENSORFLOW = (tables, entries, files, objects, saved_models, layers_models)
HOSTILE: dict[str, Case] = {
    case.name: case for module in (*KERAS, *TENSORFLOW) for case in module.CASES
}


def write(name: str, folder: Path) -> Place:
    """Write one file or directory, hostile or genuine, and what it is after beside it.

    Args:
        name: Its name in the table.
        folder: Where it goes; `outside` is made there too.

    Returns:
        Where it is, and where the outside is.
    """
    outside = folder / "outside"
    prepare(outside)
    place = Place(folder / "inside" / name, outside)
    place.path.parent.mkdir(exist_ok=True)
    (HOSTILE[name].write if name in HOSTILE else GENUINE[name])(place)
    return place


def main(folder: str) -> None:
    """Write all files and tell what each of them is."""
    for case in HOSTILE.values():
        write(case.name, Path(folder))
        print(f"{case.name:36} {case.issue:22} {case.effect}")


if __name__ == "__main__":
    main(sys.argv[1])
