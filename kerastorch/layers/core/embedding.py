"""Embedding: a table of vectors, looked up by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parameter import Parameter

from ... import dtype_policies, initializers
from ..._core.arguments import as_number, as_positive_int
from ..._core.errors import argument_error
from ..._core.registry import keras_layer
from ..base.layer import Layer
from ..base.torch_conversion import TorchCounterpart
from ..base.weights import Shape, Sizes, WeightSpec, declare_weight

__all__ = ["Embedding"]


def _declare_factor(name: str) -> WeightSpec:
    options: Any = {"dtype": torch.float32, "when": "lora_enabled"}
    return WeightSpec(name, name, f"_{name}_initializer", "embeddings_regularizer", **options)


@keras_layer()
class Embedding(Layer, TorchCounterpart):
    """Replaces each index by its row of a trained table.

    Same as `keras.layers.Embedding`: an index below 0 counts from the end, indices of other dtypes
    become integers, and the output has the compute dtype. Quantized layers are refused.

    Args:
        input_dim: The number of rows: the largest index + 1.
        output_dim: The size of a row.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: Of the table.
        mask_zero: Whether index 0 marks steps to leave out; `compute_mask` then returns a mask.
        weights: The initial table, an array, or a list of one.
        lora_rank: As in `Conv2D`; the factors are `lora_embeddings_a` and `lora_embeddings_b`.
        lora_alpha: As in `Dense`.
        quantization_config: None; accepted since Keras writes it.
        input_shape: The shape of one sample; the layer is then built at once.
        device: The device of the weights.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`,
            `input_length`, which has no effect, and `dropout` of Keras 1: the fraction of the words
            to drop in training, the same in the whole batch.

    Shape:
        - Input: any.
        - Output: the same and `output_dim`.
        - `weight`: (input_dim, output_dim), as in `nn.Embedding`.

    Raises:
        ValueError: An argument is invalid, or an index is out of range.

    Example:
        >>> import torch
        >>> layer = Embedding(5, 2, mask_zero=True)
        >>> ids = torch.tensor([[3, 1, 0]])
        >>> tuple(layer(ids).shape), layer.compute_mask(ids).tolist()
        ((1, 3, 2), [[True, True, False]])
    """

    weight_specs: ClassVar[tuple[WeightSpec, ...]] = (
        declare_weight("weight", "embeddings"),
        _declare_factor("lora_embeddings_a"),
        _declare_factor("lora_embeddings_b"),
    )
    renamed_arguments: ClassVar = {
        "init": "embeddings_initializer",
        "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
    }
    fixed_arguments: ClassVar[tuple[str, ...]] = ("input_dim", "output_dim")
    returns_new_tensor = True
    _gradient_needs_output = False
    _omit_config_if_unset = ("lora_rank", "lora_alpha")
    _never_in_config = ("weights",)
    _config_keys_first: ClassVar[tuple[str, ...]] = (
        *("input_dim", "output_dim", "embeddings_initializer", "embeddings_regularizer"),
        "activity_regularizer",
    )
    _config_keys_last: ClassVar[tuple[str, ...]] = ("lora_rank", "lora_alpha")
    torch_name = "Embedding"
    torch_arguments: ClassVar = {"num_embeddings": "input_dim", "embedding_dim": "output_dim"}
    torch_only: ClassVar = {
        "padding_idx": None,
        "max_norm": None,
        "scale_grad_by_freq": False,
        "sparse": False,
    }
    keras_only: ClassVar = {"lora_rank": None}
    weight: Tensor
    lora_embeddings_a: Tensor
    lora_embeddings_b: Tensor
    embeddings_constraint: Any
    lora_enabled = False
    dropout: float
    _lora_embeddings_a_initializer: Any = initializers.HeUniform()
    _lora_embeddings_b_initializer: Any = initializers.Zeros()

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: None = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("input_length", None)
        dropout = kwargs.pop("dropout", 0.0)
        super().__init__(**kwargs)
        self._require("dropout", "a number", dropout, lambda rate: 0 <= rate or rate < 0)
        self.dropout = dropout if 0 < dropout < 1 else 0.0  # as Keras 1 takes it
        self.input_dim = as_positive_int(type(self).__name__, "input_dim", input_dim)
        self.output_dim = as_positive_int(type(self).__name__, "output_dim", output_dim)
        self._assign_arguments(locals())
        self.mask_zero = self.supports_masking = self.creates_mask = mask_zero
        if quantization_config is not None:
            remedy = "Quantized layers are not supported."
            self._refuse_argument("quantization_config", "None", quantization_config, remedy)
        self.quantization_config = quantization_config
        self.lora_rank, self.lora_alpha = lora_rank, lora_alpha
        if lora_rank:
            self.lora_rank, self.lora_alpha = self._check_lora("lora_rank", lora_rank, lora_alpha)
            self.lora_enabled = True
        self._register_weights(device, input_shape)
        if weights is not None:
            if not self.built:
                self.build(())
            several = isinstance(weights, (list, tuple)) and len(weights) == 1
            self.set_weights(weights if several else [weights])

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        made = super()._read_module(owner, module)
        if module.padding_idx is not None:  # 0, too
            rule = "None, since Keras trains all rows"
            raise ValueError(argument_error(owner, "module.padding_idx", rule, module.padding_idx))
        return made

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a config of any Keras to that of Keras 3; `input_length` has no effect."""
        upgraded = super().upgrade_config(config)
        upgraded.pop("input_length", None)
        return upgraded

    @property
    def depends_on_training_mode(self) -> bool:  # type: ignore[override]
        """Whether the output differs in training."""
        return self.dropout > 0

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with Keras's keys; see `Layer.get_config`."""
        if self.dropout and target is not None:
            rule = "None for an Embedding with the `dropout` of Keras 1, which Keras 3 lacks"
            self._refuse_argument("target", rule, target)
        config = super().get_config(target)
        return {**config, "dropout": self.dropout} if self.dropout else config

    def compute_mask(self, inputs: Any, mask: Any = None) -> Tensor | None:
        """Return whether each index is other than 0, or None without `mask_zero`."""
        return self._as_tensor(inputs) != 0 if self.mask_zero else None

    def _output_shape(self, shape: Any, argument: str = "input_shape") -> Sizes:
        return (*shape, self.output_dim)

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        size, rank = (self.input_dim, self.output_dim), self.lora_rank
        shapes: dict[str, Shape] = {"weight": size}
        if self.lora_enabled and rank:
            shapes |= self._lora_shapes(rank)
        return shapes

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        return [None]

    def _prepare_input(self, inputs: Any) -> Tensor:
        """Convert the inputs to indices."""
        x = self._as_real_tensor(inputs, "inputs")
        return x if x.dtype in (torch.int32, torch.int64) else x.to(torch.int64)

    def _compute(self, x: Tensor) -> Tensor:
        weight = self._tensor("weight")
        indices = torch.where(x < 0, x + self.input_dim, x)
        outputs = F.embedding(indices, weight)
        if self.lora_enabled:
            scale = (self.lora_alpha or 0) / (self.lora_rank or 1)
            update = F.embedding(indices, self.lora_embeddings_a) @ self.lora_embeddings_b
            outputs = outputs + scale * update
        if self.dropout and self.training:
            keep = torch.full((self.input_dim,), 1 - self.dropout, device=outputs.device)
            kept = (torch.bernoulli(keep) / keep).to(outputs.dtype)
            outputs = outputs * F.embedding(indices, kept[:, None])
        return outputs.to(dtype_policies.to_torch_dtype(self.compute_dtype))

    def _require_fit(self, x: Tensor) -> None:
        """Refuse indices that are out of range."""
        size = self.input_dim
        if x.numel() and not (-size <= int(x.min()) and int(x.max()) < size):
            rule = f"of indices from 0 to {size - 1}, or from {-size} to -1 to count from the end"
            found = f"{int(x.min())} to {int(x.max())}"
            self._refuse_argument("inputs", rule, found, input_dim=size)

    def _is_lowerable(self) -> bool:
        return False  # the input has another dtype

    # LoRA

    @property
    def embeddings(self) -> Tensor:
        """The table, with LoRA's update if there is one.

        Raises:
            ValueError: The layer is not built.
        """
        self._require_built("embeddings")
        return self._merged_weight()

    def _merged_weight(self) -> Tensor:
        if not self.lora_enabled:
            return self.weight
        scale = (self.lora_alpha or 0) / (self.lora_rank or 1)
        update = scale * (self.lora_embeddings_a @ self.lora_embeddings_b)
        return (self.weight + update).to(self.weight.dtype)

    def _tensor_to_save(self, name: str) -> Any:
        return self._merged_weight() if name == "weight" else super()._tensor_to_save(name)

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the table and train a low-rank update instead, as `Dense.enable_lora` does.

        Args:
            rank: The rank of the update.
            lora_alpha: The update is scaled by `lora_alpha / rank`; by default by 1.
            a_initializer: The initializer of the first factor.
            b_initializer: The initializer of the second factor.

        Raises:
            ValueError: The layer is not built, has LoRA already, or has a constraint.
        """
        self._require_built("enable_lora")
        if self.lora_enabled:
            self._refuse_argument("rank", "given once: the layer has LoRA already", rank)
        rank, alpha = self._check_lora("rank", rank, lora_alpha)
        self._lora_embeddings_a_initializer = initializers.get(a_initializer)
        self._lora_embeddings_b_initializer = initializers.get(b_initializer)
        for name, value in self._make_initial_values(self._lora_shapes(rank)).items():
            self.register_parameter(name, Parameter(value, self.trainable))
        self.weight.requires_grad = False
        self.lora_enabled, self.lora_rank, self.lora_alpha = True, rank, alpha

    def _check_lora(self, argument: str, rank: Any, alpha: Any) -> tuple[int, float]:
        owner, constraint = type(self).__name__, self.embeddings_constraint
        if constraint is not None:
            rule, remedy = "None with LoRA", "With LoRA nothing projects the table."
            self._refuse_argument("embeddings_constraint", rule, constraint, remedy, lora_rank=rank)
        rank = as_positive_int(owner, argument, rank)
        if alpha is not None:
            as_number(owner, "lora_alpha", alpha, "a finite number >= 0")
        return rank, rank if alpha is None else alpha

    def _lora_shapes(self, rank: int) -> dict[str, Shape]:
        return {
            "lora_embeddings_a": (self.input_dim, rank),
            "lora_embeddings_b": (rank, self.output_dim),
        }

    def _starts_frozen(self, spec: WeightSpec) -> bool:
        return super()._starts_frozen(spec) or (self.lora_enabled and spec.parameter == "weight")

    def _on_build(self) -> None:
        if self.lora_enabled:
            self.lora_alpha = self.lora_rank  # `Embedding.build` of Keras loses the constructor's

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        sizes = f"{self.input_dim}, {self.output_dim}"
        return ", ".join([sizes, *self._format_non_defaults(mask_zero=False)])
