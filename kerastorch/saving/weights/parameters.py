"""What a module offers as Keras weights: which parameters, by which names, in which order."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..._core.errors import problem
from ..._core.registry import is_automatic_name, snake_case
from ...layers.base.layer import Layer
from .torch_modules import KINDS, View, find_adapter, keep

Shape = tuple[int, ...]
METHOD = "load_keras_weights"  # of modules that take Keras's arrays in a way of their own
MERGED = ("lora_kernel_a", "lora_kernel_b")  # Keras 3's files hold them merged into the kernel


@dataclass(frozen=True)
class Target:
    """A parameter or buffer that takes one of Keras's weights.

    Attributes:
        owner: The module that it belongs to.
        parameter: Its name there: "weight".
        name: Keras's name of it: "kernel".
        path: Where it is in the leaf that lists it: "weight", "activation.alpha".
        view: Views a tensor in PyTorch's order of axes in Keras's.
        others: Views in other shapes that Keras may have it in.
    """

    owner: nn.Module
    parameter: str
    name: str
    path: str
    view: View = keep
    others: tuple[View, ...] = ()

    @property
    def tensor(self) -> Tensor:
        """The parameter or buffer."""
        tensor: Tensor = getattr(self.owner, self.parameter)
        return tensor

    @property
    def unbuilt(self) -> bool:
        """Whether it has no shape yet."""
        return is_lazy(self.tensor)

    @property
    def shape(self) -> Shape | None:
        """Its shape in Keras's order; None while it has none."""
        return None if self.unbuilt else tuple(self.view(self.tensor).shape)

    def view_as(self, tensor: Tensor, shape: Shape) -> Tensor | None:
        """Return the view of a tensor in PyTorch's order as Keras's shape; None if none fits."""
        views = (view(tensor) for view in (self.view, *self.others))
        return next((view for view in views if tuple(view.shape) == shape), None)

    def refusal(self) -> str:
        """Return why nothing can be written to it; empty where it can."""
        tensor, owner = self.tensor, type(self.owner).__name__
        own = (self.owner._parameters.get(self.parameter), self.owner._buffers.get(self.parameter))
        if not any(tensor is one for one in own):
            rule = "a parameter of its own, not one computed from others"
            remedy = "Remove the parametrization, the pruning or the spectral or weight norm first."
            return problem(owner, self.parameter, rule, type(tensor).__name__, remedy)
        if tensor.device.type == "meta":
            rule, remedy = (
                "on a real device",
                'Move the module with `to_empty(device="cpu")` first.',
            )
            return problem(owner, self.parameter, rule, tensor.device.type, remedy)
        return ""


# What each module has


def kinds_of(module: nn.Module) -> tuple[str, ...]:
    """Return the Keras classes that a module can stand for, in snake_case; none if unknown."""
    if isinstance(module, Layer):
        classes = type(module).__mro__[: type(module).__mro__.index(Layer)]
        return tuple(snake_case(cls.__name__) for cls in classes)
    adapter = find_adapter(module, any_forward=True)
    return () if adapter is None else adapter.kinds(module)


def layer_kind(module: nn.Module) -> str:
    """Return the one Keras class, in snake_case, that a module is written as; "" if unknown."""
    if isinstance(module, Layer):
        return snake_case(type(module).__name__)
    adapter = find_adapter(module)
    kinds = () if adapter is None else adapter.kinds(module)
    return kinds[-1] if kinds else ""


def variables_of(module: nn.Module) -> list[Target]:
    """Return what of a module are weights to Keras, in Keras's order.

    Args:
        module: A layer of kerastorch, built or not, or one of torch.nn's that Keras has, too.

    Raises:
        ValueError: it is another one, or computes what Keras's layer does not.
    """
    if isinstance(module, Layer):
        return _of_layer(module, "")
    adapter = find_adapter(module, any_forward=True)
    if adapter is None:
        raise ValueError(refusal_of(module))
    return [
        Target(module, name, keras, name, view, others)
        for name, keras, view, others in adapter.weights(module)
        if getattr(module, name, None) is not None
    ]


def _of_layer(layer: Layer, path: str) -> list[Target]:
    targets = [
        Target(layer, role.parameter, role.name, path + role.parameter, role.view)
        for role in layer.roles
        if getattr(layer, role.parameter) is not None
    ]
    for name, child in layer.named_children():
        if isinstance(child, Layer):
            targets += _of_layer(child, f"{path}{name}.")
        elif any(True for _ in child.parameters()) and name != "parametrizations":
            remedy = "Use the layer of kerastorch in its place."
            rule = "a layer of kerastorch where it has weights"
            raise ValueError(problem(type(layer).__name__, name, rule, child, remedy))
    return targets


def refusal_of(module: nn.Module) -> str:
    """Return the message for a module whose weights no Keras layer has."""
    rule = "a layer of kerastorch, or one of torch.nn's that Keras has, too"
    remedy = (
        "Leave it out with `mapping={path: None}` and fill it yourself, or give it a method "
        f"`{METHOD}(self, weights)`, which gets a dict of arrays."
    )
    return problem("load_weights", "module", rule, type(module).__name__, remedy)


def is_known(module: nn.Module) -> bool:
    """Return whether all parameters that a module has itself are weights of a Keras layer."""
    if isinstance(module, Layer):
        return True
    adapter = find_adapter(module)
    if adapter is None:
        return False
    names = {weight.parameter for weight in adapter.weights(module)}
    return all(name in names for name, value in module._parameters.items() if value is not None)


def has_channels_first(module: nn.Module) -> bool:
    """Return whether a module has convolutions of torch.nn in it."""
    adapters = (find_adapter(part, any_forward=True) for part in module.modules())
    return any(adapter is not None and adapter.is_convolution for adapter in adapters)


def find_automatic_kind(name: str) -> str | None:
    """Return the class in snake_case of which Keras gives the name by itself, else None."""
    return next((kind for kind in KINDS if is_automatic_name(name, kind)), None)
