"""MultiHeadAttention: attention with several heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from ..._core.arguments import as_positive_int
from ..._core.config_versions import drop_newer
from ..._core.registry import keras_layer
from .heads import HeadAttention
from .projections import declare_projection
from .torch_conversion import AttentionCounterpart

__all__ = ["MultiHeadAttention"]

_OF_KERAS_2 = ("query_shape", "value_shape", "key_shape", "softmax_robust_masking")


@keras_layer()
class MultiHeadAttention(HeadAttention, AttentionCounterpart):
    """Attention of a query to the steps of a value, by their keys, with several heads.

    Same as `keras.layers.MultiHeadAttention`, except that `value` may be left out of a call for
    self-attention, that `query_mask` is used in a call of your own, where Keras replaces it by the
    mask that the query carries, and that double precision is double on PyTorch, too.

    As in Keras, a step whose keys are all masked attends to all of them alike where `dropout` is 0
    and no scores are returned, and to none otherwise.

    Inference, and training without dropout, call `F.scaled_dot_product_attention`. On a CPU that
    has no second derivative: ask for one inside `torch.nn.attention.sdpa_kernel` with its math
    kernel.

    Args:
        num_heads: The number of heads.
        key_dim: The size of a query and of a key of each head.
        value_dim: That of a value; by default `key_dim`.
        dropout: The fraction of the weights of the keys that is dropped in training.
        use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            kernel_constraint, bias_constraint, input_shape, device, **kwargs: As in `Conv2D`, for
            each projection.
        output_shape: The sizes of the output after the batch and the steps; by default the last
            size of the query.
        attention_axes: The axes of the steps; by default all between the batch and the last one.
        sliding_window: Steps attend only to keys that are less than this away.
        flash_attention: None or False, or True to refuse what it cannot do; PyTorch chooses.
        activity_regularizer: Regularizer of the output of each projection.
        use_gate: Whether the heads are multiplied by the sigmoid of one more projection.
        seed: The seed of dropout, as in `Dropout`.

    Shape:
        - Input: (batch, steps, features), or more axes of steps.
        - Output: (batch, steps, features), or (batch, steps, *output_shape).
        - `query_weight`: (num_heads * key_dim, features), and the like for key, gate and value.
        - `output_weight`: (features, num_heads * value_dim).

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import torch
        >>> layer = MultiHeadAttention(num_heads=2, key_dim=3)
        >>> query, value = torch.rand(4, 5, 6), torch.rand(4, 7, 8)
        >>> tuple(layer(query, value, use_causal_mask=True).shape)
        (4, 5, 6)
    """

    weight_specs = (
        *declare_projection("query", "query_dense"),
        *declare_projection("key", "key_dense"),
        *declare_projection("gate", "_gate_dense", ("use_gate",)),
        *declare_projection("value", "value_dense"),
        *declare_projection("output", "output_dense"),
    )
    fixed_arguments = (
        *("num_heads", "key_dim", "value_dim", "use_bias", "use_gate", "output_shape"),
        "attention_axes",
    )
    differs_in_keras_2: ClassVar[bool] = True
    carried_masks: ClassVar[tuple[str, ...]] = ("query_mask",)
    _config_keys_first = ("num_heads", "key_dim", "value_dim", "dropout", "use_bias", "use_gate")

    _config_keys_last = ("activity_regularizer", "kernel_constraint", "bias_constraint", "seed")

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
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
        self.num_heads = as_positive_int(owner, "num_heads", num_heads)
        self.key_dim = as_positive_int(owner, "key_dim", key_dim)
        given = key_dim if value_dim is None else value_dim
        self.value_dim = as_positive_int(owner, "value_dim", given)
        self.output_shape = self._read_sizes(output_shape)
        self.attention_axes = self._read_axes(attention_axes)
        self._heads, self._sizes = (num_heads, num_heads), (key_dim, self.value_dim)
        self._set_up(locals())

    def _read_sizes(self, given: Any) -> tuple[int, ...] | None:
        if not given and given is not None:
            return None  # as Keras takes it
        rule, sizes = "a positive integer, or several of them, or None", given
        if sizes is None:
            return None
        sizes = tuple(given) if isinstance(given, Iterable) else (given,)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            self._refuse_argument("output_shape", rule, given)
        return sizes

    def _read_axes(self, given: Any) -> Any:
        axes = (given,) if isinstance(given, int) else given
        if axes is None:
            return None
        valid = isinstance(axes, (list, tuple)) and all(isinstance(axis, int) for axis in axes)
        if not valid or len(set(axes)) < len(axes):
            self._refuse_argument(
                "attention_axes", "an integer, or several of them, or None", given
            )
        return axes

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3, with `keras_2` for one of Keras 2."""
        upgraded = super().upgrade_config(config)
        if not any(key in upgraded for key in _OF_KERAS_2):
            return upgraded
        kept = {key: value for key, value in upgraded.items() if key not in _OF_KERAS_2}
        return {**kept, "keras_2": True}

    @classmethod
    def upgrade_config_of_keras_3(cls, config: dict[str, Any], minor: int) -> dict[str, Any]:
        """Add `keras_2` for Keras 3.0 to 3.11, whose steps without keys attend to all, too."""
        return {**config, "keras_2": True} if minor < 12 else config

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with Keras's keys; see `Layer.get_config`."""
        config = super().get_config(target)
        drop_newer(config, 15, "sliding_window", None, target)
        drop_newer(config, 14, "use_gate", False, target)
        return config

    def extra_repr(self) -> str:
        """Return the sizes and the arguments that differ from the defaults."""
        first = self._tensor("query_weight")
        size = first.shape[1] if self.built else None
        shown = self._format_non_defaults(value_dim=self.key_dim, use_bias=True, use_gate=False)
        return ", ".join([f"{size}, {self.num_heads}, {self.key_dim}", *shown])
