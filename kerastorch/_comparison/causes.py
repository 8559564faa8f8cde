"""Why a layer's output differs: the known mistake with whose correction the values agree."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .. import activations
from .._core.layout import permute_axes, to_channels_last, to_channels_second
from ..activations import serialization
from ..layers.base.functional import Function
from .attempts import Compute, Trial, get_function
from .difference import list_input_layouts, list_output_layouts
from .rules import RULES

Activation: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Cause:
    """The likely cause of a difference."""

    name: str  # "padding"
    layer: str  # the one that differs
    text: str  # what is wrong, and what to do
    outside: bool = False  # whether the model may compensate for it outside the layer

    def __str__(self) -> str:
        """Return the layer and the text."""
        return f"`{self.layer}`: {self.text}"


_MOST_OFFSETS = 100  # at which an input is searched for in a padded one
_MISSING = "Keras applies `{}` to its output. Apply it after this layer."
_FLATTEN_ORDER = (
    "the image was flattened in PyTorch's order, (channels, height, width), where Keras has "
    "(height, width, channels). Move the channels back to the end before flattening: "
    "`x.permute(0, 2, 3, 1).flatten(1)`."
)
_SWAPPED_SIDES = (
    "height and width of its input are swapped. Keras's order is (batch, height, width, channels), "
    "PyTorch's (batch, channels, height, width)."
)
# Where several give the same values, the first is named: the common ones come first.
_COMMON = ("relu", "sigmoid", "tanh", "softmax", "elu", "silu", "gelu", "relu6")
_TABLE = serialization.ACTIVATIONS.table
ACTIVATIONS: dict[str, Activation] = {
    **{name: _TABLE[name] for name in (*_COMMON, *sorted(_TABLE))},
    "leaky_relu with negative_slope=0.3": partial(activations.leaky_relu, negative_slope=0.3),
    "leaky_relu with negative_slope=0.1": partial(activations.leaky_relu, negative_slope=0.1),
    "leaky_relu with negative_slope=0.01": partial(activations.leaky_relu, negative_slope=0.01),
    "gelu with approximate=True": partial(activations.gelu, approximate=True),
    "Keras 2's hard_sigmoid, clip(0.2 * x + 0.5, 0, 1)": lambda x: (0.2 * x + 0.5).clamp(0, 1),
}


def find_cause(trial: Trial) -> Cause | None:
    """Return the likely cause of a layer's difference, or None where no known mistake fits."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if _agrees(trial, trial.call.repeat):
            return find_input_cause(trial) or _find_cause_before(trial)
        op = get_function(trial.call.module)
        if any(map(partial(_is_padded, trial), trial.taken, trial.inputs)):
            found = _find_layer_cause(replace(trial, inputs=trial.taken), op)
            note = " (In the model its input is padded before it.)"
            return found or _find_layer_cause(trial, op, note)
        found = _find_layer_cause(trial, op)
        fitted = None if found else _fit_size(trial, op)
        return found if fitted is None else _find_layer_cause(trial, fitted)


def _fit_size(trial: Trial, op: Function | None) -> Any:
    """Return the operation with the padding that gives an output of the right size, or None.

    It finds the mistakes of a layer whose output the model crops, rightly, after it.
    """
    sizes, x = sorted(trial.expected.shape), list_input_layouts(trial.inputs[0])[-1]
    if sorted(trial.given.shape) != sizes:
        for rule in RULES:
            if rule.name == "padding":
                for compute, _ in rule.try_on(trial, op):
                    if sorted(_compute(compute, x).shape) == sizes:
                        return compute
    return None


def _find_layer_cause(trial: Trial, op: Function | None, suffix: str = "") -> Cause | None:
    activation: Any = getattr(trial.call.module, "activation", None)
    own = activation if callable(activation) else activations.linear
    if own is activations.linear:
        found = (
            _find_missing_activation(trial)
            or _apply_rules(trial, op, {"": own}, suffix)
            or _find_activation(trial, op or trial.call.repeat, _MISSING, outside=True)
        )
    else:
        found = _apply_rules(trial, op, {"": activations.linear if op is None else own}, suffix)
    if found is not None:
        return found
    if op is None:
        return _find_activation(trial, lambda x: x, "Keras computes `{}` here. Use that.")
    if own is not activations.linear:
        name = getattr(own, "__name__", type(own).__name__)
        return _find_activation(trial, op, f"its activation is `{name}`, Keras's is `{{}}`.")
    return _apply_rules(trial, op, ACTIVATIONS, f" (Keras then applies `{{}}`.){suffix}")


def _find_activation(trial: Trial, run: Compute, text: str, outside: bool = False) -> Cause | None:
    """Return a cause that names the activation with which, applied last, a computation agrees."""
    name = _find_finish(trial, run, ACTIVATIONS)
    return (
        None if name is None else Cause("activation", trial.call.layer, text.format(name), outside)
    )


def _find_missing_activation(trial: Trial) -> Cause | None:
    """Return the cause that an activation is missing, whatever the layer's input was."""
    given = replace(trial, inputs=())
    return _find_activation(given, lambda: trial.given, _MISSING, outside=True)


def _apply_rules(
    trial: Trial, op: Any, finishes: Mapping[str, Activation], suffix: str
) -> Cause | None:
    """Return the mistake without which a computation agrees, with one of these activations."""
    for rule in RULES:
        for compute, exchanged in rule.try_on(trial, op):
            name = _find_finish(trial, compute, finishes)
            if name is not None:
                text = rule.text.format(exchanged) + suffix.format(name)
                return Cause(rule.name, trial.call.layer, text, rule.name == "padding")
    return None


def _agrees(trial: Trial, compute: Compute) -> bool:
    """Return whether a computation gives the expected output."""
    return _find_finish(trial, compute, {"": activations.linear}) is not None


def _find_finish(trial: Trial, compute: Compute, finishes: Mapping[str, Activation]) -> str | None:
    """Return the activation with which a computation agrees, in any layout of its inputs."""
    layouts = [list_input_layouts(tensor) for tensor in trial.inputs]
    has_several = any(len(views) > 1 for views in layouts)
    for layout in (0, -1) if has_several else (0,):
        inputs = [views[layout] for views in layouts]
        for view in list_output_layouts(_compute(compute, *inputs)):
            for name, finish in finishes.items() if view.shape == trial.expected.shape else ():
                if trial.agrees(_compute(finish, view), trial.expected):
                    return name
    return None


def _compute(compute: Compute, *inputs: Tensor) -> Tensor:
    """Return a computation's output, or an empty tensor if it refuses the inputs."""
    try:
        outputs = compute(*inputs)
    except (RuntimeError, ValueError, TypeError, LookupError):
        return torch.empty(0)
    return outputs if isinstance(outputs, Tensor) else torch.empty(0)


def has_right_input(trial: Trial) -> bool:
    """Return whether a layer's input was right, though maybe padded or in another order of axes."""
    pairs = zip(trial.taken, trial.inputs, strict=False)
    return (
        all(trial.agrees(*pair) or _is_padded(trial, *pair) for pair in pairs)
        or trial.agrees(trial.given, trial.expected)
        or _find_missing_activation(trial) is not None
        or find_input_cause(trial) is not None
    )


def _is_padded(trial: Trial, found: Tensor, wanted: Tensor) -> bool:
    """Return whether one tensor is the other, padded along some axes."""
    for view in list_input_layouts(wanted):
        if found.ndim == view.ndim > 2 and found.shape[0] == view.shape[0]:
            more = [own - inner for own, inner in zip(found.shape, view.shape, strict=True)]
            if min(more) >= 0 < max(more) and math.prod(n + 1 for n in more) <= _MOST_OFFSETS:
                for offset in itertools.product(*(range(n + 1) for n in more)):
                    inside = (slice(a, a + n) for a, n in zip(offset, view.shape, strict=True))
                    if trial.agrees(found[tuple(inside)], view):
                        return True
    return False


def find_input_cause(trial: Trial) -> Cause | None:
    """Return the known mistake in a layer's input, or None."""
    for image in trial.images:
        for moved in (to_channels_second(image, -1), to_channels_last(image)):
            flat = moved.flatten(1)
            if any(trial.agrees(found, flat) for found in (*trial.taken[:1], trial.given)):
                return Cause("flatten order", trial.call.layer, _FLATTEN_ORDER, outside=True)
    for taken, wanted in zip(trial.taken, trial.inputs, strict=False):
        for order in ((0, 2, 1, 3), (0, 1, 3, 2)):
            if wanted.ndim == 4 and trial.agrees(taken, permute_axes(wanted, order)):
                return Cause("input height and width", trial.call.layer, _SWAPPED_SIDES)
    return None


def _find_cause_before(trial: Trial) -> Cause:
    same = all(map(trial.agrees, trial.taken, trial.inputs))
    if same and len(trial.taken) == len(trial.inputs):
        text = (
            "on the same input it agrees when it is run again: its values change from call to "
            "call, or something changes its output."
        )
        return Cause("not repeatable", trial.call.layer, text)
    text = (
        "on the reference's input it agrees, but its input in the model differs. Check what comes "
        "between the previous layer and this one; if all earlier differences are near `rtol`, "
        "rounding errors add up, and a larger `rtol` is enough."
    )
    return Cause("input", trial.call.layer, text)
