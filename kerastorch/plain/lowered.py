"""A model in plain PyTorch: its graph, and what it takes and returns."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import fx

from .._core.errors import argument_error
from ..dtype_policies import to_torch_dtype
from ..graph.slots import fill_slots
from ..layers.base.layer import Layer
from ..layers.core.input import InputLayer
from ..models.base import Model
from .graph import Value


class Port(NamedTuple):
    """An input or output of the written model.

    Attributes:
        name: The argument of `forward`; "" for an output.
        shape: The shape in Keras, batch included; None for any size.
        dtype: The torch dtype.
        moved: Whether it is passed with the channels as axis 1, where Keras has them last.
        limit: For integers, or floating-point numbers that are used as such: they are below it.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: torch.dtype
    moved: bool
    limit: int | None = None

    @property
    def written_shape(self) -> tuple[int | None, ...]:
        """The shape as it is passed."""
        if not self.moved:
            return self.shape
        batch, *rest = self.shape
        return (batch, rest[-1], *rest[:-1])


@dataclass
class Lowered:
    """A model in plain PyTorch.

    Attributes:
        module: The module that the written class computes, with the weights.
        inputs: The inputs, in the order of the arguments.
        outputs: The outputs, in the order of the returned structure.
        structure: The structure in which the Keras model takes its inputs.
        class_names: The name of the Keras model that each class is.
        names: The attribute of each layer -> the layer's path in Keras, where they differ.
    """

    module: fx.GraphModule
    inputs: list[Port]
    outputs: list[Port]
    structure: Any
    class_names: dict[fx.GraphModule, str]
    names: dict[str, str]

    def pack_inputs(self, inputs: list[Any]) -> Any:
        """Return inputs in the structure in which the Keras model takes them."""
        return fill_slots(self.structure, inputs)


def describe_input(module: fx.GraphModule, x: Value, limit: int, dtype: torch.dtype) -> Port:
    """Return an input; floating-point numbers may be used as integers only, as ids are."""
    own = dtype if x.dtype.is_floating_point else x.dtype
    is_integer = not x.dtype.is_floating_point or _is_index(module, x.node)
    return Port(x.node.name, x.shape, own, x.moved, limit if is_integer else None)


def _is_index(module: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a value is only converted to integers, and compared."""
    uses = set()
    for user in node.users:
        inner = module.get_submodule(str(user.target)) if user.op == "call_module" else None
        if isinstance(inner, fx.GraphModule):
            given = [one for one in inner.graph.nodes if one.op == "placeholder"]
            uses.add(_is_index(inner, given[user.args.index(node)]))
        elif user.target is not operator.ne:
            uses.add(user.target in ("long", "int"))
    return uses == {True}


def find_dtype(model: Model) -> torch.dtype:
    """Return the floating-point dtype of a model; refuse several, and layers that are not built."""
    found: dict[str, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, Layer) and not isinstance(module, InputLayer):
            module._require_built("to_source")
            policy = module.dtype_policy
            for dtype in (policy.compute_dtype, policy.variable_dtype):
                if "float" in dtype:
                    found.setdefault(dtype, name)
    if len(found) > 1:
        rule = "of one floating-point dtype"
        remedy = "Call `model.double()` first: all layers then compute in one dtype."
        raise ValueError(argument_error("to_source", "model", rule, found, remedy))
    return to_torch_dtype(next(iter(found), "float32"))
