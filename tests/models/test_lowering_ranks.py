"""Lowered models over sequences and volumes."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.models.configs import input_layer, sequential
from tests.models.lowered import built, forbid, lowered, one


def chained(rank, data_format):
    """Return a chain over sequences or volumes, with what may be overwritten or padded in it."""
    form = {"data_format": data_format}
    names = [
        *(("ReLU", {}), (f"ZeroPadding{rank}D", {"padding": 1, **form})),
        *((f"MaxPooling{rank}D", {"pool_size": 2, "strides": 1, **form}), ("ReLU", {})),
        *((f"UpSampling{rank}D", {"size": 2}), ("ReLU", {})),
        *((f"Cropping{rank}D", {"cropping": 1}), ("ELU", {})),
        *((f"AveragePooling{rank}D", {"pool_size": 3, "padding": "same", **form}), ("ReLU", {})),
        *((f"AdaptiveMaxPooling{rank}D", {"output_size": 2, **form}), ("ELU", {})),
        *((f"AdaptiveAveragePooling{rank}D", {"output_size": 3, **form}), ("ReLU", {})),
        *((f"GlobalAveragePooling{rank}D", form), ("ELU", {}), ("RepeatVector", {"n": 2})),
        *(("ReLU", {}), ("GlobalMaxPooling1D", {}), ("Dense", {"units": 2})),
    ]
    entries = [one(name, f"l{n}", **config) for n, (name, config) in enumerate(names)]
    shape = (None, *(6, 5, 4)[:rank], 3) if data_format == "channels_last" else None
    return sequential(input_layer("x", shape or (None, 3, *(6, 5, 4)[:rank])), *entries)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("rank", [1, 3])
def test_sequences_and_volumes(rank, training, data_format, monkeypatch):
    config = chained(rank, data_format)
    last = data_format == "channels_last"
    shape = (2, *(6, 5, 4)[:rank], 3) if last else (2, 3, *(6, 5, 4)[:rank])
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def found():
        model, given = built(config).double().train(training), x.clone().requires_grad_(training)
        with torch.set_grad_enabled(training):
            y = model(given)
        grads = torch.autograd.grad(y.square().sum(), given) if training else ()
        return [y, *grads], model

    first, model = found()
    called = lowered(model, training)
    assert "l1" not in called  # the padding is part of the pooling
    assert len(called) == len(config["config"]["layers"]) - 2
    forbid(monkeypatch)
    assert_close(first, found()[0])
