"""Normalize the indices of a layer's calls, which some files count from 1, to count from 0."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...graph.spec import Call, LayerSpec, TensorRef, iterate_refs, map_refs
from .nodes import InboundNodes, raise_config_error

Calls = Mapping[str, InboundNodes]  # of each layer
Node = tuple[str, int]  # a layer and which of its calls
WRONG_NUMBERS = (
    "Some versions of Keras 3 wrote wrong numbers for layers that are called more than once: save "
    "the model again with a later Keras, or rebuild it in PyTorch and use `load_weights`."
)
_ROUNDS, _MOST = 10, 200  # of the search for dependent calls, and of the calls it handles


def normalize_calls(
    layers: list[LayerSpec], raw: Calls, ends: Mapping[str, Any], version: str | None, where: str
) -> tuple[dict[Node, Call], dict[str, Any]]:
    """Return the calls and the ends of a graph, with the calls of each layer counted from 0."""
    _require_unambiguous_index(raw, version, where)
    inside, outside = _find_first_node_index(layers, raw, ends)
    inputs = {layer.name for layer in layers if layer.class_name == "InputLayer"}

    def normalize(structure: Any, first: Mapping[str, int], place: str) -> Any:
        def shift(ref: TensorRef) -> TensorRef:
            if ref.layer in inputs:
                return ref._replace(call=0)
            call, count = ref.call - first[ref.layer], len(raw[ref.layer].calls)
            if not 0 <= call < count:
                rule = f"a tensor must come from one of the {count} calls of its layer"
                raise_config_error(f"{where}: {place}", rule, list(ref), WRONG_NUMBERS)
            return ref._replace(call=call)

        return map_refs(structure, shift)

    from_0 = {key: normalize(tensors, outside, key) for key, tensors in ends.items()}
    calls = {}
    for name, found in raw.items():
        for number, call in enumerate(found.calls):
            args, kwargs = normalize((call.args, call.kwargs), inside, repr(name))
            calls[name, number] = Call(name, args, kwargs, number)
    return calls, from_0


def _require_unambiguous_index(raw: Calls, version: str | None, where: str) -> None:
    """Refuse call indices whose meaning depends on the version of Keras 3 that wrote them."""
    # Keras 3.0 and 3.1 counted the calls outside of the model as well, Keras 3.2 always wrote 0.
    numbered = re.match(r"3\.(\d{1,4})(\.|$)", version or "")
    minor = int(numbered[1]) if numbered else None
    if (minor is not None and minor > 2) or not any(found.modern for found in raw.values()):
        return
    used = _list_used(raw)
    several = [name for name, found in raw.items() if len(found.calls) > 1 and used[name]]
    doubtful = [name for name in several if used[name] != set(range(len(used[name])))]
    if minor not in (0, 1) and not any(map(any, used.values())):
        doubtful += _ambiguous(raw, several)
    if doubtful:
        rule = f"it must be clear which calls of {doubtful[0]!r} are meant"
        found = f"Keras {version or 'of a version not known'}"
        raise_config_error(where, rule, found, WRONG_NUMBERS)


def _ambiguous(raw: Calls, several: list[str]) -> list[str]:
    """Return the layers whose calls are ambiguous if the config has 0 everywhere."""
    # A call cannot use the result of one that depends on it, which may leave the first call only.
    users: dict[Node, list[Node]] = {}
    pending: list[tuple[Node, str]] = []
    for name, found in raw.items():
        for number, call in enumerate(found.calls):
            for ref in iterate_refs([list(call.args), call.kwargs]):
                if ref.layer in several:
                    pending.append(((name, number), ref.layer))
                else:
                    users.setdefault((ref.layer, 0), []).append((name, number))
    for _ in range(_ROUNDS if len(pending) <= _MOST else 0):
        resolved = [one for one in pending if _means_first(*one, raw, users)]
        for user, name in resolved:
            users.setdefault((name, 0), []).append(user)
        pending = [one for one in pending if one not in resolved]
    return [name for _, name in pending]


def _means_first(user: Node, name: str, raw: Calls, users: Mapping[Node, list[Node]]) -> bool:
    """Return whether all calls of a layer but the first depend on the call `user`."""
    after, waiting = {user}, [user]
    while waiting:
        new = [one for one in users.get(waiting.pop(), ()) if one not in after]
        after.update(new)
        waiting += new
    return all((name, number) in after for number in range(1, len(raw[name].calls)))


def _find_first_node_index(
    layers: list[LayerSpec], raw: Calls, ends: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the index of each layer's first call, inside the graph and at its ends."""
    # Keras 2 counts the calls of a nested model from 1, unless it is a Sequential model without an
    # input of its own. All calls are used, so that the indices in use say which.
    modern = any(found.modern for found in raw.values())
    inside, outside = dict.fromkeys(raw, 0), dict.fromkeys(raw, 0)
    used = _list_used(raw, ends)
    for layer in layers:
        if layer.model is None and "layers" not in layer.config:
            continue
        if modern:
            functional = layer.class_name == "Functional" or "input_layers" in layer.config
            outside[layer.name] = int(functional)
        else:
            from_0 = set(range(len(raw[layer.name].calls)))
            inside[layer.name] = outside[layer.name] = int(used[layer.name] != from_0)
    return inside, outside


def _list_used(raw: Calls, ends: Any = ()) -> dict[str, set[int]]:
    """Return the indices by which each layer's calls are referred to."""
    used: dict[str, set[int]] = {name: set() for name in raw}
    calls = [[list(call.args), call.kwargs] for found in raw.values() for call in found.calls]
    for ref in iterate_refs([calls, ends]):
        used[ref.layer].add(ref.call)
    return used
