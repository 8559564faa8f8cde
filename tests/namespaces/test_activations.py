"""Activations against formulas written out in plain Python."""

import math

import pytest
import torch
import torch.nn.functional as F

from kerastorch import activations
from kerastorch._ops import inplace_activations
from kerastorch.activations.serialization import ACTIVATIONS

NAMES = sorted(set(ACTIVATIONS.table) - {"swish", "hard_swish"})
ALONG_AN_AXIS = ("softmax", "log_softmax", "glu", "sparsemax")


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def softplus(x):
    return math.log1p(math.exp(x))


def held(x, low, high):
    return min(max(x, low), high)


# name, arguments, formula of one number
FORMULAS = [
    ("relu", {}, lambda x: max(x, 0)),
    ("relu", {"negative_slope": 0.1}, lambda x: x if x > 0 else 0.1 * x),
    ("relu", {"max_value": 6}, lambda x: held(x, 0, 6)),
    ("relu", {"max_value": 2.5}, lambda x: held(x, 0, 2.5)),
    ("relu", {"threshold": 1.5}, lambda x: x if x > 1.5 else 0),
    ("relu", {"threshold": -1.5}, lambda x: x if x > -1.5 else 0),
    (
        "relu",
        {"threshold": 1.0, "max_value": 2.0, "negative_slope": 0.1},
        lambda x: min(x, 2) if x > 1 else 0.1 * (x - 1),
    ),
    ("relu", {"max_value": 6, "negative_slope": 0.1}, lambda x: min(x, 6) if x > 0 else 0.1 * x),
    ("leaky_relu", {}, lambda x: x if x > 0 else 0.2 * x),
    ("relu6", {}, lambda x: held(x, 0, 6)),
    ("elu", {}, lambda x: x if x > 0 else math.expm1(x)),
    ("elu", {"alpha": 0.3}, lambda x: x if x > 0 else 0.3 * math.expm1(x)),
    (
        "selu",
        {},
        lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    ),
    ("celu", {}, lambda x: x if x > 0 else math.expm1(x)),
    ("celu", {"alpha": 0.3}, lambda x: x if x > 0 else 0.3 * math.expm1(x / 0.3)),
    ("gelu", {}, lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    (
        "gelu",
        {"approximate": True},
        lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    ("silu", {}, lambda x: x * sigmoid(x)),
    ("mish", {}, lambda x: x * math.tanh(softplus(x))),
    ("hard_silu", {}, lambda x: x * held(x + 3, 0, 6) / 6),
    ("sigmoid", {}, sigmoid),
    ("hard_sigmoid", {}, lambda x: held(x + 3, 0, 6) / 6),
    ("hard_sigmoid_keras2", {}, lambda x: held(0.2 * x + 0.5, 0, 1)),
    ("sparse_sigmoid", {}, lambda x: held((x + 1) / 2, 0, 1)),
    ("log_sigmoid", {}, lambda x: -softplus(-x)),
    ("tanh", {}, math.tanh),
    ("hard_tanh", {}, lambda x: held(x, -1, 1)),
    ("tanh_shrink", {}, lambda x: x - math.tanh(x)),
    ("soft_shrink", {}, lambda x: math.copysign(max(abs(x) - 0.5, 0), x)),
    ("soft_shrink", {"threshold": 1.0}, lambda x: math.copysign(max(abs(x) - 1, 0), x)),
    ("hard_shrink", {}, lambda x: x if abs(x) > 0.5 else 0),
    ("hard_shrink", {"threshold": 1.0}, lambda x: x if abs(x) > 1 else 0),
    ("threshold", {"threshold": 1.0, "default_value": -7.0}, lambda x: x if x > 1 else -7),
    ("softplus", {}, softplus),
    ("sparse_plus", {}, lambda x: 0 if x <= -1 else x if x >= 1 else (x + 1) ** 2 / 4),
    ("squareplus", {}, lambda x: (x + math.sqrt(x * x + 4)) / 2),
    ("squareplus", {"b": 0.5}, lambda x: (x + math.sqrt(x * x + 0.5)) / 2),
    ("softsign", {}, lambda x: x / (abs(x) + 1)),
    ("exponential", {}, math.exp),
    ("linear", {}, lambda x: x),
]


def grid(dtype=torch.float64):
    """Return points with the kinks and the places around them, in the shape (2, 3, 8)."""
    kinks = [-6, -3, -1.5, -1, -0.5, -0.0, 0, 0.5, 1, 1.5, 2, 2.5, 3, 6]
    more = [-19.5, -7.25, -2.1, -0.7, 0.3, 0.9, 1.1, 2.7, 5.5, 8.125, 17.0]
    return (
        torch.tensor([*kinks, *more, *[k + 0.01 for k in kinks], *more[:9]])
        .to(dtype)
        .reshape(2, 3, 8)
    )


def test_every_elementwise_function_has_a_formula():
    assert {name for name, _, _ in FORMULAS} | set(ALONG_AN_AXIS) == set(NAMES)
    assert len(NAMES) == 31


@pytest.mark.parametrize(("name", "arguments", "formula"), FORMULAS)
def test_formulas(name, arguments, formula):
    x = grid()
    expected = torch.tensor(
        [float(formula(n)) for n in x.flatten().tolist()], dtype=torch.float64
    ).reshape(x.shape)
    y = getattr(activations, name)(x, **arguments)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-9)  # softplus ends at 20


@pytest.mark.parametrize(("name", "arguments", "formula"), FORMULAS)
def test_gradients_are_the_slopes(name, arguments, formula):
    smooth = [n for n in grid().flatten().tolist() if abs(n * 2 - round(n * 2)) > 0.015]
    x = torch.tensor(smooth, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(getattr(activations, name)(x, **arguments).sum(), x)
    step = 1e-6
    slopes = [(formula(n + step) - formula(n - step)) / (2 * step) for n in smooth]
    torch.testing.assert_close(
        gradient, torch.tensor(slopes, dtype=torch.float64), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_type_stays(name):
    arguments = (0.5, 0.1) if name == "threshold" else ()
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert getattr(activations, name)(grid(dtype), *arguments).dtype is dtype


# The numbers are those of Keras 3.15.1 on TensorFlow; it refuses the last two, which are converted.
@pytest.mark.parametrize(
    ("dtype", "arguments", "expected"),
    [
        ("int32", {"max_value": 2.5}, [0, 0, 0, 2, 2, 2]),
        ("int8", {"threshold": 2.5}, [0, 0, 0, 0, 3, 7]),
        ("uint8", {"threshold": 2.5, "max_value": 6.9}, [0, 0, 0, 0, 3, 6]),
        ("int16", {"negative_slope": 2, "max_value": 6}, [-10, -2, 0, 2, 3, 6]),
        ("int16", {"negative_slope": 2, "threshold": 1}, [-12, -4, -2, 2, 3, 7]),
        ("int32", {"negative_slope": 0.5, "threshold": 2.5}, [-3.75, -1.75, -1.25, -0.25, 3, 7]),
        ("int32", {"negative_slope": 2.0, "max_value": 2.5}, [-10, -2, 0, 2, 2.5, 2.5]),
    ],
)
def test_relu_of_integers(dtype, arguments, expected):
    x = torch.tensor([-5, -1, 0, 2, 3, 7])
    x = (x.clamp(0) if dtype == "uint8" else x).to(getattr(torch, dtype))
    y = activations.relu(x, **arguments)
    converted = isinstance(arguments.get("negative_slope"), float)
    assert y.dtype is (torch.float32 if converted else x.dtype)
    assert y.tolist() == expected


@pytest.mark.parametrize("argument", ["max_value", "threshold"])
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int32", math.inf),
        ("int64", 1e30),
        ("int64", 2**63),
        ("int16", math.nan),
        ("uint8", 256),
        ("uint8", -1.0),
        ("int8", 128.0),
    ],
)
def test_relu_refuses_a_limit_that_an_integer_type_does_not_hold(dtype, value, argument):
    x = torch.tensor([0, 3, 7], dtype=getattr(torch, dtype))
    with pytest.raises(ValueError) as caught:
        activations.relu(x, **{argument: value})
    rule = f"must be a number that torch.{dtype} holds. Received: {argument}={value!r}."
    assert str(caught.value) == f"relu: `{argument}` {rule}"


@pytest.mark.parametrize(
    "arguments", [{"threshold": 1}, {"max_value": 6}, {"max_value": 5}], ids=str
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_relu_converts_what_cannot_be_negated(dtype, arguments):
    x = torch.tensor([0, 3, 7]).to(dtype)
    y = activations.relu(x, negative_slope=1, **arguments)
    assert y.dtype is torch.float32
    assert torch.equal(y, activations.relu(x.float(), negative_slope=1, **arguments))


def test_relu_takes_no_complex_numbers():
    for arguments in ({}, {"threshold": 0.5}, {"negative_slope": 0.5, "max_value": 6}):
        with pytest.raises(RuntimeError, match=r"not supported|not implemented"):
            activations.relu(torch.ones(2, dtype=torch.complex64), **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_which_are_elementwise(name):
    function = activations.get(name)
    assert inplace_activations.is_elementwise(function) == (
        name not in (*ALONG_AN_AXIS, "threshold")
    )
    if name == "threshold":
        return
    x = grid().reshape(2, 4, 6)
    crossed = function(x.permute(2, 0, 1)).permute(1, 2, 0)
    same = crossed.shape == x.shape and torch.equal(crossed, function(x))
    assert inplace_activations.is_elementwise(function) == same


def mine(x):
    return F.relu(x)


class Unhashable:
    __hash__ = None

    def __call__(self, x):
        return x


@pytest.mark.parametrize("function", [mine, F.relu, torch.nn.ReLU(), Unhashable(), None, "relu"])
def test_what_is_foreign_is_never_elementwise(function):
    assert not inplace_activations.is_elementwise(function)
    assert inplace_activations.get_inplace_activation(function) is None


ALWAYS = ("relu", "relu6", "leaky_relu", "elu", "selu", "sigmoid", "tanh")
WITHOUT_GRADIENT = ("silu", "hard_silu", "mish")


def test_which_are_in_place():
    found = {
        name for name in NAMES if inplace_activations.get_inplace_activation(activations.get(name))
    }
    assert found == {*ALWAYS, *WITHOUT_GRADIENT}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", [*ALWAYS, *WITHOUT_GRADIENT])
def test_in_place_equals_plain(name, dtype):
    function = activations.get(name)
    in_place = inplace_activations.get_inplace_activation(function)
    points = grid(dtype)
    with torch.no_grad():
        x = points.clone()
        y = in_place(x)
        assert y.data_ptr() == x.data_ptr()
        torch.testing.assert_close(y, function(points), rtol=2 * torch.finfo(dtype).eps, atol=0)

    def gradient(f):
        x = points.clone().requires_grad_()
        y = x * 1.0  # fresh, as a convolution's output is
        z = f(y)
        assert (z.data_ptr() == y.data_ptr()) == (f is in_place and name in ALWAYS)
        (found,) = torch.autograd.grad(
            z, x, torch.linspace(-1, 2, x.numel()).to(x).reshape(x.shape)
        )
        return z.detach(), found

    torch.testing.assert_close(
        gradient(in_place), gradient(function), rtol=2e-6, atol=4 * torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("axis", [-1, 0, 1, None, (0, 1), (1, 0), (0, -1), (2,), (0, 1, 2)])
def test_softmax(axis):
    x = grid()
    axes = (0, 1, 2) if axis is None else axis
    expected = x.exp() / x.exp().sum(axes, keepdim=True)
    torch.testing.assert_close(activations.softmax(x, axis), expected)
    torch.testing.assert_close(activations.log_softmax(x, axis), expected.log())


def test_softmax_of_half_precision_is_rounded_once():
    x = grid(torch.float16)
    assert torch.equal(activations.softmax(x), torch.softmax(x.float(), -1).half())
    assert torch.equal(activations.log_softmax(x), torch.log_softmax(x.float(), -1).half())


def test_softmax_of_one_value_warns():
    with pytest.warns(UserWarning, match=r"axis -1 of shape \(2, 1\) has size 1") as warned:
        assert torch.equal(activations.softmax(torch.randn(2, 1)), torch.ones(2, 1))
    assert warned[0].filename == __file__


def test_glu():
    x = grid()
    expected = x[..., :4] * torch.sigmoid(x[..., 4:])
    torch.testing.assert_close(activations.glu(x), expected)
    torch.testing.assert_close(activations.glu(x, 0), x[:1] * torch.sigmoid(x[1:]))


@pytest.mark.parametrize(
    ("x", "expected"),
    [  # as Keras computes it; the published function gives 0.5 and 0.5 in the second
        ([2.0, 1.0, 0.5], [1, 0, 0]),
        ([1.0, 1.0], [0, 0]),
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 0, 0]),
        ([0.0, -1.0, 3.0], [0, 0, 1]),
        ([0.0, 0.9, -4.0], [0, 0.5, 0]),
    ],
)
def test_sparsemax(x, expected):
    x, expected = torch.tensor(x), torch.tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(activations.sparsemax(x), expected)
    stacked = torch.stack([x, x.flip(0)])
    torch.testing.assert_close(
        activations.sparsemax(stacked), torch.stack([expected, expected.flip(0)])
    )
    torch.testing.assert_close(
        activations.sparsemax(stacked.T, axis=0), activations.sparsemax(stacked).T
    )
