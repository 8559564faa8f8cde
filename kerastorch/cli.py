"""The command `kerastorch`: inspect and convert files of Keras's, without Keras."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ._convert import FORMATS, Conversion, convert
from ._inspect import FileSummary, inspect
from ._version import VERSION

REFUSED, USAGE, DIFFERS, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 130, 141
BIG = 50_000_000  # bytes from which on a progress bar is shown
# How remedies name an argument -> how the command names it
_OPTIONS = {"Pass pickles=True:": "Pass --pickles:", "with `weights=`": "with `--weights`"}
_REFUSALS = (OSError, ValueError, TypeError, ImportError, MemoryError, RuntimeError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code.

    It is 0 if all went well, 1 if a file is refused, 2 if the command is used wrongly, and 3 if
    the numbers differ from the reference's.

    Args:
        arguments: The command's arguments; by default those that Python was started with.
    """
    try:
        given = _parser().parse_args(arguments)
    except SystemExit as stopped:  # argparse has said why
        return int(stopped.code or 0)
    try:
        code: int = given.run(given)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # what read the output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except _REFUSALS as error:
        return _refused(_told(error), REFUSED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kerastorch", description="Take models of Keras to PyTorch, without Keras."
    )
    parser.add_argument("--version", action="version", version=f"kerastorch {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    looking = commands.add_parser(
        "inspect",
        help="show what a file holds",
        description="Show what a file of Keras's holds, without reading its arrays.",
    )
    looking.add_argument("file", type=Path, help="a .keras, .h5, .npz or .json file")
    looking.set_defaults(run=_inspect)
    converting = commands.add_parser(
        "convert",
        help="write a model's state dict",
        description="Load a model, check its numbers where a reference is recorded, and write its "
        "state dict. Exit codes: 1 refused, 2 usage, 3 the numbers differ.",
    )
    converting.add_argument("file", type=Path, help="a .keras or .h5 file of a whole model")
    converting.add_argument(
        "-o", "--output", type=Path, required=True, help=f"what to write: {' or '.join(FORMATS)}"
    )
    converting.add_argument("--weights", type=Path, help="where the weights are, if elsewhere")
    converting.add_argument(
        "--reference",
        type=Path,
        help="what compat/record_reference.py recorded; by default FILE's name with "
        ".reference.npz, where there is such a file",
    )
    converting.add_argument("--force", action="store_true", help="overwrite the output")
    converting.set_defaults(run=_convert)
    for command in (looking, converting):
        command.add_argument(
            "--pickles",
            action="store_true",
            help="read arrays in pickles; nothing in them is called",
        )
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _inspect(given: argparse.Namespace) -> int:
    _show(inspect(given.file, pickles=given.pickles), given.json)
    return 0


def _convert(given: argparse.Namespace) -> int:
    if given.output.suffix not in FORMATS:
        return _refused(f"{given.output}: must end in {' or '.join(FORMATS)}.", USAGE)
    if given.output.is_dir():
        return _refused(f"{given.output}: is a directory. Name a file.", USAGE)
    if given.output.exists() and not given.force:
        return _refused(f"{given.output}: is there already. Use --force to replace it.", USAGE)
    quiet = given.json or not sys.stderr.isatty()
    with _progress(given.weights or given.file, quiet) as progress:
        conversion = convert(
            given.file,
            given.output,
            weights=given.weights,
            reference=given.reference,
            pickles=given.pickles,
            progress=progress,
        )
    _show(conversion, given.json)
    if not conversion.written:
        return _refused(f"{given.file}: the numbers differ from the reference's.", DIFFERS)
    return 0


@contextmanager
def _progress(path: Path, quiet: bool) -> Iterator[Callable[[int], object] | None]:
    """Show a bar on stderr while a big file is read."""
    size = path.stat().st_size if path.is_file() else 0
    if quiet or size < BIG:
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError:  # it is a convenience only
        yield None
        return
    with tqdm(total=size, unit="B", unit_scale=True, desc=path.name, file=sys.stderr) as bar:
        yield bar.update


def _show(found: FileSummary | Conversion, as_json: bool) -> None:
    text = json.dumps(found.to_dict(), indent=1) if as_json else str(found)
    _print(text, sys.stdout)


def _refused(message: str, code: int) -> int:
    _print(f"kerastorch: error: {message}", sys.stderr)
    return code


def _print(text: str, stream: TextIO) -> None:
    """Print text with all escaped that a terminal, to which a file has nothing to say, acts on."""
    shown = "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )
    encoding = stream.encoding or "utf-8"
    print(shown.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    told = str(error) or type(error).__name__
    for argument, option in _OPTIONS.items():
        told = told.replace(argument, option)
    return told
