"""What blocks, and the modules inside them, are called."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from ..graph import Origin
from ..text.names import clean_text, make_identifier

_DOC_WIDTH = 90
_LONGEST_LABEL = 70  # characters for the layers of one block
_LONGEST_NAME = 160  # characters of a name that are looked at

# What torch's users call modules: the first pattern that the name of the class matches.
_KINDS = (
    (r".*Conv(Transpose)?\dd", "conv"),
    (r".*BatchNorm\dd", "bn"),
    (r".*Norm(\dd)?", "norm"),
    (r".*Linear", "linear"),
    (r".*Dropout\d?d?", "dropout"),
    (r".*Embedding", "embedding"),
    (r"PReLU", "prelu"),
)
_TRANSPARENT = (F.relu, F.relu6, F.silu, F.gelu, F.elu, F.leaky_relu, torch.tanh, torch.sigmoid)


@dataclass
class Region:
    """Operations that may become a block.

    Attributes:
        nodes: The operations, in order; the last one computes the output.
        prefix: The words with which the names of all its layers begin.
    """

    nodes: list[fx.Node]
    prefix: tuple[str, ...] = ()

    @property
    def value(self) -> fx.Node:
        """The value that it reads."""
        inside = set(self.nodes)
        return next(
            value
            for node in self.nodes
            for value in node.all_input_nodes
            if value not in inside and value.op != "get_attr"
        )

    @property
    def members(self) -> list[fx.Node]:
        """The operations with the tensors that they read as attributes, each before its reader."""
        found: dict[fx.Node, None] = {}
        for node in self.nodes:
            tensors = [value for value in node.all_input_nodes if value.op == "get_attr"]
            found.update(dict.fromkeys([*tensors, node]))
        return [*found]

    def describe_origin(self) -> str:
        """Return the words for its layers in a docstring."""
        origins: list[Origin] = [one for node in self.nodes if (one := node.meta.get("origin"))]
        if self.prefix:
            pattern = "[^A-Za-z0-9]*".join(self.prefix)
            found = next(re.match(pattern, one.name) for one in origins if one.is_authored)
            return clean_text(found[0] if found else "_".join(self.prefix), 60)
        names = dict.fromkeys(clean_text(one.name, 60) for one in origins)
        first, last = next(iter(names), "?"), next(reversed(names), "?")
        both = f"{first} to {last}"
        return first if first == last or len(both) > _LONGEST_LABEL else both


def split_words(name: str) -> tuple[str, ...]:
    """Return the words of a layer's name."""
    return tuple(re.findall(r"[A-Za-z0-9]+", name[:_LONGEST_NAME]))


def get_words(node: fx.Node) -> tuple[str, ...] | None:
    """Return the words of the name of an operation's layer, None unless an author chose it."""
    origin: Origin | None = node.meta.get("origin")
    return split_words(origin.name) if origin is not None and origin.is_authored else None


def name_members(regions: Sequence[Region], module: nn.Module) -> list[str]:
    """Return the attribute of each call of a module in blocks of one class, in order.

    It is what is left of Keras's names without the words that they have in common; by its kind,
    such as "conv1", where the blocks disagree or Keras made the names.
    """
    agreed = {tuple(_shorten_names(region)) for region in regions}
    if len(agreed) == 1:
        names = [*agreed.pop()]
        if all(names):
            taken: list[str] = []
            for name in names:
                taken.append(make_identifier(name, taken))
            if taken == names:
                return taken
    calls = [node for node in regions[0].members if is_member(node)]
    kinds = [_name_kind(node, module) for node in calls]
    totals, counts = Counter(kinds), Counter[str]()
    found: list[str] = []
    for kind in kinds:
        counts[kind] += 1
        name = f"{kind}{counts[kind]}" if totals[kind] > 1 else kind
        found.append(make_identifier(name, found))
    return found


def _shorten_names(region: Region) -> list[str]:
    """Return the names of a block's modules without the words in common; "" for no name."""
    calls = [node for node in region.members if is_member(node)]
    each = [get_words(node) for node in calls]
    words = [one for one in each if one is not None]
    if len(words) < len(each):
        return [""]
    common = region.prefix or find_common_words(words)
    names = []
    for node, one in zip(calls, words, strict=True):
        rest = [*one[len(common) :]]
        if part := node.meta.get("part"):
            rest.append(part)
        if len(rest) > 1 and rest[0].isdigit():
            rest = [*rest[1:-1], rest[-1] + rest[0]]
        names.append("_".join(rest))
    return names


def find_common_words(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the words with which all names begin."""
    found = []
    for words in zip(*names, strict=False):
        if len({*words}) > 1:
            break
        found.append(words[0])
    return tuple(found)


def is_member(node: fx.Node) -> bool:
    """Return whether a node reads an attribute of the class."""
    return node.op in ("call_module", "get_attr")


def _name_kind(node: fx.Node, module: nn.Module) -> str:
    if node.op == "get_attr":
        return node.meta.get("part") or "constant"
    name = type(module.get_submodule(str(node.target))).__name__
    for pattern, kind in _KINDS:
        if re.fullmatch(pattern, name):
            return kind
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def name_role(region: Region, module: nn.Module) -> str:
    """Return the name of the class of a block by what it does."""
    modules = [
        module.get_submodule(str(node.target)) for node in region.nodes if node.op == "call_module"
    ]
    if _has_attention(region, modules):
        return "TransformerBlock"
    last = region.nodes[-1]
    while last.target in _TRANSPARENT or _is_norm(last, module):
        last = last.all_input_nodes[0]
    operands = last.all_input_nodes
    if last.target is operator.add and len(operands) == 2:
        if region.value not in operands:
            return "ProjectionBlock"
        return "InvertedResidual" if _is_inverted(modules) else "ResidualBlock"
    if last.target is torch.cat:
        return "DenseLayer" if region.value in operands else "InceptionBlock"
    if _is_inverted(modules):
        return "InvertedBottleneck"
    convolutions = [one for one in modules if "Conv" in type(one).__name__]
    if any(_is_depthwise(one) for one in convolutions):
        return "SeparableBlock"
    return "ConvBlock" if convolutions else "Block"


def _has_attention(region: Region, modules: Sequence[nn.Module]) -> bool:
    return any("Attention" in type(one).__name__ for one in modules) or any(
        node.target is F.scaled_dot_product_attention for node in region.nodes
    )


def _is_norm(node: fx.Node, module: nn.Module) -> bool:
    if node.op != "call_module":
        return False
    return "Norm" in type(module.get_submodule(str(node.target))).__name__


def _is_depthwise(module: Any) -> bool:
    return bool(getattr(module, "groups", 1) == getattr(module, "in_channels", 0) != 1)


def _is_inverted(modules: Sequence[Any]) -> bool:
    """Return whether a convolution widens, the next is depthwise, and the last narrows."""
    convolutions = [one for one in modules if isinstance(one, nn.Conv2d)]
    if len(convolutions) < 3 or not _is_depthwise(convolutions[1]):
        return False
    first, last = convolutions[0], convolutions[-1]
    return first.out_channels > first.in_channels and last.out_channels < last.in_channels


def write_doc(regions: Sequence[Region]) -> list[str]:
    """Return the docstring of a class: the layers in Keras that it stands for."""
    labels = list(dict.fromkeys(region.describe_origin() for region in regions))
    text = labels[0]
    for number, label in enumerate(labels[1:], 1):
        end = f" and {label}" if number == len(labels) - 1 else f", {label}"
        if len(text) + len(end) + len(", ... in Keras.") > _DOC_WIDTH:
            text += ", ..."
            break
        text += end
    return [f'"""{text} in Keras."""']
