"""HeadAttention: the base of the layers that attend with several heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..._core.seeds import SeedGenerator
from ..._ops.attention.heads import attend, attend_fused, can_fuse_attention, make_causal_mask
from .head_masks import join_masks
from .projections import INPUTS, HeadProjections


class HeadAttention(HeadProjections):
    """Projects query, key and value to several heads, attends, and projects the result."""

    first_argument: ClassVar[str] = "query"
    call_arguments: ClassVar[tuple[str, ...]] = (
        *("value", "key", "query_mask", "value_mask", "key_mask", "attention_mask"),
        *("return_attention_scores", "use_causal_mask"),
    )
    supports_masking = True
    depends_on_training_mode = True
    returns_new_tensor = True
    _least_rank = 3
    _omit_config_if_unset = ()
    _never_in_config = ("flash_attention",)
    _counts_output_twice: ClassVar[bool] = False  # in the activity terms: of projection and layer
    attention_axes: Any = None
    dropout: float
    use_bias: bool
    use_gate: bool
    sliding_window: int | None

    def _set_up(self, arguments: Mapping[str, Any]) -> None:
        """Keep the arguments that the layers share, given as local variables of a constructor."""
        for name in ("use_bias", "use_gate", "dropout", "sliding_window", "seed"):
            setattr(self, name, arguments[name])
        self.flash_attention = arguments["flash_attention"]
        self._require("dropout", "a number from 0 to 1", self.dropout, lambda n: 0 <= n <= 1)
        window, seed = self.sliding_window, arguments["seed"]
        if window is not None and (not isinstance(window, int) or window < 1):
            self._refuse_argument("sliding_window", "a positive integer or None", window)
        if seed is not None and not isinstance(seed, int):
            self._refuse_argument("seed", "an integer or None", seed)
        if self.flash_attention and self.dropout > 0:
            rule = "0 with `flash_attention`"
            self._refuse_argument("dropout", rule, self.dropout, flash_attention=True)
        self._seeds = None if seed is None else SeedGenerator(seed)
        self._assign_arguments(arguments)
        self._register_weights(arguments["device"], arguments["input_shape"])

    # A call

    def forward(
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attend from each step of the query to the steps of the value.

        Args:
            query: A tensor or array (batch, steps, features).
            value: (batch, keys, features); by default the query, for self-attention.
            key: (batch, keys, features); by default the value.
            query_mask: (batch, steps), False at the steps to leave out.
            value_mask: (batch, keys), False at the steps to leave out.
            key_mask: The same for the key.
            attention_mask: (batch, steps, keys), or (batch, heads, steps, keys), False where a step
                must not attend to a key; what broadcasts to that is accepted.
            return_attention_scores: Whether the weights of the keys are returned, too.
            use_causal_mask: Whether steps attend to no later keys.

        Returns:
            The output (batch, steps, features); with `return_attention_scores` a tuple of it and
            the weights (batch, heads, steps, keys) before dropout.

        Raises:
            ValueError: An argument has another shape.
        """
        q = self._prepare_input(query, "query")
        v = q if value is None or value is query else self._prepare_input(value, "value")
        k = v if key is None or key is value else self._prepare_input(key, "key")
        axes = self._list_axes(q)
        self._require_fitting(q, v, k, axes)
        with_scores = bool(return_attention_scores)
        if self.flash_attention and with_scores:
            rule = "False with `flash_attention`"
            self._refuse_argument("return_attention_scores", rule, True)
        padding, flags = (
            (query_mask, value_mask, key_mask),
            (use_causal_mask, return_attention_scores),
        )
        mask = join_masks(self, (q, v), padding, attention_mask, axes, *flags)
        heads = self._project("query", q), self._project("key", k), self._project("value", v)
        gate = torch.sigmoid(self._project("gate", q)) if self.use_gate else None
        found, scores = self._attend(*heads, mask, axes, use_causal_mask, with_scores)
        outputs = self._project("output", (found if gate is None else found * gate).flatten(-2))
        if self.activity_regularizer is not None:
            terms = [heads[0], heads[1], gate, heads[2], outputs]
            terms = [outputs, *terms] if self._counts_output_twice else terms
            self._record_activity([one for one in terms if one is not None])
        return (outputs, scores) if with_scores else outputs

    def _prepare_input(self, inputs: Any, argument: str = "inputs") -> Tensor:
        x, policy = self._as_real_tensor(inputs, argument), self._policy
        own = self._tensor("query_weight").dtype
        if x.dtype is own and policy.compute_dtype == policy.variable_dtype:
            return x  # the usual case, faster
        return self._cast(x, own)[0]

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        axes: Sequence[int],
        causal: bool,
        with_scores: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs of the heads, and the weights of the keys if they are asked for."""
        repeats = self._heads[0] // self._heads[1]
        if repeats > 1:
            key, value = (x.repeat_interleave(repeats, -2) for x in (key, value))
        scale, drops = self._sizes[0] ** -0.5, self.training and self.dropout > 0
        fusible = query.ndim == 4 and list(axes) == [1]
        if mask is not None:
            empty_is_uniform = fusible and not self.dropout and not with_scores
            mask = self._finish_mask(mask, query.dtype, empty_is_uniform)
        if fusible and not with_scores and not drops and can_fuse_attention():
            causal = causal and mask is None
            return attend_fused(query, key, value, mask, scale, causal=causal), None
        if causal and mask is None:
            mask = make_causal_mask(query.shape[1], key.shape[1], query.device)
        return attend(query, key, value, mask, scale, axes, self._drop)

    def _finish_mask(self, mask: Tensor, dtype: torch.dtype, uniform: bool) -> Tensor:
        """Return the mask to add, with which a step without keys attends to all, or the mask."""
        if self.keras_2:
            large = torch.finfo(dtype).min / 2 if dtype is torch.float16 else -1e9
            return (1 - mask.to(dtype)) * large
        if not uniform:
            return mask
        large = -0.7 * torch.finfo(dtype).max
        return torch.where(mask, 0.0, torch.full((), large, dtype=dtype, device=mask.device))

    def _read_attention_mask(self, mask: Tensor, alone: bool, as_scores: bool) -> Tensor:
        """Return it as booleans; Keras 2 takes one that is `alone` as parts of 1."""
        return mask if self.keras_2 and alone else mask.bool()

    def _project(self, name: str, x: Tensor) -> Tensor:
        """Return a projection, with its axes apart."""
        found = self._tensor(f"{name}_weight"), self._tensor(f"{name}_bias")
        weight, bias = (w if w is None or w.dtype is x.dtype else w.to(x.dtype) for w in found)
        outputs = F.linear(x, weight, bias)
        if name != "output":
            heads = self._heads[name in ("key", "value")]
            return torch.unflatten(outputs, -1, (heads, weight.shape[0] // heads))
        sizes = self.output_shape or ()
        return torch.unflatten(outputs, -1, sizes) if len(sizes) > 1 else outputs

    def _drop(self, weights: Tensor) -> Tensor:
        """Drop weights of keys in training, with a seed those that Keras on torch drops."""
        if not self.training or not self.dropout:
            return weights
        if self.dropout == 1:
            return torch.zeros_like(weights)
        if self._seeds is None or weights.is_meta:
            return F.dropout(weights, self.dropout)
        generator = torch.Generator().manual_seed(self._seeds.next() & 0xFFFFFFFF)
        kept = torch.bernoulli(torch.full(weights.shape, 1 - self.dropout), generator=generator)
        return torch.where(kept.to(weights.device).bool(), weights / (1 - self.dropout), 0)

    def _list_axes(self, query: Tensor) -> list[int]:
        """Return the axes of the steps, counted from the first one."""
        rank, axes = query.ndim, self.attention_axes
        self._require_rank(query)
        found = [a if a >= 0 else a + rank for a in axes or range(1, rank - 1)]
        if any(not 0 < axis < rank - 1 for axis in found):
            rule = f"axes between the batch and the last one of an input of {rank} dimensions"
            self._refuse_argument("attention_axes", rule, axes)
        return found

    def _require_fitting(self, q: Tensor, v: Tensor, k: Tensor, axes: Sequence[int]) -> None:
        """Refuse inputs whose sizes are others than the weights', or do not fit each other."""
        for name, x in zip(INPUTS, (q, v, k), strict=True):
            size = self._tensor(f"{name}_weight").shape[1]
            if x.ndim != q.ndim:
                self._refuse_argument(name, f"of {q.ndim} dimensions, as the query", tuple(x.shape))
            if x.shape[-1] != size:
                rule = f"of the size {size} along the last axis"
                self._refuse_argument(name, rule, tuple(x.shape))
        if k is not v:
            self._require_same_steps(tuple(v.shape), tuple(k.shape), "key")
        others = [axis for axis in range(q.ndim - 1) if axis not in axes]
        if any(v.shape[axis] != q.shape[axis] for axis in others):
            rule = f"of the query's sizes {tuple(q.shape)} where it has no steps to attend to"
            self._refuse_argument("value", rule, tuple(v.shape))
        if any(v.shape[axis] == 0 for axis in axes):
            name = "query" if v is q else "value"
            self._refuse_argument(name, "of 1 step or more", tuple(v.shape))

    @property
    def output_count(self) -> int:
        """The most tensors that `forward` returns: the output, and the weights of the keys."""
        return 2

    def _is_lowerable(self) -> bool:
        return False
