"""A layer's computation with one property changed, for each known mistake.

Each function yields computations to run on the input of the reference's layer, and what changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from .._core.layout import kernel_to_weight, permute_axes
from .._ops.window_arithmetic import plan_transposed_padding
from ..saving.weights.computations import (
    SAME,
    Convolution,
    MatrixProduct,
    Normalization,
    Pooling,
    TransposedConvolution,
)
from .difference import list_input_layouts, measure_difference
from .running import ModuleCall

_CONVOLUTIONS = (Convolution, TransposedConvolution)
_LINEAR = (*_CONVOLUTIONS, MatrixProduct)
Compute: TypeAlias = Callable[..., Any]
Attempts: TypeAlias = Iterator[tuple[Compute, str]]


@dataclass(frozen=True)
class Trial:
    """A layer that differs, and what it should return."""

    call: ModuleCall  # the call of the module that is compared with the layer
    taken: tuple[Tensor, ...]  # the module's input in the model
    given: Tensor  # the module's output in the model
    inputs: tuple[Tensor, ...]  # of the reference's layer
    expected: Tensor  # the output of the reference's layer
    weights: Mapping[str, Tensor]  # of the reference's layer; empty if not recorded
    images: tuple[Tensor, ...]  # recorded arrays that the layer's input or output is flattened from
    rtol: float  # the largest relative difference that agrees

    def agrees(self, found: Tensor, expected: Tensor) -> bool:
        """Return whether `found` is within the tolerance of `expected`."""
        return measure_difference(found, expected).relative <= self.rtol


def _change_padding(padding: Any, trial: Trial, op: Any) -> Attempts:
    """Pad by this amount on both sides, or by TensorFlow's 'same'."""
    if isinstance(op, (Convolution, Pooling)):
        sizes = op.weight.shape[2:] if isinstance(op, Convolution) else op.size
        wanted = padding if padding == SAME else (padding,) * len(sizes)
        if op.padding != wanted:
            yield replace(op, padding=wanted), str(op.padding)


def _change_crop(trial: Trial, op: Any) -> Attempts:
    """Crop as Keras's 'same' and 'valid' do, without and with an output padding."""
    if isinstance(op, TransposedConvolution):
        window = tuple(op.weight.shape[2:]), op.stride, op.dilation
        own = f"padding={op.padding.padding}, output_padding={op.padding.output_padding}"
        choices = itertools.product((None, *range(max(op.stride))), (SAME, "valid"))
        for more, padding in choices:
            given = None if more is None else tuple(min(more, s - 1) for s in op.stride)
            wanted = plan_transposed_padding(*window, padding, given)
            if wanted != op.padding:
                text = f"padding={padding!r}, output_padding={given}"
                yield replace(op, padding=wanted), f"with {own}, where Keras has {text}"


def _exclude_padding(trial: Trial, op: Any) -> Attempts:
    if isinstance(op, Pooling):  # which excludes it, as its module may not
        yield op, ""


def _exchange_pooling(trial: Trial, op: Any) -> Attempts:
    """Exchange average and maximum."""
    if isinstance(op, Pooling):
        kind: Any = "average" if op.kind == "max" else "max"
        yield replace(op, kind=kind), kind


def _change_weight(kinds: Any, change: Any, trial: Trial, op: Any) -> Attempts:
    """Change the weight of operations of these classes."""
    if isinstance(op, kinds):
        weight = change(op.weight)
        if weight.shape == op.weight.shape:
            yield replace(op, weight=weight), ""


def _swap_sides(weight: Tensor) -> Tensor:
    """Return a weight with its height and width swapped."""
    return permute_axes(weight, (0, 1, 3, 2)) if weight.ndim == 4 else weight


def _swap_channels(weight: Tensor) -> Tensor:
    """Return a weight with its inputs and outputs swapped."""
    return permute_axes(weight, (1, 0, *range(2, weight.ndim)))


def _permute_kernel(weight: Tensor) -> Tensor:
    """Return the permuted kernel that this weight is the reshaped one of."""
    outs, ins, *sides = weight.shape
    return kernel_to_weight(weight.contiguous().reshape(*sides, ins, outs))


def _drop_bias(trial: Trial, op: Any) -> Attempts:
    if isinstance(op, _LINEAR) and op.bias is not None:
        yield replace(op, bias=None), ""


def _add_bias(trial: Trial, op: Any) -> Attempts:
    """Add the bias that follows from the difference, if that is constant in each channel."""
    if not isinstance(op, _LINEAR):
        return
    bare = replace(op, bias=None)

    def compute(x: Tensor) -> Tensor:
        y = bare(x)
        axis = 1 if isinstance(op, _CONVOLUTIONS) else y.ndim - 1
        for wanted in list_input_layouts(trial.expected):
            if wanted.shape == y.shape and y.numel() > y.shape[axis]:
                return y + _median_offset(wanted.to(y) - y, wanted, axis)
        return y

    yield compute, "none" if op.bias is None else "another"


def _median_offset(difference: Tensor, expected: Tensor, axis: int) -> Tensor:
    """Return the median difference in each channel, without the zeros that a relu made."""
    channels = torch.where(expected == 0, torch.nan, difference).unbind(axis)
    medians = torch.stack([channel.flatten().nanmedian() for channel in channels])
    return medians.reshape([-1 if n == axis else 1 for n in range(difference.ndim)])


_EPSILONS = (1e-3, 1e-5, 1e-6, 1e-4, 1e-7, 1e-2, 1e-8, 0.0)


def _change_epsilon(trial: Trial, op: Any) -> Attempts:
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
    layouts = map(list_input_layouts, (trial.inputs[0], trial.expected))
    for x, wanted in zip(*layouts, strict=False):
        if x.shape == wanted.shape and x.ndim > 1 and x.shape[1] == len(op.mean):
            over = undivided(x).select(1, channel) - offset
            under = wanted.select(1, channel) - offset
            epsilon = (over / under).square().flatten().nanmedian() - op.variance[channel]
            if epsilon > 0:
                yield float(f"{epsilon.item():.3g}")


def _use_batch_statistics(trial: Trial, op: Any) -> Attempts:
    if isinstance(op, Normalization) and op.mean is not None:
        yield replace(op, mean=None, variance=None), ""


def _use_moving_statistics(trial: Trial, op: Any) -> Attempts:
    names = ("moving_mean", "moving_variance")
    if isinstance(op, Normalization) and op.mean is None and set(names) <= set(trial.weights):
        mean, variance = (trial.weights[name] for name in names)
        yield replace(op, mean=mean, variance=variance), ""


def _use_recorded_weights(trial: Trial, op: Any) -> Attempts:
    if not trial.weights or not isinstance(op, (*_LINEAR, Normalization)):
        return
    names: tuple[str, ...] = ("kernel", "bias")
    if isinstance(op, Normalization):
        names = ("gamma", "beta", "moving_mean", "moving_variance")
    theirs: dict[str, Any] = {}
    wrong = []
    for name, part in zip(names, ("weight", "bias", "mean", "variance"), strict=False):
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


class Rule(NamedTuple):
    """One known mistake; "{}" in `text` stands for what an attempt changed."""

    name: str
    text: str
    attempts: Callable[[Trial, Any], Attempts]


RULES = (
    Rule(
        "padding",
        "it pads by {}, where Keras pads by TensorFlow's 'same', whose odd element comes after. "
        "Use the layer of `kerastorch.layers` with padding='same', or pad with "
        "`torch.nn.functional.pad` yourself.",
        partial(_change_padding, SAME),
    ),
    Rule(
        "padding",
        "it pads by {}, where Keras pads nothing. Use padding='valid', that is 0.",
        partial(_change_padding, 0),
    ),
    Rule(
        "padding",
        "it crops {}. Keras crops an odd rest at the end, as no padding of PyTorch does. Use the "
        "layer of `kerastorch.layers`, or crop the end of the output yourself.",
        _change_crop,
    ),
    Rule(
        "padding counted",
        "its average includes the padding, which Keras excludes. Use count_include_pad=False.",
        _exclude_padding,
    ),
    Rule("pooling", "Keras pools by {}. Use that pooling.", _exchange_pooling),
    Rule(
        "kernel height and width",
        "the kernel's height and width are swapped. Keras's kernel is (height, width, in, out), "
        "PyTorch's weight (out, in, height, width): permute_axes(3, 2, 0, 1).",
        partial(_change_weight, _CONVOLUTIONS, _swap_sides),
    ),
    Rule(
        "kernel flipped",
        "the kernel is flipped along its spatial axes, as Theano kept it. Flip it back.",
        partial(_change_weight, _CONVOLUTIONS, lambda w: w.flip(tuple(range(2, w.ndim)))),
    ),
    Rule(
        "kernel transposed",
        "the kernel's inputs and outputs are swapped. Keras's kernel has (..., in, out), PyTorch's "
        "weight (out, in, ...): load the transposed kernel.",
        partial(_change_weight, (Convolution, MatrixProduct), _swap_channels),
    ),
    Rule(
        "kernel transposed",
        "the kernel's filters and channels are swapped. The kernel of a transposed convolution is "
        "(..., filters, channels) in Keras, PyTorch's weight (channels, filters, ...): permute the "
        "axes by (3, 2, 0, 1), as for other convolutions.",
        partial(_change_weight, TransposedConvolution, _swap_channels),
    ),
    Rule(
        "kernel reshaped",
        "the kernel was reshaped to PyTorch's shape, which mixes it up. Permute its axes instead: "
        "(3, 2, 0, 1) for a convolution, (1, 0) for a Dense kernel.",
        partial(_change_weight, _LINEAR, _permute_kernel),
    ),
    Rule("bias", "Keras's layer has no bias. Use bias=False.", _drop_bias),
    Rule("epsilon", "its epsilon is {}. Set it to Keras's.", _change_epsilon),
    Rule(
        "statistics",
        "it normalizes by batch statistics, Keras by moving ones. Use "
        "track_running_stats=True, load the moving statistics, and call `model.eval()`.",
        _use_moving_statistics,
    ),
    Rule(
        "statistics",
        "the reference was normalized by batch statistics, as in training. Record it with "
        "training=False.",
        _use_batch_statistics,
    ),
    Rule(
        "weights",
        "with the reference's weights it agrees, so its own weights differ: {}. Load them again.",
        _use_recorded_weights,
    ),
    Rule(
        "bias",
        "Keras adds another constant to each channel; here it has {}. Load Keras's bias.",
        _add_bias,
    ),
)
