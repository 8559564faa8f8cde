"""Bidirectional: its rows for the tests of every layer, and what is special about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kerastorch import regularization_loss
from kerastorch.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    GRUCell,
    LSTMCell,
    SimpleRNN,
)
from kerastorch.layers.wrappers.bidirectional import MERGE_MODES

from ..case import batch, cases
from .rows import INNER

# Each inner layer has a second bias of torch.nn, which is always 0.
SECOND_BIAS = frozenset({"test_state"})

CASES = cases(
    Bidirectional,
    {"layer": LSTM(3, name="inner")},
    {"layer": GRU(3, return_sequences=True, name="inner"), "merge_mode": "ave"},
    {
        "layer": LSTM(2, kernel_regularizer="l2", activity_regularizer="l1", name="inner"),
        "backward_layer": SimpleRNN(2, go_backwards=True, bias_constraint="non_neg", name="other"),
        "merge_mode": "mul",
    },
    shape=(2, 5, 4),
    other=[(3, 5, 4)],
    refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
    refused_arguments=[
        ("layer", 3, ValueError),
        ("layer", LSTM(3, go_backwards=True), ValueError),
        ("merge_mode", "max", ValueError),
        ("backward_layer", 3, ValueError),
        ("backward_layer", LSTM(3), ValueError),
    ],
    integers="converted",
    in_double=False,
    exempt=INNER | SECOND_BIAS,
)


def run_both(layer: Bidirectional, x: Tensor, **given: Any) -> tuple[Any, Any]:
    """Return the results of the inner layers, each called by itself."""
    return tuple(inner(x, **given) for inner in (layer.forward_layer, layer.backward_layer))


@pytest.mark.parametrize("mode", MERGE_MODES)
@pytest.mark.parametrize("inner", [LSTM, GRU, SimpleRNN])
def test_merge_modes(inner: Any, mode: str | None) -> None:
    layer = Bidirectional(inner(3, return_sequences=True, return_state=True), merge_mode=mode)
    x = batch((2, 5, 4))
    outputs = layer(x)
    (y, *states), (back, *more) = run_both(layer, x)
    back = back.flip(1)
    merged = {
        "concat": [torch.cat([y, back], -1)],
        "sum": [y + back],
        "ave": [(y + back) / 2],
        "mul": [y * back],
        None: [y, back],
    }[mode]
    assert len(outputs) == layer.output_count
    assert_close(list(outputs), [*merged, *states, *more], rtol=0, atol=0)
    shapes = layer.compute_output_shape((2, 5, 4))
    assert [tuple(one) for one in shapes] == [tuple(one.shape) for one in outputs]


def test_the_backward_layer_has_seen_the_first_step_last() -> None:
    layer = Bidirectional(SimpleRNN(3))
    x = batch((2, 5, 4))
    back = layer(x)[:, 3:]
    assert_close(back, layer.backward_layer(x))
    changed = x.clone()
    changed[:, 0] += 1
    assert not torch.allclose(back, layer(changed)[:, 3:])


def test_masked_steps_are_zeros_where_a_plain_layer_repeats_its_output() -> None:
    mask = torch.tensor([[True, True, False, True, False], [False, False, True, True, True]])
    x = batch((2, 5, 4))
    for zeros in (False, True):
        layer = Bidirectional(LSTM(3, return_sequences=True, zero_output_for_mask=zeros))
        y = layer(x, mask=mask)
        assert not y[~mask].any() and y[mask].all()
        plain = LSTM(3, return_sequences=True)
        plain(x), plain.set_weights(layer.get_weights()[:3])
        repeated = plain(x, mask=mask)
        assert torch.equal(repeated[0, 2], repeated[0, 1])
        assert_close(y[..., :3][mask], repeated[mask])
        last = Bidirectional(LSTM(3, zero_output_for_mask=zeros))
        last(x), last.set_weights(layer.get_weights())
        assert not last.forward_layer.zero_output_for_mask
        assert_close(last(x, mask=mask)[0, :3], repeated[0, 3])


def test_initial_states_go_half_to_each_layer() -> None:
    layer = Bidirectional(LSTM(3, return_state=True))
    x, states = batch((2, 5, 4)), [batch((2, 3), seed=seed) for seed in range(4)]
    found = layer(x, initial_state=states)
    (y, *first), (back, *second) = (
        layer.forward_layer(x, initial_state=states[:2]),
        layer.backward_layer(x, initial_state=states[2:]),
    )
    assert_close(list(found), [torch.cat([y, back], -1), *first, *second], rtol=0, atol=0)
    for wrong in (states[:3], states[0], [], states[:2], [batch((3, 3))] * 4):
        with pytest.raises(ValueError, match=r"^Bidirectional: `\w+` must be"):
            layer(x, initial_state=wrong)


def test_the_dialect_of_keras_2_negates_the_direction() -> None:
    config = Bidirectional(LSTM(3)).get_config()
    del config["backward_layer"]
    config["layer"]["config"].update(name="lstm", go_backwards=True, implementation=2)
    layer = Bidirectional.from_config({**config, "keras_2": True})
    assert layer.forward_layer.go_backwards and not layer.backward_layer.go_backwards
    names = [layer.forward_layer.name, layer.backward_layer.name]
    assert names == ["forward_lstm", "backward_lstm"]
    again = Bidirectional.from_config(layer.get_config())
    assert again.keras_2 and again.forward_layer.go_backwards
    with pytest.raises(TypeError, match="go_backwards"):
        Bidirectional.from_config(config)


def test_states_of_stateful_layers() -> None:
    layer = Bidirectional(GRU(3, stateful=True, return_state=True))
    x = batch((2, 5, 4))
    assert layer.states is None and layer.stateful
    first = layer(x)
    assert_close(list(layer.states or ()), list(first[1:]))
    second = layer(x)
    assert not torch.allclose(first[0], second[0])
    layer.reset_state()
    assert_close(layer(x), first)
    layer.reset_states([first[1], first[2]])
    assert_close(layer(x), second)
    with pytest.raises(ValueError, match="reset_states"):
        layer(batch((3, 5, 4)))
    assert_close(list(layer.states or ()), list(second[1:]))
    assert Bidirectional(layer.forward_layer).states is None
    with pytest.raises(AttributeError, match="stateful"):
        Bidirectional(GRU(3)).reset_states()


def test_the_layer_is_copied_with_new_weights() -> None:
    inner = LSTM(3, input_shape=(5, 4), dropout=0.5, seed=3)
    layer = Bidirectional(inner)
    kernels = [one.weight_ih_l0 for one in (inner, layer.forward_layer, layer.backward_layer)]
    assert not torch.equal(kernels[0], kernels[1]) and not torch.equal(kernels[1], kernels[2])
    assert inner.name in layer.forward_layer.name and not inner.go_backwards
    given = LSTM(2, go_backwards=True, name="mine")
    assert Bidirectional(inner, backward_layer=given).backward_layer is given
    assert Bidirectional(inner, backward_layer=given)(batch((2, 5, 4))).shape == (2, 5)


def test_masks_of_the_outputs() -> None:
    x: Any = batch((2, 5, 4))
    mask: Any = "the mask of the sequence"
    for mode, many in (("concat", False), (None, True)):
        layer = Bidirectional(LSTM(3, return_sequences=True), merge_mode=mode)
        assert layer.compute_mask(x, mask) == ([mask, mask] if many else mask)
        last = Bidirectional(LSTM(3), merge_mode=mode)
        assert last.compute_mask(x, mask) == ([None, None] if many else None)
    layer = Bidirectional(LSTM(3, return_sequences=True, return_state=True))
    assert layer.compute_mask(x, [mask]) == [mask, None, None, None, None]


def test_masks_and_layers_that_do_not_fit_are_refused() -> None:
    layer = Bidirectional(LSTM(3))
    before = layer(batch((2, 5, 4)))
    for mask in (torch.ones(2, 4), torch.ones(5), torch.ones(2, 5, 2)):
        with pytest.raises(ValueError, match=r"mask=.*LSTM: `mask` must be"):
            layer(batch((2, 5, 4)), mask=mask)
    assert_close(layer(batch((2, 5, 4)), mask=torch.ones(2, 5, 1)), before)
    for other in ({"return_state": True}, {"return_sequences": True}, {"stateful": True}):
        with pytest.raises(ValueError, match="same in both"):
            Bidirectional(LSTM(3), backward_layer=LSTM(3, go_backwards=True, **other))
    for wrong in (Dense(3), torch.nn.Linear(2, 3), LSTMCell(3)):
        with pytest.raises(TypeError, match="go_backwards"):
            Bidirectional(wrong)
    with pytest.raises(ValueError, match="set_weights"):
        Bidirectional(LSTM(3), weights=[])


def test_where_keras_stores_the_weights() -> None:
    names = ("kernel", "recurrent_kernel", "bias")
    layer = Bidirectional(LSTM(3), input_shape=(5, 4))
    config = layer.get_config()
    groups = [(f"{side}_layer/cell", names) for side in ("forward", "backward")]
    assert Bidirectional.weight_groups(config) == groups
    assert Bidirectional.weight_groups({**config, "backward_layer": None}) == groups
    assert Bidirectional.weight_names(config) == names * 2
    assert tuple(variable.name for variable in layer.variables) == names * 2
    stacked = Bidirectional(RNN([LSTMCell(3), GRUCell(2)])).get_config()
    assert [path for path, _ in Bidirectional.weight_groups(stacked)] == [
        f"{side}_layer/cell/cells/{cell}"
        for side in ("forward", "backward")
        for cell in ("lstm_cell", "gru_cell")
    ]


def test_frozen_layers() -> None:
    frozen = Bidirectional(LSTM(3), trainable=False)
    frozen(batch((2, 5, 4)))
    assert frozen.trainable_weights == [] and len(frozen.non_trainable_weights) == 6
    assert not any(one.requires_grad for one in frozen.parameters())
    frozen.trainable = True
    assert len(frozen.trainable_weights) == 6
    frozen.trainable = False
    assert not frozen.forward_layer.trainable


def test_loss_terms_are_those_of_keras() -> None:
    """In this order: the wrapper's, those of the outputs of both layers, those of the weights."""
    inner = LSTM(3, kernel_regularizer="l2", activity_regularizer="l1")
    layer = Bidirectional(inner, activity_regularizer="l2")
    x = batch((2, 5, 4))
    y = layer(x)
    both = [0.01 * part.abs().sum() / 2 for part in y.chunk(2, -1)]
    kernels = [0.01 * kernel.square().sum() for kernel in (layer.weights[0], layer.weights[3])]
    assert_close(layer.losses, [0.01 * y.square().sum() / 2, *both, *kernels])
    assert_close(regularization_loss(layer), sum(layer.losses))


def test_the_inner_layers_may_be_replaced_and_not_the_one_they_are_copies_of() -> None:
    layer = Bidirectional(LSTM(3))
    with pytest.raises(AttributeError, match="forward_layer"):
        layer.layer = LSTM(2)  # type: ignore[misc]
    assert list(dict(layer.named_children())) == ["forward_layer", "backward_layer"]
    layer.forward_layer = GRU(2)
    assert layer(batch((2, 5, 4))).shape == (2, 5)
