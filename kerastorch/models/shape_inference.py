"""Which shapes the tensors inside a model have, before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from .._core.errors import problem
from ..graph.shapes import ERRORS, UNKNOWN, Shape, leaf, shapes_in
from ..graph.spec import ModelSpec, TensorRef, mapped, refs
from ..layers.base.layer import Layer


class Shapes:
    """The shapes inside a model for one call of it.

    Args:
        spec: What the model's config says.
        layers: The layers that there are, by name.
        replaced: The names of those that are not what the config says, or missing.
        strict: Whether a layer that refuses its input is an error; else its output is unknown.

    Attributes:
        inputs: Each layer's input at its first call, by its name.
        outputs: Each layer's output then.
        result: The model's output.
    """

    def __init__(
        self,
        spec: ModelSpec,
        layers: Mapping[str, Any],
        replaced: Collection[str] = (),
        strict: bool = True,
    ) -> None:
        self.layers = layers
        self.replaced = replaced
        self.strict = strict
        self.built = {layer.name: layer.input_shape for layer in spec.layers}
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.result: Any = UNKNOWN

    def called(self, name: str, args: Any, kwargs: Mapping[str, Any], changed: bool) -> Any:
        """Note a call of a layer, and return the shape of its output.

        Args:
            name: The layer.
            args: The shapes in its arguments.
            kwargs: The same for those with names.
            changed: Whether its input need not have the shape that the file says.

        Raises:
            ValueError: the layer cannot take inputs of such shapes.
        """
        given = args[0] if len(args) == 1 else list(args)
        known = UNKNOWN not in shapes_in([list(args), kwargs])
        if not known and not changed and self.built[name] is not None:
            given = leaf(self.built[name])
            known = UNKNOWN not in shapes_in(given)
            args = (given,)
        found: Any = UNKNOWN
        if known and name in self.layers:
            named = {k: v for k, v in kwargs.items() if k not in ("mask", "training")}
            try:
                found = _output_shape(self.layers[name], args, named)
                inner: Any = getattr(self.layers[name], "activation", None)
                if found is not UNKNOWN and hasattr(inner, "compute_output_shape"):
                    found = leaf(inner.compute_output_shape(found))
            except ERRORS as error:
                if self.strict:
                    raise ValueError(f"{name!r}: {error}") from error
            except Exception:  # whatever a module of the user's raises
                if self.strict:
                    raise
        self.inputs.setdefault(name, given)
        self.outputs.setdefault(name, found)
        return found


def fill_functional(found: Shapes, spec: ModelSpec, given: Mapping[TensorRef, Any]) -> Shapes:
    """Return the shapes inside a Functional model.

    What the file says of a tensor counts only while nothing on the way to it was changed.

    Args:
        found: Where to note them.
        spec: What its config says.
        given: The shapes of its inputs.

    Raises:
        ValueError: a layer cannot take an input of such a shape.
    """
    known: dict[TensorRef, Any] = dict(given)
    for ref, shape in given.items():
        found.inputs[ref.layer] = found.outputs[ref.layer] = shape
    changed = {ref[:2] for ref, shape in given.items() if _differ(shape, spec.hints.get(ref))}

    def shape_of(ref: TensorRef) -> Any:
        shape = known.get(ref, UNKNOWN)
        says = shape is UNKNOWN and ref[:2] not in changed and ref in spec.hints
        return Shape(spec.hints[ref]) if says else shape

    for call in spec.calls:
        args, kwargs = mapped(call.args, shape_of), mapped(call.kwargs, shape_of)
        others = any(ref[:2] in changed for ref in refs([list(call.args), call.kwargs]))
        result = found.called(call.layer, args, kwargs, others)
        others |= call.layer in found.replaced
        for index, shape in enumerate(shapes_in(result)):
            ref = TensorRef(call.layer, call.number, index)
            known[ref] = shape
            others |= _differ(shape, spec.hints.get(ref))
        if others:
            changed.add((call.layer, call.number))
    found.result = single(mapped(spec.outputs, shape_of))
    return found


def fill_sequential(found: Shapes, spec: ModelSpec, given: Any) -> Shapes:
    """Return the shapes inside a Sequential model, as `fill_functional` does.

    Args:
        found: Where to note them.
        spec: What its config says.
        given: The structure of its inputs' shapes.

    Raises:
        ValueError: a layer cannot take an input of such a shape.
    """
    changed = False
    for layer in spec.layers:
        if layer.class_name == "InputLayer":
            found.inputs[layer.name] = found.outputs[layer.name] = given
            continue
        changed |= _differ(given, layer.input_shape)
        given = found.called(layer.name, (given,), {}, changed)
        changed |= layer.name in found.replaced
    found.result = given
    return found


def _differ(shape: Any, said: Any) -> bool:
    """Return whether a known shape is another than the file says; None may be any size."""
    said = said if said is None else leaf(said)
    if not isinstance(shape, Shape) or not isinstance(said, Shape):
        return False
    sizes = zip(shape, said, strict=False)
    return len(shape) != len(said) or any(None not in pair and len({*pair}) > 1 for pair in sizes)


def _require_fit(layer: Layer, shape: Any) -> None:
    """Raise where a layer is built for inputs of other sizes.

    Raises:
        ValueError: it is.
    """
    tensors = layer._tensors() if layer.built else {}
    own = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if not own or not isinstance(shape, Shape):
        return
    try:
        wanted = layer._shapes_for(shape)
    except ERRORS:  # sizes that are not known, or what `compute_output_shape` refuses as well
        return
    if any(own.get(name, size) != size for name, size in wanted.items()):
        rule = "of the sizes that the layer is built for"
        raise ValueError(problem(type(layer).__name__, "input_shape", rule, tuple(shape)))


# Classes of torch whose output has the shape of the input
_SAME = {
    *(nn.Identity, nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm),
    *(nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax),
}


def _output_shape(module: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Return the shape of a module's output for those of its arguments, or UNKNOWN."""
    compute = getattr(module, "compute_output_shape", None)
    if isinstance(module, Layer) and len(args) == 1:
        _require_fit(module, args[0])
    if compute is not None:
        return leaf(compute(*args, **kwargs))
    if len(args) != 1 or kwargs or not isinstance(args[0], Shape):
        return UNKNOWN
    (shape,) = args
    if type(module) in _SAME:
        return shape
    if type(module) is nn.Linear and shape and shape[-1] in (None, module.in_features):
        return Shape((*shape[:-1], module.out_features))
    if type(module) is nn.Sequential:
        for inner in module:
            shape = UNKNOWN if shape is UNKNOWN else _output_shape(inner, (shape,), {})
        return shape
    return UNKNOWN


def single(structure: Any) -> Any:
    """Return the one element of a list, as Keras's models do with their outputs; else all."""
    return structure[0] if isinstance(structure, list) and len(structure) == 1 else structure
