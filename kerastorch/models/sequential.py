"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..graph.shapes import Shape, complete_shape
from ..layers.base.layer import Layer
from ..layers.core.input import InputLayer
from .base import Model as Model
from .calls import CallPlan, plan_sequential
from .inputs import Input
from .shape_inference import Shapes, fill_sequential


class Sequential(Model):
    """A model whose layers are called one after the other; see `Model`."""

    def _make_plan(self, layers: Mapping[str, Any]) -> tuple[CallPlan, tuple[Input, ...]]:
        called = {n: layer for n, layer in layers.items() if not isinstance(layer, InputLayer)}
        inputs: tuple[Input, ...] = ()
        first = next(iter(layers.values()), None)
        if isinstance(first, InputLayer):
            inputs = (Input.of(first, sized=False),)
        elif isinstance(first, Layer):  # Keras then makes an input of the layer's compute dtype
            inputs = (Input("inputs", getattr(torch, first.compute_dtype), None),)
        return plan_sequential(self._attributes, called), inputs

    def forward(
        self, inputs: Any, mask: Any = None, *, output_masks: list[Any] | None = None
    ) -> Any:
        """Compute the last layer's output; see `Model.forward`."""
        # Its own code, since torch.compile makes sizes dynamic that differ between the calls of one
        # function, whatever the model.
        return super().forward(inputs, mask, output_masks=output_masks)

    def _fill_shapes(self, given: Any, found: Shapes) -> None:
        declared = self._inputs[0].shape if self._inputs else None
        if declared is not None:
            given = complete_shape(given, Shape(declared))
        fill_sequential(found, given)
