"""The larger images of UpSampling2D against plain loops, and what else they must be like."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kerastorch._ops.resize import RADII, resample
from kerastorch.layers import UpSampling2D
from tests.layers.contract import batch

WAYS = tuple(RADII)


def lanczos(x, radius):
    if x == 0:
        return 1.0
    if abs(x) >= radius:
        return 0.0
    return radius * math.sin(math.pi * x) * math.sin(math.pi * x / radius) / (math.pi * x) ** 2


def cubic(x, a=-0.5):
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def longer(line, factor, way):
    """Return a line of numbers made longer, number by number."""
    new = []
    for i in range(len(line) * factor):
        place = (i + 0.5) / factor - 0.5
        total = share = 0.0
        for j, value in enumerate(line):
            if way == "bicubic":
                before = math.floor(place)
                weight = cubic(before + round((place - before) * 1024) / 1024 - j)
            else:
                weight = lanczos(place - j, RADII[way])
            total, share = total + weight * value, share + weight
        new.append(total / share)
    return np.array(new)


@pytest.mark.parametrize("factors", [(2, 1), (1, 3), (4, 3), (5, 2)], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_against_loops(way, factors):
    for shape in ((2, 7, 4, 3), (1, 1, 2, 1), (1, 12, 3, 2)):
        x = batch(shape, torch.float64)
        expected = np.apply_along_axis(longer, 1, x.numpy(), factors[0], way)
        expected = np.apply_along_axis(longer, 2, expected, factors[1], way)
        outputs = UpSampling2D(factors, interpolation=way, dtype="float64")(x)
        assert_close(outputs, torch.from_numpy(expected), rtol=1e-5, atol=1e-6)  # float32 places


def test_the_loops_tell_the_ways_apart():
    line = [1.0, -2.0, 3.0, 0.5, 4.0, -1.0, 2.0, 5.0, -3.0, 1.0, 0.0, 2.0]
    found = [longer(line, 2, way) for way in WAYS]
    for left, right in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(found[left] - found[right]).max() > 1e-2


def test_a_factor_of_one_leaves_an_axis_alone():
    x = batch((1, 3, 4, 2))
    assert resample(x, "bicubic", (3, 4), 1) is x
    along = resample(x, "bicubic", (3, 8), 1)
    assert_close(along[:, :1], resample(x[:, :1], "bicubic", (1, 8), 1))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32"])
@pytest.mark.parametrize("way", WAYS)
def test_integers_are_rounded_and_kept_within_their_type(way, dtype):
    kind = getattr(torch, dtype)
    ends = torch.iinfo(torch.int16 if dtype == "int32" else kind)
    x = torch.tensor([ends.min, ends.max, ends.max, ends.min], dtype=kind).reshape(1, 1, 4, 1)
    layer = UpSampling2D((1, 2), interpolation=way)
    outputs = layer(x)
    exact = layer(x.float()).round()
    assert outputs.dtype is kind and float(exact.max()) > ends.max
    inside = exact if dtype == "int32" else exact.clamp(ends.min, ends.max)
    assert torch.equal(outputs, inside.to(kind))


@pytest.mark.parametrize("way", WAYS)
def test_half_types_are_computed_in_float32(way):
    x = batch((1, 5, 6, 2))
    for kind in (torch.float16, torch.bfloat16):
        layer = UpSampling2D(2, interpolation=way, dtype=str(kind).removeprefix("torch."))
        assert torch.equal(
            layer(x), UpSampling2D(2, interpolation=way)(x.to(kind).float()).to(kind)
        )
    largest = torch.finfo(torch.float16).max
    peak = torch.tensor([0.0, largest, largest, 0.0]).reshape(1, 1, 4, 1)
    outputs = UpSampling2D((1, 2), interpolation=way, dtype="float16")(peak)
    assert outputs.isfinite().all() and float(outputs.max()) == largest


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("way", WAYS)
def test_autocast_leaves_the_numbers_alone(way, layout):
    layer, x = UpSampling2D(2, interpolation=way, data_format=layout), batch((1, 5, 6, 2))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(x)
    assert torch.equal(outputs, layer(x))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_number_spreads_over_its_channel_of_its_image_only(way):
    x = batch((2, 5, 6, 3))
    x[0, 2, 3, 1] = torch.nan
    outputs = UpSampling2D(2, interpolation=way)(x)
    assert outputs[1].isfinite().all() and outputs[0, ..., [0, 2]].isfinite().all()


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("way", WAYS)
def test_export_and_empty_batches(way, layout):
    layer, x = UpSampling2D((2, 3), layout, way), batch((2, 6, 5, 4))
    sizes = {0: torch.export.Dim("batch", max=64), 2: torch.export.Dim("size", max=64)}
    program = torch.export.export(layer, (x,), dynamic_shapes=(sizes,))
    other = batch((3, 6, 9, 4))
    assert_close(program.module()(other), layer(other))
    assert layer(x[:0]).shape == layer.compute_output_shape((0, 6, 5, 4))
