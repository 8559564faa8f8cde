"""ConvLSTM1D, ConvLSTM2D and ConvLSTM3D: LSTMs whose products are convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._core.arguments import IntOrInts
from ..._core.layout import empty_weight, from_channels_second, to_channels_second, weight_to_kernel
from ..._core.registry import keras_layer
from ..._ops.convolution import convolve_same
from ..._ops.recurrent.loop import States
from ..._ops.window_arithmetic import compute_fixed_padding
from ..base.kernel import OLD_GEOMETRY, require_room, set_geometry, upgrade_geometry
from ..base.weights import Shape, Sizes, WeightSpec, declare_weight
from .layer import RecurrentLayer
from .lstm import LSTMUnit
from .run import RecurrentRun
from .unit import Masks, RecurrentUnit

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"]

SIZES = ("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate")


class ConvLSTM(RecurrentRun, LSTMUnit):
    """An LSTM over the times of a sequence of volumes with `rank` spatial axes.

    The gates are those of an LSTM. The convolution of the states has the stride 1 and zeros at the
    borders, so that it keeps their size; it is not dilated.
    """

    weight_specs = (
        declare_weight("weight_ih", "kernel", view=weight_to_kernel, empty=empty_weight),
        WeightSpec(
            "weight_hh", "recurrent_kernel", "recurrent_initializer",
            "recurrent_regularizer", "recurrent_constraint", weight_to_kernel, empty_weight,
        ),
        declare_weight("bias_ih", "bias", when="use_bias"),
    )  # fmt: skip
    renamed_arguments: ClassVar = {**RecurrentUnit.renamed_arguments, **OLD_GEOMETRY}
    old_settings = ("repeats_state",)  # tf.keras 2 takes `time_major` and ignores it
    fixed_arguments = (*SIZES, "use_bias")
    fixed_sizes = SIZES
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")
    strides_dilate = False
    _shape_arguments = ("data_format",)
    rank: ClassVar[int]
    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    dilation_rate: tuple[int, ...]
    _build_shape: Sizes | None = None  # of the sequences that the layer was built for

    def __init__(
        self,
        filters: int,
        kernel_size: IntOrInts,
        strides: IntOrInts = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: IntOrInts = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_up(locals())

    def _set_sizes(self, given: Mapping[str, Any]) -> None:
        set_geometry(self, *(given[name] for name in SIZES))

    @property
    def units(self) -> int:  # type: ignore[override]
        """The number of filters."""
        return self.filters

    @classmethod
    def _is_old(cls, config: Mapping[str, Any]) -> bool:
        """Return whether a config is of Keras 1 or 2: a full one of Keras 3 has a seed."""
        full = {"unroll", "recurrent_dropout"} <= config.keys()
        return super()._is_old(config) or "nb_filter" in config or (full and "seed" not in config)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3; see `LSTM` and `Conv2D`."""
        return upgrade_geometry(cls.rank, super().upgrade_config(config))

    # Shapes

    @property
    def _input_rank(self) -> int | None:
        return self.rank + 3

    def _find_state_sizes(self, shape: Sizes, argument: str = "sequences") -> list[Any]:
        last = self._channel_axis == -1
        sizes = require_room(self, argument, shape, shape[2:-1] if last else shape[3:])
        return [(*sizes, self.filters) if last else (self.filters, *sizes)] * 2

    _make_zeros = RecurrentLayer._make_zeros

    def _find_sizes_of_states(self, states: Sequence[Tensor]) -> list[Any]:
        sizes = list(states[0].shape[1:])
        if len(sizes) == self.rank + 1:
            sizes[self._channel_axis if self._channel_axis == -1 else 0] = self.filters
            return [tuple(sizes)] * 2
        return [(None,) * (self.rank + 1)] * 2

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape = self._check_shape(shape, argument)
        channels = self._count_channels(shape)
        if not channels:
            rule = "a shape with a known number of channels, 1 at least"
            self._refuse_shape(argument, rule, shape)
        self._find_state_sizes(shape, argument)
        rows = 4 * self.filters
        shapes = {
            "weight_ih": (rows, channels, *self.kernel_size),
            "weight_hh": (rows, self.filters, *self.kernel_size),
        }
        return {**shapes, "bias_ih": (rows,)} if self.use_bias else shapes

    def _count_channels(self, shape: Sequence[int | None]) -> int | None:
        return shape[-1] if self._channel_axis == -1 else shape[2]

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        weight = shapes.get("weight_ih", ())
        if len(weight) != self.rank + 2:
            return None
        shape: list[int | None] = [None] * (self.rank + 3)
        shape[-1 if self._channel_axis == -1 else 2] = weight[1]
        return shape

    def _build(self, input_shape: Any, argument: str = "input_shape") -> None:
        super()._build(input_shape, argument)
        self._build_shape = tuple(input_shape)

    def get_initial_state(self, batch_size: int) -> States:
        """Return states of zeros for a batch of sequences of the size that the layer is built for.

        Raises:
            ValueError: The layer is not built for a known size.
        """
        sizes = self._find_state_sizes(self._build_shape or (None,) * (self.rank + 3))
        if None in sizes[0]:
            rule, remedy = "built for known sizes", "Call `build` with them, or use `zeros`."
            self._refuse_argument("layer", rule, self._build_shape, remedy)
        device = self._tensor("weight_ih").device
        dtype = getattr(torch, self.compute_dtype)
        return [torch.zeros(batch_size, *one, dtype=dtype, device=device) for one in sizes]

    def _require_fit(self, x: Tensor) -> None:
        channels = self._tensor("weight_ih").shape[1]
        if self._count_channels(x.shape) != channels:
            axis = -1 if self._channel_axis == -1 else 2
            self._refuse_shape("sequences", f"of {channels} channels along axis {axis}", x.shape)

    # The computation

    def _project(self, x: Tensor, masks: Masks = None) -> Tensor:
        kernel, _, bias = self._weights(x)
        if not isinstance(masks, list):
            return self._convolve_input(x, kernel, bias)
        biases = [None] * 4 if bias is None else bias.chunk(4)
        parts = zip(masks, kernel.chunk(4), biases, strict=True)
        axis = self._channel_axis if self._channel_axis == -1 else 2
        return torch.cat([self._convolve_input(x * m[:, None], w, b) for m, w, b in parts], axis)

    def _convolve_input(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve the volumes of all times at once."""
        geometry = self.strides, self.padding, self.dilation_rate
        y = self._convolve(x.flatten(0, 1), kernel, bias, *geometry)
        return y.view(*x.shape[:2], *y.shape[1:])

    def _as_product(self, recurrent: Tensor, masks: Masks) -> Any:
        ones = (1,) * self.rank
        if not isinstance(masks, list):
            return lambda p, h: p + self._convolve(h, recurrent, None, ones, "same", ones)
        pairs = list(zip(masks, recurrent.chunk(4), strict=True))
        axis = self._channel_axis

        def add_product(projected: Tensor, h: Tensor) -> Tensor:
            found = [self._convolve(h * m, w, None, ones, "same", ones) for m, w in pairs]
            return projected + torch.cat(found, axis)

        return add_product

    def _convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        strides: Any,
        padding: str,
        dilation: Any,
    ) -> Tensor:
        """Convolve a batch of volumes in the layout of the user."""
        axis, sizes = self._channel_axis, self.kernel_size
        convolve, x = getattr(torch, f"conv{self.rank}d"), to_channels_second(x, axis)
        fixed = compute_fixed_padding(padding, sizes, strides, dilation)
        if fixed is None:
            y, _ = convolve_same(convolve, x, weight, bias, sizes, strides, dilation, 1)
        else:
            y = convolve(x, weight, bias, strides, fixed, dilation)
        return from_channels_second(y, axis)

    def _can_fuse(self, x: Tensor) -> bool:
        return False

    # Dropout

    def _sample_masks(self, like: Tensor) -> tuple[Masks, Masks]:
        """Return four masks of the volume at one time and of the states; see `RecurrentUnit`."""
        if not self.training:
            return None, None
        source, shape = self._source(like), tuple(like.shape)
        states = (shape[0], *self._find_state_sizes(shape)[0])
        return (
            self._sample(self.dropout, (shape[0], *shape[2:]), 4, like, source),
            self._sample(self.recurrent_dropout, states, 4, like, source),
        )

    def extra_repr(self) -> str:
        """Return the sizes and the arguments that differ from the defaults."""
        channels = self._tensor("weight_ih").shape[1] if self.built else None
        ones = (1,) * self.rank
        differing = self._format_non_defaults(
            strides=ones,
            padding="valid",
            data_format="channels_last",
            dilation_rate=ones,
            use_bias=True,
        )
        sizes = f"{channels}, {self.filters}, kernel_size={self.kernel_size}"
        return ", ".join([sizes, *differing])


@keras_layer()
class ConvLSTM2D(ConvLSTM):
    """An LSTM whose products are convolutions, over the times of a sequence of images.

    Same as `keras.layers.ConvLSTM2D`, with the exceptions of `LSTM`; the size of the images may
    differ from call to call.

    Args:
        filters, kernel_size, strides, padding, data_format, dilation_rate: Of the convolution of
            the inputs, as in `Conv2D`. That of the states keeps their size.
        activation, recurrent_activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, unit_forget_bias, kernel_regularizer, recurrent_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint, return_sequences, return_state, go_backwards, stateful, unroll,
            zero_output_for_mask, input_shape, device, **kwargs: As in `LSTM`.
        dropout: The fraction of the input values to drop in training, the same at all times.
        recurrent_dropout, seed: As in `LSTM`.

    Shape:
        - Input: (batch, time, height, width, channels), or (batch, time, channels, height, width)
          with `data_format="channels_first"`.
        - Output: (batch, new height, new width, filters), or (batch, time, new height, new width,
          filters) with `return_sequences`.
        - `weight_ih`: (4 filters, channels, *kernel_size), `weight_hh`: (4 filters, filters,
          *kernel_size), `bias_ih`: (4 filters,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(ConvLSTM2D(3, 2)(torch.rand(2, 5, 8, 7, 4)).shape)
        (2, 7, 6, 3)
    """

    rank = 2


@keras_layer()
class ConvLSTM1D(ConvLSTM):
    """An LSTM whose products are convolutions, over the times of a sequence of 1-D signals.

    Same as `keras.layers.ConvLSTM1D`, with the exceptions and the arguments of `ConvLSTM2D`, with
    one size in the place of two.

    Shape:
        - Input: (batch, time, length, channels), or (batch, time, channels, length).
        - Output and weights: As in `ConvLSTM2D`.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(ConvLSTM1D(3, 2, padding="same")(torch.rand(2, 5, 8, 4)).shape)
        (2, 8, 3)
    """

    rank = 1


@keras_layer()
class ConvLSTM3D(ConvLSTM):
    """An LSTM whose products are convolutions, over the times of a sequence of volumes.

    Same as `keras.layers.ConvLSTM3D`, with the exceptions and the arguments of `ConvLSTM2D`, with
    three sizes in the place of two.

    Shape:
        - Input: (batch, time, depth, height, width, channels), or the channels after the time.
        - Output and weights: As in `ConvLSTM2D`.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> tuple(ConvLSTM3D(3, 2, strides=2)(torch.rand(2, 5, 8, 6, 4, 1)).shape)
        (2, 4, 3, 2, 3)
    """

    rank = 3
