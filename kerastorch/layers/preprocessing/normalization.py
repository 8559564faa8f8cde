"""The layer that normalizes by a mean and a variance that are given or adapted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import config, dtype_policies, initializers
from ..._core import arguments
from ..._core.arrays import from_array
from ..._core.errors import problem
from ..._core.registry import keras_layer
from ..base.layer import Layer
from ..base.weights import Role, Shape

__all__ = ["Normalization"]


@keras_layer()
class Normalization(Layer):
    """Subtracts a mean and divides by the root of a variance.

    Same as `keras.layers.Normalization` without `adapt`: the mean and the variance are given, or
    they are weights, which a file, `set_weights` or `load_state_dict` fills; until then they are 0
    and 1, as in Keras. The output always has the layer's compute dtype; "float64" is computed in
    float64, where Keras on torch loses half of the digits.

    Args:
        axis: The axis or axes along which each index has a mean and a variance of its own; None
            for one of each.
        mean: What to subtract; it is broadcast to the sizes along `axis`.
        variance: What to divide by the root of, of the shape of `mean`.
        invert: Whether to do the opposite: multiply by the root, add the mean.
        input_shape: The shape of one input, without the batch; the layer is then built at once.
        device: Where the weights live.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: (batch, ...).
        - Output: the same.

    Attributes:
        mean: The buffer of means, of the sizes along `axis`; None where they are given.
        variance: The buffer of variances.
        count: Unused, as in Keras.

    Raises:
        TypeError: `axis` is neither an integer nor iterable.
        ValueError: an argument is refused.

    Example:
        >>> import numpy as np
        >>> Normalization(mean=3.0, variance=2.0)(np.array([[1.0], [2.0], [3.0]]))
        tensor([[-1.4142],
                [-0.7071],
                [ 0.0000]])
    """

    roles = (
        Role("mean", "mean", "_zeros", buffer=True),
        Role("variance", "variance", "_ones", buffer=True),
        Role("count", "count", "_zeros", dtype=torch.int32, buffer=True),
    )
    _written_last = ("mean", "variance")
    _zeros, _ones = initializers.Zeros(), initializers.Ones()
    mean: Tensor
    variance: Tensor
    _given_mean: Tensor | None
    _given_variance: Tensor | None

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
        owner = type(self).__name__
        axes: Any = () if axis is None else (axis,) if isinstance(axis, int) else axis
        try:
            self.axis = tuple(axes)
        except TypeError:
            rule = "an integer, several of them, or None"
            raise TypeError(problem(owner, "axis", rule, axis)) from None
        if not all(isinstance(n, int) for n in self.axis):
            raise TypeError(problem(owner, "axis", "an integer, several of them, or None", axis))
        self.invert = invert
        self.input_mean, self.input_variance = mean, variance
        given = self._checked_moments(mean, variance)
        dtype = dtype_policies.torch_dtype(self.dtype)
        for name, value in zip(("_given_mean", "_given_variance"), given, strict=True):
            tensor = None if value is None else value.to(dtype=dtype, device=device, copy=True)
            self.register_buffer(name, tensor, persistent=False)
        self._register_weights(dtype, device)
        if input_shape is not None and not self.built:
            self.build(
                (None, *arguments.any_shape(owner, "input_shape", input_shape, 0, batch=False))
            )

    def _checked_moments(
        self, mean: Any, variance: Any
    ) -> tuple[Tensor, Tensor] | tuple[None, None]:
        if mean is None and variance is None:
            return None, None
        if mean is None or variance is None:
            rule = "given together with `variance`"
            self._refuse("mean", rule, mean, variance=variance)
        left, right = from_array(mean), from_array(variance)
        if left is None or right is None:
            self._refuse("mean", "real numbers, as `variance`", mean, variance=variance)
        if left.shape != right.shape:
            self._refuse("mean", "of the shape of `variance`", mean, variance=variance)
        if left.ndim > len(self.axis):
            self._refuse("mean", "of no more axes than `axis` names", mean, axis=self.axis)
        return left, right

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config as every layer does, the given moments as lists."""
        mean, variance = np.array(self.input_mean), np.array(self.input_variance)
        written = super().get_config(target)
        return {**written, "mean": mean.tolist(), "variance": variance.tolist()}

    # Shapes

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the output's shape for an input's: the same."""
        return arguments.any_shape(type(self).__name__, "input_shape", input_shape, 0)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Give the weights their shapes; with a given mean there are none, and nothing is done.

        Args:
            input_shape: The shape of the input, batch included.

        Raises:
            ValueError: the layer is built already, or cannot take such an input.
        """
        if self._given_mean is None:
            super().build(input_shape)
        else:
            self._aligned(self._given_mean, input_shape, "input_shape")

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights: none where the config has the mean."""
        return super().weight_names(config) if config.get("mean") is None else ()

    def _has(self, role: Role) -> bool:
        return self._given_mean is None

    def _kept(self, shape: Sequence[int | None], argument: str) -> list[int]:
        """Return the axes with means of their own, in order and counted from the front."""
        ndim = len(shape)
        kept = sorted({axis % ndim for axis in self.axis if -ndim <= axis < ndim})
        if len(kept) < len(self.axis):
            rule = "a shape that has each axis of `axis` once"
            self._refuse(argument, rule, tuple(shape), axis=self.axis)
        return kept

    def _shapes_for(
        self, input_shape: Sequence[int | None], argument: str = "input_shape"
    ) -> dict[str, Shape]:
        shape = arguments.any_shape(type(self).__name__, argument, input_shape, 0)
        sizes = [shape[axis] for axis in self._kept(shape, argument)]
        known = tuple(n for n in sizes if n is not None)
        if len(known) < len(sizes):
            self._refuse(argument, "a shape with known sizes along `axis`", shape, axis=self.axis)
        return {"mean": known, "variance": known, "count": ()}

    def _input_shape_for(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
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
        """Give the given moments their values anew where they leave the device "meta"."""
        on_meta = self._given_mean is not None and self._given_mean.is_meta
        super()._apply(fn, recurse)
        if on_meta:
            with torch.device("cpu"):
                moments = self._checked_moments(self.input_mean, self.input_variance)
            given: Any = self._given_mean, self._given_variance
            for buffer, value in zip(given, moments, strict=True):
                if not buffer.is_meta:
                    buffer.copy_(value)
        return self

    # The computation

    def _prepare_input(self, inputs: Any) -> Tensor:
        x, compute = self._as_tensor(inputs), dtype_policies.torch_dtype(self.compute_dtype)
        self._cast(x, compute)  # refuses complex numbers
        return x.to(compute)

    def _compute(self, x: Tensor) -> Tensor:
        mean, variance = self._given_mean, self._given_variance
        if mean is None or variance is None:
            mean, variance = self.mean, self.variance
        compute = x.dtype
        mean = self._aligned(mean, x.shape, "inputs").to(compute)
        variance = self._aligned(variance, x.shape, "inputs").to(compute)
        root = variance.sqrt().clamp(min=config.epsilon())
        return x * root + mean if self.invert else (x - mean) / root

    def _aligned(self, moment: Tensor, shape: Sequence[int | None], argument: str) -> Tensor:
        """Return a mean or variance with its axes where inputs of a shape have them."""
        kept = self._kept(shape, argument)
        sizes = [1] * len(shape)
        axes = kept[len(kept) - moment.ndim :]
        for axis, size in zip(axes, moment.shape, strict=True):
            given = self._given_mean is not None
            if shape[axis] != size and not (given and (size == 1 or shape[axis] is None)):
                rule = f"of the sizes {tuple(moment.shape)} along the axes {axes}"
                self._refuse(argument, rule, tuple(shape), axis=self.axis)
            sizes[axis] = size
        return moment.reshape(sizes)

    def extra_repr(self) -> str:
        """Return the arguments."""
        shown = [f"axis={self.axis}", f"invert={self.invert}"]
        if self.input_mean is not None:
            shown.append(f"mean={self.input_mean}, variance={self.input_variance}")
        elif self.built:
            shown.insert(0, str(tuple(self.mean.shape)))
        else:
            shown.insert(0, "None")
        return ", ".join(shown)
