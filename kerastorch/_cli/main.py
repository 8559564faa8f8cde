"""The command `kerastorch`: inspect and convert Keras files, without Keras."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from .._core import arguments as arguments_module
from .._core.version import VERSION
from ..plain.api import LAYOUTS
from ..plain.proof.comparison import ProofError
from .convert import FORMATS, Conversion, convert
from .inspect_file import FileSummary, inspect
from .streams import flush_errors, is_terminal, print_error, print_output, reserve_descriptors
from .write_code import CODE, WrittenCode, write_code

REFUSED, USAGE, DIFFERS, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 130, 141
BIG = 50_000_000  # bytes; larger files get a progress bar
_SUFFIXES = f"{' or '.join(FORMATS)} for a state dict, {CODE} for PyTorch code"
_OF_CODE = ("layout", "inference", "flat", "class_name", "weights_format")  # options
_REFUSALS = (OSError, ValueError, TypeError, ImportError, MemoryError, RuntimeError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, by default `sys.argv[1:]`, and return its exit code.

    The code is 0 on success, 1 if a file is refused or the output cannot be written, 2 for wrong
    usage, 3 if the values differ from the reference or the code from the model, 130 if interrupted,
    and 141 if the reader of the output stops. `convert` completes its files even if its report
    cannot be printed.
    """
    try:
        reserve_descriptors()
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has stopped
        return PIPE_CLOSED
    except _REFUSALS as error:
        return _report_error(_describe_error(error), REFUSED)
    finally:
        flush_errors()


def _run(arguments: Sequence[str] | None) -> int:
    output, errors = io.StringIO(), io.StringIO()  # argparse ignores errors of printing
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            given = _make_parser().parse_args(arguments)
    except SystemExit as stopped:
        for text, show in ((output, print_output), (errors, print_error)):
            if text.getvalue():
                show(text.getvalue().removesuffix("\n"))
        return int(stopped.code or 0)
    if given.command == "convert":
        return _convert(given)
    _show(inspect(given.file), given.json)
    return 0


def _make_parser() -> argparse.ArgumentParser:
    text = "Load Keras models in PyTorch, without Keras."
    parser = argparse.ArgumentParser(prog="kerastorch", description=text)
    parser.add_argument("--version", action="version", version=f"kerastorch {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "Show what a Keras file holds, without reading its arrays."
    inspecting = commands.add_parser("inspect", help="show what a file holds", description=text)
    inspecting.add_argument("file", type=_path, help="a .keras, .h5, .npz or .json file")
    text = (
        "Load a model, compare it with a recorded reference if there is one, and write its state "
        "dict, or its PyTorch code with the state dict beside it. Exit codes: 1 refused, or the "
        "report cannot be printed; 2 usage; 3 the values differ."
    )
    about = "write a model's state dict or PyTorch code"
    converting = commands.add_parser("convert", help=about, description=text)
    converting.add_argument("file", type=_path, help="a .keras or .h5 file of a complete model")
    converting.add_argument(
        "-o", "--output", type=_path, required=True, help=f"what to write: {_SUFFIXES}"
    )
    converting.add_argument("--weights", type=_path, help="the file of the weights, if not FILE")
    text = (
        "a recording of compat/record_reference.py; by default FILE's name with .reference.npz, if "
        "there is such a file"
    )
    converting.add_argument("--reference", type=_path, help=text)
    converting.add_argument("--force", action="store_true", help="overwrite the output")
    code = converting.add_argument_group(f"options of a {CODE} output")
    text = "how images are passed: channels_last as in Keras (the default), channels_first"
    code.add_argument("--layout", choices=LAYOUTS, help=text)
    text = "fold batch normalization, without dropout: for evaluation alone"
    code.add_argument("--inference", action="store_true", default=None, help=text)
    text = "one class, without classes for repeated blocks"
    code.add_argument("--flat", action="store_true", default=None, help=text)
    code.add_argument("--class-name", help="the name of the class, by default the model's")
    text = "the format of the weights beside the code: safetensors (the default) or pt"
    code.add_argument("--weights-format", choices=("safetensors", "pt"), help=text)
    for command in (inspecting, converting):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be {arguments_module.PATH_RULE}")
    return Path(text)


def _convert(given: argparse.Namespace) -> int:
    is_code = given.output.suffix == CODE
    if not is_code and given.output.suffix not in FORMATS:
        return _report_error(f"{given.output}: must end in {_SUFFIXES}.", USAGE)
    for option in _OF_CODE:
        if not is_code and getattr(given, option) is not None:
            name = option.replace("_", "-")
            return _report_error(f"--{name}: only code has it. Write to a {CODE} file.", USAGE)
    outputs = [given.output]
    if is_code:
        outputs.append(given.output.with_suffix(f".{given.weights_format or 'safetensors'}"))
    for output in outputs:
        if output.is_dir():
            return _report_error(f"{output}: is a directory. Name a file.", USAGE)
        if output.exists() and not given.force:
            return _report_error(f"{output}: already exists. Use --force to replace it.", USAGE)
    quiet = given.json or not is_terminal(sys.stderr)
    conversion: Conversion | WrittenCode
    with _open_progress_bar(given.weights or given.file, quiet) as bar:
        progress = None if bar is None else bar.update
        files = given.file, given.output, given.weights, given.reference, progress
        try:
            if is_code:
                options = _list_code_options(given)
                suffix = outputs[1].suffix
                conversion = write_code(*files, weights_suffix=suffix, options=options)
            else:
                conversion = convert(*files)
        except ProofError as error:
            return _report_error(f"{error} Nothing was written.", DIFFERS)
    _show(conversion, given.json)
    if not conversion.written:
        return _report_error(f"{given.file}: the values differ from the reference.", DIFFERS)
    return 0


def _list_code_options(given: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `to_source` that the command line gives."""
    names = {"layout": "layout", "class_name": "class_name", "inference": "inference"}
    options = {own: getattr(given, name) for own, name in names.items()}
    options["blocks"] = False if given.flat else None
    return {name: value for name, value in options.items() if value is not None}


def _open_progress_bar(path: Path, quiet: bool) -> Any:
    """Return a progress bar on stderr for reading a large file, or a context of None."""
    size = path.stat().st_size if path.is_file() else 0
    if not quiet and size >= BIG:
        with suppress(ImportError):  # tqdm is optional
            from tqdm import tqdm

            return tqdm(total=size, unit="B", unit_scale=True, desc=path.name, file=sys.stderr)
    return nullcontext()


def _show(found: FileSummary | Conversion | WrittenCode, as_json: bool) -> None:
    print_output(json.dumps(found.to_dict(), indent=1) if as_json else str(found))


def _report_error(message: str, code: int) -> int:
    print_error(f"kerastorch: error: {message}")
    return code


def _describe_error(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    message = str(error) or type(error).__name__
    return message.replace("with `weights=`", "with `--weights`")  # as the command has it
