"""Initializers that sample their values.

Without a seed, two calls differ and `torch.manual_seed` decides; in Keras, each call of the same
initializer then returns the same values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._core import seeds as seeds_module
from .._core.config_arrays import Config
from .._core.errors import argument_error
from .._core.registry import Registry
from .._core.seeds import Seed, SeedGenerator, Shape, get_default_device
from .base import DType, Initializer, as_dtype, as_shape

_SEEDS: Registry[SeedGenerator] = Registry("seed", "keras.random", {"SeedGenerator": SeedGenerator})
# The standard deviation of a standard normal distribution truncated to [-2, 2].
_CUT_STDDEV = 0.87962566103423978


class _Random(Initializer):
    """Base class of the random initializers, with the seed."""

    def __init__(self, seed: Seed | Config = None) -> None:
        if isinstance(seed, dict):
            seed = _SEEDS.deserialize(seed)
        if seed is not None and not isinstance(seed, (int, SeedGenerator)):
            rule = "an integer, a `SeedGenerator` or None"
            raise ValueError(argument_error(type(self).__name__, "seed", rule, seed))
        self.seed: Seed = seed

    def __call__(self, shape: Sequence[int], dtype: DType = None) -> Tensor:
        """Return the values; see `Initializer`."""
        values = self._sample(as_shape(shape), as_dtype(type(self).__name__, dtype))
        return values.to(get_default_device()).contiguous()

    def _sample(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        raise NotImplementedError

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        seed = _SEEDS.serialize(self.seed) if isinstance(self.seed, SeedGenerator) else self.seed
        return {"seed": seed, **super().get_config()}


class _Normal(_Random):
    """Base class of the normal distributions."""

    _config_keys = ("mean", "stddev")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)


class RandomNormal(_Normal):
    """Samples from a normal distribution. Same as `keras.initializers.RandomNormal` with a seed.

    Args:
        mean: The mean.
        stddev: The standard deviation.
        seed: An integer for the values of Keras's torch backend, the same at each call; a
            `SeedGenerator` for new ones at each call; None for torch's global generator.

    Raises:
        ValueError: `seed` is invalid.

    >>> RandomNormal(seed=1)((3,))
    tensor([0.0331, 0.0133, 0.0031])
    """

    def _sample(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds_module.sample_normal(shape, self.mean, self.stddev, dtype, self.seed)


class TruncatedNormal(_Normal):
    """Samples from a normal distribution within two `stddev` of `mean`.

    Same as `keras.initializers.TruncatedNormal` with a seed.

    Args:
        mean: The mean.
        stddev: The standard deviation before truncation.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is invalid.
    """

    def _sample(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds_module.sample_truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


class RandomUniform(_Random):
    """Uniform samples from [minval, maxval). Same as `keras.initializers.RandomUniform`.

    Args:
        minval: The lower bound.
        maxval: The upper bound.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is invalid.
    """

    _config_keys = ("minval", "maxval")

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed)

    def _sample(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds_module.sample_uniform(shape, self.minval, self.maxval, dtype, self.seed)


class Orthogonal(_Random):
    """A matrix with orthogonal rows or columns, whichever are fewer.

    More than two axes are flattened to a matrix with the last axis as its columns. Same as
    `keras.initializers.Orthogonal` with a seed, except that half precision works.

    Args:
        gain: A factor.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is invalid; at the call, the shape has fewer than two axes.
    """

    _config_keys = ("gain",)

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = gain
        super().__init__(seed)

    def _sample(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        if len(shape) < 2:
            raise ValueError(argument_error("Orthogonal", "shape", "of rank 2 or more", shape))
        rows, columns = math.prod(shape[:-1]), shape[-1]
        long, short = max(rows, columns), min(rows, columns)
        is_half = dtype in (torch.float16, torch.bfloat16)  # `torch.linalg.qr` lacks them
        qr_dtype = torch.float32 if is_half else dtype
        q, r = torch.linalg.qr(
            seeds_module.sample_normal((long, short), 0.0, 1.0, qr_dtype, self.seed)
        )
        q *= r.diagonal().sign()  # makes the distribution uniform
        values: Tensor = self.gain * (q.T if rows < columns else q).reshape(shape)
        return values.to(dtype)
