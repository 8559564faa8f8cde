"""The standard streams, which may be closed, full, broken pipes or not files."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

OUTPUT = "standard output"


def reserve_descriptors() -> None:
    """Point closed standard descriptors at the null device.

    Otherwise a file opened later gets their numbers, and C libraries print into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def print_output(text: str) -> None:
    """Print to stdout; raise BrokenPipeError, or an OSError that names standard output."""
    stream = sys.stdout
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), OUTPUT)
    try:
        print(_escape(text, stream), file=stream, flush=True)
    except BrokenPipeError:
        _drop_pending(stream)
        raise
    except OSError as error:
        _drop_pending(stream)
        raise OSError(error.errno, error.strerror or str(error), OUTPUT) from error
    except ValueError as error:  # Python's file object is closed
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), OUTPUT) from error


def print_error(text: str) -> None:
    """Print to stderr, ignoring failures."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(_escape(text, sys.stderr), file=sys.stderr)


def flush_errors() -> None:
    """Flush stderr, or drop its buffer: Python would exit with code 120."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            _drop_pending(sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is open and a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _escape(text: str, stream: TextIO) -> str:
    """Escape characters that the stream cannot encode or a terminal interprets."""
    shown = "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _drop_pending(stream: TextIO) -> None:
    """Flush a stream to the null device, since Python flushes it again at exit."""
    with suppress(AttributeError, OSError, ValueError):  # a stream without a descriptor
        descriptor = stream.fileno()
        kept, null = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        with suppress(OSError, ValueError):
            stream.flush()
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(null)
