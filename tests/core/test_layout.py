"""Axes are moved by views, there and back."""

from __future__ import annotations

from math import prod

import pytest
import torch

from kerastorch._core.layout import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    empty_weight,
    kernel_to_weight,
    permute_axes,
    weight_to_kernel,
)

RANKS = (1, 2, 3)
SPATIAL = (5, 6, 7)


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(prod(shape)).view(shape)


def is_view(view: torch.Tensor, base: torch.Tensor) -> bool:
    return view.untyped_storage().data_ptr() == base.data_ptr() == view.data_ptr()


@pytest.mark.parametrize("rank", RANKS)
def test_inputs_go_channels_first_and_back(rank):
    inputs = numbered(2, *SPATIAL[:rank], 3)
    x = permute_axes(inputs, CHANNELS_FIRST[rank])
    assert x.shape == (2, 3, *SPATIAL[:rank])
    assert is_view(x, inputs)
    back = permute_axes(x, CHANNELS_LAST[rank])
    assert back.stride() == inputs.stride()
    assert torch.equal(back, inputs)
    for channel in range(3):
        assert torch.equal(x[:, channel], inputs[..., channel])


@pytest.mark.parametrize("rank", RANKS)
def test_kernels_are_views_of_weights_and_back(rank):
    weight = numbered(4, 3, *SPATIAL[:rank])
    kernel = weight_to_kernel(weight)
    assert kernel.shape == (*SPATIAL[:rank], 3, 4)
    assert is_view(kernel, weight)
    back = kernel_to_weight(kernel)
    assert back.stride() == weight.stride()
    assert torch.equal(back, weight)
    for i in range(3):
        for o in range(4):
            assert torch.equal(kernel[..., i, o], weight[o, i])


@pytest.mark.parametrize("rank", RANKS)
def test_weights_are_views_of_kernels(rank):
    kernel = numbered(*SPATIAL[:rank], 3, 4)
    weight = kernel_to_weight(kernel)
    assert weight.shape == (4, 3, *SPATIAL[:rank])
    assert is_view(weight, kernel)
    assert torch.equal(weight_to_kernel(weight), kernel)


def test_what_is_written_to_the_kernel_reaches_the_weight():
    weight = torch.zeros(4, 3, 5, 6)
    weight_to_kernel(weight)[1, 2, 0, 3] = 1
    assert weight.nonzero().tolist() == [[3, 0, 1, 2]]


SHAPES = [(4, 3, 5), (4, 3, 5, 6), (4, 3, 5, 6, 7), (4, 3, 1, 1), (4, 1, 5, 6), (1, 1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_empty_weight_has_its_channels_innermost(shape):
    weight = empty_weight(shape)
    order = (0, *range(2, len(shape)), 1)  # of the same numbers in a contiguous tensor
    contiguous = torch.empty([shape[axis] for axis in order])
    expected = dict(zip(order, contiguous.stride(), strict=True))
    assert weight.shape == shape
    assert weight.stride() == tuple(expected[axis] for axis in range(len(shape)))
    assert weight.untyped_storage().nbytes() == prod(shape) * 4


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if len(shape) > 3], ids=str)
def test_an_empty_weight_is_channels_last_to_torch(shape):
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    assert empty_weight(shape).is_contiguous(memory_format=formats[len(shape)])


def test_an_empty_weight_has_the_type_and_device_asked_for():
    weight = empty_weight((4, 3, 5), dtype=torch.float64, device=torch.device("meta"))
    assert (weight.dtype, weight.device.type) == (torch.float64, "meta")
