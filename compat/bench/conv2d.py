"""How fast is `kerastorch.layers.Conv2D`?

    python compat/bench/conv2d.py                            # everything, 10 to 15 minutes
    python compat/bench/conv2d.py --quick                    # a smoke test, under a minute
    python compat/bench/conv2d.py --only "MobileNetV2 112x112x96" --seconds 10
    OMP_WAIT_POLICY=PASSIVE python compat/bench/conv2d.py --threads 2

What is measured: inference (forward under `torch.no_grad`) and a train step (forward, then backward
from a gradient that is already there, to weight and bias, and to the inputs unless they are an
image) of single float32 layers, on the convolutions of ResNet-50, VGG-16, MobileNetV2 and
EfficientNet-B0 at 224 x 224, with a relu, at batch 1 and 8, and on a tiny input where nothing but
the overhead of Python counts.

Against what:

- `conv`: a module that holds `nn.Conv2d` in channels_last memory, permutes the NHWC tensor to a
  view, convolves with the padding of the convolution itself, applies `relu_`, and permutes back;
- `F.pad + conv`: the same where "same" needs more zeros after than before, which no convolution
  of PyTorch does itself;
- `nn.Conv2d`: the bare module, on a view that is already permuted (tiny input only);
- `keras`: `keras.layers.Conv2D` on its torch backend, where Keras is installed.

Each row is the median of the ratios within single rounds, with their quartiles. The largest of
hundreds of noisy rows is mostly noise: one that misses the bar for single shapes is timed again,
without Keras, for three times as long; the second figure counts, and the first is shown behind it.

All share weights and data, and are checked to agree before they are timed; if they do not, the
program says so and exits with 1. Times decide nothing: a missed bar exits with 0.

The clock is the CPU time of the process by default, so that other programs do not count; for two
threads this is their total work, and their waiting too unless OMP_WAIT_POLICY is PASSIVE. glibc is
told to keep freed memory, as MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1 would tell it: otherwise
it maps large tensors anew at each call, and which variant pays for that is chance.
`--malloc system` leaves it alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import geometric_mean
from types import ModuleType

import torch
from shapes import NETWORKS, TINY, Shape
from timing import CLOCKS, Spread, Timer, cuda_timer, host_timer, interleave, keep_freed_memory
from variants import (
    Case,
    Disagreement,
    Variant,
    bare,
    check_agreement,
    hand_written,
    import_keras,
    keras_layer,
    ours,
)

FEWEST_ROUNDS, QUICK_ROUNDS = 7, 3
TINY_NETWORK = "tiny"
TINY_SECONDS = 5.0  # the nearest bar is here, and a round is short
SINGLE_SHAPE_BAR = 1.08

ROW = "{:16}{:33}{:>2} {:8}{:13}{:>4}{:>10}  {:19} {:19} {}"


@dataclass(frozen=True)
class Question:
    """One shape at one batch size, which is timed for inference and for training."""

    network: str
    shape: Shape
    batch: int
    relu: bool = True

    def __str__(self) -> str:
        return f"{self.network} {self.shape} b{self.batch}"


@dataclass(frozen=True)
class Effort:
    """How long to time a row."""

    seconds: float
    fewest_rounds: int

    @classmethod
    def of(cls, question: Question, options: argparse.Namespace) -> Effort:
        if options.quick:
            return cls(options.seconds / 5, QUICK_ROUNDS)
        tiny = question.network == TINY_NETWORK
        return cls(max(options.seconds, TINY_SECONDS * tiny), FEWEST_ROUNDS)

    def times(self, factor: int) -> Effort:
        return Effort(self.seconds * factor, self.fewest_rounds * factor)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    network: str
    shape: str
    depthwise: bool
    batch: int
    mode: str
    base: str
    rounds: int
    base_ms: float
    ours_to_base: Spread
    keras_to_ours: Spread | None
    first_try: float | None = None

    def __str__(self) -> str:
        keras = "-" if self.keras_to_ours is None else str(self.keras_to_ours)
        milliseconds = f"{self.base_ms:.4f}"
        first = "" if self.first_try is None else f"{self.first_try:.3f}"
        return ROW.format(
            self.network,
            self.shape,
            self.batch,
            self.mode,
            self.base,
            self.rounds,
            milliseconds,
            str(self.ours_to_base),
            keras,
            first,
        ).rstrip()


@dataclass(frozen=True)
class Verdict:
    """One figure of the summary, and the bar it is held against."""

    what: str
    figure: float | None
    bar: float
    larger_is_better: bool = False

    def __str__(self) -> str:
        sign = ">=" if self.larger_is_better else "<="
        if self.figure is None:
            return f"{self.what:78} not measured (bar {sign} {self.bar:.2f})"
        met = self.figure >= self.bar if self.larger_is_better else self.figure <= self.bar
        word = "ok" if met else "missed"
        return f"{self.what:78} {self.figure:6.3f} {sign} {self.bar:.2f}  {word}"


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False
    memory_is_kept = options.malloc == "keep" and keep_freed_memory()
    keras = import_keras(options.device)
    timer = cuda_timer() if options.device == "cuda" else host_timer(CLOCKS[options.clock])
    gc.freeze()

    facts = header(options, keras, memory_is_kept)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n")
    columns = ("network", "shape", "b", "pass", "base", "n", "base ms")
    print(ROW.format(*columns, "kerastorch/base", "keras/kerastorch", "first"))
    rows = []
    started = time.perf_counter()
    try:
        for question in select_questions(options.quick, options.only):
            for row in answer(question, keras, timer, options):
                print(row, flush=True)
                rows.append(row)
    except Disagreement as error:
        sys.exit(f"numbers disagree: {error}")

    verdicts = summarize(rows)
    print(f"\nsummary, after {time.perf_counter() - started:.0f} s")
    print("\n".join(map(str, verdicts)))
    if options.json is not None:
        report = {
            "header": facts,
            "rows": [asdict(row) for row in rows],
            "summary": [asdict(verdict) for verdict in verdicts],
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time kerastorch.layers.Conv2D.")
    add = parser.add_argument
    add("--quick", action="store_true", help="few shapes, batch 1, few rounds")
    add("--only", metavar="TEXT", default="", help="rows whose 'network shape bN' has TEXT in it")
    add("--seconds", type=float, default=1.0, help="time per row (default: %(default)s)")
    add("--threads", type=int, default=1, help="default: %(default)s")
    add("--clock", choices=CLOCKS, default="cpu", help="default: %(default)s; not used for cuda")
    add("--malloc", choices=("keep", "system"), default="keep", help="default: %(default)s")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE too")
    return parser.parse_args()


def header(
    options: argparse.Namespace, keras: ModuleType | None, memory_is_kept: bool
) -> dict[str, str]:
    prefixes = ("THP_MEM_ALLOC_ENABLE", "MALLOC_", "OMP_", "LD_PRELOAD")
    settings = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(prefixes)]
    on_cuda = options.device == "cuda"
    return {
        "torch": torch.__version__,
        "keras": "not installed, its column is empty" if keras is None else keras.__version__,
        "device": torch.cuda.get_device_name() if on_cuda else cpu_model(),
        "threads": str(options.threads),
        "clock": "cuda events" if on_cuda else options.clock,
        "freed memory": "kept" if memory_is_kept else "left to the C library",
        "environment": " ".join(settings) or "no setting of malloc or OpenMP",
        "bases": "conv and F.pad + conv, written by hand around nn.Conv2d in channels_last memory; "
        "nn.Conv2d, the bare module on a view already permuted",
        "ratios": "median [quartiles] over n rounds; below 1, kerastorch is faster than the base",
    }


def cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def select_questions(quick: bool, only: str) -> list[Question]:
    questions = [Question(TINY_NETWORK, TINY, 1, relu=False), Question(TINY_NETWORK, TINY, 1)]
    for network, shapes in NETWORKS.items():
        chosen = shapes[::4] if quick else shapes
        batches = (1,) if quick else (1, 8)
        questions += [Question(network, shape, batch) for shape in chosen for batch in batches]
    return [question for question in questions if only.lower() in str(question).lower()]


def answer(
    question: Question, keras: ModuleType | None, timer: Timer, options: argparse.Namespace
) -> Iterator[Row]:
    case = Case.random(question.shape, question.batch, question.relu, options.device)
    base = hand_written(case) if question.relu else bare(case)
    variants = [ours(case), base]
    if keras is not None:
        variants.append(keras_layer(case, keras))
    check_agreement(case, variants)
    effort = Effort.of(question, options)
    for mode in ("forward", "train"):
        with torch.set_grad_enabled(mode == "train"):
            row = _time(question, mode, variants, timer, effort)
            if row.network != TINY_NETWORK and row.ours_to_base.median > SINGLE_SHAPE_BAR:
                again = _time(question, mode, variants[:2], timer, effort.times(3))
                row = replace(
                    again, keras_to_ours=row.keras_to_ours, first_try=row.ours_to_base.median
                )
        yield row


def _time(
    question: Question, mode: str, variants: list[Variant], timer: Timer, effort: Effort
) -> Row:
    ours, base, *others = (variant.name for variant in variants)
    calls = {variant.name: _call(variant, mode) for variant in variants}
    rounds = interleave(calls, timer, effort.seconds, effort.fewest_rounds)
    return Row(
        question.network,
        str(question.shape),
        question.shape.groups > 1,
        question.batch,
        mode,
        base,
        rounds.count,
        rounds.milliseconds(base),
        rounds.ratio(ours, base),
        rounds.ratio(others[0], ours) if others else None,
    )


def _call(variant: Variant, mode: str) -> Callable[[], None]:
    return variant.forward if mode == "forward" else variant.train


def summarize(rows: list[Row]) -> list[Verdict]:
    tiny = [row for row in rows if row.base == "nn.Conv2d"]
    layers = [row for row in rows if row.network != TINY_NETWORK]
    forward = [row for row in layers if row.mode == "forward"]
    train = [row for row in layers if row.mode == "train"]
    padded = [row for row in forward if row.depthwise and row.base == "F.pad + conv"]
    slowest = max(layers, key=lambda row: row.ours_to_base.median, default=None)
    slowest_ratio = None if slowest is None else slowest.ours_to_base.median
    name = "" if slowest is None else f": {slowest.shape} b{slowest.batch} {slowest.mode}"
    return [
        Verdict("tiny input, forward / nn.Conv2d on a permuted view", _ours(tiny[:1]), 1.05),
        Verdict("forward / hand-written, geometric mean", _ours(forward), 0.97),
        Verdict("train / hand-written, geometric mean", _ours(train), 1.00),
        Verdict(f"largest single shape{name}", slowest_ratio, SINGLE_SHAPE_BAR),
        Verdict('depthwise strided "same" forward / F.pad + conv, mean', _ours(padded), 0.65),
        Verdict("keras forward / kerastorch, geometric mean", _keras(forward), 3.0, True),
        Verdict("keras train / kerastorch, geometric mean", _keras(train), 1.8, True),
    ]


def _ours(rows: Iterable[Row]) -> float | None:
    return _mean(row.ours_to_base.median for row in rows)


def _keras(rows: Iterable[Row]) -> float | None:
    return _mean(row.keras_to_ours.median for row in rows if row.keras_to_ours is not None)


def _mean(ratios: Iterable[float]) -> float | None:
    values = list(ratios)
    return geometric_mean(values) if values else None


if __name__ == "__main__":
    main()
