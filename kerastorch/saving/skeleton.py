"""Models on the device "meta": all layers are built, and no weight has values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from .._core.errors import FileError
from ..layers.base.layer import Layer
from ..models.functional import Model
from .matching.load_plan import LoadPlan
from .matching.matcher import list_custom_modules, list_layer_paths
from .weights.module_weights import has_load_method, list_module_weights, list_unbuilt_layers

_ADDED = "Load the model on a real device, or let `custom_layers` make modules without it."


def make_skeleton(model: Model, plan: LoadPlan | None, source: str) -> None:
    """Move an unbuilt model to the device "meta", and build it there.

    `plan` is the plan of its weights; None for a config alone.

    Raises:
        FileError: a module has values that no file has, or the shape of an input is not known.
    """
    matched = [] if plan is None else [pair.target.tensor for pair in plan.assignments]
    unfilled = list(_find_unfilled(model, matched))
    if unfilled:
        listed = "".join(
            f"\n  {path} has values that Keras's files do not hold." for path in unfilled
        )
        raise FileError(f"{source}: cannot be loaded on the device 'meta'.{listed}\n{_ADDED}")
    model.to("meta")
    shapes = {} if plan is None else plan.shapes
    for path, layer, input_shape in list(list_unbuilt_layers(model)):
        if layer in shapes:
            layer._finish_build(layer._make_initial_values(shapes[layer]))
        elif input_shape is not None:
            layer.build(input_shape)
        else:
            what = f"the config does not have the shape of the input of {path}"
            raise FileError(f"{source}: {what}. Say where weights are with `weights=`.")


def _find_unfilled(model: Model, matched: Sequence[Tensor]) -> Iterator[str]:
    """Yield the tensors that weights in a file do not fill after `to_empty`."""
    leaves = list_module_weights(model, list_custom_modules(list_layer_paths(model)))
    filled = {id(tensor) for tensor in matched}
    for leaf in leaves:
        filled |= {id(target.tensor) for target in leaf.targets}
        if has_load_method(leaf.module):
            filled |= set(map(id, (*leaf.module.parameters(), *leaf.module.buffers())))
    for path, module in model.named_modules():
        if isinstance(module, (Layer, Model)):  # they restore their constants themselves
            continue
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and id(tensor) not in filled:
                yield f"{path}.{name}"
