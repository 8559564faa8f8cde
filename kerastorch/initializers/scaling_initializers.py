"""Initializers that scale with the size of a layer, equal to Keras's if they have a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from .._core import seeds as seeds_module
from .._core.errors import argument_error
from .._core.seeds import Seed, Shape
from .random_initializers import _CUT_STDDEV, _Random


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
        "scale",
        "mode",
        "distribution",
        "input_axes",
        "output_axes",
    )

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        owner = type(self).__name__
        if not scale > 0:
            raise ValueError(argument_error(owner, "scale", "a number above 0", scale))
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(
                argument_error(owner, "mode", "'fan_in', 'fan_out' or 'fan_avg'", mode)
            )
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

    def _sample(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return seeds_module.sample_uniform(shape, -limit, limit, dtype, self.seed)
        stddev = math.sqrt(variance)
        if self.distribution == "truncated_normal":
            return seeds_module.sample_truncated_normal(
                shape, 0.0, stddev / _CUT_STDDEV, dtype, self.seed
            )
        return seeds_module.sample_normal(shape, 0.0, stddev, dtype, self.seed)


class _Scaled(VarianceScaling):
    """Base class of the named ones, with fixed `scale`, `mode` and `distribution`."""

    _arguments: ClassVar[tuple[float, str, str]]
    _config_keys = ("input_axes", "output_axes")

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
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
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
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
        fan_in = math.prod(shape[axis] for axis in input_axes)
        return int(fan_in), int(math.prod(shape[axis] for axis in output_axes))
    if len(shape) < 2:
        return int(math.prod(shape)), int(math.prod(shape))
    field = math.prod(shape[:-2])
    return int(shape[-2] * field), int(shape[-1] * field)
