"""A model's inputs, in the dtype and rank that their InputLayers declare."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._core.arrays import find_remedy, to_tensor
from .._core.errors import argument_error
from ..graph.slots import Slot
from ..graph.structure import map_structure
from ..layers.core.input import InputLayer, to_dense


class Input(NamedTuple):
    """One input of a model."""

    name: str  # that of its InputLayer
    dtype: torch.dtype  # what it is cast to
    shape: tuple[int | None, ...] | None  # with the batch; None for any
    optional: bool = False  # whether it may be None
    sized: bool = True  # whether the sizes but the batch must match, or only the rank

    @classmethod
    def of(cls, layer: InputLayer, *, sized: bool) -> Input:
        """Return the input that an InputLayer declares."""
        dtype: torch.dtype = getattr(torch, layer.dtype)
        return cls(layer.name, dtype, layer.batch_shape, layer.optional, sized)

    def standard(self, x: Tensor, owner: Any) -> Tensor:
        """Return an input of the model `owner` in the declared dtype and rank.

        As in Keras, a last axis of size 1 may be added or missing, and sparse tensors become dense.

        Raises:
            ValueError: it has another shape, is nested, or is complex.
        """
        x = to_dense(x, owner._title, self.name)
        wanted = self.shape
        if wanted is not None:
            shape = x.shape
            if len(shape) == len(wanted) + 1 and shape[-1] == 1:
                x = x.squeeze(-1)
            elif len(shape) == len(wanted) - 1 and wanted[-1] == 1:
                x = x.unsqueeze(-1)
            fits = x.ndim == len(wanted)
            if fits and self.sized:
                sizes = zip(x.shape[1:], wanted[1:], strict=True)
                fits = all(size is None or own == size for own, size in sizes)
            if not fits:
                rule = f"of the shape {(None, *wanted[1:]) if wanted else ()}"
                owner._refuse_argument(self.name, rule, tuple(shape))
        if x.dtype is self.dtype:
            return x
        if x.is_complex():
            owner._refuse_argument(self.name, "a tensor of real numbers", x.dtype)
        return x.to(self.dtype)


def store_inputs(model: Any, template: Any, given: Any, values: list[Any]) -> None:
    """Store what a model is called on in the slots of a template of its inputs."""
    if isinstance(template, Slot):
        one = model._inputs[template.index]
        if isinstance(given, dict) and set(given) == {one.name}:
            given = given[one.name]
        elif isinstance(given, (list, tuple)) and len(given) == 1:
            given = given[0]
        values[template.index] = _prepare_input(model, given, one)
        return
    if isinstance(template, dict):
        if len(template) == 1 and not isinstance(given, (list, tuple, dict)):
            given = dict.fromkeys(template, given)
        if not isinstance(given, dict) or set(given) != set(template):
            rule = f"a dict of {_input_names(model, template)}"
            model._refuse_argument("inputs", rule, _describe(given))
        pairs = [(inner, given[key]) for key, inner in template.items()]
    else:
        if isinstance(given, dict) and all(isinstance(inner, Slot) for inner in template):
            names = [model._inputs[inner.index].name for inner in template]
            given = [given[name] for name in names] if set(given) == set(names) else given
        elif len(template) == 1 and not isinstance(given, (list, tuple)):
            given = [given]
        if not isinstance(given, (list, tuple)) or len(given) != len(template):
            rule = f"a list of {_input_names(model, template)}"
            model._refuse_argument("inputs", rule, _describe(given))
        pairs = list(zip(template, given, strict=True))
    for inner, value in pairs:
        store_inputs(model, inner, value, values)


def _input_names(model: Any, template: Any) -> Any:
    return map_structure(lambda slot: model._inputs[slot.index].name, template, Slot)


def _prepare_input(model: Any, value: Any, one: Input) -> Any:
    """Return one input as the layers accept it; arrays go to the weights' device."""
    is_nested = isinstance(value, (list, tuple, dict))
    if (is_nested and one.shape is None) or (value is None and one.optional):
        return value
    if not isinstance(value, Tensor):
        found = to_tensor(value) if hasattr(value, "__array__") else None
        if found is None:
            rule = "a tensor or an array of real numbers"
            message = argument_error(model._title, one.name, rule, value, find_remedy(value))
            raise ValueError(message)
        first = next(model.parameters(), None)
        value = found if first is None else found.to(first.device)
    return one.standard(value, model)


def _describe(given: Any) -> Any:
    """Return a structure with the shapes of the tensors, for a message."""
    return map_structure(lambda x: tuple(x.shape) if hasattr(x, "shape") else x, given)
