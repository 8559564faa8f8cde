"""Running a PyTorch model on recorded inputs, and keeping what its modules take and give out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .. import config
from .._core.arrays import from_array
from .._core.errors import problem
from ..dtype_policies import torch_dtype
from .difference import as_inputs
from .recording import leaves, mapped


class Taken(NamedTuple):
    """One call of a module.

    Attributes:
        layer: The name of the reference's layer that it stands for.
        call: Which of the layer's calls it is, from 0.
        args: What it took, as it was before the call.
        kwargs: What it took by name.
        outputs: What it gave out.
    """

    layer: str
    call: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]


class Run(NamedTuple):
    """One run of a model.

    Attributes:
        calls: The calls of the watched modules in the order in which they ended.
        outputs: The model's outputs; none where it stopped.
        error: Why it stopped, or None.
    """

    calls: list[Taken]
    outputs: tuple[Tensor, ...]
    error: Exception | None


# Which module stands for which layer


def modules_by_path(model: nn.Module) -> dict[str, nn.Module]:
    """Return all modules inside a model by their path: the names on the way, joined by "/"."""
    found: dict[str, nn.Module] = {}
    waiting = [("", model)]
    while waiting:
        prefix, outer = waiting.pop()
        for name, module in _children(outer):
            if f"{prefix}{name}" not in found:
                found[f"{prefix}{name}"] = module
                waiting.append((f"{prefix}{name}/", module))
    return found


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    layers = getattr(module, "layers", None)
    if isinstance(layers, Mapping):  # a loaded model's, by Keras's names
        yield from layers.items()
    yield from module.named_children()


def matched(model: nn.Module, layers: list[str]) -> dict[str, nn.Module]:
    """Return the module for each of these layers that has one.

    It is the one at the layer's path, else the only one whose path ends in the layer's name, else
    the only one whose own `name` is the layer's.
    """
    paths = modules_by_path(model)
    by_ending: dict[str, dict[int, nn.Module]] = {}
    by_name: dict[str, dict[int, nn.Module]] = {}
    for path, module in paths.items():
        by_ending.setdefault(path.rpartition("/")[2], {})[id(module)] = module
        by_name.setdefault(str(getattr(module, "name", "")), {})[id(module)] = module
    found = {layer: paths[layer] for layer in layers if layer in paths}
    for table in (by_ending, by_name):
        for layer in layers:
            candidates = list(table.get(layer.rpartition("/")[2], {}).values())
            taken = {id(module) for module in found.values()}
            if layer not in found and len(candidates) == 1 and id(candidates[0]) not in taken:
                found[layer] = candidates[0]
    return found


# Running


def run(
    model: nn.Module,
    inputs: Any,
    watched: Mapping[str, nn.Module],
    nearness: Callable[[Run], tuple[int, ...]],
) -> Run:
    """Run a model in evaluation mode on recorded inputs, or on them with the channels second.

    Args:
        model: The model; its modes of training are as before afterwards.
        inputs: An array, or a list or dict of them.
        watched: The layer's name -> the module to watch.
        nearness: Says how near a run without an error is to the reference; the layout of the
            inputs that comes nearest counts.

    Raises:
        ValueError: the model is not built yet, or on the device "meta".
    """
    own = [*model.parameters(), *model.buffers()]
    if any(map(is_lazy, own)):
        remedy = "Call it on a batch, and load its weights."
        raise ValueError(problem("compare", "model", "built", type(model).__name__, remedy))
    if any(tensor.is_meta for tensor in own):
        rule, remedy = (
            "on a real device",
            "Call `model.to_empty(device=...)` and load weights first.",
        )
        raise ValueError(problem("compare", "model", rule, type(model).__name__, remedy))
    tensors = mapped(_tensor_for(model), inputs)
    layouts = [tensors]
    if any(tensor.ndim > 2 for tensor in leaves(tensors)):
        layouts.append(mapped(lambda tensor: list(as_inputs(tensor))[-1], tensors))
    runs = [_run(model, given, watched) for given in layouts]
    whole = [found for found in runs if found.error is None]
    if whole:
        return max(whole, key=nearness)
    return max(runs, key=lambda found: len(found.calls))


def _run(model: nn.Module, inputs: Any, watched: Mapping[str, nn.Module]) -> Run:
    calls: list[Taken] = []
    args, kwargs = _arguments(model, inputs)
    with evaluating(model), _watching(watched, calls):
        try:
            outputs = model(*args, **kwargs)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            return Run(calls, (), error)
    return Run(calls, tuple(leaves(outputs)), None)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients, and each module back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _arguments(model: nn.Module, inputs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call: Keras's models take a list or dict as one, others do not."""
    count = len(inspect.signature(model.forward).parameters)
    if hasattr(model, "spec") or isinstance(inputs, Tensor) or count == 1:
        return [inputs], {}
    return ([], inputs) if isinstance(inputs, dict) else (inputs, {})


def _tensor_for(model: nn.Module) -> Callable[[Any], Tensor]:
    """Return how an array becomes an input: on the model's device, in its type of numbers."""
    floating = (p for p in model.parameters() if p.is_floating_point())
    like = next(floating, torch.empty(0, dtype=torch_dtype(config.floatx())))

    def convert(array: Any) -> Tensor:
        tensor = from_array(array)
        if tensor is None:
            rule = "arrays of real numbers"
            raise ValueError(problem("compare", "inputs", rule, getattr(array, "dtype", array)))
        kind = like.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(like.device, kind, copy=True)

    return convert


@contextmanager
def _watching(watched: Mapping[str, nn.Module], calls: list[Taken]) -> Iterator[None]:
    """Write down every call of the modules for a while."""
    with ExitStack() as hooks:
        for layer, module in watched.items():
            before, after = _hooks(layer, calls)
            hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(after, with_kwargs=True).remove)
        yield


def _hooks(layer: str, calls: list[Taken]) -> tuple[Callable[..., None], Callable[..., None]]:
    taken: list[tuple[Any, Any]] = []
    counted = 0

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        taken.append((mapped(_copied, args), mapped(_copied, kwargs)))

    def after(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        nonlocal counted
        args, kwargs = taken.pop()
        found = tuple(_copied(leaf) for leaf in leaves(outputs) if isinstance(leaf, Tensor))
        calls.append(Taken(layer, counted, tuple(args), kwargs, found))
        counted += 1

    return before, after


def _copied(value: Any) -> Any:
    """Return a copy of a tensor, which a later module may overwrite."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def rerun(module: nn.Module, taken: Taken) -> Callable[..., Any]:
    """Return how to run a module again with other tensors in the place of those that it took."""

    def again(*tensors: Tensor) -> Any:
        waiting = list(tensors)

        def exchanged(value: Any) -> Any:
            return waiting.pop(0).to(value) if isinstance(value, Tensor) and waiting else value

        args, kwargs = mapped(exchanged, taken.args), mapped(exchanged, taken.kwargs)
        outputs = module(*args, **kwargs)
        return next(leaves(outputs), outputs)

    return again
