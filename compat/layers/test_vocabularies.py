"""Side by side with Keras: activations, initializers, regularizers, constraints."""

import inspect
import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch

from kerastorch import activations, config, constraints, initializers, regularizers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")
    from keras.src.activations import ALL_OBJECTS_DICT as ACTIVATION_NAMES
    from keras.src.constraints import ALL_OBJECTS_DICT as CONSTRAINT_NAMES
    from keras.src.initializers import ALL_OBJECTS_DICT as INITIALIZER_NAMES
    from keras.src.initializers.random_initializers import compute_fans as keras_fans
    from keras.src.regularizers import ALL_OBJECTS_DICT as REGULARIZER_NAMES

VOCABULARIES = {
    "activations": (activations, keras.activations, ACTIVATION_NAMES),
    "initializers": (initializers, keras.initializers, INITIALIZER_NAMES),
    "regularizers": (regularizers, keras.regularizers, REGULARIZER_NAMES),
    "constraints": (constraints, keras.constraints, CONSTRAINT_NAMES),
}
NAMES = [(place, name) for place, (_, _, names) in VOCABULARIES.items() for name in sorted(names)]
FLOATS = (torch.float32, torch.float64)
ALL_FLOATS = (*FLOATS, torch.bfloat16, torch.float16)


def assert_same(ours, theirs):
    """Bit for bit, up to the sign of zero and the payload of NaN."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_the_comparison_can_fail():
    one = torch.tensor([1.0, math.nan])
    assert_same(one, one.clone())
    for other in (torch.tensor([1.0000001, math.nan]), torch.tensor([1.0, 0.0]), one.double()):
        with pytest.raises(AssertionError):
            assert_same(one, other)


def values_and_gradient(function, x):
    """Return `function(x)` and the gradient of a weighted sum of it."""
    x = x.clone().requires_grad_()
    y = function(x)
    weights = torch.linspace(0.3, 1.7, y.numel(), dtype=torch.float64).to(y.dtype)
    (gradient,) = torch.autograd.grad(y, x, weights.reshape(y.shape))
    return y.detach(), gradient


# The public names.


@pytest.mark.parametrize("place", VOCABULARIES)
def test_every_public_name_is_there(place):
    ours, theirs, _ = VOCABULARIES[place]
    public = {name for name in dir(theirs) if not name.startswith("_")}
    assert public - set(dir(ours)) == set()


@pytest.mark.parametrize("place", VOCABULARIES)
def test_aliases_are_the_same_objects(place):
    ours, theirs, _ = VOCABULARIES[place]
    names = [name for name in dir(theirs) if not name.startswith("_")]
    for first in names:
        for second in names:
            same = getattr(theirs, first) is getattr(theirs, second)
            assert (getattr(ours, first) is getattr(ours, second)) == same, (first, second)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (place, name)
        for place, (_, theirs, _) in VOCABULARIES.items()
        for name in dir(theirs)
        if not name.startswith("_")
    ],
)
def test_signatures(place, name):
    ours, theirs, _ = VOCABULARIES[place]

    def arguments(found):
        parameters = inspect.signature(found).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters if p.kind != p.VAR_KEYWORD]

    mine, other = getattr(ours, name), getattr(theirs, name)
    assert arguments(mine) == arguments(other)
    if inspect.isclass(mine):
        assert arguments(mine.__call__) == arguments(other.__call__)


@pytest.mark.parametrize(("place", "name"), NAMES)
def test_every_accepted_name_means_the_same(place, name):
    ours, theirs, _ = VOCABULARIES[place]
    try:
        expected = theirs.get(name)
    except KeyError:  # "constant" and "Constant"
        with pytest.raises(KeyError):
            ours.get(name)
        return
    found = ours.get(name)
    if place == "activations":
        assert found.__name__ == expected.__name__
        return
    assert type(found).__name__ == type(expected).__name__
    if expected.get_config.__qualname__ != "Regularizer.get_config":
        assert found.get_config() == expected.get_config()


@pytest.mark.parametrize("place", VOCABULARIES)
@pytest.mark.parametrize(
    "identifier",
    [
        "", " relu", "RELU", "ReLU", "nope", "Relu", "GLOROT_UNIFORM", "glorotuniform", "Zero",
        "l1_l2", "L1_L2", "maxnorm", "get", "serialize", "deserialize", "keras", 5, 1.5, True,
        [], (), ["relu"], {}, {"config": {}}, {"class_name": "nope", "config": {}},
    ],
)  # fmt: skip
def test_what_keras_refuses_is_refused(place, identifier):
    ours, theirs, _ = VOCABULARIES[place]
    if isinstance(identifier, dict):
        identifier = dict(identifier)
    with pytest.raises((ValueError, TypeError, AttributeError, KeyError)) as error:
        theirs.get(identifier)
    # Keras's own words for a dict that says nothing differ by place and by accident.
    expected = ValueError if isinstance(identifier, dict) else error.type
    with pytest.raises(expected):
        ours.get(identifier)


# Activations.

POINTS = {
    "random": torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0)) * 3,
    "large": torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1)) * 1e4,
    "tiny": torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(2)) * 1e-30,
    "edges": torch.tensor([[-20, -6, -3, -1, -0.5, -0.0], [0, 0.5, 1, 3, 6, 20]]),
    "not finite": torch.tensor([[math.inf, -math.inf, math.nan, 1, 2, 3]]),
}
OTHER_ARGUMENTS = [
    *(
        ("relu", arguments)
        for arguments in (
            {"negative_slope": 0.1},
            {"max_value": 6},
            {"max_value": 2.5},
            {"max_value": 0},
            {"max_value": 6, "negative_slope": 0.3},
            {"max_value": 2, "negative_slope": 0.3},
            {"threshold": 0.5},
            {"threshold": -0.5},
            {"threshold": -1.0, "max_value": 2},
            {"threshold": 1, "max_value": 6, "negative_slope": 0.1},
        )
    ),
    ("leaky_relu", {"negative_slope": 0.01}),
    ("elu", {"alpha": 0.3}),
    ("celu", {"alpha": 0.3}),
    ("gelu", {"approximate": True}),
    ("glu", {"axis": 0}),
    ("softmax", {"axis": 0}),
    ("softmax", {"axis": 1}),
    ("softmax", {"axis": None}),
    ("softmax", {"axis": (0, 1)}),
    ("softmax", {"axis": (1, 0)}),
    ("log_softmax", {"axis": 0}),
    ("log_softmax", {"axis": None}),
    ("log_softmax", {"axis": (1, 0)}),
    ("sparsemax", {"axis": 0}),
    ("soft_shrink", {"threshold": 0.25}),
    ("hard_shrink", {"threshold": 0.25}),
    ("squareplus", {"b": 0.5}),
    ("threshold", {"threshold": 0.5, "default_value": 0.1}),
    ("threshold", {"threshold": -0.3, "default_value": -7}),
]
ACTIVATION_CASES = [
    *((name, {}) for name in sorted(ACTIVATION_NAMES) if name != "threshold"),
    *OTHER_ARGUMENTS,
]


@pytest.mark.parametrize("dtype", ALL_FLOATS, ids=str)
@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize(("name", "arguments"), ACTIVATION_CASES, ids=str)
def test_activations(name, arguments, points, dtype):
    x = POINTS[points].to(dtype)
    if name == "glu" and arguments and x.shape[0] % 2:
        x = x.repeat(2, 1)

    def ours(x):
        return getattr(activations, name)(x, **arguments)

    def theirs(x):
        return getattr(keras.activations, name)(x, **arguments)

    mine, other = values_and_gradient(ours, x), values_and_gradient(theirs, x)
    if name != "mish":  # one fused operation against three that round in between
        assert_same(mine, other)
        return
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(mine, other, rtol=8 * eps, atol=4 * eps, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("name", sorted(ACTIVATION_NAMES))
def test_activations_of_integers(name, dtype):
    x = torch.tensor([[0, 1, 3, 0], [2, 1, 7, 5]]).to(dtype)
    ours, theirs = getattr(activations, name), getattr(keras.activations, name)
    if name == "threshold":
        given = {"threshold": 1, "default_value": 5}
        ours, theirs = partial(ours, **given), partial(theirs, **given)
    try:
        wanted = theirs(x)
    except RuntimeError:  # ours converts it
        wanted = theirs(x.float())
    found = ours(x)
    if name == "hard_tanh":  # TensorFlow refuses integers, torch keeps their type
        wanted = wanted.float()
    if name in ("sparse_plus", "sparse_sigmoid") and dtype is torch.uint8:
        right = theirs(x.float())
        assert not torch.allclose(wanted, right)  # Keras takes -1 for 255
        wanted = right
    assert found.dtype is wanted.dtype
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", sorted(ACTIVATION_NAMES))
def test_serialized_activations(name):
    ours, theirs = activations.get(name), keras.activations.get(name)
    written = keras.activations.serialize(theirs)
    assert activations.serialize(ours) == written
    assert activations.deserialize(written) is ours
    assert keras.activations.deserialize(activations.serialize(ours)) is theirs
    as_dict = keras.saving.serialize_keras_object(theirs)
    assert activations.deserialize(as_dict) is ours
    assert activations.get(as_dict) is ours


def test_a_class_and_a_module_stay_what_they_are():
    module = torch.nn.ReLU()
    for identifier in (torch.nn.ReLU, module, np.tanh, torch.sin):
        assert keras.activations.get(identifier) is identifier
        assert activations.get(identifier) is identifier
    assert keras.activations.get(None).__name__ == activations.get(None).__name__ == "linear"


def plainly(x):
    """A user's own function."""
    return x


@pytest.mark.parametrize("place", VOCABULARIES)
def test_a_function_of_ones_own(place):
    ours, theirs, _ = VOCABULARIES[place]
    written = theirs.serialize(plainly)
    assert ours.serialize(plainly) == written
    assert ours.deserialize(written, {"plainly": plainly}) is plainly
    assert theirs.deserialize(written, {"plainly": plainly}) is plainly


# Initializers.

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


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds(seed):
    ours, theirs = both("RandomNormal", {"seed": seed})
    assert_same(ours((19, 3)), theirs((19, 3)))
    assert ours.get_config() == theirs.get_config()


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


# Regularizers.

REGULARIZERS = [
    ("L1", {}),
    ("L1", {"l1": 0.1}),
    ("L1", {"l1": 0}),
    ("L1", {"l1": None}),
    ("L1", {"l1": True}),
    ("L2", {}),
    ("L2", {"l2": 0.1}),
    ("L2", {"l2": np.float64(0.3)}),
    ("L2", {"l2": None}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.1}),
    ("L1L2", {"l2": 0.1}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("L1L2", {"l1": None, "l2": 1}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.3, "mode": "columns"}),
    ("OrthogonalRegularizer", {"factor": 1}),
]


@pytest.mark.parametrize("dtype", ALL_FLOATS, ids=str)
@pytest.mark.parametrize(("name", "arguments"), REGULARIZERS, ids=str)
def test_regularizers(name, arguments, dtype):
    ours = getattr(regularizers, name)(**arguments)
    theirs = getattr(keras.regularizers, name)(**arguments)
    shape = (5, 7) if name == "OrthogonalRegularizer" else (3, 5, 4, 8)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    x[0] = 0
    if name == "OrthogonalRegularizer":
        x[0, 0] = 0.5  # of a row of zeros the gradient is not a number
        if arguments:
            x[0] = 1.5
    if name == "OrthogonalRegularizer" and dtype is torch.float64:
        # Keras scales the rows in float32 whatever their type.
        torch.testing.assert_close(
            values_and_gradient(ours, x), values_and_gradient(theirs, x), rtol=1e-6, atol=1e-8
        )
    else:
        assert_same(ours(x), theirs(x))
        if arguments or name != "L1L2":  # without factors, the penalty is a constant
            assert_same(values_and_gradient(ours, x), values_and_gradient(theirs, x))
    written = keras.regularizers.serialize(theirs)
    assert regularizers.serialize(ours) == written
    assert regularizers.serialize(regularizers.deserialize(written)) == written


@pytest.mark.parametrize("floatx", ["float64", "bfloat16"])
def test_factors_follow_floatx(floatx):
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    keras.config.set_floatx(floatx)
    config.set_floatx(floatx)
    try:
        for name in ("L1", "L2", "OrthogonalRegularizer"):
            ours, theirs = getattr(regularizers, name)(), getattr(keras.regularizers, name)()
            assert ours.get_config() == theirs.get_config()
            torch.testing.assert_close(ours(x), theirs(x), rtol=1e-7, atol=0)
    finally:
        keras.config.set_floatx("float32")
        config.set_floatx("float32")


@pytest.mark.parametrize("factor", [-0.1, math.inf, math.nan, "0.1", np.float32(0.1), [0.1], 1j])
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("L1", "l1"),
        ("L2", "l2"),
        ("L1L2", "l1"),
        ("L1L2", "l2"),
        ("OrthogonalRegularizer", "factor"),
    ],
)
def test_refused_factors(name, argument, factor):
    for module in (regularizers, keras.regularizers):
        with pytest.raises(ValueError):
            getattr(module, name)(**{argument: factor})


def test_refused_orthogonal_regularizers():
    for module in (regularizers, keras.regularizers):
        with pytest.raises(ValueError):
            module.OrthogonalRegularizer(mode="diagonals")
        with pytest.raises(ValueError):
            module.OrthogonalRegularizer(factor=None)
        with pytest.raises(ValueError):
            module.OrthogonalRegularizer()(torch.ones(2, 3, 4))


def test_the_base_regularizers():
    x = torch.ones(2)
    assert float(regularizers.Regularizer()(x)) == keras.regularizers.Regularizer()(x) == 0.0
    for module in (regularizers, keras.regularizers):
        with pytest.raises(NotImplementedError):
            module.Regularizer().get_config()


# Constraints.

CONSTRAINTS = [
    ("Constraint", {}),
    ("NonNeg", {}),
    *(("UnitNorm", {"axis": axis}) for axis in (0, -1, [0, 1, 2], (0, 2), None, [], ())),
    *(("MaxNorm", {"axis": axis}) for axis in (0, -1, [0, 1, 2], (0, 2), None, [], ())),
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 0.5}),
    ("MaxNorm", {"max_value": np.float32(0.5)}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 2, "rate": 0.3, "axis": [0, 1, 2]}),
    ("MinMaxNorm", {"min_value": 3.0, "max_value": 4.0, "axis": None}),
]


@pytest.mark.parametrize("dtype", ALL_FLOATS, ids=str)
@pytest.mark.parametrize(("name", "arguments"), CONSTRAINTS, ids=str)
def test_constraints(name, arguments, dtype):
    ours = getattr(constraints, name)(**arguments)
    theirs = getattr(keras.constraints, name)(**arguments)
    w = torch.randn(3, 5, 4, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    w[:, 0] = 0
    before = w.clone()
    mine, other = ours(w), theirs(w)
    assert_same(w, before)
    assert mine.dtype is dtype
    if name == "NonNeg":
        other = other.to(dtype)  # Keras makes float64 float32, and rounds on the way
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=0)
    elif name == "MinMaxNorm" and arguments.get("axis", 0) is None and dtype.itemsize == 2:
        # Keras keeps this one norm in float32.
        torch.testing.assert_close(mine, other, rtol=2 * torch.finfo(dtype).eps, atol=0)
    else:
        assert_same(mine, other)
    written = keras.constraints.serialize(theirs)
    assert constraints.serialize(ours) == written
    assert constraints.serialize(constraints.deserialize(written)) == written


def test_nonneg_of_what_is_not_finite():
    w = torch.tensor([-0.0, 0.0, -1.0, math.nan, -math.inf, math.inf])
    assert_same(constraints.NonNeg()(w), keras.constraints.NonNeg()(w))


def test_epsilon_is_read_at_the_call():
    w = torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    ours, theirs = constraints.UnitNorm(), keras.constraints.UnitNorm()
    keras.config.set_epsilon(0.5)
    config.set_epsilon(0.5)
    try:
        assert_same(ours(w), theirs(w))
        assert float(ours(w)[0, 0]) == pytest.approx(3 / 5.5)
    finally:
        keras.config.set_epsilon(1e-7)
        config.set_epsilon(1e-7)
