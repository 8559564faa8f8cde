"""Models with masks, saved by Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from torch.testing import assert_close

import kerastorch

L = keras.layers


def make_inputs():
    generator = np.random.default_rng(0)
    ids, values = generator.integers(1, 9, (4, 5)), generator.normal(size=(4, 5, 3))
    ids[:, 3:] = 0
    values[:, 2] = 0
    return [torch.tensor(ids), torch.tensor(values, dtype=torch.float32)]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore")
def test_masks_in_a_saved_model(tmp_path, suffix):
    ids, values = L.Input((5,), dtype="int32"), L.Input((5, 3))
    embedded, masked = L.Embedding(9, 3, mask_zero=True)(ids), L.Masking()(values)
    merges = (L.Add(), L.Multiply(), L.Maximum(), L.Minimum(), L.Concatenate())
    sequences = [L.Dropout(0.1)(merge([embedded, masked])) for merge in merges]
    sequences += [L.Add()([embedded, values]), L.Dense(3)(embedded) + masked, L.ReLU()(masked)]
    outputs = [L.GlobalAveragePooling1D()(sequence) for sequence in sequences]
    model = keras.Model([ids, values], outputs)
    path = tmp_path / f"model{suffix}"
    model.save(path)
    loaded = kerastorch.load_model(path).eval()
    given = make_inputs()
    assert_close(loaded(given), model(given, training=False), rtol=1e-6, atol=1e-6)
