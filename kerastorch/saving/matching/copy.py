"""Read all arrays into buffers, then copy them to the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..._core.arrays import to_numpy
from ..._core.errors import FileError
from ...layers.base.layer import Layer
from ..formats.weight_file import Weight
from ..torch_layers.adapter import View
from ..weights.parameters import METHOD
from .load_plan import Assignment, LoadPlan

Arrays = dict[str, np.ndarray[Any, Any]]
Buffer = tuple[nn.Module, str, Tensor]  # a module, the name of its parameter, the new value


def copy_weights(plan: LoadPlan, source: str) -> None:
    """Read all arrays, then copy them to the modules; an error leaves the modules unchanged.

    Raises:
        FileError: an array cannot be read, or a module's method raised an error.
    """
    buffers = _read_into_buffers(plan)
    arrays = [{n: to_numpy(w.read()) for n, w in call.weights.items()} for call in plan.calls]
    _call_methods(plan, arrays, source)
    _copy_to_parameters(buffers)


def end_laziness(module: nn.Module) -> None:
    """Finish the build of layers whose weights are those of the layers inside them."""
    for layer in module.modules():
        if isinstance(layer, Layer) and layer.built:
            layer._end_laziness()


def _read_into_buffers(plan: LoadPlan) -> list[Buffer]:
    """Read every array into a buffer like its parameter, and initialize what an array lacks."""
    buffers: dict[int, Buffer] = {}  # shared as the parameters are: their arrays must be equal
    paths: dict[int, str] = {}
    for pair in plan.assignments:
        target, key = pair.target, id(pair.target.tensor)
        if target.part and key in buffers and buffers[key][0] is target.owner:
            _fill(pair, buffers[key][2])
            continue
        value = _make_buffer(target.owner, target.parameter, target.tensor, plan)
        if target.part:  # the rest may stay unchanged
            value.copy_(target.tensor)
        _fill(pair, value)
        if key not in buffers:
            buffers[key], paths[key] = (target.owner, target.parameter, value), pair.path
            continue
        both = [target.view(one) if target.part else one for one in (buffers[key][2], value)]
        if not torch.equal(*(one.nan_to_num() for one in both)):
            what = f"{paths[key]} and {pair.path} are one parameter"
            raise FileError(f"{what}, but the source has different values for them.")
    for layer, shapes in plan.shapes.items():
        rest = {n: shape for n, shape in shapes.items() if id(getattr(layer, n)) not in buffers}
        for name, value in layer._make_initial_values(rest).items():
            buffers[id(getattr(layer, name))] = (layer, name, value)
    return list(buffers.values())


def _make_buffer(owner: nn.Module, name: str, tensor: Tensor, plan: LoadPlan) -> Tensor:
    if isinstance(owner, Layer) and owner in plan.shapes:
        spec = next(spec for spec in owner.weight_specs if spec.parameter == name)
        return owner._empty(spec, plan.shapes[owner][name])
    return torch.empty_like(tensor, device="cpu", requires_grad=False)


def _fill(pair: Assignment, value: Tensor) -> None:
    """Read an array into a buffer, in blocks where possible."""
    if pair.weight is None:
        value.zero_()
        return
    weight, done = pair.weight, 0
    if pair.target.write is not None:
        _fill_converted(pair, pair.target.write, value)
        return
    view = pair.target.view_as(value, weight.shape)
    for rows in weight.read.blocks() if hasattr(weight.read, "blocks") else [weight.read()]:
        part = view if view is None or not rows.ndim else view[done : done + len(rows)]
        if part is None or part.shape != rows.shape:
            what = f"{weight.path} has the shape {tuple(rows.shape)}"
            raise FileError(f"{what}, where the source said {weight.shape}.")
        part.copy_(rows)
        _require_finite(pair, weight, part, rows)
        done += len(rows) if rows.ndim else 0
    if weight.shape and done != weight.shape[0]:
        raise FileError(f"{weight.path} has {done} rows, where the source said {weight.shape}.")


def _fill_converted(pair: Assignment, write: View, value: Tensor) -> None:
    """Read a whole array into a buffer whose values Keras keeps in another order."""
    weight: Any = pair.weight
    array = weight.read()
    if tuple(array.shape) != weight.shape:
        what = f"{weight.path} has the shape {tuple(array.shape)}"
        raise FileError(f"{what}, where the source said {weight.shape}.")
    converted = write(array)
    value.copy_(converted)
    _require_finite(pair, weight, value, converted)


def _require_finite(pair: Assignment, weight: Weight, copied: Tensor, read: Tensor) -> None:
    """Raise if the parameter's dtype is too narrow for a value."""
    if _is_narrower(copied.dtype, read.dtype) and bool((copied.isinf() & ~read.isinf()).any()):
        rule = f"finite in {copied.dtype}, the dtype of {pair.path}"
        remedy = "Convert the module to a wider dtype first."
        raise FileError(f"{weight.path} must be {rule}. {remedy}")


def _is_narrower(own: torch.dtype, given: torch.dtype) -> bool:
    floating = given.is_floating_point and own.is_floating_point
    return floating and torch.finfo(own).max < torch.finfo(given).max


def _copy_to_parameters(buffers: list[Buffer]) -> None:
    """Copy the buffers to the parameters; nothing here can fail half-way."""
    unbuilt: dict[Layer, dict[str, Tensor]] = {}
    with torch.inference_mode(False), torch.no_grad():  # in this order: the first allows gradients
        for owner, name, value in buffers:
            tensor = getattr(owner, name)
            if is_lazy(tensor) and isinstance(owner, Layer):
                unbuilt.setdefault(owner, {})[name] = value
            else:
                tensor.copy_(value)
        for layer, values in unbuilt.items():
            layer._finish_build(values)


def _call_methods(plan: LoadPlan, arrays: list[Arrays], source: str) -> None:
    """Call `load_keras_weights` of custom modules; restore all of them if one fails."""
    before: list[tuple[Tensor, Tensor]] = []
    with torch.inference_mode(False), torch.no_grad():
        for call, given in zip(plan.calls, arrays, strict=True):
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
