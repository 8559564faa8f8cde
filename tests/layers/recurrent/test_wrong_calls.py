"""Calls that recurrent layers refuse: each whole message, and that nothing changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kerastorch._ops.recurrent.loop import flatten_states
from kerastorch.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    ConvLSTM2D,
    GRUCell,
    LSTMCell,
    SimpleRNN,
)


def rows(*shape: int) -> Tensor:
    return torch.zeros(shape)


def masks(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.bool)


X, H = rows(2, 5, 4), rows(2, 3)  # a sequence, and a state of 3 units for it
COMPLEX = H.to(torch.complex64)
LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: LSTM(3, stateful=True),
    "GRU": lambda: GRU(3, stateful=True),
    "SimpleRNN": lambda: SimpleRNN(3, stateful=True),
    "RNN": lambda: RNN(LSTMCell(3), stateful=True),
    "stack": lambda: RNN([LSTMCell(3), GRUCell(2)], stateful=True),
    "Bidirectional": lambda: Bidirectional(LSTM(3, stateful=True)),
}
SEQUENCES: list[tuple[Any, dict[str, Any], str]] = [
    (rows(2, 4), {}, "`sequences` must be of 3 dimensions. Received: sequences=(2, 4)."),
    (
        rows(2, 5, 3, 4),
        {},
        "`sequences` must be of 3 dimensions. Received: sequences=(2, 5, 3, 4).",
    ),
    ("x", {}, "`sequences` must be a tensor or an array of real numbers. Received: sequences='x'."),
    (
        [X, H],
        {},
        (
            "`sequences` must be a tensor or an array of real numbers. Received: "
            "sequences=[<Tensor of "
            "the shape (2, 5, 4) and the type torch.float32>, <Tensor of the shape (2, 3) and "
            "the type "
            "torch.float32>]."
        ),
    ),
    (
        X.to(torch.complex64),
        {},
        "`sequences` must be a tensor of real numbers. Received: sequences=torch.complex64.",
    ),
]
# Those that Bidirectional adds to a message of its own
INNER: list[tuple[Any, dict[str, Any], str]] = [
    (
        rows(2, 5, 3),
        {},
        "`sequences` must be of the size 4 along the last axis. Received: sequences=(2, 5, 3).",
    ),
    (rows(2, 0, 4), {}, "`sequences` must be of 1 step or more. Received: sequences=(2, 0, 4)."),
    (
        rows(3, 5, 4),
        {},
        (
            "`sequences` must be of the batch size 2, as the kept states are. Received: "
            "sequences=(3, 5, 4). Call `reset_states()` before another batch size."
        ),
    ),
    *(
        (
            X,
            {"mask": mask},
            (
                "`mask` must be of the shape (batch, time) = (2, 5). Received: "
                f"mask={tuple(mask.shape)}."
            ),
        )
        for mask in (masks(2, 4), masks(3, 5), masks(5), masks(2, 5, 4))
    ),
    (
        X,
        {"mask": True},
        "`mask` must be a tensor or an array of real numbers. Received: mask=True.",
    ),
]
WRONG = "`initial_state` must be "
UNITS = f"{WRONG}of the shape (batch, units) = (2, 3). Received: initial_state="
STATES: dict[str, list[tuple[Any, str]]] = {
    "LSTM": [
        ([rows(3, 3), H], f"{UNITS}(3, 3)."),
        ([H, rows(2, 4)], f"{UNITS}(2, 4)."),
        ([rows(1, 2, 3), H], f"{UNITS}(1, 2, 3)."),
        ([H], f"{WRONG}2 tensors. Received: initial_state=[(2, 3)]."),
        (H, f"{WRONG}2 tensors. Received: initial_state=[(2, 3)]."),
        ("zeros", f"{WRONG}2 tensors. Received: initial_state=['zeros']."),
        ([H, 0.0], f"{WRONG}a tensor or an array of real numbers. Received: initial_state=0.0."),
        (
            [H, COMPLEX],
            f"{WRONG}a tensor of real numbers. Received: initial_state=torch.complex64.",
        ),
    ],
    "GRU": [
        (rows(3, 3), f"{UNITS}(3, 3)."),
        ([H, H], f"{WRONG}1 tensor. Received: initial_state=[(2, 3), (2, 3)]."),
        ([], f"{WRONG}1 tensor. Received: initial_state=[]."),
        ("x", f"{WRONG}a tensor or an array of real numbers. Received: initial_state='x'."),
        (COMPLEX, f"{WRONG}a tensor of real numbers. Received: initial_state=torch.complex64."),
    ],
    "stack": [
        (
            [H, H, rows(2, 2)],
            (
                f"{WRONG}2 lists of states, one for each cell. Received: "
                "initial_state=[(2, 3), (2, 3), (2, 2)]."
            ),
        ),
        ([[H, rows(3, 3)], [rows(2, 2)]], f"{UNITS}(3, 3)."),
        ([[H], [rows(2, 2)]], f"{WRONG}2 tensors. Received: initial_state=[(2, 3)]."),
    ],
    "Bidirectional": [
        (
            [H, H, H],
            (
                f"{WRONG}a list of the states of the forward layer and as many of the backward "
                "one. "
                "Received: initial_state=[(2, 3), (2, 3), (2, 3)]."
            ),
        ),
        (
            [H, H, H, rows(2, 4)],
            (
                "`sequences` must be an input that the inner layer accepts. Received: "
                "sequences=(2, 5, 4), initial_state=[(2, 3), (2, 3), (2, 3), (2, 4)]. "
                f"LSTM: {UNITS}(2, 4)."
            ),
        ),
    ],
}


def list_calls() -> list[Any]:
    """Return layers, what they are called with, and the message without its owner."""
    found = []
    for name in LAYERS:
        owner = "RNN" if name == "stack" else name
        calls = [(x, given, f"{owner}: {message}") for x, given, message in SEQUENCES]
        for x, given, message in INNER:
            if name == "Bidirectional":
                shown = "".join(f", {key}={getattr(v, 'shape', v)}" for key, v in given.items())
                shown = shown.replace("torch.Size([", "(").replace("])", ")")
                shown = shown.replace("mask=(5)", "mask=(5,)")
                message = (
                    "`sequences` must be an input that the inner layer accepts. Received: "
                    f"sequences={tuple(x.shape)}{shown}. LSTM: {message}"
                )
            calls.append((x, given, f"{owner}: {message}"))
        states = STATES["GRU" if name == "SimpleRNN" else "LSTM" if name == "RNN" else name]
        calls += [(X, {"initial_state": one}, f"{owner}: {message}") for one, message in states]
        found += [pytest.param(name, *call, id=f"{name}-{n}") for n, call in enumerate(calls)]
    return found


def state_of(layer: Any) -> list[Tensor]:
    return [*layer.state_dict().values(), *flatten_states(layer.states)]


def assert_refused(layer: Any, message: str, call: Callable[[], Any]) -> None:
    """Check the message, and that weights and states stay as they are."""
    before = copy.deepcopy(state_of(layer))
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message
    assert all(map(torch.equal, state_of(layer), before))


@pytest.mark.parametrize(("name", "x", "given", "message"), list_calls())
def test_calls_that_do_not_fit(name, x, given, message):
    layer = LAYERS[name]()
    layer(torch.randn(2, 5, 4))
    assert_refused(layer, message, lambda: layer(x, **given))


@pytest.mark.parametrize(
    ("name", "states", "message"),
    [
        (
            "LSTM",
            [H, rows(2, 4)],
            (
                "LSTM: `states` must be of the shape (batch, units) = (2, 3). "
                "Received: states=(2, 4)."
            ),
        ),
        ("LSTM", [H], "LSTM: `states` must be 2 tensors. Received: states=[(2, 3)]."),
        ("LSTM", [], "LSTM: `states` must be the states, or None for zeros. Received: states=[]."),
        (
            "LSTM",
            "zeros",
            (
                "LSTM: `states` must be a tensor or an array of real numbers. Received: "
                "states='zeros'."
            ),
        ),
        (
            "GRU",
            0.0,
            ("GRU: `states` must be a tensor or an array of real numbers. Received: states=0.0."),
        ),
        (
            "Bidirectional",
            [H, H, H, rows(2, 4)],
            (
                "LSTM: `states` must be of the shape (batch, "
                "units) = (2, 3). Received: states=(2, 4)."
            ),
        ),
        (
            "Bidirectional",
            H,
            (
                "Bidirectional: `states` must be a list of the states of the forward "
                "layer and as many of the backward one. Received: states=(2, 3)."
            ),
        ),
    ],
)
def test_states_that_do_not_fit(name, states, message):
    layer = LAYERS[name]()
    layer(torch.randn(2, 5, 4))
    assert_refused(layer, message, lambda: layer.reset_states(states))


VOLUMES = rows(2, 5, 6, 7, 2)  # with states (2, 5, 5, 3)


@pytest.mark.parametrize(
    ("x", "given", "message"),
    [
        (
            rows(2, 6, 7, 2),
            {},
            (
                "`sequences` must be of 5 dimensions. Received: "
                "sequences=(2, 6, 7, 2), data_format='channels_last'."
            ),
        ),
        (
            rows(2, 5, 6, 7, 3),
            {},
            (
                "`sequences` must be of 2 channels along axis -1. Received: "
                "sequences=(2, 5, 6, 7, 3), data_format='channels_last'."
            ),
        ),
        (
            rows(2, 0, 6, 7, 2),
            {},
            (
                "`sequences` must be of 1 step or more. Received: "
                "sequences=(2, 0, 6, 7, 2), data_format='channels_last'."
            ),
        ),
        (
            rows(2, 5, 8, 7, 2),
            {},
            (
                "`sequences` must be of a size that leads to states of the kept "
                "shape (2, 5, 5, 3). Received: sequences=(2, 5, 8, 7, 2). Call `reset_states()` "
                "before "
                "another size."
            ),
        ),
        (
            VOLUMES,
            {"mask": masks(2, 4)},
            ("`mask` must be of the shape (batch, time) = (2, 5). Received: mask=(2, 4)."),
        ),
        (
            VOLUMES,
            {"initial_state": [H, H]},
            (
                "`initial_state` must be of the shape (batch, *axes "
                "of a state) = (2, 5, 5, 3). Received: initial_state=(2, 3)."
            ),
        ),
    ],
)
def test_volumes_that_do_not_fit(x, given, message):
    layer = ConvLSTM2D(3, (2, 3), stateful=True)
    layer(VOLUMES)
    assert_refused(layer, f"ConvLSTM2D: {message}", lambda: layer(x, **given))
