"""The proof that written code computes what the loaded model computes."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree

from ..._core.layout import to_channels_last, to_channels_second
from ...models.base import Model
from ..lowered import Lowered
from ..text.constructors import is_own, list_constructor_arguments
from ..text.vocabulary import HELPERS
from .reference import compute_in_double, make_reference
from .written_module import make_module, run_text

TOLERANCE = 1e-12  # relative, in double precision
_BATCHES = ((2, 1.0), (3, 30.0))  # the batch sizes and the scale of the inputs
# Pairs of sizes to try where a size is open; a model may need large ones.
_OPEN_SIZES = ((7, 12), (32, 48), (64, 96), (224, 256))


class ProofError(RuntimeError):
    """Raised where written code computes something else than the loaded model."""


class Sample(NamedTuple):
    """Inputs of the written code, and the model's outputs for them."""

    inputs: list[Tensor]
    outputs: list[Tensor]


@dataclass(frozen=True)
class Proof:
    """What was compared.

    Attributes:
        operations: The number of operations of the code, each compared with all its arguments.
        batches: The batch sizes on which the outputs were compared in double precision.
        sizes: The sizes tried where a size is open.
        difference: The largest difference, relative to the largest output.
        samples: The inputs and outputs that were compared.
    """

    operations: int
    batches: tuple[int, ...]
    sizes: tuple[int, ...]
    difference: float
    samples: tuple[Sample, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        """Return one sentence."""
        sizes = f", open sizes {' and '.join(map(str, self.sizes))}" if self.sizes else ""
        batches = " and ".join(map(str, self.batches))
        return (
            f"Compared: {self.operations} operations with all arguments; outputs in double "
            f"precision for batch sizes {batches}{sizes}: largest difference {self.difference:.1e}."
        )


def prove(model: Model, lowered: Lowered, text: str, class_name: str) -> Proof:
    """Compare written code with the graph that it is written from, and with the model.

    The weights are loaded strictly, the operations compared one by one with all arguments, which
    shows what no input shows, such as a momentum, and the outputs in double precision.

    Raises:
        ProofError: The code computes something else.
    """
    written = make_module(text, class_name).double().eval()
    written.load_state_dict(lowered.module.state_dict(), strict=True)
    operations = compare_operations(lowered.module, written, run_text(text))
    found = list(compare_outputs(model, lowered, written))
    sizes = tuple(dict.fromkeys(size for size, _, _ in found if size))
    batches = tuple(batch for batch, _ in _BATCHES)
    samples = tuple(sample for _, _, sample in found)
    return Proof(operations, batches, sizes, max(error for _, error, _ in found), samples)


def compare_operations(graph: fx.GraphModule, written: nn.Module, names: Mapping[str, Any]) -> int:
    """Compare the operations of a graph with those of the written module, traced; count them."""
    helpers = [one for one in names.values() if callable(one) and not isinstance(one, type)]
    tracer = _Tracer(autowrap_functions=tuple(helpers))
    traced = fx.GraphModule(written, tracer.trace(written))
    wanted, found = list(list_operations(graph)), list(list_operations(traced))
    for number, (one, other) in enumerate(zip(wanted, found, strict=False)):
        if one != other:
            raise ProofError(f"to_source: operation {number} is written as {other}, not {one}.")
    if len(wanted) != len(found):
        raise ProofError(f"to_source: {len(found)} operations are written, not {len(wanted)}.")
    return len(wanted)


class _Tracer(fx.Tracer):
    """Traces into the written classes, but not into modules of torch and printed ones."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if is_own(type(m)) or type(m).__name__ in HELPERS:
            return True
        return super().is_leaf_module(m, module_qualified_name)


def list_operations(module: fx.GraphModule) -> Iterator[Any]:
    """Yield each operation of a graph with its arguments, those of graphs inside in their place."""
    numbers = iter(range(10**9))
    inputs = [("input", node.target) for node in module.graph.nodes if node.op == "placeholder"]
    found = yield from _list_inside(module, inputs, numbers)
    yield "output", found


def _list_inside(module: fx.GraphModule, inputs: Sequence[Any], numbers: Iterator[int]) -> Any:
    """Yield the operations of a graph called on `inputs`; return its outputs."""
    values: dict[fx.Node, Any] = {}
    given = iter(inputs)

    def describe(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return values[value]
        if isinstance(value, (list, tuple)):
            return [describe(one) for one in value]
        if isinstance(value, dict):
            return {key: describe(one) for key, one in value.items()}
        if isinstance(value, slice):
            return ["slice", *map(describe, (value.start, value.stop, value.step))]
        return type(value).__name__, repr(value)

    for node in module.graph.nodes:
        if node.op == "output":
            return describe(node.args[0])
        if node.op == "placeholder":
            values[node] = next(given)
            continue
        if node.target is operator.getitem and isinstance(node.args[1], int):
            source: Any = values[node.args[0]]
            is_tuple = isinstance(source, list)
            values[node] = source[node.args[1]] if is_tuple else ("item", source, node.args[1])
            continue
        args, kwargs = map(describe, _complete_arguments(node))
        inner = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(inner, (fx.GraphModule, nn.Sequential)):
            parts: Any = inner if isinstance(inner, nn.Sequential) else [inner]
            for part in parts:
                values[node] = yield from _list_inside(part, args, numbers)
                args = [values[node]]
            continue
        if node.op == "get_attr":  # the tracer has one for each use
            tensor = _get_tensor(module, str(node.target))
            values[node] = "tensor", tuple(tensor.shape), tensor.is_floating_point()
            continue
        values[node] = "value", next(numbers)
        if inner is not None:
            yield *_describe_module(inner), args, kwargs
        else:
            yield node.op, getattr(node.target, "__name__", node.target), args, kwargs
    raise AssertionError("a graph has an output")


def _describe_module(module: nn.Module) -> tuple[str, Any]:
    """Return the class of a module and the arguments that make it; functions by their names."""

    def describe(value: Any) -> Any:
        if isinstance(value, nn.Module):
            return _describe_module(value)
        return value.__name__ if callable(value) else value

    required, options = list_constructor_arguments(module)
    made = {name: describe(value) for name, value in (required | options).items()}
    return type(module).__name__, made


def _get_tensor(module: nn.Module, path: str) -> Tensor:
    prefix, _, name = path.rpartition(".")
    found: Tensor = getattr(module.get_submodule(prefix), name)
    return found


def _complete_arguments(node: fx.Node) -> tuple[Any, Any]:
    """Return the arguments of a node, those of a Python function by name and with its defaults."""
    if node.op == "call_function":
        with suppress(ValueError):  # functions of C++ have no signature
            function: Any = node.target
            # Such as `F.max_pool2d`, which chooses between two functions of one signature.
            choices = torch._jit_internal.boolean_dispatched.get(function, {})
            function = choices.get("if_false", function)
            bound = inspect.signature(function).bind(*node.args, **node.kwargs)
            bound.apply_defaults()
            return (), bound.arguments
    return node.args, node.kwargs


def compare_outputs(
    model: Model, lowered: Lowered, written: nn.Module
) -> Iterator[tuple[int, float, Sample]]:
    """Compare outputs in double precision; yield the open size, the difference, and what was."""
    reference = make_reference(model)
    for size in _find_open_sizes(reference, lowered):
        for number, (batch, scale) in enumerate(_BATCHES):
            inputs = make_inputs(lowered, batch, size, scale, seed=number)
            with torch.no_grad(), compute_in_double():
                wanted = call_model(reference, lowered, inputs)
                found = written(*inputs)
            error = measure_structures(wanted, found)
            if not error <= TOLERANCE:
                where = f" for open sizes of {size}" if size else ""
                raise ProofError(
                    f"to_source: the outputs of the code differ by {error:.1e} in double "
                    f"precision{where}."
                )
            yield size, error, Sample(inputs, _pytree.tree_leaves(wanted))


def call_model(model: Model, lowered: Lowered, inputs: Sequence[Tensor]) -> Any:
    """Call the model on inputs of the written code, and return outputs as the code does."""
    given = [
        to_channels_last(x) if one.moved else x
        for x, one in zip(inputs, lowered.inputs, strict=True)
    ]
    outputs = model(given[0] if len(given) == 1 else lowered.pack_inputs(given))
    leaves = iter(lowered.outputs)
    return _pytree.tree_map(
        lambda y: to_channels_second(y, -1) if next(leaves).moved else y, outputs
    )


def _find_open_sizes(reference: Model, lowered: Lowered) -> tuple[int, ...]:
    """Return two sizes that the model accepts where a size is open, or 0 if none is."""
    if not any(None in one.shape[1:] for one in lowered.inputs):
        return (0,)
    for sizes in _OPEN_SIZES:
        with suppress(ValueError, RuntimeError), torch.no_grad():
            for size in sizes:
                call_model(reference, lowered, make_inputs(lowered, 1, size, 1.0))
            return sizes
    rule = "a model that accepts one of the sizes 7 to 256 where its input says None"
    raise ValueError(f"to_source: `model` must be {rule}.")


def make_inputs(
    lowered: Lowered, batch: int, size: int, scale: float, seed: int = 0
) -> list[Tensor]:
    """Return random inputs of the written code, in double precision or of integers."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for one in lowered.inputs:
        shape = (batch, *(size if n is None else n for n in one.shape[1:]))
        if one.limit is None:
            x = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        else:
            drawn = torch.randint(0, one.limit, shape, generator=generator)
            x = drawn.double() if one.dtype.is_floating_point else drawn.to(one.dtype)
        found.append(to_channels_second(x, -1) if one.moved else x)
    return found


def measure_structures(wanted: Any, found: Any) -> float:
    """Return the largest difference of the tensors in two structures, which must be alike."""
    pairs = zip(_pytree.tree_leaves(wanted), _pytree.tree_leaves(found), strict=True)
    return max((measure(a, b) for a, b in pairs), default=0.0)


def measure(wanted: Tensor, found: Tensor) -> float:
    """Return the largest difference, relative to the largest finite number of the first tensor."""
    if wanted.shape != found.shape:
        return float("inf")
    same = (wanted == found) | (wanted.isnan() & found.isnan())
    finite = wanted[wanted.isfinite()].double()
    scale = finite.abs().max() if finite.numel() else torch.ones(())
    error = torch.where(same, 0.0, (wanted.double() - found.double()).abs())
    return float(error.max() / scale.clamp(min=1e-300)) if error.numel() else 0.0
