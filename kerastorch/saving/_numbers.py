"""How the calls of a layer are counted: from 0 on here, from 1 on in places of Keras's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._nodes import RawCalls, refuse
from ._spec import LayerSpec, TensorRef, mapped, refs

WRONG_NUMBERS = (
    "Some versions of Keras 3 wrote wrong numbers for layers that are called more than once: save "
    "the model anew with a later Keras, or rebuild it in PyTorch and use `load_weights`."
)


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
    structure: Any, offsets: Mapping[str, int], counts: Mapping[str, int], where: str
) -> Any:
    """Return a structure whose calls are counted from 0 on.

    Args:
        structure: TensorRefs that have the file's numbers.
        offsets: The number of each layer's first call in the file.
        counts: How many calls of each layer there are.
        where: The place, for messages.
    """

    def shifted(ref: TensorRef) -> TensorRef:
        call = ref.call - offsets[ref.layer]
        if not 0 <= call < counts[ref.layer]:
            rule = f"a tensor must come from one of the {counts[ref.layer]} calls of its layer"
            refuse(where, rule, list(ref), WRONG_NUMBERS)
        return ref._replace(call=call)

    return mapped(structure, shifted)
