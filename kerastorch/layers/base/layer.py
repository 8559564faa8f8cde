"""Layer: what every layer has in common, whatever it computes."""

from __future__ import annotations

import inspect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ... import dtype_policies
from ..._core import distributed
from ..._core.arrays import find_remedy, from_array, to_array
from ..._core.errors import problem
from ..._core.registry import snake_case
from .config import Configured
from .lazy import Buildable
from .weights import Callback, Role

_counters: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


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


class Layer(Configured, Buildable):
    """A Keras layer as a PyTorch module: its name, weights, types of numbers, losses and config.

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

    # Facts about a class that the models and files ask for
    depends_on_training_mode: ClassVar[bool] = False
    keeps_flatten_order: ClassVar[bool] = False  # gives the elements in the input's order
    is_flat: ClassVar[bool] = False  # its output has no spatial axes, or none that it knows of
    call_arguments: ClassVar[tuple[str, ...]] = ()  # what `forward` takes beside the inputs

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
            raise ValueError(problem(owner, argument, "one of its arguments", value, remedy))
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(problem(owner, "name", "a string without '/'", name))
        if not isinstance(trainable, bool):
            raise ValueError(problem(owner, "trainable", "True or False", trainable))
        self._policy = dtype_policies.policy(owner, dtype)
        self._trainable = trainable
        self._activity_losses: list[Tensor] = []
        self.autocast = autocast
        self.activity_regularizer = activity_regularizer
        self.name = _automatic_name(owner) if name is None else name

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "activity_regularizer":
            self._activity_losses.clear()  # they are the earlier one's

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
        """Whether the weights are trained.

        Setting it sets `requires_grad` of them all; as in Keras, of a kernel too that LoRA froze.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        for parameter in self.parameters():
            parameter.requires_grad = self._trainable

    def _frozen(self, role: Role) -> bool:
        return not self._trainable

    def count_params(self) -> int:
        """Return the number of weights' elements.

        Raises:
            ValueError: the layer is not built.
        """
        self._require_built("count_params")
        return sum(weight.numel() for weight in self.weights)

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Return copies of all weights as arrays in Keras's order of axes; bfloat16 as float32."""
        return [to_array(distributed.whole(variable.value)) for variable in self.variables]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy arrays into the weights, all of them or none.

        Args:
            weights: Arrays or tensors as `get_weights` and Keras's `get_weights` give them.

        Raises:
            ValueError: their number or a shape differs, or one is no array of real numbers.
        """
        distributed.settle(self, "set_weights")
        variables = self.variables
        expected = [(v.name, tuple(v.value.shape)) for v in variables]
        if isinstance(weights, (str, Tensor)) or not isinstance(weights, Iterable):
            self._refuse("weights", f"a list of arrays for {expected}", weights)
        weights = list(weights)
        given = [from_array(value) for value in weights]
        shapes = [
            type(value).__name__ if array is None else tuple(array.shape)
            for value, array in zip(weights, given, strict=True)
        ]
        if shapes != [shape for _, shape in expected]:
            remedy = "" if self.built else "Build the layer first: `layer.build(input_shape)`."
            self._refuse("weights", f"a list of arrays for {expected}", shapes, remedy)
        views = [self._writable(variable) for variable in variables]
        for view, value in zip(views, given, strict=True):
            distributed.write(view, value)  # type: ignore[arg-type]

    def _writable(self, variable: Variable) -> Tensor:
        """Return the view of a variable to write to, or raise where writing would be lost."""
        if not any(variable.parameter is tensor for tensor in self._tensors().values()):
            remedy = "Remove the parametrization, the pruning or the spectral or weight norm first."
            rule = "a parameter of its own, not one computed from others"
            self._refuse(variable.name, rule, type(variable.parameter), remedy)
        return variable.value

    # Types of numbers

    @property
    def dtype_policy(self) -> dtype_policies.DTypePolicy:
        """The dtype policy; after `.half()`, `.double()` and the like, the weights' own type."""
        tensors = list(self._tensors().values())
        if not tensors or dtype_policies.name_of(tensors[0].dtype) == self._policy.variable_dtype:
            return self._policy
        return dtype_policies.DTypePolicy(dtype_policies.name_of(tensors[0].dtype))

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
            rule = "a tensor or an array of real numbers"
            self._refuse("inputs", rule, inputs, find_remedy(inputs))
        tensors = list(self._tensors().values())
        return found.to(tensors[0].device) if tensors else found

    def _cast(self, x: Tensor, weights: torch.dtype) -> tuple[Tensor, torch.dtype]:
        """Return an input in the type to compute in, and the type that weights are to have.

        That is the weights' own type, or a mixed policy's lower one while they are float32.
        """
        if x.is_complex():
            self._refuse("inputs", "a tensor of real numbers", x.dtype)
        if x.is_floating_point():
            if not self.autocast:
                return x, weights
            if x.dtype is not torch.float64 and under_autocast(x.device.type):
                return x, weights  # torch decides
        policy = (
            self.dtype_policy
            if self.autocast
            else dtype_policies.DTypePolicy(dtype_policies.name_of(weights))
        )
        compute = dtype_policies.torch_dtype(policy.compute_dtype)
        return x.to(compute), compute

    # Inside a rebuilt model, where nothing else sees what goes between its layers

    @property
    def _moved_inside(self) -> bool | None:
        """Whether `_inside` takes and gives an image with its channels second.

        False means the user's layout; None means that either will do, and that it stays.
        """
        return None

    def _inside(self, x: Any, spare: Any) -> Tensor | None:
        """Return what `forward` would, without its checks, conversions and moves of axes.

        Args:
            x: A tensor, or a list of them where `forward` takes one.
            spare: Whether it may be overwritten; for a list, which of them may.

        Returns:
            A tensor that nothing else reads; or None where `forward` has more to do.
        """
        return None

    # Losses

    @property
    def losses(self) -> list[Tensor]:
        """Keras's loss terms: of the last call's output, then of each trainable weight."""
        penalties = [rule(variable.value) for rule, variable in self._penalized()]
        return [*self._activity_losses, *penalties]

    def _penalized(self) -> Iterator[tuple[Callback, Variable]]:
        """Yield the regularizer and the weight of each loss term of a weight."""
        for variable in self.variables:
            trained = self._trainable and variable.parameter.requires_grad
            if variable.regularizer is not None and trained:
                yield variable.regularizer, variable

    def _record_activity(self, outputs: Tensor) -> None:
        """Replace the activity term by that of a new output, divided by the batch size."""
        if is_exporting():  # the term would stay here, and is a tensor of no numbers
            return
        term = self.activity_regularizer(outputs)
        batch = outputs.shape[0]
        self._activity_losses[:] = [term / batch if batch else torch.zeros_like(term)]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the activity terms out of copies: they belong to this layer's last call."""
        return {**super().__getstate__(), "_activity_losses": []}


def is_exporting() -> bool:
    """Return whether `torch.export` is at work; a graph that it makes has no losses."""
    asked = getattr(torch.compiler, "is_exporting", None)  # new in torch 2.7
    return asked is not None and asked()


def under_autocast(device: str) -> bool:
    """Return whether `torch.autocast` is on for a type of devices."""
    return device != "meta" and torch.is_autocast_enabled(device)  # "meta" is an error there


def _automatic_name(class_name: str) -> str:
    """Return Keras's automatic name: the class in snake_case, numbered from the second on."""
    base = snake_case(class_name)
    count = next(_counters[base])
    return f"{base}_{count}" if count else base
