"""TimeDistributed: its rows for the tests of every layer, and what is special about it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kerastorch import regularization_loss
from kerastorch.layers import (
    GRU,
    LSTM,
    RNN,
    BatchNormalization,
    Bidirectional,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNormalization,
    LSTMCell,
    Softmax,
    TimeDistributed,
)
from kerastorch.layers.base import nesting
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config

from ..case import batch, cases
from .rows import INNER

CONSTANT = frozenset(  # its initial values are no random numbers
    {
        "test_functional_call",
        "test_reset_parameters_draws_in_place",
        "test_two_layers_start_with_values_of_their_own",
        "test_weights_round_trip",
    }
)

CASES = [
    *cases(
        TimeDistributed,
        {"layer": Dense(3, activation="relu", kernel_regularizer="l2", name="inner")},
        shape=(2, 5, 4),
        other=[(3, 6, 4)],
        refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
        refused_arguments=[("layer", 3, ValueError), ("layer", None, ValueError)],
        integers="converted",
        policies_agree=False,
        exempt=INNER,
    ),
    *cases(
        TimeDistributed,
        {"layer": Conv2D(3, 2, activity_regularizer="l2", name="inner")},
        shape=(2, 5, 4, 3, 2),
        other=[(3, 6, 4, 3, 2)],
        refused=[(2, 5, 4, 3, 1), (2, 0, 4, 3, 2)],
        refused_arguments=[("layer", 3, ValueError)],
        integers_agree=False,  # Keras leaves them to torch
        policies_agree=False,
        exempt=INNER,
    ),
    *cases(
        TimeDistributed,
        {"layer": BatchNormalization(name="inner")},
        shape=(6, 5, 4),
        other=[(7, 6, 4)],
        refused=[(2, 5, 3), (2, 0, 4)],
        refused_arguments=[("layer", 3, ValueError)],
        policies_agree=False,
        exempt=INNER | CONSTANT,
        thorough=True,
    ),
    *cases(
        TimeDistributed,
        {"layer": LSTM(3, name="inner")},
        {"layer": TimeDistributed(Dense(3, activity_regularizer="l1", name="i"), name="inner")},
        shape=(2, 5, 4, 3),
        refused=[(2, 5, 4, 2), (2, 5)],
        refused_arguments=[("layer", 3, ValueError)],
        policies_agree=False,
        exempt=INNER | {"test_state"},  # with the second bias of torch.nn
    ),
]

LAYERS = {
    "dense": (lambda: Dense(3, activation="relu"), (2, 5, 4)),
    "convolution": (lambda: Conv2D(3, 2, padding="same"), (2, 5, 4, 3, 2)),
    "recurrent": (lambda: LSTM(3), (2, 5, 4, 3)),
    "both directions": (lambda: Bidirectional(GRU(3, dropout=0.5)), (2, 5, 4, 3)),
    "normalization": (lambda: LayerNormalization(), (2, 5, 4)),
    "moving statistics": (lambda: BatchNormalization(), (2, 5, 4)),
    "dropout": (lambda: Dropout(0.5, seed=1), (2, 5, 4)),
    "nested": (lambda: TimeDistributed(Dense(3)), (2, 5, 4, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_all_steps_at_once_in_evaluation(name: str) -> None:
    make, shape = LAYERS[name]
    layer = TimeDistributed(make(), input_shape=shape[1:]).eval()
    x = batch(shape)
    calls = count_calls(layer.layer)
    found = layer(x)
    assert calls == [10]
    assert_close(found, torch.stack([layer.layer(step) for step in x.unbind(1)], 1))


SEQUENTIAL: dict[str, tuple[Any, bool]] = {
    "batch statistics": (lambda: BatchNormalization(), True),
    "noise shape": (lambda: Dropout(0.5, noise_shape=(1, None)), True),
    "seed": (lambda: Dropout(0.5, seed=1), True),
    "torch": (lambda: nn.Linear(4, 3), False),
    "activity inside": (lambda: TimeDistributed(Dense(2, activity_regularizer="l2")), False),
    "axis of the batch": (lambda: Softmax(axis=0), False),
}


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_steps_one_by_one_where_the_numbers_differ(name: str) -> None:
    make, training = SEQUENTIAL[name]
    inner = make()
    shape = (2, 5, 3, 4) if isinstance(inner, TimeDistributed) else (2, 5, 4)
    layer = TimeDistributed(inner).train(training)
    x = batch(shape)
    layer(x)
    again = copy.deepcopy(layer)
    calls = count_calls(layer.layer)
    torch.manual_seed(3)
    found = layer(x)
    assert calls == [2] * 5
    torch.manual_seed(3)
    assert_close(found, torch.stack([again.layer(step) for step in x.unbind(1)], 1))


def count_calls(module: nn.Module) -> list[int]:
    """Return a list that gets the batch size of each call of a module."""
    sizes: list[int] = []
    module.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    return sizes


def test_dropout_without_a_seed_is_computed_at_once() -> None:
    layer = TimeDistributed(Dropout(0.5))
    calls = count_calls(layer.layer)
    kept = layer(torch.ones(4, 5, 100)) > 0
    assert calls == [20]
    assert len({tuple(row.tolist()) for row in kept.flatten(0, 1)}) == 20
    assert 0.4 < kept.float().mean() < 0.6


def test_batch_statistics_are_those_of_a_step() -> None:
    """Keras 3 updates the moving statistics once a step, Keras 2 once a call."""
    x = 100 + batch((8, 4, 3))
    new, old = (
        TimeDistributed.from_config(
            {"layer": nesting.serialize(BatchNormalization(momentum=0.9)), "keras_2": keras_2}
        )
        for keras_2 in (False, True)
    )
    y, z = new(x), old(x)
    assert_close(y.mean(0), torch.zeros(4, 3), atol=1e-4, rtol=0)
    assert not torch.allclose(z.mean(0), torch.zeros(4, 3), atol=1e-2)
    assert_close(z.mean((0, 1)), torch.zeros(3), atol=1e-4, rtol=0)
    assert_close(new.layer.running_mean, torch.full((3,), 34.4), atol=0.5, rtol=0)
    assert_close(old.layer.running_mean, 0.1 * x.mean((0, 1)))


def test_states_go_from_step_to_step() -> None:
    for keras_2 in (False, True):
        cell = RNN(LSTMCell(3), stateful=True)
        assert not cell.is_sample_wise
        entry = nesting.serialize(LSTM(3, stateful=True))
        layer = TimeDistributed.from_config({"layer": entry, "keras_2": keras_2})
        x = batch((2, 5, 4, 3))
        found = layer(x)
        layer.layer.reset_states()
        assert_close(found, torch.stack([layer.layer(step) for step in x.unbind(1)], 1))
        assert not torch.allclose(found, TimeDistributed(plain(layer.layer))(x))


def plain(layer: LSTM) -> LSTM:
    """Return a layer without states that has the same weights."""
    made = LSTM(layer.units, input_shape=(4, 3))
    made.set_weights(layer.get_weights())
    return made


class Scaled(nn.Module):
    """A user's layer that takes a mask, and returns a dict."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        return {"y": x if mask is None else x * mask[..., None]}


def test_modules_of_users() -> None:
    layer, x = TimeDistributed(Scaled()), batch((2, 5, 4))
    mask = batch((2, 5)) > 0
    assert_close(layer(x)["y"], x)
    assert_close(layer(x, mask=mask)["y"], x * mask[..., None])
    assert layer.built and layer.get_weights() == []
    lazy = TimeDistributed(nn.LazyLinear(3))
    assert lazy(x).shape == (2, 5, 3)
    with pytest.raises(ValueError, match="compute_output_shape"):
        layer.compute_output_shape((2, 5, 4))


def test_masks_reach_the_layer() -> None:
    x, mask = batch((2, 5, 4, 3)), batch((2, 5, 4)) > 0
    layer = TimeDistributed(LSTM(3))
    pairs = zip(x.unbind(1), mask.unbind(1), strict=True)
    found = layer(x, mask=mask)
    assert_close(found, torch.stack([layer.layer(one, mask=own) for one, own in pairs], 1))
    assert not torch.allclose(found, layer(x))
    dense = TimeDistributed(Dense(3))  # it takes no mask: masked steps are computed, too
    assert_close(dense(x, mask=mask[..., 0]), dense(x))
    statistics = TimeDistributed(BatchNormalization())
    y = statistics(x[:, :, 0], mask=mask[..., 0])
    first = statistics.layer(x[:, 0, 0], mask=mask[:, 0, 0])
    assert_close(y[:, 0], first)
    for wrong in (mask[:, :4], mask[:1], mask[:, 0, 0]):
        with pytest.raises(ValueError, match=r"^TimeDistributed: `mask` must be"):
            layer(x, mask=wrong)
    with pytest.raises(ValueError, match=r"mask=\(2, 5\).*LSTM: `mask` must be"):
        layer(x, mask=mask[..., 0])


def test_masks_of_the_output() -> None:
    """Keras 3 passes on the input's, Keras 2 takes the layer's, or the steps that have any."""
    x, ids = batch((2, 5, 4, 3)), torch.tensor([[[1, 0], [0, 0]], [[2, 3], [0, 4]]])
    mask = batch((2, 5, 4)) > 0.5
    entries = [nesting.serialize(one) for one in (LSTM(3), Embedding(9, 3, mask_zero=True))]
    new = [TimeDistributed.from_config({"layer": entry}) for entry in entries]
    old = [TimeDistributed.from_config({"layer": one, "keras_2": True}) for one in entries]
    assert new[0].compute_mask(x, mask) is mask
    assert new[1].compute_mask(ids) is None and not new[1].creates_mask
    assert_close(old[0].compute_mask(x, mask), mask.any(-1))
    assert_close(old[0].compute_mask(x, mask[..., 0]), mask[..., 0])
    assert old[0].compute_mask(x) is None and not old[0].creates_mask
    assert old[1].creates_mask
    assert_close(old[1].compute_mask(ids), ids != 0)


def test_several_outputs_have_the_axis_of_time() -> None:
    layer = TimeDistributed(LSTM(3, return_state=True))
    x = batch((2, 5, 4, 3))
    found = layer(x)
    assert len(found) == layer.output_count == 3
    shapes = layer.compute_output_shape(x.shape)
    assert [tuple(one.shape) for one in found] == [tuple(one) for one in shapes]
    assert_close(found[1][:, 2], layer.layer(x[:, 2])[1])


def test_loss_terms_are_those_of_keras() -> None:
    """Not the layer's own activity; that of layers inside once a step, or once in Keras 2."""
    x = batch((2, 5, 4))
    inner = Dense(3, kernel_regularizer="l2", activity_regularizer="l1")
    layer = TimeDistributed(inner, activity_regularizer="l2")
    for _ in range(2):
        y = layer(x)
        penalty = 0.01 * inner.weight.square().sum()
        assert_close(layer.losses, [0.01 * y.square().sum() / 2, penalty])
        assert_close(regularization_loss(layer), sum(layer.losses))
    old = TimeDistributed.from_config({**layer.get_config(), "keras_2": True})
    old(x), old.set_weights(layer.get_weights())
    y = old(x)
    terms = [0.01 * y.square().sum() / 2, 0.01 * y.abs().sum() / 10, penalty]
    assert_close(old.losses, terms)
    nested = TimeDistributed(Bidirectional(LSTM(3, activity_regularizer="l1")))
    x = batch((2, 5, 4, 3))
    for _ in range(2):
        y = nested(x)
        halves = [y[:, step, part] for part in (slice(3), slice(3, 6)) for step in range(5)]
        assert_close(nested.losses, [0.01 * one.abs().sum() / 2 for one in halves])


def make_model(*layers: Any) -> Any:
    """Return a Sequential model of a config with these layers."""
    config = {"name": "inner", "layers": [nesting.serialize(layer) for layer in layers]}
    return build_model(parse_model_config({"class_name": "Sequential", "config": config}, "inner"))


def test_models_inside() -> None:
    model = make_model(Conv2D(3, 2), BatchNormalization(), Flatten(), Dense(2))
    layer = TimeDistributed(model)
    x = batch((2, 5, 4, 3, 2))
    assert not layer.built
    layer(x)
    assert layer.built and len(layer.get_weights()) == 8
    calls = count_calls(model)
    layer(x)
    found = layer.eval()(x)
    assert calls == [2] * 5 + [10]
    assert_close(found, torch.stack([model(step) for step in x.unbind(1)], 1))
    layer.set_weights([array + 1 for array in layer.get_weights()])
    assert not torch.allclose(layer(x), found)
    assert layer.compute_output_shape((None, 7, 4, 3, 2)) == (None, 7, 2)


def test_where_keras_stores_the_weights() -> None:
    config = TimeDistributed(Dense(3)).get_config()
    assert TimeDistributed.weight_groups(config) == [("layer", ("kernel", "bias"))]
    config = TimeDistributed(Bidirectional(LSTM(3, use_bias=False))).get_config()
    names = ("kernel", "recurrent_kernel")
    assert TimeDistributed.weight_groups(config) == [
        (f"layer/{side}_layer/cell", names) for side in ("forward", "backward")
    ]


def test_a_frozen_layer() -> None:
    layer = TimeDistributed(Dense(3), trainable=False, input_shape=(5, 4))
    assert layer.trainable_weights == [] and len(layer.weights) == 2
    layer.trainable = True
    assert len(layer.trainable_weights) == 2 and layer.layer.trainable


def test_a_model_counts_the_terms_of_inner_layers_once() -> None:
    inner = Dense(3, kernel_regularizer="l2")
    model = make_model(TimeDistributed(inner), Bidirectional(LSTM(3, activity_regularizer="l1")))
    model(batch((2, 5, 4)))
    assert len(model.losses) == 3
    assert_close(regularization_loss(model), sum(model.losses))


def test_a_model_resets_the_states_of_stateful_layers() -> None:
    model = make_model(LSTM(3, return_sequences=True), Bidirectional(LSTM(3, stateful=True)))
    x = batch((2, 5, 4))
    first = model(x)
    assert not torch.allclose(model(x), first)
    model.reset_states()
    assert_close(model(x), first)
