"""Which shapes the tensors inside a model have, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._spec import ModelSpec, TensorRef, mapped

# What arguments of wrong types and values raise, in Python and in torch.
ERRORS = (
    *(ValueError, TypeError, IndexError, KeyError, AttributeError),
    *(OverflowError, RuntimeError, ZeroDivisionError),
)


class Shape(tuple[int | None, ...]):
    """The shape of one tensor, batch included, as a leaf of a structure; None is not known."""

    __slots__ = ()


class _Unknown:
    """What stands for the shape of a tensor that nothing is known of."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __reduce__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


def leaf(given: Any) -> Any:
    """Return a structure of lists and dicts of shapes with a `Shape` for each."""
    if given is UNKNOWN or isinstance(given, Shape):
        return given
    if isinstance(given, Mapping):
        return {key: leaf(inner) for key, inner in given.items()}
    if all(size is None or isinstance(size, int) for size in given):
        return Shape(given)
    return [leaf(inner) for inner in given]


def shapes_in(structure: Any) -> Iterator[Any]:
    """Yield the shapes in a structure, in Keras's order."""
    if isinstance(structure, Shape) or structure is UNKNOWN:
        yield structure
    elif isinstance(structure, (list, tuple)):
        for inner in structure:
            yield from shapes_in(inner)
    elif isinstance(structure, Mapping):
        for key in sorted(structure, key=str):
            yield from shapes_in(structure[key])


def broadcast(shapes: Iterable[Shape]) -> Shape:
    """Return the shape that shapes have together.

    Raises:
        ValueError: they do not go together.
    """
    listed = list(shapes)
    rank = max(map(len, listed))
    merged: list[int | None] = [1] * rank
    for shape in listed:
        for axis, size in enumerate(shape, rank - len(shape)):
            ours = merged[axis]
            if ours == 1 or (ours is None and size not in (None, 1)):
                merged[axis] = size
            elif size not in (None, 1, ours):
                raise ValueError(f"the shapes {', '.join(map(str, map(tuple, listed)))} must match")
    return Shape(merged)


def within(given: Any, declared: Shape) -> Shape:
    """Return an input's shape as a model takes it, with its own sizes where none are given."""
    if not isinstance(given, Shape):
        return declared
    if len(given) == len(declared) + 1 and given[-1] in (1, None):
        given = Shape(given[:-1])
    elif len(given) == len(declared) - 1 and declared[-1] == 1:
        given = Shape((*given, 1))
    if len(given) != len(declared):
        raise ValueError(f"an input must be of the shape {tuple(declared)}, not {tuple(given)}")
    return Shape(own if size is None else size for size, own in zip(given, declared, strict=True))


class Shapes:
    """The shapes inside a model for one call of it.

    Args:
        spec: What the model's config says.
        layers: Its layers by name.

    Attributes:
        inputs: Each layer's input at its first call, by its name.
        outputs: Each layer's output then.
        result: The model's output.
    """

    def __init__(self, spec: ModelSpec, layers: Mapping[str, Any]) -> None:
        self.layers = layers
        self.built = {layer.name: layer.input_shape for layer in spec.layers}
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.result: Any = UNKNOWN

    def called(self, name: str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Note a call of a layer, and return the shape of its output.

        Raises:
            ValueError: the layer cannot take inputs of such shapes.
        """
        given = args[0] if len(args) == 1 else list(args)
        known = UNKNOWN not in shapes_in([list(args), kwargs])
        if not known and self.built[name] is not None:
            given = leaf(self.built[name])
            known = UNKNOWN not in shapes_in(given)
            args = (given,)
        compute = getattr(self.layers[name], "compute_output_shape", None)
        found: Any = UNKNOWN
        if known and compute is not None:
            named = {k: v for k, v in kwargs.items() if k not in ("mask", "training")}
            try:
                found = leaf(compute(*args, **named))
                inner: Any = getattr(self.layers[name], "activation", None)
                if hasattr(inner, "compute_output_shape"):  # a layer, which may change the shape
                    found = leaf(inner.compute_output_shape(found))
            except ERRORS as error:
                raise ValueError(f"{name!r}: {error}") from error
        self.inputs.setdefault(name, given)
        self.outputs.setdefault(name, found)
        return found


def of_functional(
    spec: ModelSpec, layers: Mapping[str, Any], given: Mapping[TensorRef, Any]
) -> Shapes:
    """Return the shapes inside a Functional model.

    Args:
        spec: What its config says.
        layers: Its layers by name.
        given: The shapes of its inputs.

    Raises:
        ValueError: a layer cannot take an input of such a shape.
    """
    found = Shapes(spec, layers)
    known: dict[TensorRef, Any] = dict(given)
    for ref, shape in given.items():
        found.inputs[ref.layer] = found.outputs[ref.layer] = shape

    def shape_of(ref: TensorRef) -> Any:
        shape = known.get(ref, UNKNOWN)
        hint = spec.hints.get(ref) if shape is UNKNOWN else None
        return shape if hint is None else Shape(hint)

    for call in spec.calls:
        args, kwargs = mapped(call.args, shape_of), mapped(call.kwargs, shape_of)
        result = found.called(call.layer, args, kwargs)
        for index, shape in enumerate(shapes_in(result)):
            known[TensorRef(call.layer, call.number, index)] = shape
    found.result = single(mapped(spec.outputs, shape_of))
    return found


def of_sequential(spec: ModelSpec, layers: Mapping[str, Any], given: Any) -> Shapes:
    """Return the shapes inside a Sequential model for a structure of its inputs' shapes.

    Raises:
        ValueError: a layer cannot take an input of such a shape.
    """
    found = Shapes(spec, layers)
    for layer in spec.layers:
        if layer.class_name == "InputLayer":
            found.inputs[layer.name] = found.outputs[layer.name] = given
        else:
            given = found.called(layer.name, (given,), {})
    found.result = given
    return found


def single(structure: Any) -> Any:
    """Return the one element of a list, as Keras's models do with their outputs; else all."""
    return structure[0] if isinstance(structure, list) and len(structure) == 1 else structure
