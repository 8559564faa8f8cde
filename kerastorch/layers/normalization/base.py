"""FloatNormalization and AxesNormalization: what the normalizations of single samples share."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ... import config, dtype_policies
from ..._core.layout import from_last_axes, to_last_axes
from ..base.layer import Layer
from ..base.weights import Shape, Sizes

if TYPE_CHECKING:
    from ..base.functional import SampleNorm

_WIDE = (torch.float32, torch.float64)


class FloatNormalization(Layer):
    """A normalization that computes in float32 at least, with Keras's rules for dtypes.

    As in Keras, the input is not cast before, the output has the input's dtype first (integers are
    truncated), and then the compute dtype.
    """

    returns_new_tensor = True
    fixed_arguments = ("axis", "center", "scale", "rms_scaling")
    _epsilon_is_optional: ClassVar[bool] = True  # whether None means that of `kerastorch.config`
    axis: Any
    epsilon: Any

    def _set_common(self, axis: Any, epsilon: Any) -> None:
        self.axis = axis
        optional = self._epsilon_is_optional
        if not isinstance(epsilon, (int, float)) and not (optional and epsilon is None):
            rule = "a number or None" if optional else "a number"
            self._refuse_argument("epsilon", rule, epsilon, error=TypeError)
        self.epsilon = epsilon
        mixed = self._policy.compute_dtype != self._policy.variable_dtype
        self._uncast_dtypes = () if mixed else _WIDE

    def _sort_axes(self, shape: Sequence[Any], argument: str, error: Any = ValueError) -> list[int]:
        """Return the axes, nonnegative and in order, or raise if a shape lacks one."""
        axes, rank = as_list(self.axis), len(shape)
        kept = sorted({axis % rank for axis in axes if -rank <= axis < rank}) if rank else []
        if len(kept) < len(axes):
            rule = "a shape that has each axis of `axis` once"
            self._refuse_argument(argument, rule, tuple(shape), axis=self.axis, error=error)
        return kept

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        self._sort_axes(shape, argument)
        return tuple(shape)

    def _require_fit(self, x: Tensor) -> None:
        self._output_shape(tuple(x.shape), "inputs")
        for name, shape in self._weight_shapes(x.shape, "inputs").items():
            own = tuple(self._tensor(name).shape)
            if own != shape:
                rule = f"of the sizes {own} along `axis`"
                self._refuse_argument("inputs", rule, tuple(x.shape), axis=self.axis)

    def _prepare_input(self, inputs: Any) -> Tensor:
        x: Tensor = self._as_tensor(inputs)
        if x.is_complex():
            self._refuse_argument("inputs", "a tensor of real numbers", x.dtype)
        return x

    def _compute(self, x: Tensor, **options: Any) -> Tensor:
        weight, bias = self._tensor("weight"), self._tensor("bias")
        first = bias if weight is None else weight
        if first is not None and first.dtype is x.dtype and x.dtype in self._uncast_dtypes:
            return self._normalize(x, weight, bias, self._get_epsilon(), **options)
        compute = dtype_policies.to_torch_dtype(self.compute_dtype)
        wide = torch.promote_types(x.dtype, torch.float32)
        weight, bias = (None if one is None else one.to(wide) for one in (weight, bias))
        y = self._normalize(x.to(wide), weight, bias, self._get_epsilon(), **options)
        return y.to(x.dtype).to(compute)

    def _get_epsilon(self) -> float:
        return config.epsilon() if self.epsilon is None else self.epsilon

    def _normalize(
        self, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
    ) -> Tensor:
        """Normalize a float32 or float64 tensor."""
        raise NotImplementedError

    def _as_function(self) -> SampleNorm:
        from ..base.functional import SampleNorm

        bias = getattr(self, "bias", None)
        return SampleNorm(self._normalize, self._tensor("weight"), bias, self._get_epsilon())

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config, with what the build changes in Keras's; see `Layer.get_config`."""
        written = super().get_config(target)
        return {**written, **self._resolve_arguments()} if self.variables else written

    def _resolve_arguments(self) -> dict[str, Any]:
        """Return the arguments that the build changes in Keras."""
        return {}


class AxesNormalization(FloatNormalization):
    """A normalization over one or several axes, along which it has its weights."""

    keeps_flatten_order = True

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape = self._check_shape(shape, argument)
        self._sort_axes(shape, argument, IndexError)
        sizes = [shape[axis] for axis in sorted(as_list(self.axis))]  # Keras's order
        known = tuple(n for n in sizes if n is not None)
        if len(known) < len(sizes):
            rule = "a shape with known sizes along `axis`"
            self._refuse_argument(argument, rule, shape, axis=self.axis)
        return {spec.parameter: known for spec in self.weight_specs if self._uses_weight(spec)}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        axes, sizes = sorted(as_list(self.axis)), next(iter(shapes.values()))
        if len(sizes) != len(axes):
            return None
        rank = max(axis + 1 if axis >= 0 else -axis for axis in axes)
        while len({axis % rank for axis in axes}) < len(axes):
            rank += 1
        shape: list[int | None] = [None] * rank
        for axis, size in zip(axes, sizes, strict=True):
            shape[axis] = size
        return shape

    def _resolve_arguments(self) -> dict[str, Any]:
        return {"axis": sorted(as_list(self.axis))}

    def _normalize(
        self, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
    ) -> Tensor:
        if self.axis in (-1, [-1]) and x.ndim:
            return self._normalize_last(x, [x.shape[-1]], weight, bias, epsilon)
        axes = self._sort_axes(x.shape, "inputs")
        first = bias if weight is None else weight
        sizes = [x.shape[axis] for axis in sorted(as_list(self.axis))]
        if first is not None and sizes != list(first.shape):  # the weights are reshaped below
            self._require_fit(x)
        last = axes[0] == x.ndim - len(axes)
        moved = x if last else to_last_axes(x, axes)
        sizes = list(moved.shape[-len(axes) :])
        weight, bias = (None if one is None else one.reshape(sizes) for one in (weight, bias))
        y = self._normalize_last(moved, sizes, weight, bias, epsilon)
        return y if last else from_last_axes(y, axes)

    def _normalize_last(
        self,
        x: Tensor,
        sizes: list[int],
        weight: Tensor | None,
        bias: Tensor | None,
        epsilon: float,
    ) -> Tensor:
        """Normalize over the last axes, of these sizes."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the sizes along `axis` and the arguments."""
        first = next(iter(self.weights), None)
        sizes = None if first is None else tuple(first.shape)
        return ", ".join([f"{sizes}, axis={self.axis}, epsilon={self.epsilon}", *self._show()])

    def _show(self) -> list[str]:
        return self._format_non_defaults()


def as_list(axis: Any) -> list[int]:
    """Return an axis, or the axes, as a list."""
    return list(axis) if isinstance(axis, (list, tuple)) else [axis]


def check_axes(layer: Layer, axis: Any) -> Any:
    """Return an axis, or a list of several; refuse what is neither with a TypeError."""
    rule = "an integer, or a list of integers that differ"
    axes = as_list(axis)
    if not all(isinstance(one, int) for one in axes):
        layer._refuse_argument("axis", rule, axis, error=TypeError)
    if not axes or len(set(axes)) < len(axes):
        layer._refuse_argument("axis", rule, axis)
    return axes if isinstance(axis, (list, tuple)) else operator.index(axis)
