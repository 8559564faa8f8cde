"""Models on the device "meta": all layers are built, and no weight has values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from .._core.errors import FileError
from ..layers.base.layer import Layer
from ..models.functional import Model
from .matching.load_plan import LoadPlan
from .matching.matcher import own_modules, structural_names
from .weights.module_weights import has_method, leaves_of
from .weights.unbuilt import unbuilt

_ADDED = "Load the model on a real device, or let `custom_layers` make modules without it."


def make_skeleton(model: Model, match: LoadPlan | None, source: str) -> None:
    """Move a model that is not built to the device "meta", and build it there.

    Args:
        model: The model.
        match: Where its weights are in the file; None for a config alone.
        source: What messages call the file.

    Raises:
        FileError: a module has values that no file holds, or the shape of an input is not known.
    """
    matched = [] if match is None else [pair.target.tensor for pair in match.assignments]
    problems = [
        f"{path} has values that Keras's files do not hold" for path in _own_values(model, matched)
    ]
    if problems:
        listed = "".join(f"\n  {one}." for one in problems)
        raise FileError(f"{source}: cannot be loaded on the device 'meta'.{listed}\n{_ADDED}")
    model.to("meta")
    shapes = {} if match is None else match.shapes
    for path, layer, input_shape in list(unbuilt(model)):
        if layer in shapes:
            layer._become_built(layer._initial_values(shapes[layer]))
        elif input_shape is not None:
            layer.build(input_shape)
        else:
            what = f"the config does not tell the shape of the input of {path}"
            raise FileError(f"{source}: {what}. Say where weights are with `weights=`.")


def _own_values(model: Model, matched: Sequence[Tensor]) -> Iterator[str]:
    """Yield the tensors that weights in a file do not fill after `to_empty`."""
    leaves = leaves_of(model, own_modules(structural_names(model)))
    filled = {id(tensor) for tensor in matched}
    for leaf in leaves:
        filled |= {id(target.tensor) for target in leaf.targets}
        if has_method(leaf.module):
            filled |= set(map(id, (*leaf.module.parameters(), *leaf.module.buffers())))
    for path, module in model.named_modules():
        if isinstance(module, (Layer, Model)):  # they restore their constants themselves
            continue
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and id(tensor) not in filled:
                yield f"{path}.{name}"
