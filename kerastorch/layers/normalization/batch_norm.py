"""Batch normalization."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ... import config, dtype_policies
from ..._core.config_versions import require_keras_1
from ..._core.layout import from_channels_second, to_channels_second
from ..._core.registry import keras_layer
from ..._ops.normalization import normalize, normalize_by_batch
from ..base.layer import Layer
from ..base.masks import to_mask
from ..base.weights import Shape, Sizes, WeightSpec, declare_weight
from . import torch_conversion
from .renormalization import check_clipping, renormalize, update_moving

if TYPE_CHECKING:
    from ..base.functional import BatchNorm

__all__ = ["BatchNormalization"]

_MEAN, _VARIANCE = "moving_mean_initializer", "moving_variance_initializer"
_STDDEV = "_stddev_initializer"


@keras_layer()
class BatchNormalization(Layer):
    """Normalizes its input by the mean and variance of each channel.

    In training, that is `layer.train()` with `trainable=True`, these are the batch's, and the
    moving statistics are updated: `moving = momentum * moving + (1 - momentum) * batch`. Otherwise
    they are the moving statistics. Same as `keras.layers.BatchNormalization`, except that

    - it is a `torch.nn.Module`: `weight` and `bias` are gamma and beta, `running_mean` and
      `running_var` the moving statistics, and `.train()` and `.eval()` replace the argument
      `training` of Keras's call;
    - an empty batch does not change the moving statistics.

    Unlike in `torch.nn.BatchNorm2d`, `momentum` weights the old value, `epsilon` is 1e-3, and the
    moving variance follows the biased variance of the batch. Tools that look for torch's own class
    ignore this one: `torch.nn.SyncBatchNorm.convert_sync_batchnorm`, and
    `torch.optim.swa_utils.update_bn`. In place of the latter, a `momentum` of `n / (n + 1)` at the
    n-th batch, from 0 on, makes the moving statistics the means over all batches.

    Args:
        axis: The channel axis.
        momentum: Momentum of the moving statistics.
        epsilon: Added to the variance.
        center: Whether to add beta.
        scale: Whether to multiply by gamma.
        beta_initializer, gamma_initializer: Initializers of the parameters.
        moving_mean_initializer, moving_variance_initializer: Initializers of the statistics.
        beta_regularizer, gamma_regularizer: Regularizers of the parameters.
        beta_constraint, gamma_constraint: See `kerastorch.attach_constraints`.
        renorm: Whether to correct the batch's statistics towards the moving ones in training
            (arXiv:1702.03275).
        renorm_clipping: The limits of that correction: a dict of "rmax", "rmin" and "dmax".
        renorm_momentum: Momentum of the moving statistics of that correction.
        synchronized: Refused; use `torch.nn.SyncBatchNorm` on several devices.
        input_shape: The shape of one sample; the layer is then built at once.
        device: The device of the weights.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: (batch, ...) with the channels along `axis`.
        - Output: the same.
        - `weight` and `bias` (each may be None), `running_mean`, `running_var`: (channels,).

    Raises:
        ValueError: An argument is invalid.
        TypeError: `axis`, `momentum` or `epsilon` is no number.

    Example:
        >>> import torch
        >>> layer = BatchNormalization(momentum=0.5, epsilon=0.0)
        >>> layer(torch.tensor([[1.0], [3.0]])).tolist(), layer.running_mean.tolist()
        ([[-1.0], [1.0]], [1.0])
    """

    supports_masking = True
    weight_specs = (
        declare_weight("weight", "gamma", when="scale"),
        declare_weight("bias", "beta", when="center"),
        WeightSpec("running_mean", "moving_mean", _MEAN, buffer=True),
        WeightSpec("running_var", "moving_variance", _VARIANCE, buffer=True),
        WeightSpec("moving_stddev", "moving_stddev", _STDDEV, buffer=True, when="renorm"),
        WeightSpec("renorm_mean", "renorm_mean", _MEAN, buffer=True, when="renorm"),
        WeightSpec("renorm_stddev", "renorm_stddev", _STDDEV, buffer=True, when="renorm"),
    )
    renamed_arguments: ClassVar = {
        "gamma_init": "gamma_initializer",
        "beta_init": "beta_initializer",
    }
    compute_layout = "channels_first"
    returns_new_tensor = True
    _gradient_needs_output = False
    depends_on_training_mode = True
    call_arguments = ("mask",)
    keeps_flatten_order = True
    _config_keys_last = ("renorm", "renorm_clipping", "renorm_momentum")
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    moving_variance_initializer: Any
    fixed_arguments = ("axis", "center", "scale", "renorm")

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = self._check_axis(axis)
        if synchronized:
            remedy = "Synchronize with `torch.nn.SyncBatchNorm` instead."
            self._refuse_argument("synchronized", "False", synchronized, remedy)
        self.synchronized = synchronized
        self.momentum = self._check_number("momentum", momentum)
        self.epsilon = self._check_number("epsilon", epsilon)
        self.center = center
        self.scale = scale
        self._assign_arguments(locals())
        self.renorm = renorm
        self.renorm_clipping = check_clipping(self, renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
        mixed = self._policy.compute_dtype != self._policy.variable_dtype
        self._uncast_dtypes = () if mixed else (torch.float32, torch.float64)
        self._register_weights(device, input_shape)

    def _check_axis(self, axis: Any) -> int:
        if isinstance(axis, str) or (isinstance(axis, float) and not axis.is_integer()):
            self._refuse_argument("axis", "an integer", axis)
        try:
            return int(axis) if isinstance(axis, float) else int(operator.index(axis))
        except TypeError:
            self._refuse_argument("axis", "an integer", axis, error=TypeError)

    def _check_number(self, argument: str, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError) as error:  # both as in Keras
            self._refuse_argument(argument, "a number", value, error=type(error))

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3; tf.keras has a list of one axis."""
        upgraded = super().upgrade_config(config)
        require_keras_1(upgraded.pop("mode", 0) == 0, cls.__name__, "mode", 0)
        axis = upgraded.get("axis")
        if isinstance(axis, (list, tuple)) and len(axis) == 1:
            upgraded["axis"] = axis[0]
        return upgraded

    def _stddev_initializer(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Return the square root of the initial moving variance, as in Keras."""
        return torch.sqrt(torch.as_tensor(self.moving_variance_initializer(shape, dtype=dtype)))

    def _weight_shapes(
        self, input_shape: Sequence[int | None], argument: str = "input_shape"
    ) -> dict[str, Shape]:
        shape = tuple(input_shape)
        if not -len(shape) <= self.axis < len(shape):
            rule = "a shape that has the axis"
            self._refuse_argument(argument, rule, shape, axis=self.axis, error=IndexError)
        channels = shape[self.axis]
        if len(shape) < 2 or not channels:
            rule = f"a shape with a batch and a known number of channels (axis {self.axis})"
            self._refuse_argument(argument, rule, shape)
        used = filter(self._uses_weight, self.weight_specs)
        return {spec.parameter: (channels,) for spec in used}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> list[int | None] | None:
        channels = next(iter(shapes.values()))
        if len(channels) != 1:
            return None
        rank = max(self.axis + 1 if self.axis >= 0 else -self.axis, 2)
        shape: list[int | None] = [None] * rank
        shape[self.axis] = channels[0]
        return shape

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sizes:
        """Return the input shape."""
        shape = tuple(input_shape)
        if not -len(shape) <= self.axis < len(shape):
            self._refuse_argument("input_shape", "a shape that has the axis", shape, axis=self.axis)
        return shape

    def forward(self, inputs: Any, mask: Any = None) -> Tensor:
        """Normalize a batch; in training, update the moving statistics.

        Args:
            inputs: The batch.
            mask: Which positions count in the batch's statistics, of the input's shape without
                the last axis.

        Raises:
            ValueError: The input has another number of channels, or less than two dimensions, or
                the mask has another shape, or is given in training with `renorm`.
        """
        moving, axis = self._tensor("running_mean"), self.axis
        x, out = self._cast_input(inputs, moving.dtype)
        moved = axis not in (1, 1 - x.ndim)
        valid = None if mask is None else self._expand_mask(mask, x, moved=moved)
        try:
            y = self._compute(to_channels_second(x, axis) if moved else x, valid)
        except (IndexError, RuntimeError):
            if x.ndim >= 2 and -x.ndim <= axis < x.ndim and x.shape[axis] == moving.shape[0]:
                raise
            rule = f"of 2 dimensions at least and {moving.shape[0]} channels along axis {axis}"
            self._refuse_argument("inputs", rule, tuple(x.shape))
        outputs = from_channels_second(y, axis) if moved else y
        if outputs.dtype is not out:
            outputs = outputs.to(out)
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _expand_mask(self, mask: Any, x: Tensor, *, moved: bool) -> Tensor | None:
        """Return a mask of the shape of the input to `_compute`, None where it has no effect."""
        valid = to_mask(self, mask, x.shape[:-1], x.device).unsqueeze(-1).expand(x.shape)
        if not (self.training and self._trainable):
            return None
        if self.renorm:
            self._refuse_argument("mask", "None with `renorm`", tuple(valid.shape[:-1]))
        return to_channels_second(valid, self.axis) if moved else valid

    @property
    def _channel_axis(self) -> int:
        return self.axis

    def _is_lowerable(self) -> bool:
        return self._tensor("running_mean").dtype in self._uncast_dtypes

    def _compute(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalize (batch, channels, ...) by the moving or, in training, the batch statistics."""
        moving = self._tensor("running_mean")
        if self.training and self._trainable:
            if x.shape[1:2] != moving.shape:  # torch would read past gamma or broadcast
                raise RuntimeError("not that many channels")
            if mask is not None:
                return self._normalize_by_masked_batch(x, mask)
            return renormalize(self, x) if self.renorm else self._normalize_by_batch(x)
        variance = self._tensor("running_var")
        if x.dtype is not moving.dtype:
            moving, variance = moving.to(x.dtype), variance.to(x.dtype)
        return normalize(x, *self._cast_affine(x.dtype), moving, variance, self.epsilon)

    def _cast_input(self, inputs: Any, own: torch.dtype) -> tuple[Tensor, torch.dtype]:
        """Cast the input to the compute dtype, at least float32; also return the output's dtype.

        `own` is the dtype of the weights.
        """
        if isinstance(inputs, Tensor) and inputs.dtype is own and own in self._uncast_dtypes:
            return inputs, own
        x = self._as_tensor(inputs)
        if x.is_floating_point() or x.is_complex():
            given = x.dtype
            x, compute = self._cast(x, own)
            torch_decides = self.autocast and given is x.dtype and compute is not given
            out = given if torch_decides else dtype_policies.to_torch_dtype(self.compute_dtype)
            return (x if x.dtype is torch.float64 else x.float()), out
        out = dtype_policies.to_torch_dtype(self.compute_dtype)
        return x.to(torch.promote_types(out, torch.float32)), out

    def _cast_affine(self, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """Cast gamma and beta."""
        parameters: dict[str, Any] = self._parameters
        try:  # faster than nn.Module's attributes
            gamma, beta = parameters["weight"], parameters["bias"]
        except KeyError:  # one of them is computed from others
            gamma, beta = self.weight, self.bias
        if gamma is not None and gamma.dtype is not dtype:
            gamma = gamma.to(dtype)
        if beta is not None and beta.dtype is not dtype:
            beta = beta.to(dtype)
        return gamma, beta

    def _normalize_by_batch(self, x: Tensor) -> Tensor:
        """Normalize by the batch statistics and update the moving ones."""
        y, mean, variance = normalize_by_batch(x, *self._cast_affine(x.dtype), self.epsilon)
        if x.numel():
            update_moving(self._tensor("running_mean"), mean, self.momentum)
            update_moving(self._tensor("running_var"), variance, self.momentum)
        return y

    def _normalize_by_masked_batch(self, x: Tensor, mask: Tensor) -> Tensor:
        """Do the same by the statistics of the positions in the mask."""
        axes, shape = [n for n in range(x.ndim) if n != 1], (-1, *(1,) * (x.ndim - 2))
        count = mask.sum(axes, dtype=x.dtype) + config.epsilon()
        mean = torch.where(mask, x, 0).sum(axes) / count
        centered = x - mean.view(shape)
        variance = torch.where(mask, centered, 0).square().sum(axes) / count
        if x.numel():
            update_moving(self._tensor("running_mean"), mean.detach(), self.momentum)
            update_moving(self._tensor("running_var"), variance.detach(), self.momentum)
        gamma, beta = self._cast_affine(x.dtype)
        y = centered * torch.rsqrt(variance + self.epsilon).view(shape)
        y = y if gamma is None else y * gamma.view(shape)
        return y if beta is None else y + beta.view(shape)

    from_torch: ClassVar = classmethod(torch_conversion.make_batch_norm)
    to_torch = torch_conversion.convert_batch_norm

    def _as_function(self) -> BatchNorm:
        from ..base.functional import BatchNorm

        weights = self.weight, self.bias, self.running_mean, self.running_var
        return BatchNorm(*weights, self.epsilon, self.axis)

    def extra_repr(self) -> str:
        """Return the number of channels and the arguments that differ from the defaults."""
        channels = self.running_mean.shape[0] if self.built else None
        differing = self._format_non_defaults(
            momentum=0.99, epsilon=1e-3, center=True, scale=True, renorm=False, trainable=True
        )
        return ", ".join([f"{channels}, axis={self.axis}", *differing])
