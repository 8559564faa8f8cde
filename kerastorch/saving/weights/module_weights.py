"""The submodules of a module that have weights, and the layers that need an input's shape."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ..._core.errors import argument_error
from ...layers.base.layer import Layer
from ...models.functional import Model
from ..torch_layers.modules import find_adapter
from .parameters import METHOD, ParameterSlot, describe_refusal, list_keras_classes, list_parameters

Modules = Collection[nn.Module]


@dataclass(frozen=True, eq=False)
class ModuleWeights:
    """A module that has weights of its own."""

    path: str  # from the root module
    module: nn.Module
    kinds: tuple[str, ...] = ()  # the Keras classes that it can stand for, in snake_case
    targets: tuple[ParameterSlot, ...] = ()  # its weights in Keras's order
    refusal: str = ""  # why Keras's weights cannot be loaded into it
    parts: tuple[ModuleWeights, ...] | None = None  # of a custom module; None for all others
    buffers: tuple[ParameterSlot, ...] = ()  # of a custom module

    @property
    def title(self) -> str:
        """Its path in messages."""
        return self.path or "the module"

    def target_path(self, target: ParameterSlot) -> str:
        """Return a target's path from the root module."""
        return f"{self.path}.{target.path}".lstrip(".")


def has_load_method(module: nn.Module) -> bool:
    """Return whether a module has the method `load_keras_weights`."""
    return callable(getattr(module, METHOD, None))


def list_module_weights(module: nn.Module, own: Modules = ()) -> list[ModuleWeights]:
    """List the submodules that have weights, each once, in the module's order.

    What a layer contains, such as an activation with weights, belongs to the layer. The modules
    `own` are custom: each stands for one Keras layer with everything inside it.
    """
    return list(_walk(module, "", set(), own))


def _walk(
    module: nn.Module, path: str, seen: set[nn.Module], own: Modules
) -> Iterator[ModuleWeights]:
    if module in seen:
        return
    seen.add(module)
    if module in own or has_load_method(module):
        seen.update(module.modules())
        yield _describe_own_module(module, path)
        return
    if isinstance(module, Layer) or find_adapter(module) is not None:
        leaf = _make_leaf(module, path)
        if leaf.targets or leaf.refusal:
            yield leaf
        return
    if any(parameter is not None for parameter in module._parameters.values()):
        yield ModuleWeights(path, module, refusal=describe_refusal(module))
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{path}.{name}".lstrip("."), seen, own)


def _describe_own_module(module: nn.Module, path: str) -> ModuleWeights:
    """Return a custom module as one leaf with everything inside it."""
    parts = () if has_load_method(module) else tuple(_list_parts(module, "", set()))
    targets = [_move(one, part) for part in parts for one in part.targets]
    buffers = [_move(one, part) for part in parts for one in part.buffers]
    refusal = next((part.refusal for part in parts if part.refusal), "")
    return ModuleWeights(path, module, (), tuple(targets), refusal, parts, tuple(buffers))


def _move(target: ParameterSlot, part: ModuleWeights) -> ParameterSlot:
    """Return a target of a part with its path from the custom module."""
    also = tuple(_move(one, part) for one in target.also)
    return replace(target, path=part.target_path(target), also=also)


def _list_parts(module: nn.Module, path: str, seen: set[nn.Module]) -> Iterator[ModuleWeights]:
    """Yield the parts of a custom module that have weights; a `forward` of their own is fine."""
    if module in seen:
        return
    seen.add(module)
    known = isinstance(module, Layer) or find_adapter(module, any_forward=True) is not None
    leaf = _make_leaf(module, path) if known else ModuleWeights(path, module)
    if not isinstance(module, Layer):
        known_ones = {one.parameter for target in leaf.targets for one in (target, *target.also)}
        raw = list_raw_targets(module, module._parameters, known_ones)
        if raw and not leaf.refusal:  # with parameters of its own, a subclass has no Keras class
            leaf = replace(leaf, kinds=(), targets=(*leaf.targets, *raw))
    if not known:
        buffers = list_raw_targets(module, module._buffers, module._non_persistent_buffers_set)
        leaf = replace(leaf, buffers=tuple(buffers))
    if leaf.targets or leaf.buffers or leaf.refusal:
        yield leaf
    if not isinstance(module, Layer):
        for name, child in module.named_children():
            yield from _list_parts(child, f"{path}.{name}".lstrip("."), seen)


def list_raw_targets(
    module: nn.Module, tensors: Mapping[str, Tensor | None], exclude: Collection[str]
) -> list[ParameterSlot]:
    """Return direct parameters or buffers of a module under their own names."""
    names = [name for name, tensor in tensors.items() if tensor is not None]
    return [ParameterSlot(module, name, name, name) for name in names if name not in exclude]


def _make_leaf(module: nn.Module, path: str) -> ModuleWeights:
    uninitialized = isinstance(module, LazyModuleMixin) and any(map(is_lazy, module.parameters()))
    if uninitialized and not isinstance(module, Layer):
        rule, remedy = "initialized", "Call the module on a batch first."
        refusal = argument_error(type(module).__name__, "module", rule, module, remedy)
        return ModuleWeights(path, module, refusal=refusal)
    try:
        targets = tuple(list_parameters(module))
    except ValueError as error:
        return ModuleWeights(path, module, refusal=str(error))
    return ModuleWeights(path, module, list_keras_classes(module), targets)


def list_unbuilt_layers(model: Model) -> Iterator[tuple[str, Layer, Any]]:
    """Yield the path, layer and first input's shape or None of each unbuilt layer at any depth."""
    seen: set[nn.Module] = set()
    for path, layer, shape in _walk_layers(model, ""):
        if not layer.built and layer not in seen:
            seen.add(layer)
            yield path, layer, shape


def _walk_layers(model: Model, prefix: str) -> Iterator[tuple[str, Layer, Any]]:
    shapes = model.input_shapes
    for name, layer in model.layers.items():
        path, shape = f"{prefix}{name}", shapes.get(name)
        if isinstance(layer, Model):
            yield from _walk_layers(layer, f"{path}/")
        elif isinstance(layer, Layer):
            yield path, layer, shape
            inner = getattr(layer, "activation", None)
            if isinstance(inner, Layer):
                after = None if shape is None else layer.compute_output_shape(shape)
                yield f"{path}/activation", inner, after
