"""Initializers compared with Keras."""

import warnings

import numpy as np
import pytest
import torch

from compat.namespaces.comparing import assert_same
from kerastorch import initializers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")
    from keras.src.initializers.random_initializers import compute_fans as keras_fans

SEEDED = [
    (name, arguments)
    for name, arguments in (
        ("GlorotNormal", {}),
        ("GlorotUniform", {}),
        ("HeNormal", {}),
        ("HeUniform", {}),
        ("LecunNormal", {}),
        ("LecunUniform", {}),
        ("GlorotUniform", {"input_axes": [0], "output_axes": (1,)}),
        ("HeNormal", {"input_axes": [0]}),
        ("Orthogonal", {}),
        ("Orthogonal", {"gain": 0.5}),
        ("RandomNormal", {}),
        ("RandomNormal", {"mean": -1, "stddev": 2.5}),
        ("RandomUniform", {}),
        ("RandomUniform", {"minval": -3, "maxval": 0.5}),
        ("TruncatedNormal", {}),
        ("TruncatedNormal", {"mean": 1.0, "stddev": 3}),
        *(
            ("VarianceScaling", {"scale": 0.7, "mode": mode, "distribution": distribution})
            for mode in ("fan_in", "fan_out", "fan_avg")
            for distribution in ("uniform", "truncated_normal", "Untruncated_Normal", "normal")
        ),
    )
]
SHAPES = [(3, 2), (2, 3), (40, 7), (3, 5, 4, 8), (2, 3, 2, 3, 5), (1, 1, 1, 1), (0, 3)]
SMALL_SHAPES = [(), (5,)]
SEEDS = [0, 42, -3, True, 2**31, 2**32 + 5, -(2**40)]


def both(name, arguments):
    return getattr(initializers, name)(**arguments), getattr(keras.initializers, name)(**arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "dtype"),
    [
        (name, arguments, dtype)
        for name, arguments in SEEDED
        for dtype in (None, "float32", "float64", "bfloat16", "float16")
        if name != "Orthogonal" or dtype not in ("bfloat16", "float16")
    ],
    ids=str,
)
def test_seeded_initializers(name, arguments, dtype):
    axes = "input_axes" in arguments
    small = [] if name == "Orthogonal" or axes else SMALL_SHAPES
    for number, shape in enumerate(SHAPES + small):
        seed = SEEDS[number % len(SEEDS)]
        ours, theirs = both(name, {**arguments, "seed": seed})
        mine = ours(shape, dtype=dtype)
        assert_same(mine, theirs(shape, dtype=dtype))
        assert mine.is_contiguous()
        assert_same(ours(list(shape), dtype=dtype), mine)  # the same again


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_orthogonal_in_half_precision_is_an_extension(dtype):
    ours, theirs = both("Orthogonal", {"seed": 1})
    with pytest.raises(NotImplementedError):
        theirs((4, 3), dtype=dtype)
    assert_same(ours((4, 3), dtype=dtype), theirs((4, 3)).to(getattr(torch, dtype)))


@pytest.mark.parametrize("seed", [np.int64(3), 1.5, "3", [1]])
def test_refused_seeds(seed):
    for module in (initializers, keras.initializers):
        with pytest.raises(ValueError):
            module.GlorotUniform(seed=seed)


def test_seed_generators_go_on():
    ours = initializers.GlorotUniform(seed=initializers.SeedGenerator(7, name="row"))
    theirs = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(7, name="row"))
    draws = [ours((3, 4)) for _ in range(3)]
    for draw in draws:
        assert_same(draw, theirs((3, 4)))
    assert not torch.equal(draws[0], draws[1])
    written = keras.initializers.serialize(theirs)
    assert initializers.serialize(ours) == written
    again, other = initializers.deserialize(written), keras.initializers.deserialize(written)
    assert_same(again((3, 4)), other((3, 4)))
    assert initializers.serialize(again) == keras.initializers.serialize(other) == written


CONSTANTS = [
    ("Zeros", {}),
    ("Ones", {}),
    ("Constant", {"value": 0.3}),
    ("Constant", {"value": -2}),
    ("Constant", {"value": True}),
    ("Constant", {"value": [1.5, 2.5, 3.5]}),
    ("Constant", {"value": np.float32(0.1)}),
    ("Constant", {"value": np.array([[1.0, 2.0, 3.0]])}),
    ("Constant", {"value": torch.tensor([[1.0], [2.0]])}),
    ("Identity", {}),
    ("Identity", {"gain": 3}),
]


@pytest.mark.parametrize("dtype", [None, "float64", "bfloat16", "float16", "int32", torch.float32])
@pytest.mark.parametrize(("name", "arguments"), CONSTANTS, ids=str)
def test_constant_initializers(name, arguments, dtype):
    ours, theirs = both(name, arguments)
    assert_same(ours((2, 3), dtype=dtype), theirs((2, 3), dtype=dtype))
    again = initializers.deserialize(initializers.serialize(ours))
    assert_same(again((2, 3), dtype=dtype), theirs((2, 3), dtype=dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"side": "imag"},
        {"scaling": "spectrum"},
        {"scaling": None},
        {"periodic": True},
        {"window": "hamming", "side": "imag", "periodic": True},
        {"window": None},
        {"window": np.linspace(0.1, 1.0, 8)},
        {"window": list(range(1, 9))},
    ],
    ids=str,
)
def test_stft(arguments, dtype):
    pytest.importorskip("scipy")
    ours, theirs = both("STFT", arguments)
    for frequencies in (5, 9):
        shape = (8, 1, frequencies)
        assert_same(ours(shape, dtype=dtype), theirs(shape, dtype=dtype))
    assert initializers.serialize(ours) == keras.initializers.serialize(theirs)
    assert list(ours.get_config()) == list(theirs.get_config())
    again = initializers.deserialize(initializers.serialize(ours))
    assert_same(again((8, 1, 5), dtype=dtype), theirs((8, 1, 5), dtype=dtype))


@pytest.mark.parametrize(("name", "arguments"), SEEDED + CONSTANTS, ids=str)
def test_serialized_initializers(name, arguments):
    ours, theirs = both(name, arguments)
    written = keras.initializers.serialize(theirs)
    if "gain" in arguments and name == "Identity":
        assert written["config"] == {}  # Keras forgets the gain, but reads it
        written["config"] = {"gain": 3}
        assert_same(keras.initializers.deserialize(written)((2, 2)), ours((2, 2)))
    assert initializers.serialize(ours) == written
    assert list(initializers.serialize(ours)["config"]) == list(written["config"])
    assert initializers.serialize(initializers.deserialize(written)) == written


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("VarianceScaling", {"scale": 0}),
        ("VarianceScaling", {"scale": -1.0}),
        ("VarianceScaling", {"mode": "fan"}),
        ("VarianceScaling", {"mode": "FAN_IN"}),
        ("VarianceScaling", {"distribution": "poisson"}),
        ("STFT", {"side": "both"}),
        ("STFT", {"scaling": "power"}),
        ("STFT", {"window": "no such window"}),
    ],
)
def test_refused_arguments_of_initializers(name, arguments):
    for module in (initializers, keras.initializers):
        with pytest.raises(ValueError):
            getattr(module, name)(**arguments)


@pytest.mark.parametrize(
    ("name", "shape"), [("Identity", (2,)), ("Identity", (2, 3, 4)), ("Orthogonal", (3,))]
)
def test_refused_shapes(name, shape):
    for module in (initializers, keras.initializers):
        with pytest.raises(ValueError):
            getattr(module, name)()(shape)


@pytest.mark.parametrize("values", [np.arange(6.0).reshape(2, 3), torch.ones(2, 3), np.float32(3)])
def test_an_array_as_an_initializer(values):
    ours, theirs = initializers.get(values), keras.initializers.get(values)
    shape = tuple(values.shape)
    assert_same(ours(shape), theirs(shape))
    assert_same(ours(shape, dtype="float64"), theirs(shape, dtype="float64"))
    assert initializers.serialize(ours) == keras.initializers.serialize(theirs)
    for function in (ours, theirs):
        with pytest.raises(ValueError):
            function((3, 2))


@pytest.mark.parametrize("shape", [(), (5,), (5, 3), (3, 5, 4, 8), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("axes", [(None, None), ([0], None), (None, [0]), ([-1], [0]), ([], [-1])])
def test_fans(shape, axes):
    if not shape and any(axes):
        axes = (None, None)
    assert initializers.compute_fans(shape, *axes) == keras_fans(shape, *axes)
