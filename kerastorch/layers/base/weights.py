"""The weights of a layer: how each one is named in Keras, stored, read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from ..._core import distributed
from ..._core.arrays import to_numpy, to_tensor

Shape = tuple[int, ...]
Sizes = tuple[int | None, ...]  # a shape in which sizes may be unknown
Callback = Callable[[Tensor], Tensor]


class WeightSpec(NamedTuple):
    """How one weight is named in Keras, stored, initialized, regularized and constrained."""

    parameter: str  # its name in PyTorch: "weight"
    name: str  # Keras's name: "kernel"
    initializer: str  # the layer's attributes with the initializer, the regularizer, ...
    regularizer: str | None = None
    constraint: str | None = None
    view: Callable[..., Tensor] = lambda tensor: tensor  # views it in Keras's order of axes
    empty: Callable[..., Tensor] = torch.empty  # makes a tensor of a shape in PyTorch's order
    dtype: torch.dtype | None = None  # one that does not depend on the layer's policy
    buffer: bool = False  # a buffer, such as a moving mean, and not a parameter
    when: str | tuple[str, ...] | None = None  # the layer's attributes that turn the weight on
    in_keras: bool = True  # whether Keras has it: torch.nn's LSTM has one more bias
    group: str = ""  # the path of the group below the layer's own where Keras 3 stores it
    # Where `view` cannot be a view: it then computes Keras's value from the parameter and those
    # in `also` that the layer has, and `write` returns the values of all these for Keras's.
    also: tuple[str, ...] = ()
    write: Callable[[Tensor], Sequence[Tensor]] | None = None

    @property
    def path(self) -> str:
        """Keras's name, after the group if there is one: two groups may have the same names."""
        return f"{self.group}/{self.name}" if self.group else self.name

    def is_on(self, get: Callable[[str], Any]) -> bool:
        """Return whether the attributes, which `get` returns, turn the weight on."""
        names = (self.when,) if isinstance(self.when, str) else self.when or ()
        return all(map(get, names))

    def view_weight(self, layer: Any, tensor: Tensor) -> WeightView:
        """Return the weight as Keras sees it."""
        regularizer = None if self.regularizer is None else getattr(layer, self.regularizer)
        constraint = None if self.constraint is None else getattr(layer, self.constraint)
        parameters = (tensor, *self.list_also(layer))
        view = partial(layer._view_in_keras_order, self)
        return WeightView(self.name, parameters, view, regularizer, constraint, self.write)

    def list_also(self, layer: Any) -> tuple[Tensor, ...]:
        """Return the other parameters of the weight that a layer has."""
        found = (layer._tensor(name) for name in self.also)
        return tuple(tensor for tensor in found if tensor is not None)


def declare_weight(parameter: str, name: str, **options: Any) -> WeightSpec:
    """Return the spec of a parameter with Keras's three arguments, `<name>_initializer` etc."""
    names = {kind: f"{name}_{kind}" for kind in ("initializer", "regularizer", "constraint")}
    return WeightSpec(parameter, name, **{**names, **options})


class WeightView(NamedTuple):
    """One weight of a built layer."""

    name: str
    parameters: tuple[Tensor, ...]
    view: Callable[..., Tensor]
    regularizer: Callback | None
    constraint: Callback | None
    write: Callable[[Tensor], Sequence[Tensor]] | None  # None where `value` is a view

    @property
    def parameter(self) -> Tensor:
        """The parameter, or the first of several."""
        return self.parameters[0]

    @property
    def value(self) -> Tensor:
        """The weight in Keras's order of axes: a view, or computed where there is `write`."""
        if self.write is None:
            return self.view(self.parameter)
        return self.view(*map(distributed.gather, self.parameters))


def write_weight(variable: WeightView, values: Tensor) -> None:
    """Copy values in Keras's order to a weight."""
    if variable.write is None:
        distributed.write_full(variable.value, values)
        return
    for parameter, part in zip(variable.parameters, variable.write(values), strict=True):
        distributed.write_full(parameter, part)


def get_weights(layer: Any) -> list[np.ndarray[Any, Any]]:
    """Return copies of all weights as arrays in Keras's order of axes; bfloat16 as float32."""
    return [to_numpy(distributed.gather(variable.value)) for variable in layer.variables]


def set_weights(layer: Any, weights: Sequence[Any]) -> None:
    """Copy arrays into the weights, all of them or none.

    Args:
        layer: The layer; as a method, itself.
        weights: Arrays or tensors as `get_weights` and Keras's `get_weights` return them.

    Raises:
        ValueError: Their number or a shape differs, or one is no array of real numbers.
    """
    distributed.require_unsharded_view(layer, "set_weights")
    variables = layer.variables
    expected = [(v.name, tuple(v.value.shape)) for v in variables]
    rule = f"a list of arrays for {expected}"
    if isinstance(weights, (str, Tensor)) or not isinstance(weights, Iterable):
        layer._refuse_argument("weights", rule, weights)
    weights = list(weights)
    arrays = [to_tensor(value) for value in weights]
    shapes = [
        type(value).__name__ if array is None else tuple(array.shape)
        for value, array in zip(weights, arrays, strict=True)
    ]
    if shapes != [shape for _, shape in expected]:
        remedy = "" if layer.built else "Build the layer first: `layer.build(input_shape)`."
        layer._refuse_argument("weights", rule, shapes, remedy)
    for variable in variables:
        layer._require_writable(variable)
    for variable, value in zip(variables, arrays, strict=True):
        write_weight(variable, value)  # type: ignore[arg-type]


def require_writable(layer: Any, variable: WeightView) -> None:
    """Raise if a parameter of a weight is computed from others."""
    own = set(map(id, layer._tensors().values()))
    for parameter in variable.parameters:
        if id(parameter) not in own:
            remedy = "Remove the parametrization, the pruning or the spectral or weight norm first."
            rule = "a parameter of its own, not one computed from others"
            layer._refuse_argument(variable.name, rule, type(parameter), remedy)


class LazyBuffer(UninitializedBuffer):
    """An uninitialized buffer that can be copied, as torch's uninitialized parameters can."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return another one of the same dtype and device."""
        if id(self) not in memo:
            make: Any = type(self)
            memo[id(self)] = make(False, self.data.device, self.data.dtype)
        return memo[id(self)]


def make_uninitialized(buffer: bool, requires_grad: bool, device: Any, dtype: torch.dtype) -> Any:
    """Return an uninitialized buffer or parameter."""
    make: Any = LazyBuffer if buffer else UninitializedParameter
    return make(requires_grad, device, dtype)


def is_lazy(tensor: Any) -> bool:
    """Do what torch's `is_lazy` does; that one breaks the graphs of `torch.compile`."""
    return isinstance(tensor, (UninitializedParameter, UninitializedBuffer))


def infer_weight_shapes(layer: Any, saved: Mapping[str, Shape]) -> dict[str, Shape] | None:
    """Infer all parameters' shapes from Keras's shapes of some, by `WeightSpec.path`; else None."""
    weight_specs = {
        spec.path: spec for spec in layer.weight_specs if spec.in_keras and layer._uses_weight(spec)
    }
    if not saved or not saved.keys() <= weight_specs.keys():
        return None
    found = [(weight_specs[name], shape) for name, shape in saved.items()]
    try:
        shapes = {spec.parameter: layer._to_torch_shape(spec, shape) for spec, shape in found}
    except KeyError:  # a kernel of a rank that no kernel has
        return None
    return layer._complete_shapes(shapes)  # type: ignore[no-any-return]


def view_in_keras_order(layer: Any, spec: WeightSpec, tensor: Tensor, *also: Tensor) -> Tensor:
    """Return the view of a weight's tensor in Keras's order of axes, or its value there."""
    return spec.view(tensor, *also)


def to_torch_shape(layer: Any, spec: WeightSpec, shape: Shape) -> Shape:
    """Convert a weight's shape in Keras's order of axes; raise KeyError where no weight has it."""
    axes = spec.view(torch.empty(tuple(range(len(shape))), device="meta")).shape
    sizes = dict(zip(axes, shape, strict=True))
    return tuple(sizes[axis] for axis in range(len(shape)))
