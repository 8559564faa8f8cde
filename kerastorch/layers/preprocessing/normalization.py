"""Normalization and Rescaling: constant shifts and scales of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import config, dtype_policies, initializers
from ..._core.arrays import to_tensor
from ..._core.config_arrays import encode_array
from ..._core.registry import keras_layer
from ..base.layer import Layer
from ..base.stateless import StatelessLayer
from ..base.weights import Shape, WeightSpec

__all__ = ["Normalization", "Rescaling"]


@keras_layer()
class Normalization(Layer):
    """Subtracts a mean and divides by the square root of a variance.

    Same as `keras.layers.Normalization` without `adapt`: the mean and the variance are given, or
    they are weights, which a file, `set_weights` or `load_state_dict` fills; until then they are 0
    and 1, as in Keras. The output always has the layer's compute dtype; "float64" is computed in
    float64, where Keras on torch loses half of the digits.

    Args:
        axis: The axis or axes along which each index has its own mean and variance; None for a
            single mean and variance.
        mean: The mean, which broadcasts to the sizes along `axis`.
        variance: The variance, of the shape of `mean`.
        invert: Whether to do the inverse: multiply by the square root and add the mean.
        input_shape: The shape of one sample; the layer is then built at once.
        device: The device of the weights.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input and output: (batch, ...).
        - `mean` and `variance`: the sizes along `axis`; None if they are given. `count` is unused.

    Raises:
        TypeError: `axis` is neither an integer nor iterable.
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> Normalization(mean=3.0, variance=2.0)(np.array([[1.0], [2.0], [3.0]]))
        tensor([[-1.4142],
                [-0.7071],
                [ 0.0000]])
    """

    supports_masking = True
    weight_specs = (
        WeightSpec("mean", "mean", "_zeros", buffer=True),
        WeightSpec("variance", "variance", "_ones", buffer=True),
        WeightSpec("count", "count", "_zeros", dtype=torch.int32, buffer=True),
    )
    _config_keys_last = ("mean", "variance")
    _shape_arguments = ("axis",)
    _zeros, _ones = initializers.Zeros(), initializers.Ones()
    mean: Tensor
    variance: Tensor
    _given_mean: Tensor | None
    _given_variance: Tensor | None
    fixed_arguments = ("axis",)

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        axes: Any = axis if isinstance(axis, Iterable) else () if axis is None else (axis,)
        self.axis = tuple(axes)
        if not all(isinstance(n, int) for n in self.axis):
            self._refuse_argument(
                "axis", "an integer, several of them, or None", axis, error=TypeError
            )
        self.invert = invert
        self.input_mean, self.input_variance = mean, variance
        moments = self._check_moments(mean, variance)
        dtype, default = dtype_policies.to_torch_dtype(self.dtype), torch.get_default_device()
        if device is None and default.type != "cpu":  # from_array ignores `with torch.device(...)`
            device = default
        for name, value in zip(("_given_mean", "_given_variance"), moments, strict=True):
            tensor = None if value is None else value.to(dtype=dtype, device=device, copy=True)
            self.register_buffer(name, tensor, persistent=False)
        self._register_weights(device, input_shape)

    def _check_moments(self, mean: Any, variance: Any) -> tuple[Tensor, Tensor] | tuple[None, None]:
        if mean is None and variance is None:
            return None, None
        if mean is None or variance is None:
            self._refuse_argument("mean", "given together with `variance`", mean, variance=variance)
        left, right = to_tensor(mean), to_tensor(variance)
        if left is None or right is None:
            self._refuse_argument("mean", "real numbers, as `variance`", mean, variance=variance)
        if left.shape != right.shape:
            self._refuse_argument("mean", "of the shape of `variance`", mean, variance=variance)
        if left.ndim > len(self.axis):
            self._refuse_argument("mean", "of no more axes than `axis` names", mean, axis=self.axis)
        return left, right

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with the moments as lists; see `Layer.get_config`."""
        mean, variance = np.array(self.input_mean), np.array(self.input_variance)
        written = super().get_config(target)
        return {**written, "mean": mean.tolist(), "variance": variance.tolist()}

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights: none if the config has the mean."""
        return super().weight_names(config) if config.get("mean") is None else ()

    def _uses_weight(self, spec: WeightSpec) -> bool:
        return self._given_mean is None

    def _sort_axes(self, shape: Sequence[int | None], argument: str) -> list[int]:
        """Return `axis` sorted and nonnegative for a shape."""
        ndim = len(shape)
        kept = sorted({axis % ndim for axis in self.axis if -ndim <= axis < ndim})
        if len(kept) < len(self.axis):
            self._refuse_shape(argument, "a shape that has each axis of `axis` once", shape)
        return kept

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape = self._check_shape(shape, argument)
        if self._given_mean is not None:
            self._align_moment(self._given_mean, shape, argument)
            return {}
        sizes = [shape[axis] for axis in self._sort_axes(shape, argument)]
        known = tuple(n for n in sizes if n is not None)
        if len(known) < len(sizes):
            self._refuse_shape(argument, "a shape with known sizes along `axis`", shape)
        return {"mean": known, "variance": known, "count": ()}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        sizes = shapes.get("mean", shapes.get("variance", ()))
        least = max((axis + 1 if axis >= 0 else -axis for axis in self.axis), default=0)
        for ndim in range(least, least + len(self.axis) + 1):
            kept = sorted({axis % ndim for axis in self.axis}) if ndim else []
            if len(kept) == len(self.axis) == len(sizes):
                shape: list[int | None] = [None] * ndim
                for axis, size in zip(kept, sizes, strict=True):
                    shape[axis] = size
                return shape
        return None

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Fill the given moments again when they leave the device "meta"."""
        on_meta = self._given_mean is not None and self._given_mean.is_meta
        super()._apply(fn, recurse)
        if on_meta:
            with torch.device("cpu"):
                moments = self._check_moments(self.input_mean, self.input_variance)
            given: Any = self._given_mean, self._given_variance
            for buffer, value in zip(given, moments, strict=True):
                if not buffer.is_meta:
                    buffer.copy_(value)
        return self

    def _prepare_input(self, inputs: Any) -> Tensor:
        x, compute = self._as_tensor(inputs), dtype_policies.to_torch_dtype(self.compute_dtype)
        self._cast(x, compute)  # refuses complex numbers
        return x.to(compute)

    def _compute(self, x: Tensor) -> Tensor:
        mean, variance = self._given_mean, self._given_variance
        if mean is None or variance is None:
            mean, variance = self.mean, self.variance
        compute = x.dtype
        mean = self._align_moment(mean, x.shape, "inputs").to(compute)
        variance = self._align_moment(variance, x.shape, "inputs").to(compute)
        root = variance.sqrt().clamp(min=config.epsilon())
        return x * root + mean if self.invert else (x - mean).div_(root)

    def _align_moment(self, moment: Tensor, shape: Sequence[int | None], argument: str) -> Tensor:
        """Reshape a mean or variance so that it broadcasts to inputs of a shape."""
        kept = self._sort_axes(shape, argument)
        sizes = [1] * len(shape)
        axes = kept[len(kept) - moment.ndim :]
        for axis, size in zip(axes, moment.shape, strict=True):
            given = self._given_mean is not None
            if shape[axis] != size and not (given and (size == 1 or shape[axis] is None)):
                rule = f"of the sizes {tuple(moment.shape)} along the axes {axes}"
                self._refuse_shape(argument, rule, shape)
            sizes[axis] = size
        return moment.reshape(sizes)

    def extra_repr(self) -> str:
        """Return the arguments."""
        shown = f"axis={self.axis}, invert={self.invert}"
        if self.input_mean is not None:
            return f"{shown}, mean={self.input_mean}, variance={self.input_variance}"
        return f"{tuple(self.mean.shape) if self.built else None}, {shown}"


@keras_layer()
class Rescaling(StatelessLayer):
    """Multiplies by `scale` and adds `offset`.

    Same as `keras.layers.Rescaling`. The output always has the layer's compute dtype.

    Args:
        scale: A number or an array that broadcasts to the input. With the image data format
            "channels_first" of `kerastorch.config`, up to three axes of it are aligned to
            (channels, height, width).
        offset: A number or an array to add; it is always aligned to the last axes.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: any.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> Rescaling(1 / 127.5, offset=-1)(np.array([0, 255]))
        tensor([-1.,  1.])
    """

    supports_masking = True
    _casts_integers = True
    fixed_arguments = ("scale", "offset")

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset
        for argument, value in (("scale", scale), ("offset", offset)):
            if to_tensor(value) is None:
                self._refuse_argument(argument, "a number, or an array or a list of them", value)
        self._constants: Any = to_tensor(scale), to_tensor(offset)

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with arrays as Keras writes them; see `Layer.get_config`."""
        written = super().get_config(target)
        return {**written, "scale": encode_array(self.scale), "offset": encode_array(self.offset)}

    def _compute(self, x: Tensor) -> Tensor:
        compute = dtype_policies.to_torch_dtype(self.compute_dtype)
        scale, offset = (
            c.to(dtype=compute, device=x.device if c.ndim else None) for c in self._constants
        )
        if scale.ndim and config.image_data_format() == "channels_first":
            scale = scale.reshape(*scale.shape, *(1,) * (3 - scale.ndim))
        outputs: Tensor = x.to(compute) * scale + offset
        return outputs
