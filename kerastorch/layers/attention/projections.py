"""HeadProjections: the weights of attention with several heads, and their shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ... import initializers
from ..._core.layout import heads_weight_to_kernel, output_weight_to_kernel
from ..base.layer import Layer
from ..base.weights import Shape, Sizes, WeightSpec, declare_weight

INPUTS = ("query", "value", "key")


def declare_projection(name: str, group: str, when: tuple[str, ...] = ()) -> list[WeightSpec]:
    """Return the specs of the kernel and the bias of a projection."""
    return [
        declare_weight(f"{name}_weight", "kernel", group=group, when=when),
        declare_weight(f"{name}_bias", "bias", group=group, when=("use_bias", *when)),
    ]


class HeadProjections(Layer):
    """A layer that projects query, key and value to several heads, and the result of these.

    Each projection has a weight as `nn.Linear` has it, (heads * size, features), and a bias.
    """

    shape_arguments = ("value", "key")
    output_shape: tuple[int, ...] | None = None
    kernel_initializer: Any
    _sizes: tuple[int, int]  # of a query or key, and of a value, of one head
    _heads: tuple[int, int]  # the numbers of those of the queries, and of the keys and values

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
        """Return the group of each projection, with the names of its weights."""
        given = {"use_bias": True, **config}
        found: dict[str, tuple[str, ...]] = {}
        for spec in cls.weight_specs:
            if spec.is_on(given.get):
                found[spec.group] = (*found.get(spec.group, ()), spec.name)
        return list(found.items())

    def build(self, query_shape: Any, value_shape: Any = None, key_shape: Any = None) -> None:
        """Give the weights their shapes and their initial values.

        Args:
            query_shape: The shape of the query, batch included; unknown sizes are None. A list of
                shapes is that of all arguments.
            value_shape: That of the value; by default the query's.
            key_shape: That of the key; by default the value's.

        Raises:
            ValueError: The layer is built already or does not accept such an input.
        """
        is_list = bool(query_shape) and isinstance(query_shape[0], (list, tuple))
        super().build(_complete(query_shape if is_list else [query_shape, value_shape, key_shape]))

    def _find_input_shape(self, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        given = {**dict(zip(INPUTS, args, strict=False)), **kwargs}
        found = [given.get(name) for name in INPUTS]
        shapes = [
            None if one is None and name != "query" else self._as_tensor(one, _label(name)).shape
            for name, one in zip(INPUTS, found, strict=True)
        ]
        return _complete(shapes), "query"

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        is_one = not shape or not isinstance(shape[0], (list, tuple))
        given = _complete([shape] if is_one else shape)
        suffix = "" if argument == "query" else "_shape"
        names = [f"{name}{suffix}" for name in INPUTS]
        shapes = [self._check_shape(*pair) for pair in zip(given, names, strict=True)]
        for name, one in zip(names, shapes, strict=True):
            if not one[-1]:
                self._refuse_argument(name, "a shape with a known last size, 1 at least", one)
        self._require_same_steps(shapes[1], shapes[2], names[2])
        query, value, key = (int(one[-1] or 0) for one in shapes)
        (heads, few), (size, value_size) = self._heads, self._sizes
        rows = {
            "query": (heads * size, query),
            "key": (few * size, key),
            "gate": (heads * value_size, query),
            "value": (few * value_size, value),
            "output": (math.prod(self.output_shape or (query,)), heads * value_size),
        }
        found: dict[str, Shape] = {}
        for spec in filter(self._uses_weight, self.weight_specs):
            name, _, kind = spec.parameter.partition("_")
            found[spec.parameter] = rows[name] if kind == "weight" else rows[name][:1]
        return found

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[Any] | None:
        sizes = {n: s[1] for n, s in shapes.items() if n.endswith("_weight") and len(s) == 2}
        query = sizes.get("query_weight", sizes.get("gate_weight"))
        if query is None:
            return None
        value = sizes.get("value_weight", sizes.get("key_weight", query))
        return [[None, None, n] for n in (query, value, sizes.get("key_weight", value))]

    def _view_in_keras_order(self, spec: WeightSpec, tensor: Tensor, *also: Tensor) -> Tensor:
        name, _, kind = spec.parameter.partition("_")
        heads = self._heads[name in ("key", "value")]
        if name != "output":
            is_bias = kind == "bias"
            split = (heads, tensor.shape[0] // heads)
            return (
                torch.unflatten(tensor, 0, split)
                if is_bias
                else heads_weight_to_kernel(tensor, heads)
            )
        sizes = self.output_shape or tensor.shape[:1]
        if kind == "bias":
            return torch.unflatten(tensor, 0, tuple(sizes))
        return output_weight_to_kernel(tensor, heads, sizes)

    def _to_torch_shape(self, spec: WeightSpec, shape: Shape) -> Shape:
        """Convert a weight's shape in Keras's order of axes."""
        name, _, kind = spec.parameter.partition("_")
        if kind == "bias":
            return (math.prod(shape),)
        if name == "output":
            return math.prod(shape[2:]), math.prod(shape[:2])
        return math.prod(shape[1:]), shape[0]

    def _fill(self, spec: WeightSpec, view: Tensor) -> None:
        """Count the sizes of the input to the fan in, those of the output to the fan out."""
        found = self.kernel_initializer
        scaled = isinstance(found, initializers.VarianceScaling)
        if spec.name == "bias" or not scaled or None not in (found.input_axes, found.output_axes):
            super()._fill(spec, view)
            return
        kept = found.input_axes, found.output_axes
        split = 2 if spec.parameter == "output_weight" else 1
        found.input_axes, found.output_axes = [*range(split)], [*range(split, view.ndim)]
        try:
            super()._fill(spec, view)
        finally:
            found.input_axes, found.output_axes = kept

    # Shapes

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any = None, key_shape: Any = None
    ) -> Sizes:
        """Return the output shape for the shapes of query, value and key, batch included.

        Raises:
            ValueError: The layer does not accept such inputs.
        """
        names = [f"{name}_shape" for name in INPUTS]
        given = _complete([query_shape, value_shape, key_shape])
        query, value, key = (self._check_shape(*pair) for pair in zip(given, names, strict=True))
        self._require_same_steps(value, key, names[2])
        return (*query[:-1], *(self.output_shape or query[-1:]))

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        return self.compute_output_shape(shape)

    def _require_same_steps(self, value: Sizes, key: Sizes, argument: str) -> None:
        if value[:-1] != key[:-1]:
            rule = f"of the value's sizes {value} but for the last one"
            self._refuse_argument(argument, rule, key)


def _complete(shapes: Sequence[Any]) -> list[Any]:
    """Return the shapes of query, value and key: a value is the query, a key the value."""
    query, value, key = [*shapes, None, None][:3]
    value = query if value is None else value
    return [query, value, value if key is None else key]


def _label(name: str) -> str:
    return "inputs" if name == "query" else name
