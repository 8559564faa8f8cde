"""Attention with several heads beside Keras: all masks, several inputs, and models with masks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src import backend
from torch.testing import assert_close

from kerastorch import initializers, layers, load_model
from kerastorch.layers import GroupedQueryAttention, MultiHeadAttention

GENERATOR = np.random.default_rng(0)
HEADS = {"num_heads": 2, "key_dim": 3}
GROUPS = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
ROWS: list[tuple[Any, Any, dict[str, Any]]] = [
    *(
        (MultiHeadAttention, keras.layers.MultiHeadAttention, {**HEADS, **more})
        for more in (
            {},
            {"value_dim": 5, "output_shape": (2, 3), "use_gate": True},
            {"dropout": 0.1},
            {"sliding_window": 2},
        )
    ),
    *(
        (GroupedQueryAttention, keras.layers.GroupQueryAttention, {**GROUPS, **more})
        for more in ({}, {"dropout": 0.2, "use_gate": True})
    ),
]
# An empty row, left padding and a hole are among them.
QUERY_MASK = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]]).bool()
VALUE_MASK = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]]).bool()
KEY_MASK = torch.tensor([[1] * 5, [1] * 5, [0, 0, 0, 1, 1]]).bool()


def make_attention_masks(heads: int) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4, 5), (1, 4, 5), (4, 5), (3, heads, 4, 5)]
    found = [torch.rand(shape, generator=generator) > 0.5 for shape in shapes]
    return [None, *found, 0.4 * found[0].float()]


def carry(x: torch.Tensor, mask: Any) -> torch.Tensor:
    """Return a tensor that carries a mask, as Keras's layers hand it on."""
    if mask is not None:
        x = x.clone()
        backend.set_keras_mask(x, mask)
    return x


@pytest.mark.parametrize(("ours", "theirs", "arguments"), ROWS, ids=str)
def test_masks(ours: Any, theirs: Any, arguments: dict[str, Any]) -> None:
    mine, yours = ours(**arguments).eval(), theirs(**arguments)
    query, value, key = torch.randn(3, 4, 6), torch.randn(3, 5, 7), torch.randn(3, 5, 8)
    mine.build(query.shape, value.shape, key.shape)
    yours.build(query.shape, value.shape, key.shape)
    mine.set_weights([GENERATOR.normal(size=w.shape) / 2 for w in mine.get_weights()])
    yours.set_weights(mine.get_weights())
    padding = itertools.product((None, QUERY_MASK), (None, VALUE_MASK), (None, KEY_MASK))
    flags = itertools.product((False, True), (False, True))
    masks = make_attention_masks(mine._heads[0])
    for (q, v, k), (causal, scores), mask in itertools.product(padding, [*flags], masks):
        if mask is not None and mask.ndim == 4 and not (q is v is k is None):
            with pytest.raises(ValueError, match="`attention_mask` must be of 3 dimensions"):
                mine(query, value, key, q, v, k, mask)
            continue
        shared = {"value_mask": v, "key_mask": k, "attention_mask": mask}
        shared |= {"use_causal_mask": causal, "return_attention_scores": scores}
        found = mine(query, value, key, q, **shared)
        if ours is MultiHeadAttention:
            expected = yours(carry(query, q), value, key, **shared)
        else:
            expected = yours(query, value, key, query_mask=q, **shared)
        assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [None, 2, (1, 2), (-2,)])
def test_axes_and_masks_over_them(axes: Any) -> None:
    mine = MultiHeadAttention(**HEADS, attention_axes=axes)
    yours = keras.layers.MultiHeadAttention(**HEADS, attention_axes=axes)
    query, value = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 6)
    mine.build(query.shape, value.shape)
    yours.build(query.shape, value.shape)
    yours.set_weights(mine.get_weights())
    several = axes in (None, (1, 2))
    mask = torch.rand(2, 3, 4, 3, 4) > 0.5 if several else torch.rand(2, 3, 4, 4) > 0.5
    for given in (None, mask):
        options = {"attention_mask": given, "return_attention_scores": True}
        assert_close(mine(query, value, **options), yours(query, value, **options))


def test_initial_values_with_a_seed_are_those_of_keras() -> None:
    for name in ("GlorotUniform", "HeNormal", "Orthogonal", "VarianceScaling"):
        mine, yours = (
            library.MultiHeadAttention(3, 2, output_shape=(2, 5), kernel_initializer=initializer)
            for library, initializer in (
                (keras.layers, getattr(keras.initializers, name)(seed=5)),
                (layers, getattr(initializers, name)(seed=5)),
            )
        )
        mine.build((2, 4, 6), (2, 4, 7))
        yours.build((2, 4, 6), (2, 4, 7))
        for left, right in zip(mine.get_weights(), yours.get_weights(), strict=True):
            np.testing.assert_allclose(left, right, atol=1e-6)


def make_model(query_mask: bool, scores: bool, dropout: float) -> Any:
    kl = keras.layers
    first, second = (keras.Input((size,), dtype="int32") for size in (5, 4))
    mask = keras.Input((5,), dtype="bool")
    x, y = (kl.Embedding(7, 6, "normal", mask_zero=True)(ids) for ids in (first, second))
    given = {"query_mask": mask} if query_mask else {}
    found = kl.MultiHeadAttention(2, 3, dropout=dropout)(
        x, y, return_attention_scores=scores, use_causal_mask=True, **given
    )
    outputs, *weights = found if scores else [found]
    more = kl.MultiHeadAttention(2, 3)(query=outputs, value=outputs)
    model = keras.Model([first, second, mask], [kl.LSTM(3)(outputs), more, *weights])
    model.set_weights([GENERATOR.normal(size=w.shape) / 2 for w in model.get_weights()])
    return model


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("query_mask", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_models_carry_masks(
    query_mask: bool, scores: bool, dropout: float, suffix: str, tmp_path: Path
) -> None:
    """A query mask that the node gives is dropped for the one that the query carries."""
    model = make_model(query_mask, scores, dropout)
    path = tmp_path / f"model{suffix}"
    model.save(path)
    first = torch.tensor([[1, 2, 0, 3, 0], [0, 0, 0, 0, 0], [4, 5, 6, 0, 0]])
    second = torch.tensor([[1, 2, 0, 3], [0, 0, 0, 0], [0, 4, 5, 6]])
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 0]]).bool()
    expected = model([first, second, mask], training=False)
    found = load_model(path).eval()([first, second, mask])
    for left, right in zip(found, expected, strict=True):
        assert_close(left, right, rtol=1e-5, atol=1e-5)
