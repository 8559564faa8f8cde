"""Blocks of equal structure as one class: its parameters, and the arguments of each block."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from ..text.constructors import list_arguments
from ..text.names import format_literal

_MOST_PARAMETERS = 5
_MOST_SIZES = 10  # different columns of sizes that are compared
_LARGEST_FACTOR = 8

# Arguments of modules that may differ between blocks of one class.
_SIZES = frozenset({
    "in_channels", "out_channels", "num_features", "in_features", "out_features", "groups",
    "normalized_shape", "num_channels", "channels", "features", "input_size", "hidden_size",
    "num_embeddings", "embedding_dim", "embed_dim", "dim", "size",
})  # fmt: skip
_OTHERS = frozenset({"stride", "p", "rate", "drop_rate", "num_groups", "num_heads"})
_KERNELS = frozenset({"kernel_size", "padding"})
_SHAPE = "shape"  # with the number of an axis: the sizes of a tensor
_PARAMETER_NAMES = {"p": "dropout"}
DEFAULTS = {"stride": 1}  # of parameters of the written classes


class Leaf(NamedTuple):
    """An argument of a module that may differ between blocks."""

    node: int  # the place of the call in the block
    name: str
    value: Any

    @property
    def is_size(self) -> bool:
        """Whether it is a number of channels or features."""
        return self.name in _SIZES or self.name.startswith(_SHAPE)


@dataclass(eq=False)
class Family:
    """A class of the written code that stands for several blocks.

    Attributes:
        name: The name of the class.
        doc: The lines of its docstring.
        parameters: The parameters of its constructor.
        expressions: The attribute of a module, and the name of an argument -> its expression.
    """

    name: str
    doc: list[str]
    parameters: list[str]
    expressions: dict[tuple[str, str], str]

    def get_expressions(self, target: str) -> dict[str, str]:
        """Return the expressions of the arguments of one module."""
        return {name: text for (own, name), text in self.expressions.items() if own == target}


class BlockCall(NamedTuple):
    """How a block is made, in `GraphModule.meta["block"]`."""

    family: Family
    arguments: tuple[Any, ...]


class Unified(NamedTuple):
    """The parameters of blocks, their values in each block, and what leaves are by them."""

    parameters: list[str]
    arguments: list[tuple[Any, ...]]  # of each block
    expressions: dict[tuple[int, str], str]  # (place of the call, argument) -> expression


def describe(
    nodes: Sequence[fx.Node], module: nn.Module, *, vary_kernels: bool
) -> tuple[str, list[Leaf]]:
    """Return what blocks of one class have in common, as text, and what may differ."""
    numbers = {node: number for number, node in enumerate(nodes)}
    leaves: list[Leaf] = []
    parts: list[str] = []

    def show(value: Any) -> str:
        if isinstance(value, fx.Node):
            return f"%{numbers[value]}" if value in numbers else "%x"
        if isinstance(value, torch.Tensor):
            return f"{type(value).__name__}({value.dtype}, {value.requires_grad}, {value.ndim})"
        if isinstance(value, (list, tuple)):
            return f"{type(value).__name__}({', '.join(map(show, value))})"
        if isinstance(value, dict):
            return f"dict({', '.join(f'{key}={show(one)}' for key, one in value.items())})"
        if isinstance(value, slice):
            return f"slice{show((value.start, value.stop, value.step))}"
        return repr(value)

    for number, node in enumerate(nodes):
        shown = show(node.target)
        if node.op == "call_module":
            called = module.get_submodule(str(node.target))
            fixed, own = _split_arguments(called, vary_kernels)
            leaves += [Leaf(number, name, value) for name, value in own.items()]
            frozen = [one.requires_grad for one in called.parameters()]
            shown = f"{type(called).__qualname__}{show(fixed)}{[*own]}{frozen}"
        elif node.op == "get_attr":
            tensor = getattr(module, str(node.target))
            sizes = [(f"{_SHAPE}{axis}", n) for axis, n in enumerate(tensor.shape)]
            leaves += [Leaf(number, name, n) for name, n in sizes]
            shown = show(tensor)
        comments = [node.meta.get(kind) for kind in ("comment", "module_comment")]
        parts.append(f"{node.op} {shown} {show(node.args)} {show(node.kwargs)} {comments}")
    return "\n".join(parts), leaves


def _split_arguments(
    module: nn.Module, vary_kernels: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of a module that are fixed in a class, and those that may differ."""
    fixed: dict[str, Any] = {}
    varying: dict[str, Any] = {}
    allowed = _SIZES | _OTHERS | (_KERNELS if vary_kernels else frozenset())
    arguments = list_arguments(module)
    for name, value in arguments.items():
        is_number = type(value) in (int, float)
        if name == "groups":
            is_depthwise = value == arguments.get("in_channels") != 1
            fixed["is_depthwise"], fixed["is_grouped"] = is_depthwise, value != 1
            is_number = value != 1
        (varying if name in allowed and is_number else fixed)[name] = value
    return fixed, varying


def unify(blocks: Sequence[Sequence[Leaf]]) -> Unified | None:
    """Return the parameters of a class for blocks, given their leaves; None if too many differ."""
    leaves = blocks[0]
    columns = [tuple(block[k].value for block in blocks) for k in range(len(leaves))]
    differing = [k for k, column in enumerate(columns) if len({*column}) > 1]
    sizes = list(dict.fromkeys(columns[k] for k in differing if leaves[k].is_size))
    bases = _choose_bases(sizes)
    if bases is None:
        return None
    names = _name_sizes(bases, leaves, columns)
    values: dict[str, tuple[Any, ...]] = {name: column for column, name in names.items()}
    others: dict[tuple[str, tuple[Any, ...]], str] = {}
    kernels = {leaves[k].node: columns[k] for k in differing if leaves[k].name == "kernel_size"}
    expressions: dict[tuple[int, str], str] = {}
    for k in sorted(differing, key=lambda k: leaves[k].name != "kernel_size"):
        leaf, column = leaves[k], columns[k]
        if leaf.is_size:
            expressions[leaf.node, leaf.name] = next(
                text for base in bases if (text := _express(column, base, names[base]))
            )
            continue
        kernel = kernels.get(leaf.node, ())
        if leaf.name == "padding" and column == tuple(n // 2 for n in kernel):
            expressions[leaf.node, leaf.name] = f"{expressions[leaf.node, 'kernel_size']} // 2"
            continue
        if (leaf.name, column) not in others:
            stem = _PARAMETER_NAMES.get(leaf.name, leaf.name)
            count = sum(name == leaf.name for name, _ in others)
            others[leaf.name, column] = f"{stem}{count + 1}" if count else stem
            values[others[leaf.name, column]] = column
        expressions[leaf.node, leaf.name] = others[leaf.name, column]
    if len(values) > _MOST_PARAMETERS:
        return None
    values = dict(sorted(values.items(), key=lambda pair: pair[0] in DEFAULTS))
    return Unified(
        [*values], list(zip(*values.values(), strict=True)) or [()] * len(blocks), expressions
    )


def _choose_bases(columns: list[tuple[int, ...]]) -> list[tuple[int, ...]] | None:
    """Return the fewest columns of which all are multiples or fractions, the simplest first."""
    if len(columns) > _MOST_SIZES:
        return None
    for count in range(min(len(columns), _MOST_PARAMETERS) + 1):
        costs: dict[Iterable[tuple[int, ...]], int] = {}
        for bases in itertools.combinations(columns, count):
            each = [min((_cost(column, base) for base in bases), default=99) for column in columns]
            if max(each, default=0) < 99:
                costs[bases] = sum(each)
        if costs:
            return list(min(costs, key=lambda bases: costs[bases]))
    return None


def _cost(column: tuple[int, ...], base: tuple[int, ...]) -> int:
    """Return how hard to read a column is as an expression of a base; 99: it is none."""
    text = _express(column, base, "")
    return 99 if text is None else 0 if not text else 1 if "*" in text else 2


def _express(column: tuple[int, ...], base: tuple[int, ...], name: str) -> str | None:
    """Return a column as a multiple or fraction of a base, None if it is neither."""
    if column == base:
        return name
    for factor in range(2, _LARGEST_FACTOR + 1):
        if all(a == factor * b for a, b in zip(column, base, strict=True)):
            return f"{factor} * {name}"
        if all(factor * a == b for a, b in zip(column, base, strict=True)):
            return f"{name} // {factor}"
    return None


def _name_sizes(
    bases: list[tuple[int, ...]], leaves: Sequence[Leaf], columns: list[tuple[Any, ...]]
) -> dict[tuple[int, ...], str]:
    """Return the name of each base by its role: the input's size, the output's, or another."""
    own = [
        (leaf.name, column) for leaf, column in zip(leaves, columns, strict=True) if leaf.is_size
    ]
    first = own[0][1] if own else None
    last = next((column for name, column in reversed(own) if name != "groups"), None)
    stem = "features" if own and own[0][0] == "in_features" else "channels"
    names: dict[tuple[int, ...], str] = {}
    counts: Counter[str] = Counter()
    for base in bases:
        name = stem if base == first else f"out_{stem}" if base == last else "width"
        counts[name] += 1
        names[base] = name if counts[name] == 1 else f"{name}{counts[name]}"
    ranks = {stem: 0, f"out_{stem}": 2}
    return dict(sorted(names.items(), key=lambda pair: ranks.get(pair[1], 1)))


def is_option(name: str) -> bool:
    """Return whether a parameter is passed by its name: all that are no sizes."""
    return not name.startswith(("channels", "features", "out_", "width"))


def find_progression(calls: Sequence[BlockCall]) -> tuple[int, list[str]]:
    """Return how many calls from the first on are one of `i`, and their arguments as text.

    Each argument is equal in all of them, or an integer that grows evenly.
    """
    first = calls[0]
    following = list(itertools.takewhile(lambda c: c.family is first.family, calls))
    steps = [0 for _ in first.arguments]
    count = 1
    for number, call in enumerate(following[1:], 1):
        pairs = list(zip(first.arguments, call.arguments, strict=True))
        if number == 1:
            steps = [b - a if type(a) is type(b) is int else 0 for a, b in pairs]
        if any(
            b != (a + number * step if step else a)
            for (a, b), step in zip(pairs, steps, strict=True)
        ):
            break
        count = number + 1
    texts = [
        format_literal(start) if not step else _write_progression(start, step)
        for start, step in zip(first.arguments, steps, strict=True)
    ]
    return count, texts


def _write_progression(start: int, step: int) -> str:
    factor = "i" if abs(step) == 1 else f"{abs(step)} * i"
    if start == 0 and step > 0:
        return factor
    return f"{start} {'+' if step > 0 else '-'} {factor}"
