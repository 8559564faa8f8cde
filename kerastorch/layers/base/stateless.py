"""StatelessLayer and SpatialLayer: the bases of the layers without weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ... import config, dtype_policies
from ..._core.arguments import as_choice
from ..._core.layout import CHANNELS_FIRST, CHANNELS_LAST, permute_axes
from .config import COMMON
from .layer import Layer
from .weights import Shape, Sizes


class StatelessLayer(Layer):
    """A layer without weights: it is built from the start.

    Floating-point inputs are cast to the layer's compute dtype as in Keras. Integers and booleans
    are cast only where the computation needs it: where Keras on TensorFlow refuses them. After
    `.half()`, `.double()` and the like the layer computes in that dtype, as one with weights does.
    """

    weight_specs = ()
    _casts_integers = False  # whether integers and booleans, too, are cast to the compute dtype

    def __init__(self, *, input_shape: Sequence[int | None] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if input_shape is not None and not isinstance(input_shape, (list, tuple)):
            self._refuse_argument("input_shape", "a shape without the batch", input_shape)
        self._torch_dtype = dtype_policies.to_torch_dtype(self._policy.compute_dtype)
        self._register_weights(None)

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        self.compute_output_shape(shape)
        return {}

    def _prepare_input(self, inputs: Any) -> Any:
        if isinstance(inputs, Tensor) and inputs.dtype is self._torch_dtype:
            return inputs
        x = self._as_tensor(inputs)
        if x.is_floating_point() or x.is_complex() or self._casts_dtype(x.dtype):
            x, _ = self._cast(x, self._torch_dtype)
        return x

    def _casts_dtype(self, dtype: torch.dtype) -> bool:
        """Return whether inputs of an integer dtype, or booleans, are cast."""
        return self._casts_integers

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Follow `.half()` and the like."""
        super()._apply(fn, recurse)
        self._torch_dtype = dtype_policies.to_torch_dtype(self._policy.compute_dtype)
        return self

    def extra_repr(self) -> str:
        """Return the arguments as the config has them."""
        written = self.get_config().items()
        shown = [f"{name}={value!r}" for name, value in written if name not in COMMON]
        return ", ".join([*shown, *self._format_non_defaults()])


class SpatialLayer(StatelessLayer):
    """A layer without weights over `rank` spatial axes, in either data format."""

    rank: ClassVar[int]
    data_format: str
    fixed_arguments: ClassVar[tuple[str, ...]] = ("data_format",)
    _shape_arguments = ("data_format",)

    def __init__(self, *, data_format: str | None, **kwargs: Any) -> None:
        if "data_format" in self.removed_arguments:
            if data_format is not None:
                kwargs["data_format"] = data_format  # an unknown argument
            data_format = "channels_last"
        super().__init__(**kwargs)
        self.data_format = resolve_data_format(type(self).__name__, data_format)
        if self.compute_layout == "channels_first" and self.data_format == "channels_last":
            self._orders = CHANNELS_FIRST[self.rank], CHANNELS_LAST[self.rank]

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3.

        The steps of a sequence are axis 1 where a config has no `data_format`, as in Keras 1 and 2.
        """
        upgraded = super().upgrade_config(config)
        if cls.rank == 1 and "data_format" not in cls.removed_arguments:
            upgraded.setdefault("data_format", "channels_last")
        return upgraded

    @property
    def _first_axis(self) -> int:
        """The first spatial axis."""
        return 1 if self.data_format == "channels_last" else 2

    def _prepare_input(self, inputs: Any) -> Tensor:
        is_ready = isinstance(inputs, Tensor) and inputs.dtype is self._torch_dtype
        x: Tensor = inputs if is_ready else super()._prepare_input(inputs)
        if x.ndim != self.rank + 2:
            self._require_rank(x)
        return x

    def forward(self, inputs: Any) -> Tensor:
        """Compute the output for a tensor or array.

        The same as `Layer.forward`, in fewer steps for a tensor that needs no preparation: these
        layers take some microseconds.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        is_ready = isinstance(inputs, Tensor) and inputs.dtype is self._torch_dtype
        if not is_ready or inputs.ndim != self.rank + 2 or self.activity_regularizer is not None:
            return super().forward(inputs)
        try:
            if self._orders is None:
                return self._compute(inputs)
            first, last = self._orders
            return permute_axes(self._compute(permute_axes(inputs, first)), last)
        except (RuntimeError, IndexError):
            self._require_fit(inputs)
            raise

    def _split(self, shape: Sequence[int | None]) -> tuple[Sizes, Sizes, Sizes]:
        """Split a shape into the parts before, in and after the spatial axes."""
        first, last = self._first_axis, self._first_axis + self.rank
        return tuple(shape[:first]), tuple(shape[first:last]), tuple(shape[last:])

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        before, sizes, after = self._split(shape)
        return (*before, *self._new_sizes(argument, shape, sizes), *after)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        """Return the output's spatial sizes, or raise if those of the `shape` are too small."""
        raise NotImplementedError


def resolve_data_format(owner: str, data_format: Any) -> str:
    """Return an argument `data_format` in lower case; for None, that of `config`."""
    given = config.image_data_format() if data_format is None else data_format
    return as_choice(owner, "data_format", given, ("channels_last", "channels_first"))
