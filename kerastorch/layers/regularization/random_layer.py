"""RandomLayer: the base of the layers that sample in training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..._core.seeds import SeedGenerator
from ..base.stateless import StatelessLayer


class RandomLayer(StatelessLayer):
    """A layer that samples in training, and outputs its input in evaluation.

    Without a `seed`, torch's global generator is used. An integer seed gives the samples of Keras
    on torch: new ones at each call, on the CPU whatever the input's device (`torch.compile` breaks
    the graph there).
    """

    supports_masking = True
    depends_on_training_mode = True
    keeps_flatten_order = True

    def __init__(self, *, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if seed is not None and not isinstance(seed, int):
            self._refuse_argument("seed", "an integer or None", seed)
        self.seed = seed
        self._seeds = None if seed is None else SeedGenerator(seed)

    @property
    def is_sample_wise(self) -> bool:
        """Whether the random numbers have no seed, and none is shared by samples."""
        noise_shape = getattr(self, "noise_shape", None)
        return not self.training or (self._seeds is None and noise_shape is None)

    def _require_rate(self, rate: Any) -> None:
        self._require("rate", "a number from 0 to 1", rate, lambda n: 0 <= n <= 1)

    def _source(self, x: Tensor) -> dict[str, Any]:
        """Return the device and the generator to sample with for an input."""
        if self._seeds is None or x.is_meta:
            return {"device": x.device, "generator": None}
        device = torch.device("cpu")
        generator = torch.Generator(device).manual_seed(self._seeds.next() & 0xFFFFFFFF)
        return {"device": device, "generator": generator}
