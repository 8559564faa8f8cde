"""Attention and AdditiveAttention."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from kerastorch.layers import AdditiveAttention, Attention
from tests.layers.case import batch, cases

SHAPES = {
    "shape": [(3, 4, 5), (3, 6, 5)],
    "other": [[(2, 4, 5), (2, 6, 5)]],
    "refused": [[(3, 4, 5)], [(3, 4, 5), (3, 6, 4)], [(3, 4, 5), (2, 6, 5)]],
    "integers": "converted",
    "in_double": False,
}
REFUSED = [("dropout", "a", TypeError), ("colour", 1, ValueError)]
CASES = [
    *cases(
        Attention,
        {},
        {"use_scale": True},
        {"use_scale": True, "score_mode": "concat"},
        {"score_mode": "concat", "activity_regularizer": "l2"},
        **SHAPES,
        refused_arguments=[*REFUSED, ("score_mode", "foo", ValueError)],
    ),
    *cases(
        Attention,
        {"dropout": 0.4, "seed": 3},
        samples=True,
        **SHAPES,
        refused_arguments=REFUSED,
    ),
    *cases(
        AdditiveAttention,
        {},
        {"use_scale": False},
        **SHAPES,
        refused_arguments=REFUSED,
    ),
]


def test_the_key_may_be_another_tensor_than_the_value():
    query, value, key = batch((2, 3, 4)), batch((2, 5, 6), seed=1), batch((2, 5, 4), seed=2)
    outputs, weights = Attention()([query, value, key], return_attention_scores=True)
    expected = torch.softmax(query @ key.transpose(1, 2), -1)
    assert_close(weights, expected)
    assert_close(outputs, expected @ value)


def test_masks_leave_out_values_and_queries():
    query, value = batch((2, 3, 4)), batch((2, 5, 4), seed=1)
    of_query = torch.tensor([[True, False, True], [True, True, False]])
    of_value = torch.tensor([[True, True, False, False, True], [False] * 5])
    layer = Attention()
    outputs = layer([query, value], mask=[of_query, of_value])
    assert_close(outputs[0, 0], layer([query[:1, :1], value[:1, of_value[0]]])[0, 0])
    assert outputs[0, 1].eq(0).all() and outputs[1, 2].eq(0).all()
    # Where no value is left, all count alike: scores vanish beside the 1e9 that is subtracted.
    assert_close(outputs[1, 0], value[1].mean(0))
    assert layer.compute_mask([query, value], [of_query, of_value]) is of_query


def test_a_causal_query_has_no_access_to_later_keys():
    query, value = batch((2, 3, 4)), batch((2, 5, 4), seed=1)
    outputs, weights = Attention()([query, value], None, True, use_causal_mask=True)
    assert weights.triu(1).eq(0).all() and weights.tril().sum(-1).allclose(torch.ones(2, 3))
    assert_close(outputs[:, 0], value[:, 0])


def test_dropout_is_scaled_and_reproducible():
    query, value = batch((2, 50, 4)), batch((2, 80, 4), seed=1)
    one, two = (Attention(dropout=0.25, seed=5) for _ in range(2))
    _, kept = one([query, value], return_attention_scores=True)
    _, again = two([query, value], return_attention_scores=True)
    plain = Attention()([query, value], return_attention_scores=True)[1]
    assert torch.equal(kept, again)
    assert_close(kept[kept > 0], plain[kept > 0] / 0.75)
    assert 0.2 < kept.eq(0).float().mean() < 0.3
    assert_close(one.eval()([query, value]), plain @ value)


def test_inputs_and_masks_that_do_not_fit_are_refused():
    layer, x = Attention(), batch((2, 3, 4))
    with pytest.raises(ValueError, match="`inputs` must be a list of query and value"):
        layer(x)
    with pytest.raises(ValueError, match="`inputs` must be of one rank and one batch size"):
        layer([x[:, None], x])
    four = torch.ones(2, 4, dtype=torch.bool)
    for name, masks in (("query", [four, None]), ("value", [None, four])):
        with pytest.raises(
            ValueError, match=rf"`mask` must be of the shape \(2, 3\) for the {name}"
        ):
            layer([x, x], mask=masks)
    with pytest.raises(ValueError, match="`mask` must be a list"):
        layer([x, x], mask=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="1 key or more"):
        layer([x, x[:, :0]])
    with pytest.raises(TypeError, match="causal"):
        Attention.from_config({"causal": True})


def test_weights_are_trained_saved_and_shared_between_dtypes():
    layer, query, value = AdditiveAttention(), batch((2, 3, 4)), batch((2, 5, 4), seed=1)
    query.requires_grad_()
    outputs = layer([query, value])
    assert layer.built and layer.scale.shape == (4,) and len(layer.get_weights()) == 1
    outputs.square().sum().backward()
    assert layer.scale.grad.abs().min() > 0 and query.grad.abs().min() > 0
    other = AdditiveAttention()
    other.load_state_dict(layer.state_dict())
    assert_close(other([query, value]), outputs)
    other.double()
    assert other([query.double(), value.double()]).dtype is torch.float64
    scaled = Attention(use_scale=True, score_mode="concat", input_shape=[(3, 4), (5, 4)])
    assert [tuple(w.shape) for w in scaled.get_weights()] == [(), ()]
    scaled.set_weights([2.0, 3.0])
    expected = 3 * torch.tanh(2 * (query[:, :, None] + value[:, None])).sum(-1)
    assert_close(scaled([query, value], return_attention_scores=True)[1], expected.softmax(-1))


def test_an_unbuilt_layer_that_refuses_its_input_stays_lazy():
    layer = AdditiveAttention()
    with pytest.raises(ValueError, match="one last size"):
        layer([batch((2, 3, 4)), batch((2, 5, 6))])
    assert not layer.built


def test_it_runs_where_there_are_no_gradients_and_on_meta():
    layer, x = Attention(use_scale=True), [batch((2, 3, 4)), batch((2, 5, 4), seed=1)]
    expected = layer(x)
    with torch.inference_mode():
        assert_close(layer(x), expected)
    assert layer.to("meta")([one.to("meta") for one in x]).shape == (2, 3, 4)
