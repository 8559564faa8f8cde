"""Masks as arguments of calls, by position and by name, beside Keras 3: outputs and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src.backend import get_keras_mask

import kerastorch

from .loading import assert_same, run

L = keras.layers
Call = Callable[..., Any]


def heads() -> Any:
    return L.MultiHeadAttention(2, 3)


def grouped() -> Any:
    return L.GroupQueryAttention(3, 2, 1)


def lstm() -> Any:
    return L.LSTM(3, return_sequences=True)


# Of rows with a mask, rows without, other rows, and masks of both
CALLS: dict[str, Call] = {
    "heads, no mask": lambda q, p, v, m, n: heads()(p, v, v, m),
    "heads, no mask, by name": lambda q, p, v, m, n: heads()(p, v, query_mask=m),
    "heads": lambda q, p, v, m, n: heads()(q, v, v, m),
    "heads, by name": lambda q, p, v, m, n: heads()(q, v, query_mask=m, value_mask=n),
    "heads, two masks": lambda q, p, v, m, n: heads()(q, v, v, m, n),
    "heads, all masks": lambda q, p, v, m, n: heads()(p, v, v, m, n, n),
    "grouped, no mask": lambda q, p, v, m, n: grouped()(p, v, v, m),
    "grouped": lambda q, p, v, m, n: grouped()(q, v, v, m),
    "grouped, two masks": lambda q, p, v, m, n: grouped()(q, v, v, m, n),
    "grouped, by name": lambda q, p, v, m, n: grouped()(q, v, v, query_mask=m),
    "attention, no mask": lambda q, p, v, m, n: L.Attention()([p, v], [m, n]),
    "attention": lambda q, p, v, m, n: L.Attention(use_scale=True)([q, v], [m, n]),
    "attention, by name": lambda q, p, v, m, n: L.Attention()([q, v], mask=[m, n]),
    "attention, one mask": lambda q, p, v, m, n: L.Attention()([q, v], [None, n]),
    "additive": lambda q, p, v, m, n: L.AdditiveAttention()([q, v], [m, n]),
    "additive, one mask": lambda q, p, v, m, n: L.AdditiveAttention()([q, v], [None, n]),
    "recurrent": lambda q, p, v, m, n: lstm()(q, None, m),
    "recurrent, states": lambda q, p, v, m, n: lstm()(q, [p[:, 0], p[:, 1]], m),
    "both directions": lambda q, p, v, m, n: L.Bidirectional(lstm())(q, None, m),
    "pooling": lambda q, p, v, m, n: L.GlobalAveragePooling1D()(q, m),
    "softmax": lambda q, p, v, m, n: L.Softmax()(p[:, :, 0], m),
}
ARRAYS = [
    np.array([[1, 2, 0, 3], [0, 0, 4, 5]], "int32"),
    *(np.random.default_rng(0).normal(size=(2, n, 3)).astype("float32") for n in (4, 5)),
    np.array([[1, 1, 0, 0], [0, 1, 1, 1]], bool),
    np.array([[1, 0, 1, 0, 1], [1, 1, 0, 0, 1]], bool),
]


@pytest.mark.filterwarnings("ignore:(?s).*will therefore destroy the mask")
@pytest.mark.parametrize("name", CALLS)
def test_masks_are_obeyed_where_keras_obeys_them(name, tmp_path):
    ids, p, v = L.Input((4,), dtype="int32"), L.Input((4, 3)), L.Input((5, 3))
    m, n = L.Input((4,), dtype="bool"), L.Input((5,), dtype="bool")
    rows = L.Embedding(9, 3, mask_zero=True)(ids)
    model = keras.Model([ids, p, v, m, n], CALLS[name](rows, p, v, m, n))
    expected = model([torch.from_numpy(array) for array in ARRAYS])
    model.save(tmp_path / "model.keras")
    found = run(kerastorch.load_model(tmp_path / "model.keras").eval(), ARRAYS)
    assert_same(found, [expected.detach()], [get_keras_mask(expected)])
