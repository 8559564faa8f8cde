"""Activation layers: of any function, and those that have arguments or weights of their own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import _check, _dtype, _pointwise, activations
from .._array import from_array
from .._check import problem
from .._registry import plain
from ._building import Role, Shape
from ._layer import Layer
from ._weightless import Weightless

if TYPE_CHECKING:
    from typing_extensions import Self


class Activation(Weightless):
    """Applies an activation function.

    Same as `keras.layers.Activation`.

    Args:
        activation: A name from `kerastorch.activations`, or any callable; None for none.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: any.
        - Output: the same.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import numpy as np
        >>> Activation("relu")(np.array([-3.0, -1.0, 0.0, 2.0]))
        tensor([0., 0., 0., 2.])
    """

    activation: Callable[[Tensor], Tensor]

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        if isinstance(self.activation, nn.Module) and not self.trainable:
            self.activation.requires_grad_(False)  # it is frozen with the layer

    def _computed(self, x: Tensor) -> Tensor:
        return self.activation(x)

    def _overwriting(self, x: Tensor) -> Tensor:
        """Compute the output in the place of an input that nothing else reads, where that goes."""
        return (_pointwise.in_place(self.activation) or self.activation)(x)


class ReLU(Weightless):
    """Rectified linear unit: `max(x, 0)` with the default arguments.

    Same as `keras.layers.ReLU`, except that booleans, and with nothing but a slope integers too,
    are converted to the layer's compute dtype.

    Args:
        max_value: The largest output; None for no limit.
        negative_slope: The slope below `threshold`.
        threshold: Inputs up to this one are flattened, or sloped.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: any.
        - Output: the same.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is negative.

    Example:
        >>> import numpy as np
        >>> layer = ReLU(max_value=10, negative_slope=0.5, threshold=0)
        >>> layer(np.array([-10, -5, 0.0, 5, 10]))
        tensor([-5.0000, -2.5000,  0.0000,  5.0000, 10.0000])
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.max_value = None if max_value is None else _least_0(owner, "max_value", max_value)
        self.negative_slope = _least_0(owner, "negative_slope", negative_slope)
        self.threshold = _least_0(owner, "threshold", threshold)
        leaky = self.max_value is None and not self.threshold
        self._floats = leaky and bool(self.negative_slope)

    def _computed(self, x: Tensor) -> Tensor:
        x = self._cast(x, x.dtype)[0] if x.dtype is torch.bool else x
        most, threshold = self.max_value, self.threshold
        if not x.is_floating_point():  # Keras casts both to the input's type
            most, threshold = None if most is None else int(most), int(threshold)
        return activations.relu(x, self.negative_slope, most, threshold)

    def _overwriting(self, x: Tensor) -> Tensor:
        """Compute the output in the place of an input that nothing else reads, where that goes."""
        if self.negative_slope or self.threshold or self.max_value is not None:
            return self._computed(x)
        return torch.relu_(x)


class LeakyReLU(Weightless):
    """Leaky rectified linear unit: `x` above 0, `negative_slope * x` below.

    Same as `keras.layers.LeakyReLU`, except that integers are converted to the layer's compute
    dtype. Keras 2's name of the slope, `alpha`, is taken too.

    Args:
        negative_slope: The slope below 0.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: any.
        - Output: the same.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is negative.

    Example:
        >>> import numpy as np
        >>> LeakyReLU(negative_slope=0.5)(np.array([-10, -5, 0.0, 5, 10]))
        tensor([-5.0000, -2.5000,  0.0000,  5.0000, 10.0000])
    """

    _floats = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
            warnings.warn("LeakyReLU: `alpha` is now `negative_slope`.", stacklevel=2)
        super().__init__(**kwargs)
        self.negative_slope = _least_0(type(self).__name__, "negative_slope", negative_slope)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Make a layer from a config of Keras 2, tf.keras or any Keras 3.

        Args:
            config: The dict that `get_config` returned there; it is left as it is.
            custom_objects: Your own names -> functions or classes.

        Raises:
            TypeError: the config is no mapping, or an argument is refused.
        """
        if isinstance(config, Mapping) and "alpha" in config and "negative_slope" not in config:
            renamed = {"negative_slope" if k == "alpha" else k: v for k, v in config.items()}
            config = {**renamed, "negative_slope": plain(config["alpha"])}
        return super().from_config(config, custom_objects)

    def _computed(self, x: Tensor) -> Tensor:
        return activations.leaky_relu(x, self.negative_slope)


class ELU(Weightless):
    """Exponential linear unit: `x` above 0, `alpha * (exp(x) - 1)` below.

    Same as `keras.layers.ELU`, except that integers are converted to the layer's compute dtype.

    Args:
        alpha: The negative of the limit on the left.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: any.
        - Output: the same.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import numpy as np
        >>> ELU(alpha=2.0)(np.array([-100.0, 0.0, 3.0]))
        tensor([-2.,  0.,  3.])
    """

    _floats = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(alpha, str) or not hasattr(alpha, "__float__"):
            self._refuse("alpha", "a number", alpha)
        self.alpha = alpha

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the constructor's arguments as `keras.layers` configs have them.

        Args:
            target: A version of Keras, "3.0" to "3.15", whose reader the config is for; None for
                the newest.

        Raises:
            ValueError: the version is not known.
        """
        written = super().get_config(target)
        return {"name": written["name"], "alpha": self.alpha, **written}  # Keras's order

    def _computed(self, x: Tensor) -> Tensor:
        return activations.elu(x, self.alpha)


class Softmax(Weightless):
    """Softmax: `exp(x)`, divided by its sum along an axis.

    Same as `keras.layers.Softmax`, except that integers are converted to the layer's compute
    dtype.

    Args:
        axis: The axis or axes that sum to 1; None for all.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer` and
            `input_shape`.

    Shape:
        - Input: any.
        - Output: the same.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import numpy as np
        >>> Softmax()(np.array([1.0, 2.0, 1.0]))
        tensor([0.2119, 0.5761, 0.2119])
    """

    _floats = True

    def __init__(self, axis: int | Sequence[int] | None = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def forward(self, inputs: Any, mask: Any = None) -> Tensor:
        """Return the softmax of a tensor or array.

        Args:
            inputs: The input.
            mask: Which elements count, of a shape that broadcasts to the input's: booleans, or
                numbers of which those above 0.5 count. The others' outputs are 0.

        Raises:
            IndexError: the input has no such axis.
            ValueError: the mask does not fit.
        """
        x = self._received(inputs)
        given: Any = self.axis
        axes = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        for axis in axes:
            if isinstance(axis, int) and not -x.ndim <= axis < max(x.ndim, 1):
                rule = "axes that the input has"
                owner, shape = type(self).__name__, tuple(x.shape)
                raise IndexError(problem(owner, "axis", rule, self.axis, inputs=shape))
        along = axes if len(axes) > 1 else axes[0]
        if mask is None:
            return self._returned(activations.softmax(x, along))
        kept = self._checked_mask(mask, x)
        y = activations.softmax(
            torch.where(kept, x, -3e4 if x.dtype is torch.float16 else -1e9), along
        )
        return self._returned(torch.where(kept, y, 0.0))

    def _checked_mask(self, mask: Any, x: Tensor) -> Tensor:
        found: Tensor | None = mask if isinstance(mask, Tensor) else from_array(mask)
        if found is None:
            self._refuse("mask", "a tensor or an array of real numbers", mask)
        sizes = zip(reversed(found.shape), reversed(x.shape), strict=False)
        if found.ndim > x.ndim or any(m not in (1, n) for m, n in sizes):
            rule = "of a shape that broadcasts to the input's"
            self._refuse("mask", rule, tuple(found.shape), inputs=tuple(x.shape))
        if found.dtype is not torch.bool:  # Keras casts 0.5 to the mask's type
            found = torch.gt(found, 0.5 if found.is_floating_point() else 0)
        return found.to(x.device)


class PReLU(Layer):
    """Parametric rectified linear unit: `x` above 0, `alpha * x` below, with `alpha` trained.

    Same as `keras.layers.PReLU`, except that an input must have the sizes that the layer was built
    for along all axes that are not shared.

    Args:
        alpha_initializer: How `alpha` starts; None means "glorot_uniform", as in Keras.
        alpha_regularizer: What adds a loss term for `alpha`.
        alpha_constraint: What projects `alpha` after a step of the optimizer.
        shared_axes: The axes, from 1 on, along which `alpha` is the same: [1, 2] makes it one
            number a channel for images whose channels are last.
        input_shape: The shape of one input, without the batch; the layer is then built at once.
        device: Where the weights live.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: (batch, ...).
        - Output: the same.

    Attributes:
        alpha: The input's shape without the batch, 1 along shared axes.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import numpy as np
        >>> layer = PReLU("ones", shared_axes=[1, 2])
        >>> tuple(layer(np.zeros((2, 8, 6, 3))).shape), tuple(layer.alpha.shape)
        ((2, 8, 6, 3), (1, 1, 3))
    """

    roles = (Role("alpha", "alpha", "alpha_initializer", "alpha_regularizer", "alpha_constraint"),)
    _written_when_set = ("activity_regularizer",)
    alpha: Tensor
    shared_axes: list[int] | None

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
        self.alpha_initializer = alpha_initializer
        self.alpha_regularizer = alpha_regularizer
        self.alpha_constraint = alpha_constraint
        several = isinstance(shared_axes, (list, tuple))
        axes: Any = shared_axes if several else [shared_axes]
        self.shared_axes = None if shared_axes is None else list(axes)
        if not all(isinstance(axis, int) for axis in self.shared_axes or ()):
            self._refuse("shared_axes", "integers, or None", shared_axes)
        self._register_weights(_dtype.torch_dtype(self.dtype), device)
        if input_shape is not None:
            owner = type(self).__name__
            self.build((None, *_check.any_shape(owner, "input_shape", input_shape, 0, batch=False)))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the output's shape for an input's: the same.

        Raises:
            ValueError: it is no shape.
        """
        return _check.any_shape(type(self).__name__, "input_shape", input_shape, 1)

    def _shapes_for(
        self, input_shape: Sequence[int | None], argument: str = "input_shape"
    ) -> dict[str, Shape]:
        owner = type(self).__name__
        sizes = list(_check.any_shape(owner, argument, input_shape, 1)[1:])
        for axis in self.shared_axes or ():
            if not -len(sizes) < axis <= len(sizes):
                rule, shape = "axes that the input has", tuple(input_shape)
                raise IndexError(
                    problem(owner, "shared_axes", rule, self.shared_axes, input_shape=shape)
                )
            sizes[axis - 1] = 1
        known = tuple(n for n in sizes if n is not None)
        if len(known) < len(sizes):
            rule = "a shape whose sizes are known but for the batch and `shared_axes`"
            self._refuse(argument, rule, tuple(input_shape), shared_axes=self.shared_axes)
        return {"alpha": known}

    def _input_shape_for(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        alpha = shapes["alpha"]
        fits = all(-len(alpha) < axis <= len(alpha) for axis in self.shared_axes or ())
        return (None, *alpha) if fits else None

    def forward(self, inputs: Any) -> Tensor:
        """Return the output for a tensor or array.

        Raises:
            ValueError: the input has not the sizes that the layer was built for.
        """
        x, alpha = self._as_tensor(inputs), self.alpha
        if not self._suits(x, alpha):
            rule = f"of a shape that suits the alpha of shape {tuple(alpha.shape)}"
            self._refuse("inputs", rule, tuple(x.shape), shared_axes=self.shared_axes)
        x, compute = self._cast(x, alpha.dtype)
        outputs = F.relu(x) - alpha.to(compute) * F.relu(-x)  # Keras's: its gradient at 0 is 0
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _suits(self, x: Tensor, alpha: Tensor) -> bool:
        """Return whether an input has the sizes of `alpha`; those of shared axes are not asked."""
        if x.ndim != alpha.ndim + 1:
            return False
        shared = {(axis - 1) % alpha.ndim for axis in self.shared_axes or ()}
        sizes = enumerate(zip(x.shape[1:], alpha.shape, strict=True))
        return all(own == (1 if axis in shared else given) for axis, (given, own) in sizes)

    def extra_repr(self) -> str:
        """Return the shape of `alpha` and the arguments that are set."""
        shown = [str(tuple(self.alpha.shape) if self.built else None)]
        shown.append(f"shared_axes={self.shared_axes}")
        if self.dtype_policy.name != "float32":
            shown.append(f"dtype={self.dtype_policy.name!r}")
        return ", ".join(shown)


def _least_0(owner: str, argument: str, value: Any) -> Any:
    """Return a number that is not negative as it is."""
    rule = "a number >= 0"
    try:
        negative = value is None or bool(value < 0)
    except TypeError:
        raise TypeError(problem(owner, argument, rule, value)) from None
    if negative:
        raise ValueError(problem(owner, argument, rule, value))
    return value
