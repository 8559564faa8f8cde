"""Write the golden texts beside this file, or the code of models of keras.applications.

KERAS_BACKEND=torch python -m compat.plain.write              # the golden texts
KERAS_BACKEND=torch python -m compat.plain.write NAME ...     # to the standard output
KERAS_BACKEND=torch python -m compat.plain.write --all        # prove all 40; a line each
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import kerastorch
from compat.models.applications import list_names, make

FOLDER = Path(__file__).parent
DIGITS = FOLDER.parent / "digits" / "digits.keras"
GOLDEN = ("digits", "ResNet50")
SIZE = 224


def load_application(name: str, size: int) -> Any:
    """Return a model of keras.applications with random weights, by way of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.keras")
        make(name, size).save(path)
        return kerastorch.load_model(path)


def write_text(name: str, size: int = SIZE, **options: Any) -> Any:
    """Return the code of the digits model or of a model of keras.applications."""
    model = kerastorch.load_model(DIGITS) if name == "digits" else load_application(name, size)
    return kerastorch.to_source(model, **options)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--size", type=int, default=SIZE)
    given = parser.parse_args()
    if given.all:
        for name in list_names():
            found = write_text(name, given.size)
            print(f"{name:20} {found.text.count(chr(10)):5} lines. {found.proof}", flush=True)
    elif given.names:
        for name in given.names:
            print(write_text(name, given.size))
    else:
        for name in GOLDEN:
            (FOLDER / f"{name.lower()}.py").write_text(write_text(name).text, encoding="utf-8")


if __name__ == "__main__":
    main()
