"""The loaded model in double precision, to which written code is compared."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ... import config
from ...layers.base.kernel import KernelLayer
from ...models.base import Model


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


class _ConvertToDouble(TorchFunctionMode):
    """Converts to double precision where a model converts to a floating-point dtype."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _CONVERSIONS:
            return torch.Tensor.double(*args)
        kwargs = kwargs or {}
        if func in (torch.Tensor.to, torch.Tensor.mean):
            args = [_widen(one) for one in args]
            kwargs = {name: _widen(one) for name, one in kwargs.items()}
        return func(*args, **kwargs)


_CONVERSIONS = (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16)


def _widen(value: Any) -> Any:
    is_float = isinstance(value, torch.dtype) and value.is_floating_point
    return torch.float64 if is_float else value


@contextmanager
def compute_in_double() -> Iterator[None]:
    """Let models and written code take numbers, and convert, in double precision."""
    given = config.floatx()
    config.set_floatx("float64")
    try:
        with _ConvertToDouble():
            yield
    finally:
        config.set_floatx(given)
