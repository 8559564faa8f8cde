"""Sequences as plain PyTorch: masks, states, directions and attention."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from kerastorch.plain import to_torch
from tests.models.configs import (
    dense,
    functional,
    input_layer,
    inside,
    layer,
    node,
    sequential,
    tensor,
)
from tests.models.masks.examples import (
    IDS,
    OTHERS,
    STEPS,
    called,
    decoder,
    embedding,
    ids,
    recurrent,
    text,
    text_in_order,
)
from tests.plain.models import (
    assert_plain,
    assert_plain_and_trains_alike,
    assert_trains_alike,
    build,
)

SWEEP = pytest.mark.sweep
KINDS = ("LSTM", "GRU", "SimpleRNN")
STATES = {"LSTM": 2, "GRU": 1, "SimpleRNN": 1}


def sequence_input(name: str = "a", features: int = 3) -> Any:
    return input_layer(name, (None, STEPS, features))


def test_a_mask_goes_to_all_layers_and_is_made_once():
    code = assert_plain_and_trains_alike(text(), IDS)
    assert "mask = x != 0\n        x = self.embedding(x.long())\n" in code
    assert "x, _ = self.lstm(x, mask=mask)\n        x, _ = self.gru(x, mask=mask)\n" in code
    assert_plain_and_trains_alike(text(keras_2=True), IDS)
    assert_plain_and_trains_alike(text_in_order(), IDS)


@pytest.mark.parametrize("keras_2", [False, True])
def test_the_states_of_an_encoder_go_to_a_decoder(keras_2: bool):
    code = assert_plain_and_trains_alike(decoder(keras_2), IDS, OTHERS)
    assert "_, (h, c) = self.encoder(" in code
    assert ("(h, c), mask=mask)" if keras_2 else "(h, c))") in code


SWITCHES = list(itertools.product(*[(False, True)] * 5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("masked", "sequences", "backwards", "zero", "started"),
    [case for case in SWITCHES if sum(case) in (0, 5) or (case[0] and sum(case) in (2, 4))],
)
@pytest.mark.parametrize("activation", ["tanh", pytest.param("softsign", marks=SWEEP)])
def test_each_recurrent_layer(kind, masked, sequences, backwards, zero, started, activation):
    states = [f"s{n}" for n in range(STATES[kind])] if started else []
    given = {"initial_state": [tensor(name) for name in states]} if started else {}
    if masked:
        given["mask"] = tensor("m")
    options = {"return_sequences": sequences, "go_backwards": backwards, "return_state": True}
    options |= {"zero_output_for_mask": zero, "activation": activation}
    config = functional(
        sequence_input(),
        input_layer("m", (None, STEPS)),
        *(input_layer(name, (None, 4)) for name in states),
        recurrent(kind, "rnn", [node(tensor("a"), **given)], **options),
        inputs=[[name, 0, 0] for name in ("a", "m", *states)],
        outputs=[["rnn", 0, number] for number in range(1 + STATES[kind])],
    )
    torch.manual_seed(0)
    x, starts = torch.randn(4, STEPS, 3), [torch.randn(4, 4) for _ in states]
    model = build(config)
    mask = (IDS != 0).float()
    assert_plain(model, [x, mask, *starts])
    assert_trains_alike(model, [x, mask, *starts])


MODES = ["concat", None, *(pytest.param(mode, marks=SWEEP) for mode in ("sum", "mul", "ave"))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_both_directions(kind, mode, masked, sequences):
    inner = {
        "class_name": kind,
        "config": {
            "name": "inner",
            "units": 4,
            "return_sequences": sequences,
            "return_state": True,
        },
    }
    count = (2 if mode is None else 1) + 2 * STATES[kind]
    config = functional(
        ids(),
        embedding(nodes=called(False, "x"), mask_zero=masked),
        layer("Bidirectional", "both", called(False, "embedding"), layer=inner, merge_mode=mode),
        inputs=[["x", 0, 0]],
        outputs=[["both", 0, number] for number in range(count)],
    )
    code = assert_plain_and_trains_alike(config, IDS)
    assert ("bidirectional=True" in code) == (mode == "concat")


@pytest.mark.parametrize("masked", [False, True])
def test_states_of_both_directions_go_on(masked):
    inner = {"name": "inner", "units": 4, "return_sequences": True, "return_state": True}
    config = functional(
        ids(),
        embedding(nodes=called(False, "x"), mask_zero=masked),
        layer(
            "Bidirectional", "first", called(False, "embedding"),
            layer={"class_name": "LSTM", "config": inner},
        ),
        layer(
            "Bidirectional", "second",
            [node(tensor("embedding"), initial_state=[tensor("first", 0, n) for n in range(1, 5)])],
            layer={"class_name": "LSTM", "config": {**inner, "return_state": False}},
        ),
        inputs=[["x", 0, 0]],
        outputs=[["second", 0, 0]],
    )  # fmt: skip
    assert_plain_and_trains_alike(config, IDS)


def cell(kind: str, units: int, **config: Any) -> Any:
    given = {"name": f"cell_{kind}_{units}", "units": units, **config}
    return {"class_name": kind, "config": given}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_stack_of_cells_is_one_layer_after_the_other(masked, backwards):
    cells = [cell("LSTMCell", 4), cell("GRUCell", 3), cell("SimpleRNNCell", 2, activation="relu")]
    stack = {"class_name": "StackedRNNCells", "config": {"name": "stack", "cells": cells}}
    config = functional(
        ids(),
        embedding(nodes=called(False, "x"), mask_zero=masked),
        layer(
            "RNN", "rnn", called(False, "embedding"), cell=stack,
            return_sequences=True, go_backwards=backwards,
        ),
        inputs=[["x", 0, 0]],
        outputs=[["rnn", 0, 0]],
    )  # fmt: skip
    code = assert_plain_and_trains_alike(config, IDS)
    assert "x, _ = self.rnn_3(" in code


def two_models(second: Any) -> Any:
    """Return a model that returns a mask before another one that receives it."""
    first = functional(
        ids("in"),
        embedding(nodes=called(False, "in")),
        inputs=["in", 0, 0],
        outputs=["embedding", 0, 0],
        name="first",
    )
    return functional(
        ids(),
        inside(first, called(False, "x")),
        inside(second, called(False, "first")),
        inputs=["x", 0, 0],
        outputs=["second", int(second["class_name"] == "Functional"), 0],
    )


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_models_inside_return_and_receive_masks(kind):
    part = recurrent("GRU", "gru", called(False, "rows") if kind == "functional" else None)
    start = layer("InputLayer", "rows", [], batch_shape=[None, STEPS, 3], dtype="float32")
    if kind == "functional":
        ends = {"inputs": ["rows", 0, 0], "outputs": ["gru", 0, 0]}
        second = functional(start, part, **ends, name="second")
    else:
        second = sequential(start, part, name="second")
    code = assert_plain_and_trains_alike(two_models(second), IDS)
    assert "def forward(self, x, mask):" in code


def test_a_layer_shared_by_calls_with_and_without_a_mask():
    config = functional(
        ids("x"),
        sequence_input("a"),
        embedding(nodes=called(False, "x")),
        recurrent("LSTM", "lstm", [node(tensor("a")), node(tensor("embedding"))]),
        inputs=[["x", 0, 0], ["a", 0, 0]],
        outputs=[["lstm", 0, 0], ["lstm", 1, 0]],
    )
    assert_plain_and_trains_alike(config, IDS, torch.randn(4, STEPS, 3))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LSTM", {"dropout": 0.4}),
        ("LSTM", {"dropout": 0.4, "implementation": 1}),
        ("LSTM", {"dropout": 0.3, "recurrent_dropout": 0.4}),
        ("GRU", {"dropout": 0.3, "recurrent_dropout": 0.4}),
        ("GRU", {"recurrent_dropout": 0.4, "reset_after": False}),
        ("SimpleRNN", {"dropout": 0.3, "recurrent_dropout": 0.4}),
    ],
)
def test_dropout_has_the_distribution_of_keras(kind, options):
    """Many equal samples: mean and spread of the outputs at all steps, and between the steps."""
    config = sequential(sequence_input(), recurrent(kind, "rnn", None, **options))
    model = build(config)
    assert_plain(model, [torch.randn(2, STEPS, 3)])
    plain, x = to_torch(model).train(), torch.randn(1, STEPS, 3).expand(30_000, -1, -1)
    torch.manual_seed(1)
    with torch.no_grad():
        one, other = (m(x).flatten(1) for m in (model.train(), plain))
    assert (one.mean(0) - other.mean(0)).abs().max() < 0.02
    assert (one.T.cov() - other.T.cov()).abs().max() < 0.02


def each(class_name: str, name: str, **config: Any) -> Any:
    """Return a layer that is called on each step."""
    return layer("TimeDistributed", name, layer={"class_name": class_name, "config": config})


@pytest.mark.parametrize("steps", [4, None])
def test_layers_on_each_step_of_a_video_share_one_batch(steps):
    last = recurrent("LSTM", "lstm", return_sequences=False)
    parts = (
        each("Conv2D", "conv", filters=3, kernel_size=3, activation="relu"),
        each("MaxPooling2D", "pool"),
        each("Dropout", "dropout", rate=0.25),
        each("Flatten", "flat"),
        each("Dense", "dense", units=5),
    )
    shape = (None, steps, 8, 8, 2)
    model = build(sequential(input_layer("x", shape), *parts, last))
    code = assert_plain(model, [torch.randn(2, 4, 8, 8, 2)])
    assert code.count("flatten(0, 1)") == 1
    assert code.count("permute(") == 1  # none before the dense layer, whose columns are in order


@pytest.mark.parametrize("shape", [(3,), (6, 5, 3)])
def test_each_step_is_normalized_by_itself(shape):
    config = sequential(input_layer("x", (None, 4, *shape)), each("BatchNormalization", "norm"))
    code = assert_plain_and_trains_alike(config, torch.randn(5, 4, *shape))
    assert "self.norm = EachStep(nn.BatchNorm" in code


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_any_number(kind):
    parts = recurrent(kind, "one"), recurrent(kind, "two", return_sequences=False)
    table = embedding(), *parts
    assert_plain(build(sequential(input_layer("x", (None, None)), *table)), [IDS])


@pytest.mark.parametrize("options", [{}, {"tie_weights": False, "logit_soft_cap": 3.0}])
def test_an_embedding_in_reverse(options):
    calls = [node(tensor("x")), node(tensor("dense"), reverse=True)]
    config = functional(
        ids(),
        layer("ReversibleEmbedding", "rows", calls, input_dim=6, output_dim=4, **options),
        dense("dense", called(False, "rows"), 4),
        inputs=[["x", 0, 0]],
        outputs=[["rows", 1, 0]],
    )
    assert (
        "F.linear(self.linear(x), self.rows.weight)" in assert_plain_and_trains_alike(config, IDS)
    ) == (not options)


def test_states_of_a_stack():
    cells = [cell("LSTMCell", 4), cell("GRUCell", 3)]
    stack = {"class_name": "StackedRNNCells", "config": {"name": "stack", "cells": cells}}
    config = functional(
        sequence_input(),
        layer("RNN", "rnn", called(False, "a"), cell=stack, return_state=True),
        inputs=[["a", 0, 0]],
        outputs=[["rnn", 0, number] for number in range(4)],
    )
    assert_plain_and_trains_alike(config, torch.randn(2, STEPS, 3))


@pytest.mark.parametrize("masked", [False, True])
def test_convolutions_of_states(masked):
    def convolve(name: str, source: str, **options: Any) -> Any:
        calls = [node(tensor(source), **({"mask": tensor("m")} if masked else {}))]
        return layer("ConvLSTM2D", name, calls, filters=2, kernel_size=2, **options)

    config = functional(
        input_layer("x", (None, STEPS, 6, 5, 2)),
        input_layer("m", (None, STEPS)),
        convolve("one", "x", return_sequences=True, padding="same", activation="relu"),
        convolve("two", "one", return_sequences=True, go_backwards=True, strides=2),
        convolve("three", "two", recurrent_activation="hard_sigmoid", return_state=True),
        inputs=[["x", 0, 0], ["m", 0, 0]],
        outputs=[["three", 0, number] for number in range(3)],
    )
    x, mask = torch.randn(4, STEPS, 6, 5, 2), (IDS != 0).float()
    assert assert_plain_and_trains_alike(config, x, mask).count("movedim") == 1


def test_a_stateful_layer_is_refused():
    config = sequential(
        layer("InputLayer", "a", batch_shape=[4, STEPS, 3], dtype="float32"),
        recurrent("LSTM", "lstm", stateful=True),
    )
    with pytest.raises(ValueError, match=r"'lstm' \(LSTM\): it is stateful"):
        assert_plain(build(config), [torch.randn(4, STEPS, 3)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", ["time_major", "repeats_state"])
@pytest.mark.parametrize("masked", [False, True])
def test_settings_of_old_versions_are_refused_where_they_count(kind, setting, masked):
    given = {"mask": tensor("m")} if masked else {}
    config = functional(
        sequence_input(),
        input_layer("m", (None, STEPS)),
        recurrent(kind, "rnn", [node(tensor("a"), **given)], **{setting: True}),
        inputs=[["a", 0, 0], ["m", 0, 0]],
        outputs=[["rnn", 0, 0]],
    )
    if setting == "repeats_state" and not masked:
        assert_plain(build(config), [torch.randn(4, STEPS, 3), torch.ones(4, STEPS)])
        return
    with pytest.raises(ValueError, match=f"it has the setting {setting} of an old version"):
        assert_plain(build(config), [torch.randn(4, STEPS, 3), torch.ones(4, STEPS)])
