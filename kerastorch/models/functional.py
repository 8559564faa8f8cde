"""Functional: Keras's graphs of layers as a PyTorch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..graph.shapes import UNKNOWN, Shape, complete_shape, iterate_shapes
from ..graph.slots import list_slots
from ..graph.spec import TensorRef, iterate_refs, map_refs
from .base import Model as Model
from .calls import CallPlan, plan_functional
from .inputs import Input
from .shape_inference import Shapes, fill_functional


class Functional(Model):
    """A model whose layers form a graph; see `Model`."""

    def _make_plan(self, layers: Mapping[str, Any]) -> tuple[CallPlan, tuple[Input, ...]]:
        refs: list[TensorRef] = []
        map_refs(self.spec.inputs, refs.append)  # in the order of the slots
        inputs = tuple(Input.of(layers[ref.layer], sized=True) for ref in refs)
        return plan_functional(self.spec, self._attributes, layers), inputs

    def _fill_shapes(self, given: Any, found: Shapes) -> None:
        refs = list(iterate_refs(self.spec.inputs))
        if given is UNKNOWN:
            given = [UNKNOWN for _ in refs]
        elif isinstance(given, dict) and not isinstance(self.spec.inputs, dict):
            given = [given.get(ref.layer, UNKNOWN) for ref in refs]
        shapes = list(iterate_shapes(given))
        if len(shapes) != len(refs):
            self._refuse_argument("input_shape", f"{len(refs)} shapes", given)
        slots = list_slots(self._plan.inputs)
        declared = [Shape(self._inputs[slot].shape or ()) for slot in slots]
        completed = map(complete_shape, shapes, declared)
        fill_functional(found, dict(zip(refs, completed, strict=True)))
