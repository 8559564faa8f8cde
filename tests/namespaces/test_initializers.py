"""Initializers: seeds, distributions and devices."""

import copy
import math

import numpy as np
import pytest
import torch

from kerastorch import config, initializers

RANDOM = [
    *("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform"),
    *("Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling"),
]


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_decides(name):
    initializer = getattr(initializers, name)(seed=42)
    state = torch.get_rng_state()
    found = initializer((3, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is not touched
    assert torch.equal(initializer([3, 1, 2], dtype="float32"), found)
    assert not torch.equal(getattr(initializers, name)(seed=43)((3, 1, 2)), found)


@pytest.mark.parametrize("name", RANDOM)
def test_unseeded_calls_differ_and_follow_torch(name):
    initializer = getattr(initializers, name)()
    torch.manual_seed(5)
    first, second = initializer((4, 3)), initializer((4, 3))
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(initializer((4, 3)), first)


SHAPE = (3, 5, 40, 24)  # fans 600 and 360
UNIFORM, CUT, NORMAL = "uniform", "truncated_normal", "untruncated_normal"
DISTRIBUTIONS = [
    ("GlorotUniform", {}, UNIFORM, 2 / 960),
    ("GlorotNormal", {}, CUT, 2 / 960),
    ("HeUniform", {}, UNIFORM, 2 / 600),
    ("HeNormal", {}, CUT, 2 / 600),
    ("LecunUniform", {}, UNIFORM, 1 / 600),
    ("LecunNormal", {}, CUT, 1 / 600),
    ("LecunNormal", {"input_axes": [1], "output_axes": [0]}, CUT, 1 / 5),
    ("GlorotUniform", {"input_axes": [1, -1], "output_axes": [0]}, UNIFORM, 2 / 123),
    ("GlorotUniform", {"input_axes": [1]}, UNIFORM, 2 / 960),
    ("VarianceScaling", {}, CUT, 1 / 600),
    ("VarianceScaling", {"mode": "fan_out", "distribution": "Uniform"}, UNIFORM, 1 / 360),
    ("VarianceScaling", {"scale": 3, "distribution": NORMAL}, NORMAL, 3 / 600),
    ("VarianceScaling", {"distribution": "normal", "mode": "fan_avg"}, CUT, 1 / 480),
    ("RandomNormal", {}, NORMAL, 0.05**2),
    ("RandomNormal", {"stddev": 3}, NORMAL, 9),
    ("RandomUniform", {}, UNIFORM, 0.1**2 / 12),
    ("RandomUniform", {"minval": -2, "maxval": 2}, UNIFORM, 16 / 12),
    ("TruncatedNormal", {"stddev": 1}, CUT, 0.87962566103423978**2),
]


@pytest.mark.parametrize(("name", "arguments", "distribution", "variance"), DISTRIBUTIONS)
def test_distributions(name, arguments, distribution, variance):
    torch.manual_seed(0)
    values = getattr(initializers, name)(**arguments)(SHAPE, dtype="float64")
    deviation = math.sqrt(variance)
    assert values.mean().item() == pytest.approx(0, abs=0.03 * deviation)
    assert values.var().item() == pytest.approx(variance, rel=0.05)
    limit = {UNIFORM: math.sqrt(3), CUT: 2 / 0.87962566103423978, NORMAL: 4.7}[distribution]
    largest = values.abs().max().item() / deviation
    assert 0.97 * limit * (0.75 if distribution == NORMAL else 1) < largest <= limit


@pytest.mark.parametrize("shape", [(4, 4), (7, 3), (3, 7), (2, 5, 3, 4), (2, 2, 1, 9)])
@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-12), (None, 1e-5), ("bfloat16", 0.05)])
def test_orthogonal(shape, dtype, close):
    values = initializers.Orthogonal(gain=2.0)(shape, dtype=dtype).double()
    matrix = values.reshape(-1, shape[-1])
    small = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
    expected = 4 * torch.eye(len(small), dtype=torch.float64)
    torch.testing.assert_close(small, expected, rtol=0, atol=4 * close)


DTYPES = {
    None: torch.float32,
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    torch.float64: torch.float64,
}
ALL = [*RANDOM, "Zeros", "Ones", "Constant", "Identity"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_types_and_memory(name, dtype):
    for shape in ((3, 2), (2, 3), torch.Size((2, 2))):
        values = getattr(initializers, name)()(shape, dtype=dtype)
        assert values.dtype is DTYPES[dtype]
        assert values.shape == tuple(shape)
        assert values.is_contiguous() and not values.requires_grad


@pytest.mark.parametrize("name", ALL)
def test_floatx_is_the_default_type(name):
    config.set_floatx("float64")
    try:
        assert getattr(initializers, name)()((2, 3)).dtype is torch.float64
    finally:
        config.set_floatx("float32")


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_drawn_on_the_meta_device(name):
    seeds = initializers.SeedGenerator(7)
    arguments = {"seed": seeds} if name in RANDOM else {}
    state = torch.get_rng_state()
    with torch.device("meta"):
        for initializer in (
            getattr(initializers, name)(**arguments),
            getattr(initializers, name)(),
        ):
            values = initializer((3, 2), dtype="float64")
            assert values.is_meta and values.dtype is torch.float64
            assert values.shape == (3, 2) and values.is_contiguous()
    assert torch.equal(torch.get_rng_state(), state)
    assert seeds.next() == 7


def test_stft_on_the_meta_device():
    with torch.device("meta"):
        assert initializers.STFT(window=None)((8, 1, 5)).is_meta
        assert initializers.STFT(window=[1.0] * 8)((8, 1, 5)).is_meta
        assert initializers.get(np.ones(3))((3,)).is_meta


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ALL)
def test_a_seed_gives_the_same_numbers_on_every_device(name):
    arguments = {"seed": 42} if name in RANDOM else {}
    here = getattr(initializers, name)(**arguments)((3, 2))
    with torch.device("cuda"):
        there = getattr(initializers, name)(**arguments)((3, 2))
    assert there.is_cuda and torch.equal(there.cpu(), here)


# Seeds.


def test_seed_generators_go_on():
    seeds = initializers.SeedGenerator(7)
    initializer = initializers.RandomUniform(seed=seeds)
    for seed in (7, 8, 9):
        expected = initializers.RandomUniform(seed=seed)((2, 3))
        assert torch.equal(initializer((2, 3)), expected)
    assert seeds.next() == 10
    twin = copy.deepcopy(initializer)
    assert torch.equal(twin((2, 3)), initializer((2, 3)))


def test_a_seed_generator_without_a_seed_follows_torch():
    torch.manual_seed(3)
    first = initializers.SeedGenerator().next()
    second = initializers.SeedGenerator().next()
    assert first != second
    torch.manual_seed(3)
    assert initializers.SeedGenerator().next() == first
    assert initializers.SeedGenerator().get_config() == {"seed": None, "name": "seed_generator"}


@pytest.mark.parametrize(("seed", "same"), [(-1, 2**32 - 1), (2**32 + 5, 5), (True, 1)])
def test_seeds_are_taken_modulo_two_to_the_32(seed, same):
    generator = torch.Generator().manual_seed(same)
    expected = torch.normal(0.0, 0.05, (5,), generator=generator)
    assert torch.equal(initializers.RandomNormal(seed=seed)((5,)), expected)
    assert initializers.RandomNormal(seed=seed).get_config()["seed"] is seed
