"""Run a PyTorch model on recorded inputs, and record the calls of its modules."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .. import config
from .._core.arrays import to_tensor
from .._core.errors import argument_error
from ..dtype_policies import to_torch_dtype
from .difference import list_input_layouts, measure_difference
from .recording import Recording, leaves, mapped

describe_error = partial(argument_error, "compare")


class ModuleCall(NamedTuple):
    """One call of a module."""

    layer: str  # the reference's layer that it is compared with
    call: int  # its index among the layer's calls
    module: nn.Module
    args: tuple[Any, ...]  # as they were before the call
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]

    def repeat(self, *tensors: Tensor) -> Any:
        """Call the module with other tensors, and return its first output."""
        waiting = list(tensors)

        def replace(value: Any) -> Any:
            return (
                waiting.pop(0).to(value, copy=True)
                if isinstance(value, Tensor) and waiting
                else value
            )

        args, kwargs = mapped(replace, self.args), mapped(replace, self.kwargs)
        outputs = self.module(*args, **kwargs)
        return next(leaves(outputs), outputs)


class Run(NamedTuple):
    """One run of a model."""

    calls: list[ModuleCall]  # of the watched modules in the order in which they ended
    outputs: tuple[Tensor, ...]  # of the model; none after an error
    error: Exception | None  # the one that stopped it


def list_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return all modules inside a model by their path: "encoder/conv1"."""
    found: dict[str, nn.Module] = {}
    waiting = [("", model)]
    while waiting:
        prefix, outer = waiting.pop()
        layers = getattr(outer, "layers", None)  # of a loaded model, by Keras's names
        named = layers.items() if isinstance(layers, Mapping) else ()
        for name, module in (*named, *outer.named_children()):
            if f"{prefix}{name}" not in found:
                found[f"{prefix}{name}"] = module
                waiting.append((f"{prefix}{name}/", module))
    return found


def match_modules(model: nn.Module, layers: list[str]) -> dict[str, nn.Module]:
    """Return the module of each layer that has one.

    It is the one at the layer's path, else the only one whose path ends in the layer's name, else
    the only one whose own `name` is the layer's.
    """
    paths = list_modules(model)
    by_ending: dict[str, set[nn.Module]] = {}
    by_name: dict[str, set[nn.Module]] = {}
    for path, module in paths.items():
        by_ending.setdefault(path.rpartition("/")[2], set()).add(module)
        by_name.setdefault(str(getattr(module, "name", "")), set()).add(module)
    found = {layer: paths[layer] for layer in layers if layer in paths}
    for table in (by_ending, by_name):
        for layer in layers:
            candidates = table.get(layer.rpartition("/")[2], set())
            if layer not in found and len(candidates) == 1 and not candidates & {*found.values()}:
                (found[layer],) = candidates
    return found


def run(
    model: nn.Module, recording: Recording, watched: Mapping[str, nn.Module], rtol: float
) -> Run:
    """Run a model on recorded inputs as they are and with channels second; return the nearer."""
    own, kind = [*model.parameters(), *model.buffers()], type(model).__name__
    if any(map(is_lazy, own)):
        remedy = "Call it on a batch, and load its weights."
        raise ValueError(describe_error("model", "built", kind, remedy))
    if any(tensor.is_meta for tensor in own):
        remedy = "Call `model.to_empty(device=...)` and load weights first."
        raise ValueError(describe_error("model", "on a real device", kind, remedy))
    floating = (p for p in model.parameters() if p.is_floating_point())
    like = next(floating, torch.empty(0, dtype=to_torch_dtype(config.floatx())))
    layouts = [mapped(partial(_convert, like), recording.inputs)]
    if any(tensor.ndim > 2 for tensor in leaves(layouts)):
        layouts.append(mapped(lambda tensor: list_input_layouts(tensor)[-1], layouts[0]))
    runs = [_run_once(model, given, watched) for given in layouts]
    complete = [found for found in runs if found.error is None]
    if complete:
        return max(complete, key=partial(_rate_outputs, recording, rtol))
    return max(runs, key=lambda found: len(found.calls))


def _convert(like: Tensor, array: Any) -> Tensor:
    """Return an array as a tensor on the device of another, and of its dtype if it has floats."""
    tensor = to_tensor(array)
    if tensor is None:
        found = getattr(array, "dtype", array)
        raise ValueError(describe_error("inputs", "arrays of real numbers", found))
    kind = like.dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(like.device, kind, copy=True)


def _rate_outputs(recording: Recording, rtol: float, found: Run) -> tuple[int, ...]:
    """Return how many outputs agree, and how many have at least the right shape."""
    distances = [
        measure_difference(output, torch.from_numpy(expected)).relative
        for output, expected in zip(found.outputs, recording.outputs, strict=False)
        if isinstance(output, Tensor)
    ]
    return sum(n <= rtol for n in distances), sum(n < math.inf for n in distances)


def _run_once(model: nn.Module, inputs: Any, watched: Mapping[str, nn.Module]) -> Run:
    calls: list[ModuleCall] = []
    args, kwargs = _arguments(model, inputs)
    with evaluating(model), _recording_calls(watched, calls):
        try:
            outputs = model(*args, **kwargs)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            return Run(calls, (), error)
    return Run(calls, tuple(leaves(outputs)), None)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients, and restore each module's mode."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _arguments(model: nn.Module, inputs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call; Keras's models accept a list or dict as one argument."""
    count = len(inspect.signature(model.forward).parameters)
    if hasattr(model, "spec") or isinstance(inputs, Tensor) or count == 1:
        return [inputs], {}
    return ([], inputs) if isinstance(inputs, dict) else (inputs, {})


@contextmanager
def _recording_calls(watched: Mapping[str, nn.Module], calls: list[ModuleCall]) -> Iterator[None]:
    """Record every call of the modules, inside the context."""
    with ExitStack() as hooks:
        for layer, module in watched.items():
            before, after = _make_hooks(layer, calls)
            hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(after, with_kwargs=True).remove)
        yield


def _make_hooks(layer: str, calls: list[ModuleCall]) -> tuple[Callable[..., None], ...]:
    arguments: list[tuple[Any, Any]] = []
    numbers = itertools.count()

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        arguments.append((mapped(_copy, args), mapped(_copy, kwargs)))

    def after(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        args, kwargs = arguments.pop()
        found = tuple(_copy(leaf) for leaf in leaves(outputs) if isinstance(leaf, Tensor))
        calls.append(ModuleCall(layer, next(numbers), module, tuple(args), kwargs, found))

    return before, after


def _copy(value: Any) -> Any:
    """Return a copy of a tensor, which a later module may overwrite."""
    return value.detach().clone() if isinstance(value, Tensor) else value
