"""Read files in a process of its own, since the library below Python may crash.

    python -m compat.security.hostile.worker

Each line that comes in is a path; each that goes out says how reading it ended: "read",
"refused", or what went wrong.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import subprocess
import sys
import warnings
from pathlib import Path
from types import TracebackType

from torch.nn.parameter import is_lazy

from compat.security.hostile.limited import status
from kerastorch import load_model
from kerastorch._core.errors import FileError
from kerastorch.saving.formats.open import open_weight_file

ROOM = 2 << 30  # bytes of addresses beyond those of a process that has read a file
LONGEST = 10_000  # characters of a message
SECONDS = 60.0  # far more than a mutated file takes


def has_config(path: Path) -> bool:
    """Read every array of a file, and tell whether it has a model's config, too."""
    with open_weight_file(path) as contents:
        for weight in (weight for layer in contents.layers for weight in layer.weights):
            found = weight.read()
            if (tuple(found.shape), str(found.dtype)) != (weight.shape, f"torch.{weight.dtype}"):
                raise TypeError(f"{weight.path} is not what its header says")
        return contents.config is not None


def load(path: Path) -> None:
    """Load a model; every parameter of it must have its value."""
    parameters = list(load_model(path).parameters())
    if any(is_lazy(parameter) or parameter.is_meta for parameter in parameters):
        raise TypeError("a parameter without a value")


def outcome(path: Path) -> str:
    """Return how reading a file ended, as a model where it has a config."""
    try:
        if has_config(path):
            load(path)
    except FileError as error:
        named = path.name in str(error) and len(str(error)) < LONGEST
        return "refused" if named else f"a poor message: {str(error)[:300]!r}"
    except Exception as error:
        return _told(error)
    return "read"


def _told(error: BaseException) -> str:
    """Return an error, and where it came from, in one line."""
    trace: TracebackType | None = error.__traceback__
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error)[:300]!r} at {' < '.join(reversed(places[-5:]))}"


def serve() -> None:
    """Answer paths until there are no more."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", UserWarning)  # what a caller is told of a file
    first = sys.stdin.readline().rstrip("\n")
    outcome(Path(first))
    size = status("VmSize") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    print("ready", flush=True)
    for line in sys.stdin:
        print(outcome(Path(line.rstrip("\n"))).replace("\n", " "), flush=True)


class Worker:
    """A process that reads files, started anew after it crashed or hung.

    Args:
        genuine: A file that is read first, so that all is imported.
    """

    def __init__(self, genuine: Path) -> None:
        self.genuine = genuine
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "compat.security.hostile.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "KERAS_BACKEND": "torch"},
            text=True,
        )
        self._ask(self.genuine)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.communicate()

    def _ask(self, path: Path) -> str:
        question, answer = self.process.stdin, self.process.stdout
        if question is None or answer is None:
            raise TypeError("no pipes")
        with contextlib.suppress(BrokenPipeError):
            print(path, file=question, flush=True)
        with selectors.DefaultSelector() as waiting:
            waiting.register(answer, selectors.EVENT_READ)
            return answer.readline().strip() if waiting.select(SECONDS) else "hung"

    def read(self, path: Path) -> str:
        """Return how reading a file ended: "read", "refused", or what went wrong."""
        said = self._ask(path)
        if said in ("", "hung"):
            self.close()
            code = self.process.returncode
            self._start()
            return said or f"crashed with {code}"
        return said


if __name__ == "__main__":
    serve()
