"""Masks: carried from call to call of a model, as Keras carries them with its tensors.

A mask belongs to the value in a slot; `masks` are those of a run by slot, without None.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .._core.errors import list_shapes
from ..graph.slots import Slot, list_slots
from ..graph.structure import flatten, map_structure
from ..layers.base.layer import Layer

Masks = dict[int, Any]


def creates_mask(module: Any) -> bool:
    """Return whether the output of a module may have a mask where no input has one."""
    return bool(getattr(module, "creates_mask", False))


def carries_masks(module: Any) -> bool:
    """Return whether a module is a model, which takes masks and returns those of its outputs."""
    return bool(getattr(module, "carries_masks", False))


def get_masks(structure: Any, masks: Masks) -> Any:
    """Return the masks of a structure of slots, None for a value without one."""
    return map_structure(lambda slot: masks.get(slot.index), structure, Slot)


def list_input_masks(model: Any, mask: Any) -> Masks:
    """Return the masks that a model is called with, or raise if their number is another one."""
    listed, count = list(flatten(mask)), max(len(model._inputs), 1)
    if len(listed) != count:
        rule = "a mask" if count == 1 else f"a mask or None for each of the {count} inputs"
        model._refuse_argument("mask", rule, list_shapes(mask))
    return {slot: one for slot, one in enumerate(listed) if one is not None}


def add_masks(
    module: nn.Module,
    templates: tuple[tuple[Any, ...], Mapping[str, Any]],
    kwargs: dict[str, Any],
    masks: Masks,
    *,
    keras_2: bool,
) -> Any:
    """Add the masks that Keras adds to a call to `kwargs`; return that of the first argument.

    `templates` are the arguments with a slot for each tensor.

    A mask that the call has already is kept. Keras 3 adds `mask` only to calls on one tensor or one
    list of tensors, Keras 2 to all calls. With several arguments each one's mask has a name of its
    own, where the layer has such an argument: `query_mask` for `query`.
    """
    first = get_first_argument(module)
    names = (first, *getattr(module, "call_arguments", ()))
    given = {**name_arguments(names, templates[0]), **templates[1]}
    on_tensors = {name: found for name, found in given.items() if list_slots(found)}
    wanted = {f"{name}_mask": found for name, found in on_tensors.items()}
    if len(on_tensors) == 1 or keras_2:
        wanted["mask"] = given.get(first)
    if kwargs.get("mask") is not None:
        return kwargs["mask"]
    for argument, structure in wanted.items():
        found = get_masks(structure, masks)
        if given.get(argument) is None and _has_mask(found) and _accepts(module, argument):
            kwargs[argument] = found
    return get_masks(given.get(first), masks)


def name_arguments(names: Sequence[str], args: Sequence[Any]) -> dict[str, Any]:
    """Return positional arguments by their names, as far as there are names."""
    count = min(len(names), len(args))  # torch 2.6 cannot compile a zip of different lengths
    return dict(zip(names[:count], args[:count], strict=True))


def drop_carried_masks(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call without the masks that a layer takes from its inputs alone."""
    carried = getattr(module, "carried_masks", ())
    if not carried:
        return args, kwargs
    given = {**name_arguments(module.call_arguments, args[1:]), **kwargs}
    return args[:1], {name: value for name, value in given.items() if name not in carried}


def store_masks(outputs: tuple[tuple[int | None, int], ...], found: Any, masks: Masks) -> None:
    """Store the masks of the outputs of a call, of which these are the indices and the slots."""
    listed = list(flatten(found))
    for index, slot in outputs:
        mask = found if index is None else listed[index] if index < len(listed) else None
        if _has_mask(mask):
            masks[slot] = mask


def get_first_argument(module: nn.Module) -> str:
    """Return the name of the first argument of a module's `forward`."""
    own: str | None = getattr(module, "first_argument", None)
    return next(iter(inspect.signature(module.forward).parameters)) if own is None else own


def _has_mask(found: Any) -> bool:
    return any(mask is not None for mask in flatten(found))


def _accepts(module: nn.Module, argument: str) -> bool:
    """Return whether a model may give an argument to a module."""
    if isinstance(module, Layer):
        return argument in module.call_arguments
    return argument in inspect.signature(module.forward).parameters
