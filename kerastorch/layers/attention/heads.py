"""HeadAttention: the base of the layers that attend with several heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import initializers
from ..._core.layout import heads_weight_to_kernel, output_weight_to_kernel
from ..._core.seeds import SeedGenerator
from ..._ops.attention import attend, attend_fused, can_fuse_attention, make_causal_mask
from ..base.layer import Layer
from ..base.weights import Shape, Sizes, WeightSpec, declare_weight
from .head_masks import join_masks

INPUTS = ("query", "value", "key")


def declare_projection(name: str, group: str, when: tuple[str, ...] = ()) -> list[WeightSpec]:
    """Return the specs of the kernel and the bias of a projection."""
    return [
        declare_weight(f"{name}_weight", "kernel", group=group, when=when),
        declare_weight(f"{name}_bias", "bias", group=group, when=("use_bias", *when)),
    ]


class HeadAttention(Layer):
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
    _config_keys_last = ("activity_regularizer", "kernel_constraint", "bias_constraint", "seed")
    attention_axes: Any = None
    output_shape: tuple[int, ...] | None = None
    kernel_initializer: Any
    dropout: float
    use_bias: bool
    use_gate: bool
    sliding_window: int | None
    _sizes: tuple[int, int]  # of a query or key, and of a value, of one head
    _heads: tuple[int, int]  # the numbers of those of the queries, and of the keys and values

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

    # Weights

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
        """Return the group of each projection, with the names of its weights."""
        given = {"use_bias": True, **config}
        found: dict[str, tuple[str, ...]] = {}
        for spec in cls.weight_specs:
            if spec.is_on(given.get):
                found[spec.group] = (*found.get(spec.group, ()), spec.name)
        return list(found.items())

    def build(self, query_shape: Any, value_shape: Any = None, key_shape: Any = None) -> None:
        """Give the weights their shapes and their initial values.

        Args:
            query_shape: The shape of the query, batch included; unknown sizes are None.
            value_shape: That of the value; by default the query's.
            key_shape: That of the key; by default the value's.

        Raises:
            ValueError: The layer is built already or does not accept such an input.
        """
        super().build(_complete([query_shape, value_shape, key_shape]))

    def _find_input_shape(self, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        given = {**dict(zip(INPUTS, args, strict=False)), **kwargs}
        found = [given.get(name) for name in INPUTS]
        shapes = [
            None if one is None and name != "query" else self._as_tensor(one, _label(name)).shape
            for name, one in zip(INPUTS, found, strict=True)
        ]
        return _complete(shapes), "query"

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        is_one = not shape or not isinstance(shape[0], (list, tuple))
        given = _complete([shape, None, None] if is_one else shape)
        suffix = "" if argument == "query" else "_shape"
        names = [f"{name}{suffix}" for name in INPUTS]
        shapes = [self._check_shape(*pair) for pair in zip(given, names, strict=True)]
        for name, one in zip(names, shapes, strict=True):
            if not one[-1]:
                self._refuse_argument(name, "a shape with a known last size, 1 at least", one)
        self._require_same_steps(shapes[1], shapes[2], names[2])
        query, value, key = (int(one[-1] or 0) for one in shapes)
        (heads, few), (size, value_size) = self._heads, self._sizes
        rows = {
            "query": (heads * size, query),
            "key": (few * size, key),
            "gate": (heads * value_size, query),
            "value": (few * value_size, value),
            "output": (_product(self.output_shape or (query,)), heads * value_size),
        }
        found: dict[str, Shape] = {}
        for spec in filter(self._uses_weight, self.weight_specs):
            name, _, kind = spec.parameter.partition("_")
            found[spec.parameter] = rows[name] if kind == "weight" else rows[name][:1]
        return found

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[Any] | None:
        sizes = {n: s[1] for n, s in shapes.items() if n.endswith("_weight") and len(s) == 2}
        query = sizes.get("query_weight", sizes.get("gate_weight"))
        if query is None:
            return None
        value = sizes.get("value_weight", sizes.get("key_weight", query))
        return [[None, None, n] for n in (query, value, sizes.get("key_weight", value))]

    def _view_in_keras_order(self, spec: WeightSpec, tensor: Tensor) -> Tensor:
        name, _, kind = spec.parameter.partition("_")
        heads = self._heads[name in ("key", "value")]
        if name != "output":
            is_bias = kind == "bias"
            split = (heads, tensor.shape[0] // heads)
            return (
                torch.unflatten(tensor, 0, split)
                if is_bias
                else heads_weight_to_kernel(tensor, heads)
            )
        sizes = self.output_shape or tensor.shape[:1]
        if kind == "bias":
            return torch.unflatten(tensor, 0, tuple(sizes))
        return output_weight_to_kernel(tensor, heads, sizes)

    def _to_torch_shape(self, spec: WeightSpec, shape: Shape) -> Shape:
        """Convert a weight's shape in Keras's order of axes."""
        name, _, kind = spec.parameter.partition("_")
        if kind == "bias":
            return (_product(shape),)
        if name == "output":
            return _product(shape[2:]), _product(shape[:2])
        return _product(shape[1:]), shape[0]

    def _fill(self, spec: WeightSpec, view: Tensor) -> None:
        """Count the sizes of the input to the fan in, those of the output to the fan out."""
        found = self.kernel_initializer
        scaled = isinstance(found, initializers.VarianceScaling)
        if spec.name == "bias" or not scaled or None not in (found.input_axes, found.output_axes):
            super()._fill(spec, view)
            return
        kept = found.input_axes, found.output_axes
        split = 2 if spec.parameter == "output_weight" else 1
        found.input_axes, found.output_axes = [*range(split)], [*range(split, view.ndim)]
        try:
            super()._fill(spec, view)
        finally:
            found.input_axes, found.output_axes = kept

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
        q = self._prepare_input(query)
        v = q if value is None else self._prepare_input(self._as_tensor(value, "value"))
        k = v if key is None else self._prepare_input(self._as_tensor(key, "key"))
        axes = self._list_axes(q)
        self._require_fitting(q, v, k, axes)
        if self.flash_attention and return_attention_scores:
            rule = "False with `flash_attention`"
            self._refuse_argument("return_attention_scores", rule, True)
        mask = join_masks(
            self, (q, v), (query_mask, value_mask, key_mask), attention_mask, axes, use_causal_mask
        )
        heads = self._project("query", q), self._project("key", k), self._project("value", v)
        gate = torch.sigmoid(self._project("gate", q)) if self.use_gate else None
        found, scores = self._attend(*heads, mask, axes, use_causal_mask, return_attention_scores)
        outputs = self._project("output", (found if gate is None else found * gate).flatten(-2))
        if self.activity_regularizer is not None:
            projections = [heads[0], heads[1], gate, heads[2], outputs]
            self._record_activity([one for one in projections if one is not None])
        return (outputs, scores) if return_attention_scores else outputs

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
        return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, large)

    def _project(self, name: str, x: Tensor) -> Tensor:
        """Return a projection, with its axes apart."""
        weight, bias = self._tensor(f"{name}_weight"), self._tensor(f"{name}_bias")
        bias = None if bias is None else bias.to(x.dtype)
        outputs = F.linear(x, weight.to(x.dtype), bias)
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

    def _require_same_steps(self, value: Sizes, key: Sizes, argument: str) -> None:
        if value[:-1] != key[:-1]:
            rule = f"of the value's sizes {value} but for the last one"
            self._refuse_argument(argument, rule, key)

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any = None, key_shape: Any = None
    ) -> Sizes:
        """Return the output shape for the shapes of query, value and key, batch included.

        Raises:
            ValueError: The layer does not accept such inputs.
        """
        names = [f"{name}_shape" for name in INPUTS]
        given = _complete([query_shape, value_shape, key_shape])
        query, value, key = (self._check_shape(*pair) for pair in zip(given, names, strict=True))
        self._require_same_steps(value, key, names[2])
        return (*query[:-1], *(self.output_shape or query[-1:]))

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        return self.compute_output_shape(shape)

    def _is_lowerable(self) -> bool:
        return False


def _complete(shapes: Sequence[Any]) -> list[Any]:
    """Return the shapes of query, value and key: a value is the query, a key the value."""
    query, value, key = shapes
    value = query if value is None else value
    return [query, value, value if key is None else key]


def _label(name: str) -> str:
    return "inputs" if name == "query" else name


def _product(sizes: Sequence[int]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found
