"""Infer the shapes of the tensors inside a model before anything is computed."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .._core.errors import argument_error
from ..graph.shapes import ERRORS, UNKNOWN, Shape, iterate_shapes, to_shapes
from ..graph.spec import ModelSpec, TensorRef, iterate_refs, map_refs
from ..layers.base.layer import Layer


@dataclass
class Shapes:
    """The shapes inside a model for one shape of its inputs."""

    spec: ModelSpec
    layers: Mapping[str, Any]  # the current ones, by name
    replaced: Collection[str]  # the layers that are not the config's, or missing
    strict: bool  # whether a layer that refuses its input is an error; else the output is UNKNOWN
    inputs: dict[str, Any] = field(default_factory=dict)  # of each layer's first call
    outputs: dict[str, Any] = field(default_factory=dict)  # of that call
    result: Any = UNKNOWN  # the model's output

    def infer_call(self, name: str, args: Any, kwargs: Mapping[str, Any], built: Any) -> Any:
        """Record a call of a layer on arguments of these shapes, and return that of its output.

        `built` is the shape in the file, if it holds for this call: it is used if others are
        unknown.

        Raises:
            ValueError: the layer does not accept inputs of such shapes.
        """
        layer = self.layers.get(name)
        if isinstance(layer, Layer):
            named = dict(zip(layer.call_arguments, args[1:], strict=False))
            args, kwargs = args[:1], {**named, **kwargs}
        kwargs = {k: v for k, v in kwargs.items() if k != "training" and not k.endswith("mask")}
        more = [kwargs[k] for k in getattr(layer, "shape_arguments", ()) if kwargs.get(k)]
        given = args[0] if len(args) == 1 and not more else [*args, *more]
        known = UNKNOWN not in iterate_shapes([args, kwargs])
        if not known and built is not None:
            given = to_shapes(built)
            known = UNKNOWN not in iterate_shapes(given)
            args = (given,)
        found: Any = UNKNOWN
        if known and name in self.layers:
            try:
                found = infer_output_shape(self.layers[name], args, kwargs)
                inner: Any = getattr(self.layers[name], "activation", None)
                if found is not UNKNOWN and hasattr(inner, "compute_output_shape"):
                    found = to_shapes(inner.compute_output_shape(found))
            except ERRORS as error:
                if self.strict:
                    raise ValueError(f"{name!r}: {error}") from error
            except Exception:  # of a user's module
                if self.strict:
                    raise
        self.inputs.setdefault(name, given)
        self.outputs.setdefault(name, found)
        return found


def fill_functional(found: Shapes, given: Mapping[TensorRef, Any]) -> None:
    """Infer the shapes inside a Functional model from those of its inputs.

    A shape in the file counts only as long as nothing before it was changed.

    Raises:
        ValueError: a layer does not accept its input shape.
    """
    spec, known = found.spec, dict(given)
    built = {layer.name: layer.input_shape for layer in spec.layers}
    for ref, shape in given.items():
        found.inputs[ref.layer] = found.outputs[ref.layer] = shape
    changed = {ref[:2] for ref, shape in given.items() if _differ(shape, spec.hints.get(ref))}

    def shape_of(ref: TensorRef) -> Any:
        shape = known.get(ref, UNKNOWN)
        hinted = shape is UNKNOWN and ref[:2] not in changed and ref in spec.hints
        return Shape(spec.hints[ref]) if hinted else shape

    for call in spec.calls:
        args, kwargs = map_refs(call.args, shape_of), map_refs(call.kwargs, shape_of)
        differs = any(ref[:2] in changed for ref in iterate_refs(call.arguments))
        result = found.infer_call(call.layer, args, kwargs, None if differs else built[call.layer])
        differs |= call.layer in found.replaced
        for index, shape in enumerate(iterate_shapes(result)):
            ref = TensorRef(call.layer, call.number, index)
            known[ref] = shape
            differs |= _differ(shape, spec.hints.get(ref))
        if differs:
            changed.add((call.layer, call.number))
    result = map_refs(spec.outputs, shape_of)
    is_single = isinstance(result, list) and len(result) == 1  # as Keras's models do
    found.result = result[0] if is_single else result


def fill_sequential(found: Shapes, given: Any) -> None:
    """Infer the shapes inside a Sequential model, as `fill_functional` does."""
    changed = False
    for layer in found.spec.layers:
        if layer.class_name == "InputLayer":
            found.inputs[layer.name] = found.outputs[layer.name] = given
            continue
        changed |= _differ(given, layer.input_shape)
        given = found.infer_call(layer.name, (given,), {}, None if changed else layer.input_shape)
        changed |= layer.name in found.replaced
    found.result = given


def build_layers(layers: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Build layers, and those of models, for the shapes of their inputs where these are known."""
    for name, layer in layers.items():
        shape, built = shapes.get(name, UNKNOWN), isinstance(layer, Layer) and layer.built
        if UNKNOWN in iterate_shapes(shape) or not hasattr(layer, "build"):
            continue
        if not built:
            layer.build(shape)
        inner = getattr(layer, "activation", None)
        if isinstance(inner, Layer) and not inner.built:
            inner.build(layer.compute_output_shape(shape))


def _differ(shape: Any, hint: Any) -> bool:
    """Return whether a known shape contradicts the file's; None matches any size."""
    hint = hint if hint is None else to_shapes(hint)
    if not isinstance(shape, Shape) or not isinstance(hint, Shape):
        return False
    sizes = zip(shape, hint, strict=False)
    return len(shape) != len(hint) or any(None not in pair and len({*pair}) > 1 for pair in sizes)


def _require_fit(layer: Layer, shape: Any) -> None:
    """Raise a ValueError if a layer is built for inputs of other sizes."""
    tensors = layer._tensors() if layer.built else {}
    if not tensors or not isinstance(shape, Shape):
        return
    try:
        wanted = layer._weight_shapes(shape)
    except ERRORS:  # unknown sizes, or ones that `compute_output_shape` refuses as well
        return
    own = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if any(own.get(name, size) != size for name, size in wanted.items()):
        rule = "of the sizes that the layer is built for"
        raise ValueError(argument_error(type(layer).__name__, "input_shape", rule, tuple(shape)))


def _list_shape_arguments(layer: Layer, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `compute_output_shape` after the first, for those of a call."""
    given = {**dict(zip(layer.call_arguments, args[1:], strict=False)), **kwargs}
    accepted = inspect.signature(layer.compute_output_shape).parameters
    named = {f"{name}_shape": shape for name, shape in given.items()}
    known = {name: shape for name, shape in named.items() if UNKNOWN not in iterate_shapes(shape)}
    options = {name: given[name] for name in layer.call_options if name in given}
    return {name: shape for name, shape in known.items() if name in accepted} | options


# Classes of torch whose output has the shape of the input
_SAME = {
    *(nn.Identity, nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm),
    *(nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax),
}


def infer_output_shape(module: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Return the shape of a module's output for those of its arguments, or UNKNOWN."""
    compute = getattr(module, "compute_output_shape", None)
    if isinstance(module, Layer):
        args, kwargs = args[:1], _list_shape_arguments(module, args, kwargs)
        if not kwargs:
            _require_fit(module, args[0])
    if compute is not None:
        return to_shapes(compute(*args, **kwargs))
    if len(args) != 1 or kwargs or not isinstance(args[0], Shape):
        return UNKNOWN
    (shape,) = args
    if type(module) in _SAME:
        return shape
    if type(module) is nn.Linear and shape and shape[-1] in (None, module.in_features):
        return Shape((*shape[:-1], module.out_features))
    if type(module) is nn.Sequential:
        for inner in module:
            shape = UNKNOWN if shape is UNKNOWN else infer_output_shape(inner, (shape,), {})
        return shape
    return UNKNOWN
