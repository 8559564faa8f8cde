"""The parts of a module that have weights of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ..._core.errors import problem
from ...layers.base.layer import Layer
from .parameters import METHOD, Target, kinds_of, refusal_of, variables_of
from .torch_modules import find_adapter


@dataclass(frozen=True)
class Leaf:
    """A module that has weights of its own.

    Attributes:
        path: Its path in the whole module.
        module: The module.
        kinds: The Keras classes that it can stand for, in snake_case.
        targets: Its weights in Keras's order; none where `refusal` says why.
        refusal: Why it cannot take Keras's weights; empty where it can.
        parts: What a module of the caller's own consists of; None for all other modules.
        buffers: The buffers of such a module, which may be weights to Keras, too.
    """

    path: str
    module: nn.Module
    kinds: tuple[str, ...]
    targets: tuple[Target, ...]
    refusal: str = ""
    parts: tuple[Leaf, ...] | None = None
    buffers: tuple[Target, ...] = ()

    def target_path(self, target: Target) -> str:
        """Return a target's path in the whole module."""
        return f"{self.path}.{target.path}".lstrip(".")


def has_method(module: nn.Module) -> bool:
    """Return whether a module takes Keras's arrays by a method of its own."""
    return callable(getattr(module, METHOD, None))


def leaves_of(module: nn.Module, own: Collection[nn.Module] = ()) -> list[Leaf]:
    """Return all parts of a module that have weights of their own, each once, in its order.

    What a layer has inside, such as an activation with weights, counts to the layer.

    Args:
        module: The module.
        own: Modules of the caller's own in it, each of which stands for a Keras layer as a whole.
    """
    return list(_walk(module, "", set(), own))


def _walk(
    module: nn.Module, path: str, seen: set[nn.Module], own: Collection[nn.Module]
) -> Iterator[Leaf]:
    if module in seen:
        return
    seen.add(module)
    if module in own or has_method(module):
        seen.update(module.modules())
        yield _describe_own_module(module, path)
        return
    if isinstance(module, Layer) or find_adapter(module) is not None:
        leaf = _leaf(module, path)
        if leaf.targets or leaf.refusal:
            yield leaf
        return
    if any(parameter is not None for parameter in module._parameters.values()):
        yield Leaf(path, module, (), (), refusal_of(module))
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{path}.{name}".lstrip("."), seen, own)


def _describe_own_module(module: nn.Module, path: str) -> Leaf:
    """Return a module of the caller's own as one leaf with all that is inside."""
    parts = () if has_method(module) else tuple(_list_parts(module, "", set()))
    targets, buffers = (
        tuple(
            replace(target, path=f"{part.path}.{target.path}".lstrip("."))
            for part in parts
            for target in getattr(part, kind)
        )
        for kind in ("targets", "buffers")
    )
    refusal = next((part.refusal for part in parts if part.refusal), "")
    return Leaf(path, module, (), targets, refusal, parts, buffers)


def _list_parts(module: nn.Module, path: str, seen: set[nn.Module]) -> Iterator[Leaf]:
    """Yield what has weights in a module of the caller's own.

    A subclass of a torch.nn class counts as that class, whatever its `forward` does around it.
    """
    if module in seen:
        return
    seen.add(module)
    known = isinstance(module, Layer) or find_adapter(module, any_forward=True) is not None
    leaf = _leaf(module, path) if known else Leaf(path, module, (), ())
    if not isinstance(module, Layer):
        leaf = _add_raw_parameters(leaf)
        buffers = () if known else tuple(Target(module, n, n, n) for n in _kept_buffers(module))
        leaf = replace(leaf, buffers=buffers)
    if leaf.targets or leaf.buffers or leaf.refusal:
        yield leaf
    if not isinstance(module, Layer):
        for name, child in module.named_children():
            yield from _list_parts(child, f"{path}.{name}".lstrip("."), seen)


def _add_raw_parameters(leaf: Leaf) -> Leaf:
    """Return a leaf with what a subclass has added to its class; it is then of no kind."""
    names = {target.parameter for target in leaf.targets}
    raw = [
        Target(leaf.module, name, name, name)
        for name, parameter in leaf.module._parameters.items()
        if parameter is not None and name not in names
    ]
    if not raw or leaf.refusal:
        return leaf
    return replace(leaf, kinds=(), targets=(*leaf.targets, *raw))


def _kept_buffers(module: nn.Module) -> list[str]:
    """Return the names of a module's own buffers that are in its state dict."""
    return [
        name
        for name, buffer in module._buffers.items()
        if buffer is not None and name not in module._non_persistent_buffers_set
    ]


def _leaf(module: nn.Module, path: str) -> Leaf:
    uninitialized = isinstance(module, LazyModuleMixin) and any(map(is_lazy, module.parameters()))
    if uninitialized and not isinstance(module, Layer):
        rule, remedy = "initialized", "Call the module on a batch first."
        refusal = problem(type(module).__name__, "module", rule, module, remedy)
        return Leaf(path, module, (), (), refusal)
    try:
        targets = tuple(variables_of(module))
    except ValueError as error:
        return Leaf(path, module, (), (), str(error))
    return Leaf(path, module, kinds_of(module), targets)
