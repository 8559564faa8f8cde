"""A layer's computation with one property changed, for each known mistake.

Each function yields attempts: a computation to run on the input of the reference's layer, and a
description of what was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .._core.layout import kernel_to_weight, permute_axes
from ..saving.weights.computations import SAME, Convolution, MatrixProduct, Normalization, Pooling
from .difference import iterate_input_layouts, measure_difference


@dataclass(frozen=True)
class Trial:
    """A layer that differs, and what it should return.

    Attributes:
        module: The module compared with the layer.
        run: Runs the module with other tensors in its call.
        taken: The module's input in the model.
        given: The module's output in the model.
        inputs: The inputs of the reference's layer.
        expected: The output of the reference's layer.
        weights: Keras's name -> the reference's weight; empty if not recorded.
        images: The recorded arrays that the layer's input or output is flattened from.
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
        """Return whether `found` is within the tolerance of `expected`."""
        return (
            isinstance(found, Tensor) and measure_difference(found, expected).relative <= self.rtol
        )


Compute: TypeAlias = Callable[..., Any]
Attempt: TypeAlias = tuple[Compute, str]
Attempts: TypeAlias = Callable[[Trial, Any], Iterator[Attempt]]


def change_padding(padding: Any) -> Attempts:
    """Pad by this amount on both sides, or by TensorFlow's 'same'."""

    def attempts(trial: Trial, op: Any) -> Iterator[Attempt]:
        if isinstance(op, (Convolution, Pooling)):
            sizes = op.weight.shape[2:] if isinstance(op, Convolution) else op.size
            wanted = padding if padding == SAME else (padding,) * len(sizes)
            if op.padding != wanted:
                yield replace(op, padding=wanted), str(op.padding)

    return attempts


def exclude_padding(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Exclude the padding from the average."""
    if isinstance(op, Pooling):  # which excludes it, as its module may not
        yield op, ""


def exchange_pooling(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Exchange average and maximum."""
    if isinstance(op, Pooling):
        kind: Any = "average" if op.kind == "max" else "max"
        yield replace(op, kind=kind), kind


def change_weight(kinds: Any, change: Callable[[Tensor], Tensor]) -> Attempts:
    """Change the weight of operations of these classes."""

    def attempts(trial: Trial, op: Any) -> Iterator[Attempt]:
        if isinstance(op, kinds):
            weight = change(op.weight)
            if weight.shape == op.weight.shape:
                yield replace(op, weight=weight), ""

    return attempts


def swap_sides(weight: Tensor) -> Tensor:
    """Return a weight with its height and width swapped."""
    return permute_axes(weight, (0, 1, 3, 2)) if weight.ndim == 4 else weight


def flip_kernel(weight: Tensor) -> Tensor:
    """Return a weight with its spatial axes reversed."""
    return weight.flip(tuple(range(2, weight.ndim)))


def transpose_kernel(weight: Tensor) -> Tensor:
    """Return a weight with its inputs and outputs swapped."""
    return permute_axes(weight, (1, 0, *range(2, weight.ndim)))


def permute_kernel(weight: Tensor) -> Tensor:
    """Return the permuted kernel that this weight is the reshaped one of."""
    outs, ins, *sides = weight.shape
    return kernel_to_weight(weight.contiguous().reshape(*sides, ins, outs))


def drop_bias(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Drop the bias."""
    if isinstance(op, (Convolution, MatrixProduct)) and op.bias is not None:
        yield replace(op, bias=None), ""


def add_bias(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Add the bias that follows from the difference, if that is constant in each channel."""
    if not isinstance(op, (Convolution, MatrixProduct)):
        return
    bare = replace(op, bias=None)

    def compute(x: Tensor) -> Tensor:
        y = bare(x)
        axis = 1 if isinstance(op, Convolution) else y.ndim - 1
        for wanted in iterate_input_layouts(trial.expected):
            if wanted.shape == y.shape and y.numel() > y.shape[axis]:
                y = y + _median_offset(wanted.to(y) - y, wanted, axis)
                break
        return y

    yield compute, "none" if op.bias is None else "another"


def _median_offset(difference: Tensor, expected: Tensor, axis: int) -> Tensor:
    """Return the median difference in each channel, without the zeros that a relu made."""
    channels = torch.where(expected == 0, torch.nan, difference).unbind(axis)
    medians = torch.stack([channel.flatten().nanmedian() for channel in channels])
    return medians.reshape([-1 if n == axis else 1 for n in range(difference.ndim)])


_EPSILONS = (1e-3, 1e-5, 1e-6, 1e-4, 1e-7, 1e-2, 1e-8, 0.0)


def change_epsilon(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Try the usual epsilons, then the one that follows from the difference."""
    if isinstance(op, Normalization):
        for epsilon in (*_EPSILONS, *_solve_for_epsilon(trial, op)):
            if epsilon != op.epsilon:
                yield replace(op, epsilon=epsilon), f"{op.epsilon:g}, Keras's is {epsilon:g}"


def _solve_for_epsilon(trial: Trial, op: Normalization) -> Iterator[float]:
    """Solve `scale * (x - mean) / sqrt(variance + epsilon) + offset = expected`."""
    if op.mean is None or op.variance is None:
        return
    channel = int(op.variance.argmin())  # where epsilon matters most
    undivided = replace(op, variance=torch.ones_like(op.variance), epsilon=0.0)
    offset = 0.0 if op.bias is None else op.bias[channel]
    for x, wanted in zip(
        iterate_input_layouts(trial.inputs[0]), iterate_input_layouts(trial.expected), strict=False
    ):
        if x.shape == wanted.shape and x.ndim > 1 and x.shape[1] == len(op.mean):
            over = undivided(x).select(1, channel) - offset
            under = wanted.select(1, channel) - offset
            epsilon = (over / under).square().flatten().nanmedian() - op.variance[channel]
            if epsilon > 0:
                yield float(f"{epsilon.item():.3g}")


def use_batch_statistics(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Normalize by batch statistics."""
    if isinstance(op, Normalization) and op.mean is not None:
        yield replace(op, mean=None, variance=None), ""


def use_moving_statistics(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Normalize by the reference's moving statistics."""
    names = ("moving_mean", "moving_variance")
    if isinstance(op, Normalization) and op.mean is None and set(names) <= set(trial.weights):
        mean, variance = (trial.weights[name] for name in names)
        yield replace(op, mean=mean, variance=variance), ""


_WEIGHTS: dict[type, dict[str, str]] = {  # Keras's names -> the parts of a computation
    **{kind: {"kernel": "weight", "bias": "bias"} for kind in (Convolution, MatrixProduct)},
    Normalization: {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "mean",
        "moving_variance": "variance",
    },
}


def use_recorded_weights(trial: Trial, op: Any) -> Iterator[Attempt]:
    """Use the reference's weights."""
    if not trial.weights:
        return
    theirs: dict[str, Tensor | None] = {}
    wrong = []
    for name, part in _WEIGHTS.get(type(op), {}).items():
        ours = getattr(op, part)
        theirs[part] = _to_torch_order(trial.weights.get(name), ours)
        if not _are_equal(ours, theirs[part], trial):
            wrong.append(f"`{name}`")
    if wrong:
        yield replace(op, **theirs), " and ".join(wrong)


def _to_torch_order(array: Tensor | None, like: Tensor | None) -> Tensor | None:
    """Return a Keras weight, depthwise or not, in PyTorch's order of axes."""
    if array is None or array.ndim < 2:
        return array
    weight = kernel_to_weight(array)
    if like is not None and weight.shape != like.shape and weight.numel() == like.numel():
        spatial = tuple(range(array.ndim - 2))
        return permute_axes(array, (array.ndim - 2, array.ndim - 1, *spatial)).reshape(like.shape)
    return weight


def _are_equal(ours: Tensor | None, theirs: Tensor | None, trial: Trial) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return trial.agrees(ours, theirs)
