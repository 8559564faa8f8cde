"""Noise in training: GaussianNoise, GaussianDropout and AlphaDropout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ... import config, dtype_policies
from ..._core.errors import argument_error
from ..._core.registry import keras_layer
from .dropout import Dropout
from .random_layer import RandomLayer

__all__ = ["AlphaDropout", "GaussianDropout", "GaussianNoise"]

_LEAST = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946  # selu(-inf)


class _Noise(RandomLayer):
    """A layer that samples one number for each element."""

    def _sample(self, x: Tensor, mean: float, stddev: float) -> Tensor:
        """Sample like an input, in the compute dtype."""
        dtype, source = self._torch_dtype, self._source(x)
        return torch.normal(mean, stddev, x.shape, dtype=dtype, **source).to(x.device)


@keras_layer()
class GaussianNoise(_Noise):
    """Adds normal noise of mean 0.

    Same as `keras.layers.GaussianNoise`, except that `layer.train()` and `layer.eval()` turn it on
    and off.

    Args:
        stddev: The standard deviation, from 0 to 1; in a config of Keras 1 or 2 it may exceed 1.
        seed, **kwargs: As in `Dropout`.

    Shape:
        - Input and output: any.

    Raises:
        TypeError: `stddev` is no number.
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> layer = GaussianNoise(0.1, seed=1)
        >>> bool(layer(torch.zeros(100)).std() < 0.2)
        True
        >>> layer.eval()(torch.zeros(2))
        tensor([0., 0.])
    """

    renamed_arguments: ClassVar = {"sigma": "stddev"}
    differs_in_keras_2 = True

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        rule, most = ("a number >= 0", math.inf) if self.keras_2 else ("a number from 0 to 1", 1)
        self._require("stddev", rule, stddev, lambda n: 0 <= n <= most)
        self.stddev = stddev
        self.keras_2 = stddev > 1  # the only difference

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3, with `keras_2` for an older one."""
        upgraded = super().upgrade_config(config)
        stddev = upgraded.get("stddev")
        if isinstance(stddev, (int, float)) and stddev > 1:  # which Keras 3 never writes
            upgraded["keras_2"] = True
        return upgraded

    def _compute(self, x: Tensor) -> Tensor:
        if not self.training or self.stddev == 0:
            return x
        return x + self._sample(x, 0.0, self.stddev)


@keras_layer()
class GaussianDropout(_Noise):
    """Multiplies by normal noise of mean 1 and variance `rate / (1 - rate)`.

    Same as `keras.layers.GaussianDropout`, except that `layer.train()` and `layer.eval()` turn it
    on and off.

    Args:
        rate: The rate of a `Dropout` of this variance, from 0 to 1. As in Keras, 1 is refused in
            training.
        seed, **kwargs: As in `Dropout`.

    Shape:
        - Input and output: any.

    Raises:
        TypeError: `rate` is no number.
        ValueError: An argument is invalid.
        ZeroDivisionError: `rate` is 1 in training.

    Example:
        >>> import torch
        >>> GaussianDropout(0.5).eval()(torch.ones(2))
        tensor([1., 1.])
    """

    renamed_arguments: ClassVar = {"p": "rate"}

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self._require_rate(rate)
        self.rate = rate

    def _compute(self, x: Tensor) -> Tensor:
        rate = self.rate
        if not self.training or rate == 0:
            return x
        if rate == 1:
            self._refuse_argument("rate", "below 1 in training", rate, error=ZeroDivisionError)
        return x * self._sample(x, 1.0, math.sqrt(rate / (1.0 - rate)))


@keras_layer()
class AlphaDropout(Dropout):
    """Randomly sets elements to the least value of `selu`, and keeps mean and variance.

    Same as `keras.layers.AlphaDropout`, with the exceptions of `Dropout`.

    Args:
        rate: The fraction to set, from 0 to 1. As in Keras, 1 is refused in training.
        noise_shape, seed, **kwargs: As in `Dropout`.

    Shape:
        - Input and output: any.

    Raises:
        ZeroDivisionError: `rate` is 1 in training.

    Example:
        >>> import torch
        >>> y = AlphaDropout(0.5, seed=1)(torch.zeros(100))
        >>> len(y.unique())
        2
    """

    torch_name = "AlphaDropout"

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, noise_shape, seed, **kwargs)
        self.noise_shape = noise_shape  # Keras's config has it as it was given

    def _drop(self, x: Tensor, noise_shape: Sequence[int | None] | None) -> Tensor:
        rate = self.rate
        if rate == 1:
            self._refuse_argument("rate", "below 1 in training", rate, error=ZeroDivisionError)
        if not x.is_floating_point():
            x, _ = self._cast(x, self._torch_dtype)
        sampled = dtype_policies.to_torch_dtype(config.floatx())  # as in Keras, whatever x is
        sizes = self._noise_sizes(x, noise_shape)
        kept = (torch.rand(sizes, dtype=sampled, **self._source(x)) >= rate).to(x)
        factor: float = ((1 - rate) * (1 + rate * _LEAST**2)) ** -0.5
        return factor * (x * kept + _LEAST * (1 - kept)) - factor * _LEAST * rate

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        if self.rate == 1:
            rule = "below 1, since the module outputs zeros where Keras raises an error"
            raise ValueError(argument_error(owner, "rate", rule, self.rate))
        return super()._make_modules(owner, input_size)
