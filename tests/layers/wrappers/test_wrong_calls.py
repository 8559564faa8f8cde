"""Calls that TimeDistributed refuses: each whole message, and that no weight changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from kerastorch.layers import LSTM, Dense, TimeDistributed


def rows(*shape: int) -> Tensor:
    return torch.zeros(shape)


def masks(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.bool)


X = rows(2, 5, 4)


@pytest.mark.parametrize(
    ("make", "x", "given", "message"),
    [
        (
            Dense,
            rows(2, 4),
            {},
            ("`inputs` must be of 3 dimensions or more. Received: inputs=(2, 4)."),
        ),
        (
            Dense,
            rows(2, 0, 4),
            {},
            ("`inputs` must be of 1 step or more. Received: inputs=(2, 0, 4)."),
        ),
        (
            Dense,
            rows(2, 5, 3),
            {},
            (
                "`inputs` must be an input that the inner layer accepts. "
                "Received: inputs=(2, 5, 3). Dense: `inputs` must be of the size 4 along the "
                "last axis. "
                "Received: inputs=(10, 3)."
            ),
        ),
        (
            Dense,
            X,
            {"mask": masks(2, 4)},
            (
                "`mask` must be of the shape (batch, time, ...) = (2, 5, "
                "...). Received: mask=(2, 4)."
            ),
        ),
        (
            Dense,
            X,
            {"mask": "m"},
            ("`mask` must be a tensor or an array of real numbers. Received: mask='m'."),
        ),
        (
            LSTM,
            rows(2, 3, 0, 4),
            {},
            (
                "`inputs` must be an input that the inner layer accepts. "
                "Received: inputs=(2, 3, 0, 4). LSTM: `sequences` must be of 1 step or more. "
                "Received: "
                "sequences=(6, 0, 4)."
            ),
        ),
        (
            LSTM,
            rows(2, 3, 5, 4),
            {"mask": masks(2, 3, 4)},
            (
                "`inputs` must be an input that the "
                "inner layer accepts. Received: inputs=(2, 3, 5, 4), mask=(2, 3, 4). LSTM: "
                "`mask` must be "
                "of the shape (batch, time) = (6, 5). Received: mask=(6, 4)."
            ),
        ),
    ],
)
def test_calls_of_time_distributed_that_do_not_fit(make, x, given, message):
    layer = TimeDistributed(make(3))
    layer(rows(2, 3, 5, 4) if make is LSTM else X)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError) as caught:
        layer(x, **given)
    assert str(caught.value) == f"TimeDistributed: {message}"
    assert all(torch.equal(a, before[name]) for name, a in layer.state_dict().items())
