"""Read which layer is called on what in the config of a Functional model, in two dialects.

Keras 3 writes a call as `{"args", "kwargs"}` with tensors as dicts, Keras 1 and 2 as lists of
`[layer, node, tensor, kwargs]`. Keras 2 counts the calls of a nested model from 1, since such a
model began with a call on its own inputs; Keras 3 does so only in a model's inputs and outputs.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

from ..._core.config_arrays import decode_array
from ..._core.errors import FileError
from ...graph.spec import Call, TensorRef, iterate_refs

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
    layer: str, nodes: Any, where: str, names: Iterable[str], hints: Hints, *, operation: bool
) -> InboundNodes:
    """Return the calls in an entry's `inbound_nodes`.

    The shapes of tensors are added to `hints`. For an `operation`, a list of one tensor remains a
    list.
    """
    if not isinstance(nodes, (list, tuple)):
        raise_config_error(where, "`inbound_nodes` must be a list", nodes)
    modern = [isinstance(node, Mapping) and set(node) == {"args", "kwargs"} for node in nodes]
    if len(set(modern)) > 1:
        raise_config_error(where, "`inbound_nodes` must all be Keras 3's, or all Keras 2's", nodes)
    known = set(names)
    calls = []
    for number, node in enumerate(nodes):
        place = f"{where}: inbound_nodes[{number}]"
        if modern[0]:
            args, kwargs = _Keras3Arguments(place, known, hints).read(node)
        else:
            args, kwargs = _read_old_arguments(node, place, known, operation)
            if operation:
                kwargs.pop("name", None)  # TensorFlow's name of the operation
        calls.append(Call(layer, *_simplify(args, kwargs, modern[0], place)))
    return InboundNodes(calls, bool(modern) and modern[0])


def _simplify(
    args: list[Any], kwargs: dict[str, Any], modern: bool, where: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments without empty ones, and refuse a call without tensors."""
    kwargs = dict(kwargs)
    if _is_empty(kwargs.get("mask")):
        kwargs.pop("mask", None)
    training = kwargs.pop("training", None)
    if training is not None:
        if training not in (0, 1):
            raise_config_error(where, "`training` must be true, false or null", training)
        if not modern:  # Keras 3 overrides it by the model's own argument
            kwargs["training"] = bool(training)
    if not args and "inputs" in kwargs:
        args = [kwargs.pop("inputs")]
    if next(iterate_refs([args, kwargs]), None) is None:
        raise_config_error(where, "a call must be on some tensor", args)
    return tuple(args), kwargs


def _is_empty(mask: Any) -> bool:
    """Return whether a mask, or a structure of masks, is None."""
    if isinstance(mask, Mapping):
        return all(map(_is_empty, mask.values()))
    return mask is None or (isinstance(mask, list) and all(map(_is_empty, mask)))


class _Keras3Arguments:
    """Reads the arguments of calls in Keras 3's dialect."""

    def __init__(self, where: str, names: set[str], hints: Hints) -> None:
        self.where, self.names, self.hints = where, names, hints

    def read(self, node: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        args, kwargs = node["args"], node["kwargs"]
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
            raise_config_error(self.where, "`args` must be a list and `kwargs` a dict", node)
        if not all(isinstance(key, str) for key in kwargs):
            raise_config_error(self.where, "`kwargs` must have names", list(kwargs))
        return [self.value(arg) for arg in args], {k: self.value(v) for k, v in kwargs.items()}

    def value(self, given: Any) -> Any:
        if isinstance(given, (list, tuple)):
            return [self.value(inner) for inner in given]
        if not isinstance(given, Mapping):
            return _plain(given, self.where)
        if "class_name" not in given:
            return {key: self.value(inner) for key, inner in given.items()}
        kind, content = given["class_name"], given.get("config")
        if kind == "__ellipsis__":
            return ...
        if kind == "__tuple__":
            items = given.get("items", content)
            items = items.get("value") if isinstance(items, Mapping) else items
            if isinstance(items, (list, tuple)):
                return tuple(self.value(inner) for inner in items)
        if isinstance(content, Mapping):
            if kind == "__keras_tensor__":
                return self._tensor(content)
            if kind == "__slice__":
                return self._slice(content)
            if kind in ("__numpy__", "__tensor__"):
                return self._array(given)
            if kind == "DTypePolicy" and isinstance(content.get("name"), str):
                return content["name"]
        rule = "an argument must be a tensor, a plain value, a slice or an array"
        raise_config_error(self.where, rule, given, "Nothing else is rebuilt.")

    def _tensor(self, content: Mapping[str, Any]) -> TensorRef:
        ref = parse_reference(content.get("keras_history"), self.where, self.names)
        shape = parse_shape(content.get("shape"))
        if shape is not None:
            self.hints[ref] = shape
        return ref

    def _slice(self, content: Mapping[str, Any]) -> slice:
        parts = [self.value(content.get(part)) for part in ("start", "stop", "step")]
        if not all(part is None or type(part) is int for part in parts):
            raise_config_error(self.where, "a slice must be of integers or null", dict(content))
        return slice(*parts)

    def _array(self, given: Mapping[str, Any]) -> Any:
        try:
            return decode_array(self.where, "args", dict(given))
        except ValueError as error:
            raise FileError(str(error)) from None


def _read_old_arguments(
    node: Any, where: str, names: set[str], operation: bool
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call in the dialect of Keras 1 and 2."""
    found: list[Any] = []

    def convert(given: Any) -> Any:
        if _is_leaf(given):
            if len(given) == 4:
                found.append(given[3])
            if given[0] == CONSTANT:
                return _plain_tree(given[2], where)
            return parse_reference(given[:3], where, names)
        if isinstance(given, (list, tuple)):
            return [convert(inner) for inner in given]
        if isinstance(given, Mapping):
            return {key: convert(inner) for key, inner in given.items()}
        raise_config_error(where, "a call must list [layer, node, tensor]", node)

    inputs = convert(node)
    if not operation and isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]  # as Keras does: a layer is not called on a list of one tensor
    given = [kwargs for kwargs in found if kwargs]
    if not all(isinstance(kwargs, Mapping) and kwargs == given[0] for kwargs in given):
        raise_config_error(where, "the keyword arguments must be one dict", given)
    if not all(isinstance(key, str) for kwargs in given for key in kwargs):
        raise_config_error(where, "the keyword arguments must have names", given)
    kwargs = given[0] if given else {}
    return [inputs], {key: _read_old_value(v, where, names) for key, v in kwargs.items()}


def _is_leaf(given: Any) -> bool:
    is_list = isinstance(given, (list, tuple)) and len(given) in (3, 4)
    return is_list and isinstance(given[0], str)


def _read_old_value(given: Any, where: str, names: set[str]) -> Any:
    """Return a keyword argument's value, in which a list may be a tensor."""
    if _is_leaf(given) and given[0] in names and len(given) == 3:
        return parse_reference(given, where, names)
    if isinstance(given, (list, tuple)):
        return [_read_old_value(inner, where, names) for inner in given]
    if isinstance(given, Mapping):
        return {key: _read_old_value(inner, where, names) for key, inner in given.items()}
    return _plain(given, where)


def _plain_tree(given: Any, where: str) -> Any:
    if isinstance(given, (list, tuple)):
        return [_plain_tree(inner, where) for inner in given]
    return _plain(given, where)


def _plain(given: Any, where: str) -> Any:
    if given is None or isinstance(given, (bool, int, float, str)):
        return given
    raise_config_error(where, "an argument must be a plain value", given)


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
    if isinstance(given, (list, tuple)):
        if len(given) == 3 and isinstance(given[0], str):
            return parse_reference(given, where, names)
        return [parse_references(inner, where, names) for inner in given]
    if isinstance(given, Mapping):
        return {key: parse_references(inner, where, names) for key, inner in given.items()}
    raise_config_error(where, "a tensor must be [layer, node, tensor]", given)


def parse_shape(given: Any) -> tuple[int | None, ...] | None:
    """Return a shape as a tuple, or None if it is not a valid shape."""
    if not isinstance(given, (list, tuple)):
        return None
    is_valid = all(n is None or (type(n) is int and n >= 0) for n in given)
    return tuple(given) if is_valid else None
