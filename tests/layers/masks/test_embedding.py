"""Embedding and Masking."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import kerastorch
from kerastorch.layers import Embedding, Masking
from tests.layers.case import NoModule, cases

# Indices have no gradients, and are integers where nn.Embedding takes them; the sizes are known.
INDICES = frozenset(
    {
        *("test_an_empty_batch", "test_gradients", "test_forward_derivatives", "test_hooks_fire"),
        *("test_compile", "test_to_torch", "test_in_another_order_of_memory"),
        "test_an_unbuilt_layer_that_refuses_its_input_stays_lazy",
    }
)
CASES = [
    *cases(
        Embedding,
        {"input_dim": 30, "output_dim": 4},
        {"input_dim": 30, "output_dim": 3, "mask_zero": True, "embeddings_regularizer": "l2"},
        {"input_dim": 30, "output_dim": 1, "embeddings_constraint": "max_norm"},
        NoModule(input_dim=30, output_dim=4, lora_rank=2, lora_alpha=6),
        shape=(3, 5),
        other=[(2, 7)],
        refused_arguments=[
            *((name, n, ValueError) for name in ("input_dim", "output_dim") for n in (0, -1, 2.5)),
            *((name, n, ValueError) for name in ("input_dim", "output_dim") for n in ("3", None)),
            ("lora_rank", -1, ValueError),
            ("embeddings_initializer", "foo", ValueError),
        ],
        refused_here=[("quantization_config", "int8", ValueError)],
        exempt=INDICES,
    ),
    *cases(
        Masking,
        {},
        {"mask_value": -1.5},
        integers="kept",
        integers_agree=False,  # Keras makes booleans float32
        shape=(3, 7, 5),
        other=[(2, 6, 5)],
        refused_arguments=[("mask_value", "foo", ValueError), ("mask_value", None, ValueError)],
    ),
]


def test_indices_below_0_count_from_the_end():
    layer = Embedding(4, 2, weights=np.arange(8.0).reshape(4, 2))
    assert layer(torch.tensor([-1, -4, 3])).tolist() == [[6, 7], [0, 1], [6, 7]]


def test_indices_out_of_range_are_refused():
    layer = Embedding(4, 2, input_shape=(3,))
    for index in (4, -5):
        with pytest.raises(ValueError, match="`inputs` must be of indices from 0 to 3, or"):
            layer(torch.tensor([0, index]))


def test_other_dtypes_become_integers():
    layer = Embedding(250, 2)
    assert torch.equal(layer(torch.tensor([1.9])), layer(torch.tensor([1])))
    assert torch.equal(layer(torch.tensor([200], dtype=torch.uint8)), layer(torch.tensor([200])))
    for wrong in (2.0**32 + 1, torch.nan, torch.inf):  # in int32 the first one would be 1
        with pytest.raises(ValueError, match="`inputs` must be of indices from 0 to 249, or"):
            layer(torch.tensor([wrong], dtype=torch.float64))
    with pytest.raises(ValueError, match="Received: inputs='4294967297 to 4294967297'"):
        layer(np.array([2**32 + 1], np.uint64))


def test_the_mask_is_that_of_the_indices_before_the_cast():
    ids = torch.tensor([[0.4, 0.0, 2.0]])
    assert Embedding(4, 2, mask_zero=True).compute_mask(ids).tolist() == [[True, False, True]]
    assert Embedding(4, 2).compute_mask(ids) is None


def test_configs_of_earlier_versions():
    old = {"input_dim": 4, "output_dim": 2, "init": "uniform", "input_length": 3}
    old |= {"dropout": 0.0, "W_regularizer": None, "W_constraint": None, "mask_zero": True}
    layer = Embedding.from_config(old)
    assert (layer.input_dim, layer.output_dim, layer.mask_zero) == (4, 2, True)
    assert layer.dropout == 0 and "dropout" not in layer.get_config()
    assert not layer.depends_on_training_mode


def test_the_dropout_of_keras_1_drops_words_in_training():
    old = {"input_dim": 400, "output_dim": 2, "init": "uniform", "dropout": 0.25}
    layer = Embedding.from_config(old)
    layer.build((None, 3))
    ids = torch.arange(400).repeat(2, 1)
    table = layer.embeddings
    assert_close(layer.eval()(ids), table[ids], rtol=0, atol=0)
    scale = (layer.train()(ids) / table[ids]).detach()
    assert torch.equal(scale[0], scale[1])  # a word is dropped in the whole batch, or not
    assert torch.equal(scale[..., 0] == 0, scale[..., 1] == 0)
    kept = scale[0, :, 0] > 0
    assert_close(scale[0][kept], torch.full_like(scale[0][kept], 1 / 0.75))
    assert 0.6 < kept.double().mean() < 0.9  # 7 standard deviations
    assert not torch.equal(layer(ids) == 0, layer(ids) == 0)
    assert Embedding.from_config(layer.get_config()).dropout == 0.25
    for rate in (1.0, -0.5):  # as in Keras 1
        assert Embedding.from_config({**old, "dropout": rate}).dropout == 0
    with pytest.raises(TypeError, match="`dropout` must be a number"):
        Embedding.from_config({**old, "dropout": "much"})
    with pytest.raises(ValueError, match="`target` must be None for an Embedding with"):
        layer.get_config(target="3.0")


def test_it_has_the_state_dict_of_torch_s_embedding():
    layer, module = Embedding(4, 2, input_shape=(3,)), nn.Embedding(4, 2)
    module.load_state_dict(layer.state_dict())
    ids = torch.tensor([[3, 1, 0]])
    assert_close(module(ids), layer(ids), rtol=0, atol=0)
    assert Embedding.from_torch(module).weight is module.weight
    with pytest.raises(ValueError, match=r"module.padding_idx` must be None"):
        Embedding.from_torch(nn.Embedding(4, 2, padding_idx=0))


def test_lora_trains_only_the_factors():
    layer = Embedding(4, 2, input_shape=(3,))
    before = layer.embeddings.detach().clone()
    layer.enable_lora(3, lora_alpha=6)
    assert torch.equal(layer.embeddings, before)
    nn.init.ones_(layer.lora_embeddings_b)
    ids = torch.tensor([3, 1, 0])
    assert_close(layer(ids), layer.embeddings[ids])
    layer(ids).sum().backward()
    assert layer.weight.grad is None and layer.lora_embeddings_a.grad is not None
    with pytest.raises(ValueError, match="given once"):
        layer.enable_lora(2)
    with pytest.raises(ValueError, match="`embeddings_constraint` must be None with LoRA"):
        Embedding(4, 2, embeddings_constraint="max_norm", lora_rank=2)


def test_inputs_of_any_rank():
    layer = Embedding(4, 2)
    for shape in ((), (0,), (3,), (2, 3, 4)):
        found = layer(torch.ones(shape, dtype=torch.int64))
        assert found.shape == layer.compute_output_shape(shape) == (*shape, 2)


def test_it_compiles():
    layer, ids = Embedding(4, 2, input_shape=(3,)), torch.tensor([[3, -1, 0]])
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    compiled(ids).sum().backward()
    assert layer.weight.grad.sum(1).tolist() == [2, 0, 0, 4]


def test_masking_refuses_a_single_number():
    with pytest.raises(ValueError, match="`inputs` must be of 1 dimension or more"):
        Masking()(torch.tensor(1.0))


def test_masking_sets_masked_steps_to_0():
    layer = Masking(2.0)
    x = torch.tensor([[[2.0, 2.0], [2.0, 1.0], [float("nan"), 2.0]]])
    assert layer.compute_mask(x).tolist() == [[False, True, True]]
    assert_close(layer(x)[0, :2], torch.tensor([[0.0, 0.0], [2.0, 1.0]]))
    assert layer(x)[0, 2].isnan().tolist() == [True, False]


def test_masking_compares_with_an_array():
    layer = Masking([1.0, 2.0])
    x = torch.tensor([[[1.0, 2.0], [2.0, 1.0]]])
    assert layer.compute_mask(x).tolist() == [[False, True]]
    assert layer.get_config()["mask_value"] == [1.0, 2.0]


def test_files_hold_the_update_of_lora_merged(tmp_path):
    source = nn.Sequential(Embedding(4, 2, input_shape=(3,)))
    target = nn.Sequential(Embedding(4, 2, input_shape=(3,)))
    source[0].enable_lora(3)
    nn.init.ones_(source[0].lora_embeddings_b)
    kerastorch.save_weights(source, tmp_path / "one.weights.h5")
    kerastorch.load_weights(target, tmp_path / "one.weights.h5")
    assert_close(target[0].weight, source[0].embeddings)
