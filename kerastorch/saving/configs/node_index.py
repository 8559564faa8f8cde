"""How the calls of a layer are counted: from 0 on here, from 1 on in places of Keras's files."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from ...graph.spec import LayerSpec, TensorRef, mapped, refs
from .nodes import RawCalls, refuse

Node = tuple[str, int]  # a layer and which of its calls
WRONG_NUMBERS = (
    "Some versions of Keras 3 wrote wrong numbers for layers that are called more than once: save "
    "the model anew with a later Keras, or rebuild it in PyTorch and use `load_weights`."
)


_ROUNDS, _MOST = 10, 200  # of looking for what depends on what, and of what is looked for


def require_certain(raw: Mapping[str, RawCalls], version: str | None, where: str) -> None:
    """Refuse numbers that may mean something else in the version of Keras 3 that wrote them.

    Where a call takes the result of another, Keras 3.0 and 3.1 counted all calls of that layer,
    also those outside of the model, and Keras 3.2 always wrote 0. Later ones count those inside.

    Args:
        raw: The calls of each layer as the config has them.
        version: The version that wrote them, None where it is not known.
        where: The place, for messages.
    """
    minor = _minor(version)
    if (minor is not None and minor > 2) or not any(found.modern for found in raw.values()):
        return
    used: dict[str, set[int]] = {name: set() for name in raw}
    for ref in refs([[list(c.args), c.kwargs] for found in raw.values() for c in found.calls]):
        used[ref.layer].add(ref.call)
    several = [name for name, found in raw.items() if len(found.calls) > 1 and used[name]]
    doubtful = [name for name in several if used[name] != set(range(len(used[name])))]
    if minor not in (0, 1) and not any(map(any, used.values())):
        doubtful += _ambiguous(raw, several)
    if doubtful:
        rule = f"it must be clear which calls of {doubtful[0]!r} are meant"
        refuse(where, rule, f"Keras {version or 'of a version not known'}", WRONG_NUMBERS)


def _ambiguous(raw: Mapping[str, RawCalls], several: list[str]) -> list[str]:
    """Return the layers some of whose calls may be meant where the config has 0 throughout.

    A call cannot take the result of one that depends on it: where that leaves the first call of
    a layer only, it is meant.
    """
    users: dict[Node, list[Node]] = {}
    open_: list[tuple[Node, str]] = []
    for name, found in raw.items():
        for number, call in enumerate(found.calls):
            for ref in refs([list(call.args), call.kwargs]):
                if ref.layer in several:
                    open_.append(((name, number), ref.layer))
                else:
                    users.setdefault((ref.layer, 0), []).append((name, number))
    for _ in range(_ROUNDS if len(open_) <= _MOST else 0):
        found_now = [(user, name) for user, name in open_ if _means_first(user, name, raw, users)]
        for user, name in found_now:
            users.setdefault((name, 0), []).append(user)
        open_ = [one for one in open_ if one not in found_now]
    return [name for _, name in open_]


def _means_first(
    user: Node, name: str, raw: Mapping[str, RawCalls], users: Mapping[Node, list[Node]]
) -> bool:
    """Return whether all calls of a layer but the first depend on the call `user`."""
    after, waiting = {user}, [user]
    while waiting:
        new = [one for one in users.get(waiting.pop(), ()) if one not in after]
        after.update(new)
        waiting += new
    return all((name, number) in after for number in range(1, len(raw[name].calls)))


def _minor(version: str | None) -> int | None:
    """Return the second number of a version of Keras 3: 2 of "3.2.1"."""
    parts = (version or "").split(".")
    return int(parts[1]) if parts[0] == "3" and len(parts) > 1 and parts[1].isdecimal() else None


def first_numbers(
    layers: list[LayerSpec], raw: Mapping[str, RawCalls], ends: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of each layer's first call, inside the graph and at its ends.

    Keras 2 counts the calls of a nested model from 1 on, unless it was a Sequential model that
    had no input of its own: all calls are used, so that the numbers in use tell.
    """
    modern = any(found.modern for found in raw.values())
    inside, outside = dict.fromkeys(raw, 0), dict.fromkeys(raw, 0)
    used: dict[str, set[int]] = {name: set() for name in raw}
    calls = [[list(call.args), call.kwargs] for found in raw.values() for call in found.calls]
    for ref in refs([calls, ends]):
        used[ref.layer].add(ref.call)
    for layer in layers:
        if layer.model is None and "layers" not in layer.config:
            continue
        if modern:
            functional = layer.class_name == "Functional" or "input_layers" in layer.config
            outside[layer.name] = int(functional)
        else:
            count = len(raw[layer.name].calls)
            first = int(used[layer.name] != set(range(count)))
            inside[layer.name] = outside[layer.name] = first
    return inside, outside


def counted(
    structure: Any,
    offsets: Mapping[str, int],
    counts: Mapping[str, int],
    inputs: Container[str],
    where: str,
) -> Any:
    """Return a structure whose calls are counted from 0 on.

    Args:
        structure: TensorRefs that have the file's numbers.
        offsets: The number of each layer's first call in the file.
        counts: How many calls of each layer there are.
        inputs: The names of the InputLayers, whose one tensor any number means.
        where: The place, for messages.
    """

    def shifted(ref: TensorRef) -> TensorRef:
        if ref.layer in inputs:
            return ref._replace(call=0)
        call = ref.call - offsets[ref.layer]
        if not 0 <= call < counts[ref.layer]:
            rule = f"a tensor must come from one of the {counts[ref.layer]} calls of its layer"
            refuse(where, rule, list(ref), WRONG_NUMBERS)
        return ref._replace(call=call)

    return mapped(structure, shifted)
