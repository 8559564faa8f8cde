"""The modules of torch.nn that pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from ..._core.arguments import as_positive_ints
from ..._core.errors import argument_error
from ..._ops.window_arithmetic import Integers
from ..base.torch_conversion import (
    TorchCounterpart,
    compute_padding,
    make_pad,
    read_padding,
    require_values,
)

_WITHOUT_PADDING = {"count_include_pad": False}  # Keras's averages


class PoolingCounterpart(TorchCounterpart):
    """The conversion of a pooling over windows."""

    torch_only: ClassVar[Mapping[str, Any]] = {
        "ceil_mode": False,
        "return_indices": False,
        "dilation": 1,
        "divisor_override": None,
    }
    rank: ClassVar[int]
    pool_size: Integers
    strides: Integers
    padding: str

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        super()._read_module(owner, module)
        found = {"kernel_size": module.kernel_size, "stride": module.stride}
        size, strides = (
            as_positive_ints(owner, f"module.{name}", value, cls.rank)
            for name, value in found.items()
        )
        padding = read_padding(owner, module, size, strides, (1,) * cls.rank)
        if padding == "same":
            require_values(owner, "module.", module, _WITHOUT_PADDING, "Keras")
        return {"pool_size": size, "strides": strides, "padding": padding}

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        kind, padding = self._find_torch_class(), self.padding.lower()
        is_max = self.torch_name.startswith("Max")
        window = self.pool_size, self.strides, (1,) * self.rank
        sides = compute_padding(owner, padding, window, input_size)
        options: dict[str, Any] = {} if is_max or padding == "valid" else _WITHOUT_PADDING
        if all(before == after for before, after in sides):
            amounts = tuple(after for _, after in sides)
            return [kind(self.pool_size, self.strides, amounts, **options)]
        if not is_max:
            rule, remedy = "'valid' or even on both sides", "Pad and count the positions yourself."
            related = {"pool_size": self.pool_size, "input_size": input_size, "sides": sides}
            raise ValueError(
                argument_error(owner, "padding", rule, self.padding, remedy, **related)
            )
        return [make_pad(sides, -math.inf), kind(self.pool_size, self.strides)]


class GlobalPoolingCounterpart(TorchCounterpart):
    """The conversion of a pooling over all spatial axes."""

    torch_only: ClassVar[Mapping[str, Any]] = {"output_size": 1, "return_indices": False}
    keepdims: bool

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        steps: Any = module if isinstance(module, nn.Sequential) else ()
        flattens = len(steps) == 2 and isinstance(steps[1], nn.Flatten)
        flattens = flattens and (steps[1].start_dim, steps[1].end_dim) == (1, -1)
        super()._read_module(owner, steps[0] if flattens else module)
        return {"keepdims": not flattens}

    def _make_modules(self, owner: str, input_size: Any) -> list[nn.Module]:
        kind = self._find_torch_class()
        return [kind(1)] if self.keepdims else [kind(1), nn.Flatten()]
