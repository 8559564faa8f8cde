"""Interleaved timing of several ways to do the same thing, in one process.

Machines are noisy: frequencies, caches and neighbours change within seconds. So the ways are never
timed one after the other. They all run in every round, in random order, and only times of the same
round are divided by each other; the median of these ratios is reported with its quartiles.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Call = Callable[[], object]
Timer = Callable[[Call, int], float]  # (call, repeats) -> seconds that all repeats took

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}

# A sample shorter than this says more about the clock than about the call.
SAMPLE_SECONDS = 0.002


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:6.3f} [{self.low:.2f} {self.high:.2f}]"


@dataclass(frozen=True)
class Rounds:
    """Seconds a call takes, for each way and each round."""

    seconds: Mapping[str, Sequence[float]]

    @property
    def count(self) -> int:
        return len(next(iter(self.seconds.values())))

    def milliseconds(self, name: str) -> float:
        return 1e3 * statistics.median(self.seconds[name])

    def ratio(self, name: str, base: str) -> Spread:
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        low, median, high = statistics.quantiles([a / b for a, b in pairs], method="inclusive")
        return Spread(median, low, high)


def host_timer(clock: Callable[[], float]) -> Timer:
    def measure(call: Call, repeats: int) -> float:
        start = clock()
        for _ in itertools.repeat(None, repeats):
            call()
        return clock() - start

    return measure


def cuda_timer() -> Timer:
    """Time on the device's own stream, from before the first launch to after the last kernel."""
    start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def measure(call: Call, repeats: int) -> float:
        torch.cuda.synchronize()
        start.record()
        for _ in itertools.repeat(None, repeats):
            call()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    return measure


def keep_freed_memory() -> bool:
    """Make glibc keep the memory that is freed; False where another C library is in use.

    Otherwise a large tensor is mapped anew or not, page by page, depending on what was freed
    before, and equal code takes between 0.7 and 1.3 times as long.
    """
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(trim_threshold, -1) and mallopt(mmap_max, 0))


def interleave(ways: Mapping[str, Call], timer: Timer, budget: float, fewest: int) -> Rounds:
    """Time all `ways` in every round, for `budget` seconds of the timer's clock.

    Slow calls get the `fewest` rounds and take longer. The garbage collector runs between rounds,
    never within a sample.
    """
    repeats = {}
    round_seconds = 0.0
    for call in ways.values():
        call()  # starts threads and fills caches: it would give the first way a shorter sample
    for name, call in ways.items():
        repeats[name], seconds = _repeats_for_a_sample(call, timer)
        round_seconds += seconds
    rounds = max(int(budget / round_seconds), fewest)

    order = list(ways)
    shuffle = random.Random(0).shuffle
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        shuffle(order)
        for name in order:
            samples[name].append(timer(ways[name], repeats[name]) / repeats[name])
        gc.enable()
    return Rounds(samples)


def _repeats_for_a_sample(call: Call, timer: Timer) -> tuple[int, float]:
    repeats = 1
    while (seconds := timer(call, repeats)) < SAMPLE_SECONDS:
        repeats = max(2 * repeats, int(repeats * SAMPLE_SECONDS / max(seconds, 1e-9)))
    return repeats, seconds
