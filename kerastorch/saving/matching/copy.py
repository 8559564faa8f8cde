"""Reading arrays beside the parameters that take them, and copying them once all are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..._core.arrays import to_array
from ..._core.errors import FileError
from ...layers.base.layer import Layer
from ..weights.parameters import METHOD
from .load_plan import Assignment, LoadPlan

Staged = tuple[nn.Module, str, Tensor]  # a module, its parameter's name, and what to give it


def copy_weights(plan: LoadPlan, source: str) -> None:
    """Read all arrays, and give them to the modules once nothing can fail half-way.

    Args:
        plan: What goes where.
        source: What messages call the source.

    Raises:
        FileError: an array cannot be read, or a module's method refused its arrays; the module is
            unchanged.
    """
    values, arrays = staged(plan), read_for_methods(plan)
    call_methods(plan, arrays, source)
    commit(values)


def staged(match: LoadPlan) -> list[Staged]:
    """Read every array into a tensor like the parameter that takes it; nothing is changed yet.

    For a layer that is not built yet this is the parameter to be; what the source lacks of such a
    layer gets its initial values. A parameter that several modules share takes one array, however
    often the source has it.
    """
    values: dict[int, Staged] = {}
    paths: dict[int, str] = {}
    for pair in match.assignments:
        target, own = pair.target, id(pair.target.tensor)
        value = _like(target.owner, target.parameter, target.tensor, match)
        _fill(pair, value)
        if own not in values:
            values[own], paths[own] = (target.owner, target.parameter, value), pair.path
        elif not torch.equal(values[own][2].nan_to_num(), value.nan_to_num()):
            what = f"{paths[own]} and {pair.path} are one parameter"
            raise FileError(f"{what}, but the source has different values for them.")
    for layer, shapes in match.shapes.items():
        left = {n: shape for n, shape in shapes.items() if id(getattr(layer, n)) not in values}
        for name, value in layer._initial_values(left).items():
            values[id(getattr(layer, name))] = (layer, name, value)
    return list(values.values())


def _like(owner: nn.Module, name: str, tensor: Tensor, match: LoadPlan) -> Tensor:
    if isinstance(owner, Layer) and owner in match.shapes:
        role = next(role for role in owner.roles if role.parameter == name)
        return owner._empty(role, match.shapes[owner][name])
    return torch.empty_like(tensor, device="cpu", requires_grad=False)


def _fill(pair: Assignment, value: Tensor) -> None:
    if pair.weight is None:
        value.zero_()
        return
    weight, done = pair.weight, 0
    view = pair.target.view_as(value, weight.shape)
    for rows in weight.read.blocks() if hasattr(weight.read, "blocks") else [weight.read()]:
        place = view if view is None or not rows.ndim else view[done : done + len(rows)]
        if place is None or place.shape != rows.shape:
            what = f"{weight.path} has the shape {tuple(rows.shape)}"
            raise FileError(f"{what}, where the source said {weight.shape}.")
        place.copy_(rows)
        if _narrows(rows.dtype, value.dtype) and bool((place.isinf() & ~rows.isinf()).any()):
            rule = f"numbers that {value.dtype} can hold"
            remedy = "Convert the module to a wider type first."
            raise FileError(f"{weight.path} must have {rule}, which {pair.path} is. {remedy}")
        done += len(rows) if rows.ndim else 0
    if weight.shape and done != weight.shape[0]:
        what = f"{weight.path} has {done} rows"
        raise FileError(f"{what}, where the source said {weight.shape}.")


def _narrows(given: torch.dtype, own: torch.dtype) -> bool:
    floating = given.is_floating_point and own.is_floating_point
    return floating and torch.finfo(own).max < torch.finfo(given).max


def commit(values: list[Staged]) -> None:
    """Give the parameters their values: nothing here can fail half-way."""
    unbuilt: dict[Layer, dict[str, Tensor]] = {}
    with torch.inference_mode(False), torch.no_grad():  # in this order: the first allows gradients
        for owner, name, value in values:
            tensor = getattr(owner, name)
            if is_lazy(tensor) and isinstance(owner, Layer):
                unbuilt.setdefault(owner, {})[name] = value
            else:
                tensor.copy_(value)
        for layer, found in unbuilt.items():
            layer._become_built(found)


def read_for_methods(match: LoadPlan) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Read the arrays that modules of the caller's own take by their methods."""
    return [
        {name: to_array(weight.read()) for name, weight in call.weights.items()}
        for call in match.calls
    ]


def call_methods(
    match: LoadPlan, arrays: list[dict[str, np.ndarray[Any, Any]]], source: str
) -> None:
    """Give modules of the caller's own their arrays; where one fails, all are as they were.

    Raises:
        FileError: a method raised an error.
    """
    before: list[tuple[Tensor, Tensor]] = []
    with torch.inference_mode(False), torch.no_grad():
        for call, given in zip(match.calls, arrays, strict=True):
            tensors = [*call.module.parameters(), *call.module.buffers()]
            before += [(tensor, tensor.clone()) for tensor in tensors if not is_lazy(tensor)]
            try:
                call.module.load_keras_weights(given)  # type: ignore[operator]
            except Exception as error:
                for tensor, value in before:
                    tensor.copy_(value)
                owner = f"{call.path or 'the module'} ({type(call.module).__name__})"
                what = f"`{METHOD}` raised {type(error).__name__}: {error}"
                shapes = ", ".join(f"{name} {array.shape}" for name, array in given.items())
                raise FileError(f"{source}: {owner}: {what}. It got {shapes}.") from error
