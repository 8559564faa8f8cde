"""LoRA: the written code has the kernels with their updates added."""

from __future__ import annotations

import torch

from ..layers.base.kernel import KernelLayer
from ..models.base import Model


@torch.no_grad()
def merge_lora(model: Model) -> Model:
    """Add the update of LoRA to the kernel of each layer of a model, in place; return the model.

    The sum is rounded to the dtype of the kernel once, as in the written code.
    """
    for module in model.modules():
        if isinstance(module, KernelLayer) and module.lora_enabled:
            module.weight.copy_(module._merged_weight())
            module.lora_kernel_b.zero_()
    return model
