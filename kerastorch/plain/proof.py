"""The proof that written code computes what the loaded model computes."""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree

from ..models.base import Model
from .lowering import Lowered
from .source import HELPERS, list_constructor_arguments, run_text

TOLERANCE = 1e-12  # relative, in double precision


def prove(model: Model, lowered: Lowered, text: str, class_name: str) -> None:
    """Raise a RuntimeError if the code computes something else than the model.

    Its operations are compared one by one with those of the graph, and its outputs with the
    model's in double precision.
    """
    names = run_text(text)
    written = names[class_name]()
    written.load_state_dict(lowered.module.state_dict(), strict=True)
    compare_operations(lowered.module, written, names)
    compare_outputs(model, lowered, written)


def compare_operations(graph: fx.GraphModule, written: nn.Module, names: dict[str, Any]) -> None:
    """Compare the operations of a graph with those of the written module, traced."""
    helpers = [one for one in names.values() if callable(one) and not isinstance(one, type)]
    tracer = _Tracer(autowrap_functions=tuple(helpers))
    traced = fx.GraphModule(written, tracer.trace(written))
    wanted = list(list_operations(graph))
    found = list(list_operations(traced))
    for number, (one, other) in enumerate(zip(wanted, found, strict=False)):
        if one != other:
            raise RuntimeError(f"operation {number} is written as {other}, not {one}")
    if len(wanted) != len(found):
        raise RuntimeError(f"{len(found)} operations are written, not {len(wanted)}")


class _Tracer(fx.Tracer):
    """Traces into the written classes, but not into modules of torch or printed ones."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) or type(m).__name__ in HELPERS


def list_operations(
    module: fx.GraphModule, given: list[int] | None = None, counter: list[int] | None = None
) -> Iterator[Any]:
    """Yield each operation of a graph with its arguments, those of graphs inside in their place."""
    counter = [0] if counter is None else counter
    numbers: dict[fx.Node, Any] = {}
    inputs = iter(given or [])

    def to_numbers(value: Any) -> Any:
        if isinstance(value, fx.Node):
            found = numbers[value]
            return found if isinstance(found, list) else ("value", found)
        if isinstance(value, (list, tuple)):
            return [to_numbers(one) for one in value]
        if isinstance(value, dict):
            return {key: to_numbers(one) for key, one in value.items()}
        if isinstance(value, slice):
            return ("slice", *map(to_numbers, (value.start, value.stop, value.step)))
        return (type(value).__name__, value)

    for node in module.graph.nodes:
        if node.op == "output":
            found = to_numbers(node.args[0])
            if given is None:
                yield "output", found
            else:
                counter.append(found)  # type: ignore[arg-type]
            return
        if node.op == "placeholder":
            numbers[node] = next(inputs) if given is not None else node.target
            continue
        if node.target is operator.getitem and isinstance(node.args[1], int):
            numbers[node] = _take_item(numbers[node.args[0]], node.args[1])  # type: ignore[index]
            continue
        args, kwargs = map(to_numbers, _complete_arguments(node))
        inner = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(inner, fx.GraphModule):
            yield from list_operations(inner, [one[1] for one in args], counter)
            found = counter.pop()
            numbers[node] = found if isinstance(found, list) else found[1]  # type: ignore[index]
            continue
        counter[0] += 1
        numbers[node] = counter[0]
        if inner is not None:
            yield *_describe_module(inner), args, kwargs
        else:
            name = getattr(node.target, "__name__", node.target)
            yield node.op, name if node.op != "get_attr" else "", args, kwargs


def _take_item(found: Any, index: int) -> Any:
    """Return a part of a value: of the outputs of a class, or a name for it."""
    if isinstance(found, list):
        part = found[index]
        return part if isinstance(part, list) else part[1]
    return ("item", found, index)


def _describe_module(module: nn.Module) -> tuple[str, Any]:
    """Return the class of a module and the arguments that make it, by name."""

    def describe(value: Any) -> Any:
        if isinstance(value, nn.Module):
            return _describe_module(value)
        return value.__name__ if callable(value) else value

    required, options = list_constructor_arguments(module)
    made = list(map(describe, required)), {name: describe(one) for name, one in options.items()}
    return type(module).__name__, made


def _complete_arguments(node: fx.Node) -> tuple[Any, Any]:
    """Return the arguments of a node, those of a Python function by name and with its defaults."""
    if node.op == "call_function":
        with suppress(ValueError):  # functions of C++ have no signature
            bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
            bound.apply_defaults()
            return (), bound.arguments
    return node.args, node.kwargs


def compare_outputs(model: Model, lowered: Lowered, written: nn.Module) -> None:
    """Compare the outputs in double precision, for two batch sizes."""
    training = model.training
    reference, plain = copy.deepcopy(model).double().eval(), written.double().eval()
    generator = torch.Generator().manual_seed(0)
    sizes = dict(find_table_sizes(lowered.module))
    for batch, scale in ((2, 1.0), (3, 30.0)):
        inputs = [
            _make_input((batch, *(n or 7 for n in shape[1:])), dtype, scale, sizes.get(name), generator)
            for name, shape, dtype in lowered.inputs
        ]
        with torch.no_grad():
            one = reference(inputs[0] if len(inputs) == 1 else inputs)
            other = plain(*inputs)
        for a, b in zip(_pytree.tree_leaves(one), _pytree.tree_leaves(other), strict=True):
            error = measure(a, b)
            if not error <= TOLERANCE:
                raise RuntimeError(f"the outputs differ by {error:.1e} in double precision")
    model.train(training)


def measure(a: Tensor, b: Tensor) -> float:
    """Return the largest difference, relative to the largest number of the first."""
    if a.shape != b.shape:
        return float("inf")
    if not a.numel():
        return 0.0
    scale = a.abs().max().clamp(min=1e-300)
    return float((a - b).abs().max() / scale)


def find_table_sizes(module: fx.GraphModule) -> Iterator[tuple[str, int]]:
    """Yield the name of each input that is an index into tables, and the smallest one's size."""
    for node in module.graph.nodes:
        if node.op == "placeholder":
            sizes = list(_list_table_sizes(module, node))
            if sizes:
                yield node.name, min(sizes)


def _list_table_sizes(module: fx.GraphModule, node: fx.Node) -> Iterator[int]:
    for user in node.users:
        inner = module.get_submodule(str(user.target)) if user.op == "call_module" else None
        if isinstance(inner, nn.Embedding):
            yield inner.num_embeddings
        elif isinstance(inner, fx.GraphModule):
            inputs = [one for one in inner.graph.nodes if one.op == "placeholder"]
            for own, given in zip(inputs, user.args, strict=False):
                if given is node:
                    yield from _list_table_sizes(inner, own)
        elif user.op == "call_method" or user.target is operator.getitem:
            yield from _list_table_sizes(module, user)


def _make_input(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    scale: float,
    table_size: int | None,
    generator: torch.Generator,
) -> Tensor:
    if table_size is not None:
        found = torch.randint(0, min(table_size, 5 if scale == 1 else table_size), shape, generator=generator)
        return found.to(torch.float64 if dtype.is_floating_point else dtype)
    if dtype.is_floating_point:
        return scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.randint(0, 5, shape, generator=generator, dtype=torch.int64).to(dtype)
