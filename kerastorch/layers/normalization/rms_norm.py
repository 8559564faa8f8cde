"""Root mean square normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ... import dtype_policies, initializers
from ..._core.registry import keras_layer
from ..base.weights import WeightSpec
from . import torch_conversion
from .base import AxesNormalization, check_axes

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RMSNormalization"]


@keras_layer()
class RMSNormalization(AxesNormalization):
    """Divides each sample by its root mean square over one or several axes, and scales it.

    Same as `keras.layers.RMSNormalization`, except that it is a `torch.nn.Module` whose `weight` is
    Keras's `scale`, as in `torch.nn.RMSNorm`; and that any axes are accepted, where Keras fails
    unless they are the last. As in Keras, integers are truncated to their dtype.

    Args:
        axis: The axis or axes to normalize over.
        epsilon: Added to the mean square; None means `kerastorch.config.epsilon()`.
        input_shape, device, **kwargs: As in `LayerNormalization`.

    Shape:
        - Input and output: (batch, ...).
        - `weight`: the sizes along the sorted `axis`.

    Raises:
        TypeError: `axis` or `epsilon` is no number.
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> RMSNormalization(epsilon=0.0)(torch.tensor([[2.0, -2.0], [3.0, 3.0]])).tolist()
        [[1.0, -1.0], [1.0, 1.0]]
    """

    weight_specs = (WeightSpec("weight", "scale", "_ones"),)
    _ones = initializers.Ones()
    weight: Tensor

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float | None = 1e-6,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set_common(check_axes(self, axis), epsilon)
        self._register_weights(device, input_shape)

    def _prepare_input(self, inputs: Any) -> Tensor:
        own = self._tensor("weight").dtype
        if isinstance(inputs, Tensor) and inputs.dtype is own and own in self._uncast_dtypes:
            return inputs
        x = super()._prepare_input(inputs)
        if not x.is_floating_point():
            return x
        return self._cast(x, dtype_policies.to_torch_dtype(self.dtype))[0]

    def _compute(self, x: Tensor, **options: Any) -> Tensor:
        weight = self._tensor("weight")
        if weight.dtype is x.dtype and x.dtype in self._uncast_dtypes:
            return self._normalize(x, weight, None, self._get_epsilon())
        compute = x.dtype
        if not x.is_floating_point():
            compute = dtype_policies.to_torch_dtype(self.compute_dtype)
        wide = torch.promote_types(x.dtype, torch.float32)
        weight = weight.to(compute).to(wide)
        return self._normalize(x.to(wide), weight, None, self._get_epsilon()).to(x.dtype)

    def _normalize_last(
        self,
        x: Tensor,
        sizes: list[int],
        weight: Tensor | None,
        bias: Tensor | None,
        epsilon: float,
    ) -> Tensor:
        return torch.rms_norm(x, sizes, weight, epsilon)

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer from an `nn.RMSNorm`; see `LayerNormalization.from_torch`.

        Raises:
            ValueError: The module is no initialized `nn.RMSNorm` with a weight.
        """
        return torch_conversion.from_torch(cls, module, nn.RMSNorm, arguments, copy=copy)

    def to_torch(self, input_rank: int | None = None, *, copy: bool = False) -> nn.RMSNorm:
        """Convert the layer to an `nn.RMSNorm`; see `LayerNormalization.to_torch`.

        Raises:
            ValueError: The layer is not built, or `axis` is not that of the last axes.
        """
        return torch_conversion.to_torch(self, nn.RMSNorm, input_rank, copy=copy)
