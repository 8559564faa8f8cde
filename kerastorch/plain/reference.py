"""The loaded model in double precision, to which written code is compared."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .. import config
from ..layers.base.kernel import KernelLayer
from ..models.base import Model


@torch.no_grad()
def make_reference(model: Model) -> Model:
    """Return a copy of a model in evaluation and in double precision.

    The updates of LoRA are added to the kernels before, as in the written code: the sum is rounded
    to the dtype of the kernel once.
    """
    reference = copy.deepcopy(model)
    for module in reference.modules():
        if isinstance(module, KernelLayer) and module.lora_enabled:
            module.weight.copy_(module._merged_weight())
            module.lora_kernel_b.zero_()
    return reference.double().eval()


@contextmanager
def compute_in_double() -> Iterator[None]:
    """Let the operations of a model take numbers in double precision, too."""
    given = config.floatx()
    config.set_floatx("float64")
    try:
        yield
    finally:
        config.set_floatx(given)
