"""What the weights of a layer are to Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer

Shape = tuple[int, ...]


Callback = Callable[[Tensor], Tensor]


def _as_is(tensor: Tensor) -> Tensor:
    return tensor


class Role(NamedTuple):
    """What one parameter or buffer is to Keras.

    Attributes:
        parameter: The parameter's name in PyTorch: "weight".
        name: Keras's name: "kernel".
        initializer: The layer's attribute that holds the initializer.
        regularizer: The layer's attribute that holds the regularizer; None where there is none.
        constraint: The layer's attribute that holds the constraint; None where there is none.
        view: Views a tensor in PyTorch's order of axes in Keras's order.
        empty: Makes an unfilled tensor of a shape in PyTorch's order.
        dtype: The type it has whatever the layer's policy; None where the policy decides.
        buffer: Whether it is a buffer, such as a moving mean, and not a parameter.
        when: The layer's attribute that says whether it has the weight; None where it always has.
    """

    parameter: str
    name: str
    initializer: str
    regularizer: str | None = None
    constraint: str | None = None
    view: Callback = _as_is
    empty: Callable[..., Tensor] = torch.empty
    dtype: torch.dtype | None = None
    buffer: bool = False
    when: str | None = None


class LazyBuffer(UninitializedBuffer):
    """An uninitialized buffer that can be copied, as torch's uninitialized parameters can."""

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyBuffer:
        """Return another one of the same type and device."""
        if id(self) not in memo:
            make: Any = type(self)
            memo[id(self)] = make(False, self.data.device, self.data.dtype)
        copied: LazyBuffer = memo[id(self)]
        return copied
