"""ReversibleEmbedding: an embedding that also projects vectors back to scores of the indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import dtype_policies
from ..._core.arguments import as_number
from ..._core.layout import kernel_to_weight
from ..._core.registry import keras_layer
from ..base.weights import Shape, Sizes, declare_weight
from .embedding import Embedding

__all__ = ["ReversibleEmbedding"]

_ADDED = ("tie_weights", "reverse_dtype", "logit_soft_cap")


@keras_layer()
class ReversibleEmbedding(Embedding):
    """An `Embedding` that, with `reverse=True`, multiplies vectors by the transposed table.

    Same as `keras.layers.ReversibleEmbedding`. `to_torch` returns an `nn.Embedding`, which has no
    reverse.

    Args:
        tie_weights: Whether both directions use one table; otherwise the reverse has a trained one
            of its own, `reverse_weight`, without regularizer and constraint.
        reverse_dtype: The name of the dtype of the reverse; by default that of the product of the
            inputs and the table in the compute dtype.
        logit_soft_cap: A number c: the scores become `c * tanh(scores / c)`; None for no cap.
        input_dim, output_dim, embeddings_initializer, embeddings_regularizer,
            embeddings_constraint, mask_zero, weights, lora_rank, lora_alpha, quantization_config,
            input_shape, device, **kwargs: As in `Embedding`.

    Shape:
        - Input: any; of vectors (..., output_dim) with `reverse=True`.
        - Output: the same and `output_dim`; (..., input_dim) with `reverse=True`.
        - `weight`: (input_dim, output_dim), `reverse_weight`: (output_dim, input_dim), or None.

    Raises:
        ValueError: An argument is invalid, or an index is out of range.

    Example:
        >>> import torch
        >>> layer = ReversibleEmbedding(5, 2)
        >>> vectors = layer(torch.tensor([[3, 1, 0]]))
        >>> tuple(layer(vectors, reverse=True).shape)
        (1, 3, 5)
    """

    weight_specs = (
        *Embedding.weight_specs,
        declare_weight(
            "reverse_weight",
            "reverse_embeddings",
            initializer="embeddings_initializer",
            regularizer=None,
            constraint=None,
            when="_is_untied",
        ),
    )
    fixed_arguments = ("input_dim", "output_dim", "tie_weights")
    call_arguments: ClassVar[tuple[str, ...]] = ("reverse",)
    call_options: ClassVar[tuple[str, ...]] = ("reverse",)
    keras_only: ClassVar = {**Embedding.keras_only, "tie_weights": True, "logit_soft_cap": None}
    _config_keys_first = (
        *Embedding._config_keys_first,
        *("embeddings_constraint", "mask_zero", "quantization_config", "lora_rank", "lora_alpha"),
    )
    _config_keys_last = _ADDED
    tie_weights: bool
    reverse_weight: Tensor

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: str | None = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        # The base registers the weights, which depend on this argument.
        object.__setattr__(self, "tie_weights", tie_weights)
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer,
            embeddings_regularizer,
            embeddings_constraint,
            mask_zero,
            **kwargs,
        )
        if reverse_dtype is not None and not _is_float_dtype(reverse_dtype):
            rule = "None, or the name of a dtype of floating-point numbers"
            self._refuse_argument("reverse_dtype", rule, reverse_dtype)
        if logit_soft_cap is not None:
            rule, least = "a finite number, or None", -float("inf")
            as_number(type(self).__name__, "logit_soft_cap", logit_soft_cap, rule, least=least)
        self.reverse_dtype, self.logit_soft_cap = reverse_dtype, logit_soft_cap

    @property
    def _is_untied(self) -> bool:
        return not self.tie_weights

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights of a layer with this config."""
        return super().weight_names({**config, "_is_untied": not config.get("tie_weights", True)})

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shapes = super()._weight_shapes(shape, argument)
        own = {"reverse_weight": (self.output_dim, self.input_dim)} if self._is_untied else {}
        return {**shapes, **own}

    def forward(self, inputs: Any, reverse: bool = False) -> Tensor:
        """Replace indices by their rows, or vectors by a score for each index.

        Args:
            inputs: A tensor or array of indices, or of vectors with `reverse=True`.
            reverse: Whether to project vectors back.

        Raises:
            ValueError: An index is out of range, or the vectors have another size.
        """
        if not reverse:
            return super().forward(inputs)
        x = self._as_real_tensor(inputs, "inputs")
        self._output_shape(tuple(x.shape), "inputs", reverse=True)
        kernel = (
            self._merged_weight() if self.tie_weights else kernel_to_weight(self.reverse_weight)
        )
        kernel = kernel.to(dtype_policies.to_torch_dtype(self.compute_dtype))
        own = self.reverse_dtype
        to = torch.promote_types(x.dtype, kernel.dtype) if own is None else getattr(torch, own)
        scores = F.linear(x.to(to), kernel.to(to))
        if self.logit_soft_cap is not None:
            scores = torch.tanh(scores / self.logit_soft_cap) * self.logit_soft_cap
        if self.activity_regularizer is not None:
            self._record_activity(scores)
        return scores

    def compute_mask(self, inputs: Any, mask: Any = None, reverse: bool = False) -> Tensor | None:
        """Return whether each index is other than 0; None without `mask_zero` or in reverse."""
        return None if reverse else super().compute_mask(inputs, mask)

    def compute_output_shape(self, input_shape: Sequence[Any], reverse: bool = False) -> Sizes:
        """Return the output shape for an input shape, batch included; unknown sizes are None.

        Raises:
            ValueError: The layer does not accept such an input.
        """
        return self._output_shape(self._check_shape(input_shape), reverse=reverse)

    def _output_shape(
        self, shape: Any, argument: str = "input_shape", reverse: bool = False
    ) -> Sizes:
        if not reverse:
            return super()._output_shape(shape, argument)
        if not shape or shape[-1] not in (None, self.output_dim):
            rule = f"of the size {self.output_dim} along the last axis"
            self._refuse_shape(argument, rule, shape)
        return (*shape[:-1], self.input_dim)


def _is_float_dtype(name: Any) -> bool:
    found = getattr(torch, name, None) if isinstance(name, str) else None
    return isinstance(found, torch.dtype) and found.is_floating_point
