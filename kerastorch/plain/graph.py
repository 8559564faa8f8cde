"""The graph of a model in plain PyTorch: a `torch.fx` graph, and where each tensor's axes lie."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple, NoReturn

import torch
from torch import fx, nn

from .._core.layout import CHANNELS_FIRST, CHANNELS_LAST
from .printed.functions import split_steps
from .text.names import make_identifier

Sizes = tuple[int | None, ...]


class Refusal(Exception):
    """A layer has no plain form: the message says why."""


class Origin(NamedTuple):
    """The layer of which an operation is, in `node.meta["origin"]`."""

    name: str  # as the file has it
    is_authored: bool  # not made by Keras, such as "conv2d_17"


@dataclass(frozen=True)
class Value:
    """A tensor of the written code.

    Attributes:
        node: The node of the graph that computes it.
        shape: Its shape in Keras, batch included; None for an unknown size.
        moved: Whether the tensor has the channels as axis 1, where Keras has them last.
        nonnegative: Whether no element is below 0.
        flattened: The number of channels and the spatial sizes whose product is axis 1, in this
            order, where Keras has the channels last; None if the features are in Keras's order.
        mask: The mask of the steps, or None.
        dtype: The torch dtype.
    """

    node: fx.Node
    shape: Sizes
    moved: bool = False
    nonnegative: bool = False
    flattened: tuple[int, ...] | None = None
    mask: Value | None = None
    dtype: torch.dtype = torch.float32

    @property
    def rank(self) -> int:
        """The number of axes, batch included."""
        return len(self.shape)

    @property
    def spatial(self) -> Sizes:
        """The sizes of the spatial axes, for an image whose channels Keras has last."""
        return self.shape[1:-1]


class GraphBuilder:
    """Adds operations to the graph of one class of the written code.

    `module`, `function` and `method` take Values, and return one that lies like the first of them,
    without a known shape of its own: the shape of a layer's output is set after its lowering.
    """

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.modules: dict[str, nn.Module] = {}  # by attribute
        self.taken: set[str] = set()  # attributes
        self.layer: Any = None  # whose lowering runs
        self.layer_name = ""  # how its first module is called
        self.origin: Origin | None = None  # its name in Keras
        self.call_counts: Counter[Any] = Counter()  # how often the model calls each layer
        self.has_masks = False  # whether some values of the model have masks
        self.lower_inner: Callable[..., Any] | None = None  # (layer, *arguments) -> its Value
        self._targets: dict[Any, list[str]] = {}  # layer -> the attributes of its modules
        self._tensors: dict[tuple[Any, str], str] = {}  # layer, name -> the attribute
        self._position = 0  # the number of modules in this call of the layer
        self._steps: dict[fx.Node, Value] = {}  # node -> the same tensor with steps as samples
        self._sequences: dict[fx.Node, Value] = {}  # node -> an older sequence of as many steps
        self._lying: dict[fx.Node, Value] = {}  # node -> the same tensor with its axes moved

    # What a lowering calls

    def module(self, module: nn.Module, *args: Any, name: str = "", **kwargs: Any) -> Value:
        """Call a module with weights or state of its own: an attribute of the class.

        Args:
            module: The module; a later call of the same layer takes that of the first one.
            *args: Values and literals.
            name: What is added to the attribute's name, where a layer becomes several modules.
            **kwargs: Values and literals.
        """
        called = self._add("call_module", self._add_module(module, name), args, kwargs)
        called.node.meta["part"] = name
        return called

    def weight_of(self, module: nn.Module, parameter: str, like: Value, name: str = "") -> Value:
        """Return a parameter of a module that is an attribute of the class, as `module` adds it."""
        node = self.graph.get_attr(f"{self._add_module(module, name)}.{parameter}")
        return replace(like, node=node)

    def inner(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Lower a call of a layer inside of the one whose lowering runs."""
        if self.lower_inner is None:
            self.refuse("it has a layer inside")
        return self.lower_inner(layer, args, kwargs)

    def function(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Value:
        """Call a function of torch, `torch.nn.functional`, `operator` or `plain.printed`."""
        return self._add("call_function", function, args, kwargs)

    def method(self, name: str, *args: Any, **kwargs: Any) -> Value:
        """Call a method of the first argument, a tensor."""
        return self._add("call_method", name, args, kwargs)

    def unpack(self, value: Value, count: int) -> list[Value]:
        """Return the parts of a tuple, which the text unpacks where it is computed."""
        value.node.meta["unpacks"] = count
        return [self.function(operator.getitem, value, number) for number in range(count)]

    def name(self, value: Value, name: str) -> Value:
        """Give a value a name in the text."""
        value.node.meta["name"] = name
        return value

    def buffer(self, tensor: torch.Tensor, name: str) -> fx.Node:
        """Return a constant tensor: a buffer of the class."""
        return self._add_tensor(tensor, name)

    def own_parameter(self, tensor: torch.Tensor, name: str) -> fx.Node:
        """Return a weight of the layer that is in no module: a parameter of the class.

        It has a copy of the tensor, frozen if the layer is.
        """
        copied = tensor.detach().clone(memory_format=torch.contiguous_format)
        return self._add_tensor(nn.Parameter(copied, requires_grad=self.layer.trainable), name)

    def list_targets(self) -> list[str]:
        """Return the attributes of the layer's modules in its earlier calls."""
        return list(self._targets.get(self.layer, ()))

    def refuse(self, reason: str) -> NoReturn:
        """Say why the layer has no plain form."""
        raise Refusal(reason)

    @property
    def is_shared(self) -> bool:
        """Whether the model calls the layer several times."""
        return self.call_counts[self.layer] > 1

    def comment(self, value: Value, text: str) -> Value:
        """Print a comment on the line of a value: why the code is not torch's usual one."""
        value.node.meta["comment"] = text
        return value

    def _add_tensor(self, tensor: torch.Tensor, name: str) -> fx.Node:
        known = self._tensors.get((self.layer, name))
        if known is not None and self.layer is not None:
            return self._get_tensor(known, name)
        base = "_".join(word for word in (self.layer_name, name) if word)
        target = make_identifier(base, self.taken)
        self.taken.add(target)
        self.modules[target] = tensor  # type: ignore[assignment]
        self._tensors[self.layer, name] = target
        return self._get_tensor(target, name)

    def _get_tensor(self, target: str, name: str) -> fx.Node:
        node = self.graph.get_attr(target)
        node.meta.update(layer=self.layer_name, origin=self.origin, part=name)
        return node

    def comment_module(self, value: Value, text: str) -> Value:
        """Print a comment on the line that makes the module whose output a value is."""
        value.node.meta["module_comment"] = text
        return value

    # Where the axes lie

    def as_in_keras(self, x: Value) -> Value:
        """Return a value with its axes, and flattened features, in Keras's order."""
        if x.flattened is not None:
            return self._flatten_as_in_keras(x)
        if not x.moved:
            return x
        return self._move(x, CHANNELS_LAST[x.rank - 2])

    def as_channels_second(self, x: Value) -> Value:
        """Return a value whose channels, last in Keras, are axis 1."""
        if x.flattened is not None:
            x = self.as_in_keras(x)
        if x.moved or not 3 <= x.rank <= 5:
            return x
        return self._move(x, CHANNELS_FIRST[x.rank - 2])

    def as_alike(self, values: Sequence[Value]) -> list[Value]:
        """Return several values of one rank in one order of the axes."""
        moved = any(x.moved for x in values) and len({x.rank for x in values}) == 1
        return [(self.as_channels_second if moved else self.as_in_keras)(x) for x in values]

    def _flatten_as_in_keras(self, x: Value) -> Value:
        sizes: Any = x.flattened
        if x.node.target == "flatten":
            source = replace(x, node=x.node.args[0], flattened=None)  # type: ignore[arg-type]
        else:
            source = self.method("unflatten", x, 1, sizes)
        moved = self.method("permute", source, *CHANNELS_LAST[len(sizes) - 1])
        flat = self.method("flatten", moved, 1)
        return replace(flat, shape=x.shape, mask=x.mask)

    def _move(self, x: Value, order: Sequence[int]) -> Value:
        known = self._lying.get(x.node)
        if known is None:
            node = self.graph.call_method("permute", (x.node, *order))
            known = replace(x, node=node, moved=not x.moved)
            self._lying[x.node] = known
            self._lying[node] = x
        return replace(known, shape=x.shape, mask=x.mask)

    # Steps of sequences as samples

    def merge_steps(self, x: Value) -> Value:
        """Return a sequence with its steps as samples of the batch: (batch * steps, ...)."""
        known = self._steps.get(x.node)
        if known is not None:
            return known
        x = self.as_in_keras(x)
        y = self.method("flatten", x, 0, 1)
        return replace(y, shape=(None, *x.shape[2:]))

    def has_merged_steps(self, x: Value) -> bool:
        """Return whether a sequence was made of samples that `merge_steps` returns."""
        return x.node in self._steps

    def split_steps(self, y: Value, steps: int | None, like: Value) -> Value:
        """Return samples as the steps of sequences; `like` is such a sequence of `steps` steps."""
        whole = self.as_in_keras(y)
        like = self._sequences.get(like.node, like)
        if steps is None:
            found = self.function(split_steps, whole, self.as_in_keras(like))
        else:
            found = self.method("unflatten", whole, 0, (-1, steps))
        found = replace(found, shape=(like.shape[0], steps, *y.shape[1:]))
        self._steps[found.node], self._sequences[found.node] = y, like
        return found

    # The graph

    def add_input(self, name: str, shape: Sizes, moved: bool, dtype: torch.dtype) -> Value:
        """Add an argument of `forward`."""
        node = self.graph.placeholder(name)
        return Value(node, shape, moved=moved, dtype=dtype)

    def start_call(self, layer: Any, name: str, origin: Origin | None = None) -> None:
        """Begin the lowering of one call of a layer."""
        self.layer, self.layer_name, self._position = layer, name, 0
        self.origin = origin

    def finish(self, outputs: Any) -> fx.GraphModule:
        """Return the module of the graph, without what no output needs."""
        self.graph.output(outputs)
        for node in reversed(self.graph.nodes):
            if not node.users and node.op not in ("placeholder", "output"):
                self.graph.erase_node(node)
        nodes = [node for node in self.graph.nodes if node.op in ("call_module", "get_attr")]
        used = {str(node.target).split(".")[0] for node in nodes}
        root: dict[str, Any] = {name: one for name, one in self.modules.items() if name in used}
        for target in (str(node.target) for node in nodes):
            if "." in target:  # a parameter of a module
                name, _, parameter = target.partition(".")
                root[target] = getattr(self.modules[name], parameter)
        return fx.GraphModule(root, self.graph)

    def _add_module(self, module: nn.Module, name: str) -> str:
        """Return the attribute of the next module in this call of the layer."""
        targets = self._targets.setdefault(self.layer, [])
        if self._position == len(targets):
            base = f"{self.layer_name}_{name}" if name else self.layer_name
            target = make_identifier(base, self.taken)
            self.taken.add(target)
            self.modules[target] = module.train(self.layer.training)
            targets.append(target)
        target = targets[self._position]
        if repr(module) != repr(self.modules[target]):
            self.refuse("its calls differ, as those on inputs of different sizes may")
        self._position += 1
        return target

    def _add(self, op: str, target: Any, args: Any, kwargs: Mapping[str, Any]) -> Value:
        first = next(x for x in iterate_values(args) if isinstance(x, Value))
        node = self.graph.create_node(op, target, to_nodes(args), to_nodes(dict(kwargs)))
        node.meta["layer"] = self.layer_name
        node.meta["origin"] = self.origin
        return replace(first, node=node, nonnegative=False, flattened=None, mask=None)


def iterate_values(arguments: Any) -> Any:
    """Yield the leaves of lists, tuples and dicts."""
    if isinstance(arguments, (list, tuple)):
        for inner in arguments:
            yield from iterate_values(inner)
    elif isinstance(arguments, dict):
        yield from iterate_values(list(arguments.values()))
    else:
        yield arguments


def to_nodes(arguments: Any) -> Any:
    """Return arguments with the node of each Value."""
    if isinstance(arguments, Value):
        return arguments.node
    if isinstance(arguments, (list, tuple)):
        found = [to_nodes(inner) for inner in arguments]
        return tuple(found) if isinstance(arguments, tuple) else found
    if isinstance(arguments, dict):
        return {key: to_nodes(inner) for key, inner in arguments.items()}
    return arguments


def count_elements(sizes: Sizes) -> int | None:
    """Return the product of sizes, None if one is unknown."""
    return None if None in sizes else prod(n for n in sizes if n is not None)
