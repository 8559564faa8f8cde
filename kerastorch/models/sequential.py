"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..graph.shapes import UNKNOWN, Shape, complete_shape
from ..graph.spec import ModelSpec
from ..layers.base.layer import Layer
from ..layers.core.input import InputLayer
from .base import Model as Model
from .calls import plan_sequential
from .inputs import Input
from .shape_inference import Shapes, fill_sequential


class Sequential(Model):
    """A model whose layers are called one after the other; see `Model`."""

    def __init__(
        self,
        spec: ModelSpec,
        layers: Mapping[str, nn.Module],
        modes: Mapping[str, bool] | None = None,
    ) -> None:
        super().__init__(spec, layers, modes)
        called = {n: layer for n, layer in layers.items() if not isinstance(layer, InputLayer)}
        self._plan = plan_sequential(self._attributes, called)
        first = next(iter(layers.values()), None)
        if isinstance(first, InputLayer):
            self._inputs = (Input.of(first, sized=False),)
            self._infer_shapes(UNKNOWN)
        elif isinstance(first, Layer):  # Keras then makes an input of the layer's compute dtype
            self._inputs = (Input("inputs", getattr(torch, first.compute_dtype), None),)
        self._lower()

    def _fill_shapes(self, given: Any, found: Shapes) -> None:
        declared = self._inputs[0].shape if self._inputs else None
        if declared is not None:
            given = complete_shape(given, Shape(declared))
        fill_sequential(found, self.spec, given)

    def forward(self, inputs: Any) -> Any:
        """Compute the output.

        Args:
            inputs: A tensor or array, also as a list of one, or a dict by the input's name.

        Returns:
            The last layer's output.

        Raises:
            ValueError: the model, or a layer, does not accept such an input.
        """
        x = inputs
        if self._inputs:
            one = self._inputs[0]
            if isinstance(x, dict) and set(x) == {one.name}:
                x = x[one.name]
            elif isinstance(x, (list, tuple)) and len(x) == 1:
                x = x[0]
            if one.shape is not None or not isinstance(x, (list, tuple, dict)):
                x = self._prepare_input(x, one)
        plan: Any = self._plan  # never changed after the constructor
        # torch 2.6 cannot compile `[None] * size`.
        values: list[Any] = [None for _ in range(2 * plan.size)]
        values[0] = x
        self._run(values)
        return values[plan.outputs.index]
