"""Regularizers against sums written out in plain Python."""

import math

import numpy as np
import pytest
import torch

from kerastorch import regularizers

X = [[1.0, -2.0, 0.5], [0.0, 3.0, -4.0]]
SIZES, SQUARES = 10.5, 30.25
FLOAT32_HUNDREDTH = 0.009999999776482582

# class, arguments, the penalty on X, the config
CASES = [
    ("L1", {}, 0.01 * SIZES, {"l1": FLOAT32_HUNDREDTH}),
    ("L1", {"l1": None}, 0.01 * SIZES, {"l1": FLOAT32_HUNDREDTH}),
    ("L1", {"l1": 0.5}, 0.5 * SIZES, {"l1": 0.5}),
    ("L1", {"l1": True}, SIZES, {"l1": 1.0}),
    ("L2", {}, 0.01 * SQUARES, {"l2": 0.01}),
    ("L2", {"l2": None}, 0.01 * SQUARES, {"l2": 0.01}),
    ("L2", {"l2": np.float64(0.3)}, 0.3 * SQUARES, {"l2": 0.3}),
    ("L2", {"l2": 2}, 2 * SQUARES, {"l2": 2.0}),
    ("L1L2", {}, 0.0, {"l1": 0.0, "l2": 0.0}),
    ("L1L2", {"l1": None, "l2": None}, 0.0, {"l1": 0.0, "l2": 0.0}),
    ("L1L2", {"l1": 0.01}, 0.01 * SIZES, {"l1": 0.01, "l2": 0.0}),
    ("L1L2", {"l2": 0.01}, 0.01 * SQUARES, {"l1": 0.0, "l2": 0.01}),
    ("L1L2", {"l1": 0.5, "l2": 2}, 0.5 * SIZES + 2 * SQUARES, {"l1": 0.5, "l2": 2.0}),
]


@pytest.mark.parametrize(("name", "arguments", "penalty", "written"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_penalties(name, arguments, penalty, written, dtype):
    regularizer = getattr(regularizers, name)(**arguments)
    x = torch.tensor(X, dtype=dtype)
    found = regularizer(x)
    assert found.dtype is dtype and found.shape == ()
    assert float(found) == pytest.approx(penalty, rel=max(4 * torch.finfo(dtype).eps, 1e-7))
    assert regularizer.get_config() == written
    again = type(regularizer).from_config(regularizer.get_config())
    assert torch.equal(again(x), found)


@pytest.mark.parametrize(("name", "arguments", "penalty", "written"), CASES)
def test_gradients(name, arguments, penalty, written):
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    found = getattr(regularizers, name)(**arguments)(x)
    l1, l2 = written.get("l1", 0), written.get("l2", 0)
    if not l1 and not l2:
        assert not found.requires_grad
        return
    (gradient,) = torch.autograd.grad(found, x)
    expected = [[l1 * (n > 0) - l1 * (n < 0) + 2 * l2 * n for n in row] for row in X]
    torch.testing.assert_close(gradient, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", ["L1", "L2"])
def test_the_sum_of_a_transposed_view_is_the_same(name):
    weight = torch.randn(8, 4, 3, 5).contiguous(memory_format=torch.channels_last)
    kernel = weight.permute(2, 3, 1, 0)  # (h, w, in, out)
    regularizer = getattr(regularizers, name)(0.1)
    torch.testing.assert_close(regularizer(kernel), regularizer(kernel.contiguous()))


def orthogonal(rows):
    """Return the mean of the sizes of the cosines of all pairs of rows."""
    cosines = [
        abs(sum(a * b for a, b in zip(first, second, strict=True)))
        / math.hypot(*first)
        / math.hypot(*second)
        for i, first in enumerate(rows)
        for second in rows[:i]
    ]
    return sum(cosines) / len(cosines)


def test_orthogonal_regularizer():
    columns = [list(column) for column in zip(*X, strict=True)]
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    for mode, vectors in (("rows", X), ("columns", columns)):
        regularizer = regularizers.OrthogonalRegularizer(0.5, mode)
        assert regularizer(x).item() == pytest.approx(0.5 * orthogonal(vectors))
        assert torch.autograd.gradcheck(regularizer, (x,))
        assert regularizer.get_config() == {"factor": 0.5, "mode": mode}
    identity = torch.eye(3, dtype=torch.float64)
    assert float(regularizers.OrthogonalRegularizer()(identity)) == 0
    written = regularizers.OrthogonalRegularizer().get_config()
    assert written == {"factor": FLOAT32_HUNDREDTH, "mode": "rows"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_orthogonal_regularizer_of_half_precision_is_float32(dtype):
    x = torch.tensor([*X, [0.0, 0.0, 0.0]], dtype=dtype)
    found = regularizers.OrthogonalRegularizer(1.0)(x)
    assert found.dtype is torch.float32
    assert float(found) == pytest.approx(orthogonal(X) / 3, rel=0.02)


# Keras takes a Python number, or what is a kind of one, and no other.
REFUSED = [-0.5, -1, math.inf, -math.inf, math.nan, "0.1", np.float32(0.1), np.int64(1), [0.1]]


@pytest.mark.parametrize("factor", REFUSED)
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
    with pytest.raises(ValueError) as error:
        getattr(regularizers, name)(**{argument: factor})
    assert str(error.value) == (
        f"{name}: `{argument}` must be a finite number >= 0. Received: {argument}={factor!r}."
    )


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (
            lambda: regularizers.OrthogonalRegularizer(mode="diagonal"),
            "OrthogonalRegularizer: `mode` must be 'rows' or 'columns'. Received: mode='diagonal'.",
        ),
        (
            lambda: regularizers.OrthogonalRegularizer(None),
            "OrthogonalRegularizer: `factor` must be a finite number >= 0. Received: factor=None.",
        ),
        (
            lambda: regularizers.OrthogonalRegularizer()(torch.ones(2, 3, 4)),
            "OrthogonalRegularizer: `inputs` must be of rank 2. Received: inputs=(2, 3, 4).",
        ),
    ],
)
def test_messages(attempt, message):
    with pytest.raises(ValueError) as error:
        attempt()
    assert str(error.value) == message


def test_the_base():
    base = regularizers.Regularizer()
    assert torch.equal(base(torch.ones(2, 3, dtype=torch.float64)), torch.tensor(0.0).double())
    with pytest.raises(NotImplementedError, match=r"^Regularizer does not have `get_config`\.$"):
        base.get_config()
