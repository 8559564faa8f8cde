"""Layer normalization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..._core.errors import argument_error
from ..._core.registry import keras_layer
from ..base.weights import WeightSpec, declare_weight
from . import torch_conversion
from .base import AxesNormalization, check_axes

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LayerNormalization"]

_WEIGHTS = ("beta", "gamma")


@keras_layer()
class LayerNormalization(AxesNormalization):
    """Normalizes each sample by its mean and variance over one or several axes.

    Same as `keras.layers.LayerNormalization`, except that it is a `torch.nn.Module` whose `weight`
    and `bias` are gamma and beta, as in `torch.nn.LayerNorm`, whose epsilon is another; and that
    any axes are accepted, where Keras on torch fails unless they are the last.

    Args:
        axis: The axis or axes to normalize over.
        epsilon: Added to the variance; None means `kerastorch.config.epsilon()`.
        center: Whether to add beta.
        scale: Whether to multiply by gamma.
        beta_initializer, gamma_initializer: Initializers of the parameters.
        beta_regularizer, gamma_regularizer: Regularizers of the parameters.
        beta_constraint, gamma_constraint: See `kerastorch.attach_constraints`.
        rms_scaling: Whether the mean is not subtracted, and beta not added. Keras has deprecated
            it: it divides by the deviation from the mean, unlike `RMSNormalization`.
        input_shape: The shape of one sample; the layer is then built at once.
        device: The device of the weights.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input and output: (batch, ...).
        - `weight` and `bias` (each may be None): the sizes along the sorted `axis`.

    Raises:
        TypeError: `axis` or `epsilon` is no number.
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> LayerNormalization(epsilon=0.0)(torch.tensor([[1.0, 3.0], [5.0, 1.0]])).tolist()
        [[-1.0, 1.0], [1.0, -1.0]]
    """

    supports_masking = True
    weight_specs = (
        declare_weight("weight", "gamma", when="scale"),
        declare_weight("bias", "beta", when="center"),
    )
    _config_keys_last = tuple(
        f"{name}_{kind}"
        for kind in ("initializer", "regularizer", "constraint")
        for name in _WEIGHTS
    )
    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float | None = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        rms_scaling: bool = False,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set_common(check_axes(self, axis), epsilon)
        self.center = center
        self.scale = scale
        self.rms_scaling = rms_scaling
        self._assign_arguments(locals())
        self._register_weights(device, input_shape)

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights of a layer with this config."""
        return ("gamma",) if config.get("rms_scaling") else super().weight_names(config)

    def _uses_weight(self, spec: WeightSpec) -> bool:
        if self.rms_scaling:
            return spec.name == "gamma"
        return super()._uses_weight(spec)

    def _normalize_last(
        self,
        x: Tensor,
        sizes: list[int],
        weight: Tensor | None,
        bias: Tensor | None,
        epsilon: float,
    ) -> Tensor:
        if not self.rms_scaling:
            cudnn = torch.backends.cudnn.enabled
            return torch.layer_norm(x, sizes, weight, bias, epsilon, cudnn)
        axes = tuple(range(-len(sizes), 0))
        centered = x - x.mean(axes, keepdim=True)
        y = x * (centered.square().mean(axes, keepdim=True) + epsilon).rsqrt()
        return y if weight is None else y * weight

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer from an `nn.LayerNorm`.

        Args:
            module: The module.
            copy: Whether the parameters are copied; otherwise they are shared, and
                `trainable=False` freezes them for both.
            **arguments: Further arguments of the layer.

        Raises:
            ValueError: The module is no initialized `nn.LayerNorm`.
        """
        return torch_conversion.from_torch(cls, module, nn.LayerNorm, arguments, copy=copy)

    def to_torch(self, input_rank: int | None = None, *, copy: bool = False) -> nn.LayerNorm:
        """Convert the layer to an `nn.LayerNorm`.

        Args:
            input_rank: The rank of the inputs; needed if an axis is counted from the front.
            copy: Whether the parameters are copied; otherwise they are shared.

        Raises:
            ValueError: The layer is not built, or `axis` is not that of the last axes.
        """
        if self.rms_scaling:
            rule, owner = "False, since no module has it", f"{type(self).__name__}.to_torch"
            raise ValueError(argument_error(owner, "rms_scaling", rule, True))
        return torch_conversion.to_torch(self, nn.LayerNorm, input_rank, copy=copy)

    def _show(self) -> list[str]:
        return self._format_non_defaults(center=True, scale=True, rms_scaling=False)
