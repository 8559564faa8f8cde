"""What a module offers as Keras weights: which parameters, by which names, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..._core.errors import problem
from ..._core.layout import depthwise_view, kernel_view
from ..._core.registry import is_automatic_name, snake_case
from ...layers.base.layer import Layer

Shape = tuple[int, ...]
View = Callable[[Tensor], Tensor]
METHOD = "load_keras_weights"  # of modules that take Keras's arrays in a way of their own
MERGED = ("lora_kernel_a", "lora_kernel_b")  # Keras 3's files hold them merged into the kernel


def _as_is(tensor: Tensor) -> Tensor:
    return tensor


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
    view: View = _as_is
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
    row = row_of_base(module)
    if row is None:
        return ()
    kinds: tuple[str, ...] = row[1]
    return kinds[::-1] if _is_depthwise(module) else kinds[:1]


def layer_kind(module: nn.Module) -> str:
    """Return the one Keras class, in snake_case, that a module is written as; "" if unknown."""
    if isinstance(module, Layer):
        return snake_case(type(module).__name__)
    row = row_of(module)
    return row[1][0] if row is not None else ""


def variables_of(module: nn.Module) -> list[Target]:
    """Return what of a module are weights to Keras, in Keras's order.

    Args:
        module: A layer of kerastorch, built or not, or one of torch.nn's that Keras has, too.

    Raises:
        ValueError: it is another one, or computes what Keras's layer does not.
    """
    if isinstance(module, Layer):
        return _of_layer(module, "")
    row = row_of_base(module)
    if row is None:
        raise ValueError(refusal_of(module))
    named: Sequence[Target] = row[2](module)
    return [target for target in named if getattr(module, target.parameter, None) is not None]


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


def _kernel_and_bias(module: Any, others: tuple[View, ...] = ()) -> list[Target]:
    return [
        Target(module, "weight", "kernel", "weight", kernel_view, others),
        Target(module, "bias", "bias", "bias"),
    ]


def _convolution(module: Any) -> list[Target]:
    channels = partial(depthwise_view, channels=module.in_channels)
    return _kernel_and_bias(module, (channels,) if _is_depthwise(module) else ())


def _transposed(module: Any) -> list[Target]:
    if module.groups != 1:
        remedy = "Keras's transposed convolutions have no groups."
        raise ValueError(problem(type(module).__name__, "groups", "1", module.groups, remedy))
    return _kernel_and_bias(module)  # (in, out, *spatial) and (*spatial, out, in)


def _normalization(module: Any) -> list[Target]:
    pairs = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    return [Target(module, name, keras, name) for name, keras in pairs.items()]


def _embedding(module: Any) -> list[Target]:
    return [Target(module, "weight", "embeddings", "weight")]


def _prelu(module: Any) -> list[Target]:
    count = module.num_parameters
    ones = [(1,) * axes for axes in range(1, 4)]  # the axes that share a slope
    shapes = [(*shape, count) for shape in ones] + [(count, *shape) for shape in ones[1:]]
    views = tuple(partial(_reshaped, shape=shape) for shape in shapes)
    return [Target(module, "weight", "alpha", "weight", others=views)]


def _reshaped(tensor: Tensor, shape: Shape) -> Tensor:
    return tensor.view(shape)


# A class of torch -> (the class, the Keras classes it is like, what lists its weights)
_ROWS: tuple[tuple[Any, tuple[str, ...], Callable[[Any], list[Target]]], ...] = (
    (nn.Conv1d, ("conv1d", "depthwise_conv1d"), _convolution),
    (nn.Conv2d, ("conv2d", "depthwise_conv2d"), _convolution),
    (nn.Conv3d, ("conv3d",), _convolution),
    (nn.ConvTranspose1d, ("conv1d_transpose",), _transposed),
    (nn.ConvTranspose2d, ("conv2d_transpose",), _transposed),
    (nn.ConvTranspose3d, ("conv3d_transpose",), _transposed),
    (nn.Linear, ("dense",), _kernel_and_bias),
    (nn.BatchNorm1d, ("batch_normalization",), _normalization),
    (nn.BatchNorm2d, ("batch_normalization",), _normalization),
    (nn.BatchNorm3d, ("batch_normalization",), _normalization),
    (nn.SyncBatchNorm, ("batch_normalization",), _normalization),
    (nn.LayerNorm, ("layer_normalization",), _normalization),
    (nn.GroupNorm, ("group_normalization",), _normalization),
    (nn.Embedding, ("embedding",), _embedding),
    (nn.PReLU, ("p_re_lu",), _prelu),
)


def row_of(module: nn.Module) -> Any:
    """Return the row of a module's class, or of one that computes in that class's way."""
    row = row_of_base(module)
    return row if row is not None and type(module).forward is row[0].forward else None


def row_of_base(module: nn.Module) -> Any:
    """Return the row of the class that a module is of, whatever its `forward` does; else None."""
    return next((row for row in _ROWS if isinstance(module, row[0])), None)


def is_known(module: nn.Module) -> bool:
    """Return whether all parameters that a module has itself are weights of a Keras layer."""
    if isinstance(module, Layer):
        return True
    row = row_of(module)
    if row is None:
        return False
    names = {target.parameter for target in row[2](module)}
    return all(name in names for name, value in module._parameters.items() if value is not None)


def has_channels_first(module: nn.Module) -> bool:
    """Return whether a module has convolutions of torch.nn in it."""
    kinds = tuple(row[0] for row in _ROWS if "conv" in row[1][0])
    return any(isinstance(part, kinds) for part in module.modules())


def _is_depthwise(module: Any) -> bool:
    convolution = isinstance(module, (nn.Conv1d, nn.Conv2d))
    return convolution and module.groups == module.in_channels > 1


# The Keras classes whose weights are known, in snake_case
KINDS = frozenset(kind for row in _ROWS for kind in row[1])


def find_automatic_kind(name: str) -> str | None:
    """Return the class in snake_case of which Keras gives the name by itself, else None."""
    return next((kind for kind in KINDS if is_automatic_name(name, kind)), None)
