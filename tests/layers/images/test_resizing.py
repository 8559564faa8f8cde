"""Resizing, CenterCrop and RandomCrop."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from kerastorch.layers import CenterCrop, RandomCrop, Resizing
from kerastorch.models.build import build_model
from kerastorch.saving import FileError
from kerastorch.saving.configs.parse import parse_model_config
from tests.layers.case import batch
from tests.models.configs import input_layer, layer, sequential
from tests.ops.test_resize import cubic, lanczos


def mitchell(d):
    d = abs(d)
    if d >= 2:
        return 0.0
    near, far = (7 / 6, -2, 0, 8 / 9), (-7 / 18, 2, -10 / 3, 16 / 9)
    a, b, c, e = near if d < 1 else far
    return ((a * d + b) * d + c) * d + e


def kernel(way, antialias, scale):
    """Return the kernel of a way, and its radius in pixels."""
    wide = max(scale, 1.0) if antialias else 1.0
    shapes = {
        "bilinear": (lambda d: max(0.0, 1 - abs(d)), 1),
        "bicubic": (cubic, 2),
        "lanczos3": (lambda d: lanczos(d, 3), 3),
        "lanczos5": (lambda d: lanczos(d, 5), 5),
        "gaussian": (lambda d: math.exp(-2 * d * d) if abs(d) < 1.5 else 0.0, 1.5),
        "mitchellcubic": (mitchell, 2),
    }
    shape, radius = shapes[way]
    return (lambda d: shape(d / wide)), radius * wide


def resized(line, size, way, antialias):
    """Return a line of numbers at another size, number by number."""
    found = []
    scale = len(line) / size
    for i in range(size):
        place = (i + 0.5) * scale - 0.5
        if way == "nearest":
            found.append(line[min(math.floor(place + 0.5), len(line) - 1)])
            continue
        if way == "bilinear" and not antialias:
            place = min(max(place, 0.0), len(line) - 1.0)
        if way == "bicubic" and not antialias:
            place = math.floor(place) + round((place - math.floor(place)) * 1024) / 1024
        weigh, _ = kernel(way, antialias, scale)
        weights = [weigh(place - j) for j in range(len(line))]
        found.append(sum(w * v for w, v in zip(weights, line, strict=True)) / sum(weights))
    return found


@pytest.mark.parametrize("size", [3, 5, 7, 16])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("way", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"])
def test_against_loops(way, antialias, size):
    x = batch((1, 2, 9, 1), torch.float64)
    made = Resizing(2, size, way, antialias=antialias, dtype="float64")
    expected = [resized(line, size, way, antialias) for line in x[0, ..., 0].tolist()]
    found = made(x)[0, ..., 0]
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [3, 5, 9, 16])
@pytest.mark.parametrize("way", ["gaussian", "mitchellcubic"])
def test_the_kernels_of_keras_2_against_loops(way, size):
    x = batch((1, 2, 9, 1), torch.float64)
    config = {"height": 3, "width": size, "interpolation": way, "dtype": "float64"}
    found = Resizing.from_config({**config, "crop_to_aspect_ratio": False})(x)
    lines = [resized(line, size, way, False) for line in x[0, ..., 0].tolist()]
    columns = [resized(line, 3, way, False) for line in zip(*lines, strict=True)]
    assert_close(found[0, ..., 0].T, torch.tensor(columns, dtype=x.dtype), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`interpolation` must be"):
        Resizing(3, size, way)


@pytest.mark.parametrize("size", [1, 4, 7, 9, 20])
def test_areas_against_loops(size):
    x = batch((1, 1, 9, 1), torch.float64)
    found, edge = Resizing(1, size, "area", dtype="float64")(x).flatten(), 9 / size
    for i, value in enumerate(found.tolist()):
        overlaps = [min(j + 1, (i + 1) * edge) - max(j, i * edge) for j in range(9)]
        parts = [max(part, 0.0) * v for part, v in zip(overlaps, x.flatten().tolist(), strict=True)]
        assert value == pytest.approx(sum(parts) / edge, abs=1e-5)


def test_nearest_is_of_the_centers_and_not_of_the_corners():
    x = torch.arange(5.0).reshape(1, 1, 5, 1)
    assert Resizing(1, 3, "nearest")(x).flatten().tolist() == [0, 2, 4]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "bool"])
def test_integers_are_rounded_in_keras_3_and_become_floats_in_keras_2(dtype):
    x = torch.tensor([0, 1, 1, 1]).reshape(1, 1, 4, 1).to(getattr(torch, dtype))
    assert Resizing(1, 3)(x).dtype is x.dtype
    config = {"height": 1, "width": 3, "interpolation": "bilinear", "name": "a"}
    old = Resizing.from_config({**config, "crop_to_aspect_ratio": False, "dtype": "float32"})
    assert_close(old(x).flatten(), Resizing(1, 3)(x.float()).flatten())
    again = Resizing.from_config(old.get_config())
    assert again.keras_2 and again(x).dtype is torch.float32
    nearest = Resizing(1, 3, "nearest")(x)
    assert nearest.dtype is x.dtype and set(nearest.flatten().tolist()) <= {0, 1}


def test_padding_is_the_same_on_both_sides():
    x = torch.ones(1, 4, 1, 1)  # three columns more: one on each side, and then stretched
    padded = Resizing(4, 4, "nearest", pad_to_aspect_ratio=True, fill_value=7.0)(x)
    assert padded[0, 0, :, 0].tolist() == [7, 1, 1, 7]
    even = Resizing(3, 3, pad_to_aspect_ratio=True)(torch.ones(1, 3, 1, 1))
    assert_close(even[0, :, :, 0], torch.tensor([0.0, 1.0, 0.0]).expand(3, 3))


def test_cropping_to_the_aspect_ratio_keeps_the_middle():
    x = torch.arange(7.0).expand(3, 7).reshape(1, 3, 7, 1)
    cropped = Resizing(3, 3, crop_to_aspect_ratio=True)(x)
    assert_close(cropped[0, 0, :, 0], torch.tensor([2.0, 3.0, 4.0]))


def test_center_crop_starts_before_the_middle():
    x = torch.arange(7).reshape(1, 1, 7, 1)
    assert CenterCrop(1, 4)(x).flatten().tolist() == [1, 2, 3, 4]
    assert CenterCrop(1, 4)(x).dtype is torch.float32
    assert CenterCrop(2, 4)(x.expand(1, 1, 7, 1)).shape == (1, 2, 4, 1)


def test_random_crop_in_evaluation_is_that_of_its_own_keras():
    x = batch((2, 8, 6, 3))
    config = {"name": "a", "trainable": True, "dtype": "float32", "height": 3, "width": 4}
    newer = RandomCrop.from_config({**config, "seed": 3, "data_format": "channels_last"}).eval()
    assert newer(x) is x and newer.compute_output_shape(x.shape) == (2, 3, 4, 3)
    assert newer(x.double()).dtype is torch.float64
    older = RandomCrop.from_config({**config, "seed": None, "rng_type": "stateful"}).eval()
    expected = Resizing(3, 4, crop_to_aspect_ratio=True)(x)
    assert_close(older(x), expected)
    assert_close(RandomCrop.from_config(older.get_config()).eval()(x), expected)
    with pytest.raises(ValueError, match="torchvision"):
        older.train()(x)


@pytest.mark.parametrize("version", ["3.0.5", "3.5.0", "3.8.0", "3.15.1", None])
def test_random_crop_in_a_file_is_that_of_its_version(version):
    x = batch((2, 8, 6, 3))
    entry = layer("RandomCrop", "a", height=3, width=4, seed=1, data_format="channels_last")
    config = sequential(input_layer("x", (None, 8, 6, 3)), entry)
    found = build_model(parse_model_config(config, "here", version)).eval()(x)
    resizes = version in ("3.0.5", "3.5.0")
    assert_close(found, Resizing(3, 4, crop_to_aspect_ratio=True)(x) if resizes else x)


@pytest.mark.parametrize("version", ["3.6.0", "3.7.1"])
def test_random_crop_of_two_versions_is_refused(version):
    entry = layer("RandomCrop", "a", height=3, width=4, seed=1, data_format="channels_last")
    spec = parse_model_config(sequential(input_layer("x", (None, 8, 6, 3)), entry), "here", version)
    message = rf"'a' \(RandomCrop\): .*the RandomCrop of Keras {version[:3]} cut out other windows"
    with pytest.raises(FileError, match=message):
        build_model(spec)
    assert build_model(spec, {"RandomCrop": lambda config: torch.nn.Identity()})


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "cls, arguments",
    [
        (Resizing, {"interpolation": "bicubic"}),
        (Resizing, {"crop_to_aspect_ratio": True}),
        (Resizing, {"pad_to_aspect_ratio": True, "fill_value": 3.0}),
        (CenterCrop, {}),
        (RandomCrop, {}),
    ],
)
def test_one_image_is_a_batch_of_one(cls, arguments, data_format):
    for height, width in ((3, 4), (9, 5)):
        made = cls(height, width, data_format=data_format, **arguments).eval()
        made.keras_2 = cls is RandomCrop
        x = batch((6, 7, 5))
        found = made(x)
        assert_close(found, made(x[None])[0])
        assert found.shape == made.compute_output_shape(x.shape)


@pytest.mark.parametrize("way", ["nearest", "bilinear", "bicubic", "lanczos3", "area"])
def test_an_image_without_pixels_is_refused(way):
    old = RandomCrop.from_config({"height": 3, "width": 4, "name": "a"}).eval()
    for made in (Resizing(3, 4, way), CenterCrop(3, 4), old):
        for shape in ((2, 0, 5, 3), (2, 5, 0, 3)):
            with pytest.raises(ValueError, match="`inputs` must be of a height and a width of 1"):
                made(torch.zeros(shape))
        assert made(torch.zeros(0, 5, 6, 3)).shape == (0, 3, 4, 3)
    assert RandomCrop(3, 4).eval()(torch.zeros(2, 0, 5, 3)).shape == (2, 0, 5, 3)


def test_the_channels_may_come_first():
    x = batch((2, 6, 7, 3))
    for way in ("nearest", "bilinear", "bicubic", "lanczos3"):
        first = Resizing(4, 9, way, data_format="channels_first")(x.permute(0, 3, 1, 2))
        assert_close(first.permute(0, 2, 3, 1), Resizing(4, 9, way)(x))
