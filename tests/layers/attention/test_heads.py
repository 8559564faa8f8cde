"""What attention with several heads computes, whichever way it goes, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close

from kerastorch.layers import GroupedQueryAttention, MultiHeadAttention
from kerastorch.layers.base.weights import infer_weight_shapes
from tests.layers.case import batch

F64 = torch.float64
QUERY, VALUE, KEY = batch((3, 4, 6), F64), batch((3, 5, 7), F64, 1), batch((3, 5, 8), F64, 2)
EMPTY = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 1, 1, 1]]).bool()


def make(**arguments: Any) -> MultiHeadAttention:
    torch.manual_seed(3)
    given = {"num_heads": 2, "key_dim": 3, "dtype": "float64", "bias_initializer": "normal"}
    layer = MultiHeadAttention(**{**given, **arguments}).eval()
    layer.build(QUERY.shape, VALUE.shape, KEY.shape)
    return layer


def attend_in_loops(layer: MultiHeadAttention, mask: torch.Tensor, empty: str) -> torch.Tensor:
    """Attend step by step and head by head; `mask` is (batch, steps, keys)."""
    wq, bq, wk, bk, wv, bv, wo, bo = (variable.value for variable in layer.variables)
    outputs = bo.expand(*mask.shape[:2], -1).clone()
    for one, step, head in torch.cartesian_prod(*map(torch.arange, (*mask.shape[:2], 2))).tolist():
        query = QUERY[one, step] @ wq[:, head] + bq[head]
        scores = torch.stack([query @ (k @ wk[:, head] + bk[head]) for k in KEY[one]])
        kept = mask[one, step]
        weights = (scores / math.sqrt(3)).masked_fill(~kept, -math.inf).softmax(0)
        if not kept.any():
            weights = torch.full_like(scores, 0.2 if empty == "uniform" else 0.0)
        outputs[one, step] += weights @ (VALUE[one] @ wv[:, head] + bv[head]) @ wo[head]
    return outputs


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("arguments", "with_scores", "empty"),
    [
        ({}, False, "uniform"),
        ({}, True, "zero"),
        ({"dropout": 0.1}, False, "zero"),
        ({"dropout": 0.1}, True, "zero"),
    ],
)
def test_a_step_without_keys(arguments, with_scores, empty, causal):
    """In Keras it depends on arguments that have nothing to do with it."""
    layer = make(**arguments)
    mask = EMPTY[:, None].expand(3, 4, 5)
    if causal:  # and left padding: the first steps of the last sample see nothing
        mask = mask & torch.ones(4, 5).tril().bool()
    options = {"use_causal_mask": causal, "return_attention_scores": with_scores}
    found = layer(QUERY, VALUE, KEY, value_mask=EMPTY, **options)
    outputs = found[0] if with_scores else found
    assert_close(outputs, attend_in_loops(layer, mask, empty), rtol=0, atol=1e-12)
    if with_scores:
        assert (
            found[1].shape == (3, 2, 4, 5) and not found[1][~mask[:, None].expand(3, 2, 4, 5)].any()
        )


def test_keras_2_gives_a_step_without_keys_all_of_them():
    config = make(dropout=0.1).get_config()
    old = MultiHeadAttention.from_config({**config, "query_shape": [None, 4, 6]})
    assert old.keras_2 and old.get_config()["keras_2"]
    old.build(QUERY.shape, VALUE.shape, KEY.shape)
    _, scores = old.eval()(QUERY.float(), VALUE, KEY, None, EMPTY, return_attention_scores=True)
    assert_close(scores.sum(-1), torch.ones(3, 2, 4, dtype=F64))
    _, soft = old(QUERY, VALUE, KEY, attention_mask=torch.full((4, 5), 0.4),
                  return_attention_scores=True)  # fmt: skip
    _, free = old(QUERY, VALUE, KEY, return_attention_scores=True)
    assert_close(soft, free, atol=1e-6, rtol=0)  # all are lowered alike
    alone = torch.tensor([1.0, 0.4, 0.4, 0.4, 0.4]).expand(4, 5)
    _, soft = old(QUERY, VALUE, KEY, attention_mask=alone, return_attention_scores=True)
    assert_close(soft[..., 0], torch.ones(3, 2, 4, dtype=F64))  # Keras 3 takes 0.4 for True


def test_early_versions_of_keras_3_do_so_too():
    config = make().get_config()
    assert MultiHeadAttention.upgrade_config_of_keras_3(config, 11)["keras_2"]
    assert MultiHeadAttention.upgrade_config_of_keras_3(config, 12) is config


def test_the_ways_to_compute_agree():
    layer = make()
    expected = layer(QUERY, VALUE, KEY)
    assert_close(layer(QUERY, VALUE, KEY, return_attention_scores=True)[0], expected)
    assert_close(layer.train()(QUERY, VALUE, KEY), expected)
    own = MultiHeadAttention(2, 3)
    x = batch((2, 4, 6))
    assert_close(own(x), own(x, x, x), rtol=0, atol=0)
    assert_close(own(x, key=2 * x), own(x, x, 2 * x), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_second_derivatives():
    layer, x = MultiHeadAttention(2, 3), batch((2, 4, 6))
    layer.build(x.shape)
    hessian = torch.func.hessian(lambda x: layer(x).sum())(x)
    assert hessian.shape == (2, 4, 6, 2, 4, 6)
    x.requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        (first,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
    assert_close(second, hessian.sum((0, 1, 2)))


def test_dropout_drops_keys_and_returns_the_weights_before():
    layer, x = MultiHeadAttention(1, 2, dropout=0.5), batch((1, 1, 3))
    outputs, scores = zip(*(layer(x, return_attention_scores=True) for _ in range(60)), strict=True)
    assert torch.stack(scores).eq(1).all()
    assert len({round(float(y.detach().sum()), 4) for y in outputs}) == 2  # dropped, or doubled
    assert_close(MultiHeadAttention(1, 2, dropout=1)(x), torch.zeros(1, 1, 3))


def test_masks_of_outputs():
    layer, mask = make(), torch.ones(3, 4).bool()
    assert layer.compute_mask([QUERY, VALUE], mask) is mask


def test_groups_of_weights():
    found = MultiHeadAttention.weight_groups({"use_gate": True})
    names = ["query_dense", "key_dense", "_gate_dense", "value_dense", "output_dense"]
    assert found == [(name, ("kernel", "bias")) for name in names]
    groups = GroupedQueryAttention.weight_groups({"use_bias": False})
    assert groups == [(f"_{n}_dense", ("kernel",)) for n in ("query", "key", "value", "output")]
    shapes = {"query_dense/kernel": (6, 2, 3), "key_dense/kernel": (8, 2, 3),
              "value_dense/kernel": (7, 2, 3)}  # fmt: skip
    layer = MultiHeadAttention(2, 3)
    expected = {name: tuple(p.shape) for name, p in make().named_parameters()}
    assert infer_weight_shapes(layer, shapes) == expected
    assert infer_weight_shapes(layer, {"query_dense/kernel": (6, 3, 3)}) is None


NO_KEYS = torch.zeros(3, 0, 7)


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("query", {"query": QUERY[..., :5]}),
        ("query", {"query": QUERY[0]}),
        ("query", {"query": [1.0]}),
        ("value", {"value": VALUE[:2], "key": KEY[:2]}),
        ("value", {"value": VALUE[..., :3]}),
        ("value", {"value": VALUE[0]}),
        ("value", {"value": "text"}),
        ("value", {"value": NO_KEYS, "key": torch.zeros(3, 0, 8)}),
        ("key", {"key": KEY[:, :3]}),
        ("key", {"key": KEY[..., :3]}),
        ("query_mask", {"query_mask": torch.ones(3, 5)}),
        ("value_mask", {"value_mask": torch.ones(5)}),
        ("value_mask", {"value_mask": "text"}),
        ("key_mask", {"key_mask": torch.ones(3, 4)}),
        ("attention_mask", {"attention_mask": torch.ones(3, 5, 4)}),
        ("attention_mask", {"attention_mask": torch.ones(5)}),
        ("attention_mask", {"attention_mask": torch.ones(3, 2, 4, 5), "value_mask": EMPTY}),
    ],
)
def test_what_does_not_fit_is_refused(argument, arguments):
    layer = make()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises(ValueError, match=f"^MultiHeadAttention: `{argument}` must be "):
        layer(**{"query": QUERY, "value": VALUE, "key": KEY, **arguments})
    assert_close(layer.state_dict(), before, rtol=0, atol=0)


def test_several_axes_have_no_order_and_no_padding():
    layer, x = MultiHeadAttention(2, 3), batch((2, 3, 4, 5))
    for name, value in (("use_causal_mask", True), ("query_mask", torch.ones(2, 3, 4))):
        with pytest.raises(ValueError, match=f"^MultiHeadAttention: `{name}` must be "):
            layer(x, **{name: value})
    with pytest.raises(ValueError, match="`sliding_window` must be left out"):
        MultiHeadAttention(2, 3, sliding_window=2)(x)
    with pytest.raises(ValueError, match="`attention_axes` must be axes between"):
        MultiHeadAttention(2, 3, attention_axes=3)(x)


def test_flash_attention_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="`dropout` must be 0"):
        MultiHeadAttention(2, 3, flash_attention=True, dropout=0.1)
    layer = MultiHeadAttention(2, 3, flash_attention=True)
    with pytest.raises(ValueError, match="`return_attention_scores` must be False"):
        layer(batch((2, 3, 4)), return_attention_scores=True)


def test_shapes():
    layer = MultiHeadAttention(2, 3, output_shape=(4, 5))
    assert layer.compute_output_shape((None, 3, 6), (None, 7, 8)) == (None, 3, 4, 5)
    with pytest.raises(ValueError, match="`key_shape` must be of the value's sizes"):
        layer.compute_output_shape((2, 3, 6), (2, 7, 8), (2, 6, 8))
    grouped = GroupedQueryAttention(3, 4, 2)
    assert grouped.compute_output_shape((None, 3, 6), (None, 7, 6)) == (None, 3, 6)
    with pytest.raises(ValueError, match="`value_shape` must be a shape with the query's"):
        grouped.compute_output_shape((2, 3, 6), (2, 7, 8))


def test_grouped_masks_of_parts():
    """Alone and with the weights asked for, Keras takes a mask of 0.4 for False."""
    layer, x = GroupedQueryAttention(3, 2, 1), batch((2, 4, 6))
    mask = torch.tensor([1.0, 0.4, 0.4, 0.4]).expand(2, 4, 4)
    _, scores = layer(x, attention_mask=mask, return_attention_scores=True)
    assert_close(scores[..., 0], torch.ones(2, 2, 4))
    assert_close(layer(x, attention_mask=mask), layer(x))
