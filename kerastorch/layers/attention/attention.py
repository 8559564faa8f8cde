"""Attention and AdditiveAttention: values weighted by the scores of queries and keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import initializers
from ..._core.arguments import as_choice
from ..._core.registry import keras_layer
from ..._core.seeds import SeedGenerator
from ..base.layer import Layer
from ..base.masks import to_mask
from ..base.weights import Shape, Sizes, WeightSpec

__all__ = ["AdditiveAttention", "Attention"]


@keras_layer()
class Attention(Layer):
    """Dot-product attention: the values, weighted by the softmax of products of query and key.

    Same as `keras.layers.Attention`.

    Args:
        use_scale: Whether the scores are multiplied by a trained `scale`.
        score_mode: "dot" for products of query and key, "concat" for
            `concat_score_weight * sum(tanh(scale * (query + key)))`.
        dropout: The fraction of the weights to drop in training.
        seed: An integer that makes dropout reproducible, or None.
        input_shape: The list of the shapes of the inputs, without the batch.
        device: The device of the weights.
        **kwargs: `name`, `dtype`, `trainable`, `autocast` and `activity_regularizer`.

    Shape:
        - Input: a list of query (batch, ..., queries, size), value (batch, ..., keys, width) and
          key (batch, ..., keys, size), by default the value.
        - Output: (batch, ..., queries, width), with the weights (batch, ..., queries, keys) if
          `return_attention_scores`.
        - `scale`, `concat_score_weight`: (), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> query, value = torch.rand(2, 3, 4), torch.rand(2, 5, 4)
        >>> tuple(Attention()([query, value]).shape)
        (2, 3, 4)
    """

    weight_specs: ClassVar[tuple[WeightSpec, ...]] = (
        WeightSpec("scale", "scale", "_scale_initializer"),
        WeightSpec("concat_score_weight", "concat_score_weight", "_ones"),
    )
    call_arguments = ("mask", "return_attention_scores", "use_causal_mask")
    fixed_arguments = ("use_scale", "score_mode")
    takes_list = True
    depends_on_training_mode = True
    supports_masking = True
    returns_new_tensor = True
    _least_rank = 3
    _scale_initializer: Any = initializers.Ones()
    _ones: Any = initializers.Ones()
    scale: Tensor | None
    concat_score_weight: Tensor | None

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        *,
        input_shape: Sequence[Any] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.use_scale = use_scale
        self.score_mode = as_choice(owner, "score_mode", score_mode, ("dot", "concat"))
        self._require("dropout", "a number from 0 to 1", dropout, lambda rate: 0 <= rate <= 1)
        self.dropout = dropout
        if seed is not None and not isinstance(seed, int):
            self._refuse_argument("seed", "an integer or None", seed)
        self.seed = seed
        self._seeds = None if seed is None else SeedGenerator(seed)
        self._register_weights(device)
        if input_shape is not None:
            shapes = self._check_shape(input_shape, batch=False)
            self.build([(None, *one) for one in shapes])  # type: ignore[misc]

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3.

        Raises:
            ValueError: It is causal, which is an argument of the call since Keras 2.10.
        """
        upgraded = super().upgrade_config(config)
        if upgraded.pop("causal", False):
            raise ValueError(f"the `causal` of {cls.__name__} must be False: give the layer's call "
                             "`use_causal_mask=True` instead.")  # fmt: skip
        return upgraded

    # The weights

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights of a layer with this config."""
        names = ("scale",) if config.get("use_scale", False) else ()
        return (*names, *(("concat_score_weight",) if config.get("score_mode") == "concat" else ()))

    def _uses_weight(self, spec: WeightSpec) -> bool:
        return self.use_scale if spec.name == "scale" else self.score_mode == "concat"

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shapes = self._check_shape(shape, argument)
        self._output_shape(shapes, argument)
        found = {"scale": self._scale_shape(shapes, argument), "concat_score_weight": ()}
        used = {spec.parameter for spec in self.weight_specs if self._uses_weight(spec)}
        return {name: size for name, size in found.items() if name in used}

    def _scale_shape(self, shapes: Any, argument: str) -> Shape:
        return ()

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> list[Any] | None:
        return [[None, None, None], [None, None, None]]

    # Shapes

    def _check_shape(self, shape: Any, argument: str = "input_shape", batch: bool = True) -> Any:
        rule = "a list of 2 or 3 shapes, of query, value and key"
        is_list = isinstance(shape, (list, tuple)) and len(shape) in (2, 3)
        if not is_list or not all(isinstance(one, (list, tuple)) for one in shape):
            self._refuse_argument(argument, rule, shape)
        check = super()._check_shape
        return [check(one, argument, batch) for one in shape]

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        query, value, key = [*shape, shape[1]][:3]
        ranks = [(len(query), len(one)) for one in (value, key)]
        equal = [*ranks, (query[0], value[0]), (query[0], key[0]), (query[-1], key[-1])]
        equal.append((value[-2], key[-2]))
        if any(None not in pair and pair[0] != pair[1] for pair in equal):
            rule = (
                "of one rank and one batch size, query and key of one last size, value and key of "
                "one length"
            )
            self._refuse_argument(argument, rule, [tuple(one) for one in shape])
        return (*query[:-1], value[-1])

    @property
    def output_count(self) -> int:
        """The number of tensors that `forward` returns at most."""
        return 2

    # The computation

    def forward(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Weight the values for each query.

        Args:
            inputs: A list of query and value, or of query, value and key.
            mask: A list of the masks (batch, queries) and (batch, keys), or None for one: the
                output is 0 where that of the query is False, and values where the other one is
                False do not count. Where all are False, all count alike.
            return_attention_scores: Whether to return the weights of the values, too.
            use_causal_mask: Whether a query has no access to later keys.

        Returns:
            The output, or a tuple of it and the weights.

        Raises:
            ValueError: The inputs or masks do not fit.
        """
        tensors = self._prepare_input(inputs)
        query, value, key = [*tensors, tensors[1]][:3]
        of_query, of_value = self._read_masks(mask, query, value)
        scores = self._score(query, key)
        valid = None if of_value is None else of_value.unsqueeze(-2)
        if use_causal_mask:
            causal = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            valid = causal if valid is None else valid & causal
        if valid is not None:
            least = 65504.0 if scores.dtype is torch.float16 else 1e9
            scores = torch.where(valid, scores, scores - least)
        weights = torch.softmax(scores, -1)
        if self.training and self.dropout > 0:
            weights = self._drop(weights)
        outputs = weights @ value
        if of_query is not None:
            outputs = torch.where(of_query.unsqueeze(-1), outputs, 0)
        found = (outputs, weights) if return_attention_scores else outputs
        if self.activity_regularizer is not None:
            self._record_activity(found)
        return found

    def _prepare_input(self, inputs: Any) -> list[Tensor]:
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            rule = "a list of query and value, or of query, value and key"
            self._refuse_argument("inputs", rule, inputs)
        tensors = [super(Attention, self)._prepare_input(one) for one in inputs]
        for one in tensors:
            self._require_rank(one)
        self._output_shape([tuple(one.shape) for one in tensors], "inputs")
        if tensors[1].shape[-2] == 0:
            self._refuse_argument("inputs", "with 1 key or more", tuple(tensors[1].shape))
        return tensors

    def _read_masks(self, mask: Any, query: Tensor, value: Tensor) -> list[Tensor | None]:
        """Return the masks of the query and of the value."""
        if mask is None:
            return [None, None]
        if not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3):
            self._refuse_argument("mask", "a list of the masks of query and value", mask)
        parts = zip(mask[:2], ("query", "value"), (query, value), strict=True)
        return [
            None if one is None else to_mask(self, one, x.shape[:-1], x.device, whose=name)
            for one, name, x in parts
        ]

    def _score(self, query: Tensor, key: Tensor) -> Tensor:
        """Return the scores (batch, ..., queries, keys)."""
        scale = None if self.scale is None else self.scale.to(query.dtype)
        if self.concat_score_weight is None:
            scores = query @ key.transpose(-2, -1)
            return scores if scale is None else scores * scale
        sums = query.unsqueeze(-2) + key.unsqueeze(-3)
        sums = sums if scale is None else scale * sums
        return self.concat_score_weight.to(query.dtype) * torch.tanh(sums).sum(-1)

    def _drop(self, weights: Tensor) -> Tensor:
        if self._seeds is None or self.dropout == 1 or weights.is_meta:
            return F.dropout(weights, self.dropout)
        generator = torch.Generator().manual_seed(self._seeds.next() & 0xFFFFFFFF)
        keep = 1.0 - self.dropout
        kept = torch.bernoulli(torch.full(weights.shape, keep), generator=generator)
        return torch.where(kept.bool().to(weights.device), weights / keep, 0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the query; see `Layer.compute_mask`."""
        return None if mask is None else mask[0]

    def _is_lowerable(self) -> bool:
        return False

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        shown = self._format_non_defaults(use_scale=False, score_mode="dot", dropout=0.0)
        return ", ".join(shown)


@keras_layer()
class AdditiveAttention(Attention):
    """Additive attention: the scores are `sum(scale * tanh(query + key))`.

    Same as `keras.layers.AdditiveAttention`.

    Args:
        use_scale: Whether there is a trained `scale`; otherwise it is 1.
        dropout, seed, input_shape, device, **kwargs: As in `Attention`.

    Shape:
        - Input and output: those of `Attention`.
        - `scale`: (size,), or None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> query, value = torch.rand(2, 3, 4), torch.rand(2, 5, 4)
        >>> tuple(AdditiveAttention()([query, value]).shape)
        (2, 3, 4)
    """

    weight_specs: ClassVar[tuple[WeightSpec, ...]] = (
        WeightSpec("scale", "scale", "_scale_initializer"),
    )
    removed_arguments = ("score_mode",)
    _scale_initializer: Any = initializers.GlorotUniform()

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        *,
        seed: int | None = None,
        input_shape: Sequence[Any] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        shared: dict[str, Any] = {"input_shape": input_shape, "device": device}
        super().__init__(use_scale, dropout=dropout, seed=seed, **shared, **kwargs)

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights of a layer with this config."""
        return ("scale",) if config.get("use_scale", True) else ()

    def _scale_shape(self, shapes: Any, argument: str) -> Shape:
        size = shapes[0][-1]
        if not size:
            rule = "shapes with a known last size, 1 at least"
            self._refuse_argument(argument, rule, shapes)
        return (size,)

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> list[Any] | None:
        scale = shapes.get("scale", ())
        return [[None, None, scale[0]], [None, None, scale[0]]] if len(scale) == 1 else None

    def _score(self, query: Tensor, key: Tensor) -> Tensor:
        sums = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))
        return (sums if self.scale is None else self.scale.to(query.dtype) * sums).sum(-1)
