"""TorchCounterpart: the mixin of the layers that torch.nn has, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from ... import activations
from ..._core.arguments import as_positive_ints
from ..._core.errors import argument_error
from ..._ops.window_arithmetic import (
    Integers,
    compute_fixed_padding,
    padding_per_axis,
    to_f_pad_order,
)
from .sharing import (
    give_parameters,
    join_modules,
    make_of_module,
    require_convertible,
    require_module,
)

if TYPE_CHECKING:
    from typing_extensions import Self


class TorchCounterpart:
    """Conversion from and to a module of torch.nn that computes the same.

    A class declares the module and the arguments. Where that is not enough, it overrides
    `_read_module` or `_make_modules`.
    """

    torch_name: ClassVar[str]  # of the class in torch.nn; "{}" stands for the rank
    torch_arguments: ClassVar[Mapping[str, str]] = {}  # the module's attributes -> the layer's
    torch_only: ClassVar[Mapping[str, Any]] = {}  # the module's other attributes: the usual values
    keras_only: ClassVar[Mapping[str, Any]] = {}  # the layer's

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer from a module of torch.nn that computes the same.

        Args:
            module: The module, as `to_torch` returns it; an activation is left to the arguments.
            copy: Whether the parameters are copied; otherwise they are shared, and
                `trainable=False` freezes them for both.
            **arguments: Further arguments of the layer, such as `data_format` or `dtype`.

        Raises:
            ValueError: It is no such module, or Keras has no such layer.
        """
        made = cls._read_module(f"{cls.__name__}.from_torch", module)
        return make_of_module(cls, module, made, arguments, copy=copy)  # type: ignore[type-var]

    def to_torch(
        self: Any, input_size: int | Sequence[int] | None = None, *, copy: bool = False
    ) -> nn.Module:
        """Convert the layer to plain PyTorch: a module of torch.nn, or an `nn.Sequential`.

        Inputs and outputs are (batch, channels, *spatial), whatever the layer's data format; a
        layer that has none keeps its axes. The module computes in the dtype of its input; it has no
        seed and no regularizer.

        Args:
            input_size: The spatial sizes; needed where "same" padding depends on them.
            copy: Whether the parameters are copied; otherwise they are shared.

        Raises:
            ValueError: The layer is not built, the padding depends on the size and none is given,
                or plain modules cannot compute what the layer computes.
        """
        owner = f"{type(self).__name__}.to_torch"
        require_convertible(self)
        require_values(owner, "", self, self.keras_only, "PyTorch")
        modules = self._make_modules(owner, input_size)
        give_parameters(self, modules[0], copy=copy)
        return join_modules(self, modules)

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        """Return the layer's arguments for a module, or raise."""
        require_module(owner, module, cls._find_torch_class())
        require_values(owner, "module.", module, cls.torch_only, "Keras")
        return {own: getattr(module, name) for name, own in cls.torch_arguments.items()}

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        """Return the modules that compute the same one after the other; the first has weights."""
        made = {name: getattr(self, own) for name, own in self.torch_arguments.items()}
        return [self._find_torch_class()(**made)]

    @classmethod
    def _find_torch_class(cls: Any) -> Any:
        return getattr(nn, cls.torch_name.format(cls.rank))


def require_values(
    owner: str, prefix: str, of: Any, values: Mapping[str, Any], without: str
) -> None:
    """Refuse what has another value of an attribute, which `without` has no argument for."""
    for name, value in values.items():
        found = getattr(of, name, value)
        several = found if isinstance(found, (tuple, list)) else (found,)
        if any(one != value and (one or value) for one in several):
            rule = f"{value!r}, since {without} has no argument for it"
            raise ValueError(argument_error(owner, prefix + name, rule, found))


def make_pad(sides: Sequence[tuple[int, int]], value: float = 0.0) -> nn.Module:
    """Return a module that pads the spatial axes, or crops where an amount is negative."""
    amounts, rank = tuple(to_f_pad_order(list(sides))), len(sides)
    pad: nn.Module = (
        getattr(nn, f"ConstantPad{rank}d")(amounts, value)
        if value
        else getattr(nn, f"ZeroPad{rank}d")(amounts)
    )
    return pad


def read_pad(owner: str, module: Any, kind: str) -> tuple[tuple[int, int], ...]:
    """Return how much a module adds before and after each axis, or crops: `kind` is one of both."""
    sign, rule = (1, ">= 0") if kind == "padding" else (-1, "<= 0, which crop")
    amounts = [sign * n for n in module.padding]
    if min(amounts) < 0:
        remedy = "Keras has a layer to pad and another one to crop: use two modules."
        raise ValueError(argument_error(owner, "module.padding", rule, module.padding, remedy))
    return tuple(zip(amounts[-2::-2], amounts[::-2], strict=True))


def read_padding(
    owner: str, module: Any, kernel_size: Integers, stride: Integers, dilation: Integers
) -> str:
    """Return Keras's name for the padding of a plain module with a sliding window."""
    given = module.padding
    given = given if isinstance(given, (str, tuple, list)) else (given,) * len(kernel_size)
    for padding in ("valid", "same"):
        fixed = compute_fixed_padding(padding, kernel_size, stride, dilation)
        if given == padding or (fixed is not None and tuple(given) == fixed):
            return padding
    rule = "0 or what 'same' is at every size, since Keras has no other padding"
    remedy = "Pad the input yourself, and convert the module without its padding."
    sizes = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    raise ValueError(argument_error(owner, "module.padding", rule, module.padding, remedy, **sizes))


def compute_padding(
    owner: str,
    padding: str,
    window: tuple[Integers, Integers, Integers],
    input_size: int | Sequence[int] | None,
) -> list[tuple[int, int]]:
    """Return Keras's padding (before, after) of each spatial axis for an input size.

    `window` is kernel size, strides and dilation.
    """
    fixed = compute_fixed_padding(padding, *window)
    if fixed is not None:
        return [(n, n) for n in fixed]
    rank, strides = len(window[0]), window[1]
    sizes = (1,) * rank
    if input_size is not None:
        sizes = as_positive_ints(owner, "input_size", input_size, rank)
    elif padding == "same" and max(strides) > 1:
        rule = "given, since this 'same' padding depends on it"
        remedy = "Pass the spatial size of the inputs, such as (height, width)."
        raise ValueError(argument_error(owner, "input_size", rule, None, remedy, strides=strides))
    return padding_per_axis(padding, sizes, *window)


_ACTIVATIONS: dict[Callable[..., Any], Callable[[], nn.Module]] = {
    activations.relu: nn.ReLU,
    activations.relu6: nn.ReLU6,
    activations.leaky_relu: lambda: nn.LeakyReLU(0.2),
    activations.celu: nn.CELU,
    activations.elu: nn.ELU,
    activations.selu: nn.SELU,
    activations.softplus: nn.Softplus,
    activations.softsign: nn.Softsign,
    activations.soft_shrink: nn.Softshrink,
    activations.hard_shrink: nn.Hardshrink,
    activations.silu: nn.SiLU,
    activations.gelu: nn.GELU,
    activations.tanh: nn.Tanh,
    activations.tanh_shrink: nn.Tanhshrink,
    activations.sigmoid: nn.Sigmoid,
    activations.hard_sigmoid: nn.Hardsigmoid,
    activations.hard_silu: nn.Hardswish,
    activations.hard_tanh: nn.Hardtanh,
    activations.mish: nn.Mish,
    activations.log_sigmoid: nn.LogSigmoid,
}
_ALONG_LAST_AXIS: dict[Callable[..., Any], Callable[[int], nn.Module]] = {
    activations.softmax: nn.Softmax,
    activations.log_softmax: nn.LogSoftmax,
    activations.glu: nn.GLU,
}


def find_keras_activation(owner: str, module: Any) -> Callable[..., Any]:
    """Return Keras's activation of a plain module."""
    along = {activation: make(-1) for activation, make in _ALONG_LAST_AXIS.items()}
    plain = {activation: make() for activation, make in _ACTIVATIONS.items()}
    for activation, known in {**plain, **along, activations.linear: nn.Identity()}.items():
        if type(module) is type(known) and _list_options(module) == _list_options(known):
            return activation
    rule = "an activation of torch.nn with the arguments that Keras's function has"
    remedy = "Other ones are layers, such as LeakyReLU, ReLU or ELU."
    raise ValueError(argument_error(owner, "module", rule, module, remedy))


def _list_options(module: nn.Module) -> dict[str, Any]:
    shown = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {**shown, "training": None, "inplace": None}


def find_torch_activation(owner: str, layer: Any, axis: int = -1) -> nn.Module | None:
    """Return the plain module of the layer's activation, None for linear.

    `axis` is the last axis of the layer's output in that of the module.
    """
    activation = layer.activation
    if activation is activations.linear:
        return None
    if activation in _ACTIVATIONS:
        return _ACTIVATIONS[activation]()
    if activation in _ALONG_LAST_AXIS:
        return _ALONG_LAST_AXIS[activation](axis)
    rule = "a built-in one that PyTorch, too, has as a module"
    remedy = "Set `layer.activation = None` and apply it yourself."
    raise ValueError(argument_error(owner, "activation", rule, activation, remedy))


def find_relu_arguments(owner: str, module: Any) -> dict[str, float]:
    """Return the arguments of Keras's ReLU layer for a plain module."""
    if isinstance(module, nn.ReLU):
        return {}
    if isinstance(module, nn.LeakyReLU):
        return {"negative_slope": module.negative_slope}
    if isinstance(module, nn.Hardtanh) and module.min_val == 0:  # ReLU6 is one
        return {"max_value": module.max_val}
    if isinstance(module, nn.Threshold) and module.value == 0:
        return {"threshold": module.threshold}
    rule = "an nn.ReLU, nn.ReLU6, nn.LeakyReLU, or an nn.Hardtanh or nn.Threshold that gives 0"
    raise ValueError(argument_error(owner, "module", rule, module))


def find_torch_relu(
    owner: str, max_value: float | None, negative_slope: float, threshold: float
) -> nn.Module:
    """Return the plain module for the arguments of Keras's ReLU layer."""
    if max_value is None and not threshold:
        return nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU()
    if max_value and not negative_slope and not threshold:
        return nn.ReLU6() if max_value == 6 else nn.Hardtanh(0.0, max_value)
    if max_value is None and not negative_slope:
        return nn.Threshold(threshold, 0.0)
    rule = "above 0 and the only one of these, as a slope and a threshold must be"
    related = {"negative_slope": negative_slope, "threshold": threshold}
    raise ValueError(argument_error(owner, "max_value", rule, max_value, "", **related))
