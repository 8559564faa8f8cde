"""Two processes that talk by gloo, kept alive from one test to the next."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from torch import distributed

RANKS = 2
TIMEOUT = 90.0  # seconds until a hang is a failure
HARMLESS = (
    ".*returned a view tensor",  # told of every block that ends in a permuted output
    "Grad strides do not match bucket view strides",  # of 1x1 kernels in channels_last
)


class Pair:
    """Runs functions of this package on two ranks at once; use it as a context."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self._ends: dict[Connection, Any] = {}

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function on both ranks; raise what one of them raises, or where one hangs."""
        if not self._ends:
            self._start()
        for connection in self._ends:
            connection.send((function, arguments))
        waiting, found = list(self._ends), []
        deadline = time.monotonic() + self.timeout
        while waiting and (left := deadline - time.monotonic()) > 0:
            for connection in wait(waiting, left):
                waiting.remove(connection)
                try:
                    wrong = connection.recv()
                except (EOFError, OSError):
                    wrong = "A process died."
                if wrong:
                    found.append(wrong)
                    deadline = min(deadline, time.monotonic() + 1)  # the other may wait for it
        if waiting or found:
            self._end()
            raise AssertionError("\n".join(found) or "It hangs.")

    def _start(self) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="meeting-")
        meeting = Path(self._folder.name) / "store"
        for rank in range(RANKS):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, str(meeting), theirs), daemon=True)
            process.start()
            theirs.close()
            self._ends[ours] = process

    def _end(self) -> None:
        for connection, process in self._ends.items():
            connection.close()
            process.kill()
            process.join()
        if self._ends:
            self._folder.cleanup()
        self._ends = {}


def _serve(rank: int, meeting: str, connection: Connection) -> None:
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # no network is needed
    torch.set_num_threads(1)
    method = f"file://{meeting}"
    distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=RANKS)
    while True:
        try:
            function, arguments = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # to leave the process group would wait for the other one
        torch.manual_seed(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for message in HARMLESS:
                    warnings.filterwarnings("ignore", message)
                function(*arguments)
            connection.send(None)
        except BaseException:
            connection.send(f"Rank {rank}: {traceback.format_exc()}")
