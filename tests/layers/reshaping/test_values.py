"""What is special about padding, cropping and repeating: values, sizes and old configs."""

from __future__ import annotations

import itertools

import pytest
import torch

from kerastorch.layers import (
    Cropping1D,
    Cropping3D,
    RepeatVector,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)


def test_images_and_volumes_are_repeated_by_any_factor():
    """A position times 1 / 41 in float32 would be one before its own."""
    x = torch.arange(60.0).reshape(1, 3, 4, 5, 1)
    for dtype, factor in itertools.product((torch.float32, torch.float64), (2, 3, 8, 41, 47, 64)):
        expected = x.to(dtype).repeat_interleave(factor, 1).repeat_interleave(2, 3)
        name = str(dtype).partition(".")[2]
        assert torch.equal(UpSampling3D((factor, 1, 2), dtype=name)(x), expected), factor
        images = UpSampling2D((factor, 2), dtype=name)(x[:, :, 0])
        assert torch.equal(images, expected[:, :, 0]), factor


def test_more_places_are_repeated_than_float32_can_count():
    x = torch.arange(20000.0).reshape(1, 20000, 1, 1)
    assert torch.equal(UpSampling2D((1000, 1))(x), x.repeat_interleave(1000, 1))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_repeating_once_returns_a_new_tensor(dtype):
    for rank, layer in ((1, UpSampling1D), (2, UpSampling2D), (3, UpSampling3D)):
        x = torch.zeros((2, *(3, 4, 5)[:rank], 6), dtype=getattr(torch, dtype))
        layer(1, dtype=dtype)(x).fill_(1)
        assert not x.any()


def test_sizes_of_0():
    for rank, layer in ((1, UpSampling1D), (2, UpSampling2D), (3, UpSampling3D)):
        for shape in ((2, *(0, 3, 4)[:rank], 3), (2, *(4, 3, 5)[:rank], 0)):
            x = torch.zeros(shape, requires_grad=True)
            y = layer(2)(x)
            assert y.shape == layer(2).compute_output_shape(shape)
            y.sum().backward()
    assert ZeroPadding1D(2)(torch.zeros(2, 0, 3)).shape == (2, 4, 3)
    assert ZeroPadding3D(1)(torch.zeros(2, 0, 4, 5, 3)).shape == (2, 2, 6, 7, 3)
    assert RepeatVector(2)(torch.zeros(3, 0)).shape == (3, 2, 0)


def test_a_repeated_vector_can_be_overwritten():
    x = torch.zeros(2, 3)
    RepeatVector(2)(x)[0, 0] += 1
    assert not x.any()


@pytest.mark.parametrize(
    "layer, old, padding",
    [
        (ZeroPadding1D, {"left_pad": 1, "right_pad": 2}, (1, 2)),
        (ZeroPadding1D, {"right_pad": 2}, (0, 2)),
        (ZeroPadding1D, [3, 1], (3, 1)),
        (ZeroPadding2D, {"top_pad": 1, "bottom_pad": 2, "right_pad": 4}, ((1, 2), (0, 4))),
        (ZeroPadding2D, [1, 2, 3, 4], ((1, 2), (3, 4))),
        (ZeroPadding2D, [1, 2], ((1, 1), (2, 2))),
        (ZeroPadding3D, [1, 2, 3], ((1, 1), (2, 2), (3, 3))),
    ],
)
def test_paddings_of_keras_1(layer, old, padding):
    config = {"name": "a", "padding": old}
    made = layer.from_config(config)
    assert made.padding == padding and config["padding"] == old
    assert layer.from_config(made.get_config()).padding == padding
    with pytest.raises(TypeError, match="padding"):
        layer.from_config({"padding": {"left": 1}})


def test_other_configs_of_keras_1_and_2():
    assert UpSampling1D.from_config({"name": "a", "length": 3}).size == 3
    assert Cropping1D.from_config({"cropping": [5000, 5000]}).cropping == (5000, 5000)
    config = {"cropping": [[1, 1], [2, 2], [0, 3]], "dim_ordering": "th"}
    assert Cropping3D.from_config(config).data_format == "channels_first"


def test_before_3_8_the_zeros_around_sequences_had_no_data_format():
    layer = ZeroPadding1D(2)
    assert "data_format" in layer.get_config("3.8")
    assert "data_format" not in layer.get_config("3.7")
    with pytest.raises(ValueError, match=r"`data_format` must be 'channels_last' for Keras 3\.7"):
        ZeroPadding1D(2, "channels_first").get_config("3.7")
