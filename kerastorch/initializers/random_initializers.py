"""Initializers that draw their values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._core import seeds as seeds_module
from .._core.config_arrays import Config
from .._core.errors import problem
from .._core.registry import Vocabulary
from .._core.seeds import Seed, SeedGenerator, Shape, default_device
from .base import DType, Initializer, as_dtype, as_shape

_SEEDS: Vocabulary[SeedGenerator] = Vocabulary(
    "seed", "keras.random", {"SeedGenerator": SeedGenerator}
)
# What is left of a normal distribution's standard deviation when it is cut at two of them.
_CUT_STDDEV = 0.87962566103423978


class _Random(Initializer):
    """The base of the random ones: the seed, and where the result goes."""

    def __init__(self, seed: Seed | Config = None) -> None:
        if isinstance(seed, dict):
            seed = _SEEDS.deserialize(seed)
        if seed is not None and not isinstance(seed, (int, SeedGenerator)):
            rule = "an integer, a `SeedGenerator` or None"
            raise ValueError(problem(type(self).__name__, "seed", rule, seed))
        self.seed: Seed = seed

    def __call__(self, shape: Sequence[int], dtype: DType = None) -> Tensor:
        """Return the values; see `Initializer`."""
        values = self._draw(as_shape(shape), as_dtype(type(self).__name__, dtype))
        return values.to(default_device()).contiguous()

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        raise NotImplementedError

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        seed = self.seed
        return {"seed": _SEEDS.serialize(seed) if isinstance(seed, SeedGenerator) else seed}


class RandomNormal(_Random):
    """Numbers of a normal distribution.

    Same as `keras.initializers.RandomNormal`, except that without a seed two calls differ and
    `torch.manual_seed` decides.

    Args:
        mean: The mean.
        stddev: The standard deviation.
        seed: An integer for the numbers of Keras's torch backend, the same at each call; a
            `SeedGenerator` for new ones at each call; None for torch's global generator.

    Raises:
        ValueError: `seed` is none of these.

    >>> RandomNormal(seed=1)((3,))
    tensor([0.0331, 0.0133, 0.0031])
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds_module.normal(shape, self.mean, self.stddev, dtype, self.seed)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(_Random):
    """Numbers of a normal distribution, none further than two `stddev` from `mean`.

    Same as `keras.initializers.TruncatedNormal`, except that without a seed two calls differ and
    `torch.manual_seed` decides.

    Args:
        mean: The mean.
        stddev: The standard deviation before the cut.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is no integer, `SeedGenerator` or None.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds_module.truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class RandomUniform(_Random):
    """Numbers spread evenly from `minval` to `maxval`.

    Same as `keras.initializers.RandomUniform`, except that without a seed two calls differ and
    `torch.manual_seed` decides.

    Args:
        minval: The smallest number.
        maxval: The number that all are below.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is no integer, `SeedGenerator` or None.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds_module.uniform(shape, self.minval, self.maxval, dtype, self.seed)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


class Orthogonal(_Random):
    """A matrix with orthogonal rows or columns, whichever are fewer.

    More axes than two are one matrix with the last axis as its columns. Same as
    `keras.initializers.Orthogonal`, except that without a seed two calls differ and
    `torch.manual_seed` decides, and that half precision works.

    Args:
        gain: A factor.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is no integer, `SeedGenerator` or None; at the call, the shape has
            fewer than two axes.
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = gain
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        if len(shape) < 2:
            raise ValueError(problem("Orthogonal", "shape", "of rank 2 or more", shape))
        rows, columns = math.prod(shape[:-1]), shape[-1]
        long, short = max(rows, columns), min(rows, columns)
        half = dtype in (torch.float16, torch.bfloat16)  # for which torch has no qr
        numbers = seeds_module.normal(
            (long, short), 0.0, 1.0, torch.float32 if half else dtype, self.seed
        )
        q, r = torch.linalg.qr(numbers)
        q *= r.diagonal().sign()  # makes it uniform over all orthogonal matrices
        values: Tensor = self.gain * (q.T if rows < columns else q).reshape(shape)
        return values.to(dtype)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "gain": self.gain}
