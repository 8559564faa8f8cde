"""The command `kerastorch`: inspect and convert files of Keras's, without Keras."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from .._core import arguments as arguments_module
from .._core.version import VERSION
from .convert import FORMATS, Conversion, convert
from .inspect_file import FileSummary, inspect
from .streams import flush_errors, is_terminal, print_error, print_output, reserve_descriptors

REFUSED, USAGE, DIFFERS, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 130, 141
BIG = 50_000_000  # bytes from which on a progress bar is shown
# How remedies name an argument -> how the command names it
_OPTIONS = {"with `weights=`": "with `--weights`"}
_REFUSALS = (OSError, ValueError, TypeError, ImportError, MemoryError, RuntimeError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code.

    It is 0 if all went well, 1 if a file is refused or the output cannot be written, 2 if the
    command is used wrongly, 3 if the numbers differ from the reference's, 130 if it is
    interrupted, and 141 if what reads the output stops. What `convert` writes is whole even where
    the report of it cannot be printed.

    Args:
        arguments: The command's arguments; by default those that Python was started with.
    """
    try:
        reserve_descriptors()
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # what read the output, such as `head`, has enough
        return PIPE_CLOSED
    except _REFUSALS as error:
        return _refused(_told(error), REFUSED)
    finally:
        flush_errors()


def _run(arguments: Sequence[str] | None) -> int:
    told = io.StringIO(), io.StringIO()  # argparse keeps silent where it cannot print
    try:
        with redirect_stdout(told[0]), redirect_stderr(told[1]):
            given = _parser().parse_args(arguments)
    except SystemExit as stopped:
        for text, show in zip(told, (print_output, print_error), strict=True):
            if text.getvalue():
                show(text.getvalue().removesuffix("\n"))
        return int(stopped.code or 0)
    code: int = given.run(given)
    return code


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
    looking.add_argument("file", type=_path, help="a .keras, .h5, .npz or .json file")
    looking.set_defaults(run=_inspect)
    converting = commands.add_parser(
        "convert",
        help="write a model's state dict",
        description="Load a model, check its numbers where a reference is recorded, and write its "
        "state dict. Exit codes: 1 refused, or the report cannot be printed; 2 usage; 3 the "
        "numbers differ.",
    )
    converting.add_argument("file", type=_path, help="a .keras or .h5 file of a whole model")
    converting.add_argument(
        "-o", "--output", type=_path, required=True, help=f"what to write: {' or '.join(FORMATS)}"
    )
    converting.add_argument("--weights", type=_path, help="where the weights are, if elsewhere")
    converting.add_argument(
        "--reference",
        type=_path,
        help="what compat/record_reference.py recorded; by default FILE's name with "
        ".reference.npz, where there is such a file",
    )
    converting.add_argument("--force", action="store_true", help="overwrite the output")
    converting.set_defaults(run=_convert)
    for command in (looking, converting):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be {arguments_module.PATH}")
    return Path(text)


def _inspect(given: argparse.Namespace) -> int:
    _show(inspect(given.file), given.json)
    return 0


def _convert(given: argparse.Namespace) -> int:
    if given.output.suffix not in FORMATS:
        return _refused(f"{given.output}: must end in {' or '.join(FORMATS)}.", USAGE)
    if given.output.is_dir():
        return _refused(f"{given.output}: is a directory. Name a file.", USAGE)
    if given.output.exists() and not given.force:
        return _refused(f"{given.output}: is there already. Use --force to replace it.", USAGE)
    quiet = given.json or not is_terminal(sys.stderr)
    with _progress(given.weights or given.file, quiet) as progress:
        conversion = convert(
            given.file,
            given.output,
            weights=given.weights,
            reference=given.reference,
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
    print_output(json.dumps(found.to_dict(), indent=1) if as_json else str(found))


def _refused(message: str, code: int) -> int:
    print_error(f"kerastorch: error: {message}")
    return code


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    told = str(error) or type(error).__name__
    for argument, option in _OPTIONS.items():
        told = told.replace(argument, option)
    return told
