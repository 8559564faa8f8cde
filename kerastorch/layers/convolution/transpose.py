"""ConvTranspose, a transposed convolution of any rank, and its three layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..._core.arguments import IntOrInts, as_nonnegative_ints, as_positive_ints
from ..._core.config_versions import require_keras_1
from ..._core.errors import argument_error
from ..._core.registry import keras_layer
from ..._ops.convolution import Special, convolve_steps
from ..._ops.transposed_convolution import convolve_cropped, select_transposed_convolution
from ..._ops.window_arithmetic import (
    TransposedPadding,
    plan_transposed_padding,
    transposed_output_sizes,
)
from ..base.kernel import KernelLayer
from ..base.weights import Shape
from . import torch_conversion
from .base import BaseConv
from .conv import Conv

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..base.functional import TransposedConvolution

__all__ = [
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("Convolution1DTranspose", "Convolution2DTranspose", "Convolution3DTranspose"),
]


class ConvTranspose(Conv):
    """A transposed convolution over `rank` spatial axes; its arguments are in `Conv2DTranspose`."""

    weight_specs = KernelLayer.weight_specs[:2]
    is_transposed = True
    removed_arguments = ("groups", "lora_rank", "lora_alpha")
    fixed_arguments = (*BaseConv.fixed_arguments, "output_padding")
    groups = 1

    def __init__(
        self,
        filters: int,
        kernel_size: IntOrInts,
        strides: IntOrInts = 1,
        padding: str = "valid",
        output_padding: IntOrInts | None = None,
        data_format: str | None = None,
        dilation_rate: IntOrInts = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super(BaseConv, self).__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._set_geometry(filters, kernel_size, strides, padding, data_format, dilation_rate)
        self.output_padding = self._check_output_padding(output_padding)
        self.use_bias = use_bias
        self._assign_arguments(locals())
        self._cache_call_constants()
        self._register_weights(device, input_shape)

    def _check_output_padding(self, given: Any) -> tuple[int, ...] | None:
        if given is None:
            return None
        found = as_nonnegative_ints(type(self).__name__, "output_padding", given, self.rank)
        if any(more >= s for more, s in zip(found, self.strides, strict=True)):
            rule = "less than `strides` along each axis"
            self._refuse_argument("output_padding", rule, given, strides=self.strides)
        return found

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3.

        Keras 2 wrote `groups`, always 1. Keras 1 had an `output_shape`, which for every input size
        that it fits follows from one `output_padding`.
        """
        upgraded = super().upgrade_config(config)
        groups = upgraded.pop("groups", 1)
        if groups != 1:
            rule = "1, since Keras's transposed convolutions have no groups"
            raise ValueError(argument_error(cls.__name__, "groups", rule, groups))
        if "output_shape" in upgraded:
            upgraded["output_padding"] = cls._find_output_padding(upgraded)
            del upgraded["output_shape"]
        return upgraded

    @classmethod
    def _find_output_padding(cls, config: Mapping[str, Any]) -> tuple[int, ...] | None:
        """Return the `output_padding` that leads to Keras 1's `output_shape`."""
        name, shape = cls.__name__, config["output_shape"]
        is_shape = isinstance(shape, (list, tuple)) and len(shape) == cls.rank + 2
        rule = f"a shape of {cls.rank + 2} dimensions whose spatial sizes are known"
        require_keras_1(is_shape, name, "output_shape", rule)
        first = config.get("data_format") == "channels_first"
        sizes = as_positive_ints(
            name, "output_shape", shape[2:] if first else shape[1:-1], cls.rank
        )
        kernel = as_positive_ints(name, "kernel_size", config.get("kernel_size"), cls.rank)
        strides = as_positive_ints(name, "strides", config.get("strides", 1), cls.rank)
        padding = str(config.get("padding", "valid")).lower()
        base = [k % 2 if padding == "same" else k for k in kernel]
        axes = list(zip(sizes, base, strides, strict=True))
        # The first input position has at least one output position: 0 is `stride` more.
        found = tuple((n - k) % s or (0 if k else s) for n, k, s in axes)
        window = kernel, strides, (1,) * cls.rank, padding
        default, wanted = (plan_transposed_padding(*window, more) for more in (None, found))
        if default == wanted:
            return None
        fits = all(more < s for more, s in zip(found, strides, strict=True))
        require_keras_1(fits, name, "output_shape", "one that an `output_padding` leads to")
        return found

    @classmethod
    def _find_channel_arguments(cls, owner: str, module: Any) -> dict[str, int]:
        if module.groups != 1:
            remedy = "Keras's transposed convolutions have no groups."
            raise ValueError(argument_error(owner, "module.groups", "1", module.groups, remedy))
        return {"filters": module.out_channels}

    # Shapes

    def _weight_shape(self, channels: int) -> Shape:
        return (channels, self.filters, *self.kernel_size)

    def _count_channels(self, weight: Shape) -> int:
        return weight[0]

    def _parameter_shapes(self, weight: Shape) -> dict[str, Shape]:
        return {"weight": weight, **({"bias": (self.filters,)} if self.use_bias else {})}

    def _plan_padding(self) -> TransposedPadding:
        window = self.kernel_size, self.strides, self.dilation_rate
        return plan_transposed_padding(*window, self.padding, self.output_padding)

    def _require_room(self, argument: str, shape: Sequence[int | None]) -> list[int | None]:
        """Return the output's spatial sizes, or raise if there is no output."""
        spatial = shape[1:-1] if self._channel_axis == -1 else shape[2:]
        window = self.kernel_size, self.strides, self.dilation_rate
        sizes = transposed_output_sizes(spatial, *window, self._plan_padding())
        least = 0 if argument == "input_shape" else 1
        if any(size is not None and size < least for size in (*spatial, *sizes)):
            rule = "a shape with an output of at least one position along each axis"
            self._refuse_shape(argument, rule, shape, kernel_size=self.kernel_size)
        return sizes

    # The computation

    def _select_convolution(self) -> Callable[..., Tensor]:
        return select_transposed_convolution(self.filters, self.strides)

    def _geometry(self) -> tuple[Special | None, tuple[Any, ...]]:
        plan, high = self._plan_padding(), self.rank == 1  # as 2-D, of height 1
        kept = *[slice(None)] * (3 if high else 2), *(slice(-n or None) for n in plan.cropped)
        # torch fills what `output_padding` adds with the bias, as Keras does.
        geometry: tuple[Any, ...] = self.strides, plan.padding, plan.output_padding
        dilation = self.dilation_rate
        if high:
            geometry = tuple((n, *given) for n, given in zip((1, 0, 0), geometry, strict=True))
            dilation = (1, *dilation)
        if self.filters > 1:  # short arguments make PyTorch's call faster
            geometry = tuple(n[0] if len(set(n)) == 1 else n for n in geometry)
        if self.filters == 1 or max(dilation) > 1:
            geometry = *geometry, 1, dilation
        special: Special | None = None
        if any(plan.cropped):
            special, geometry = convolve_cropped, (kept, self._stages[0] is not None, *geometry)
        return (convolve_steps, (special, *geometry)) if high else (special, geometry)

    def _convolve_dynamic(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Inductor cannot order the strides of a permuted view of dynamic sizes in training, as
        # `convolve_dynamic` says: a padded copy has its own. What the zeros add is cropped.
        _, convolve, special, sizes, *_ = self._constants
        if self.rank > 1:
            x = F.pad(x, [0, 1] * self.rank)
        given = x, weight, bias, *sizes
        y: Tensor = convolve(*given) if special is None else special(convolve, *given)[0]
        if self.rank > 1:
            for axis, step in enumerate(self.strides, 2):
                y = y.narrow(axis, 0, y.shape[axis] - step)
        return y

    def _can_pad(self, padding: tuple[int, ...], nonnegative: bool) -> bool:
        return False

    def _as_function(self) -> TransposedConvolution:
        from ..base.functional import TransposedConvolution

        steps = self.strides, self._plan_padding(), self.dilation_rate
        return TransposedConvolution(self.weight, self.bias, *steps)

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        more = self.output_padding
        shown = super().extra_repr()
        return shown if more is None else f"{shown}, output_padding={more}"

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer from a plain PyTorch transposed convolution.

        Args:
            module: An `nn.ConvTranspose1d`, `nn.ConvTranspose2d` or `nn.ConvTranspose3d` of this
                layer's rank.
            copy: As of `Conv2D.from_torch`.
            **arguments: Further arguments of the layer.

        Raises:
            ValueError: Keras has no such layer: it has groups, or pads otherwise.
        """
        return torch_conversion.from_torch(cls, module, copy, arguments)


@keras_layer(aliases=["Convolution1DTranspose"])
class Conv1DTranspose(ConvTranspose):
    """A 1-D transposed convolution layer, along a sequence.

    Same as `keras.layers.Conv1DTranspose`, except as `Conv2DTranspose` says, which documents the
    arguments.

    Example:
        >>> import numpy as np
        >>> y = Conv1DTranspose(32, 3, strides=2, activation="relu")(np.random.rand(4, 10, 128))
        >>> tuple(y.shape)
        (4, 21, 32)
    """

    rank = 1


@keras_layer(aliases=["Convolution2DTranspose"], old_names=["Deconvolution2D", "Deconv2D"])
class Conv2DTranspose(ConvTranspose):
    """A 2-D transposed convolution layer, the gradient of a convolution used to enlarge images.

    Same as `keras.layers.Conv2DTranspose`, except as `Conv2D` says of the layers with kernels. The
    numbers are those of Keras 3.15, and of Keras with TensorFlow or JAX in every version. Keras up
    to 3.14 with PyTorch moved the output of some strided "same" layers by one position (kernel 3
    or 5 with strides 2, for example): weights trained there give other numbers here.

    Args:
        filters: The number of output channels.
        kernel_size: Height and width of the kernel: an integer for both, or two.
        strides: The strides; they cannot exceed 1 together with a dilation.
        padding: "valid" for the whole output, or "same" for `size * strides`, an odd rest cut off
            at the end. Upper case is accepted.
        output_padding: What is added to the output size (see below): an integer >= 0 and less than
            `strides`, or two.
        data_format, dilation_rate, activation, use_bias: See `Conv2D`.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: See `Conv2D`.
        activity_regularizer, kernel_constraint, bias_constraint: See `Conv2D`.
        input_shape, device, **kwargs: See `Conv2D`.

    Shape:
        - Input: (batch, height, width, channels), or (batch, channels, height, width) with
          "channels_first".
        - Output: the same with `filters` channels. With K = (kernel - 1) * dilation + 1, "valid"
          has the sizes `(size - 1) * stride + max(K, stride)`, or with an `output_padding`
          `(size - 1) * stride + K + output_padding`; "same" has `size * stride`, or
          `(size - 1) * stride + K % 2 + output_padding`.
        - `weight`: (channels, filters, kernel height, kernel width), in channels_last memory
          order; `kernel` is its view in Keras's order, (height, width, filters, channels).
        - `bias`: (filters,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> y = Conv2DTranspose(32, 2, strides=2, activation="relu")(np.random.rand(4, 10, 8, 128))
        >>> tuple(y.shape)
        (4, 20, 16, 32)
    """

    rank = 2


@keras_layer(aliases=["Convolution3DTranspose"], old_names=["Deconvolution3D", "Deconv3D"])
class Conv3DTranspose(ConvTranspose):
    """A 3-D transposed convolution layer, over volumes.

    Same as `keras.layers.Conv3DTranspose`, except as `Conv2DTranspose` says, which documents the
    arguments.

    Example:
        >>> import numpy as np
        >>> y = Conv3DTranspose(32, 2, strides=2)(np.random.rand(4, 10, 8, 12, 128))
        >>> tuple(y.shape)
        (4, 20, 16, 24, 32)
    """

    rank = 3

    # In Keras, too, `data_format` precedes `output_padding` in this signature only.
    def __init__(
        self,
        filters: int,
        kernel_size: IntOrInts,
        strides: IntOrInts = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: IntOrInts | None = None,
        dilation_rate: IntOrInts = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        given = dict(locals())
        for name in ("self", "kwargs", "__class__"):  # the last one is there for `super`
            del given[name]
        super().__init__(**given, **kwargs)

    @classmethod
    def arguments(cls) -> tuple[str, ...]:
        """Return the names of all arguments in the order of the config."""
        return Conv2DTranspose.arguments()


Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
