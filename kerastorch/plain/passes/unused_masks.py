"""Masks between the classes of nested models that nothing reads are left out."""

from __future__ import annotations

import operator

from torch import fx


def drop_unused_masks(root: fx.GraphModule, counts: dict[fx.GraphModule, int]) -> None:
    """Remove the mask outputs and inputs that no class reads, and what only they need.

    Args:
        root: The module of the whole model.
        counts: Module of a nested model -> the number of its outputs without masks.
    """
    calls = {inner: _list_calls(root, inner) for inner in counts}
    for inner in reversed(counts):  # a model before those inside of it
        _drop_outputs(inner, calls[inner], counts[inner])
    for inner in counts:
        _drop_inputs(inner, calls[inner])
    for module in (*counts, root):
        _erase_unused(module.graph)
        module.recompile()


def _list_calls(module: fx.GraphModule, inner: fx.GraphModule) -> list[fx.Node]:
    """Return the calls of a module in the graph of another one, or in those inside of it."""
    found = []
    for node in module.graph.nodes:
        called = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if called is inner:
            found.append(node)
        elif isinstance(called, fx.GraphModule):
            found += _list_calls(called, inner)
    return list(dict.fromkeys(found))


def _drop_outputs(inner: fx.GraphModule, calls: list[fx.Node], count: int) -> None:
    parts = [user for call in calls for user in call.users]
    output = next(node for node in inner.graph.nodes if node.op == "output")
    (found,) = output.args
    if not isinstance(found, tuple) or len(found) == count:
        return
    if any(part.args[1] >= count and part.users for part in parts):  # type: ignore[operator]
        return
    output.args = (found[:count] if count > 1 else found[0],)
    _erase_unused(inner.graph)
    for call in calls:
        call.meta["unpacks"] = count
        for part in list(call.users):
            if count == 1 and part.target is operator.getitem:
                part.replace_all_uses_with(call)
            if not part.users:
                part.graph.erase_node(part)
        if count == 1:
            del call.meta["unpacks"]


def _drop_inputs(inner: fx.GraphModule, calls: list[fx.Node]) -> None:
    inputs = [node for node in inner.graph.nodes if node.op == "placeholder"]
    unused = [n for n, one in enumerate(inputs) if not one.users and "mask" in one.meta]
    for call in calls:
        call.args = tuple(one for n, one in enumerate(call.args) if n not in unused)
    for number in unused:
        inner.graph.erase_node(inputs[number])


def _erase_unused(graph: fx.Graph) -> None:
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
