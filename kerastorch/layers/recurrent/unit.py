"""RecurrentUnit: the weights and the arithmetic that a recurrent layer shares with its cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from ... import activations, dtype_policies, initializers
from ..._core.arguments import as_positive_int
from ..._core.errors import list_shapes
from ..._core.layout import weight_to_kernel
from ..._core.seeds import SeedGenerator
from ..._ops.recurrent.loop import States, Step, Wanted
from ..base.layer import Layer
from ..base.weights import Shape, WeightSpec, declare_weight

Masks = Tensor | list[Tensor] | None  # of dropout: one for all gates, or one for each

_OLD_KEYS = ("implementation", "time_major", "consume_less", "inner_activation", "output_dim")


def declare_weights(suffix: str) -> tuple[WeightSpec, ...]:
    """Return the specs of a unit's weights under the names of torch.nn, which end in `suffix`."""
    return (
        declare_weight(f"weight_ih{suffix}", "kernel", view=weight_to_kernel),
        WeightSpec(
            f"weight_hh{suffix}", "recurrent_kernel", "recurrent_initializer",
            "recurrent_regularizer", "recurrent_constraint", weight_to_kernel,
        ),
        declare_weight(f"bias_ih{suffix}", "bias", when="use_bias"),
        WeightSpec(f"bias_hh{suffix}", "second_bias", "_zeros", None, None, buffer=True,
                   when="use_bias", in_keras=False),
    )  # fmt: skip


class RecurrentUnit(Layer):
    """What is computed at one time: a projection of the input, and a step from state to state.

    The projection needs no state, so that a layer computes it for all times at once.
    """

    argument_namespaces: ClassVar[Mapping[str, Any]] = {
        "activation": activations,
        "recurrent_activation": activations,
    }
    renamed_arguments: ClassVar[Mapping[str, str]] = {
        "output_dim": "units",
        "inner_activation": "recurrent_activation",
        "init": "kernel_initializer",
        "inner_init": "recurrent_initializer",
        "forget_bias_init": "unit_forget_bias",
        "W_regularizer": "kernel_regularizer",
        "U_regularizer": "recurrent_regularizer",
        "b_regularizer": "bias_regularizer",
        "dropout_W": "dropout",
        "dropout_U": "recurrent_dropout",
    }
    fixed_arguments: ClassVar[tuple[str, ...]] = ("units", "use_bias")
    fixed_sizes: ClassVar[tuple[str, ...]] = ("units",)
    depends_on_training_mode = True
    returns_new_tensor = True
    _omit_config_if_unset = ()
    _zeros: Any = initializers.Zeros()
    _gates: ClassVar[int]
    _state_count: ClassVar[int] = 1
    _drops_all: ClassVar[bool] = False  # whether a dropout rate of 1 is obeyed
    units: int
    use_bias: bool
    activation: Any
    recurrent_activation: Any
    dropout: float
    recurrent_dropout: float
    seed: int | None

    def __init__(self, **arguments: Any) -> None:
        self._set_up(arguments)

    def _set_up(self, arguments: dict[str, Any]) -> None:
        """Keep the constructor's arguments, given as its local variables, and make the weights."""
        own = set(type(self).arguments())
        given = {k: v for k, v in arguments.items() if k in own}
        more = dict(arguments.get("kwargs", {}))
        implementation = more.pop("implementation", 2)
        activity = given.pop("activity_regularizer", None)
        Layer.__init__(self, activity_regularizer=activity, **more)
        if implementation not in (0, 1, 2):
            self._refuse_argument("implementation", "0, 1 or 2", implementation)
        self.implementation = 2 if implementation == 0 else implementation
        # Torch 2.6 exports no computation that reads the specs, which belong to the class.
        self._parameter_names = tuple(spec.parameter for spec in self.weight_specs)
        self._set_sizes(given)
        for name, value in given.items():
            if name not in self.argument_namespaces and name not in self.fixed_sizes:
                setattr(self, name, value)
        if self.seed is not None and not isinstance(self.seed, int):
            self._refuse_argument("seed", "an integer or None", self.seed)
        for name in ("dropout", "recurrent_dropout"):
            value = getattr(self, name)
            self._require(name, "a number", value, lambda rate: 0 <= rate or rate < 0)
            setattr(self, name, min(1.0, max(0.0, value)))
        self._assign_arguments(given)
        self._seeds = None if self.seed is None else SeedGenerator(self.seed)
        self._check_arguments()
        device = arguments.get("device")
        self._register_weights(device, arguments.get("input_shape"))

    def _set_sizes(self, given: Mapping[str, Any]) -> None:
        """Check and keep the arguments in `fixed_sizes`."""
        self.units = as_positive_int(type(self).__name__, "units", given["units"])

    def _check_arguments(self) -> None:
        """Refuse values of the arguments of a subclass."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        """Add the second bias of torch's module to the first where Keras has one."""
        suffix = self.weight_specs[0].parameter.removeprefix("weight_ih")
        first, second = f"{prefix}bias_ih{suffix}", f"{prefix}bias_hh{suffix}"
        joins = f"bias_hh{suffix}" in self._buffers
        if joins and first in state_dict and second in state_dict:
            more = state_dict[second]
            if not is_lazy(more) and more.shape == state_dict[first].shape and more.any():
                state_dict[first] = state_dict[first] + more
            if not is_lazy(more):
                state_dict[second] = torch.zeros_like(more)
        super()._load_from_state_dict(state_dict, prefix, *others)

    # The config

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3.

        One of Keras 1 or 2 has their hard_sigmoid, and their defaults where a key is absent.
        """
        is_old = cls._is_old(config)
        upgraded = super().upgrade_config(config)
        if not upgraded.get("time_major"):
            upgraded.pop("time_major", None)
        if upgraded.get("unit_forget_bias") in ("zero", "zeros", "one", "ones"):
            upgraded["unit_forget_bias"] = upgraded["unit_forget_bias"].startswith("one")
        upgraded.pop("consume_less", None)
        if is_old:
            cls._add_old_defaults(upgraded)
            for key in ("activation", "recurrent_activation"):
                if upgraded.get(key) == "hard_sigmoid":
                    upgraded[key] = "hard_sigmoid_keras2"
        return upgraded

    @classmethod
    def _is_old(cls, config: Mapping[str, Any]) -> bool:
        """Return whether a config is of Keras 1 or 2."""
        return any(key in config for key in _OLD_KEYS)

    @classmethod
    def _add_old_defaults(cls, config: dict[str, Any]) -> None:
        """Add what Keras 1 or 2 took where its config has no key."""

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with Keras's keys; see `Layer.get_config`."""
        config = super().get_config(target)
        for key in ("reset_after", "seed"):  # the last keys in Keras, in this order
            if key in config:
                config[key] = config.pop(key)
        return config

    # Shapes

    @property
    def state_size(self) -> Any:
        """The size of the state, or a list of the sizes of several."""
        return self.units if self._state_count == 1 else [self.units] * self._state_count

    @property
    def output_size(self) -> int:
        """The size of the output at one time."""
        return self.units

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Return states of zeros in the compute dtype."""
        first = self._find_first_tensor()
        dtype = dtype_policies.to_torch_dtype(self.compute_dtype)
        device = None if first is None else first.device
        make = torch.zeros
        return [make(batch_size, self.units, dtype=dtype, device=device)
                for _ in range(self._state_count)]  # fmt: skip

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape = self._check_shape(shape, argument)
        if not shape[-1]:
            self._refuse_argument(argument, "a shape with a known last size, 1 at least", shape)
        rows = self._gates * self.units
        sizes = [(rows, shape[-1]), (rows, self.units), (rows,), (rows,)]
        found = zip(self.weight_specs, sizes, strict=False)
        return {spec.parameter: size for spec, size in found if self._uses_weight(spec)}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        weight = shapes.get(self.weight_specs[0].parameter, ())
        between = (self._input_rank or 2) - 2
        return [None, *[None] * between, weight[1]] if len(weight) == 2 else None

    def _cast_input(self, x: Tensor) -> Tensor:
        """Cast an input to the dtype that the unit computes in."""
        kernel = self._tensor(self._parameter_names[0])
        policy = self._policy
        if x.dtype is kernel.dtype and policy.compute_dtype == policy.variable_dtype:
            return x  # the usual case, faster
        x, compute = self._cast(x, kernel.dtype)
        return x.to(compute)

    def _require_size(self, x: Tensor, argument: str, owner: Any = None) -> None:
        """Raise a ValueError for an input whose last size the kernel does not fit."""
        size = self._get_input_size()
        if x.shape[-1] != size:
            rule = f"of the size {size} along the last axis"
            (owner or self)._refuse_argument(argument, rule, tuple(x.shape))

    def _get_input_size(self) -> int:
        size: int = self._tensor(self._parameter_names[0]).shape[1]
        return size

    # The computation

    def _weights(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the kernels and the input's bias as torch has them, in the dtype of a tensor."""
        dtype, found = like.dtype, [self._tensor(name) for name in self._parameter_names[:3]]
        kernel, recurrent, bias = [
            w if w is None or w.dtype is dtype else w.to(dtype) for w in found
        ]
        return kernel, recurrent, bias

    def _project(self, x: Tensor, masks: Masks = None) -> Tensor:
        """Return the part of all gates that needs no state, for an input of any leading axes."""
        kernel, _, bias = self._weights(x)
        if masks is None:
            return F.linear(x, kernel, bias)
        many = masks if isinstance(masks, list) else [masks]
        inputs = [x * (mask[:, None] if x.ndim > mask.ndim else mask) for mask in many]
        if len(inputs) == 1:
            return F.linear(inputs[0], kernel, bias)
        products = [
            F.linear(one, w) for one, w in zip(inputs, kernel.chunk(len(many)), strict=True)
        ]
        product = torch.cat(products, -1)
        return product if bias is None else product + bias

    def _make_step(self, like: Tensor, masks: Masks = None) -> Step:
        """Return the function of a projected input and the states that gives output and states."""
        raise NotImplementedError

    def _as_product(self, recurrent: Tensor, masks: Masks) -> Any:
        """Return the function that adds the product of the state to the projected input."""
        if isinstance(masks, list):
            parts = [weight_to_kernel(w) for w in recurrent.chunk(len(masks))]
            pairs = list(zip(masks, parts, strict=True))
            return lambda p, h: p + torch.cat([(h * m) @ w for m, w in pairs], -1)
        transposed = weight_to_kernel(recurrent)
        if masks is None:
            return lambda p, h: torch.addmm(p, h, transposed)
        return lambda p, h: torch.addmm(p, h * masks, transposed)

    def _can_fuse(self, x: Tensor) -> bool:
        """Return whether torch's kernel computes what the layer does."""
        return False

    def _fused(
        self, x: Tensor, states: States, mask: Tensor | None, wanted: Wanted
    ) -> tuple[Tensor, States]:
        """Return the outputs and the last states that are wanted, by torch's kernel."""
        raise NotImplementedError

    # Dropout

    def _sample_masks(self, like: Tensor) -> tuple[Masks, Masks]:
        """Return the masks of the inputs and the states of one call, None without dropout."""
        if not self.training or not (self.dropout or self.recurrent_dropout):
            return None, None
        each = self._gates if self._uses_masks_per_gate() else 1
        source = self._source(like)
        inputs = self._sample(self.dropout, (like.shape[0], like.shape[-1]), each, like, source)
        sizes = (like.shape[0], self.units)
        states = self._sample(self.recurrent_dropout, sizes, each, like, source)
        return inputs, states

    def _uses_masks_per_gate(self) -> bool:
        return self._gates > 1 and (self.implementation == 1 or self.recurrent_dropout > 0)

    def _source(self, x: Tensor) -> dict[str, Any]:
        """Return the device and the generator to sample with for an input."""
        if self._seeds is None or x.is_meta:
            return {"device": x.device, "generator": None}
        device = torch.device("cpu")
        generator = torch.Generator(device).manual_seed(self._seeds.next() & 0xFFFFFFFF)
        return {"device": device, "generator": generator}

    def _sample(self, rate: float, sizes: Any, count: int, like: Tensor, source: Any) -> Masks:
        if rate == 0 or (rate == 1 and not self._drops_all):
            return None
        keep = 1.0 - rate
        probabilities = torch.full((count, *sizes), keep, device=source["device"])
        kept = torch.bernoulli(probabilities, generator=source["generator"]).to(like)
        masks = kept if rate == 1 else kept / keep
        return list(masks.unbind(0)) if count > 1 else masks[0]

    def extra_repr(self) -> str:
        """Return the sizes and the dtype."""
        first = self._find_unbuilt()
        size = None if first else self._tensor(self.weight_specs[0].parameter).shape[1]
        return ", ".join([f"{size}, {self.units}", *self._format_non_defaults(use_bias=True)])


def read_states(unit: Any, argument: str, states: Any, like: Tensor, sizes: Any) -> States:
    """Return states as a list of tensors in the dtype of a tensor; refuse those that do not fit."""
    given = list(states) if isinstance(states, (list, tuple)) else [states]
    if len(given) != len(sizes):
        plural = "s" if len(sizes) > 1 else ""
        is_stack = any(isinstance(size, list) for size in sizes)
        kind = f"list{plural} of states, one for each cell" if is_stack else f"tensor{plural}"
        unit._refuse_argument(argument, f"{len(sizes)} {kind}", list_shapes(given))
    found: States = []
    for state, size in zip(given, sizes, strict=True):
        if isinstance(size, list):
            found.append(read_states(unit, argument, state, like, size))
            continue
        tensor = unit._as_real_tensor(state, argument)
        if tuple(tensor.shape) != as_state_shape(like.shape[0], size):
            axes = "(batch, units)" if isinstance(size, int) else "(batch, *axes of a state)"
            rule = f"of the shape {axes} = {as_state_shape(like.shape[0], size)}"
            unit._refuse_argument(argument, rule, tuple(tensor.shape))
        found.append(tensor.to(like.dtype))
    return found


def as_state_shape(batch: Any, size: Any) -> tuple[Any, ...]:
    """Return the shape of a state for its size, or for a tuple of its sizes without the batch."""
    return (batch, *size) if isinstance(size, tuple) else (batch, size)
