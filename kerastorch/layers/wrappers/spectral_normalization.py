"""SpectralNormalization: divides the kernel of a layer by its largest singular value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import dtype_policies, initializers
from ..._core.registry import keras_layer
from ..base import nesting
from ..base.layer import Layer
from ..base.owner import Groups, nest_groups
from ..base.weights import Shape, WeightSpec, WeightView
from .wrapper import Wrapper

__all__ = ["SpectralNormalization"]

KERNELS = ("kernel", "embeddings")


@keras_layer()
class SpectralNormalization(Wrapper):
    """Divides the kernel of a layer by an estimate of its largest singular value.

    Same as `keras.layers.SpectralNormalization`: each call in training replaces the kernel by the
    divided one, and the gradient is that of the new kernel. In evaluation the kernel is used as it
    is. `torch.nn.utils.parametrizations.spectral_norm` keeps the kernel instead.

    Args:
        layer: A layer with a kernel or an embedding, without LoRA.
        power_iterations: The number of iterations by which each call improves the estimate.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input and output: Those of the layer. The output has the dtype of the input.
        - `vector_u`: (1, the last size of the kernel in Keras's order), a buffer.

    Raises:
        ValueError: An argument is invalid, or the layer has no kernel.

    Example:
        >>> import torch
        >>> from kerastorch.layers import Dense
        >>> tuple(SpectralNormalization(Dense(3))(torch.rand(2, 4)).shape)
        (2, 3)
    """

    argument_namespaces: ClassVar[Mapping[str, Any]] = {"layer": nesting}
    nested_arguments: ClassVar[tuple[str, ...]] = ("layer",)
    fixed_arguments: ClassVar[tuple[str, ...]] = ("layer",)
    differs_in_keras_2 = True
    repeats_inner_weight = True
    weight_specs = (WeightSpec("vector_u", "vector_u", "_vector_initializer", buffer=True),)
    _vector_initializer: Any = initializers.TruncatedNormal(stddev=0.02)
    layer: Any
    vector_u: Tensor

    def __init__(
        self,
        layer: Any,
        power_iterations: int = 1,
        *,
        input_shape: Sequence[int | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._require("power_iterations", "an integer above 0", power_iterations, lambda n: n > 0)
        if not isinstance(power_iterations, int):
            self._refuse_argument("power_iterations", "an integer above 0", power_iterations)
        self.power_iterations = power_iterations
        layer = nesting.get(layer)
        if not isinstance(layer, Layer) or _find_kernel_spec(layer) is None:
            self._refuse_argument("layer", "a layer with a kernel or an embedding", layer)
        if getattr(layer, "lora_enabled", False):
            self._refuse_argument("layer", "a layer without LoRA, which freezes its kernel", layer)
        self.layer = layer
        self.supports_masking, self.creates_mask = layer.supports_masking, layer.creates_mask
        self._register_weights(None, input_shape)

    # Weights

    @property
    def is_sample_wise(self) -> bool:
        """Whether the kernel is left alone: a call in training divides it."""
        return not self.training

    def _list_owned(self) -> list[Any]:
        return [self.layer]

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> Groups:
        """Return the groups of the weights: the kernel is in the layer's own group, too."""
        inner = nest_groups("layer", config["layer"])
        names = [name for _, names in inner for name in names]
        return [("", (_choose_kernel(names) or "kernel", "vector_u")), *inner]

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights of a layer with this config."""
        own, *inner = (names for _, names in cls.weight_groups(config))
        return (*own, *(name for names in inner for name in names if name != own[0]))

    @property
    def built(self) -> bool:
        """Whether the weights of the layer and the vector have their shapes."""
        return super().built and not self._find_unbuilt()

    @property
    def variables(self) -> list[WeightView]:
        """The kernel, the vector, and the other weights of the layer."""
        found = super().variables
        if not found:
            return []
        name = _choose_kernel([variable.name for variable in found])
        kernel = next(variable for variable in found if variable.name == name)
        spec = self.weight_specs[0]
        others = [variable for variable in found if variable is not kernel]
        return [kernel, spec.view_weight(self, self._tensor("vector_u")), *others]

    def _view_kernel(self) -> Tensor:
        """Return the kernel in Keras's order of axes."""
        spec = _find_kernel_spec(self.layer)
        view: Tensor = self.layer._view_in_keras_order(spec, self.layer._tensor(spec.parameter))
        return view

    def _build(self, input_shape: Any, argument: str = "input_shape") -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
        super()._build(input_shape, argument)

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        if self.layer.built:
            return {"vector_u": (1, self._view_kernel().shape[-1])}
        spec = _find_kernel_spec(self.layer)
        sizes = self.layer._weight_shapes(shape, argument)[spec.parameter]
        kernel = self.layer._view_in_keras_order(spec, torch.empty(sizes, device="meta"))
        return {"vector_u": (1, kernel.shape[-1])}

    def _complete_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape] | None:
        vector = shapes.get("vector_u", ())
        return dict(shapes) if len(vector) == 2 and vector[0] == 1 else None

    def _empty(self, spec: WeightSpec, shape: Shape) -> Tensor:
        """Return an empty vector of the kernel's dtype, which the inner layer's policy decides."""
        kernel = self.layer._tensor(_find_kernel_spec(self.layer).parameter)
        return torch.empty(shape, dtype=kernel.dtype, device=kernel.device)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Follow `.half()` and the like, whatever dtype the vector has."""
        own = dtype_policies.to_torch_dtype(self._policy.variable_dtype)
        new = fn(torch.empty(0, dtype=own)).dtype
        if new is not own:
            self._policy = dtype_policies.DTypePolicy(dtype_policies.get_dtype_name(new))
        return super()._apply(fn, recurse)

    def reset_parameters(self) -> None:
        """Sample new initial values for the weights of the layer, and a new vector."""
        super().reset_parameters()
        Layer.reset_parameters(self)

    # The computation

    def forward(self, inputs: Any) -> Tensor:
        """Compute the output of the layer; in training, divide its kernel before.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        x = self._prepare_input(inputs)
        call = self._call_normalized if self.training else self.layer
        y: Tensor = self._call_inner("inputs", x, lambda: call(x))
        if not self.keras_2:
            y = self._cast_output(y) if x.is_floating_point() else y.to(x.dtype)
        if self.activity_regularizer is not None:
            self._record_activity(y)
        return y

    def _call_normalized(self, x: Tensor) -> Tensor:
        """Replace the kernel by the divided one and call the layer with a copy of it.

        The copy lets several calls precede a backward pass, as in the training of a GAN.
        """
        kept = [self._view_kernel().detach().clone(), self.vector_u.clone()]
        self._divide_kernel()
        try:
            name = _find_kernel_spec(self.layer).parameter
            copy = {name: self.layer._tensor(name).clone()}
            y: Tensor = torch.func.functional_call(self.layer, copy, (x,))
        except (ValueError, RuntimeError, IndexError):  # a refused call changes nothing
            with torch.no_grad():
                self._view_kernel().copy_(kept[0])
                self.vector_u.copy_(kept[1])
            raise
        return y

    @torch.no_grad()
    def _divide_kernel(self) -> None:
        kernel, u = self._view_kernel(), self.vector_u
        weights = kernel.reshape(-1, kernel.shape[-1])
        new = u
        for _ in range(self.power_iterations):
            v = self._normalize(F.linear(new, weights))
            new = self._normalize(v @ weights)
        sigma = F.linear(v @ weights, new)
        is_zero = (kernel == 0).all()  # such a kernel stays as it is
        u.copy_(torch.where(is_zero, u, new))
        kernel.copy_(torch.where(is_zero, kernel, kernel / sigma))

    def _normalize(self, x: Tensor) -> Tensor:
        squares = x.square().sum()
        if self.keras_2:
            return x * squares.clamp(min=1e-12).rsqrt()
        return x * squares.rsqrt().clamp(max=1e7)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the layer's output; Keras 3 loses it where that is cast."""
        x = self._as_tensor(inputs)
        same = x.is_floating_point() and self.layer.compute_dtype == self.compute_dtype
        return self.layer.compute_mask(inputs, mask) if same or self.keras_2 else None

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        """Return the output shape of the layer.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        return self.layer.compute_output_shape(input_shape)

    def extra_repr(self) -> str:
        """Return the number of iterations and the dtype."""
        return ", ".join(self._format_non_defaults(power_iterations=1))


def _choose_kernel(names: Sequence[str]) -> str | None:
    return next((name for name in KERNELS if name in names), None)


def _find_kernel_spec(layer: Layer) -> Any:
    """Return the spec of the kernel that Keras finds as an attribute of the layer, or None."""
    groups = layer.weight_groups({name: getattr(layer, name, None) for name in layer.arguments()})
    name = _choose_kernel(dict(groups).get("", ()))
    return next((spec for spec in layer.weight_specs if spec.name == name), None)
