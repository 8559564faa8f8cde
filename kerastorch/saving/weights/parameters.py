"""The parameters of a module that are Keras weights: their names and their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import NoneType

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..._core.errors import argument_error
from ..._core.registry import number_group, to_snake_case
from ...graph.spec import LayerSpec
from ...layers.base.layer import Layer
from ...layers.base.weights import WeightSpec
from ...models.functional import Model
from ...operations.operation import Operation
from ..formats.weight_file import Weight
from ..torch_layers.adapter import ModuleWeight, View, is_depthwise
from ..torch_layers.modules import KINDS, find_adapter
from .keras_names import declares_groups, get_group_name, strip_number

Shape = tuple[int, ...]
METHOD = "load_keras_weights"  # of custom modules
# Keras 3's files hold these merged into the kernel or the table of an embedding.
MERGED = ("lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b")


@dataclass(frozen=True)
class ParameterSlot:
    """A parameter or buffer that is one of Keras's weights."""

    owner: nn.Module
    parameter: str  # its name in the owner: "weight"
    name: str  # Keras's name of it: "kernel"
    path: str  # its path in the leaf: "activation.alpha"
    view: View = lambda tensor: tensor  # to Keras's order of axes
    others: tuple[View, ...] = ()  # views in other shapes that Keras may use
    group: str = ""  # Keras 3's path of the layer inside its layer that has it: "cell"
    write: View | None = None  # Keras's array -> the parameter, where `view` copies values
    also: tuple[ParameterSlot, ...] = ()  # other parameters that are written from the array
    part: str = ""  # which part of the parameter it is, where that holds several of Keras's weights

    @property
    def tensor(self) -> Tensor:
        """The parameter or buffer itself."""
        tensor: Tensor = getattr(self.owner, self.parameter)
        return tensor

    @property
    def is_buffer(self) -> bool:
        """Whether it is a buffer, such as a moving mean."""
        return self.parameter in self.owner._buffers

    @property
    def unbuilt(self) -> bool:
        """Whether it is uninitialized, without a shape."""
        return is_lazy(self.tensor)

    @property
    def shape(self) -> Shape | None:
        """Its shape in Keras's order; None if it is uninitialized."""
        return None if self.unbuilt else tuple(self.view(self.tensor).shape)

    def view_as(self, tensor: Tensor, shape: Shape) -> Tensor | None:
        """Return the view of a tensor in PyTorch's order as Keras's shape; None if none fits."""
        views = (view(tensor) for view in (self.view, *self.others))
        return next((view for view in views if tuple(view.shape) == shape), None)

    def fits(self, shape: Shape) -> bool:
        """Return whether an array of a shape can be copied to it; any shape fits if unbuilt."""
        return self.unbuilt or self.view_as(self.tensor, shape) is not None

    def refusal(self) -> str:
        """Return why it is read-only; empty if it is not."""
        tensor, owner = self.tensor, type(self.owner).__name__
        own = (self.owner._parameters.get(self.parameter), self.owner._buffers.get(self.parameter))
        if not any(tensor is one for one in own):
            rule = "a parameter of its own, not one computed from others"
            remedy = "Remove the parametrization, the pruning or the spectral or weight norm first."
            return argument_error(owner, self.parameter, rule, type(tensor).__name__, remedy)
        if tensor.device.type == "meta":
            remedy = 'Move the module with `to_empty(device="cpu")` first.'
            return argument_error(owner, self.parameter, "on a real device", "meta", remedy)
        return ""


def group_unbuilt_shapes(arrays: Mapping[ParameterSlot, Weight]) -> dict[Layer, dict[str, Shape]]:
    """Return the shapes of the arrays for each unbuilt layer, by `WeightSpec.path`."""
    grouped: dict[Layer, dict[str, Shape]] = {}
    for target, weight in arrays.items():
        if target.unbuilt and isinstance(target.owner, Layer):
            paths = {spec.parameter: spec.path for spec in target.owner.weight_specs}
            grouped.setdefault(target.owner, {})[paths[target.parameter]] = weight.shape
    return grouped


def list_keras_classes(module: nn.Module) -> tuple[str, ...]:
    """Return the Keras classes, in snake_case, that a module can stand for."""
    if isinstance(module, Layer):
        classes = type(module).__mro__[: type(module).__mro__.index(Layer)]
        return tuple(to_snake_case(cls.__name__) for cls in classes)
    adapter = find_adapter(module, any_forward=True)
    return () if adapter is None else adapter.kinds(module)


def find_saved_class(module: nn.Module) -> str:
    """Return the Keras class, in snake_case, that a module is saved as; "" if unknown."""
    if isinstance(module, Layer):
        return to_snake_case(type(module).__name__)
    adapter = find_adapter(module)
    kinds = () if adapter is None else adapter.kinds(module)
    return kinds[-1 if is_depthwise(module) else 0] if kinds else ""


def list_parameters(module: nn.Module) -> list[ParameterSlot]:
    """Return the Keras weights of a layer of kerastorch or torch.nn, in Keras's order.

    Raises:
        ValueError: the module is another one, or computes what no Keras layer does.
    """
    if isinstance(module, Layer):
        return _list_layer_weights(module)
    adapter = find_adapter(module, any_forward=True)
    if adapter is None:
        raise ValueError(describe_refusal(module))
    slots = (_make_slot(module, one) for one in adapter.weights(module))
    return [slot for slot in slots if getattr(slot.owner, slot.parameter, None) is not None]


def _make_slot(module: nn.Module, weight: ModuleWeight) -> ParameterSlot:
    path, keras, view, others, group, write, also, part = weight
    inside, _, name = path.rpartition(".")
    path = f"{path}[{part}]" if part else path
    owner = module.get_submodule(inside)
    slot = ParameterSlot(owner, name, keras, path, view, others, group, write, part=part)
    more = (replace(slot, parameter=n, path=n, write=write) for n, write in also)
    return replace(slot, also=tuple(more))


def _list_layer_weights(layer: Layer) -> list[ParameterSlot]:
    """Return the weights of a layer, then those of the layers inside it, in Keras's order."""
    targets = [
        _make_layer_slot(layer, spec)
        for spec in layer.weight_specs
        if spec.in_keras and getattr(layer, spec.parameter) is not None
    ]
    targets = _put_in_groups(layer, targets)
    for path, group, child in _list_inner_modules(layer):
        inner = list_parameters(child)
        targets += [_put_below(target, path, group) for target in inner]
    return targets


def _make_layer_slot(layer: Layer, spec: WeightSpec) -> ParameterSlot:
    name, write = spec.parameter, spec.write

    def view(tensor: Tensor) -> Tensor:
        also = (one.to(tensor.device) for one in spec.list_also(layer))
        found: Tensor = layer._view_in_keras_order(spec, tensor, *also)
        return found

    slot = ParameterSlot(layer, name, spec.name, name, view, group=spec.group)
    if write is None:
        return slot
    names = [one for one in (name, *spec.also) if getattr(layer, one) is not None]
    writes = [partial(_write_part, write, number) for number in range(len(names))]
    pairs = list(zip(names, writes, strict=True))[1:]
    also = (replace(slot, parameter=own, path=own, write=one) for own, one in pairs)
    return replace(slot, write=writes[0], also=tuple(also))


def _write_part(write: Callable[[Tensor], Sequence[Tensor]], number: int, array: Tensor) -> Tensor:
    return write(array)[number]


def _put_in_groups(layer: Layer, targets: list[ParameterSlot]) -> list[ParameterSlot]:
    """Add the groups of a layer's own weights, as its class declares them."""
    if layer.nested_arguments or not declares_groups(type(layer)):
        return targets
    arguments = {name: getattr(layer, name, None) for name in layer.arguments()}
    pairs = [(name, group) for group, names in layer.weight_groups(arguments) for name in names]
    groups = dict(reversed(pairs))  # the first one of a name
    return [
        target if target.group else replace(target, group=groups.get(target.name, ""))
        for target in targets
    ]


def _put_below(target: ParameterSlot, path: str, group: str) -> ParameterSlot:
    below = f"{group}/{target.group}".rstrip("/")
    also = tuple(_put_below(one, path, group) for one in target.also)
    return replace(target, path=f"{path}.{target.path}", group=below, also=also)


def _list_inner_modules(layer: Layer) -> Iterator[tuple[str, str, nn.Module]]:
    """Yield the path, the group and the module of each module with weights inside a layer."""
    for name, child in layer.named_children():
        if isinstance(child, nn.ModuleList):
            counts: Counter[str] = Counter()
            for index, one in enumerate(child):
                group = number_group(find_saved_class(one), counts)
                yield f"{name}.{index}", f"{name}/{group}", one
        elif isinstance(child, Model):
            paths = {module: path for path, module in child.named_modules()}
            for group, _, module in list_model_groups(child):
                if not isinstance(module, (Model, Operation, NoneType)):
                    yield f"{name}.{paths[module]}", f"{name}/{group}", module
        elif isinstance(child, Layer) or name in layer.nested_arguments:
            yield name, name, child
        elif any(True for _ in child.parameters()) and name != "parametrizations":
            remedy = "Use the layer of kerastorch instead."
            rule = "a layer of kerastorch where it has weights"
            raise ValueError(argument_error(type(layer).__name__, name, rule, child, remedy))


def list_model_groups(
    model: Model, prefix: str = "", seen: set[nn.Module] | None = None
) -> Iterator[tuple[str, LayerSpec, nn.Module | None]]:
    """Yield Keras 3's group, the spec and the module of each layer of a model; None for inputs.

    Nested models come before the layers inside them; a layer that occurs twice comes once.
    """
    seen = set() if seen is None else seen
    counts: Counter[str] = Counter()
    sequential = model.spec.kind == "Sequential"
    for layer in model.spec.layers:
        if layer.operation or (sequential and layer.class_name == "InputLayer"):
            continue
        path = f"{prefix}layers/{number_group(get_group_name(layer), counts)}"
        if layer.class_name == "InputLayer":  # it may have been deleted: nothing calls it
            yield path, layer, None
        elif (module := model.layers[layer.name]) not in seen:
            seen.add(module)
            yield path, layer, module
            if isinstance(module, Model):
                yield from list_model_groups(module, f"{path}/", seen)


def describe_refusal(module: nn.Module) -> str:
    """Return the message for a module whose weights no Keras layer has."""
    rule = "a layer of kerastorch, or one of torch.nn's that Keras has, too"
    remedy = (
        "Leave it out with `mapping={path: None}` and fill it yourself, or give it a method "
        f"`{METHOD}(self, weights)`, which gets a dict of arrays."
    )
    return argument_error("load_weights", "module", rule, type(module).__name__, remedy)


def has_known_weights(module: nn.Module) -> bool:
    """Return whether all direct parameters of a module are weights of a Keras layer."""
    if isinstance(module, Layer):
        return True
    adapter = find_adapter(module)
    if adapter is None:
        return False
    names = set()
    for weight in adapter.weights(module):
        names |= {weight.parameter, *(name for name, _ in weight.also)}
    return all(name in names for name, value in module._parameters.items() if value is not None)


def find_automatic_kind(name: str) -> str | None:
    """Return the class, in snake_case, of an automatic name, else None."""
    kind = strip_number(name)
    return kind if kind in KINDS else None
