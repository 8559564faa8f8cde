"""Every way to read a file, watched: what it gives, and what the process does meanwhile."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kerastorch import load_model, load_weights
from kerastorch.layers import Conv2D
from kerastorch.saving.formats.open import open_weight_file

SECONDS = 60  # far more than any file takes; only what hangs gets there
HARMLESS = {
    "builtins.id",
    "compile",  # `ast.literal_eval` of a header; code that runs shows as "exec", too
    "object.__getattr__",
    "object.__setattr__",  # of an unbuilt layer's parameters, which change their class
    "os.listdir",
    "os.scandir",
    "sys._getframe",
}


class TooLong(BaseException):
    """A file took longer than any file may; no handler of errors takes it for one."""


def _arrays(path: Path) -> list[Tensor]:
    with open_weight_file(path) as contents:
        return [weight.read() for layer in contents.layers for weight in layer.weights]


def _weights(path: Path) -> list[Tensor]:
    layer = Conv2D(2, 3, input_shape=(5, 7, 3))
    before = [value.clone() for value in layer.parameters()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a config that was not used
            load_weights(layer, path)
    except Exception:
        for parameter, value in zip(layer.parameters(), before, strict=True):
            if not torch.equal(parameter, value):
                raise TypeError("a refused file changed the module") from None
        raise
    return [torch.from_numpy(array) for array in layer.get_weights()]


def _model(path: Path) -> list[Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ends of lines that were changed
        model = load_model(path)
    return [value.detach() for value in model.state_dict().values()]


READERS: dict[str, Callable[[Path], list[Tensor]]] = {
    "load_weights": _weights,
    "load_model": _model,
}
ARRAYS: dict[str, Callable[[Path], list[Tensor]]] = {"open_weight_file": _arrays}

_events: list[tuple[str, tuple[Any, ...]]] | None = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _events is not None and event not in HARMLESS:
        _events.append((event, arguments))


@contextmanager
def watched() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Yield the list to which every event that Python audits is added meanwhile."""
    global _events
    if not getattr(watched, "installed", False):
        sys.addaudithook(_hook)  # there is no way to remove one
        watched.installed = True  # type: ignore[attr-defined]
    _events = []
    try:
        yield _events
    finally:
        _events = None


@contextmanager
def in_time() -> Iterator[None]:
    """Raise `TooLong` where it takes too long, and end the process where that does not help."""

    def stop(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(2 * SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def unexpected(
    events: list[tuple[str, tuple[Any, ...]]], inside: Path
) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the events other than reading what is inside."""

    def expected(event: str, arguments: tuple[Any, ...]) -> bool:
        if event != "open":
            return False
        path, mode, _ = arguments
        found = os.path.realpath(str(path))  # what links and ".." lead to
        return Path(found).is_relative_to(within) and re.fullmatch("rb?", mode or "r")

    within = os.path.realpath(inside)

    return [(event, arguments) for event, arguments in events if not expected(event, arguments)]
