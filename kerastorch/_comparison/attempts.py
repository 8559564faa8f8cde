"""A layer's computation with one property changed, for each known mistake.

Each function yields computations to run on the input of the reference's layer, and what changed.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .._core.layout import kernel_to_weight, permute_axes
from .._ops.window_arithmetic import plan_transposed_padding
from ..layers.base.functional import (
    SAME,
    BatchNorm,
    Chain,
    Convolution,
    Function,
    MatrixProduct,
    Pooling,
    SampleNorm,
    TransposedConvolution,
)
from ..layers.base.layer import Layer
from ..saving.torch_layers.modules import find_adapter
from .difference import list_input_layouts, measure_difference
from .running import ModuleCall

CONVOLUTIONS = (Convolution, TransposedConvolution)
_MOST_PARTS = 5  # padding, depthwise and pointwise convolutions, normalization, activation
LINEAR = (*CONVOLUTIONS, MatrixProduct)
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


def get_function(module: nn.Module) -> Function | None:
    """Return what a module computes before its activation, or None if that is unknown."""
    if isinstance(module, Layer):
        return module._as_function()
    if type(module) is nn.Sequential and len(module) <= _MOST_PARTS:
        return Chain(tuple(get_function(part) or part for part in module))
    adapter = find_adapter(module, any_forward=True)
    return None if adapter is None else adapter.function(module)


# Padding


def change_padding(padding: Any, trial: Trial, op: Any) -> Attempts:
    """Pad by this amount on both sides, or as Keras's "same" or "causal"."""
    if isinstance(op, (Convolution, Pooling)):
        sizes = op.weight.shape[2:] if isinstance(op, Convolution) else op.size
        wanted: Any = padding if isinstance(padding, str) else (padding,) * len(sizes)
        known = wanted != "causal" or (isinstance(op, Convolution) and len(sizes) == 1)
        if op.padding != wanted and known:
            yield replace(op, padding=wanted), repr(op.padding)


def change_crop(trial: Trial, op: Any) -> Attempts:
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


def exclude_padding(trial: Trial, op: Any) -> Attempts:
    """Exclude the padding from an average."""
    if isinstance(op, Pooling):  # which excludes it, as its module may not
        yield op, ""


def exchange_pooling(trial: Trial, op: Any) -> Attempts:
    """Exchange average and maximum."""
    if isinstance(op, Pooling):
        kind: Any = "average" if op.kind == "max" else "max"
        yield replace(op, kind=kind), kind


# Weights


def change_weight(kinds: Any, change: Any, trial: Trial, op: Any) -> Attempts:
    """Change the weight of operations of these classes."""
    if isinstance(op, kinds):
        weight = change(op.weight)
        if weight.shape == op.weight.shape:
            yield replace(op, weight=weight), ""


def swap_sides(weight: Tensor) -> Tensor:
    """Return a weight with its height and width, the last two axes, swapped."""
    axes = tuple(range(weight.ndim))
    return permute_axes(weight, (*axes[:-2], *axes[:-3:-1])) if weight.ndim > 3 else weight


def swap_channels(weight: Tensor) -> Tensor:
    """Return a weight with its inputs and outputs swapped."""
    return permute_axes(weight, (1, 0, *range(2, weight.ndim)))


def permute_kernel(weight: Tensor) -> Tensor:
    """Return the permuted kernel that this weight is the reshaped one of."""
    outs, ins, *sides = weight.shape
    return kernel_to_weight(weight.contiguous().reshape(*sides, ins, outs))


def order_depthwise_filters(trial: Trial, op: Any) -> Attempts:
    """Order the filters by their channel, as Keras does, where they are by their multiplier."""
    if isinstance(op, Convolution) and 1 < op.groups < len(op.weight):
        yield replace(op, weight=_order_by_channel(op.weight, 0, op.groups)), ""


def order_depthwise_outputs(trial: Trial, op: Any) -> Attempts:
    """Order output channels by the input channel, of a module of unknown computation as well."""
    if isinstance(op, Convolution) and 1 < op.groups < len(op.weight):
        yield lambda x: _order_by_channel(op(x), 1, op.groups), ""
    elif op is None and trial.given.ndim > 2:
        for axis in (1, -1):
            size = trial.given.shape[axis]
            for channels in (n for n in range(2, size // 2 + 1) if not size % n):
                ordered = _order_by_channel(trial.given, axis, channels)
                yield lambda *inputs, ordered=ordered: ordered, ""


def _order_by_channel(tensor: Tensor, axis: int, channels: int) -> Tensor:
    """Return a tensor whose axis is (channel, multiplier) instead of (multiplier, channel)."""
    axis %= tensor.ndim
    split = tensor.reshape(*tensor.shape[:axis], -1, channels, *tensor.shape[axis + 1 :])
    axes = list(range(split.ndim))
    axes[axis : axis + 2] = axis + 1, axis
    return permute_axes(split, axes).reshape(tensor.shape)


def drop_bias(trial: Trial, op: Any) -> Attempts:
    """Add no bias."""
    if isinstance(op, LINEAR) and op.bias is not None:
        yield replace(op, bias=None), ""


def add_bias(trial: Trial, op: Any) -> Attempts:
    """Add the bias that follows from the difference, if that is constant in each channel."""
    if not isinstance(op, LINEAR):
        return
    bare = replace(op, bias=None)

    def compute(x: Tensor) -> Tensor:
        y = bare(x)
        axis = 1 if isinstance(op, CONVOLUTIONS) else y.ndim - 1
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


# Each field of a function -> Keras's names of that weight
_FIELDS = {
    "weight": ("kernel", "gamma", "scale", "depthwise_kernel", "pointwise_kernel"),
    "bias": ("bias", "beta"),
    "mean": ("moving_mean",),
    "variance": ("moving_variance",),
}
_FIELD = {name: field for field, names in _FIELDS.items() for name in names}


def use_recorded_weights(trial: Trial, op: Any) -> Attempts:
    """Use the reference's weights."""
    if op is None:
        yield from _use_all_weights(trial)
    parts: list[Any] = list(op.parts) if isinstance(op, Chain) else [op]
    own = [n for n, part in enumerate(parts) if isinstance(part, (*LINEAR, BatchNorm, SampleNorm))]
    found: list[dict[str, str]] = [{} for _ in own]  # of each part, field -> Keras's name
    place = 0
    for name in filter(_FIELD.get, trial.weights):
        place += place < len(own) and _FIELD[name] in found[place]
        if place == len(own) or not hasattr(parts[own[place]], _FIELD[name]):
            return
        found[place][_FIELD[name]] = name
    wrong = []
    for n, names in zip(own, found, strict=True):
        theirs: dict[str, Any] = {}
        for field in filter(partial(hasattr, parts[n]), _FIELDS):
            ours, given = getattr(parts[n], field), trial.weights.get(names.get(field, ""))
            theirs[field] = _to_torch_order(given, ours, parts[n])
            if not _are_equal(ours, theirs[field], trial):
                wrong.append(f"`{names.get(field, field)}`")
        parts[n] = replace(parts[n], **theirs)
    if any(found) and wrong:
        yield Chain(tuple(parts)), " and ".join(wrong)


def _use_all_weights(trial: Trial) -> Attempts:
    """Use the reference's weights in a layer whose computation is unknown."""
    module, arrays = trial.call.module, trial.weights.values()
    if not isinstance(module, Layer) or not arrays:
        return
    layer = copy.deepcopy(module)
    try:
        layer.set_weights(list(arrays))
    except ValueError:  # it has others
        return
    pairs = zip(module.variables, arrays, strict=True)
    wrong = [f"`{own.name}`" for own, theirs in pairs if not trial.agrees(own.value, theirs)]
    if wrong:
        yield layer, " and ".join(wrong)


def _to_torch_order(array: Tensor | None, like: Tensor | None, op: Any) -> Tensor | None:
    """Return a Keras weight, depthwise or not, in PyTorch's order of axes."""
    if array is None or not isinstance(op, LINEAR) or array.ndim < 2:
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


# Normalization

_EPSILONS = (1e-3, 1e-5, 1e-6, 1e-4, 1e-7, 1e-2, 1e-8, 0.0)


def change_epsilon(trial: Trial, op: Any) -> Attempts:
    """Try the usual epsilons, then the one that follows from the difference."""
    if isinstance(op, (BatchNorm, SampleNorm)):
        for epsilon in itertools.chain(_EPSILONS, _solve_for_epsilon(trial, op)):
            if epsilon != op.epsilon:
                yield replace(op, epsilon=epsilon), f"{op.epsilon:g}, Keras's is {epsilon:g}"


def _solve_for_epsilon(trial: Trial, op: BatchNorm | SampleNorm) -> Iterator[float]:
    """Solve `scale * (x - mean) / sqrt(variance + epsilon) + offset = expected`.

    Without the offset, the inverse square of either side is linear in epsilon.
    """
    layouts = map(list_input_layouts, (trial.inputs[0].double(), trial.expected.double()))
    for x, expected in zip(*layouts, strict=False):
        try:
            bare = [replace(op, bias=None, epsilon=epsilon)(x) for epsilon in (0.0, 1.0)]
            wanted = expected - (replace(op, epsilon=1.0)(x) - bare[1])
        except (RuntimeError, ValueError, LookupError):  # the other layout has other channels
            continue
        if wanted.shape == expected.shape == x.shape:
            none, one, given = (y.square().reciprocal() for y in (*bare, wanted))
            matters = none / one  # least where epsilon matters most
            kept = matters <= matters.nanmedian()
            epsilon = ((given - none) / (one - none))[kept].nanmedian().item()
            if epsilon > 0:
                yield float(f"{epsilon:.3g}")


def use_batch_statistics(trial: Trial, op: Any) -> Attempts:
    """Normalize by the batch's statistics."""
    if isinstance(op, BatchNorm) and op.mean is not None:
        yield replace(op, mean=None, variance=None), ""


def use_moving_statistics(trial: Trial, op: Any) -> Attempts:
    """Normalize by the reference's moving statistics."""
    names = ("moving_mean", "moving_variance")
    if isinstance(op, BatchNorm) and op.mean is None and set(names) <= set(trial.weights):
        mean, variance = (trial.weights[name] for name in names)
        yield replace(op, mean=mean, variance=variance), ""
