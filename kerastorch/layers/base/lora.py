"""LoRA: a trained low-rank update of a frozen kernel (arXiv:2106.09685)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import Parameter

from ..._core.arguments import as_number, as_positive_int
from ..._core.layout import kernel_to_weight, weight_to_kernel
from .layer import Layer
from .weights import Shape, WeightSpec

_FACTORS = ("lora_kernel_a", "lora_kernel_b")


class LoRAMixin(Layer):
    """A layer whose kernel can be frozen and get a trained low-rank update instead.

    The kernel is then `kernel + lora_alpha / lora_rank * (lora_kernel_a @ lora_kernel_b)` in
    Keras's order of axes. The factors are always float32. While it is off it costs nothing.
    """

    weight_specs = tuple(
        WeightSpec(
            name,
            name,
            f"_{name}_initializer",
            "kernel_regularizer",
            dtype=torch.float32,
            when="lora_enabled",
        )
        for name in _FACTORS
    )
    weight: Tensor
    lora_kernel_a: Tensor
    lora_kernel_b: Tensor
    kernel_constraint: Any
    lora_enabled: bool
    lora_rank: int | None
    lora_alpha: float | None

    @property
    def kernel(self) -> Tensor:
        """The kernel in Keras's order, (*kernel_size, channels / groups, filters).

        A view of `weight`: what is written to it reaches the weight. With LoRA it is the merged
        kernel, a new tensor.

        Raises:
            ValueError: The layer is not built.
        """
        self._require_built("kernel")
        return weight_to_kernel(
            self._weight_with_lora(self.weight) if self.lora_enabled else self.weight
        )

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
        """
        self._require_built("enable_lora")
        if self.lora_enabled:
            self._refuse("rank", "given once: the layer has LoRA already", rank)
        rank, alpha = self._check_lora("rank", rank, lora_alpha)
        self._lora_kernel_a_initializer = a_initializer
        self._lora_kernel_b_initializer = b_initializer
        shapes = self._lora_shapes(tuple(self.kernel.shape), rank)
        for name, value in self._make_initial_values(shapes).items():
            self.register_parameter(name, Parameter(value, self.trainable))
        self.weight.requires_grad = False
        self.lora_enabled, self.lora_rank, self.lora_alpha = True, rank, alpha
        self._cache_call_constants()

    def _cache_call_constants(self) -> None:
        """Cache what `forward` needs at every call."""
        raise NotImplementedError

    def _set_lora(self, rank: Any, alpha: Any) -> None:
        """Set the constructor's arguments; a rank of 0 means no LoRA, as in Keras."""
        self._lora_kernel_a_initializer = "he_uniform"
        self._lora_kernel_b_initializer = "zeros"
        self.lora_enabled, self.lora_rank, self.lora_alpha = bool(rank), None, None
        if rank:
            self.lora_rank, self.lora_alpha = self._check_lora("lora_rank", rank, alpha)

    def _starts_frozen(self, spec: WeightSpec) -> bool:
        return super()._starts_frozen(spec) or (self.lora_enabled and spec.parameter == "weight")

    def _check_lora(self, argument: str, rank: Any, alpha: Any) -> tuple[int, float]:
        owner = type(self).__name__
        if self.kernel_constraint is not None:
            constraint, remedy = self.kernel_constraint, "With LoRA nothing projects the kernel."
            self._refuse("kernel_constraint", "None with LoRA", constraint, remedy, lora_rank=rank)
        rank = as_positive_int(owner, argument, rank)
        if alpha is not None:
            as_number(owner, "lora_alpha", alpha, "a finite number >= 0")
        return rank, rank if alpha is None else alpha

    def _lora_shapes(self, kernel_shape: Shape, rank: int) -> dict[str, Shape]:
        *inputs, outputs = kernel_shape
        return dict(zip(_FACTORS, ((*inputs, rank), (rank, outputs)), strict=True))

    def _weight_with_lora(self, weight: Tensor) -> Tensor:
        """Return the weight plus the scaled low-rank update, in the weight's dtype."""
        scale = (self.lora_alpha or 0) / (self.lora_rank or 1)
        update = kernel_to_weight(scale * (self.lora_kernel_a @ self.lora_kernel_b))
        return (weight + update).to(weight.dtype)
