"""Constraints against norms written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kerastorch import config, constraints

# axis -> the axes that a norm runs over, of a kernel of rank 4
AXES = {0: (0,), -1: (3,), (0, 1, 2): (0, 1, 2), None: (0, 1, 2, 3), (): ()}


def kernel(dtype=torch.float64):
    """Return a kernel (3, 5, 4, 8) with a channel of zeros and filters of unequal norms."""
    w = torch.randn(3, 5, 4, 8, dtype=dtype, generator=torch.Generator().manual_seed(0))
    w = w * torch.logspace(-2, 1, 8, dtype=dtype)
    w[:, :, 2, 1] = 0
    return w


def norms(w, axes):
    """Return the norms by NumPy, with the axes kept."""
    return np.sqrt((w.numpy() ** 2).sum(axis=tuple(axes), keepdims=True))


# name, arguments, the norm that is wanted for a norm
CASES = [
    ("MaxNorm", {}, lambda n: np.minimum(n, 2)),
    ("MaxNorm", {"max_value": 0.5}, lambda n: np.minimum(n, 0.5)),
    ("MinMaxNorm", {}, lambda n: np.minimum(n, 1)),
    (
        "MinMaxNorm",
        {"min_value": 0.5, "max_value": 2.0, "rate": 0.25},
        lambda n: 0.25 * np.clip(n, 0.5, 2) + 0.75 * n,
    ),
    ("UnitNorm", {}, np.ones_like),
]


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize(("name", "arguments", "wanted"), CASES)
def test_norms(name, arguments, wanted, axis):
    w = kernel()
    before = w.clone()
    given_axis = list(axis) if isinstance(axis, tuple) else axis
    projected = getattr(constraints, name)(**arguments, axis=given_axis)(w)
    assert torch.equal(w, before)
    lengths = norms(w, AXES[axis])
    expected = w.numpy() * wanted(lengths) / (lengths + 1e-7)
    torch.testing.assert_close(projected, torch.from_numpy(expected), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["MaxNorm", "MinMaxNorm", "UnitNorm"])
def test_the_axis_is_0_unless_given(name):
    w = kernel()
    constraint = getattr(constraints, name)
    assert torch.equal(constraint()(w), constraint(axis=0)(w))
    assert not torch.equal(constraint()(w), constraint(axis=1)(w))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["MaxNorm", "MinMaxNorm", "UnitNorm", "NonNeg", "Constraint"])
def test_the_type_stays(name, dtype):
    w = kernel().to(dtype)
    assert getattr(constraints, name)()(w).dtype is dtype


def test_nonneg():
    w = torch.tensor([-2.0, -0.0, 0.0, 3.0, math.inf, -math.inf, math.nan], dtype=torch.float64)
    found = constraints.NonNeg()(w)
    expected = torch.tensor([0.0, 0, 0, 3, math.inf, 0, math.nan], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert float(w[0]) == -2


def test_the_base_does_nothing():
    w = kernel()
    assert constraints.Constraint()(w) is w
    assert constraints.Constraint().get_config() == {}


def test_epsilon_is_read_at_the_call():
    unit = constraints.UnitNorm()
    w = torch.tensor([3.0, 4.0])
    config.set_epsilon(0.5)
    try:
        torch.testing.assert_close(unit(w), w / 5.5)
    finally:
        config.set_epsilon(1e-7)
    torch.testing.assert_close(unit(w), w / 5)


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6),
    largest=st.floats(0.01, 10),
    axis=st.sampled_from([0, 1, None, (0, 1)]),
)
def test_max_norm_is_a_limit_and_lets_the_rest_be(values, largest, axis):
    w = torch.tensor(values, dtype=torch.float64).reshape(2, 3)
    projected = constraints.MaxNorm(largest, axis)(w)
    axes = (0, 1) if axis is None else axis
    before = torch.linalg.vector_norm(w, dim=axes, keepdim=True)
    after = torch.linalg.vector_norm(projected, dim=axes, keepdim=True)
    assert bool((after <= largest * (1 + 1e-9)).all())
    within = (before <= largest).expand_as(w)
    torch.testing.assert_close(projected[within], w[within], rtol=0, atol=1.1e-7)


def test_a_numpy_scalar_is_written_as_a_number():
    written = constraints.serialize(constraints.MaxNorm(np.float32(0.1), np.int64(1)))
    assert written["config"] == {"max_value": float(np.float32(0.1)), "axis": 1}
    assert type(written["config"]["max_value"]) is float
    assert type(written["config"]["axis"]) is int
