"""Layer: what every layer has in common, whatever it computes."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import Parameter, UninitializedParameter

from .. import _dtype, initializers
from .._array import from_array, to_array
from .._check import problem
from .._registry import snake_case
from ._config import Configured

Shape = tuple[int, ...]
Callback = Callable[[Tensor], Tensor]

_counters: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


def _as_is(tensor: Tensor) -> Tensor:
    return tensor


class Role(NamedTuple):
    """What one parameter is to Keras.

    Attributes:
        parameter: The parameter's name in PyTorch: "weight".
        name: Keras's name: "kernel".
        initializer: The layer's attribute that holds the initializer.
        regularizer: The layer's attribute that holds the regularizer.
        constraint: The layer's attribute that holds the constraint; None where there is none.
        view: Views a tensor in PyTorch's order of axes in Keras's order.
        empty: Makes an unfilled tensor of a shape in PyTorch's order.
        dtype: The type it has whatever the layer's policy; None where the policy decides.
    """

    parameter: str
    name: str
    initializer: str
    regularizer: str
    constraint: str | None
    view: Callback = _as_is
    empty: Callable[..., Tensor] = torch.empty
    dtype: torch.dtype | None = None


class Variable(NamedTuple):
    """One weight of a built layer as Keras sees it.

    Attributes:
        name: Keras's name: "kernel".
        parameter: The parameter itself.
        value: The view of it in Keras's order; what is written to it reaches the parameter.
        regularizer: What adds a loss term for it, or None.
        constraint: What projects it after an optimizer step, or None.
    """

    name: str
    parameter: Tensor
    value: Tensor
    regularizer: Callback | None
    constraint: Callback | None


class Layer(Configured, LazyModuleMixin, nn.Module):
    """A Keras layer as a PyTorch module, built lazily as torch's own Lazy modules are.

    A subclass lists its weights in `roles`, registers them in its constructor with
    `_register_weights`, and says what shapes an input gives them in `_shapes_for`.

    Args:
        name: The layer's name; by default Keras's automatic one, "conv2d", "conv2d_1", ...
        dtype: The dtype policy; by default `kerastorch.config.floatx()`.
        trainable: Whether the weights require gradients.
        autocast: Whether floating inputs are cast to the layer's compute dtype.
        activity_regularizer: What adds a loss term for the output.
        **unknown: Refused.

    Raises:
        ValueError: an argument is refused, or there is none of that name.
    """

    cls_to_become = None
    roles: ClassVar[tuple[Role, ...]] = ()

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        activity_regularizer: Any = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        for argument, value in unknown.items():
            remedy = f"It takes {', '.join(self.arguments())}."
            raise ValueError(problem(owner, argument, "an argument it knows", value, remedy))
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(problem(owner, "name", "a string without '/'", name))
        if not isinstance(trainable, bool):
            raise ValueError(problem(owner, "trainable", "True or False", trainable))
        self._policy = _dtype.policy(owner, dtype)
        self._trainable = trainable
        self._activity_losses: list[Tensor] = []
        self.autocast = autocast
        self.activity_regularizer = activity_regularizer
        self.name = _automatic_name(owner) if name is None else name

    # Building

    @property
    def built(self) -> bool:
        """Whether the weights have their shapes."""
        return not self.has_uninitialized_params()

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
            self._build(self._as_tensor(inputs).shape)

    def reset_parameters(self) -> None:
        """Draw new initial values for all weights, in place; a layer not built yet stays so."""
        if self.built:
            shapes = {name: tuple(p.shape) for name, p in self._parameters.items() if p is not None}
            values = self._initial_values(shapes)
            with torch.no_grad():
                for name, value in values.items():
                    getattr(self, name).copy_(value)

    def _shapes_for(self, input_shape: Sequence[int | None]) -> dict[str, Shape]:
        """Return each parameter's shape in PyTorch's order, or raise if the input is refused."""
        raise NotImplementedError

    def _input_shape_for(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        """Return the input shape that leads to these parameter shapes, or None if none does."""
        raise NotImplementedError

    def _has(self, role: Role) -> bool:
        """Return whether a layer with these arguments has the weight."""
        return True

    def _register_weights(self, device: torch.device | str | int | None) -> None:
        """Register the parameters of all roles uninitialized; None for those the layer lacks."""
        own = _dtype.torch_dtype(self._policy.variable_dtype)
        for role in self.roles:
            parameter: Any = None
            if self._has(role):
                trained = self._trainable and not self._frozen(role)
                parameter = _uninitialized(trained, device, role.dtype or own)
            self.register_parameter(role.parameter, parameter)

    def _frozen(self, role: Role) -> bool:
        """Return whether the weight is not trained although the layer is trainable."""
        return False

    def _build(self, input_shape: Sequence[int | None]) -> None:
        """Give every weight that has none yet its shape and its initial value."""
        shapes = {
            name: shape
            for name, shape in self._shapes_for(input_shape).items()
            if isinstance(self._parameters[name], UninitializedParameter)
        }
        with torch.inference_mode(False):  # weights that a first call there makes can be trained
            self._materialize(self._initial_values(shapes))

    def _end_laziness(self) -> None:
        """Remove the hooks of LazyModuleMixin, as its own first forward does."""
        for hook in ("_initialize_hook", "_load_hook"):
            getattr(self, hook).remove()
            delattr(self, hook)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Keep unbuilt weights unbuilt where nn.Module would make empty ones: on "meta"."""
        unbuilt = [n for n, p in self._parameters.items() if isinstance(p, UninitializedParameter)]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in unbuilt:
            parameter: Any = self._parameters[name]
            if not isinstance(parameter, UninitializedParameter):
                kept = _uninitialized(parameter.requires_grad, parameter.device, parameter.dtype)
                self._parameters[name] = kept
        return self

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
        first = next(self.parameters())
        dtype = (role.dtype or first.dtype) if own is None else own.dtype
        return role.empty(shape, dtype=dtype, device=first.device)

    def _fill(self, role: Role, view: Tensor) -> None:
        """Let the role's initializer fill a tensor in Keras's order."""
        initializer = getattr(self, role.initializer) or initializers.GlorotUniform()
        with torch.no_grad(), view.device:
            value = initializer(tuple(view.shape), dtype=_dtype.name_of(view.dtype))
            found = value if isinstance(value, Tensor) else from_array(value)
            if found is None or found.shape != view.shape:
                rule = f"a callable that returns an array of the shape {tuple(view.shape)}"
                shown = value if found is None else tuple(found.shape)
                self._refuse(role.initializer, rule, initializer, returned=shown)
            view.copy_(found)

    def _materialize(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            parameter = getattr(self, name)
            if isinstance(parameter, UninitializedParameter):
                parameter.materialize(value.shape)
                parameter.data = value

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
            for name, parameter in self._parameters.items()
            if isinstance(parameter, UninitializedParameter) and prefix + name in state_dict
        }
        if not found or any(isinstance(p, UninitializedParameter) for p in found.values()):
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

    def _replicate_for_data_parallel(self) -> Any:
        # The mixin refuses even when built, since the class stays a lazy one.
        refusing: Any = nn.Module if self.built else LazyModuleMixin
        return refusing._replicate_for_data_parallel(self)

    # Weights

    @property
    def variables(self) -> list[Variable]:
        """The weights as Keras sees them, in its order; none before the layer is built."""
        if not self.built:
            return []
        found = ((role, getattr(self, role.parameter)) for role in self.roles)
        return [
            Variable(
                role.name,
                parameter,
                role.view(parameter),
                getattr(self, role.regularizer),
                None if role.constraint is None else getattr(self, role.constraint),
            )
            for role, parameter in found
            if parameter is not None
        ]

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
        """Whether the weights are trained; setting it sets `requires_grad` of them all."""
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

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Return copies of all weights as arrays in Keras's order of axes; bfloat16 as float32."""
        return [to_array(variable.value) for variable in self.variables]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy arrays into the weights, all of them or none.

        Args:
            weights: Arrays or tensors as `get_weights` and Keras's `get_weights` give them.

        Raises:
            ValueError: their number or a shape differs, or one is no array of real numbers.
        """
        variables = self.variables
        expected = [(v.name, tuple(v.value.shape)) for v in variables]
        if isinstance(weights, (str, Tensor)) or not isinstance(weights, Iterable):
            self._refuse("weights", f"a list of arrays for {expected}", weights)
        given = [from_array(value) for value in weights]
        shapes = [None if value is None else tuple(value.shape) for value in given]
        if shapes != [shape for _, shape in expected]:
            remedy = "" if self.built else "Build the layer first: `layer.build(input_shape)`."
            self._refuse("weights", f"a list of arrays for {expected}", shapes, remedy)
        views = [self._writable(variable) for variable in variables]
        with torch.no_grad():
            for view, value in zip(views, given, strict=True):
                view.copy_(value)  # type: ignore[arg-type]

    def _writable(self, variable: Variable) -> Tensor:
        """Return the view of a variable to write to, or raise where writing would be lost."""
        if not isinstance(variable.parameter, Parameter):
            remedy = "Remove the parametrization, the pruning or the spectral or weight norm first."
            rule = "a parameter of its own, not one computed from others"
            self._refuse(variable.name, rule, type(variable.parameter), remedy)
        return variable.value

    # Types of numbers

    @property
    def dtype_policy(self) -> _dtype.DTypePolicy:
        """The dtype policy; after `.half()`, `.double()` and the like, the weights' own type."""
        found = next((p.dtype for p in self._parameters.values() if p is not None), None)
        if found is None or _dtype.name_of(found) == self._policy.variable_dtype:
            return self._policy
        return _dtype.DTypePolicy(_dtype.name_of(found))

    @property
    def dtype(self) -> str:
        """The name of the weights' type."""
        return self.dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """The same as `dtype`."""
        return self.dtype

    @property
    def compute_dtype(self) -> str:
        """The name of the type that the layer computes in."""
        return self.dtype_policy.compute_dtype

    def _as_tensor(self, inputs: Any) -> Tensor:
        """Return the inputs as a tensor; arrays go to the weights' device."""
        if isinstance(inputs, Tensor):
            return inputs
        found = from_array(inputs) if hasattr(inputs, "__array__") else None
        if found is None:
            self._refuse("inputs", "a tensor or an array of real numbers", inputs)
        return found.to(next(self.parameters()).device)

    def _cast(self, x: Tensor, weights: torch.dtype) -> tuple[Tensor, torch.dtype]:
        """Return an input in the type to compute in, and the type that weights are to have.

        That is the weights' own type, or a mixed policy's lower one while they are float32.
        """
        if x.is_complex():
            self._refuse("inputs", "a tensor of real numbers", x.dtype)
        if x.is_floating_point():
            if not self.autocast:
                return x, weights
            if x.dtype is not torch.float64 and _under_autocast(x.device.type):
                return x, weights  # torch decides
        policy = self.dtype_policy if self.autocast else _dtype.DTypePolicy(_dtype.name_of(weights))
        compute = _dtype.torch_dtype(policy.compute_dtype)
        return x.to(compute), compute

    # Losses

    @property
    def losses(self) -> list[Tensor]:
        """Keras's loss terms: of the last call's output, then of each trainable weight."""
        activity = [] if self.activity_regularizer is None else self._activity_losses
        return [
            *activity,
            *(
                variable.regularizer(variable.value)
                for variable in self.variables
                if variable.regularizer is not None
                and self._trainable
                and variable.parameter.requires_grad
            ),
        ]

    def _record_activity(self, outputs: Tensor) -> None:
        """Replace the activity term by that of a new output, divided by the batch size."""
        term = self.activity_regularizer(outputs)
        batch = outputs.shape[0]
        self._activity_losses[:] = [term / batch if batch else torch.zeros_like(term)]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the activity terms out of copies: they belong to this layer's last call."""
        return {**self.__dict__, "_activity_losses": []}

    # Errors

    def _refuse(
        self, argument: str, rule: str, value: object, remedy: str = "", **related: object
    ) -> NoReturn:
        raise ValueError(problem(type(self).__name__, argument, rule, value, remedy, **related))

    def _require_built(self, wanted: str) -> None:
        if not self.built:
            remedy = "Call it on a batch first, or `layer.build(input_shape)`."
            self._refuse(wanted, "asked of a built layer", self, remedy)


def _under_autocast(device: str) -> bool:
    available = torch.amp.autocast_mode.is_autocast_available(device)  # not on "meta"
    return available and torch.is_autocast_enabled(device)


def _uninitialized(requires_grad: bool, device: Any, dtype: torch.dtype) -> Any:
    make: Any = UninitializedParameter  # torch's annotations give it Parameter's constructor
    return make(requires_grad, device, dtype)


def _automatic_name(class_name: str) -> str:
    """Return Keras's automatic name: the class in snake_case, numbered from the second on."""
    base = snake_case(class_name)
    count = next(_counters[base])
    return f"{base}_{count}" if count else base
