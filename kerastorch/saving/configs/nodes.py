"""Read which layer is called on what in the config of a Functional model, in two dialects.

Keras 3 writes `{"args", "kwargs"}` with dicts for tensors, Keras 1 and 2 lists `[layer, node,
tensor, kwargs]`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, NoReturn

from ..._core.config_arrays import decode_array
from ..._core.errors import FileError
from ..._core.registry import LAYERS
from ...graph.spec import Call, LayerSpec, TensorRef, iterate_refs
from ...graph.structure import flatten

Hints = dict[TensorRef, tuple[int | None, ...]]  # shapes of tensors
CONSTANT = "_CONSTANT_VALUE"  # which tf.keras writes instead of a layer's name
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


def raise_config_error(where: str, what: str, found: object, remedy: str = "") -> NoReturn:
    """Raise the FileError for a part of a config: `what` is the rule, `found` what breaks it."""
    shown = _short.repr(found)
    raise FileError(f"{where}: {what}. Found: {shown}.{' ' if remedy else ''}{remedy}")


class InboundNodes(NamedTuple):
    """The calls of one layer, with the file's call indices."""

    calls: list[Call]
    modern: bool  # whether Keras 3 wrote them


def parse_inbound_nodes(
    layer: LayerSpec, nodes: Any, where: str, names: set[str], hints: Hints
) -> InboundNodes:
    """Return the calls in an entry's `inbound_nodes`; add the shapes of tensors to `hints`."""
    if not isinstance(nodes, (list, tuple)):
        raise_config_error(where, "`inbound_nodes` must be a list", nodes)
    modern = [isinstance(node, Mapping) and set(node) == {"args", "kwargs"} for node in nodes]
    if len(set(modern)) > 1:
        raise_config_error(where, "`inbound_nodes` must all be Keras 3's, or all Keras 2's", nodes)
    calls = []
    for number, node in enumerate(nodes):
        reader = _ArgumentReader(f"{where}: inbound_nodes[{number}]", names, hints)
        if modern[0]:
            args, kwargs = reader.read_keras3(node)
        else:
            args, kwargs = reader.read_old(node, layer.operation)
        calls.append(Call(layer.name, *_simplify(args, kwargs, modern[0], reader.where, layer)))
    return InboundNodes(calls, bool(modern) and modern[0])


def _simplify(
    args: list[Any], kwargs: dict[str, Any], modern: bool, where: str, layer: LayerSpec
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of `forward` without empty ones, and refuse a call without tensors."""
    if all(mask is None for mask in flatten(kwargs.get("mask"))):
        kwargs.pop("mask", None)
    training = kwargs.pop("training", None)
    if training is not None:
        if training not in (0, 1):
            raise_config_error(where, "`training` must be true, false or null", training)
        if not modern:  # Keras 3 overrides it by the model's own argument
            kwargs["training"] = bool(training)
    layer_class = LAYERS.get(layer.class_name)
    if layer_class is not None and not layer.operation:
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        if not modern:
            args, kwargs = layer_class.upgrade_call(args, kwargs, layer.config)
    first = "inputs" if layer_class is None else layer_class.first_argument
    if not args and first in kwargs:
        args = [kwargs.pop(first)]
    if next(iterate_refs([args, kwargs]), None) is None:
        raise_config_error(where, "a call must be on some tensor", args)
    return tuple(args), kwargs


def _map_leaves(read: Callable[[Any], Any], given: Any, is_leaf: Callable[[Any], bool]) -> Any:
    """Return lists and dicts with `read` applied to what they hold, and to what `is_leaf` tells."""
    if isinstance(given, (list, tuple)) and not is_leaf(given):
        return [_map_leaves(read, inner, is_leaf) for inner in given]
    if isinstance(given, Mapping) and not is_leaf(given):
        return {key: _map_leaves(read, inner, is_leaf) for key, inner in given.items()}
    return read(given)


class _ArgumentReader:
    """Reads the arguments of one call."""

    def __init__(self, where: str, names: set[str], hints: Hints) -> None:
        self.where, self.names, self.hints = where, names, hints

    def read_keras3(self, node: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call in the dialect of Keras 3."""
        args, kwargs = node["args"], node["kwargs"]
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
            raise_config_error(self.where, "`args` must be a list and `kwargs` a dict", node)
        self.require_strings(kwargs, "`kwargs` must have names")
        return [self.read_tree(v) for v in args], {k: self.read_tree(v) for k, v in kwargs.items()}

    def require_strings(self, keys: Iterable[Any], rule: str) -> None:
        if not all(isinstance(key, str) for key in keys):
            raise_config_error(self.where, rule, list(keys))

    def read_tree(self, given: Any) -> Any:
        return _map_leaves(self.read_leaf, given, _is_object)

    def read_leaf(self, given: Any) -> Any:
        """Return a plain value, or what a dict with `class_name` stands for."""
        if not isinstance(given, Mapping):
            return self.require_plain(given)
        kind, content = given["class_name"], given.get("config")
        if kind == "__ellipsis__":
            return ...
        if kind == "__tuple__":
            items = given.get("items", content)
            items = items.get("value") if isinstance(items, Mapping) else items
            if isinstance(items, (list, tuple)):
                return tuple(self.read_tree(inner) for inner in items)
        if isinstance(content, Mapping):
            if kind == "__keras_tensor__":
                ref = parse_reference(content.get("keras_history"), self.where, self.names)
                shape = parse_shape(content.get("shape"))
                if shape is not None:
                    self.hints[ref] = shape
                return ref
            if kind == "__slice__":
                return self.read_slice(content)
            if kind in ("__numpy__", "__tensor__"):
                try:
                    return decode_array(self.where, "args", dict(given))
                except ValueError as error:
                    raise FileError(str(error)) from None
            if kind == "DTypePolicy" and isinstance(content.get("name"), str):
                return content["name"]
        rule = "an argument must be a tensor, a plain value, a slice or an array"
        raise_config_error(self.where, rule, given, "Nothing else is rebuilt.")

    def read_slice(self, content: Mapping[str, Any]) -> slice:
        parts = [self.read_tree(content.get(part)) for part in ("start", "stop", "step")]
        if not all(part is None or type(part) is int for part in parts):
            raise_config_error(self.where, "a slice must be of integers or null", dict(content))
        return slice(*parts)

    def require_plain(self, given: Any) -> Any:
        if given is None or isinstance(given, (bool, int, float, str)):
            return given
        raise_config_error(self.where, "an argument must be a plain value", given)

    def read_old(self, node: Any, operation: bool) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call in the dialect of Keras 1 and 2."""
        found: list[Any] = []

        def read_tensor(given: Any) -> Any:
            if not _is_old_tensor(given):
                raise_config_error(self.where, "a call must list [layer, node, tensor]", node)
            found.extend(given[3:])
            if given[0] == CONSTANT:
                return self.read_constant(given[2])
            return parse_reference(given[:3], self.where, self.names)

        inputs = _map_leaves(read_tensor, node, _is_old_tensor)
        if not operation and isinstance(inputs, list) and len(inputs) == 1:
            inputs = inputs[0]  # as Keras does: a layer is not called on a list of one tensor
        given = [kwargs for kwargs in found if kwargs]
        if not all(isinstance(kwargs, Mapping) and kwargs == given[0] for kwargs in given):
            raise_config_error(self.where, "the keyword arguments must be one dict", given)
        kwargs = dict(given[0]) if given else {}
        self.require_strings(kwargs, "the keyword arguments must have names")
        if operation:
            kwargs.pop("name", None)  # TensorFlow's name of the operation
        return [inputs], _map_leaves(self.read_old_leaf, kwargs, self.is_old_reference)

    def read_constant(self, given: Any) -> Any:
        if isinstance(given, (list, tuple)):
            return [self.read_constant(inner) for inner in given]
        return self.require_plain(given)

    def read_old_leaf(self, given: Any) -> Any:
        if self.is_old_reference(given):
            return parse_reference(given, self.where, self.names)
        return self.require_plain(given)

    def is_old_reference(self, given: Any) -> bool:
        """Return whether a list among the keyword arguments is a tensor."""
        return _is_old_tensor(given) and len(given) == 3 and given[0] in self.names


def _is_object(given: Any) -> bool:
    return isinstance(given, Mapping) and "class_name" in given


def _is_old_tensor(given: Any) -> bool:
    is_list = isinstance(given, (list, tuple)) and len(given) in (3, 4)
    return is_list and isinstance(given[0], str)


def parse_reference(given: Any, where: str, names: Iterable[str]) -> TensorRef:
    """Return the tensor of `[layer, node, tensor]`, with the file's call index."""
    if not isinstance(given, (list, tuple)) or len(given) != 3 or not isinstance(given[0], str):
        raise_config_error(where, "a tensor must be [layer, node, tensor]", given)
    layer, node, index = given
    if type(node) is not int or type(index) is not int or min(node, index) < 0:
        raise_config_error(where, "a node and a tensor must be integers >= 0", given)
    if layer not in names:
        raise_config_error(where, "a tensor must be of a layer of this model", layer)
    return TensorRef(layer, node, index)


def parse_references(given: Any, where: str, names: Iterable[str]) -> Any:
    """Return the structure of tensors of `input_layers` or `output_layers`."""
    read = partial(parse_reference, where=where, names=names)
    return _map_leaves(read, given, lambda inner: _is_old_tensor(inner) and len(inner) == 3)


def parse_shape(given: Any) -> tuple[int | None, ...] | None:
    """Return a shape as a tuple, or None if it is not a valid shape."""
    if not isinstance(given, (list, tuple)):
        return None
    is_valid = all(n is None or (type(n) is int and n >= 0) for n in given)
    return tuple(given) if is_valid else None
