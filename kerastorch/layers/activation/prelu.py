"""PReLU: the activation layer that has weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..._core.registry import keras_layer
from ..base.layer import Layer
from ..base.weights import Shape, declare_weight

__all__ = ["PReLU"]


@keras_layer()
class PReLU(Layer):
    """Parametric rectified linear unit: `x` above 0, `alpha * x` below, with `alpha` trained.

    Same as `keras.layers.PReLU`, except that an input must have the sizes that the layer was built
    for along all axes that are not shared, and that integers and booleans are cast to the layer's
    compute dtype.

    Args:
        alpha_initializer: Initializer of `alpha`; None means "glorot_uniform", as in Keras.
        alpha_regularizer: Regularizer of `alpha`.
        alpha_constraint: Constraint of `alpha`; see `kerastorch.attach_constraints`.
        shared_axes: The axes, counted from 1, along which `alpha` is the same: [1, 2] makes it one
            value per channel for channels-last images.
        input_shape: The shape of one sample; the layer is then built at once.
        device: The device of the weights.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input and output: (batch, ...).
        - `alpha`: the input's shape without the batch, 1 along shared axes.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> layer = PReLU("ones", shared_axes=[1, 2])
        >>> tuple(layer(np.zeros((2, 8, 6, 3))).shape), tuple(layer.alpha.shape)
        ((2, 8, 6, 3), (1, 1, 3))
    """

    supports_masking = True
    weight_specs = (declare_weight("alpha", "alpha"),)
    keeps_flatten_order = True
    returns_new_tensor = True
    _least_rank = 1
    _shape_arguments = ("shared_axes",)
    alpha: Tensor
    shared_axes: list[int] | None
    fixed_arguments = ("shared_axes",)

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._assign_arguments(locals())
        axes: Any = shared_axes if isinstance(shared_axes, (list, tuple)) else [shared_axes]
        self.shared_axes = None if shared_axes is None else list(axes)
        if not all(isinstance(axis, int) for axis in self.shared_axes or ()):
            self._refuse_argument("shared_axes", "integers, or None", shared_axes)
        self._register_weights(device, input_shape)

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape, shared = self._check_shape(shape, argument), self.shared_axes
        sizes = list(shape[1:])
        for axis in shared or ():
            if not -len(sizes) < axis <= len(sizes):
                rule = "axes that the input has"
                self._refuse_argument(
                    "shared_axes", rule, shared, error=IndexError, input_shape=shape
                )
            sizes[axis - 1] = 1
        known = tuple(n for n in sizes if n is not None)
        if len(known) < len(sizes):
            rule = "a shape whose sizes are known but for the batch and `shared_axes`"
            self._refuse_shape(argument, rule, shape)
        return {"alpha": known}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        alpha = shapes["alpha"]
        fits = all(-len(alpha) < axis <= len(alpha) for axis in self.shared_axes or ())
        return (None, *alpha) if fits else None

    def _prepare_input(self, inputs: Any) -> Tensor:
        return self._cast(self._as_tensor(inputs), self.alpha.dtype)[0]

    def _compute(self, x: Tensor) -> Tensor:
        alpha = self.alpha
        if not self._is_fitting(x, alpha):
            rule = f"of a shape that matches the alpha of shape {tuple(alpha.shape)}"
            self._refuse_shape("inputs", rule, x.shape)
        x, compute = self._cast(x, alpha.dtype)
        return F.relu(x) - alpha.to(compute) * F.relu(-x)  # Keras's: its gradient at 0 is 0

    def _is_fitting(self, x: Tensor, alpha: Tensor) -> bool:
        """Return whether an input has the sizes of `alpha` along all axes that are not shared."""
        if x.ndim != alpha.ndim + 1:
            return False
        shared = {(axis - 1) % alpha.ndim for axis in self.shared_axes or ()}
        sizes = enumerate(zip(x.shape[1:], alpha.shape, strict=True))
        return all(own == (1 if axis in shared else given) for axis, (given, own) in sizes)

    def extra_repr(self) -> str:
        """Return the shape of `alpha` and the arguments that are set."""
        shape = tuple(self.alpha.shape) if self.built else None
        return ", ".join([f"{shape}, shared_axes={self.shared_axes}", *self._format_non_defaults()])
