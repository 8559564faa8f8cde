"""Masks and states that models carry from layer to layer, beside the layers called by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.models.configs import dense, functional, inside, layer, node, sequential, tensor

from .examples import (
    IDS,
    MASK,
    OTHERS,
    built,
    called,
    decoder,
    doubled,
    embedding,
    ids,
    recurrent,
    text,
    text_in_order,
)


def by_hand(model, mask):
    """Call the layers of `text` one after the other."""
    h = model.lstm(model.embedding(IDS), mask=mask)
    return model.dense(model.gru(h, mask=mask))


@pytest.mark.parametrize("config", [text(), text(keras_2=True), text_in_order()])
def test_a_mask_is_carried_to_all_layers(config):
    model = built(config)
    found = []
    outputs = model(IDS, output_masks=found)
    assert_close(outputs, by_hand(model, MASK))
    assert not torch.allclose(outputs, by_hand(model, None))
    assert torch.equal(found[0], MASK) and torch.equal(model.compute_mask(IDS), MASK)


@pytest.mark.parametrize("keras_2", [False, True])
def test_a_call_with_states_has_the_mask_in_keras_2_only(keras_2):
    model = built(decoder(keras_2))
    _, *states = model.encoder(model.embedding(IDS), mask=MASK)
    rows, mask = model.rows(OTHERS), OTHERS != 0
    masked = model.decoder(rows, initial_state=states, mask=mask)
    unmasked = model.decoder(rows, initial_state=states)
    assert not torch.allclose(masked, unmasked)
    assert_close(model([IDS, OTHERS]), masked if keras_2 else unmasked)
    assert torch.equal(model.compute_mask([IDS, OTHERS]), mask)


def test_a_mask_keeps_its_direction():
    """The second layer receives a reversed sequence, and a mask that is not reversed."""
    config = functional(
        ids(),
        embedding(nodes=called(False, "x")),
        recurrent("LSTM", "lstm", called(False, "embedding"), go_backwards=True),
        recurrent("GRU", "gru", called(False, "lstm")),
        inputs=["x", 0, 0],
        outputs=["gru", 0, 0],
    )
    model = built(config)
    reversed_rows = model.lstm(model.embedding(IDS), mask=MASK)
    assert_close(model(IDS), model.gru(reversed_rows, mask=MASK))
    assert not torch.allclose(model(IDS), model.gru(reversed_rows, mask=MASK.flip(1)))


def test_an_operation_ends_the_mask():
    model = built(doubled())
    rows = 2 * model.embedding(IDS)
    assert_close(model(IDS), model.lstm(rows))
    assert not torch.allclose(model(IDS), model.lstm(rows, mask=MASK))
    assert model.compute_mask(IDS) is None


def test_a_mask_of_the_call_comes_first():
    mask = functional(
        ids(),
        ids("y"),
        embedding(nodes=called(False, "x")),
        recurrent("LSTM", "lstm", [node(tensor("embedding"), mask=tensor("y"))]),
        recurrent("GRU", "gru", [node(tensor("embedding"), mask=None)]),
        inputs=[["x", 0, 0], ["y", 0, 0]],
        outputs=[["lstm", 0, 0], ["gru", 0, 0]],
    )
    model = built(mask)
    rows, other = model.embedding(IDS), OTHERS != 0
    outputs = model([IDS, OTHERS])
    assert_close(outputs[0], model.lstm(rows, mask=other))
    assert_close(outputs[1], model.gru(rows, mask=MASK))
    found = model.compute_mask([IDS, OTHERS])
    assert torch.equal(found[0].bool(), other) and torch.equal(found[1], MASK)


@pytest.mark.parametrize("kind", ["in one model", "out of a model inside"])
def test_the_mask_of_a_call_goes_on(kind):
    """A mask that only a call has becomes the mask of its output."""
    parts = (
        layer("InputLayer", "a", [], batch_shape=[None, 5, 3], dtype="float32"),
        layer("InputLayer", "m", [], batch_shape=[None, 5], dtype="bool"),
        recurrent("LSTM", "lstm", [node(tensor("a"), mask=tensor("m"))]),
    )
    ends = [["a", 0, 0], ["m", 0, 0]]
    if kind == "in one model":
        gru = recurrent("GRU", "gru", called(False, "lstm"))
        model = built(functional(*parts, gru, inputs=ends, outputs=["gru", 0, 0]))
        lstm = model.lstm
    else:
        inner = functional(*parts, inputs=ends, outputs=["lstm", 0, 0], name="inner")
        call = [node([tensor("a"), tensor("m")])]
        gru = recurrent("GRU", "gru", called(False, "inner"))
        outer = functional(*parts[:2], inside(inner, call), gru, inputs=ends, outputs=["gru", 0, 0])
        model = built(outer)
        lstm = model.inner.lstm
    x = torch.randn(4, 5, 3)
    assert_close(model([x, MASK]), model.gru(lstm(x, mask=MASK), mask=MASK))
    assert torch.equal(model.compute_mask([x, MASK]), MASK)


def two_models(second, number):
    """Return a model that returns a mask before another one that receives it."""
    first = functional(
        ids("in"),
        embedding(nodes=called(False, "in")),
        dense("d", called(False, "embedding"), 3),
        inputs=["in", 0, 0],
        outputs=["d", 0, 0],
        name="first",
    )
    return functional(
        ids(),
        inside(first, called(False, "x")),
        inside(second, called(False, "first")),
        inputs=["x", 0, 0],
        outputs=["second", number, 0],
    )


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_models_inside_return_and_receive_masks(kind):
    part = recurrent("GRU", "gru", called(False, "rows") if kind == "functional" else None)
    start = layer("InputLayer", "rows", [], batch_shape=[None, 5, 3], dtype="float32")
    if kind == "functional":
        ends = {"inputs": ["rows", 0, 0], "outputs": ["gru", 0, 0]}
        second = functional(start, part, **ends, name="second")
    else:
        second = sequential(start, part, name="second")
    model = built(two_models(second, number=int(kind == "functional")))
    rows = model.first.d(model.first.embedding(IDS))
    assert_close(model(IDS), model.second.gru(rows, mask=MASK))
    assert torch.equal(model.compute_mask(IDS), MASK)
    # By itself, a model is called with a mask as a layer is
    assert_close(model.second(rows, mask=MASK), model.second.gru(rows, mask=MASK))
    assert_close(model.second(rows, MASK), model.second.gru(rows, mask=MASK))
    assert_close(model.second(rows), model.second.gru(rows))
    assert model.second.compute_mask(rows) is None
    assert torch.equal(model.second.compute_mask(rows, MASK), MASK)
    with pytest.raises(ValueError, match=r"'second'.* 'gru': GRU: `mask` must be of the shape"):
        model.second(rows, mask=MASK[:, :3])


def test_masks_of_several_inputs():
    config = functional(
        layer("InputLayer", "a", [], batch_shape=[None, 5, 3], dtype="float32"),
        layer("InputLayer", "b", [], batch_shape=[None, 5, 3], dtype="float32"),
        recurrent("GRU", "one", called(False, "a")),
        recurrent("GRU", "two", called(False, "b")),
        inputs=[["a", 0, 0], ["b", 0, 0]],
        outputs=[["one", 0, 0], ["two", 0, 0]],
    )
    model, x = built(config), torch.randn(4, 5, 3)
    outputs = model([x, x], mask=[None, MASK])
    assert_close(outputs, [model.one(x), model.two(x, mask=MASK)])
    found = model.compute_mask([x, x], [None, MASK])
    assert found[0] is None and torch.equal(found[1], MASK)
    for wrong in (MASK, [MASK], [MASK, MASK, MASK]):
        with pytest.raises(ValueError, match="`mask` must be a mask or None for each of the 2"):
            model([x, x], mask=wrong)


def attended(*args, name="MultiHeadAttention", **kwargs):
    """Return a model that calls attention on rows with a mask, or without, and on masks."""
    sizes = {"MultiHeadAttention": {"num_heads": 2, "key_dim": 3}}
    sizes["GroupQueryAttention"] = {"head_dim": 3, "num_query_heads": 2, "num_key_value_heads": 1}
    return functional(
        ids(),
        ids("m"),
        layer("InputLayer", "a", [], batch_shape=[None, 5, 3], dtype="float32"),
        embedding(nodes=called(False, "x")),
        layer(name, "attention", [node(*args, **kwargs)], **sizes[name]),
        inputs=[["x", 0, 0], ["m", 0, 0], ["a", 0, 0]],
        outputs=[["attention", 0, 0], ["embedding", 0, 0]],
    )


@pytest.mark.parametrize("where", ["by position", "by name", "with all arguments"])
@pytest.mark.parametrize("source", ["embedding", "a"])
def test_heads_take_the_mask_of_the_query_from_the_query(where, source):
    """Keras 3 overwrites the argument `query_mask` of a MultiHeadAttention, but uses others."""
    x, m, a = (tensor(name) for name in (source, "m", "a"))
    calls = {"by position": ((x, a, a, m), {}), "by name": ((x, a), {"query_mask": m})}
    calls["with all arguments"] = ((x, a, a, m, m, m), {})
    args, kwargs = calls[where]
    model, rows, other = built(attended(*args, **kwargs)), torch.randn(4, 5, 3), OTHERS != 0
    query = model.embedding(IDS) if source == "embedding" else rows
    own = {"query_mask": MASK} if source == "embedding" else {}
    if where == "with all arguments":
        own |= {"value_mask": other, "key_mask": other}
    found, _ = model([IDS, OTHERS, rows])
    assert_close(found, model.attention(query, rows, **own))
    assert not torch.allclose(found, model.attention(query, rows, **{**own, "query_mask": other}))
    assert model.input_shapes["attention"] == [(None, 5, 3)] * (2 if where == "by name" else 3)


def test_grouped_queries_take_a_mask_by_position():
    x, m, a = (tensor(name) for name in ("embedding", "m", "a"))
    model = built(attended(x, a, a, m, name="GroupQueryAttention"))
    rows = torch.randn(4, 5, 3)
    expected = model.attention(model.embedding(IDS), rows, query_mask=OTHERS != 0)
    assert_close(model([IDS, OTHERS, rows])[0], expected)


@pytest.mark.parametrize("kind", ["AdditiveAttention", "LSTM"])
def test_a_mask_by_position_is_not_that_of_the_output(kind):
    """As in Keras 3, where the mask of the first input goes on."""
    rows, m = tensor("embedding"), tensor("m")
    is_lstm = kind == "LSTM"
    call = node(rows, None, m) if is_lstm else node([rows, rows], [m, m])
    last = recurrent("LSTM", "r", [call]) if is_lstm else layer(kind, "r", [call])
    ends = {"inputs": [["x", 0, 0], ["m", 0, 0]], "outputs": ["r", 0, 0]}
    model = built(functional(ids(), ids("m"), embedding(nodes=called(False, "x")), last, **ends))
    h, other = model.embedding(IDS), OTHERS != 0
    expected = model.r(h, mask=other) if is_lstm else model.r([h, h], mask=[other, other])
    assert_close(model([IDS, OTHERS]), expected)
    assert torch.equal(model.compute_mask([IDS, OTHERS]), MASK)


def test_a_shared_layer_takes_the_mask_of_each_call():
    config = functional(
        ids("x"),
        ids("y"),
        embedding(nodes=called(False, "x", "y")),
        recurrent("GRU", "gru", [node(tensor("embedding", n)) for n in (0, 1)]),
        inputs=[["x", 0, 0], ["y", 0, 0]],
        outputs=[["gru", 0, 0], ["gru", 1, 0]],
    )
    model = built(config)
    expected = [model.gru(model.embedding(x), mask=x != 0) for x in (IDS, OTHERS)]
    assert_close(model([IDS, OTHERS]), expected)


class Rows(nn.Module):
    """A user's own embedding, without a mask."""

    def forward(self, x):
        return torch.stack([x, x.sin(), x.cos()], -1)


class RowsWithMask(Rows):
    creates_mask = True

    def compute_mask(self, x, mask=None):
        return x > 2


class Steps(nn.Module):
    """A user's own layer that takes a mask, and drops it."""

    def forward(self, sequences, mask=None):
        weights = torch.ones(sequences.shape[:2]) if mask is None else mask.float()
        return torch.cat([sequences, weights[..., None]], -1)


def test_a_layer_that_replaces_another_one():
    model = built(text())
    rows = Rows()(IDS.float())
    for module, mask in ((Rows(), None), (RowsWithMask(), IDS > 2)):
        model.embedding = module
        h = model.lstm(rows, mask=mask)
        assert_close(model(IDS.float()), model.dense(model.gru(h, mask=mask)))
    model = built(text())
    model.lstm, model.gru = nn.Identity(), nn.Linear(3, 4)  # of torch, without masks
    assert_close(model(IDS), model.dense(model.gru(model.embedding(IDS))))
    assert model.compute_mask(IDS) is None
    model = built(text())
    model.gru, model.dense = Steps(), nn.Identity()
    assert torch.equal(model(IDS)[..., -1], MASK.float())


def stateful(kind):
    parts = (
        embedding(nodes=None if kind == "sequential" else called(False, "x")),
        recurrent("LSTM", "lstm", called(False, "embedding"), stateful=True),
        recurrent("GRU", "gru", called(False, "lstm"), stateful=True),
    )
    start = layer("InputLayer", "x", [], batch_shape=[4, 5], dtype="float32")
    if kind == "sequential":
        return sequential(start, *parts)
    return functional(start, *parts, inputs=["x", 0, 0], outputs=["gru", 0, 0])


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_states_are_kept_between_calls_until_they_are_reset(kind):
    model = built(stateful(kind))
    first, second = model(IDS), model(OTHERS)
    both = torch.cat([IDS, OTHERS], 1)
    model.reset_states()
    assert_close(model(IDS), first)
    model.reset_states()
    assert model.lstm.states is model.gru.states is None
    assert not torch.allclose(model(OTHERS), second)
    h = model.embedding(both)
    for one in (model.lstm, model.gru):
        one.reset_states()
        h = one(h, mask=both != 0)
    # The output is 0 before the first step of a call, even if there is a state
    known = (OTHERS != 0).cummax(1).values
    assert_close(second[known], h[:, 5:][known])


def test_a_recorded_mode_does_not_turn_dropout_off():
    """Keras writes the mode in which a layer was called, and calls it in that of the model."""
    config = functional(
        ids(),
        embedding(nodes=called(False, "x"), mask_zero=False),
        recurrent("LSTM", "lstm", [node(tensor("embedding"), training=False)], dropout=0.5),
        inputs=["x", 0, 0],
        outputs=["lstm", 0, 0],
    )
    model = built(config)
    assert_close(model(IDS), model.lstm(model.embedding(IDS)))
    model.train()
    assert not torch.allclose(model(IDS), model(IDS))
