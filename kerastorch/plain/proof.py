"""The proof that written code computes what the loaded model computes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.utils import _pytree

from ..models.base import Model
from . import printed
from .constructors import list_constructor_arguments
from .lowering import Lowered
from .source import run_text

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
        return super().is_leaf_module(m, module_qualified_name) or hasattr(
            printed.modules, type(m).__name__
        )


def list_operations(
    module: fx.GraphModule, given: list[int] | None = None, counter: list[int] | None = None
) -> Iterator[Any]:
    """Yield each operation of a graph with its arguments, those of graphs inside in their place."""
    counter = [0] if counter is None else counter
    numbers: dict[fx.Node, Any] = {}
    inputs = iter(given or [])

    def to_numbers(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return ("value", numbers[value])
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
        args, kwargs = map(to_numbers, _complete_arguments(node))
        inner = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(inner, (fx.GraphModule, nn.Sequential)):
            given_here = [one[1] for one in args]
            for part in inner if isinstance(inner, nn.Sequential) else [inner]:
                yield from list_operations(part, given_here, counter)
                given_here = [counter.pop()[1]]  # type: ignore[index]
            (numbers[node],) = given_here
            continue
        counter[0] += 1
        numbers[node] = counter[0]
        if inner is not None:
            kind, *made = type(inner).__name__, list_constructor_arguments(inner)
            yield kind, made, args, kwargs
        else:
            name = getattr(node.target, "__name__", node.target)
            yield node.op, name if node.op != "get_attr" else "", args, kwargs


def _complete_arguments(node: fx.Node) -> tuple[Any, Any]:
    """Return the arguments of a node, those of a Python function by name and with its defaults."""
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        called: Any = getattr(functional, f"_{name}", node.target)  # of max_pool2d and the like
        with suppress(ValueError):  # functions of C++ have no signature
            bound = inspect.signature(called).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
            bound.apply_defaults()
            return (), bound.arguments
    return node.args, node.kwargs


def compare_outputs(model: Model, lowered: Lowered, written: nn.Module) -> None:
    """Compare the outputs in double precision, for two batch sizes."""
    training = model.training
    reference, plain = copy.deepcopy(model).double().eval(), written.double().eval()
    generator = torch.Generator().manual_seed(0)
    for batch, scale in ((2, 1.0), (3, 30.0)):
        inputs = [
            _make_input((batch, *(n or 7 for n in shape[1:])), dtype, scale, generator)
            for _, shape, dtype in lowered.inputs
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


def _make_input(
    shape: tuple[int, ...], dtype: torch.dtype, scale: float, generator: torch.Generator
) -> Tensor:
    if dtype.is_floating_point:
        return scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.randint(0, 5, shape, generator=generator, dtype=torch.int64).to(dtype)
