"""KernelLayer: the base of the layers with a kernel, a bias and an activation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from ... import activations, initializers
from ..._core.arguments import as_choice, as_number, as_positive_int, as_positive_ints
from ..._core.errors import argument_error
from ..._core.layout import empty_weight, kernel_to_weight, weight_to_kernel
from ..._ops.window_arithmetic import output_size
from .layer import Layer
from .stateless import resolve_data_format
from .weights import Shape, WeightSpec, declare_weight


def _declare_factor(name: str) -> WeightSpec:
    initializer, when = f"_{name}_initializer", "lora_enabled"
    return WeightSpec(name, name, initializer, "kernel_regularizer", dtype=torch.float32, when=when)


class KernelLayer(Layer):
    """A layer that applies a kernel to its input, adds a bias and applies an activation.

    With LoRA (arXiv:2106.09685) the kernel is frozen and gets a trained update of float32 factors,
    `kernel + lora_alpha / lora_rank * (lora_kernel_a @ lora_kernel_b)` in Keras's order of axes.
    """

    argument_namespaces: ClassVar = {"activation": activations}
    renamed_arguments: ClassVar = {
        "bias": "use_bias",
        "init": "kernel_initializer",
        "W_regularizer": "kernel_regularizer",
        "b_regularizer": "bias_regularizer",
        "W_constraint": "kernel_constraint",
        "b_constraint": "bias_constraint",
    }
    weight_specs: ClassVar[tuple[WeightSpec, ...]] = (
        declare_weight("weight", "kernel", view=weight_to_kernel, empty=empty_weight),
        declare_weight("bias", "bias", when="use_bias"),
        _declare_factor("lora_kernel_a"),
        _declare_factor("lora_kernel_b"),
    )
    returns_new_tensor = True
    use_bias: bool
    weight: Tensor
    bias: Tensor | None
    activation: Callable[[Tensor], Tensor]
    kernel_constraint: Any
    lora_kernel_a: Tensor
    lora_kernel_b: Tensor
    lora_enabled = False
    lora_rank: int | None = None
    lora_alpha: float | None = None
    _lora_kernel_a_initializer: Any = initializers.HeUniform()
    _lora_kernel_b_initializer: Any = initializers.Zeros()

    def _cache_call_constants(self) -> None:
        """Cache what `forward` needs at every call."""
        mixed = self._policy.compute_dtype != self._policy.variable_dtype
        self._always_casts = mixed or self.lora_enabled

    def _parameter_shapes(self, weight: Shape) -> dict[str, Shape]:
        """Return the shapes of all parameters for that of the weight."""
        shapes = {"weight": weight, "bias": weight[:1]} if self.use_bias else {"weight": weight}
        return {**shapes, **self._lora_shapes(weight, self.lora_rank)}

    def _is_nonnegative(self) -> bool:
        return self.activation is activations.relu or self.activation is activations.relu6

    def _format_non_defaults(self, **defaults: Any) -> list[str]:
        defaults |= {"use_bias": True, "lora_rank": None, "trainable": True}
        shown = super()._format_non_defaults(**defaults)
        if not isinstance(self.activation, nn.Module) and self.activation is not activations.linear:
            shown.append(f"activation={getattr(self.activation, '__name__', self.activation)}")
        return shown

    # A call

    def _prepare_input(self, inputs: Any) -> Tensor:
        return self._cast_inputs_and_weights(inputs, self.weight, self.bias)[0]

    def _cast_inputs_and_weights(
        self, inputs: Any, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Cast the input, weight and bias to the compute dtype."""
        x = self._as_tensor(inputs)
        self._require_rank(x)
        if self.lora_enabled:
            weight = self._weight_with_lora(weight)
        x, compute = self._cast(x, weight.dtype)
        if compute is not weight.dtype:
            weight = weight.to(compute)
            bias = None if bias is None else bias.to(compute)
        return x, weight, bias

    def _translate_error(self, error: RuntimeError, inputs: Tensor, weight: Tensor) -> Exception:
        """Return the layer's own error for one of torch's, or torch's if the layer has none."""
        try:
            self._require_fit(inputs)
        except ValueError as refused:
            return refused
        for what in ("device", "dtype"):
            actual, expected = getattr(inputs, what), getattr(weight, what)
            if actual != expected:
                owner, rule = type(self).__name__, f"the weights' {what}, {expected}"
                remedy = "Convert them with `inputs.to(...)`, or the layer with `layer.to(...)`."
                return RuntimeError(argument_error(owner, f"inputs.{what}", rule, actual, remedy))
        return error

    # LoRA

    @property
    def kernel(self) -> Tensor:
        """The kernel in Keras's order, (*kernel_size, channels / groups, filters).

        A view of `weight`: what is written to it reaches the weight. With LoRA it is the merged
        kernel, a new tensor.

        Raises:
            ValueError: The layer is not built.
        """
        self._require_built("kernel")
        return self._view_in_keras_order(self.weight_specs[0], self._merged_weight())

    def _merged_weight(self) -> Tensor:
        return self._weight_with_lora(self.weight) if self.lora_enabled else self.weight

    def _tensor_to_save(self, name: str) -> Any:
        return self._merged_weight() if name == "weight" else super()._tensor_to_save(name)

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the kernel and train a low-rank update instead.

        Make the optimizer afterwards: an existing one does not know the new parameters.

        Args:
            rank: The rank of the update.
            lora_alpha: The update is scaled by `lora_alpha / rank`; by default by 1.
            a_initializer: The initializer of the first factor.
            b_initializer: The initializer of the second factor.

        Raises:
            ValueError: The layer is not built, has LoRA already, or has a kernel constraint.
            AttributeError: Keras has no LoRA for this class.
        """
        if "lora_rank" in self.removed_arguments:
            rule = f"left out: Keras has no LoRA for {type(self).__name__}"
            self._refuse_argument("rank", rule, rank, error=AttributeError)
        self._require_built("enable_lora")
        if self.lora_enabled:
            self._refuse_argument("rank", "given once: the layer has LoRA already", rank)
        rank, alpha = self._check_lora("rank", rank, lora_alpha)
        self._lora_kernel_a_initializer = a_initializer
        self._lora_kernel_b_initializer = b_initializer
        shapes = self._lora_shapes(tuple(self.weight.shape), rank)
        for name, value in self._make_initial_values(shapes).items():
            self.register_parameter(name, Parameter(value, self.trainable))
        self.weight.requires_grad = False
        self.lora_enabled, self.lora_rank, self.lora_alpha = True, rank, alpha
        self._cache_call_constants()

    def _set_lora(self, rank: Any, alpha: Any) -> None:
        """Set the constructor's arguments; a rank of 0 means no LoRA, as in Keras."""
        if rank:
            self.lora_rank, self.lora_alpha = self._check_lora("lora_rank", rank, alpha)
            self.lora_enabled = True
        self._cache_call_constants()

    def _starts_frozen(self, spec: WeightSpec) -> bool:
        return super()._starts_frozen(spec) or (self.lora_enabled and spec.parameter == "weight")

    def _check_lora(self, argument: str, rank: Any, alpha: Any) -> tuple[int, float]:
        owner = type(self).__name__
        if self.kernel_constraint is not None:
            constraint, remedy = self.kernel_constraint, "With LoRA nothing projects the kernel."
            self._refuse_argument(
                "kernel_constraint", "None with LoRA", constraint, remedy, lora_rank=rank
            )
        rank = as_positive_int(owner, argument, rank)
        if alpha is not None:
            as_number(owner, "lora_alpha", alpha, "a finite number >= 0")
        return rank, rank if alpha is None else alpha

    def _lora_shapes(self, weight: Shape, rank: int | None) -> dict[str, Shape]:
        outputs, inputs, *sizes = weight
        if not rank:
            return {}
        return {"lora_kernel_a": (*sizes, inputs, rank), "lora_kernel_b": (rank, outputs)}

    def _weight_with_lora(self, weight: Tensor) -> Tensor:
        """Return the weight plus the scaled low-rank update, in the weight's dtype."""
        scale = (self.lora_alpha or 0) / (self.lora_rank or 1)
        update = kernel_to_weight(scale * (self.lora_kernel_a @ self.lora_kernel_b))
        return (weight + update).to(weight.dtype)


# The geometry of a kernel that slides over `rank` spatial axes, for classes of any base

OLD_GEOMETRY = {  # names of Keras 1
    "nb_filter": "filters",
    "border_mode": "padding",
    "subsample": "strides",
    "filter_length": "kernel_size",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
}


def set_geometry(
    layer: Any,
    filters: Any,
    kernel_size: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    dilation_rate: Any,
) -> None:
    """Check and keep these arguments of a layer, documented in `Conv2D`."""
    owner, rank = type(layer).__name__, layer.rank
    layer.filters = as_positive_int(owner, "filters", filters)
    layer.kernel_size = as_positive_ints(owner, "kernel_size", kernel_size, rank)
    layer.strides = as_positive_ints(owner, "strides", strides, rank)
    layer.padding = as_choice(owner, "padding", padding, layer.paddings)
    layer.data_format = resolve_data_format(owner, data_format)
    layer.dilation_rate = as_positive_ints(owner, "dilation_rate", dilation_rate, rank)
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1 and not layer.strides_dilate:
        rule, dilation = "1 where `dilation_rate` exceeds 1", layer.dilation_rate
        remedy = "No layer of Keras has both above 1."
        layer._refuse_argument("strides", rule, layer.strides, remedy, dilation_rate=dilation)


def upgrade_geometry(rank: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the sizes in a config of any Keras to those of Keras 3; Keras 1 has one an axis."""
    upgraded = dict(config)
    for sizes in (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3")):
        if sizes[0] in upgraded:
            upgraded["kernel_size"] = tuple(upgraded.pop(size, None) for size in sizes)
    if rank == 1 and upgraded.keys() & {"kernel_initializer", "use_bias"}:
        # Up to Keras 2.1, a full config of one spatial axis has no data format.
        upgraded.setdefault("data_format", "channels_last")
    return upgraded


def require_room(
    layer: Any, argument: str, shape: Sequence[int | None], spatial: Sequence[int | None]
) -> list[int | None]:
    """Return the output's spatial sizes, or raise if the input is smaller than the kernel."""
    axes = zip(spatial, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    sizes = [output_size(n, k, s, d, layer.padding) for n, k, s, d in axes]
    padded = layer.padding != "valid"
    least = 0 if padded and argument == "input_shape" else 1
    if any(size is not None and size < least for size in sizes):
        rule = "a shape at least as large as the kernel"
        remedy = "Use a larger input." if padded else "Use a larger input, or padding='same'."
        related = {"kernel_size": layer.kernel_size, "dilation_rate": layer.dilation_rate}
        layer._refuse_shape(argument, rule, shape, remedy, **related)
    return sizes
