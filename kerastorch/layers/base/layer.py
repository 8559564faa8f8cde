"""Layer: what every layer has in common, whatever it computes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ... import dtype_policies, regularizers
from ..._core.arrays import find_remedy, from_array
from ..._core.config_versions import upgrade_config
from ..._core.constructor import own_constructor
from ..._core.errors import problem
from ..._core.layout import axes_moved
from ..._core.registry import automatic_name
from ..._ops.tracing import is_exporting, under_autocast
from . import config as config_module
from .computation import Computation
from .lazy import Buildable
from .weights import Callback, Variable

if TYPE_CHECKING:
    from typing_extensions import Self


_states = itertools.count(1)


class Layer(Buildable, Computation):
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

    # What a class declares about its arguments
    argument_namespaces: ClassVar[Mapping[str, Any]] = {"activity_regularizer": regularizers}
    fixed_arguments: ClassVar[tuple[str, ...]] = ()  # cannot change once the layer is made
    renamed_arguments: ClassVar[Mapping[str, str]] = {}  # names of Keras 1 and 2 -> of Keras 3
    _written_when_set: ClassVar[tuple[str, ...]] = ("activity_regularizer",)  # in configs
    _written_last: ClassVar[tuple[str, ...]] = ()  # after all others in configs

    # What a class declares for models and files
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
        self.name = automatic_name(owner) if name is None else name

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Name the constructor after the class, and complete `argument_namespaces`."""
        super().__init_subclass__(**arguments)
        own_constructor(cls)
        cls.argument_namespaces = config_module.collect_namespaces(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """Resolve what is assigned to an argument, and refuse to change a fixed one."""
        namespace = self.argument_namespaces.get(name)
        if namespace is not None:
            value = namespace.get(value)
            vars(self).get("_modules", {}).pop(name, None)  # nn.Module lets no module be replaced
        elif name in self.fixed_arguments and name in vars(self):
            remedy = "Make another layer: `from_config({**layer.get_config(), ...})`."
            rule = "left as the layer was made"
            raise AttributeError(problem(type(self).__name__, name, rule, value, remedy))
        super().__setattr__(name, value)
        if name not in ("training", "__dict__"):  # Dynamo shares the latter with a proxy
            self._note_change()
        if namespace is not None:
            self._on_argument_change(name)

    def _on_argument_change(self, argument: str) -> None:
        """Follow an assignment to an argument that is in `argument_namespaces`."""
        if argument == "activity_regularizer":
            self._activity_losses.clear()  # they are the earlier one's

    def _note_change(self) -> None:
        """Let the models that were lowered with this layer notice that it is another one now."""
        object.__setattr__(self, "_state", next(_states))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Note a change of the dtype."""
        self._note_change()
        return super()._apply(fn, recurse)

    # The config

    @classmethod
    def arguments(cls) -> tuple[str, ...]:
        """Return the names of all arguments of the constructor, the most special class's first."""
        return config_module.list_arguments(cls)

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the constructor's arguments as `keras.layers` configs have them.

        Args:
            target: A version of Keras, "3.0" to "3.15", whose reader the config is for; None for
                the newest.

        Raises:
            ValueError: the version is not known or lacks what the layer uses, or an argument is
                a callable that no config can name.
        """
        return config_module.make_config(self, target)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Make a layer from a config of any Keras.

        Args:
            config: The dict that `get_config` returned there; it is left as it is.
            custom_objects: Your own names -> functions or classes.

        Raises:
            TypeError: the config is no mapping or lacks an argument, or an argument is refused.
        """
        return config_module.make_layer(cls, config, custom_objects)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a config of any Keras as Keras 3 writes it.

        Raises:
            ValueError: Keras 1 computed something else.
        """
        return upgrade_config(cls.__name__, config, cls.renamed_arguments)

    def _differing(self, **defaults: Any) -> list[str]:
        """Return what a repr shows of arguments with these defaults, and of the dtype."""
        shown = [f"{n}={getattr(self, n)!r}" for n, v in defaults.items() if getattr(self, n) != v]
        if self.dtype_policy.name != "float32":
            shown.append(f"dtype={self.dtype_policy.name!r}")
        return shown

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

    # The computation

    def forward(self, inputs: Any) -> Tensor:
        """Compute the output for a batch.

        Args:
            inputs: A tensor or array.

        Returns:
            The output.

        Raises:
            ValueError: the layer cannot take such an input.
        """
        x = self._prepare_input(inputs)
        orders = self._orders
        try:
            if orders is None:
                outputs = self._compute(x)
            else:
                outputs = self._compute(axes_moved(x, orders[0]))
                if outputs.ndim == x.ndim:
                    outputs = axes_moved(outputs, orders[1])
        except RuntimeError:
            self._require_fit_of(x)
            raise
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _prepare_input(self, inputs: Any) -> Any:
        """Return the input of a call in the compute dtype."""
        return self._cast(self._as_tensor(inputs), dtype_policies.torch_dtype(self.dtype))[0]

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become another layer than any that this process has."""
        super().__setstate__(state)
        self._note_change()
