"""Single layers beside hand-written PyTorch and Keras on torch: what the scripts of a family share.

Inference, and a train step: forward, then backward to the input and the weights. Data has the
channels at the end, numbers are float32, and everything runs on one thread. The forms of a case
share weights and data, must compute the same numbers, and run interleaved; the clock is the
process's CPU time. Times decide nothing: a missed bar exits with 0.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import geometric_mean
from typing import Any, NamedTuple

import torch
from timing import CLOCKS, Spread, host_timer, interleave, keep_freed_memory
from torch import Tensor, nn
from variants import import_keras

import kerastorch

MODES = ("inference", "train")
MOST, MOST_TINY = 1.03, 1.15  # times the best hand-written form
ROW = "{:72} {:10}{:>9} {:15}{:21}{}"

Hands = Callable[[Any, tuple[int, ...]], Mapping[str, nn.Module]]


class Case(NamedTuple):
    """A layer of Keras, an input, and what makes the hand-written modules of both."""

    group: str  # whose ratios have one mean
    name: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    hands: Hands
    is_tiny: bool = False

    def __str__(self) -> str:
        given = (f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.name} {'x'.join(map(str, self.shape))} {' '.join(given)}"

    def make(self, library: Any) -> Any:
        return getattr(library, self.name)(**self.arguments)


def cases(
    group: str, name: str, hands: Any, *rows: tuple[tuple[int, ...], dict[str, Any]]
) -> list[Case]:
    """Return the cases of a layer, of which the first is tiny."""
    return [
        Case(group, name, arguments, shape, hands, is_tiny=number == 0)
        for number, (shape, arguments) in enumerate(rows)
    ]


def first(x: Tensor) -> Tensor:
    """Return the view with the channels before the spatial axes."""
    return x.permute(0, x.ndim - 1, *range(1, x.ndim - 1))


def last(x: Tensor) -> Tensor:
    """Return the view with the channels at the end."""
    return x.permute(0, *range(2, x.ndim), 1)


def compare(
    cases: Sequence[Case],
    keras_bars: Mapping[str, tuple[float, float]],
    about: str,
    most: float = MOST,
) -> None:
    """Print a row for each case and mode, then geometric means beside their bars.

    Args:
        cases: The table of the cases.
        keras_bars: What Keras takes at least, times ours, by group: in inference and in training.
        about: What the help says.
        most: What ours takes at most, times the best hand-written form.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--only", metavar="TEXT", default="", help="cases with TEXT in their row")
    parser.add_argument("--seconds", type=float, default=1.0, help="time per row (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    keras = import_keras("cpu")
    gc.freeze()
    found: dict[tuple[str, str, str], list[float]] = {}
    ours, theirs = "kerastorch / hand", "keras / kerastorch"
    print(ROW.format("layer", "pass", "hand ms", "best form", ours, theirs))
    for case in (one for one in cases if options.only in str(one)):
        modules = make_modules(case, keras)
        for mode in MODES:
            to_hand, of_keras, best, milliseconds = measure(case, modules, mode, options.seconds)
            texts = str(to_hand), "" if of_keras is None else str(of_keras)
            print(ROW.format(str(case)[:72], mode, f"{milliseconds:.4f}", best, *texts), flush=True)
            group = f"{case.group}, tiny" if case.is_tiny else case.group
            found.setdefault((group, mode, ours), []).append(to_hand.median)
            if of_keras is not None and not case.is_tiny:
                found.setdefault((group, mode, theirs), []).append(of_keras.median)
    print("\ngeometric means")
    for (group, mode, label), ratios in found.items():
        mean = geometric_mean(ratios)
        if label == ours:
            bar = MOST_TINY if group.endswith("tiny") else most
            words = f"at most {bar}  {'ok' if mean <= bar else 'missed'}"
        else:
            bar = keras_bars[group][MODES.index(mode)] if group in keras_bars else 0.0
            words = f"at least {bar}  {'ok' if mean >= bar else 'missed'}" if bar else ""
        print(f"{group:22}{mode:10} {label:20}{mean:6.3f}  {words}".rstrip())
    print_table(found)


def print_table(found: Mapping[tuple[str, str, str], Sequence[float]]) -> None:
    """Print the geometric means as a table in Markdown, a row for each group."""
    labels = list(dict.fromkeys(label for _, _, label in found))
    print(f"\ninference, train step\n\n| layers | {' | '.join(labels)} |")
    print(f"| --- |{' --- |' * len(labels)}")
    for group in dict.fromkeys(group for group, _, _ in found):
        means = (
            ", ".join(f"{geometric_mean(found[key]):#.3g}" for mode in MODES
                      if (key := (group, mode, label)) in found)
            for label in labels
        )  # fmt: skip
        print(f"| {group} | {' | '.join(means)} |")


def make_modules(case: Case, keras: Any) -> dict[str, Any]:
    """Return the modules by name, which have the same weights and must give the same numbers."""
    torch.manual_seed(0)
    x = torch.randn(case.shape)
    ours = case.make(kerastorch.layers)
    expected = ours(x)
    found = {"kerastorch": ours, **case.hands(ours, case.shape)}
    if keras is not None:
        found["keras"] = case.make(keras.layers)
        found["keras"].build(case.shape)
        found["keras"].set_weights(ours.get_weights())
    for name, module in found.items():
        if not torch.allclose(module(x), expected, rtol=1e-4, atol=1e-4):
            sys.exit(f"numbers disagree: {name} at {case}")
    return found


def measure(
    case: Case, modules: Mapping[str, Any], mode: str, seconds: float
) -> tuple[Spread, Spread | None, str, float]:
    """Return the ratios to the best hand-written form and of Keras, that form, and its time."""
    calls = {name: make_call(module, case.shape, mode) for name, module in modules.items()}
    rounds = interleave(calls, host_timer(CLOCKS["cpu"]), seconds, 7)
    hands = [name for name in modules if name not in ("kerastorch", "keras")]
    best = min(hands, key=rounds.milliseconds)
    of_keras = rounds.ratio("keras", "kerastorch") if "keras" in modules else None
    return rounds.ratio("kerastorch", best), of_keras, best, rounds.milliseconds(best)


def make_call(module: Any, shape: tuple[int, ...], mode: str) -> Callable[[], None]:
    x = torch.randn(shape, requires_grad=mode == "train")
    gradient = torch.randn_like(module(x).detach())
    leaves = [x, *(one for one in module.parameters() if one.requires_grad)]

    def infer() -> None:
        with torch.no_grad():
            module(x)

    def train() -> None:
        module(x).backward(gradient)
        for one in leaves:
            one.grad = None

    return train if mode == "train" else infer
