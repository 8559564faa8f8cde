"""Group normalization."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import torch
from torch import Tensor, nn

from ..._core.errors import argument_error
from ..._core.layout import from_channels_second, to_channels_second
from ..._core.registry import keras_layer
from ..._ops.normalization import normalize_by_group
from ..base.sharing import give_parameters, require_convertible
from ..base.weights import Shape, Sizes, declare_weight
from . import torch_conversion
from .base import FloatNormalization

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["GroupNormalization"]


@keras_layer()
class GroupNormalization(FloatNormalization):
    """Normalizes each group of channels of a sample by its mean and variance.

    Same as `keras.layers.GroupNormalization`, except that it is a `torch.nn.Module` whose `weight`
    and `bias` are gamma and beta, as in `torch.nn.GroupNorm`, and that the batch's axis is refused.
    The variance is accurate where the mean is large; that of Keras on torch is not.

    Args:
        groups: The number of groups, which divides that of the channels; -1 for a group a channel,
            which is instance normalization.
        axis: The channel axis.
        epsilon: Added to the variance.
        center, scale, **kwargs: As in `LayerNormalization`, as are all other arguments.

    Shape:
        - Input and output: (batch, ...) with the channels along `axis`.
        - `weight` and `bias` (each may be None): (channels,).

    Raises:
        TypeError: `axis` or `epsilon` is no number.
        ValueError: An argument is invalid, or `groups` does not divide the channels.

    Example:
        >>> import torch
        >>> GroupNormalization(2, epsilon=0.0)(torch.tensor([[1.0, 3.0, 9.0, 5.0]])).tolist()
        [[-1.0, 1.0, 1.0, -1.0]]
    """

    supports_masking = True
    weight_specs = (
        declare_weight("weight", "gamma", when="scale"),
        declare_weight("bias", "beta", when="center"),
    )
    compute_layout = "any"
    _epsilon_is_optional = False
    _least_rank = 2
    _shape_arguments = ("groups", "axis")
    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(groups, int) or (groups < 1 and groups != -1):
            self._refuse_argument("groups", "a positive integer or -1", groups)
        self.groups = groups
        if not isinstance(axis, SupportsIndex):
            self._refuse_argument("axis", "an integer", axis, error=TypeError)
        self._set_common(operator.index(axis), epsilon)
        self.center = center
        self.scale = scale
        self._assign_arguments(locals())
        self._register_weights(device, input_shape)

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape = self._check_shape(shape, argument)
        channels = self._find_channels(shape, argument, IndexError)
        if channels is None:
            self._refuse_shape(argument, "a shape with a known number of channels", shape)
        return {s.parameter: (channels,) for s in self.weight_specs if self._uses_weight(s)}

    def _find_channels(self, shape: Sizes, argument: str, error: Any = ValueError) -> int | None:
        """Return the number of channels, None if unknown, or raise if `groups` does not fit."""
        (axis,) = self._sort_axes(shape, argument, error)
        if axis == 0:
            self._refuse_argument("axis", "another axis than the batch's", self.axis)
        channels = shape[axis]
        if channels is not None and (not channels or channels % max(self.groups, 1)):
            self._refuse_shape(argument, "a shape whose channels `groups` divides", shape)
        return channels

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        channels = next(iter(shapes.values()))
        if len(channels) != 1:
            return None
        rank = self.axis + 1 if self.axis >= 0 else 1 - self.axis  # the batch is another axis
        shape: list[int | None] = [None] * rank
        shape[self.axis] = channels[0]
        return shape

    def _resolve_arguments(self) -> dict[str, Any]:
        return {"groups": len(self.weights[0])} if self.groups == -1 else {}

    @property
    def _channel_axis(self) -> int:
        return self.axis  # type: ignore[no-any-return]

    def _channels_first_arguments(self, rank: int) -> Mapping[str, Any]:
        return {"axis": 1}

    def _normalize(
        self,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        epsilon: float,
        axis: int | None = None,
    ) -> Tensor:
        axis = self.axis if axis is None else axis
        if x.ndim < 2 or not (axis % x.ndim and -x.ndim <= axis < x.ndim):
            self._require_rank(x)
            self._find_channels(tuple(x.shape), "inputs")
        moved = axis not in (1, 1 - x.ndim)
        x = to_channels_second(x, axis) if moved else x
        groups = x.shape[1] if self.groups == -1 else self.groups
        y = normalize_by_group(x, groups, weight, bias, epsilon)
        return from_channels_second(y, axis) if moved else y

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer from an `nn.GroupNorm`; see `LayerNormalization.from_torch`.

        Its channels are the last axis, unless `axis` is given.

        Raises:
            ValueError: The module is no `nn.GroupNorm`.
        """
        return torch_conversion.from_torch(cls, module, nn.GroupNorm, arguments, copy=copy)

    def to_torch(self, *, copy: bool = False) -> nn.GroupNorm:
        """Convert the layer to an `nn.GroupNorm`, whose channels are axis 1 whatever `axis` is.

        Args:
            copy: Whether the parameters are copied; otherwise they are shared.

        Raises:
            ValueError: The layer is not built, or has no weights.
        """
        require_convertible(self)
        if not self.weights:
            rule, owner = "one with weights, which have the size", f"{type(self).__name__}.to_torch"
            raise ValueError(argument_error(owner, "layer", rule, self))
        channels = len(self.weights[0])
        groups = channels if self.groups == -1 else self.groups
        module = nn.GroupNorm(groups, channels, eps=self.epsilon, device="meta")
        give_parameters(self, module, copy=copy)
        return module

    def extra_repr(self) -> str:
        """Return the number of channels and the arguments that differ from the defaults."""
        channels = len(self.weights[0]) if self.weights else None
        shown = self._format_non_defaults(center=True, scale=True)
        sizes = f"{channels}, groups={self.groups}, axis={self.axis}, epsilon={self.epsilon}"
        return ", ".join([sizes, *shown])
