"""LazyLayer: the weights of a layer, and how they get their shapes and initial values."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from ... import dtype_policies, initializers
from ..._core import distributed
from ..._core.arrays import to_tensor
from ..._core.errors import argument_error
from ..._core.scripting import NotScriptable
from . import weights as weights_module
from .weights import Shape, WeightSpec, WeightView, is_lazy, make_uninitialized

_states = itertools.count(1)


class LazyLayer(LazyModuleMixin, nn.Module):
    """A module that is built by its first call, as torch's Lazy modules are, or by `build`."""

    cls_to_become = None
    __prepare_scriptable__ = NotScriptable.__prepare_scriptable__
    weight_specs: ClassVar[tuple[WeightSpec, ...]] = ()
    _trainable: bool
    _state: int  # another one after each change
    _policy: dtype_policies.DTypePolicy
    argument_namespaces: ClassVar[Mapping[str, Any]]
    _as_tensor: Any  # these three are methods of Layer
    _check_shape: Any
    _find_input_shape: Any

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        """Return each parameter's shape for an input shape, or raise an error for `argument`."""
        raise NotImplementedError

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        """Infer the input shape from parameter shapes; None if no input leads to them."""
        raise NotImplementedError

    def _uses_weight(self, spec: WeightSpec) -> bool:
        """Return whether the layer has the weight with its arguments."""
        return spec.is_on(lambda name: getattr(self, name))

    def _starts_frozen(self, spec: WeightSpec) -> bool:
        """Return whether the weight starts without gradients."""
        return not self._trainable

    # Weights

    @property
    def variables(self) -> list[WeightView]:
        """The weights as Keras sees them, in Keras's order; none before the layer is built."""
        if not self.built:
            return []
        found = ((s, self._tensor(s.parameter)) for s in self.weight_specs if s.in_keras)
        return [spec.view_weight(self, tensor) for spec, tensor in found if tensor is not None]

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights of a layer with this config."""
        defaults = {n: p.default for n, p in inspect.signature(cls).parameters.items()}
        given, specs = {**defaults, **config}, [s for s in cls.weight_specs if s.in_keras]
        return tuple(s.name for s in specs if s.is_on(given.get))

    @property
    def weights(self) -> list[Tensor]:
        """The parameters in Keras's order, with PyTorch's order of axes."""
        return [parameter for variable in self.variables for parameter in variable.parameters]

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
        """Return the number of elements of all weights.

        Raises:
            ValueError: The layer is not built.
        """
        self._require_built("count_params")
        return sum(weight.numel() for weight in self.weights)

    get_weights = weights_module.get_weights
    set_weights = weights_module.set_weights
    _require_writable = weights_module.require_writable
    _view_in_keras_order = weights_module.view_in_keras_order
    _to_torch_shape = weights_module.to_torch_shape

    # Building

    @property
    def built(self) -> bool:
        """Whether the weights have their shapes."""
        return not self._find_unbuilt()

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Give the weights their shapes and their initial values; without any, check the shape.

        Args:
            input_shape: The shape of the input, batch included; unknown sizes are None.

        Raises:
            ValueError: The layer is built already or does not accept such an input.
        """
        if self.built and any(map(self._uses_weight, self.weight_specs)):
            remedy = "Make a new layer, or sample new values with `reset_parameters()`."
            self._refuse_argument(
                "input_shape", "given to a layer not built yet", input_shape, remedy
            )
        self._build(input_shape)
        self._end_laziness()

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Build the layer from the arguments of its first call; torch's lazy hook calls this."""
        if not self.built:
            self._build(*self._find_input_shape(args, kwargs))

    def reset_parameters(self) -> None:
        """Sample new initial values for all weights of a built layer, in place.

        Where `fully_shard` has split them, every process must sample with the same seed.
        """
        if self.built:
            distributed.require_unsharded_view(self, "reset_parameters")
            shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors().items()}
            for name, value in self._make_initial_values(shapes).items():
                distributed.write_full(getattr(self, name), value)

    def _register_weights(self, device: Any, input_shape: Any = None) -> None:
        """Register all weights, None for those that the layer lacks; build them for a sample."""
        dtype = dtype_policies.to_torch_dtype(self._policy.variable_dtype)
        for spec in self.weight_specs:
            register: Any = self.register_buffer if spec.buffer else self.register_parameter
            trained = not spec.buffer and not self._starts_frozen(spec)
            made = make_uninitialized(spec.buffer, trained, device, spec.dtype or dtype)
            register(spec.parameter, made if self._uses_weight(spec) else None)
        if self.built:
            self._end_laziness()
        elif input_shape is not None:
            self.build((None, *self._check_shape(input_shape, batch=False)))

    def _assign_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Assign the constructor's arguments in `argument_namespaces`, the initializers too."""
        for name in self.argument_namespaces:
            if name in arguments:
                setattr(self, name, arguments[name])

    def _tensors(self) -> dict[str, Tensor]:
        """Return the layer's own parameters and buffers by name."""
        named = itertools.chain(self._parameters.items(), self._buffers.items())
        return {name: tensor for name, tensor in named if tensor is not None}

    def _tensor_to_save(self, name: str) -> Any:
        """Return a parameter or buffer with what Keras merges into it when it saves."""
        return self._tensor(name)

    def _find_first_tensor(self) -> Tensor | None:
        for tensor in self._tensors().values():  # `next` with a default breaks graphs of torch 2.6
            return tensor
        return None

    def _tensor(self, name: str) -> Any:
        """Return a parameter or buffer, None if the layer lacks it; faster than `getattr`."""
        if name in self._parameters:
            return self._parameters[name]
        # What is computed from others is only an attribute.
        return self._buffers[name] if name in self._buffers else getattr(self, name)

    def _find_unbuilt(self) -> dict[str, Any]:
        """Return the parameters and buffers that have no shape yet."""
        return {name: tensor for name, tensor in self._tensors().items() if is_lazy(tensor)}

    def _build(self, input_shape: Sequence[int | None], argument: str = "input_shape") -> None:
        """Give every unbuilt weight its shape and its initial value."""
        unbuilt = self._find_unbuilt()
        shapes = self._weight_shapes(input_shape, argument)
        shapes = {name: shape for name, shape in shapes.items() if name in unbuilt}
        with torch.inference_mode(False):  # so that the weights can be trained
            self._materialize(self._make_initial_values(shapes))

    def _end_laziness(self) -> None:
        """Remove the hooks of LazyModuleMixin, as its own first forward does."""
        for hook in vars(self).keys() & {"_initialize_hook", "_load_hook"}:
            getattr(self, hook).remove()
            delattr(self, hook)

    def _note_change(self) -> None:
        """Let models that were lowered with this layer notice that it has changed."""
        object.__setattr__(self, "_state", next(_states))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Keep unbuilt weights unbuilt on "meta", where nn.Module would make empty ones."""
        self._note_change()
        unbuilt = self._find_unbuilt()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in unbuilt.keys() - self._find_unbuilt().keys():
            self._reset_to_unbuilt(name, getattr(self, name).dtype)
        return self

    def _reset_to_unbuilt(self, name: str, dtype: torch.dtype) -> None:
        """Replace a parameter or buffer by an uninitialized one."""
        is_buffer = name in self._buffers
        tensors: dict[str, Any] = self._buffers if is_buffer else self._parameters
        old = tensors[name]
        tensors[name] = make_uninitialized(is_buffer, old.requires_grad, old.device, dtype)

    def _make_initial_values(self, shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
        """Return a new tensor with the initial value of each parameter in `shapes`."""
        values: dict[str, Tensor] = {}
        for spec in self.weight_specs:
            if spec.parameter not in shapes or spec.parameter in values:
                continue
            names = [name for name in (spec.parameter, *spec.also) if name in shapes]
            made = [self._empty(spec, shapes[name]) for name in names]
            if not made[0].is_meta:
                view = self._view_in_keras_order(spec, *made)
                self._fill(spec, view)
                for value, part in zip(made, spec.write(view) if spec.write else (), strict=False):
                    value.copy_(part)
            values |= zip(names, made, strict=True)
        return values

    def _empty(self, spec: WeightSpec, shape: Shape) -> Tensor:
        own = getattr(self, spec.parameter)
        first = next(iter(self._tensors().values()))
        dtype = (spec.dtype or first.dtype) if own is None else own.dtype
        return spec.empty(shape, dtype=dtype, device=first.device)

    def _fill(self, spec: WeightSpec, view: Tensor) -> None:
        """Fill a tensor in Keras's order of axes by the spec's initializer."""
        initializer = getattr(self, spec.initializer) or initializers.GlorotUniform()
        with torch.no_grad(), view.device:
            value = initializer(tuple(view.shape), dtype=dtype_policies.get_dtype_name(view.dtype))
            found = value if isinstance(value, Tensor) else to_tensor(value)
            if found is None or found.shape != view.shape:
                rule = f"a callable that returns an array of the shape {tuple(view.shape)}"
                shown = value if found is None else tuple(found.shape)
                self._refuse_argument(spec.initializer, rule, initializer, returned=shown)
            view.copy_(found)

    def _materialize(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._find_unbuilt().items():
            if name in values:
                tensor.materialize(values[name].shape)
                tensor.data = values[name]
        if self.built:
            state = self._state
            self._on_build()
            object.__setattr__(self, "_state", state)  # what models decided before still holds

    def _on_build(self) -> None:
        """React to the shapes of the weights becoming known."""

    def _lazy_load_hook(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        """Build an unbuilt layer for the shapes of a state_dict that is being loaded."""
        error_msgs: list[str] = others[-1]
        names = [name for name in self._find_unbuilt() if prefix + name in state_dict]
        found = {name: state_dict[prefix + name] for name in names}
        if not found or any(map(is_lazy, found.values())):
            return
        shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
        expected = self._complete_shapes(shapes)
        if expected is None:
            owner, rule = type(self).__name__, f"for {self!r}"
            error_msgs.append(argument_error(owner, "state_dict", rule, shapes, prefix=prefix))
            return
        absent = {name: shape for name, shape in expected.items() if name not in shapes}
        used = (spec for spec in self.weight_specs if spec.parameter in shapes)
        loaded = {spec.parameter: self._empty(spec, shapes[spec.parameter]) for spec in used}
        self._materialize({**self._make_initial_values(absent), **loaded})

    def _complete_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape] | None:
        """Return the shapes of all parameters for those of some; None if no input leads to them."""
        input_shape = self._infer_input_shape(shapes)
        try:
            expected = {} if input_shape is None else self._weight_shapes(input_shape)
        except (IndexError, ValueError):
            return None
        fits = all(expected.get(name) == shape for name, shape in shapes.items())
        return expected if fits else None

    def _finish_build(self, values: Mapping[str, Tensor]) -> None:
        """Finish the build with tensors in PyTorch's order for all unbuilt weights."""
        self._materialize(values)
        self._end_laziness()

    def _replicate_for_data_parallel(self) -> Any:
        # The mixin refuses built layers, too, since their class stays a lazy one.
        base: Any = nn.Module if self.built else LazyModuleMixin
        return base._replicate_for_data_parallel(self)

    def __getstate__(self) -> dict[str, Any]:
        """Keep the dtypes of unbuilt weights, which their own pickling loses."""
        dtypes = {name: tensor.dtype for name, tensor in self._find_unbuilt().items()}
        return {**self.__dict__, "_unbuilt_dtypes": dtypes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the dtypes of unbuilt weights, under a state of its own in this process."""
        dtypes = state.pop("_unbuilt_dtypes")
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for name, dtype in dtypes.items():
            if getattr(self, name).dtype is not dtype:
                self._reset_to_unbuilt(name, dtype)
        self._note_change()

    # Errors

    def _refuse_argument(
        self, argument: str, rule: str, value: object, remedy: str = "", **related: Any
    ) -> NoReturn:
        """Raise a ValueError, or the exception `error`, about an argument."""
        error, owner = related.pop("error", ValueError), type(self).__name__
        raise error(argument_error(owner, argument, rule, value, remedy, **related)) from None

    def _require_built(self, wanted: str) -> None:
        if not self.built:
            remedy = "Call it on a batch first, or `layer.build(input_shape)`."
            owner = f"{type(self).__name__}.{wanted}"
            raise ValueError(argument_error(owner, "layer", "built", self, remedy))
