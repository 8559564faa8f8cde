"""Seeds, and random samples equal to those of Keras's torch backend."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import argument_error

Shape = tuple[int, ...]


class SeedGenerator:
    """A sequence of seeds: each call that samples with it uses the next one.

    Same as `keras.random.SeedGenerator`, except that `next` returns the seed as one integer, that
    any integer is accepted, and that torch's global generator samples a missing first seed.

    Args:
        seed: The first seed.
        name: A name, for the config only.

    Raises:
        ValueError: `seed` is not an integer.

    >>> seeds = SeedGenerator(7)
    >>> seeds.next(), seeds.next()
    (7, 8)
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        if seed is not None and not isinstance(seed, int):
            raise ValueError(argument_error("SeedGenerator", "seed", "an integer", seed))
        self.name = "seed_generator" if name is None else name
        self._initial_seed = seed
        self._next = int(torch.randint(1, 10**9, (), device="cpu")) if seed is None else int(seed)

    def next(self) -> int:
        """Return the next seed."""
        seed = self._next
        self._next += 1
        return seed

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"seed": self._initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """Create a generator with the first seed of the one described."""
        return cls(**config)


Seed = int | SeedGenerator | None


def get_default_device() -> torch.device:
    """Return the device of new tensors, also within `with torch.device(...)`."""
    return torch.empty(0).device  # in torch 2.6, `torch.get_default_device` ignores that context


def sample_normal(
    shape: Shape, mean: float, stddev: float, dtype: torch.dtype, seed: Seed
) -> Tensor:
    """Sample from a normal distribution."""
    return torch.normal(float(mean), float(stddev), shape, dtype=dtype, **_source(seed))


def sample_uniform(shape: Shape, low: float, high: float, dtype: torch.dtype, seed: Seed) -> Tensor:
    """Sample uniformly from `low` to `high`."""
    return (high - low) * torch.rand(shape, dtype=dtype, **_source(seed)) + low


def sample_truncated_normal(
    shape: Shape, mean: float, stddev: float, dtype: torch.dtype, seed: Seed
) -> Tensor:
    """Sample from a normal distribution within two `stddev` of `mean`.

    Each value is the first of four samples within that range, or the first one if none is (once in
    two hundred thousand).
    """
    samples = sample_normal((*shape, 4), 0.0, 1.0, dtype, seed)
    within = (samples > -2) & (samples < 2)
    first = within.max(-1, keepdim=True).indices
    return samples.gather(-1, first).squeeze(-1).mul_(float(stddev)).add_(float(mean))


def _source(seed: Seed) -> dict[str, Any]:
    """Return where samples come from: a CPU generator for a seed, or the default device's own."""
    device = get_default_device()
    if seed is None or device.type == "meta":  # on which nothing is sampled
        return {"generator": None, "device": device}
    number = seed.next() if isinstance(seed, SeedGenerator) else int(seed)
    generator = torch.Generator("cpu").manual_seed(number & 0xFFFFFFFF)
    return {"generator": generator, "device": generator.device}
