"""Initializers that sample their values.

Without a seed, two calls differ and `torch.manual_seed` decides; in Keras, each call of the same
initializer then returns the same values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from .._core import seeds
from .._core.config_arrays import Config
from .._core.errors import argument_error
from .._core.registry import Registry
from .._core.seeds import Seed, SeedGenerator, Shape
from .base import Initializer

__all__ = [
    "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform",
    "Orthogonal", "OrthogonalInitializer", "RandomNormal", "RandomUniform", "TruncatedNormal",
    "VarianceScaling", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
    "lecun_normal", "lecun_uniform", "orthogonal", "random_normal", "random_uniform",
    "truncated_normal", "variance_scaling",
]  # fmt: skip

_SEEDS: Registry[SeedGenerator] = Registry("seed", "keras.random", {"SeedGenerator": SeedGenerator})
_Axes = Sequence[int] | None
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

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds.sample_normal(shape, self.mean, self.stddev, dtype, self.seed)


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

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds.sample_truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


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

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return seeds.sample_uniform(shape, self.minval, self.maxval, dtype, self.seed)


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

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        if len(shape) < 2:
            raise ValueError(argument_error("Orthogonal", "shape", "of rank 2 or more", shape))
        rows, columns = math.prod(shape[:-1]), shape[-1]
        long, short = max(rows, columns), min(rows, columns)
        is_half = dtype in (torch.float16, torch.bfloat16)  # `torch.linalg.qr` lacks them
        qr_dtype = torch.float32 if is_half else dtype
        q, r = torch.linalg.qr(seeds.sample_normal((long, short), 0.0, 1.0, qr_dtype, self.seed))
        q *= r.diagonal().sign()  # makes the distribution uniform
        values: Tensor = self.gain * (q.T if rows < columns else q).reshape(shape)
        return values.to(dtype)


class VarianceScaling(_Random):
    """Samples with variance `scale / n`, where n depends on the weight's shape.

    Same as `keras.initializers.VarianceScaling` with a seed. As in Keras, the fans ignore `groups`.

    Args:
        scale: A factor above 0.
        mode: What n is: "fan_in", "fan_out", or "fan_avg", their mean.
        distribution: "truncated_normal" (also "normal"), "untruncated_normal" or "uniform".
        seed: As in `RandomNormal`.
        input_axes: The axes whose sizes multiply to the fan in, if `output_axes` is given too.
        output_axes: The axes whose sizes multiply to the fan out.

    Raises:
        ValueError: an argument is invalid.
    """

    _config_keys: ClassVar[tuple[str, ...]] = (
        "scale", "mode", "distribution", "input_axes", "output_axes",
    )  # fmt: skip

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: _Axes = None,
        output_axes: _Axes = None,
    ) -> None:
        owner = type(self).__name__
        if not scale > 0:
            raise ValueError(argument_error(owner, "scale", "a number above 0", scale))
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            rule = "'fan_in', 'fan_out' or 'fan_avg'"
            raise ValueError(argument_error(owner, "mode", rule, mode))
        folded = str(distribution).lower()
        if folded not in ("normal", "truncated_normal", "untruncated_normal", "uniform"):
            rule = "'truncated_normal', 'untruncated_normal' or 'uniform'"
            raise ValueError(argument_error(owner, "distribution", rule, distribution))
        self.scale = scale
        self.mode = mode
        self.distribution = "truncated_normal" if folded == "normal" else folded
        self.input_axes = input_axes
        self.output_axes = output_axes
        super().__init__(seed)

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return seeds.sample_uniform(shape, -limit, limit, dtype, self.seed)
        stddev = math.sqrt(variance)
        if self.distribution == "truncated_normal":
            return seeds.sample_truncated_normal(shape, 0.0, stddev / _CUT_STDDEV, dtype, self.seed)
        return seeds.sample_normal(shape, 0.0, stddev, dtype, self.seed)


class _Scaled(VarianceScaling):
    """Base class of the named ones, with fixed `scale`, `mode` and `distribution`."""

    _arguments: ClassVar[tuple[float, str, str]]
    _config_keys = ("input_axes", "output_axes")

    def __init__(
        self, seed: Seed = None, input_axes: _Axes = None, output_axes: _Axes = None
    ) -> None:
        super().__init__(*self._arguments, seed, input_axes, output_axes)


class GlorotUniform(_Scaled):
    """Uniform up to `sqrt(6 / (fan_in + fan_out))`, also called Xavier uniform.

    Args as in `VarianceScaling`.

    >>> GlorotUniform(seed=42)((2, 1))
    tensor([[1.0812],
            [1.1738]])
    """

    _arguments = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal of variance `2 / (fan_in + fan_out)`, also called Xavier normal.

    Args as in `VarianceScaling`.
    """

    _arguments = (1.0, "fan_avg", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform up to `sqrt(3 / fan_in)`. Args as in `VarianceScaling`."""

    _arguments = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal of variance `1 / fan_in`. Args as in `VarianceScaling`."""

    _arguments = (1.0, "fan_in", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform up to `sqrt(6 / fan_in)`. Args as in `VarianceScaling`."""

    _arguments = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal of variance `2 / fan_in`. Args as in `VarianceScaling`."""

    _arguments = (2.0, "fan_in", "truncated_normal")


def compute_fans(
    shape: Sequence[int], input_axes: _Axes = None, output_axes: _Axes = None
) -> tuple[int, int]:
    """Return the fan in and the fan out of a weight.

    Args:
        shape: The weight's shape; of a convolution, `(*kernel_size, inputs, outputs)`.
        input_axes: The axes whose sizes multiply to the fan in, if `output_axes` is given too.
        output_axes: The axes whose sizes multiply to the fan out.

    >>> compute_fans((3, 5, 4, 8))
    (60, 120)
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        fans = [math.prod(shape[axis] for axis in axes) for axes in (input_axes, output_axes)]
    elif len(shape) < 2:
        fans = [math.prod(shape)] * 2
    else:
        fans = [size * math.prod(shape[:-2]) for size in shape[-2:]]
    return int(fans[0]), int(fans[1])


OrthogonalInitializer = orthogonal = Orthogonal
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
glorot_normal, he_normal, lecun_normal = GlorotNormal, HeNormal, LecunNormal
glorot_uniform, he_uniform, lecun_uniform = GlorotUniform, HeUniform, LecunUniform
variance_scaling = VarianceScaling
