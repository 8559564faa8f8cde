"""The layer of InceptionResNetV2: CustomScaleLayer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..._core.registry import APPLICATIONS, keras_layer
from ..base.stateless import StatelessLayer
from ..base.weights import Sizes

__all__: list[str] = []


@keras_layer(package=APPLICATIONS)
class CustomScaleLayer(StatelessLayer):
    """Adds `scale` times the second of two tensors to the first.

    Same as the class of that name in `keras.applications.inception_resnet_v2` for two tensors of
    one shape; integers and booleans are cast to the layer's compute dtype.

    Args:
        scale: The factor.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input: a list of two tensors of one shape.
        - Output: that shape.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> CustomScaleLayer(0.5)([torch.tensor([1.0]), torch.tensor([4.0])]).tolist()
        [3.0]
    """

    compute_layout = "any"
    takes_list = True
    overwrites_input = True
    returns_new_tensor = True
    _gradient_needs_output = False
    _casts_integers = True

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(scale, (int, float)):
            self._refuse_argument("scale", "a number", scale)
        self.scale = scale

    def _check_pair(self, argument: str, value: Any, of: str) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            self._refuse_argument(argument, f"a list of 2 {of}", value)
        return value

    def _check_shape(self, shape: Any, argument: str = "input_shape", batch: bool = True) -> Any:
        shapes = self._check_pair(argument, shape, "shapes")
        if not all(isinstance(one, (list, tuple)) for one in shapes):
            self._refuse_argument(argument, "a list of shapes", shape)
        check = super()._check_shape
        return [check(one, argument, batch) for one in shapes]

    def _prepare_input(self, inputs: Any) -> list[Tensor]:
        prepare = super()._prepare_input
        return [prepare(x) for x in self._check_pair("inputs", inputs, "tensors")]

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        first, second = (tuple(one) for one in shape)
        sizes = zip(first, second, strict=False)
        if len(first) != len(second) or any(
            a is not None and b is not None and a != b for a, b in sizes
        ):
            self._refuse_argument(argument, "of one shape", [first, second])
        return tuple(b if a is None else a for a, b in zip(first, second, strict=True))

    def _compute(self, x: list[Tensor], *, inplace: int | None = None) -> Tensor:
        first, second = x
        if first.shape != second.shape:
            self._output_shape([first.shape, second.shape], "inputs")
        if inplace == 0:
            return first.add_(second, alpha=self.scale)
        if inplace == 1:
            return second.mul_(self.scale).add_(first)
        return torch.add(first, second, alpha=self.scale)
