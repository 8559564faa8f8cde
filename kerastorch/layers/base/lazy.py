"""Buildable: the weights of a layer, and when they get their shapes and first values."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from ... import dtype_policies, initializers
from ..._core import distributed
from ..._core.arrays import from_array
from ..._core.errors import problem
from ..._core.scripting import NotScriptable
from . import weights as weights_module
from .weights import LazyBuffer, Role, Shape, Variable


class Buildable(LazyModuleMixin, nn.Module):
    """A module that is built lazily as torch's own Lazy modules are, or by `build`.

    A subclass lists its weights in `roles`, registers them with `_register_weights` at the end of
    its constructor, and says what shapes an input gives them in `_shapes_for`.
    """

    cls_to_become = None
    __prepare_scriptable__ = NotScriptable.__prepare_scriptable__
    roles: ClassVar[tuple[Role, ...]] = ()
    _trainable: bool

    # What a subclass says

    def _shapes_for(
        self, input_shape: Sequence[int | None], argument: str = "input_shape"
    ) -> dict[str, Shape]:
        """Return each parameter's shape in PyTorch's order, or raise if the input is refused.

        Args:
            input_shape: The shape of the input, batch included.
            argument: What the caller gave it as, for the error message.
        """
        raise NotImplementedError

    def _input_shape_for(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        """Return the input shape that leads to these parameter shapes, or None if none does."""
        raise NotImplementedError

    def _as_tensor(self, inputs: Any) -> Tensor:
        """Return the inputs of a call as a tensor, or raise."""
        raise NotImplementedError

    def _has(self, role: Role) -> bool:
        """Return whether a layer with these arguments has the weight."""
        return role.when is None or bool(getattr(self, role.when))

    def _frozen(self, role: Role) -> bool:
        """Return whether the weight starts without gradients."""
        return not self._trainable

    # Weights

    @property
    def variables(self) -> list[Variable]:
        """The weights as Keras sees them, in its order; none before the layer is built."""
        if not self.built:
            return []
        found = ((role, self._tensor(role.parameter)) for role in self.roles)
        return [
            Variable(
                role.name,
                parameter,
                role.view(parameter),
                None if role.regularizer is None else getattr(self, role.regularizer),
                None if role.constraint is None else getattr(self, role.constraint),
            )
            for role, parameter in found
            if parameter is not None
        ]

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights that files have of a layer with this config."""
        defaults = {n: p.default for n, p in inspect.signature(cls).parameters.items()}
        return tuple(
            role.name
            for role in cls.roles
            if role.when is None or config.get(role.when, defaults.get(role.when))
        )

    @property
    def weights(self) -> list[Tensor]:
        """The parameters in Keras's order, each with its axes in PyTorch's."""
        return [variable.parameter for variable in self.variables]

    @property
    def trainable_weights(self) -> list[Tensor]:
        """The parameters that require gradients; none where `trainable` is False."""
        return [w for w in self.weights if self._trainable and w.requires_grad]

    @property
    def non_trainable_weights(self) -> list[Tensor]:
        """The other parameters."""
        return [w for w in self.weights if not (self._trainable and w.requires_grad)]

    @property
    def trainable(self) -> bool:
        """Whether the weights are trained; setting it sets `requires_grad`, LoRA's kernel's too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        for parameter in self.parameters():
            parameter.requires_grad = self._trainable

    def count_params(self) -> int:
        """Return the number of weights' elements.

        Raises:
            ValueError: the layer is not built.
        """
        self._require_built("count_params")
        return sum(weight.numel() for weight in self.weights)

    get_weights = weights_module.get_weights
    set_weights = weights_module.set_weights

    def _writable(self, variable: Variable) -> Tensor:
        """Return the view of a variable to write to, or raise where writing would be lost."""
        if not any(variable.parameter is tensor for tensor in self._tensors().values()):
            remedy = "Remove the parametrization, the pruning or the spectral or weight norm first."
            rule = "a parameter of its own, not one computed from others"
            self._refuse(variable.name, rule, type(variable.parameter), remedy)
        return variable.value

    # Building

    @property
    def built(self) -> bool:
        """Whether the weights have their shapes."""
        return not self._unbuilt()

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Give the weights their shapes and their initial values.

        Args:
            input_shape: The shape of the input, batch included; a size that is not known is None.

        Raises:
            ValueError: the layer is built already, or cannot take such an input.
        """
        if self.built:
            remedy = "Make a new layer, or draw new values with `reset_parameters()`."
            self._refuse("input_shape", "given to a layer not built yet", input_shape, remedy)
        self._build(input_shape)
        self._end_laziness()

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Build the layer from the arguments of its first call; torch's lazy hook calls this."""
        if not self.built:
            inputs = args[0] if args else kwargs.get("inputs")
            self._build(self._as_tensor(inputs).shape, "inputs")

    def reset_parameters(self) -> None:
        """Sample new initial values for all weights of a built layer, in place.

        Where `fully_shard` has split them, every process must sample with the same seed.
        """
        if self.built:
            distributed.settle(self, "reset_parameters")
            shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors().items()}
            values = self._initial_values(shapes)
            for name, value in values.items():
                distributed.write(getattr(self, name), value)

    def _register_weights(self, dtype: torch.dtype, device: Any) -> None:
        """Register what all roles name uninitialized; None for what the layer lacks."""
        for role in self.roles:
            register: Any = self.register_buffer if role.buffer else self.register_parameter
            trained = not role.buffer and not self._frozen(role)
            kind = role.dtype or dtype
            tensor = _uninitialized(role.buffer, trained, device, kind) if self._has(role) else None
            register(role.parameter, tensor)
        if self.built:
            self._end_laziness()

    def _tensors(self) -> dict[str, Tensor]:
        """Return the layer's own parameters and buffers by name."""
        named = itertools.chain(self._parameters.items(), self._buffers.items())
        return {name: tensor for name, tensor in named if tensor is not None}

    def _tensor(self, name: str) -> Any:
        """Return a parameter or buffer, None where the layer lacks it.

        It is found in less time than as an attribute; what is computed from others is only there.
        """
        if name in self._parameters:
            return self._parameters[name]
        return self._buffers[name] if name in self._buffers else getattr(self, name)

    def _unbuilt(self) -> dict[str, Any]:
        """Return the parameters and buffers that have no shape yet."""
        return {name: tensor for name, tensor in self._tensors().items() if _is_lazy(tensor)}

    def _build(self, input_shape: Sequence[int | None], argument: str = "input_shape") -> None:
        """Give every weight that has none yet its shape and its initial value."""
        unbuilt = self._unbuilt()
        shapes = self._shapes_for(input_shape, argument)
        shapes = {name: shape for name, shape in shapes.items() if name in unbuilt}
        with torch.inference_mode(False):  # weights that a first call there makes can be trained
            self._materialize(self._initial_values(shapes))

    def _end_laziness(self) -> None:
        """Remove the hooks of LazyModuleMixin, as its own first forward does."""
        for hook in ("_initialize_hook", "_load_hook"):
            getattr(self, hook).remove()
            delattr(self, hook)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Keep unbuilt weights unbuilt where nn.Module would make empty ones: on "meta"."""
        unbuilt = self._unbuilt()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in unbuilt.keys() - self._unbuilt().keys():
            self._make_unbuilt(name, getattr(self, name).dtype)
        return self

    def _make_unbuilt(self, name: str, dtype: torch.dtype) -> None:
        """Put an uninitialized tensor of a type in the place of a parameter or buffer."""
        place: dict[str, Any] = self._buffers if name in self._buffers else self._parameters
        old = place[name]
        place[name] = _uninitialized(place is self._buffers, old.requires_grad, old.device, dtype)

    def _initial_values(self, shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
        """Return a new tensor for each parameter that holds its initial value."""
        values = {}
        for role in self.roles:
            if role.parameter in shapes:
                value = self._empty(role, shapes[role.parameter])
                if not value.is_meta:
                    self._fill(role, role.view(value))
                values[role.parameter] = value
        return values

    def _empty(self, role: Role, shape: Shape) -> Tensor:
        own = getattr(self, role.parameter)
        first = next(iter(self._tensors().values()))
        dtype = (role.dtype or first.dtype) if own is None else own.dtype
        return role.empty(shape, dtype=dtype, device=first.device)

    def _fill(self, role: Role, view: Tensor) -> None:
        """Let the role's initializer fill a tensor in Keras's order."""
        initializer = getattr(self, role.initializer) or initializers.GlorotUniform()
        with torch.no_grad(), view.device:
            value = initializer(tuple(view.shape), dtype=dtype_policies.name_of(view.dtype))
            found = value if isinstance(value, Tensor) else from_array(value)
            if found is None or found.shape != view.shape:
                rule = f"a callable that returns an array of the shape {tuple(view.shape)}"
                shown = value if found is None else tuple(found.shape)
                self._refuse(role.initializer, rule, initializer, returned=shown)
            view.copy_(found)

    def _materialize(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._unbuilt().items():
            if name in values:
                tensor.materialize(values[name].shape)
                tensor.data = values[name]

    def _lazy_load_hook(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take the shapes from a state_dict that is being loaded into an unbuilt layer."""
        found = {
            name: state_dict[prefix + name]
            for name in self._unbuilt()
            if prefix + name in state_dict
        }
        if not found or any(map(_is_lazy, found.values())):
            return
        shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
        input_shape = self._input_shape_for(shapes)
        expected = {} if input_shape is None else self._shapes_for(input_shape)
        if any(expected.get(name) != shape for name, shape in shapes.items()):
            error_msgs.append(
                problem(type(self).__name__, "state_dict", f"for {self!r}", shapes, prefix=prefix)
            )
            return
        roles = {role.parameter: role for role in self.roles}
        absent = {name: shape for name, shape in expected.items() if name not in shapes}
        loaded = {name: self._empty(roles[name], shape) for name, shape in shapes.items()}
        self._materialize({**self._initial_values(absent), **loaded})

    def _become_built(self, values: Mapping[str, Tensor]) -> None:
        """Take tensors in PyTorch's order as all the weights that have no shape yet."""
        self._materialize(values)
        self._end_laziness()

    def _replicate_for_data_parallel(self) -> Any:
        # The mixin refuses even when built, since the class stays a lazy one.
        refusing: Any = nn.Module if self.built else LazyModuleMixin
        return refusing._replicate_for_data_parallel(self)

    def __getstate__(self) -> dict[str, Any]:
        """Keep the types of unbuilt weights, which pickling them forgets."""
        types = {name: tensor.dtype for name, tensor in self._unbuilt().items()}
        return {**self.__dict__, "_unbuilt_types": types}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the types of unbuilt weights."""
        types = state.pop("_unbuilt_types")
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for name, dtype in types.items():
            if getattr(self, name).dtype is not dtype:
                self._make_unbuilt(name, dtype)

    # Errors

    def _refuse(
        self, argument: str, rule: str, value: object, remedy: str = "", **related: object
    ) -> NoReturn:
        raise ValueError(problem(type(self).__name__, argument, rule, value, remedy, **related))

    def _require_built(self, wanted: str) -> None:
        if not self.built:
            remedy = "Call it on a batch first, or `layer.build(input_shape)`."
            owner = f"{type(self).__name__}.{wanted}"
            raise ValueError(problem(owner, "layer", "built", self, remedy))


def _is_lazy(tensor: Any) -> bool:
    """Return what torch's `is_lazy` does; that one breaks the graphs of `torch.compile`."""
    return isinstance(tensor, (UninitializedParameter, UninitializedBuffer))


def _uninitialized(buffer: bool, requires_grad: bool, device: Any, dtype: torch.dtype) -> Any:
    make: Any = LazyBuffer if buffer else UninitializedParameter
    return make(requires_grad, device, dtype)
