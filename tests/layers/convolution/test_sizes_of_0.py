"""Inputs without samples, places or channels, in the whole family."""

from __future__ import annotations

import pytest
import torch

from kerastorch import layers

PADDED = [(name, padding) for name in ("Conv", "SeparableConv", "DepthwiseConv")
          for padding in ("valid", "same")]  # fmt: skip
EACH = pytest.mark.parametrize(
    "name, rank, padding",
    [
        *((name, rank, padding) for name, padding in PADDED for rank in (1, 2)),
        *(("Conv", 3, padding) for padding in ("valid", "same")),
        ("Conv", 1, "causal"),
    ],
)


def make(name, rank, kernel, padding, **more):
    sizes = (kernel,) if name == "DepthwiseConv" else (4, kernel)
    return getattr(layers, f"{name}{rank}D")(*sizes, padding=padding, **more)


@pytest.mark.parametrize("kernel", [1, 3])
@EACH
def test_no_places_are_refused_and_no_samples_are_not(name, rank, padding, kernel):
    for strides in (1, 2):
        layer = make(name, rank, kernel, padding, strides=strides, input_shape=(*[None] * rank, 3))
        for axis in range(1, rank + 1):
            shape = [2, *[5] * rank, 3]
            shape[axis] = 0
            for grad in (True, False):
                with torch.set_grad_enabled(grad), pytest.raises(ValueError, match="as large as"):
                    layer(torch.zeros(shape))
        x = torch.zeros(0, *[5] * rank, 3, requires_grad=True)
        y = layer(x)
        assert tuple(y.shape) == layer.compute_output_shape(x.shape) and len(y) == 0
        y.sum().backward()
        assert not any(weight.grad.any() for weight in layer.parameters())


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposes(rank, padding):
    cls = getattr(layers, f"Conv{rank}DTranspose")
    layer = cls(4, 3, 2, padding, input_shape=(*[None] * rank, 3))
    with pytest.raises(ValueError, match="an output of at least one position"):
        layer(torch.zeros(2, 0, *[5] * (rank - 1), 3))
    y = layer(torch.zeros(0, *[5] * rank, 3))
    assert tuple(y.shape) == layer.compute_output_shape((0, *[5] * rank, 3))


@EACH
def test_no_channels_are_refused(name, rank, padding):
    with pytest.raises(ValueError, match="a known number of channels, 1 at least"):
        make(name, rank, 3, padding)(torch.zeros(2, *[5] * rank, 0))
