"""Layer: the base of all layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn

from ... import dtype_policies, regularizers
from ..._core.arguments import as_shape, as_shape_of_any_rank
from ..._core.arrays import find_remedy, to_tensor
from ..._core.config_versions import upgrade_config
from ..._core.constructor import own_constructor
from ..._core.layout import permute_axes
from ..._core.registry import make_automatic_name
from ..._ops.tracing import is_autocast_enabled, is_exporting
from . import config as config_module
from .computation import Computation
from .lazy import LazyLayer
from .weights import Callback, Sizes, WeightView

if TYPE_CHECKING:
    from typing_extensions import Self


class Layer(LazyLayer, Computation):
    """A Keras layer as a PyTorch module: its name, weights, dtypes, losses and config.

    Args:
        name: The layer's name; by default Keras's automatic one, "conv2d", "conv2d_1", ...
        dtype: The dtype policy; by default `kerastorch.config.floatx()`.
        trainable: Whether the weights require gradients.
        autocast: Whether floating inputs are cast to the layer's compute dtype.
        activity_regularizer: Regularizer of the output.
        **unknown: Refused.

    Raises:
        ValueError: An argument is invalid or unknown.
    """

    # What a class declares about its arguments
    argument_namespaces: ClassVar[Mapping[str, Any]] = {"activity_regularizer": regularizers}
    fixed_arguments: ClassVar[tuple[str, ...]] = ()  # cannot be assigned later
    removed_arguments: ClassVar[tuple[str, ...]] = ()  # of a base, which this class lacks
    renamed_arguments: ClassVar[Mapping[str, str]] = {}  # names of Keras 1 and 2 -> of Keras 3
    _omit_config_if_unset: ClassVar[tuple[str, ...]] = ("activity_regularizer",)
    _config_keys_first: ClassVar[tuple[str, ...]] = ()  # after those that all layers share
    _config_keys_last: ClassVar[tuple[str, ...]] = ()
    _never_in_config: ClassVar[tuple[str, ...]] = ()  # arguments that Keras does not write
    _shape_arguments: ClassVar[tuple[str, ...]] = ()  # shown by the messages about shapes
    _least_rank: ClassVar[int] = 0  # the fewest axes of an input, where several ranks are accepted

    # What a class declares for models and files
    depends_on_training_mode: ClassVar[bool] = False
    keeps_flatten_order: ClassVar[bool] = False  # outputs the elements in the input's order
    is_flat: ClassVar[bool] = False  # the output has no (known) spatial axes
    omits_data_format: ClassVar[bool] = False  # in configs of Keras 1 or 2
    nested_arguments: ClassVar[tuple[str, ...]] = ()  # whose values are layers, or lists of them
    first_argument: ClassVar[str] = "inputs"  # the name of the first argument of `forward`
    call_arguments: ClassVar[tuple[str, ...]] = ()  # those after it that a model may give
    differs_in_keras_2: ClassVar[bool] = False  # whether Keras 1 and 2 compute something else

    keras_2 = False  # whether a layer computes that: one from a file or a config of theirs

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
            remedy = f"It accepts {', '.join(self.arguments())}."
            self._refuse_argument(argument, "one of its arguments", value, remedy)
        if name is not None and (not isinstance(name, str) or "/" in name):
            self._refuse_argument("name", "a string without '/'", name)
        if not isinstance(trainable, bool):
            self._refuse_argument("trainable", "True or False", trainable)
        self._policy = dtype_policies.parse_policy(owner, dtype)
        self._trainable = trainable
        self._activity_losses: list[Tensor] = []
        self.autocast = autocast
        self.activity_regularizer = activity_regularizer
        self.name = make_automatic_name(owner) if name is None else name

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Name the constructor after the class and complete `argument_namespaces`."""
        super().__init_subclass__(**arguments)
        own_constructor(cls)
        cls.argument_namespaces = config_module.collect_namespaces(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """Resolve the value of an argument; refuse to change a fixed one."""
        namespace = self.argument_namespaces.get(name)
        modules = vars(self).get("_modules", {})
        if name in self.fixed_arguments and name in {**vars(self), **modules}:
            remedy = "Make another layer: `from_config({**layer.get_config(), ...})`."
            self._refuse_argument(name, "left unchanged", value, remedy, error=AttributeError)
        if namespace is not None:
            value, _ = namespace.get(value), modules.pop(name, None)  # nn.Module replaces no module
        super().__setattr__(name, value)
        if name not in ("training", "__dict__"):  # Dynamo shares the latter with a proxy
            self._note_change()
        if namespace is not None:
            self._on_argument_change(name)

    def _on_argument_change(self, argument: str) -> None:
        """React to an assignment to an argument in `argument_namespaces`."""
        if argument == "activity_regularizer":
            self._activity_losses.clear()  # of the previous regularizer
        elif argument == "activation":
            activation: Any = getattr(self, argument)
            if isinstance(activation, nn.Module) and not self._trainable:
                activation.requires_grad_(False)  # it is frozen with the layer

    # The config

    arguments = classmethod(config_module.list_arguments)
    get_config = config_module.get_config

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Make a layer from a config of any Keras.

        Args:
            config: The dict that `get_config` returned there; it is not modified.
            custom_objects: Your own names -> functions or classes.

        Raises:
            TypeError: The config is no mapping, or an argument is missing or invalid.
        """
        return config_module.make_layer(cls, config, custom_objects)

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3.

        A class that `differs_in_keras_2` adds `keras_2` where it recognizes a config of Keras 2.

        Raises:
            ValueError: Keras 1 computed something else.
        """
        return upgrade_config(cls.__name__, config, cls.renamed_arguments)

    @classmethod
    def upgrade_config_of_keras_3(cls, config: dict[str, Any], minor: int) -> dict[str, Any]:
        """Convert a config from a file of Keras 3.`minor` to that of the newest.

        Raises:
            ValueError: That version computed something else.
        """
        return config

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
        """Return where Keras 3 stores the weights of a layer with this config, in Keras's order.

        Each item is the path of a group below the layer's own, "" for that, and the names of the
        weights in it: ("cell", ("kernel", "recurrent_kernel", "bias")).
        """
        return [("", cls.weight_names(config))]

    def _format_non_defaults(self, **defaults: Any) -> list[str]:
        """Format the arguments that differ from these defaults, and the dtype, for a repr."""
        shown = [f"{n}={getattr(self, n)!r}" for n, v in defaults.items() if getattr(self, n) != v]
        if self.dtype_policy.name != "float32":
            shown.append(f"dtype={self.dtype_policy.name!r}")
        return shown

    # Dtypes

    @property
    def dtype_policy(self) -> dtype_policies.DTypePolicy:
        """The dtype policy; after `.half()`, `.double()` and the like, the weights' own dtype."""
        first = self._find_first_tensor()
        name = None if first is None else dtype_policies.get_dtype_name(first.dtype)
        if name in (None, self._policy.variable_dtype):
            return self._policy
        return dtype_policies.DTypePolicy(name)

    @property
    def dtype(self) -> str:
        """The name of the weights' dtype."""
        return self.dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """The same as `dtype`."""
        return self.dtype

    @property
    def compute_dtype(self) -> str:
        """The name of the dtype that the layer computes in."""
        return self.dtype_policy.compute_dtype

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Follow `.half()` and the like where no weight shows the dtype."""
        if not self._tensors():
            own = dtype_policies.to_torch_dtype(self._policy.variable_dtype)
            new = fn(torch.empty(0, dtype=own)).dtype
            if new is not own:
                self._policy = dtype_policies.DTypePolicy(dtype_policies.get_dtype_name(new))
        return super()._apply(fn, recurse)

    def _as_tensor(self, inputs: Any, argument: str | None = None) -> Tensor:
        """Convert an argument, by default the first, to a tensor on the weights' device."""
        if isinstance(inputs, Tensor):
            return inputs
        found = to_tensor(inputs) if hasattr(inputs, "__array__") else None
        if found is None:
            name, rule = argument or self.first_argument, "a tensor or an array of real numbers"
            self._refuse_argument(name, rule, inputs, find_remedy(inputs))
        first = self._find_first_tensor()
        return found if first is None else found.to(first.device)

    def _cast(self, x: Tensor, weights: torch.dtype) -> tuple[Tensor, torch.dtype]:
        """Cast an input to the compute dtype; return it and the dtype to cast the weights to."""
        if x.is_complex():
            self._refuse_argument(self.first_argument, "a tensor of real numbers", x.dtype)
        if x.is_floating_point():
            if not self.autocast:
                return x, weights
            if x.dtype is not torch.float64 and is_autocast_enabled(x.device.type):
                return x, weights  # torch decides
        compute = dtype_policies.to_torch_dtype(self.compute_dtype) if self.autocast else weights
        return x.to(compute), compute

    # Shapes

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Sizes:
        """Return the output shape for an input shape, batch included; unknown sizes are None.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        return self._output_shape(self._check_shape(input_shape))

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        """Return the output shape for an input of the right rank, or raise about `argument`."""
        return tuple(shape)

    def _check_shape(self, shape: Any, argument: str = "input_shape", batch: bool = True) -> Sizes:
        """Return an input shape, with the batch or without, as a tuple; raise for a wrong rank."""
        owner, rank, less = type(self).__name__, self._input_rank, 0 if batch else 1
        related = self._shape_context
        if rank is not None:
            return as_shape(owner, argument, shape, rank - less, batch=batch, **related)
        least = max(self._least_rank - less, 0)
        return as_shape_of_any_rank(owner, argument, shape, least, batch=batch, **related)

    def _require_rank(self, x: Tensor) -> None:
        """Raise a ValueError for an input of the wrong rank."""
        rank, least = self._input_rank, self._least_rank
        if rank is not None and x.ndim != rank:
            self._refuse_shape(self.first_argument, f"of {rank} dimensions", x.shape)
        if x.ndim < least:
            rule = "of 1 dimension or more" if least == 1 else f"of {least} dimensions or more"
            self._refuse_shape(self.first_argument, rule, x.shape)

    @property
    def _shape_context(self) -> dict[str, Any]:
        shown = (name for name in self._shape_arguments if name not in self.removed_arguments)
        return {name: getattr(self, name) for name in shown}

    def _refuse_shape(
        self, argument: str, rule: str, shape: Any, remedy: str = "", **related: Any
    ) -> NoReturn:
        """Refuse an input or its shape; the message also shows `_shape_arguments`."""
        self._refuse_argument(
            argument, rule, tuple(shape), remedy, **related, **self._shape_context
        )

    def _require(self, argument: str, rule: str, value: Any, is_valid: Any) -> None:
        """Refuse a value that is not valid, with a TypeError if it cannot be compared."""
        try:
            valid = bool(is_valid(value))
        except TypeError:
            self._refuse_argument(argument, rule, value, error=TypeError)
        if not valid:
            self._refuse_argument(argument, rule, value)

    # The computation

    def forward(self, inputs: Any) -> Tensor:
        """Compute the output for a tensor or array.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        x = self._prepare_input(inputs)
        orders = self._orders
        try:
            if orders is None:
                outputs = self._compute(x)
            else:
                outputs = self._compute(permute_axes(x, orders[0]))
                if outputs.ndim == x.ndim:
                    outputs = permute_axes(outputs, orders[1])
        except (RuntimeError, IndexError):
            if isinstance(x, Tensor):
                self._require_fit(x)
            raise
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _require_fit(self, x: Tensor) -> None:
        """Raise the layer's own error if `x` is the reason why the computation failed."""
        self._output_shape(tuple(x.shape), "inputs")

    def _prepare_input(self, inputs: Any) -> Any:
        return self._cast(self._as_tensor(inputs), dtype_policies.to_torch_dtype(self.dtype))[0]

    # Losses

    @property
    def losses(self) -> list[Tensor]:
        """Keras's loss terms: for the last call's output, then for each trainable weight."""
        penalties = [rule(variable.value) for rule, variable in self._iterate_penalties()]
        return [*self._activity_losses, *penalties]

    def _iterate_penalties(self) -> Iterator[tuple[Callback, WeightView]]:
        """Yield each regularizer of a trainable weight with that weight."""
        for variable in self.variables:
            trained = self._trainable and variable.parameter.requires_grad
            if variable.regularizer is not None and trained:
                yield variable.regularizer, variable

    def _record_activity(self, outputs: Any) -> None:
        """Replace the activity terms by those of new outputs, divided by the batch size."""
        if is_exporting():  # terms without values would stay here
            return
        found = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        terms = [(self.activity_regularizer(one), one.shape[0]) for one in found]
        self._activity_losses[:] = [
            term / batch if batch else torch.zeros_like(term) for term, batch in terms
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the activity terms out of copies: they belong to this layer's last call."""
        return {**super().__getstate__(), "_activity_losses": []}
