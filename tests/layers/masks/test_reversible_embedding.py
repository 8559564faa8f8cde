"""ReversibleEmbedding: its rows for the tests of every layer, and its reverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kerastorch.layers import ReversibleEmbedding
from tests.layers.case import NoModule, cases

from .test_embedding import INDICES

CASES = cases(
    ReversibleEmbedding,
    {"input_dim": 30, "output_dim": 4},
    NoModule(input_dim=30, output_dim=3, tie_weights=False, embeddings_regularizer="l2"),
    NoModule(input_dim=30, output_dim=4, lora_rank=2, logit_soft_cap=3.0, mask_zero=True),
    shape=(3, 5),
    other=[(2, 7)],
    refused_arguments=[
        *((name, n, ValueError) for name in ("input_dim", "output_dim") for n in (0, 2.5, None)),
        ("embeddings_initializer", "foo", ValueError),
    ],
    refused_here=[
        ("reverse_dtype", "int32", ValueError),
        ("reverse_dtype", "no_such", ValueError),
        ("logit_soft_cap", "a", ValueError),
    ],
    exempt=INDICES,
)

TABLE = np.arange(8.0).reshape(4, 2) / 4
VECTORS = torch.tensor([[[1.0, 2.0], [0.0, -1.0]]])


def test_the_reverse_multiplies_by_the_transposed_table():
    layer = ReversibleEmbedding(4, 2, weights=TABLE)
    expected = VECTORS.numpy() @ TABLE.T
    assert_close(layer(VECTORS, reverse=True).detach().numpy(), expected.astype(np.float32))
    capped = ReversibleEmbedding(4, 2, weights=TABLE, logit_soft_cap=2.0)
    wanted = np.tanh(expected / 2) * 2
    assert_close(capped(VECTORS, reverse=True).detach().numpy(), wanted.astype(np.float32))


def test_an_untied_reverse_has_a_table_of_its_own():
    layer = ReversibleEmbedding(4, 2, tie_weights=False, embeddings_regularizer="l2")
    layer.build((None,))
    other = np.ones((2, 4))
    layer.set_weights([TABLE, other])
    assert_close(layer(VECTORS, reverse=True).detach().numpy(), VECTORS.numpy() @ other.astype("f"))
    assert [v.regularizer is None for v in layer.variables] == [False, True]
    assert layer.weight_names(layer.get_config()) == ("embeddings", "reverse_embeddings")
    assert ReversibleEmbedding.weight_names({"input_dim": 4, "output_dim": 2}) == ("embeddings",)
    layer(VECTORS, reverse=True).sum().backward()
    assert layer.weight.grad is None and layer.reverse_weight.grad is not None


def test_the_reverse_has_no_mask():
    layer, ids = ReversibleEmbedding(4, 2, mask_zero=True), torch.tensor([[1, 0]])
    mask = layer.compute_mask(ids)
    assert mask.tolist() == [[True, False]]
    assert layer.compute_mask(layer(ids), mask, reverse=True) is None


def test_the_dtype_of_the_reverse():
    for policy, given, own, wanted in (
        ("float32", "float32", None, "float32"),
        ("float32", "int32", None, "float32"),
        ("mixed_float16", "float16", None, "float16"),
        ("mixed_float16", "float32", None, "float32"),
        ("mixed_float16", "float16", "float32", "float32"),
        ("float32", "float32", "bfloat16", "bfloat16"),
    ):
        layer = ReversibleEmbedding(4, 2, dtype=policy, reverse_dtype=own)
        x = VECTORS.to(getattr(torch, given))
        assert layer(x, reverse=True).dtype is getattr(torch, wanted)


def test_shapes_in_reverse():
    layer = ReversibleEmbedding(4, 2)
    assert layer.compute_output_shape((None, 3)) == (None, 3, 2)
    assert layer.compute_output_shape((None, 3, 2), reverse=True) == (None, 3, 4)
    with pytest.raises(ValueError, match="of the size 2 along the last axis"):
        layer.compute_output_shape((None, 3, 3), reverse=True)
    with pytest.raises(ValueError, match="of the size 2 along the last axis"):
        layer(torch.ones(1, 3), reverse=True)
    assert layer(torch.ones(0, 2), reverse=True).shape == (0, 4)


def test_lora_acts_on_the_tied_reverse():
    layer = ReversibleEmbedding(4, 2, lora_rank=1, input_shape=(3,))
    torch.nn.init.ones_(layer.lora_embeddings_b)
    assert_close(layer(VECTORS, reverse=True), VECTORS @ layer.embeddings.T)
