"""Seeds, and the three random draws, number for number as Keras's torch backend makes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import problem

Shape = tuple[int, ...]


class SeedGenerator:
    """A row of seeds: each draw that uses it gets the next one.

    Same as `keras.random.SeedGenerator`, except that `next` returns the seed as one integer, that
    any integer is accepted, and that without a `seed` torch's global generator decides where the
    row begins.

    Args:
        seed: The first seed.
        name: A name, which does nothing but stay in the config.

    Raises:
        ValueError: `seed` is no integer.

    >>> seeds = SeedGenerator(7)
    >>> seeds.next(), seeds.next()
    (7, 8)
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        if seed is not None and not isinstance(seed, int):
            raise ValueError(problem("SeedGenerator", "seed", "an integer", seed))
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
        """Return a generator that begins where the described one began."""
        return cls(**config)


Seed = int | SeedGenerator | None


def default_device() -> torch.device:
    """Return where torch makes new tensors: also within `with torch.device(...)`.

    In torch 2.6, `torch.get_default_device` does not see such a context.
    """
    return torch.empty(0).device


def normal(shape: Shape, mean: float, stddev: float, dtype: torch.dtype, seed: Seed) -> Tensor:
    """Return numbers of a normal distribution."""
    generator, device = _source(seed)
    return torch.normal(
        float(mean), float(stddev), shape, generator=generator, dtype=dtype, device=device
    )


def uniform(shape: Shape, low: float, high: float, dtype: torch.dtype, seed: Seed) -> Tensor:
    """Return numbers spread evenly from `low` to `high`."""
    generator, device = _source(seed)
    draw = torch.rand(shape, generator=generator, dtype=dtype, device=device)
    return (high - low) * draw + low


def truncated_normal(
    shape: Shape, mean: float, stddev: float, dtype: torch.dtype, seed: Seed
) -> Tensor:
    """Return normal numbers within two `stddev` of `mean`: the first such of four draws.

    Where none of the four is (once in two hundred thousand), it is the first one.
    """
    draws = normal((*shape, 4), 0.0, 1.0, dtype, seed)
    within = (draws > -2) & (draws < 2)
    first = within.max(-1, keepdim=True).indices
    return draws.gather(-1, first).squeeze(-1).mul_(float(stddev)).add_(float(mean))


def _source(seed: Seed) -> tuple[torch.Generator | None, torch.device]:
    """Return what to draw with and where.

    A seed means the CPU, where its numbers are Keras's; none means the default device. On the meta
    device nothing is drawn, so that no seed is spent.
    """
    device = default_device()
    if seed is None or device.type == "meta":
        return None, device
    number = seed.next() if isinstance(seed, SeedGenerator) else int(seed)
    return torch.Generator("cpu").manual_seed(number & 0xFFFFFFFF), torch.device("cpu")
