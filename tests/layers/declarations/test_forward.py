"""The hand-tuned `forward` of a layer gives what the template around `_compute` gives."""

from __future__ import annotations

import pytest
import torch

from kerastorch.layers import Conv2D, Dense
from kerastorch.layers.base.layer import Layer

ARGUMENTS = [
    *[
        (Conv2D, {"filters": 4, "kernel_size": 3, "activation": name, **more})
        for name in (None, "relu", "silu", "softmax", torch.cos)
        for more in (
            {},
            {"padding": "same", "strides": 2},
            {"strides": 2, "kernel_size": 1},
            {"data_format": "channels_first", "kernel_size": 2},
            {"groups": 2, "padding": "same", "kernel_size": 2},
            {"dtype": "mixed_bfloat16"},
            {"lora_rank": 2},
            {"activity_regularizer": "l2"},
        )
    ],
    *[
        (Dense, {"units": 3, "activation": name, **more})
        for name in (None, "relu", "softmax", torch.cos)
        for more in ({}, {"dtype": "mixed_bfloat16"}, {"lora_rank": 2}, {"use_bias": False})
    ],
]


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize(("cls", "arguments"), ARGUMENTS)
def test_forward_is_the_template_around_compute(cls, arguments, training):
    layer = cls(**arguments)
    x = torch.randn((2, 6, 5, 4), generator=torch.Generator().manual_seed(1))
    with torch.set_grad_enabled(training):
        layer(x)
        layer.eval()
        expected = layer(x.requires_grad_(training))
        terms = layer.losses
        found = Layer.forward(layer, x)
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()
        assert len(layer.losses) == len(terms)
        if training:
            gradients = [torch.autograd.grad(y.sum(), x)[0] for y in (found, expected)]
            assert torch.equal(*gradients)
