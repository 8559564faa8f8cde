"""GroupedQueryAttention: attention whose heads share keys and values in groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..._core.arguments import as_positive_int
from ..._core.registry import keras_layer
from ..base.weights import Sizes
from .heads import HeadAttention
from .projections import declare_projection

__all__ = ["GroupQueryAttention", "GroupedQueryAttention"]


@keras_layer(aliases=["GroupQueryAttention"])
class GroupedQueryAttention(HeadAttention):
    """Attention with several heads, of which groups share the keys and the values.

    Same as `keras.layers.GroupQueryAttention`, with the exceptions of `MultiHeadAttention`; Keras,
    too, uses `query_mask`.

    Args:
        head_dim: The size of a query, a key and a value of each head.
        num_query_heads: The number of heads.
        num_key_value_heads: The number of groups, a divisor of it.
        dropout, use_bias, sliding_window, flash_attention, kernel_initializer, bias_initializer,
            kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, use_gate, seed, input_shape, device, **kwargs: As in
            `MultiHeadAttention`.

    Shape:
        - Input and output: (batch, steps, features).
        - `query_weight`: (num_query_heads * head_dim, features).
        - `key_weight` and `value_weight`: (num_key_value_heads * head_dim, features).
        - `output_weight`: (features, num_query_heads * head_dim).

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> layer = GroupedQueryAttention(head_dim=3, num_query_heads=4, num_key_value_heads=2)
        >>> tuple(layer(torch.rand(4, 5, 6)).shape), tuple(layer.key_weight.shape)
        ((4, 5, 6), (6, 6))
    """

    weight_specs = (
        *declare_projection("query", "_query_dense"),
        *declare_projection("key", "_key_dense"),
        *declare_projection("gate", "_gate_dense", ("use_gate",)),
        *declare_projection("value", "_value_dense"),
        *declare_projection("output", "_output_dense"),
    )
    fixed_arguments = ("head_dim", "num_query_heads", "num_key_value_heads", "use_bias", "use_gate")
    _config_keys_first = (
        *("head_dim", "num_query_heads", "num_key_value_heads", "use_bias", "use_gate"),
        "sliding_window",
    )

    _counts_output_twice = True

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.head_dim = as_positive_int(owner, "head_dim", head_dim)
        self.num_query_heads = as_positive_int(owner, "num_query_heads", num_query_heads)
        self.num_key_value_heads = as_positive_int(
            owner, "num_key_value_heads", num_key_value_heads
        )
        if num_query_heads % num_key_value_heads:
            rule = f"a divisor of `num_query_heads` = {num_query_heads}"
            self._refuse_argument("num_key_value_heads", rule, num_key_value_heads)
        self._heads, self._sizes = (num_query_heads, num_key_value_heads), (head_dim, head_dim)
        self._set_up(locals())

    @property
    def _input_rank(self) -> int | None:
        return 3

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any = None, key_shape: Any = None
    ) -> Sizes:
        """Return the output shape; see `MultiHeadAttention`. Query and value have one last size.

        Raises:
            ValueError: The layer does not accept such inputs.
        """
        shape = super().compute_output_shape(query_shape, value_shape, key_shape)
        if value_shape is not None and value_shape[-1] != shape[-1]:
            rule = f"a shape with the query's last size {shape[-1]}"
            self._refuse_argument("value_shape", rule, tuple(value_shape))
        return shape

    def _read_attention_mask(self, mask: Tensor, alone: bool, as_scores: bool) -> Tensor:
        """Return it as booleans, as Keras casts it: alone it takes 0.5 and less for 0."""
        soft = alone and as_scores and mask.is_floating_point()
        return mask > 0.5 if soft else mask.bool()

    def extra_repr(self) -> str:
        """Return the sizes and the arguments that differ from the defaults."""
        first = self._tensor("query_weight")
        heads = f"{self.head_dim}, {self.num_query_heads}, {self.num_key_value_heads}"
        shown = self._format_non_defaults(use_bias=True, use_gate=False)
        return ", ".join([f"{first.shape[1] if self.built else None}, {heads}", *shown])


GroupQueryAttention = GroupedQueryAttention
