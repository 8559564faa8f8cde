"""Initializers: recorded numbers, distributions, devices, configs."""

import builtins
import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kerastorch import config, initializers

# What Keras 3.15.1 on torch gives with seed 42, in the shape (3, 1, 2).
RECORDED = [
    ("GlorotNormal", {}, [1.0326626, 0.3635746, 0.1907106, -0.5953499, -0.1659872, -0.3172619]),
    ("GlorotUniform", {}, [0.6242431, 0.6776986, -0.1912827, 0.750043, -0.1788973, 0.1647614]),
    ("HeNormal", {}, [1.7886243, 0.6297296, 0.3303205, -1.0311764, -0.2874983, -0.5495138]),
    ("HeUniform", {}, [1.0812207, 1.1738085, -0.3313113, 1.2991124, -0.3098593, 0.2853751]),
    ("LecunNormal", {}, [1.2647483, 0.4452861, 0.2335719, -0.7291518, -0.203292, -0.3885649]),
    ("LecunUniform", {}, [0.7645385, 0.8300079, -0.2342725, 0.9186113, -0.2191036, 0.2017907]),
    ("Orthogonal", {}, [0.2816395, 0.2880182, 0.1961263, 0.9164672, -0.9392623, 0.2777292]),
    ("RandomNormal", {}, [0.0168345, 0.0064405, 0.0117231, 0.0115167, -0.0561428, -0.0093164]),
    ("RandomUniform", {}, [0.0382269, 0.0415004, -0.0117136, 0.0459306, -0.0109552, 0.0100895]),
    ("TruncatedNormal", {}, [0.0963458, 0.0339209, 0.017793, -0.0555452, -0.0154863, -0.0296]),
    (
        "VarianceScaling",
        {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
        [0.1943883, 0.0743681, 0.1353669, 0.1329828, -0.6482815, -0.1075767],
    ),
]
RANDOM = [name for name, _, _ in RECORDED]


@pytest.mark.parametrize(("name", "arguments", "values"), RECORDED)
def test_recorded_numbers(name, arguments, values):
    initializer = getattr(initializers, name)(**arguments, seed=42)
    state = torch.get_rng_state()
    found = initializer((3, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is not touched
    torch.testing.assert_close(found, torch.tensor(values).reshape(3, 1, 2), rtol=1e-5, atol=1e-7)
    assert torch.equal(initializer([3, 1, 2], dtype="float32"), found)
    assert not torch.equal(getattr(initializers, name)(**arguments, seed=43)((3, 1, 2)), found)


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


@pytest.mark.parametrize(
    ("initializer", "mean"),
    [
        (initializers.RandomNormal(mean=5, stddev=0.1), 5),
        (initializers.TruncatedNormal(mean=-3.0, stddev=0.1), -3),
        (initializers.RandomUniform(minval=1, maxval=2), 1.5),
    ],
)
def test_means(initializer, mean):
    torch.manual_seed(0)
    assert initializer((50, 40)).mean().item() == pytest.approx(mean, abs=0.05)


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


@pytest.mark.parametrize("name", RANDOM)
def test_seeds_in_configs(name):
    cls = getattr(initializers, name)
    generator = {
        "module": "keras.random",
        "class_name": "SeedGenerator",
        "config": {"seed": 7, "name": "seed_generator"},
        "registered_name": None,
    }
    for seed, written in (
        (None, None),
        (-3, -3),
        (initializers.SeedGenerator(7), generator),
        (generator, generator),
    ):
        initializer = cls(seed=seed)
        assert initializer.get_config()["seed"] == written
        again = initializers.deserialize(initializers.serialize(initializer))
        assert type(again) is cls and again.get_config() == initializer.get_config()
        if seed is not None:
            assert torch.equal(again((2, 3)), initializer((2, 3)))


# Constants.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]),
        (True, [[1, 1, 1], [1, 1, 1]]),
        (np.float32(2), [[2, 2, 2], [2, 2, 2]]),
        ([1, 2, 3], [[1, 2, 3], [1, 2, 3]]),
        (np.array([[1.0], [2.0]]), [[1, 1, 1], [2, 2, 2]]),
        (torch.tensor([[1.0], [2.0]], requires_grad=True), [[1, 1, 1], [2, 2, 2]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int32", "float16"])
def test_constants(value, expected, dtype):
    found = initializers.Constant(value)((2, 3), dtype=dtype)
    expected = torch.tensor(expected, dtype=torch.float64).to(getattr(torch, dtype))
    assert torch.equal(found, expected) and found.is_contiguous()
    again = initializers.deserialize(initializers.serialize(initializers.Constant(value)))
    assert torch.equal(again((2, 3), dtype=dtype), expected)


def test_a_constant_does_not_share_memory():
    value = np.ones((2, 3), dtype="float32")
    for initializer in (initializers.Constant(value), initializers.get(value)):
        initializer((2, 3)).zero_()
        assert value.all()


def test_zeros_ones_and_identity():
    assert torch.equal(initializers.Zeros()((2,)), torch.tensor([0.0, 0.0]))
    assert torch.equal(initializers.Ones()(3, dtype="int8"), torch.ones(3, dtype=torch.int8))
    expected = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    assert torch.equal(initializers.Identity(2.0)((2, 3)), expected)
    assert initializers.Identity().get_config() == {}
    again = initializers.deserialize(initializers.serialize(initializers.Identity(2.0)))
    assert torch.equal(again((2, 3)), expected)


@pytest.mark.parametrize("window", [None, [0.5, 1.0, 2.0, 1.5, 1.0, 0.25], "window"])
@pytest.mark.parametrize("scaling", ["density", "spectrum", None])
@pytest.mark.parametrize("side", ["real", "imag"])
def test_stft_is_a_fourier_transform(side, scaling, window):
    if window == "window":
        signal = pytest.importorskip("scipy.signal")
        window, values = "hamming", signal.get_window("hamming", 6, False)
    else:
        values = np.ones(6) if window is None else np.array(window)
    kernel = initializers.STFT(side, window, scaling)((6, 1, 5), dtype="float64")
    frame = np.linspace(-1, 2, 6) ** 2
    spectrum = np.fft.rfft(frame * values, n=8)
    expected = spectrum.real if side == "real" else spectrum.imag
    if window is not None and scaling is not None:
        expected = expected / (
            math.sqrt((values**2).sum()) if scaling == "density" else values.sum()
        )
    found = np.einsum("t,tcf->f", frame, kernel.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_periodic_window():
    signal = pytest.importorskip("scipy.signal")
    for periodic in (False, True):
        kernel = initializers.STFT(scaling=None, periodic=periodic)((6, 1, 5), dtype="float64")
        expected = signal.get_window("hann", 6, periodic)
        np.testing.assert_allclose(kernel[:, 0, 0].numpy(), expected, atol=1e-12)


def test_stft_configs():
    written = initializers.STFT("imag", np.array([1.0, 2.0]), None, True).get_config()
    window = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0], "dtype": "float64"}}
    assert written == {"side": "imag", "window": window, "periodic": True, "scaling": None}
    assert list(written) == ["side", "window", "periodic", "scaling"]
    again = initializers.STFT.from_config(written)
    assert np.array_equal(again.window, [1.0, 2.0]) and again.get_config() == written


def test_stft_without_scipy(monkeypatch):
    real = builtins.__import__

    def without_scipy(name, *arguments, **keywords):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ImportError) as error:
        initializers.STFT()
    assert str(error.value) == (
        "STFT: `window` must be an array or None where SciPy is not installed. "
        "Received: window='hann'. Install it: `pip install scipy`."
    )
    assert initializers.STFT(window=None)((4, 1, 3)).shape == (4, 1, 3)


# Fans.


@pytest.mark.parametrize(
    ("arguments", "fans"),
    [
        (((),), (1, 1)),
        (((5,),), (5, 5)),
        (((5, 3),), (5, 3)),
        (((7, 5, 3),), (35, 21)),
        (((3, 5, 4, 8),), (60, 120)),
        (((3, 5, 4, 8), [0, 2], [-1]), (12, 8)),
        (((3, 5, 4, 8), [0, 2], None), (60, 120)),
        (((3, 5, 4, 8), None, [0]), (60, 120)),
        (((3, 5, 4, 8), [], [1]), (1, 5)),
    ],
)
def test_fans(arguments, fans):
    assert initializers.compute_fans(*arguments) == fans


@given(st.lists(st.integers(0, 9), min_size=2, max_size=5))
def test_fans_are_products(shape):
    fan_in, fan_out = initializers.compute_fans(shape)
    assert fan_in * shape[-1] == fan_out * shape[-2] == math.prod(shape)


def test_no_inputs_count_as_one():
    limit = initializers.HeUniform(seed=1)((0, 3, 0, 2)), initializers.LecunUniform(seed=1)((0, 4))
    assert [tuple(values.shape) for values in limit] == [(0, 3, 0, 2), (0, 4)]


# Names and configs.


CONFIGS = [
    ("Zeros", {}),
    ("Ones", {}),
    ("Constant", {"value": 0.0}),
    ("Constant", {"value": [1, 2]}),
    ("Identity", {}),
    ("RandomNormal", {"seed": None, "mean": 0.0, "stddev": 0.05}),
    ("TruncatedNormal", {"seed": 3, "mean": 1, "stddev": 2}),
    ("RandomUniform", {"seed": None, "minval": -0.05, "maxval": 0.05}),
    (
        "VarianceScaling",
        {
            "seed": None,
            "scale": 1.0,
            "mode": "fan_in",
            "distribution": "truncated_normal",
            "input_axes": None,
            "output_axes": [1],
        },
    ),
    *(
        (name, {"seed": 1, "input_axes": (0,), "output_axes": None})
        for name in (
            "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform",
        )
    ),
    ("Orthogonal", {"seed": None, "gain": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "written"), CONFIGS, ids=str)
def test_configs(name, written):
    cls = getattr(initializers, name)
    initializer = cls.from_config(written)
    assert initializer.get_config() == initializer.clone().get_config() == written
    assert list(initializer.get_config()) == list(written)
    assert initializers.serialize(initializer) == {
        "module": "keras.initializers",
        "class_name": name,
        "config": written,
        "registered_name": None,
    }
    again = pickle.loads(pickle.dumps(initializer))
    assert type(again) is cls and again.get_config() == written
    # tf.keras wrote a `dtype` too.
    older = initializers.get({"class_name": name, "config": {**written, "dtype": "float32"}})
    assert type(older) is cls and older.get_config() == written


def test_configs_of_keras_2():
    older = {"scale": 2.0, "mode": "fan_in", "distribution": "normal", "seed": 5}
    initializer = initializers.get({"class_name": "VarianceScaling", "config": older})
    assert initializer.get_config()["distribution"] == "truncated_normal"
    assert torch.equal(initializer((4, 3)), initializers.HeNormal(seed=5)((4, 3)))


ALIASES = {
    "constant": "Constant",
    "identity": "Identity",
    "IdentityInitializer": "Identity",
    "ones": "Ones",
    "stft": "STFT",
    "STFTInitializer": "STFT",
    "zeros": "Zeros",
    "glorot_normal": "GlorotNormal",
    "glorot_uniform": "GlorotUniform",
    "he_normal": "HeNormal",
    "he_uniform": "HeUniform",
    "lecun_normal": "LecunNormal",
    "lecun_uniform": "LecunUniform",
    "orthogonal": "Orthogonal",
    "OrthogonalInitializer": "Orthogonal",
    "random_normal": "RandomNormal",
    "random_uniform": "RandomUniform",
    "truncated_normal": "TruncatedNormal",
    "variance_scaling": "VarianceScaling",
}


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases(alias, name):
    cls = getattr(initializers, name)
    assert getattr(initializers, alias) is cls
    if name == "STFT":
        pytest.importorskip("scipy")
    if name != "Constant":
        assert type(initializers.get(alias)) is type(initializers.get(name)) is cls
    assert type(initializers.get(cls)) is cls


@pytest.mark.parametrize(
    ("name", "means"),
    [("normal", "RandomNormal"), ("uniform", "RandomUniform"), ("zero", "Zeros"), ("one", "Ones")],
)
def test_short_names(name, means):
    assert type(initializers.get(name)) is getattr(initializers, means)


def test_the_base():
    base = initializers.get("initializer")
    assert type(base) is initializers.Initializer and base.get_config() == {}
    with pytest.raises(NotImplementedError, match=r"^Initializer does not have `__call__"):
        base((2,))


class Ramp(initializers.Initializer):
    def __init__(self, slope, dtype="float32"):
        self.slope = slope
        self.dtype = dtype

    def __call__(self, shape, dtype=None):
        return self.slope * torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)

    def get_config(self):
        return {"slope": self.slope, "dtype": self.dtype}


def test_ones_own_class_keeps_its_dtype():
    written = initializers.serialize(Ramp(2.0, "int8"))
    again = initializers.deserialize(written, {"Ramp": Ramp})
    assert again.get_config() == {"slope": 2.0, "dtype": "int8"}
    assert torch.equal(again((2, 1)), torch.tensor([[0.0], [2.0]]))


@pytest.mark.parametrize(
    "values", [np.arange(6.0).reshape(2, 3), torch.arange(6).reshape(3, 2).T, np.float32(3)]
)
def test_an_array_as_an_initializer(values):
    function = initializers.get(values)
    shape = tuple(values.shape)
    found = function(shape)
    assert found.dtype is torch.float32 and found.is_contiguous()
    assert np.array_equal(found.numpy(), np.asarray(values))
    assert function(shape, dtype="float64").dtype is torch.float64


@pytest.mark.parametrize(
    ("attempt", "kind", "message"),
    [
        (
            lambda: initializers.get("constant"),
            KeyError,
            "Constant: `config` must be one with a `value`. Received: config={}.",
        ),
        (
            lambda: initializers.Constant([1.0, 2.0])((3,)),
            ValueError,
            (
                "Constant: `shape` must be one that `value` broadcasts to. Received: shape=(3,), "
                "value_shape=(2,)."
            ),
        ),
        (
            lambda: initializers.Identity()((2, 3, 4)),
            ValueError,
            "Identity: `shape` must be of rank 2. Received: shape=(2, 3, 4).",
        ),
        (
            lambda: initializers.Orthogonal()((3,)),
            ValueError,
            "Orthogonal: `shape` must be of rank 2 or more. Received: shape=(3,).",
        ),
        (
            lambda: initializers.HeNormal(seed=1.5),
            ValueError,
            "HeNormal: `seed` must be an integer, a `SeedGenerator` or None. Received: seed=1.5.",
        ),
        (
            lambda: initializers.HeNormal(seed=np.int64(3)),
            ValueError,
            (
                "HeNormal: `seed` must be an integer, a `SeedGenerator` or None. "
                f"Received: seed={np.int64(3)!r}."
            ),
        ),
        (
            lambda: initializers.SeedGenerator("7"),
            ValueError,
            "SeedGenerator: `seed` must be an integer. Received: seed='7'.",
        ),
        (
            lambda: initializers.VarianceScaling(0),
            ValueError,
            "VarianceScaling: `scale` must be a number above 0. Received: scale=0.",
        ),
        (
            lambda: initializers.VarianceScaling(mode="fan"),
            ValueError,
            (
                "VarianceScaling: `mode` must be 'fan_in', 'fan_out' or 'fan_avg'. "
                "Received: mode='fan'."
            ),
        ),
        (
            lambda: initializers.VarianceScaling(distribution="poisson"),
            ValueError,
            (
                "VarianceScaling: `distribution` must be 'truncated_normal', 'untruncated_normal' "
                "or 'uniform'. Received: distribution='poisson'."
            ),
        ),
        (
            lambda: initializers.STFT(side="both"),
            ValueError,
            "STFT: `side` must be 'real' or 'imag'. Received: side='both'.",
        ),
        (
            lambda: initializers.STFT(scaling="power"),
            ValueError,
            "STFT: `scaling` must be 'density', 'spectrum' or None. Received: scaling='power'.",
        ),
        (
            lambda: initializers.STFT(window=None)((8, 2, 5)),
            ValueError,
            "STFT: `shape` must be (T, 1, F // 2 + 1). Received: shape=(8, 2, 5).",
        ),
        (
            lambda: initializers.STFT(window=[1.0, 2.0])((8, 1, 5)),
            ValueError,
            "STFT: `window` must be of shape (8,). Received: window=(2,).",
        ),
        (
            lambda: initializers.Zeros()((2,), dtype="float"),
            ValueError,
            (
                "Zeros: `dtype` must be a torch dtype or one of 'float16', 'bfloat16', 'float32', "
                "'float64', 'bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', "
                "'uint32', 'uint64'. Received: dtype='float'."
            ),
        ),
        (
            lambda: initializers.get(np.ones(3))((2,)),
            ValueError,
            "initializer: `shape` must be (3,), that of the given array. Received: shape=(2,).",
        ),
        (
            lambda: initializers.get(np.array(["a"])),
            ValueError,
            (
                "initializer: `identifier` must be a name, a config dict, a callable or an array "
                f"of numbers. Received: identifier={np.array(['a'])!r}."
            ),
        ),
    ],
)
def test_messages(attempt, kind, message):
    with pytest.raises(kind) as error:
        attempt()
    assert error.value.args == (message,)


@pytest.mark.parametrize("identifier", ["nope", "Glorot_Uniform", "", 5, [1, 2], {}])
def test_refused_identifiers(identifier):
    with pytest.raises(ValueError):
        initializers.get(identifier)
