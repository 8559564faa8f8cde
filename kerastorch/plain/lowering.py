"""From a loaded model to a graph of plain PyTorch: each call of a layer by its lowering."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from .._core.errors import argument_error
from ..graph.shapes import ERRORS, UNKNOWN, Shape, iterate_shapes
from ..graph.slots import fill_slots
from ..graph.structure import flatten, map_structure
from ..layers.base.layer import Layer
from ..models.base import Model
from ..models.calls import ModuleCall
from ..models.shape_inference import infer_output_shape
from ..operations.operation import Operation
from .custom_layers import lower_custom
from .graph import GraphBuilder, Origin, Refusal, Value, iterate_values
from .integers import convert_integers
from .lowered import Lowered, Port, describe_input, find_dtype
from .masking import (
    add_call_masks,
    add_input_masks,
    find_output_mask,
    list_returned_masks,
    set_masks,
)
from .naming import find_usual_name, name_modules, pair_names
from .passes.unused_masks import drop_unused_masks
from .registry import LOWERINGS, MASKED_LOWERINGS, OPERATION_LOWERINGS, REASONS
from .text.names import clean_text, make_identifier

# Settings of old versions of Keras that say what the output of a masked step is.
_OF_MASKED_STEPS = ("repeats_state", "repeats_output")


def lower_model(
    model: Model,
    *,
    channels_first: bool = False,
    sources: Mapping[str, str] | None = None,
) -> Lowered:
    """Return a model in plain PyTorch.

    Args:
        model: A loaded or built model.
        channels_first: Whether images and volumes are passed and returned as torch has them.
        sources: Class name of a module of your own -> the line that imports it.

    Raises:
        ValueError: Layers have no plain form; the message lists all.
    """
    dtype = find_dtype(model)
    lowering = _ModelLowering(channels_first, sources or {})
    try:
        own = lowering.lower_class(model, None, ())
    except ERRORS:  # what follows a refused layer may have no input that fits
        if not lowering.refusals:
            raise
    if lowering.refusals:
        listed = "".join(f"\n- {one}" for one in dict.fromkeys(lowering.refusals))
        raise ValueError(f"{model.name!r} has layers without a plain form in PyTorch:{listed}")
    drop_unused_masks(own.module, lowering.output_counts)
    limits: list[Any] = [getattr(one, "input_dim", None) for one in model.modules()]
    limit = min((n for n in limits if isinstance(n, int)), default=2)
    inputs = [describe_input(own.module, x, limit, dtype) for x in own.inputs]
    outputs = [
        Port("", x.shape, x.dtype, x.moved)
        for x in iterate_values(own.outputs)
        if isinstance(x, Value)
    ]
    classes = {one.module: inner.name for inner, one in lowering.nested.items()}
    classes[own.module] = model.name
    structure = model._plan.inputs
    return Lowered(own.module, inputs, outputs, structure, classes, own.names)


@dataclass
class _Class:
    """The graph of one model, those of nested models apart."""

    module: fx.GraphModule
    inputs: list[Value]
    outputs: Any  # a structure of Values
    names: dict[str, str]


class _ModelLowering:
    """Lowers a model, and those inside it, each once."""

    def __init__(self, channels_first: bool, sources: Mapping[str, str]) -> None:
        self.channels_first, self.sources = channels_first, sources
        self.refusals: list[str] = []
        self.owners: dict[nn.Module, Model] = {}  # the model that each layer is called in
        self.nested: dict[Model, _Class] = {}
        self.output_counts: dict[fx.GraphModule, int] = {}  # of nested classes, without masks

    def lower_class(self, model: Model, given: list[Value] | None, path: tuple[str, ...]) -> _Class:
        """Lower a model; `given` are the Values that a nested one is called on, by its inputs."""
        builder, plan, modules = GraphBuilder(), model._plan, dict(model._modules)
        builder.call_counts.update(modules[call.attribute] for call in plan.calls)
        builder.has_masks = model.creates_mask
        inputs = [builder.add_input(*one) for one in self.list_inputs(model, given)]
        if given is not None:
            inputs = add_input_masks(builder, inputs, given)
        values: list[Any] = [None] * plan.size
        # Images and volumes get torch's order at the door, so that all that follows is in it.
        values[: len(inputs)] = [builder.as_channels_second(x) if x.rank > 3 else x for x in inputs]
        for slot, _, tensor in plan.constants:
            node = builder.buffer(tensor.clone(), "constant")
            values[slot] = Value(node, tuple(tensor.shape), dtype=tensor.dtype)
        names = name_modules(model)
        own_names = {attribute: name for name, attribute in model._attributes.items()}
        fixed = dict(model._modes)
        for call in plan.calls:
            layer: Any = modules[call.attribute]
            where = (*path, getattr(layer, "name", call.attribute))
            args, kwargs = fill_slots((call.args, call.kwargs), values)
            given_kwargs = dict(kwargs)
            own = own_names[call.attribute]
            origin = Origin(own, find_usual_name(layer, own) is None)
            builder.start_call(layer, names[call.attribute], origin)
            builder.lower_inner = partial(self.lower_inner, builder, where)
            try:
                if fixed.get(call.attribute) is not None and layer.depends_on_training_mode:
                    raise Refusal(f"the file fixes training={fixed[call.attribute]} for it")
                if self.owners.setdefault(layer, model) is not model:
                    raise Refusal("two models share it")
                masked, mask = add_call_masks(call, layer, kwargs, values)
                is_layer = masked and not isinstance(layer, Model)
                made = find_output_mask(builder, layer, args, kwargs, mask) if is_layer else None
                found = self.lower_call(builder, layer, args, kwargs, where)
                found = found if isinstance(layer, Model) else set_masks(found, made)
            except Refusal as refusal:
                kind = clean_text(type(layer).__name__)
                self.refusals.append(f"{'/'.join(where)!r} ({kind}): {refusal}.")
                found = next(x for x in iterate_values([args, kwargs]) if isinstance(x, Value))
                count = max((n or 0 for n, _ in call.outputs), default=0) + 1
                found = [found] * count if count > 1 else found
            _store(call, _set_shapes(layer, args, given_kwargs, found), values)
        outputs = fill_slots(plan.outputs, values)
        is_root = given is None
        outputs = map_structure(lambda x: self.prepare_output(builder, x, is_root), outputs, Value)
        returned = map_structure(lambda x: x.node, outputs, Value)
        listed = [x for x in iterate_values(outputs) if isinstance(x, Value)]
        masks = [] if is_root else [mask.node for mask in list_returned_masks(listed)]
        if masks:
            returned = (*(x.node for x in listed), *masks)
        module = builder.finish(returned)
        keras = {own: "/".join((*path, name)) for name, own in pair_names(model, names)}
        return _Class(module, inputs, outputs, keras)

    def list_inputs(
        self, model: Model, given: list[Value] | None
    ) -> list[tuple[str, Any, bool, torch.dtype]]:
        """Return name, shape, whether the channels are axis 1, and dtype of each input."""
        names: list[str] = []
        found = []
        for number, one in enumerate(model._inputs):
            default = "x" if len(model._inputs) == 1 else f"x{number + 1}"
            name = default if default == "x" else make_identifier(one.name, names, "input")
            names.append(name)
            shape = one.shape or _find_first_shape(model)
            if given is not None and (shape is None or None in shape[1:]):
                shape = given[number].shape if shape is None else shape
            if shape is None:
                rule = "a model that declares the shape of its input"
                remedy = "Build it with an InputLayer in front."
                raise ValueError(argument_error("to_source", "model", rule, model.name, remedy))
            moved = given[number].moved if given else self.channels_first and 3 < len(shape) < 6
            found.append((name, tuple(shape), moved, one.dtype))
        return found

    def prepare_output(self, builder: GraphBuilder, x: Value, is_root: bool) -> Value:
        """Return an output in the order of axes that the class returns."""
        if x.flattened is not None or not x.moved:
            x = builder.as_in_keras(x)
            return builder.as_channels_second(x) if is_root and self.keeps_moved(x) else x
        return x if not is_root or self.keeps_moved(x) else builder.as_in_keras(x)

    def keeps_moved(self, x: Value) -> bool:
        """Return whether the written model returns a value with the channels as axis 1."""
        return self.channels_first and 3 < x.rank < 6

    def lower_call(
        self,
        builder: GraphBuilder,
        layer: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        path: tuple[str, ...],
    ) -> Any:
        """Lower one call; return its Value, or a list of them."""
        if isinstance(layer, Model):
            return self.call_class(builder, layer, args, kwargs, path)
        if isinstance(layer, Operation):
            operation = OPERATION_LOWERINGS.get(layer.key)
            if operation is None:
                builder.refuse(f"the operation {clean_text(layer.key)} is not supported")
            if operation.layout == "keras":
                args, kwargs = map_structure(builder.as_in_keras, (args, kwargs), Value)
            args, kwargs = map_structure(lambda x: replace(x, mask=None), (args, kwargs), Value)
            return operation.function(builder, *args, **{**layer.arguments, **kwargs})
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        is_masked = any(isinstance(x, Value) for x in iterate_values(kwargs.get("mask")))
        _refuse_old_settings(builder, layer, is_masked=is_masked)
        lowering = LOWERINGS.get(type(layer))
        if lowering is None and type(layer).__name__ in self.sources:
            return lower_custom(builder, layer, args, kwargs)
        if lowering is None:
            builder.refuse(REASONS.get(type(layer), "its class is not one of kerastorch.layers"))
        if is_masked and not lowering.takes_masks:
            lowering = MASKED_LOWERINGS.get(type(layer))
            if lowering is None:
                builder.refuse("its input has a mask")
        elif not is_masked:
            kwargs.pop("mask", None)
        prepare = _select_layout(builder, lowering.layout, layer)
        args, kwargs = map_structure(prepare, (args, kwargs), Value)
        args = map_structure(partial(convert_integers, builder, layer), args, Value)
        try:
            inspect.signature(lowering.function).bind(builder, layer, *args, **kwargs)
        except TypeError:
            given = ", ".join(kwargs) or f"{len(args)} arguments"
            builder.refuse(f"it is called with {clean_text(given)}")
        return lowering.function(builder, layer, *args, **kwargs)

    def lower_inner(
        self,
        builder: GraphBuilder,
        path: tuple[str, ...],
        layer: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Lower the call of a layer inside of a wrapper."""
        if isinstance(layer, Layer) and type(layer) not in LOWERINGS:
            reason = REASONS.get(type(layer), "it is not one of kerastorch.layers")
            builder.refuse(
                f"the {clean_text(type(layer).__name__)} inside has no plain form: {reason}"
            )
        found = self.lower_call(builder, layer, args, kwargs, path)
        return _set_shapes(layer, args, {}, found)

    def call_class(
        self,
        builder: GraphBuilder,
        model: Model,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        path: tuple[str, ...],
    ) -> Any:
        """Call the class of a nested model."""
        masks = list(flatten(kwargs.pop("mask", None)))
        given = [x for x in flatten([args, kwargs]) if x is not None]
        if len(given) != len(model._inputs) or not all(isinstance(x, Value) for x in given):
            builder.refuse("it is called with other arguments than its inputs")
        masks = masks if len(masks) == len(given) else [None] * len(given)
        given = [replace(x, mask=mask) for x, mask in zip(given, masks, strict=True)]
        known = self.nested.get(model)
        if known is None:
            known = self.nested[model] = self.lower_class(model, given, path)
        if [x.mask is None for x in given] != [x.mask is None for x in known.inputs]:
            builder.refuse("its calls differ: some have masks")
        pairs = zip(known.inputs, given, strict=True)
        moved = [
            builder.as_channels_second(x) if own.moved else builder.as_in_keras(x)
            for own, x in pairs
        ]
        y = builder.module(known.module, *moved, *(x for x in masks if x is not None))
        if isinstance(known.outputs, dict):
            builder.refuse("it is a nested model that returns a dict")
        listed = [x for x in iterate_values(known.outputs) if isinstance(x, Value)]
        known_masks = {
            own.mask.node: mask for own, mask in zip(known.inputs, masks, strict=True) if own.mask
        }
        returned = list_returned_masks(listed)
        self.output_counts[known.module] = len(listed)
        if isinstance(known.outputs, Value) and not returned:
            parts = [y]
        else:
            parts = builder.unpack(y, len(listed) + len(returned))
        for own, part in zip(returned, parts[len(listed) :], strict=True):
            known_masks[own.node] = replace(own, node=builder.name(part, "mask").node)
        found = [
            replace(x, node=part.node, mask=known_masks[x.mask.node] if x.mask else None)
            for x, part in zip(listed, parts, strict=False)
        ]
        return found[0] if isinstance(known.outputs, Value) else found


def _find_first_shape(model: Model) -> tuple[int | None, ...] | None:
    """Return the input shape that a file without an InputLayer says for the first layer."""
    first = next(iter(model.spec.layers), None)
    shape = None if first is None else first.input_shape
    if shape is None or not all(n is None or isinstance(n, int) for n in shape):
        return None
    return (None, *shape[1:])


def _select_layout(builder: GraphBuilder, layout: str, layer: Any) -> Any:
    if layout == "any":
        return lambda x: x
    if layout == "channels_second" and layer.data_format == "channels_last":
        return builder.as_channels_second
    return builder.as_in_keras


def _set_shapes(layer: Any, args: Any, kwargs: Any, found: Any) -> Any:
    """Return the Values of a call's outputs with the shapes that the layer says."""
    if isinstance(layer, Model):  # the nested class says them
        return found
    shapes = map_structure(lambda x: Shape(x.shape), (args, kwargs), Value)
    listed = list(iterate_shapes(infer_output_shape(layer, *shapes)))
    if UNKNOWN in listed:  # of a refused one
        return found
    several = [found] if isinstance(found, Value) else found
    sized = [replace(x, shape=tuple(shape)) for x, shape in zip(several, listed, strict=False)]
    sized += several[len(sized) :]  # those that `compute_output_shape` leaves out
    for x in sized:
        x.node.meta["rank"] = x.rank
    return sized[0] if isinstance(found, Value) else sized


def _store(call: ModuleCall, found: Any, values: list[Any]) -> None:
    """Store the outputs of a call in their slots."""
    for index, slot in call.outputs:
        if index is None or isinstance(found, Value):
            values[slot] = found
        else:
            values[slot] = found[index]


def _refuse_old_settings(builder: GraphBuilder, layer: Any, *, is_masked: bool) -> None:
    """Refuse settings that only old versions of Keras have, in a layer and the layers inside."""
    for module in layer.modules():
        for name in getattr(module, "old_settings", ()):
            if getattr(module, name) and (is_masked or name not in _OF_MASKED_STEPS):
                builder.refuse(f"it has the setting {name} of an old version of Keras")
