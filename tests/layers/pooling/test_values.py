"""Pooling against loops over the windows, and what is special about dtypes, sizes and configs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kerastorch import config, layers
from kerastorch.layers import AveragePooling3D, MaxPooling1D, MaxPooling2D, MaxPooling3D
from tests.layers.case import batch


def pooled(x, windows, reduce):
    """Return the pooling of (batch, *spatial, channels) by `reduce`, window by window.

    `windows` has for each axis the places (start, stop) of each output.
    """
    y = np.empty((x.shape[0], *map(len, windows), x.shape[-1]))
    axes = tuple(range(1, x.ndim - 1))
    for index in np.ndindex(*y.shape[1:-1]):
        places = [slice(*axis[i]) for axis, i in zip(windows, index, strict=True)]
        y[(slice(None), *index)] = reduce(x[(slice(None), *places)], axis=axes)
    return y


def sliding(n, size, stride, padding):
    """Return the places of each window by TensorFlow's rule."""
    outputs = -(-n // stride) if padding == "same" else (n - size) // stride + 1
    total = max((outputs - 1) * stride + size - n, 0) if padding == "same" else 0
    starts = [i * stride - total // 2 for i in range(outputs)]
    return [(max(start, 0), start + size) for start in starts]


def adaptive(n, outputs):
    return [(i * n // outputs, -(-(i + 1) * n // outputs)) for i in range(outputs)]


def assert_pools(name, arguments, shape, windows, reduce):
    """Check a layer in both formats, both precisions, with and without gradients."""
    cls = getattr(layers, name)
    last, first = range(1, len(shape) - 1), range(2, len(shape))
    for dtype in (torch.float64, torch.float32):
        x = batch(shape, dtype) - 3  # padded zeros would be the largest
        expected = torch.from_numpy(pooled(x.double().numpy(), windows, reduce)).to(dtype)
        for needs_grad in (False, True):
            given = x.clone().requires_grad_(needs_grad)
            options = {**arguments, "dtype": str(dtype).partition(".")[2]}
            assert_close(cls(**options)(given).detach(), expected)
            for moved in (given.movedim(-1, 1), given.movedim(-1, 1).contiguous()):
                y = cls(**options, data_format="channels_first")(moved)
                assert_close(y.movedim([1, *first], [-1, *last]).detach(), expected)


SIZES = {1: [(2,), (3,), (4,), (5,), (1,)], 2: [(2, 3), (3, 2), (4, 5), (1, 3)]}
SIZES[3] = [(2, 3, 4), (3, 2, 1), (4, 1, 3), (2, 2, 2)]
STEPS = {1: [(1,), (2,), (3,), (6,)], 2: [(1, 1), (2, 1), (3, 2), (1, 3)]}
STEPS[3] = [(1, 1, 1), (2, 1, 3), (3, 2, 1), (2, 2, 2)]
SHAPES = {
    1: [(2, 7, 3), (1, 10, 2), (3, 70, 30)],
    2: [(2, 7, 6, 3), (1, 5, 8, 2)],
    3: [(2, 6, 5, 7, 3), (2, 6, 5, 7, 20), (1, 6, 5, 7, 20)],
}
WINDOWS = [
    pytest.param(size, steps, id=f"{size}-{steps}")
    for rank in (1, 2, 3)
    for size, steps in itertools.product(SIZES[rank], STEPS[rank])
]
WINDOWS += [((9, 2, 8)[:rank], (2, 1, 3)[:rank]) for rank in (1, 2, 3)]  # larger than some inputs
KINDS = pytest.mark.parametrize("kind, reduce", [("Max", np.max), ("Average", np.mean)])


@pytest.mark.parametrize("padding", ["valid", "same", "SAME"])
@pytest.mark.parametrize("size, strides", WINDOWS)
@KINDS
def test_pooling_against_loops(kind, reduce, size, strides, padding):
    arguments = {"pool_size": size, "strides": strides, "padding": padding}
    for shape in SHAPES[len(size)]:
        if padding == "valid" and any(k > n for k, n in zip(size, shape[1:], strict=False)):
            continue
        axes = zip(shape[1:], size, strides, strict=False)
        windows = [sliding(*axis, padding.lower()) for axis in axes]
        assert_pools(f"{kind}Pooling{len(size)}D", arguments, shape, windows, reduce)


@pytest.mark.parametrize("size", [(1,), (4,), (13,), (2, 3), (1, 9), (2, 4, 3), (7, 1, 8)])
@KINDS
def test_adaptive_pooling_against_loops(kind, reduce, size):
    for shape in SHAPES[len(size)]:
        windows = [adaptive(*axis) for axis in zip(shape[1:], size, strict=False)]
        name = f"Adaptive{kind}Pooling{len(size)}D"
        assert_pools(name, {"output_size": size}, shape, windows, reduce)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64, torch.half])
def test_every_dtype_is_pooled_in_a_graph_as_without(dtype):
    for layer in (
        *(MaxPooling2D((3, 2), (2, 3), "same"), MaxPooling2D(2, 1, "same")),
        *(MaxPooling1D(3, 2, "same"), MaxPooling1D(2), MaxPooling3D(2, 1, "same")),
    ):
        x = (batch((*(2, 9, 12, 5)[: layer.rank + 1], 3)) * 3 - 3).to(dtype)
        torch.compiler.reset()
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), layer(x))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16])
def test_small_integers_of_many_places(dtype, channels):
    for shape in ((2, 40000), (1, 200, 210), (1, 40, 30, 35)):
        x = (batch((*shape, channels)) * 50).to(dtype)
        for size, padding in ((2, "valid"), (3, "same")):
            arguments = {"pool_size": size, "strides": 2, "padding": padding}
            layer = getattr(layers, f"MaxPooling{len(shape) - 1}D")
            expected = layer(**arguments, dtype="float64")(x.double())
            assert torch.equal(layer(**arguments)(x), expected.to(dtype))


# Sizes of 0


@pytest.mark.parametrize("kind", ["MaxPooling", "AveragePooling"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_no_place_to_pool_is_refused(kind, padding):
    for rank in (1, 2, 3):
        layer = getattr(layers, f"{kind}{rank}D")(2, padding=padding)
        for needs_grad in (False, True):
            with pytest.raises(ValueError, match=f"^{kind}{rank}D: `inputs` must be a shape at"):
                layer(torch.zeros(2, *(0, 4, 5)[:rank], 3, requires_grad=needs_grad))


def test_global_and_adaptive_pooling_of_no_place():
    for rank in (1, 2, 3):
        x = torch.zeros(2, *(4, 0, 5)[-rank:], 3) if rank > 1 else torch.zeros(2, 0, 3)
        assert getattr(layers, f"GlobalAveragePooling{rank}D")()(x).isnan().all()
        with pytest.raises(ValueError, match="`inputs` must be of sizes of 1 at least"):
            getattr(layers, f"GlobalMaxPooling{rank}D")()(x)
        for kind in ("Average", "Max"):
            layer = getattr(layers, f"Adaptive{kind}Pooling{rank}D")(2)
            for given in (x, x.int()):
                with pytest.raises(ValueError, match="`inputs` must be of sizes of 1 at least"):
                    layer(given)


# What is special about a rank


def test_equal_steps_share_no_gradient():
    """The first maximum has it, with two of the window as with four."""
    for size in (2, 3, 4):
        for shape in ((1, 12, 2), (1, 240, 20)):
            x = torch.ones(shape, requires_grad=True)
            MaxPooling1D(size)(x).sum().backward()
            assert x.grad.unique().tolist() == [0, 1]
            assert x.grad[0, ::size].all()


@pytest.mark.parametrize("shape", [(3, 7, 3), (3, 70, 30), (3, 70, 40)])
@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_the_maximum_of_steps_is_a_new_tensor_with_each_nan(size, shape):
    x = batch(shape)
    x[1, 2, 2] = torch.nan
    y = MaxPooling1D(size)(x)
    assert y.data_ptr() != x.data_ptr()
    assert y.isnan().nonzero().tolist() == [[1, 2 // size, 2]]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "stride"), [(3, 3), (3, 1), (7, 7), (7, 2), (9, 4)])
@pytest.mark.parametrize("shape", [(2, 9, 5), (2, 45, 20), (2, 43, 40)])
def test_steps_have_the_same_maximum_in_training_and_in_each_layout(shape, size, stride, padding):
    x = batch(shape)
    layer = MaxPooling1D(size, stride, padding)
    y = layer(x)
    windows = [sliding(shape[1], size, stride, padding)]
    assert np.array_equal(y.numpy(), pooled(x.numpy(), windows, np.max).astype(np.float32))
    assert torch.equal(layer(x.clone().requires_grad_()), y)
    first = MaxPooling1D(size, stride, padding, data_format="channels_first")
    assert torch.equal(first(x.mT).mT, y)
    assert torch.equal(first(x.mT.contiguous()).mT, y)


def test_half_precision_is_averaged_at_once():
    """Means of rounded means would be off by more than one rounding."""
    x = batch((2, 6, 7, 8, 3)).half() * 100
    found = AveragePooling3D((5, 6, 7), dtype="float16")(x)
    exact = AveragePooling3D((5, 6, 7), dtype="float64")(x.double())
    assert_close(found.double(), exact.half().double(), rtol=1e-3, atol=1e-3)


def test_half_precision_sums_do_not_overflow():
    x = torch.full((1, 3000, 2), 60.0).half()
    assert layers.GlobalAveragePooling1D(dtype="float16")(x).tolist() == [[60, 60]]


@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_configs_of_keras_1_and_2_in_one_dimension(kind):
    cls = getattr(layers, f"{kind}Pooling1D")
    made = cls.from_config({"name": "a", "pool_length": 3, "stride": 2, "border_mode": "same"})
    assert (made.pool_size, made.strides, made.padding) == ((3,), (2,), "same")
    made = cls.from_config({"pool_length": 3, "stride": None, "border_mode": "valid"})
    assert made.strides == (3,)
    with pytest.raises(TypeError, match="padding"):
        cls.from_config({"pool_length": 3, "border_mode": "full"})
    made = cls.from_config({"strides": [2], "pool_size": [2], "padding": "valid"})
    assert (made.pool_size, made.strides) == ((2,), (2,))
    volumes = getattr(layers, f"{kind}Pooling3D")
    old = {"pool_size": [2, 1, 3], "strides": [2, 1, 1], "border_mode": "same"}
    made = volumes.from_config({**old, "dim_ordering": "th"})
    assert (made.padding, made.data_format) == ("same", "channels_first")


def test_old_configs_of_sequences_have_the_steps_as_axis_1():
    """Whatever the default is today: Keras 1 and 2 knew no other order, or wrote it."""
    config.set_image_data_format("channels_first")
    try:
        assert MaxPooling1D(2).data_format == "channels_first"
        for name in ("MaxPooling1D", "GlobalAveragePooling1D", "ZeroPadding1D"):
            assert getattr(layers, name).from_config({"name": "a"}).data_format == "channels_last"
    finally:
        config.set_image_data_format("channels_last")
