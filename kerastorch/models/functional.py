"""Functional: Keras's graphs of layers as a PyTorch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..graph.shapes import UNKNOWN, Shape, complete_shape, iterate_shapes
from ..graph.spec import ModelSpec, iterate_refs, map_refs
from .base import CONSTANT
from .base import Model as Model
from .calls import Slot, fill_slots, plan_functional
from .inputs import Input
from .shape_inference import Shapes, fill_functional


class Functional(Model):
    """A model whose layers form a graph; see `Model`."""

    def __init__(
        self,
        spec: ModelSpec,
        layers: Mapping[str, nn.Module],
        modes: Mapping[str, bool] | None = None,
    ) -> None:
        super().__init__(spec, layers, modes)
        plan = plan_functional(spec, self._attributes, layers)
        declared: list[Any] = [layers[ref.layer] for ref in _in_slots(spec.inputs)]
        self._inputs = tuple(Input.of(layer, sized=True) for layer in declared)
        self._plan = plan
        self._constants = tuple((slot, f"{CONSTANT}{slot}") for slot, _ in plan.constants)
        for slot, tensor in plan.constants:
            self.register_buffer(f"{CONSTANT}{slot}", tensor.clone(), persistent=False)
        self._infer_shapes(UNKNOWN)
        self._lower()

    def _fill_shapes(self, given: Any, found: Shapes) -> None:
        refs_in = list(iterate_refs(self.spec.inputs))
        if given is UNKNOWN:
            given = [UNKNOWN for _ in refs_in]
        elif isinstance(given, dict) and not isinstance(self.spec.inputs, dict):
            given = [given.get(ref.layer, UNKNOWN) for ref in refs_in]
        shapes = list(iterate_shapes(given))
        if len(shapes) != len(refs_in):
            self._refuse("input_shape", f"{len(refs_in)} shapes", given)
        slots = zip(_in_slots(self.spec.inputs), self._inputs, strict=True)
        declared = {ref: Shape(one.shape or ()) for ref, one in slots}
        own = {
            ref: complete_shape(s, declared[ref]) for ref, s in zip(refs_in, shapes, strict=True)
        }
        fill_functional(found, self.spec, own)

    def forward(self, inputs: Any) -> Any:
        """Compute the outputs.

        Args:
            inputs: A tensor or array, or a structure of them as for Keras's model: a list in the
                order of the inputs, or a dict by name.

        Returns:
            The outputs in the structure of Keras's model.

        Raises:
            ValueError: the structure, an input or a layer's input is not accepted.
        """
        plan: Any = self._plan  # never changed after the constructor
        size, template, _, _, outputs = plan
        values: list[Any] = [None for _ in range(2 * size)]
        if isinstance(template, Slot) and isinstance(inputs, Tensor):
            values[0] = self._inputs[0].standard(inputs, self)
        else:
            self._distribute(template, inputs, values)
        for slot, name in self._constants:
            values[slot] = self._buffers[name]
        self._run(values)
        return values[outputs.index] if isinstance(outputs, Slot) else fill_slots(outputs, values)

    def _distribute(self, template: Any, given: Any, values: list[Any]) -> None:
        """Store the inputs in their slots."""
        if isinstance(template, Slot):
            one = self._inputs[template.index]
            if isinstance(given, dict) and set(given) == {one.name}:
                given = given[one.name]
            elif isinstance(given, (list, tuple)) and len(given) == 1:
                given = given[0]
            values[template.index] = self._prepare_input(given, one)
        elif isinstance(template, dict):
            if len(template) == 1 and not isinstance(given, (list, tuple, dict)):
                given = dict.fromkeys(template, given)
            if not isinstance(given, dict) or set(given) != set(template):
                self._refuse("inputs", f"a dict of {self._input_names(template)}", _describe(given))
            for key, inner in template.items():
                self._distribute(inner, given[key], values)
        else:
            if isinstance(given, dict) and all(isinstance(inner, Slot) for inner in template):
                names = [self._inputs[inner.index].name for inner in template]
                if set(given) == set(names):
                    given = [given[name] for name in names]
            elif len(template) == 1 and not isinstance(given, (list, tuple)):
                given = [given]
            if not isinstance(given, (list, tuple)) or len(given) != len(template):
                self._refuse("inputs", f"a list of {self._input_names(template)}", _describe(given))
            for inner, value in zip(template, given, strict=True):
                self._distribute(inner, value, values)

    def _input_names(self, template: Any) -> Any:
        """Return the structure of the inputs' names."""
        if isinstance(template, Slot):
            return self._inputs[template.index].name
        if isinstance(template, dict):
            return {key: self._input_names(inner) for key, inner in template.items()}
        return [self._input_names(inner) for inner in template]


def _in_slots(inputs: Any) -> list[Any]:
    """Return the inputs in the order of their slots: that of the structure, dicts unsorted."""
    found: list[Any] = []
    map_refs(inputs, found.append)
    return found


def _describe(given: Any) -> Any:
    """Return a structure with the shapes of the tensors, for a message."""
    if isinstance(given, dict):
        return {key: _describe(inner) for key, inner in given.items()}
    if isinstance(given, (list, tuple)):
        return [_describe(inner) for inner in given]
    return tuple(given.shape) if hasattr(given, "shape") else given
