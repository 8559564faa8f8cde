"""The weights of a layer: what each one is to Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer

from ..._core import distributed
from ..._core.arrays import from_array, to_array

Shape = tuple[int, ...]
Callback = Callable[[Tensor], Tensor]


def _as_is(tensor: Tensor) -> Tensor:
    return tensor


class Role(NamedTuple):
    """What one parameter or buffer is to Keras.

    Attributes:
        parameter: The parameter's name in PyTorch: "weight".
        name: Keras's name: "kernel".
        initializer: The layer's attribute that holds the initializer.
        regularizer: The layer's attribute that holds the regularizer; None where there is none.
        constraint: The layer's attribute that holds the constraint; None where there is none.
        view: Views a tensor in PyTorch's order of axes in Keras's order.
        empty: Makes an unfilled tensor of a shape in PyTorch's order.
        dtype: The type it has whatever the layer's policy; None where the policy decides.
        buffer: Whether it is a buffer, such as a moving mean, and not a parameter.
        when: The layer's attribute that says whether it has the weight; None where it always has.
    """

    parameter: str
    name: str
    initializer: str
    regularizer: str | None = None
    constraint: str | None = None
    view: Callback = _as_is
    empty: Callable[..., Tensor] = torch.empty
    dtype: torch.dtype | None = None
    buffer: bool = False
    when: str | None = None


def declare_weight(
    parameter: str,
    name: str,
    view: Callback = _as_is,
    empty: Callable[..., Tensor] = torch.empty,
    when: str | None = None,
) -> Role:
    """Return the role of a parameter with Keras's three arguments, `<name>_initializer` etc."""
    initializer, regularizer = f"{name}_initializer", f"{name}_regularizer"
    constraint = f"{name}_constraint"
    return Role(parameter, name, initializer, regularizer, constraint, view, empty, when=when)


class Variable(NamedTuple):
    """One weight of a built layer as Keras sees it.

    Attributes:
        name: Keras's name: "kernel".
        parameter: The parameter itself.
        value: The view of it in Keras's order; what is written to it reaches the parameter.
        regularizer: What adds a loss term for it, or None.
        constraint: What projects it after an optimizer step, or None.
    """

    name: str
    parameter: Tensor
    value: Tensor
    regularizer: Callback | None
    constraint: Callback | None


def get_weights(layer: Any) -> list[np.ndarray[Any, Any]]:
    """Return copies of all weights as arrays in Keras's order of axes; bfloat16 as float32."""
    return [to_array(distributed.whole(variable.value)) for variable in layer.variables]


def set_weights(layer: Any, weights: Sequence[Any]) -> None:
    """Copy arrays into the weights, all of them or none.

    Args:
        layer: The layer; as a method, itself.
        weights: Arrays or tensors as `get_weights` and Keras's `get_weights` give them.

    Raises:
        ValueError: their number or a shape differs, or one is no array of real numbers.
    """
    distributed.settle(layer, "set_weights")
    variables = layer.variables
    expected = [(v.name, tuple(v.value.shape)) for v in variables]
    if isinstance(weights, (str, Tensor)) or not isinstance(weights, Iterable):
        layer._refuse("weights", f"a list of arrays for {expected}", weights)
    weights = list(weights)
    given = [from_array(value) for value in weights]
    shapes = [
        type(value).__name__ if array is None else tuple(array.shape)
        for value, array in zip(weights, given, strict=True)
    ]
    if shapes != [shape for _, shape in expected]:
        remedy = "" if layer.built else "Build the layer first: `layer.build(input_shape)`."
        layer._refuse("weights", f"a list of arrays for {expected}", shapes, remedy)
    views = [layer._writable(variable) for variable in variables]
    for view, value in zip(views, given, strict=True):
        distributed.write(view, value)  # type: ignore[arg-type]


class LazyBuffer(UninitializedBuffer):
    """An uninitialized buffer that can be copied, as torch's uninitialized parameters can."""

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyBuffer:
        """Return another one of the same type and device."""
        if id(self) not in memo:
            make: Any = type(self)
            memo[id(self)] = make(False, self.data.device, self.data.dtype)
        copied: LazyBuffer = memo[id(self)]
        return copied


def infer_shapes(layer: Any, saved: Mapping[str, Shape]) -> dict[str, Shape] | None:
    """Return all parameters' shapes for Keras's shapes of some, which go by Keras's names.

    None where no input leads to them.
    """
    roles = {role.name: role for role in layer.roles if layer._has(role)}
    if not saved or not saved.keys() <= roles.keys():
        return None
    try:
        shapes = {roles[n].parameter: _unviewed(roles[n], shape) for n, shape in saved.items()}
    except KeyError:  # a kernel of a rank that no kernel has
        return None
    input_shape = layer._input_shape_for(shapes)
    if input_shape is None:
        return None
    try:
        expected = layer._shapes_for(input_shape)
    except (IndexError, ValueError):
        return None
    fits = all(expected.get(name) == shape for name, shape in shapes.items())
    return expected if fits else None


def _unviewed(role: Role, shape: Shape) -> Shape:
    """Return the shape in PyTorch's order of what has a shape in Keras's order."""
    came_from = role.view(torch.empty(tuple(range(len(shape))), device="meta")).shape
    sizes = dict(zip(came_from, shape, strict=True))
    return tuple(sizes[axis] for axis in range(len(shape)))
