"""Dropout layers: randomly zero elements in training and scale up the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..._core.registry import keras_layer
from ..base.stateless import SpatialLayer
from ..base.torch_conversion import TorchCounterpart
from ..base.weights import Sizes
from .random_layer import RandomLayer

__all__ = ["Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"]


@keras_layer()
class Dropout(RandomLayer, TorchCounterpart):
    """Randomly zeroes a fraction `rate` of the input and scales the rest by `1 / (1 - rate)`.

    Same as `keras.layers.Dropout`, except that `layer.train()` and `layer.eval()` turn it on and
    off, and that integers and booleans, which Keras on TensorFlow refuses unless `rate` is 0 or 1,
    are cast to the layer's compute dtype.

    Without a `seed`, torch's global generator is used. An integer seed gives the masks of Keras on
    torch: a new one at each call, sampled on the CPU whatever the input's device (`torch.compile`
    breaks the graph there).

    Args:
        rate: The fraction to drop, from 0 to 1.
        noise_shape: The shape of the mask, batch included, which broadcasts to the input's; None
            for a size means the input's.
        seed: An integer, or None.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: any.

    Raises:
        TypeError: `rate` is no number.
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> layer = Dropout(0.5, seed=3)
        >>> sorted(layer(torch.ones(100)).unique().tolist())
        [0.0, 2.0]
        >>> layer.eval()(torch.ones(3))
        tensor([1., 1., 1.])
    """

    _config_keys_last = ("noise_shape",)
    renamed_arguments: ClassVar = {"p": "rate"}
    torch_name: ClassVar[str] = "Dropout"
    torch_arguments: ClassVar = {"p": "rate"}
    keras_only: ClassVar = {"noise_shape": None}

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self._require_rate(rate)
        self.rate = rate
        if noise_shape is not None:
            rule = "a tuple of positive integers, or None for sizes of the input"
            if isinstance(noise_shape, str) or not isinstance(noise_shape, Iterable):
                self._refuse_argument("noise_shape", rule, noise_shape)
            noise_shape = tuple(noise_shape)
            if any(n is not None and (not isinstance(n, int) or n < 1) for n in noise_shape):
                self._refuse_argument("noise_shape", rule, noise_shape)
        self.noise_shape: Any = noise_shape

    def _compute(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        return self._drop(x, self.noise_shape)

    def _drop(self, x: Tensor, noise_shape: Sequence[int | None] | None) -> Tensor:
        if self.rate == 1:
            return torch.zeros_like(x)
        if not x.is_floating_point():
            x, _ = self._cast(x, self._torch_dtype)
        if self._seeds is None and noise_shape is None:
            return F.dropout(x, self.rate)
        sizes, source = self._noise_sizes(x, noise_shape), self._source(x)
        keep = 1.0 - self.rate  # sampled in float32: other dtypes would give other masks
        probabilities = torch.full(sizes, keep, dtype=torch.float32, device=source["device"])
        kept = torch.bernoulli(probabilities, generator=source["generator"]).to(x.device)
        return torch.where(kept.bool().broadcast_to(x.shape), x / keep, 0)

    def _noise_sizes(self, x: Tensor, noise_shape: Sequence[int | None] | None) -> list[int]:
        """Return a noise shape with the sizes of an input for None."""
        if noise_shape is None:
            return list(x.shape)
        if len(noise_shape) > x.ndim:
            rule = f"of {len(noise_shape)} dimensions, as `noise_shape` is"
            self._refuse_argument("inputs", rule, tuple(x.shape), noise_shape=noise_shape)
        return [x.shape[axis] if n is None else n for axis, n in enumerate(noise_shape)]


class BaseSpatialDropout(Dropout, SpatialLayer):
    """Drops complete channels of `rank` spatial axes; `SpatialDropout2D` documents the arguments.

    As in Keras, the config has the weights' dtype instead of a policy, and no `trainable`.
    """

    omits_data_format = True
    torch_name = "Dropout{}d"
    _config_keys: ClassVar = ("rate", "seed", "name", "dtype", "data_format")

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        noise_shape = kwargs.pop("noise_shape", None)  # Keras 2's configs have it
        if noise_shape is not None:
            rule = "left out: it follows from the channels"
            self._refuse_argument("noise_shape", rule, noise_shape)
        shared: dict[str, Any] = {"data_format": data_format, "name": name, "dtype": dtype}
        super().__init__(rate, seed=seed, **shared, **kwargs)

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with Keras's keys only, in its order; see `Layer.get_config`."""
        written = {**super().get_config(target), "dtype": self.dtype}
        return {key: written[key] for key in self._config_keys if key in written}

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        return sizes

    def _compute(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        ones = (1,) * (x.ndim - 2)
        last = self.data_format == "channels_last"
        return self._drop(x, (None, *ones, None) if last else (None, None, *ones))


@keras_layer()
class SpatialDropout1D(BaseSpatialDropout):
    """Randomly zeroes complete channels of a sequence; see `SpatialDropout2D`.

    Same as `keras.layers.SpatialDropout1D`: (batch, steps, channels) alone.

    Args:
        rate, seed, name, dtype, **kwargs: As in `SpatialDropout2D`.

    Shape:
        - Input and output: (batch, steps, channels).

    Example:
        >>> import torch
        >>> y = SpatialDropout1D(0.5, seed=1)(torch.ones(1, 3, 4))
        >>> y[0, 0].tolist() == y[0, 2].tolist()
        True
    """

    rank = 1
    removed_arguments: ClassVar = ("data_format",)

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)


@keras_layer()
class SpatialDropout2D(BaseSpatialDropout):
    """Randomly zeroes complete channels and scales the rest; see `Dropout`.

    Same as `keras.layers.SpatialDropout2D`, with the exceptions of `Dropout`. As in Keras, the
    config has the weights' dtype instead of a policy, and no `trainable`.

    Args:
        rate: The fraction of channels to drop, from 0 to 1.
        data_format: "channels_last" or "channels_first"; by default that of `kerastorch.config`.
        seed, name, dtype, **kwargs: As in `Dropout`.

    Shape:
        - Input and output: the input of `Conv2D`.

    Example:
        >>> import torch
        >>> y = SpatialDropout2D(0.5, seed=1)(torch.ones(1, 2, 2, 4))
        >>> y[0, 0, 0].tolist() == y[0, 1, 1].tolist()
        True
    """

    rank = 2


@keras_layer()
class SpatialDropout3D(BaseSpatialDropout):
    """Randomly zeroes complete channels of volumes; see `SpatialDropout2D`.

    Same as `keras.layers.SpatialDropout3D`.

    Args:
        rate, data_format, seed, name, dtype, **kwargs: As in `SpatialDropout2D`.

    Shape:
        - Input and output: the input of `MaxPooling3D`.

    Example:
        >>> import torch
        >>> y = SpatialDropout3D(0.5, seed=1)(torch.ones(1, 2, 2, 2, 4))
        >>> y[0, 0, 0, 0].tolist() == y[0, 1, 1, 1].tolist()
        True
    """

    rank = 3
