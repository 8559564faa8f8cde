"""Zero padding as part of the convolution or pooling that alone reads it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MAX_POOLS = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
OF_NONNEGATIVE = "of_nonnegative"  # meta of a padding: whether no element of its input is below 0


def merge_padding(module: fx.GraphModule) -> None:
    """Let convolutions and max poolings pad symmetrically by themselves; the numbers stay."""
    for inner in module.modules():
        if isinstance(inner, fx.GraphModule):
            nodes = inner.graph.nodes
            counts = Counter(node.target for node in nodes if node.op == "call_module")
            for node in list(nodes):
                amounts = _find_padding(node)
                if amounts is not None and _take_padding(inner, node, amounts, counts):
                    before: Any = node.args[0]
                    before.replace_all_uses_with(before.args[0])
                    inner.graph.erase_node(before)
            inner.recompile()


def _find_padding(node: fx.Node) -> tuple[int, ...] | None:
    """Return the zeros on both sides of each axis that the node before adds for this one alone."""
    before = node.args[0] if node.args else None
    if not isinstance(before, fx.Node) or before.target is not F.pad or before.kwargs:
        return None
    amounts: Any = before.args[1]
    sides = list(zip(amounts[-2::-2], amounts[::-2], strict=True))
    if len(before.users) > 1 or any(a != b or a < 0 for a, b in sides):
        return None
    return tuple(a for a, _ in sides)


def _take_padding(
    module: fx.GraphModule, node: fx.Node, amounts: tuple[int, ...], counts: Counter[Any]
) -> bool:
    """Add padding to that of an operation if it can have it; return whether it can."""
    if node.op == "call_module":
        conv: Any = module.get_submodule(str(node.target))
        if not isinstance(conv, _CONVOLUTIONS) or counts[node.target] > 1:
            return False
        rank = len(conv.kernel_size)
        if len(amounts) > rank or isinstance(conv.padding, str):
            return False
        own = zip(conv.padding, (0,) * (rank - len(amounts)) + amounts, strict=True)
        conv.padding = tuple(a + b for a, b in own)
        conv._reversed_padding_repeated_twice = [n for n in conv.padding[::-1] for _ in range(2)]
        return True
    if node.target not in _MAX_POOLS or {"padding", "ceil_mode"} & node.kwargs.keys():
        return False
    before: Any = node.args[0]
    size: Any = node.args[1]
    sizes = size if isinstance(size, tuple) else (size,) * len(amounts)
    amounts = (0,) * (len(sizes) - len(amounts)) + amounts
    fits = all(2 * a <= n for a, n in zip(amounts, sizes, strict=True))
    if not (before.meta.get(OF_NONNEGATIVE) and fits):
        return False
    shown: Any = amounts[0] if len({*amounts}) == 1 else amounts
    node.kwargs = {**node.kwargs, "padding": shown}
    node.meta["comment"] = "Keras pads zeros: the same, since nothing is below 0"
    return True
