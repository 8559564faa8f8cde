"""LocallyConnected1D and LocallyConnected2D: convolutions with other weights at every position."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import activations
from ..._core.arguments import IntOrInts, as_choice, as_positive_int, as_positive_ints
from ..._core.registry import keras_layer
from ..._ops.inplace_activations import is_elementwise
from ..._ops.window_arithmetic import output_size, to_f_pad_order
from ..base.layer import Layer
from ..base.stateless import resolve_data_format
from ..base.weights import Shape, Sizes, declare_weight
from .base import BaseConv

__all__ = ["LocallyConnected1D", "LocallyConnected2D"]

# Of one spatial axis: the sizes of input, output and window, the stride, the padding before
Axis = tuple[int, int, int, int, int]


class LocallyConnected(Layer):
    """The arguments, documented in `LocallyConnected2D`, and computation over `rank` axes."""

    rank: ClassVar[int]
    argument_namespaces: ClassVar = {"activation": activations}
    renamed_arguments: ClassVar = {
        **BaseConv.renamed_arguments,
        "filter_length": "kernel_size",
        "subsample_length": "strides",
    }
    fixed_arguments = (
        *("filters", "kernel_size", "strides", "padding", "data_format"),
        *("use_bias", "implementation"),
    )
    weight_specs = (
        declare_weight("kernel", "kernel"),
        declare_weight("bias", "bias", when="use_bias"),
    )
    returns_new_tensor = True
    _omit_config_if_unset = ()
    _shape_arguments = ("kernel_size", "data_format")
    kernel: Tensor
    bias: Tensor | None
    activation: Callable[[Tensor], Tensor]
    _sizes: Sizes | None = None  # those of a sample that the layer was built for, if known

    def __init__(
        self,
        filters: int,
        kernel_size: IntOrInts,
        strides: IntOrInts = 1,
        padding: str = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        implementation: int = 1,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        owner, rank = type(self).__name__, self.rank
        self.filters = as_positive_int(owner, "filters", filters)
        self.kernel_size = as_positive_ints(owner, "kernel_size", kernel_size, rank)
        self.strides = as_positive_ints(owner, "strides", strides, rank)
        self.padding = as_choice(owner, "padding", padding, ("valid", "same"))
        self.data_format = resolve_data_format(owner, data_format)
        self.use_bias = use_bias
        self.implementation = implementation
        self._assign_arguments(locals())
        if implementation not in (1, 2, 3):
            self._refuse_argument("implementation", "1, 2 or 3", implementation)
        if self.padding == "same" and implementation == 1:
            rule = "'valid' with implementation 1"
            self._refuse_argument("padding", rule, padding, implementation=implementation)
        self._register_weights(device, input_shape)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to the newest; Keras 1 has two kernel sizes."""
        upgraded = super().upgrade_config(config)
        if "nb_row" in upgraded:
            upgraded["kernel_size"] = (upgraded.pop("nb_row"), upgraded.pop("nb_col", None))
        if "filter_length" in config:  # of Keras 1, which had no other format in 1-D
            upgraded["data_format"] = "channels_last"
        return upgraded

    # Shapes

    def _split(self, shape: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """Return the channels and the spatial sizes of a shape with the batch."""
        return (shape[-1], shape[1:-1]) if self._channel_axis == -1 else (shape[1], shape[2:])

    def _join(self, channels: Any, sizes: Sequence[Any]) -> tuple[Any, ...]:
        """Return the shape, without the batch, of these channels and spatial sizes."""
        return (*sizes, channels) if self._channel_axis == -1 else (channels, *sizes)

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        axes = zip(self._split(shape)[1], self.kernel_size, self.strides, strict=True)
        sizes = [output_size(n, k, s, 1, self.padding) for n, k, s in axes]
        if any(size is not None and size < 1 for size in sizes):
            self._refuse_shape(argument, "a shape at least as large as the kernel", shape)
        return (shape[0], *self._join(self.filters, sizes))

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape = self._check_shape(shape, argument)
        if not all(shape[1:]):
            rule = "a shape whose sizes, but for the batch, are known and 1 at least"
            self._refuse_shape(argument, rule, shape)
        output: Any = self._output_shape(shape, argument)
        (channels, sizes), (_, outputs) = self._split(shape), self._split(output)
        window = channels * prod(self.kernel_size)
        if self.implementation == 1:
            kernel: Shape = (prod(outputs), window, self.filters)
        elif self.implementation == 2:
            kernel = (*shape[1:], *output[1:])
        else:
            covered = prod([_count_covered(*axis) for axis in self._list_axes(sizes, outputs)])
            kernel = (channels * covered * self.filters,)
        return {"kernel": kernel, "bias": (*outputs, self.filters)}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        kernel, positions = shapes.get("kernel", ()), shapes.get("bias", ())[:-1]
        if self.implementation == 2:
            return (None, *kernel[: self.rank + 1])
        if self.implementation == 1 and self.rank == 1:
            positions = kernel[:1]
        if len(positions) != self.rank or self.padding == "same" or not prod(positions):
            return None
        channels = prod(kernel) // (prod(positions) * prod(self.kernel_size) * self.filters)
        axes = zip(positions, self.kernel_size, self.strides, strict=True)
        return (None, *self._join(channels, [(n - 1) * s + k for n, k, s in axes]))

    def _build(self, input_shape: Sequence[int | None], argument: str = "input_shape") -> None:
        super()._build(input_shape, argument)
        self._sizes = tuple(input_shape)[1:]  # other sizes may have a kernel of the same shape

    def _require_fit(self, x: Tensor) -> None:
        self._require_rank(x)
        found = self._weight_shapes((None, *x.shape[1:]), "inputs")
        kernel, bias = self._tensor("kernel"), self._tensor("bias")
        fits = found["kernel"] == tuple(kernel.shape) and self._sizes in (None, x.shape[1:])
        if not fits or (bias is not None and found["bias"] != tuple(bias.shape)):
            rule = f"of the sizes that the kernel of the shape {tuple(kernel.shape)} is for"
            self._refuse_shape("inputs", rule, x.shape)

    # The computation

    def _prepare_input(self, inputs: Any) -> Tensor:
        return self._cast(self._as_tensor(inputs), self._tensor("kernel").dtype)[0]

    def _compute(self, x: Tensor) -> Tensor:
        self._require_fit(x)
        kernel, bias = self._tensor("kernel"), self._tensor("bias")
        x, compute = self._cast(x, kernel.dtype)
        y = self._correlate(x, kernel.to(compute))
        if bias is not None:  # in both data formats in the order of its own elements
            y = y + bias.to(y.dtype).reshape(y.shape[1:])
        return self.activation(y)

    def _correlate(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Return the sum over each window of the input times the kernel of its position."""
        positions, inside = "pq"[: self.rank], "xy"[: self.rank]
        window, output = "".join(self._join("c", inside)), "".join(self._join("f", positions))
        channels, sizes = self._split(x.shape)
        outputs = self._split(self._output_shape((None, *x.shape[1:])))[1]
        axes = self._list_axes(sizes, outputs)
        if self.implementation == 2:
            connected = self._cross([_connect(*axis, x.device) for axis in axes])
            return torch.einsum(f"b{window},{window}{output}->b{output}", x, kernel * connected)
        windows = self._join(channels, self.kernel_size)
        if self.implementation == 1:
            kernel, order = kernel.reshape(*outputs, *windows, -1), f"{positions}{window}f"
        else:
            shape, order = (*self._join(self.filters, outputs), *windows), f"{output}{window}"
            if self.padding == "same":
                covered = self._cross([_cover(*axis, x.device) for axis in axes]).expand(shape)
                index = (covered.flatten().cumsum(0) - 1).clamp(min=0)
                kernel = torch.where(covered, kernel[index].reshape(shape), 0)
            kernel = kernel.reshape(shape)
        unfolded = "".join(self._join("c", positions)) + inside
        return torch.einsum(f"b{unfolded},{order}->b{output}", self._unfold(x, axes), kernel)

    def _list_axes(self, sizes: Sequence[int], outputs: Sequence[int]) -> list[Axis]:
        """Describe each spatial axis for the sizes of an input and its output."""
        before = [k // 2 if self.padding == "same" else 0 for k in self.kernel_size]
        described = zip(sizes, outputs, self.kernel_size, self.strides, before, strict=True)
        return list(described)

    def _cross(self, tables: Sequence[Tensor]) -> Tensor:
        """Return the product of the axes' tables, of the shape (*inputs, *outputs) or the like."""
        first = 0 if self._channel_axis == -1 else 1
        shapes = []
        for axis, table in enumerate(tables, first):
            shapes.append([1] * (2 * self.rank + 2))
            shapes[-1][axis], shapes[-1][axis + self.rank + 1] = table.shape
        return functools.reduce(operator.and_, map(torch.reshape, tables, shapes))

    def _unfold(self, x: Tensor, axes: Sequence[Axis]) -> Tensor:
        """Return the windows of an input, padded with zeros: their axes become the last."""
        first = 1 if self._channel_axis == -1 else 2
        if self.padding == "same":
            sides = [(b, max((o - 1) * s + k - b - n, 0)) for n, o, k, s, b in axes]
            x = F.pad(x, [*([0, 0] if first == 1 else []), *to_f_pad_order(sides)])
        for axis, (_, _, k, s, _) in enumerate(axes, first):
            x = x.unfold(axis, k, s)
        return x

    def _is_lowerable(self) -> bool:
        return is_elementwise(self.activation)  # a user's function may return anything

    @property
    def _gradient_needs_output(self) -> bool:  # type: ignore[override]
        return self.activation is not activations.linear

    def _is_nonnegative(self) -> bool:
        return self.activation is activations.relu or self.activation is activations.relu6

    def extra_repr(self) -> str:
        """Return the shape of the kernel and the arguments that differ from the defaults."""
        shape = tuple(self._tensor("kernel").shape) if self.built else None
        sizes = f"{shape}, {self.filters}, kernel_size={self.kernel_size}"
        ones, last = (1,) * self.rank, "channels_last"
        differing = self._format_non_defaults(
            strides=ones, padding="valid", data_format=last, implementation=1, use_bias=True
        )
        return ", ".join([sizes, *differing])


def _connect(n: int, o: int, k: int, s: int, before: int, device: torch.device) -> Tensor:
    """Return which of `n` inputs the window of each output has."""
    start = torch.arange(o, device=device) * s - before
    position = torch.arange(n, device=device)[:, None]
    return (position >= start) & (position < start + k)


def _count_covered(n: int, o: int, k: int, s: int, before: int) -> int:
    """Return how many elements of all windows are inputs and no padding."""
    starts = [position * s - before for position in range(o)]
    return sum(min(n, start + k) - max(start, 0) for start in starts)


def _cover(n: int, o: int, k: int, s: int, before: int, device: torch.device) -> Tensor:
    """Return which elements of each output's window are inputs and no padding."""
    start = torch.arange(o, device=device)[:, None] * s - before
    position = start + torch.arange(k, device=device)
    return (position >= 0) & (position < n)


@keras_layer(removed=True)
class LocallyConnected1D(LocallyConnected):
    """A 1-D convolution whose kernel is another one at every position.

    Same as `keras.layers.LocallyConnected1D` of Keras 1 and 2; Keras 3 has none. The arguments and
    exceptions are those of `LocallyConnected2D`.

    Shape:
        - Input: (batch, length, channels), or (batch, channels, length) with "channels_first".
        - Output: the same with `filters` channels and the length `ceil(length / stride)` with
          "same", `floor((length - kernel) / stride) + 1` with "valid".
        - `kernel` and `bias`: as in `LocallyConnected2D`, with one axis fewer.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> layer = LocallyConnected1D(64, 3)
        >>> tuple(layer(np.zeros((2, 10, 32))).shape), tuple(layer.kernel.shape)
        ((2, 8, 64), (8, 96, 64))
    """

    rank = 1


@keras_layer(removed=True)
class LocallyConnected2D(LocallyConnected):
    """A 2-D convolution whose kernel is another one at every position.

    Same as `keras.layers.LocallyConnected2D` of Keras 1 and 2, except for what `Conv2D` says of
    dtypes and initializers; Keras 3 has none. The weights are in Keras's order of axes, since
    PyTorch has no such layer. Keras 2 reads the config that `get_config("3.0")` returns.

    Args:
        padding: "valid"; or "same" with the implementations 2 and 3. Unlike in a convolution,
            a window of "same" begins `kernel_size // 2` before its position whatever the stride.
        implementation: The form of the kernel, as in Keras 2: 1 has the elements of each window,
            2 those of all inputs and outputs, of which it ignores the ones that no window joins,
            and 3 has those of 2 that it does not ignore, in one list.
        filters, kernel_size, strides, data_format, activation, use_bias, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint, input_shape, device, **kwargs: As in `Conv2D`.

    Shape:
        - Input: (batch, height, width, channels), or (batch, channels, height, width) with
          "channels_first". Its sizes are fixed when the layer is built.
        - Output: as in `Conv2D`.
        - `kernel`: (positions, window * channels, filters), the sizes of a sample of the input and
          of the output, or one axis, by the implementation.
        - `bias`: (height, width, filters) of the output, or None. With "channels_first", its
          elements are added in their order in memory to (filters, height, width), as in Keras.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> layer = LocallyConnected2D(2, 3, implementation=3)
        >>> tuple(layer(np.zeros((4, 6, 5, 3))).shape), tuple(layer.kernel.shape)
        ((4, 4, 3, 2), (648,))
    """

    rank = 2
