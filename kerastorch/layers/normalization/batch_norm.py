"""Batch normalization."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ... import dtype_policies
from ..._core.config_versions import require_keras_1
from ..._core.errors import problem
from ..._core.layout import channels_back, channels_second
from ..._core.registry import keras_layer
from ..._ops.batch_norm import normalized, normalized_by_batch
from ..base.layer import Layer
from ..base.weights import Role, Shape, declare_weight

__all__ = ["BatchNormalization"]

_CLIPPING = ("rmax", "rmin", "dmax")
_MEAN, _VARIANCE = "moving_mean_initializer", "moving_variance_initializer"
_STDDEV = "_stddev_initializer"


@keras_layer()
class BatchNormalization(Layer):
    """Normalizes its input by the mean and variance of each channel.

    In training, that is `layer.train()` with `trainable=True`, they are the batch's, and the
    moving statistics follow them: `moving * momentum + batch * (1 - momentum)`. Otherwise they
    are the moving statistics. Same as `keras.layers.BatchNormalization`, except that

    - it is a `torch.nn.Module`: `weight` and `bias` are gamma and beta, `running_mean` and
      `running_var` the moving statistics, and `.train()` and `.eval()` decide where Keras has the
      call's `training`; masks are not taken;
    - an empty batch leaves the moving statistics alone.

    Mind what differs from `torch.nn.BatchNorm2d`: `momentum` is the share of the old, `epsilon`
    is 1e-3, and the moving variance follows the biased variance of the batch. Tools that look for
    torch's own class leave it alone: `torch.nn.SyncBatchNorm.convert_sync_batchnorm`, and
    `torch.optim.swa_utils.update_bn`, in whose place a `momentum` of `n / (n + 1)` at the n-th
    batch, from 0 on, makes the moving statistics the means over all batches.

    Args:
        axis: The axis of the channels.
        momentum: The share of the old moving statistics at each step.
        epsilon: What is added to the variance.
        center: Whether beta is added.
        scale: Whether it is multiplied by gamma.
        beta_initializer: How beta starts.
        gamma_initializer: How gamma starts.
        moving_mean_initializer: How the moving mean starts.
        moving_variance_initializer: How the moving variance starts.
        beta_regularizer: What adds a loss term for beta.
        gamma_regularizer: What adds a loss term for gamma.
        beta_constraint: What projects beta after a step of the optimizer; see
            `kerastorch.attach_constraints`.
        gamma_constraint: What projects gamma then.
        renorm: Whether to correct the batch's statistics towards the moving ones in training
            (arXiv:1702.03275).
        renorm_clipping: The limits of that correction: a dict of "rmax", "rmin" and "dmax".
        renorm_momentum: The share of the old in the moving statistics of that correction.
        synchronized: Refused; `torch.nn.SyncBatchNorm` is for several devices.
        input_shape: The shape of one input, without the batch; the layer is then built at once.
        device: Where the weights live.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: (batch, ...) with the channels along `axis`.
        - Output: the same.

    Attributes:
        weight: Gamma, (channels,), or None.
        bias: Beta, (channels,), or None.
        running_mean: The moving mean, (channels,).
        running_var: The moving variance, (channels,).

    Raises:
        ValueError: an argument is refused.
        TypeError: `axis`, `momentum` or `epsilon` is no number.

    Example:
        >>> import torch
        >>> layer = BatchNormalization(momentum=0.5, epsilon=0.0)
        >>> layer(torch.tensor([[1.0], [3.0]])).tolist()
        [[-1.0], [1.0]]
        >>> layer.running_mean.tolist()
        [1.0]
    """

    roles = (
        declare_weight("weight", "gamma", when="scale"),
        declare_weight("bias", "beta", when="center"),
        Role("running_mean", "moving_mean", _MEAN, buffer=True),
        Role("running_var", "moving_variance", _VARIANCE, buffer=True),
        Role("moving_stddev", "moving_stddev", _STDDEV, buffer=True, when="renorm"),
        Role("renorm_mean", "renorm_mean", _MEAN, buffer=True, when="renorm"),
        Role("renorm_stddev", "renorm_stddev", _STDDEV, buffer=True, when="renorm"),
    )
    renamed_arguments: ClassVar = {
        "gamma_init": "gamma_initializer",
        "beta_init": "beta_initializer",
    }
    depends_on_training_mode = True
    keeps_flatten_order = True
    _written_last = ("renorm", "renorm_clipping", "renorm_momentum")
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    moving_stddev: Tensor
    renorm_mean: Tensor
    renorm_stddev: Tensor
    moving_variance_initializer: Any

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
        self.axis = self._axis_of(axis)
        if synchronized:
            remedy = "Synchronize with `torch.nn.SyncBatchNorm` instead."
            self._refuse("synchronized", "False", synchronized, remedy)
        self.synchronized = synchronized
        self.momentum = self._number("momentum", momentum)
        self.epsilon = self._number("epsilon", epsilon)
        self.center = center
        self.scale = scale
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        self.moving_mean_initializer = moving_mean_initializer
        self.moving_variance_initializer = moving_variance_initializer
        self.beta_regularizer = beta_regularizer
        self.gamma_regularizer = gamma_regularizer
        self.beta_constraint = beta_constraint
        self.gamma_constraint = gamma_constraint
        self.renorm = renorm
        self.renorm_clipping = self._clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
        mixed = self._policy.compute_dtype != self._policy.variable_dtype
        self._taken_as_they_are = () if mixed else (torch.float32, torch.float64)
        self._register_weights(dtype_policies.torch_dtype(self.dtype), device)
        if input_shape is not None:
            self.build((None, *input_shape))

    # Arguments

    def _axis_of(self, axis: Any) -> int:
        owner, rule = type(self).__name__, "an integer"
        if isinstance(axis, (str, float)):
            if isinstance(axis, str) or not axis.is_integer():
                raise ValueError(problem(owner, "axis", rule, axis))
            return int(axis)
        try:
            return int(operator.index(axis))
        except TypeError:
            raise TypeError(problem(owner, "axis", rule, axis)) from None

    def _number(self, argument: str, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError) as error:  # both as in Keras
            message = problem(type(self).__name__, argument, "a number", value)
            raise type(error)(message) from None

    def _clipping(self, given: Any) -> dict[str, Any]:
        clipping = dict(given or {})
        if set(clipping) - set(_CLIPPING):
            self._refuse("renorm_clipping", f"a dict of {', '.join(_CLIPPING)}", given)
        rmax, rmin, dmax = map(clipping.get, _CLIPPING)
        if rmax is not None and rmin is not None and rmax < rmin:
            self._refuse("renorm_clipping", "a dict whose rmax is rmin at least", given)
        if dmax is not None and dmax < 0:
            self._refuse("renorm_clipping", "a dict whose dmax is 0 at least", given)
        return clipping

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a config of any Keras as Keras 3 writes it; tf.keras has a list of one axis."""
        upgraded = super().upgrade_config(config)
        require_keras_1(upgraded.pop("mode", 0) == 0, cls.__name__, "mode", 0)
        axis = upgraded.get("axis")
        if isinstance(axis, (list, tuple)) and len(axis) == 1:
            upgraded["axis"] = axis[0]
        return upgraded

    # Building

    def _stddev_initializer(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Return the square root of the first moving variance, as Keras starts the deviations."""
        return torch.sqrt(torch.as_tensor(self.moving_variance_initializer(shape, dtype=dtype)))

    def _shapes_for(
        self, input_shape: Sequence[int | None], argument: str = "input_shape"
    ) -> dict[str, Shape]:
        shape = tuple(input_shape)
        if not -len(shape) <= self.axis < len(shape):
            message = "a shape that has the axis"
            owner = type(self).__name__
            raise IndexError(problem(owner, argument, message, shape, axis=self.axis))
        channels = shape[self.axis]
        if len(shape) < 2 or not channels:
            rule = f"a shape with a batch and a known number of channels (axis {self.axis})"
            self._refuse(argument, rule, shape)
        return {role.parameter: (channels,) for role in self.roles if self._has(role)}

    def _input_shape_for(self, shapes: Mapping[str, Shape]) -> list[int | None] | None:
        found = next(iter(shapes.values()))
        if len(found) != 1:
            return None
        rank = max(self.axis + 1 if self.axis >= 0 else -self.axis, 2)
        shape: list[int | None] = [None] * rank
        shape[self.axis] = found[0]
        return shape

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        shape = tuple(input_shape)
        if not -len(shape) <= self.axis < len(shape):
            self._refuse("input_shape", "a shape that has the axis", shape, axis=self.axis)
        return shape

    # The computation

    def forward(self, inputs: Any) -> Tensor:
        """Normalize a batch; in training, take its statistics into the moving ones.

        Raises:
            ValueError: the input has another number of channels, or one axis only.
        """
        moving, axis = self._tensor("running_mean"), self.axis
        x, out = self._cast_input(inputs, moving.dtype)
        moved = axis not in (1, 1 - x.ndim)
        try:
            y = self._compute(channels_second(x, axis) if moved else x)
        except (IndexError, RuntimeError):
            if x.ndim >= 2 and -x.ndim <= axis < x.ndim and x.shape[axis] == moving.shape[0]:
                raise
            rule = f"of 2 dimensions at least and {moving.shape[0]} channels along axis {axis}"
            self._refuse("inputs", rule, tuple(x.shape))
        outputs = channels_back(y, axis) if moved else y
        if outputs.dtype is not out:
            outputs = outputs.to(out)
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    compute_layout = "channels_first"
    returns_new_tensor = True

    @property
    def _channel_axis(self) -> int:
        return self.axis

    def _is_lowerable(self) -> bool:
        return self._tensor("running_mean").dtype in self._taken_as_they_are

    def _gradient_needs_output(self) -> bool:
        return False

    def _compute(self, x: Tensor) -> Tensor:
        """Normalize (batch, channels, ...) by the moving statistics, or in training by its own."""
        moving = self._tensor("running_mean")
        if self.training and self._trainable:
            if x.shape[1:2] != moving.shape:  # torch would read past gamma, or repeat a statistic
                raise RuntimeError("not that many channels")
            return self._renormalized(x) if self.renorm else self._normalized_by_batch(x)
        variance = self._tensor("running_var")
        if x.dtype is not moving.dtype:
            moving, variance = moving.to(x.dtype), variance.to(x.dtype)
        return normalized(x, *self._affine(x.dtype), moving, variance, self.epsilon)

    def _cast_input(self, inputs: Any, own: torch.dtype) -> tuple[Tensor, torch.dtype]:
        """Return the input in the type to compute in, float32 at least, and the output's type.

        Args:
            inputs: The argument of the call.
            own: The type of the layer's weights.
        """
        if isinstance(inputs, Tensor) and inputs.dtype is own and own in self._taken_as_they_are:
            return inputs, own
        x = self._as_tensor(inputs)
        if x.is_floating_point() or x.is_complex():
            given = x.dtype
            x, compute = self._cast(x, own)
            torch_decides = self.autocast and given is x.dtype and compute is not given
            out = given if torch_decides else dtype_policies.torch_dtype(self.compute_dtype)
            return (x if x.dtype is torch.float64 else x.float()), out
        out = dtype_policies.torch_dtype(self.compute_dtype)
        return x.to(torch.promote_types(out, torch.float32)), out

    def _affine(self, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """Return gamma and beta in a type."""
        parameters: dict[str, Any] = self._parameters
        try:  # one look-up for both
            gamma, beta = parameters["weight"], parameters["bias"]
        except KeyError:  # one of them is computed from others
            gamma, beta = self.weight, self.bias
        if gamma is not None and gamma.dtype is not dtype:
            gamma = gamma.to(dtype)
        if beta is not None and beta.dtype is not dtype:
            beta = beta.to(dtype)
        return gamma, beta

    def _normalized_by_batch(self, x: Tensor) -> Tensor:
        """Normalize by the batch's own statistics, and take them into the moving ones."""
        y, mean, variance = normalized_by_batch(x, *self._affine(x.dtype), self.epsilon)
        if x.numel():
            _follow(self._tensor("running_mean"), mean, self.momentum)
            _follow(self._tensor("running_var"), variance, self.momentum)
        return y

    def _renormalized(self, x: Tensor) -> Tensor:
        """Normalize by the batch's statistics, corrected towards the moving ones."""
        y, mean, variance = normalized_by_batch(x, None, None, self.epsilon)
        if not x.numel():
            return y
        clipping: dict[str, Any] = self.renorm_clipping  # type: ignore[assignment]
        with torch.no_grad():
            deviation = (variance + self.epsilon).sqrt()
            kept = self.renorm_stddev.to(x.dtype).clamp(min=self.epsilon**0.5)
            r = deviation / kept
            rmin, rmax = clipping.get("rmin"), clipping.get("rmax")
            if rmin is not None or rmax is not None:
                r = r.clamp(rmin, rmax)
            d = (mean - self.renorm_mean.to(x.dtype)) / kept
            if (dmax := clipping.get("dmax")) is not None:
                d = d.clamp(-dmax, dmax)
            for name, value in (("renorm_mean", mean), ("renorm_stddev", deviation)):
                _follow(self._tensor(name), value, self.renorm_momentum)
            _follow(self._tensor("running_mean"), mean, self.momentum)
            moving = _follow(self._tensor("moving_stddev"), deviation, self.momentum)
            self.running_var.copy_((moving * moving - self.epsilon).relu())
        gamma, beta = self._affine(x.dtype)
        scale = r if gamma is None else r * gamma
        offset = d if gamma is None else d * gamma
        if beta is not None:
            offset = offset + beta
        shape = (-1, *(1,) * (x.ndim - 2))
        return y * scale.reshape(shape) + offset.reshape(shape)

    def extra_repr(self) -> str:
        """Return the number of channels and the arguments that differ from the defaults."""
        channels = self.running_mean.shape[0] if self.built else None
        differing = self._differing(
            momentum=0.99, epsilon=1e-3, center=True, scale=True, renorm=False, trainable=True
        )
        return ", ".join([f"{channels}, axis={self.axis}", *differing])


def _follow(moving: Tensor, value: Tensor, momentum: float) -> Tensor:
    """Move a moving statistic towards a batch's, and return what it is now."""
    if moving.dtype is value.dtype:
        return moving.lerp_(value, 1.0 - momentum)
    new = moving.to(value.dtype).lerp_(value, 1.0 - momentum)
    moving.copy_(new)
    return new
