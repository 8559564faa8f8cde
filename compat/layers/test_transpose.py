"""Random transposed convolutions against Keras on the torch backend: forward, gradients, shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from compat.layers.configurations import random_array, relative_difference
from kerastorch import layers

keras = pytest.importorskip("keras")
PER_CHUNK = 100
CHUNKS = [0, 1, *(pytest.param(seed, marks=pytest.mark.sweep) for seed in range(2, 12))]


def random_case(generator: np.random.Generator) -> tuple[int, dict[str, Any], tuple[int, ...]]:
    """Return a rank, the arguments of a layer and the shape of an input."""
    rank = int(generator.choice([1, 2, 2, 3]))
    filters, channels = (int(n) for n in generator.integers(1, 5, 2))
    kernel, strides, dilation, more = (
        tuple(int(n) for n in generator.integers(1, most, rank)) for most in (6, 4, 4, 4)
    )
    if generator.random() < 0.7:
        dilation = (1,) * rank
    else:
        strides = (1,) * rank
    last = bool(generator.random() < 0.7)
    spatial = tuple(int(n) for n in generator.integers(2, 6, rank))
    arguments = {
        "filters": filters,
        "kernel_size": kernel,
        "strides": strides,
        "padding": str(generator.choice(["valid", "same"])),
        "output_padding": tuple(n % s for n, s in zip(more, strides, strict=True)),
        "data_format": "channels_last" if last else "channels_first",
        "dilation_rate": dilation,
        "activation": [None, "relu", "silu", "softmax"][generator.integers(4)],
        "use_bias": bool(generator.random() < 0.8),
        "dtype": "float64",
    }
    if generator.random() < 0.5:
        arguments["output_padding"] = None
    batch = int(generator.integers(1, 4))
    shape = (batch, *spatial, channels) if last else (batch, channels, *spatial)
    return rank, arguments, shape


@pytest.mark.parametrize("seed", CHUNKS)
def test_random_configurations(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(PER_CHUNK):
        rank, arguments, shape = random_case(generator)
        ours, theirs = (
            getattr(library.layers, f"Conv{rank}DTranspose")(**arguments, name="one")
            for library in (_Ours, keras)
        )
        assert ours.get_config() == theirs.get_config()
        theirs.build(shape), ours.build(shape)
        values = [random_array(generator, tuple(w.shape)) for w in theirs.weights]
        theirs.set_weights(values), ours.set_weights(values)
        assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))
        x = random_array(generator, shape).astype("float64")
        found = []
        for layer in (theirs, ours):
            inputs = torch.tensor(x, requires_grad=True)
            y = layer(inputs)
            along = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).reshape(y.shape)
            (gradient,) = torch.autograd.grad((y * along).sum(), inputs)
            found.append([y.detach().numpy(), gradient.numpy()])
        for theirs_value, ours_value in zip(*found, strict=True):
            assert relative_difference(ours_value, theirs_value, 0.1) < 1e-12, (arguments, shape)


class _Ours:
    layers = layers
