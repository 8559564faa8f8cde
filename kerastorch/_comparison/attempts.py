"""What a layer would compute if one thing about it were otherwise.

Each function of this file yields attempts: a computation, to be run on what the reference's layer
took, and in words what was exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .._core.layout import axes_moved, weight_view
from ..saving.weights.computations import SAME, Convolution, Normalization, Pooling, Product
from .difference import as_inputs, measured


@dataclass(frozen=True)
class Trial:
    """A layer that differs, and what it should do.

    Attributes:
        layer: Its name.
        module: The module that stands for it.
        run: Runs the module on other inputs in the place of those it took.
        taken: What it took in the model.
        given: What it gave out there.
        inputs: What the reference's layer took.
        expected: What the reference's layer gave out.
        weights: Keras's name -> the reference's weight; empty where they are not recorded.
        images: What of the reference, flattened, is the layer's input or output.
        rtol: The largest relative difference that agrees.
    """

    layer: str
    module: nn.Module
    run: Callable[..., Any]
    taken: tuple[Tensor, ...]
    given: Tensor
    inputs: tuple[Tensor, ...]
    expected: Tensor
    weights: Mapping[str, Tensor]
    images: tuple[Tensor, ...]
    rtol: float

    def agrees(self, found: Any, expected: Tensor) -> bool:
        """Return whether `found` is what is expected."""
        return isinstance(found, Tensor) and measured(found, expected).relative <= self.rtol


Compute: TypeAlias = Callable[..., Any]
Attempt: TypeAlias = tuple[Compute, str]
Attempts: TypeAlias = Callable[[Trial, Any], Iterator[Attempt]]


# What an attempt exchanges


def padded(padding: Any) -> Attempts:
    """Pad by this amount on both sides, or by TensorFlow's rule."""

    def attempts(trial: Trial, op: Any) -> Iterator[Attempt]:
        if isinstance(op, (Convolution, Pooling)):
            sizes = op.weight.shape[2:] if isinstance(op, Convolution) else op.size
            wanted = padding if padding == SAME else (padding,) * len(sizes)
            if op.padding != wanted:
                yield replace(op, padding=wanted), str(op.padding)

    return attempts


def uncounted(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Count nothing of what is padded."""
    if isinstance(op, Pooling):  # it counts nothing it pads with, other than its module may
        yield op, ""


def pooled_otherwise(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Take the mean for the maximum, and the other way round."""
    if isinstance(op, Pooling):
        kind: Any = "average" if op.kind == "max" else "max"
        yield replace(op, kind=kind), kind


def reweighted(kinds: Any, change: Callable[[Tensor], Tensor]) -> Attempts:
    """Change the weight of operations of these kinds."""

    def attempts(trial: Trial, op: Any) -> Iterator[Attempt]:
        if isinstance(op, kinds):
            weight = change(op.weight)
            if weight.shape == op.weight.shape:
                yield replace(op, weight=weight), ""

    return attempts


def sides_swapped(weight: Tensor) -> Tensor:
    """Return a weight with its height and width swapped."""
    return axes_moved(weight, (0, 1, 3, 2)) if weight.ndim == 4 else weight


def flipped(weight: Tensor) -> Tensor:
    """Return a weight with its spatial axes reversed."""
    return weight.flip(tuple(range(2, weight.ndim)))


def turned(weight: Tensor) -> Tensor:
    """Return a weight with its inputs and outputs swapped."""
    return axes_moved(weight, (1, 0, *range(2, weight.ndim)))


def permuted(weight: Tensor) -> Tensor:
    """Return the weight that this one would be, had Keras's kernel been permuted, not reshaped."""
    outs, ins, *sides = weight.shape
    return weight_view(weight.contiguous().reshape(*sides, ins, outs))


def unbiased(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Leave the bias out."""
    if isinstance(op, (Convolution, Product)) and op.bias is not None:
        yield replace(op, bias=None), ""


def biased(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Add the bias that the difference itself tells, where it is one number a channel."""
    if not isinstance(op, (Convolution, Product)):
        return
    bare = replace(op, bias=None)

    def compute(x: Tensor) -> Tensor:
        y = bare(x)
        axis = 1 if isinstance(op, Convolution) else y.ndim - 1
        for wanted in as_inputs(trial.expected):
            if wanted.shape == y.shape and y.numel() > y.shape[axis]:
                y = y + _usual_offset(wanted.to(y) - y, wanted, axis)
                break
        return y

    yield compute, "none" if op.bias is None else "another"


def _usual_offset(apart: Tensor, expected: Tensor, axis: int) -> Tensor:
    """Return the usual difference in each channel; where a relu made zeros, they tell nothing."""
    telling = torch.where(expected == 0, torch.nan, apart)
    channels = telling.unbind(axis)
    usual = torch.stack([channel.flatten().nanmedian() for channel in channels])
    return usual.reshape([-1 if n == axis else 1 for n in range(apart.ndim)])


_EPSILONS = (1e-3, 1e-5, 1e-6, 1e-4, 1e-7, 1e-2, 1e-8, 0.0)


def other_epsilon(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Try the usual epsilons, then the one that the difference itself tells."""
    if isinstance(op, Normalization):
        for epsilon in (*_EPSILONS, *_solved_epsilons(trial, op)):
            if epsilon != op.epsilon:
                yield replace(op, epsilon=epsilon), f"{op.epsilon:g}, Keras's is {epsilon:g}"


def _solved_epsilons(trial: Trial, op: Normalization) -> Iterator[float]:
    """Solve `scale * (x - mean) / sqrt(variance + epsilon) + offset = expected`."""
    if op.mean is None or op.variance is None:
        return
    channel = int(op.variance.argmin())  # where it tells most
    undivided = replace(op, variance=torch.ones_like(op.variance), epsilon=0.0)
    offset = 0.0 if op.bias is None else op.bias[channel]
    for x, wanted in zip(as_inputs(trial.inputs[0]), as_inputs(trial.expected), strict=False):
        if x.shape == wanted.shape and x.ndim > 1 and x.shape[1] == len(op.mean):
            over = undivided(x).select(1, channel) - offset
            under = wanted.select(1, channel) - offset
            epsilon = (over / under).square().flatten().nanmedian() - op.variance[channel]
            if epsilon > 0:
                yield float(f"{epsilon.item():.3g}")


def by_the_batch(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Normalize by the statistics of the batch."""
    if isinstance(op, Normalization) and op.mean is not None:
        yield replace(op, mean=None, variance=None), ""


def by_moving_statistics(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Normalize by the reference's moving statistics."""
    names = ("moving_mean", "moving_variance")
    if isinstance(op, Normalization) and op.mean is None and set(names) <= set(trial.weights):
        mean, variance = (trial.weights[name] for name in names)
        yield replace(op, mean=mean, variance=variance), ""


_WEIGHTS: dict[type, dict[str, str]] = {
    Convolution: {"kernel": "weight", "bias": "bias"},
    Product: {"kernel": "weight", "bias": "bias"},
    Normalization: {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "mean",
        "moving_variance": "variance",
    },
}


def recorded(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Take all weights from the reference."""
    names = _WEIGHTS.get(type(op), {})
    if trial.weights:
        theirs = {
            part: _shaped(trial.weights.get(name), getattr(op, part))
            for name, part in names.items()
        }
        wrong = [
            f"`{name}`"
            for name, part in names.items()
            if not _alike(getattr(op, part), theirs[part], trial)
        ]
        if wrong:
            yield replace(op, **theirs), " and ".join(wrong)


def _shaped(array: Tensor | None, like: Tensor | None) -> Tensor | None:
    """Return a weight of Keras's in PyTorch's order of axes, a depthwise one included."""
    if array is None or array.ndim < 2:
        return array
    weight = weight_view(array)
    if like is not None and weight.shape != like.shape and weight.numel() == like.numel():
        spatial = tuple(range(array.ndim - 2))
        return axes_moved(array, (array.ndim - 2, array.ndim - 1, *spatial)).reshape(like.shape)
    return weight


def _alike(ours: Tensor | None, theirs: Tensor | None, trial: Trial) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return trial.agrees(ours, theirs)
