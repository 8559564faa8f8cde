"""Model: the base class of Sequential and Functional."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, NoReturn, cast

import torch
from torch import Tensor, nn

from .._core.errors import argument_error
from .._core.scripting import NotScriptable
from ..graph.attribute_names import name_attributes
from ..graph.shapes import UNKNOWN, iterate_shapes, to_shapes
from ..graph.slots import Slot, fill_slots
from ..graph.spec import ModelSpec
from ..layers.base.layer import Layer
from ..layers.base.owner import list_losses
from .calls import CONSTANT, CallPlan, ModuleCall, call_module, has_mask
from .error_context import add_layer_context, make_missing_layer_error
from .inputs import Input, store_inputs
from .lowering import Lowering, ValueFacts
from .masks import Masks, creates_mask, get_masks, list_input_masks
from .program import Program, select_mode
from .shape_inference import Shapes, build_layers
from .summary import format_summary

is_compiling = torch.compiler.is_dynamo_compiling


class Model(NotScriptable, nn.Module):
    """A model rebuilt from its config, `Sequential` or `Functional`.

    Its layers are attributes under their Keras names: `model.conv1`. In a name that no attribute
    can have, each "." becomes "_", an empty name becomes "_", and "_" is appended until the name
    is free. `layers` has the original names.

    `.train()` and `.eval()` set Keras's argument `training`, except for layers that a model of
    Keras 2 calls with a fixed `training`.

    Args:
        spec: The model's config.
        layers: The modules by layer name, in the order of the config.
        modes: Layer -> the fixed training mode.

    Attributes:
        spec: The model's config.
        name: The model's name.

    Raises:
        ValueError: a layer does not accept its input shape.
    """

    call_arguments: ClassVar[tuple[str, ...]] = ("mask",)
    first_argument: ClassVar[str] = "inputs"
    carries_masks: ClassVar[bool] = True

    def __init__(
        self,
        spec: ModelSpec,
        layers: Mapping[str, nn.Module],
        modes: Mapping[str, bool] | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.name = spec.name
        self._given: Any = UNKNOWN  # the first input shape passed to compute_output_shape
        self._trainable = spec.trainable
        self._custom: Mapping[str, Any] = {}  # by name
        self._originals: Mapping[str, nn.Module] = {}
        self._inputs: tuple[Input, ...] = ()
        self._modes: tuple[tuple[str, bool], ...] = ()
        self._plan: Any = None  # the CallPlan, never changed after the constructor
        self._program: Any = None
        self._has_masks = False  # whether calls have masks of their own
        self._attributes: dict[str, str] = {}  # layer name -> attribute
        self._attributes = name_attributes(layers, {*vars(self), *dir(type(self))}, CONSTANT)
        for name, layer in layers.items():
            self.add_module(self._attributes[name], layer)
        self._keep_originals(())
        self._modes = tuple((self._attributes[name], mode) for name, mode in (modes or {}).items())
        self.train(self.training)
        self._plan, self._inputs = self._make_plan(layers)
        self._has_masks = any(has_mask(call) for call in self._plan.calls)
        for _, name, tensor in self._plan.constants:
            self.register_buffer(name, tensor.clone(), persistent=False)
        if self._declares:
            self._infer_shapes(UNKNOWN)
        self._lower()

    def _make_plan(self, layers: Mapping[str, Any]) -> tuple[CallPlan, tuple[Input, ...]]:
        """Return what a run computes, and the inputs in the order of their slots."""
        raise NotImplementedError

    def forward(
        self, inputs: Any, mask: Any = None, *, output_masks: list[Any] | None = None
    ) -> Any:
        """Compute the outputs.

        Args:
            inputs: A tensor or array, or a structure of them as for Keras's model: a list in the
                order of the inputs, or a dict by name.
            mask: The mask (batch, steps) of the input, or a mask or None for each, in their order.
            output_masks: A list to which the masks of the outputs are appended, as one structure.

        Returns:
            The outputs in the structure of Keras's model.

        Raises:
            ValueError: the structure, an input or a layer's input is not accepted.
        """
        size, template, constants, _, outputs = self._plan
        # torch 2.6 cannot compile `[None] * size`.
        values: list[Any] = [None for _ in range(2 * size)]
        if not self._inputs:  # the first module is a user's
            values[0] = inputs
        elif isinstance(template, Slot) and isinstance(inputs, Tensor):
            values[0] = self._inputs[0].standard(inputs, self)
        else:
            store_inputs(self, template, inputs, values)
        for slot, name, _ in constants:
            values[slot] = self._buffers[name]
        masks = {} if mask is None else list_input_masks(self, mask)
        self._run(values, masks)
        if output_masks is not None:
            output_masks.append(get_masks(outputs, masks))
        return values[outputs.index] if isinstance(outputs, Slot) else fill_slots(outputs, values)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Compute the masks of the outputs; this runs the model. The arguments are `forward`'s."""
        found: list[Any] = []
        self.__call__(inputs, mask, output_masks=found)
        return found[0]

    @property
    def creates_mask(self) -> bool:
        """Whether a layer inside creates a mask, as `Embedding` does, or is called with one."""
        return self._has_masks or any(creates_mask(module) for module in self.layers.values())

    def reset_states(self) -> None:
        """Set the states of all layers with `stateful=True` to zero."""
        for module in self.modules():
            if isinstance(module, Layer) and getattr(module, "stateful", False):
                cast(Any, module).reset_states()

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The layers by Keras name in Keras's order, without deleted ones and those set to None."""
        found = ((name, self._modules.get(own)) for name, own in self._attributes.items())
        return {name: module for name, module in found if module is not None}

    @property
    def input_shapes(self) -> dict[str, Any]:
        """The shape or shapes of each layer's first input, by name, batch included.

        They follow from the declared inputs, or from those first passed to `compute_output_shape`.
        Layers of unknown input shape are not listed.
        """
        return self._known_shapes(self._given)[0]

    @property
    def output_shapes(self) -> dict[str, Any]:
        """The same as `input_shapes`, for the outputs."""
        return self._known_shapes(self._given)[1]

    @property
    def trainable(self) -> bool:
        """Whether the weights are trainable; setting it sets it for all layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        for layer in self.layers.values():
            if isinstance(layer, (Layer, Model)):
                layer.trainable = value
            else:
                layer.requires_grad_(self._trainable)

    @property
    def losses(self) -> list[Tensor]:
        """Keras's losses of all layers: of each output in the last call, then of the weights."""
        return list_losses(self)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape, or a structure of them; None stays None.

        The output shape of a module that does not define it is UNKNOWN.

        Args:
            input_shape: A shape with the batch, or a structure of them like the model's inputs.

        Raises:
            ValueError: a layer does not accept such an input.
            AttributeError: a layer is missing.
        """
        for name in self._attributes.keys() - self.layers.keys() - {x.name for x in self._inputs}:
            raise make_missing_layer_error(self._title, name, self._attributes[name])
        given = to_shapes(input_shape)
        shapes = self._infer_shapes(given)
        if not self._declares and UNKNOWN in iterate_shapes(self._given):
            self._given = given
        return shapes.result

    def build(self, input_shape: Any) -> None:
        """Build the layers that are not built yet, for an input shape of the model.

        Raises:
            ValueError: a layer does not accept such an input.
        """
        build_layers(self.layers, self._infer_shapes(to_shapes(input_shape)).inputs)

    @property
    def _declares(self) -> bool:
        """Whether the model declares input shapes."""
        return any(one.shape is not None for one in self._inputs)

    def _infer_shapes(self, given: Any, strict: bool = True) -> Shapes:
        """Return the shapes of all values for a structure of the inputs' shapes."""
        found = Shapes(self.spec, self.layers, self._find_replaced(), strict)
        self._fill_shapes(given, found)
        return found

    def _fill_shapes(self, given: Any, found: Shapes) -> None:
        """Record the shapes of all values, for those of the inputs."""
        raise NotImplementedError

    def _find_replaced(self) -> set[str]:
        """Return the names of the layers that are missing or not the original ones."""
        kept = {n for n, layer in self.layers.items() if self._originals.get(n) is layer}
        return self._attributes.keys() - kept

    def _known_shapes(self, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the known shapes of the layers' inputs and outputs, for those of the model."""
        if given is None and not self._declares:
            return {}, {}
        try:
            shapes = self._infer_shapes(UNKNOWN if given is None else given, strict=False)
        except ValueError:  # the model does not accept such an input
            return {}, {}
        inputs, outputs = (
            {name: shape for name, shape in found.items() if UNKNOWN not in iterate_shapes(shape)}
            for found in (shapes.inputs, shapes.outputs)
        )
        return inputs, outputs

    def train(self, mode: bool = True) -> Model:
        """Set the mode of all layers except those with a fixed mode."""
        super().train(mode)
        modules: dict[str, Any] = self._modules
        for attribute, fixed in self._modes:
            if modules.get(attribute) is not None:
                modules[attribute].train(fixed)
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Convert the inputs' dtypes as the layers', and refill constants that leave "meta"."""
        buffers: Any = self._buffers
        on_meta = [one for one in self._plan.constants if buffers[one[1]].is_meta]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for _, name, tensor in on_meta:
            if not buffers[name].is_meta:
                buffers[name].copy_(tensor)
        self._inputs = tuple(
            one._replace(dtype=fn(torch.empty(0, dtype=one.dtype)).dtype) for one in self._inputs
        )
        self._lower()
        return self

    def _lower(self) -> Program:
        """Make the program for the current layers."""
        inputs = [
            None if one.shape is None or one.optional else ValueFacts(len(one.shape), one.dtype)
            for one in self._inputs
        ]
        self._program = program = Lowering(self._plan, self._modules, inputs).make_program()
        return program

    def _run(self, values: list[Any], masks: Masks) -> None:
        """Compute all values and masks in place from the inputs and constants in their slots."""
        calls = self._plan.calls
        numbers: Iterable[int] = range(len(calls))
        mode = select_mode(values[: len(self._inputs) or 1])
        if mode is not None and not masks and self._is_lowered():
            program = self._program
            failed = program.run(values, self._modules, mode, partial(self._call, masks=masks))
            if failed is None:
                return
            numbers = (*program.restore(values, failed), *range(failed, len(calls)))
        for number in numbers:
            self._call(calls[number], values, masks)
            for slot in calls[number].dead:
                values[slot] = None

    def _is_lowered(self) -> bool:
        """Return whether there is a program for the current layers; make it after a change."""
        if not self._program.is_current(self._modules) and (
            is_compiling() or not self._lower().is_current(self._modules)  # not built yet
        ):
            return False
        return bool(self._program.instructions)

    def _call(self, call: ModuleCall, values: list[Any], masks: Masks) -> None:
        """Make a plain call; add the model and the layer to the message of an error."""
        try:
            call_module(call, self._modules, values, masks)
        except Exception as error:
            if is_compiling():  # the compiler cannot trace a change of an error
                raise
            module = self._modules.get(call.attribute)
            name = next(n for n, own in self._attributes.items() if own == call.attribute)
            if module is None:
                raise make_missing_layer_error(self._title, name, call.attribute) from None
            nested = module._title if isinstance(module, Model) else None
            add_layer_context(error, self._title, name, nested)
            raise

    @property
    def _title(self) -> str:
        return f"{type(self).__name__} {self.name!r}"

    def _refuse_argument(
        self, argument: str, rule: str, value: object, remedy: str = ""
    ) -> NoReturn:
        raise ValueError(argument_error(self._title, argument, rule, value, remedy))

    def __repr__(self) -> str:
        """Return a table of the layers."""
        return format_summary(self, Model)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what may not be picklable."""
        replaced = self._find_replaced()
        return {**self.__dict__, "_originals": replaced, "_custom": {}, "_program": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the copied layers for the originals, except those that replaced one."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._keep_originals(state["_originals"])
        self._lower()

    def _keep_originals(self, replaced: Collection[str]) -> None:
        layers = self.layers.items()
        kept = {name: layer for name, layer in layers if name not in replaced}
        self._originals = weakref.WeakValueDictionary(kept)  # frees modules once replaced
