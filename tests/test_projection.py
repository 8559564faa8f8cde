"""Constraints in place beside the pure ones."""

import pytest
import torch

from kerastorch import constraints
from kerastorch._layout import kernel_view
from kerastorch._projection import in_place

AXES = {"None": None, "0": 0, "-1": -1, "none of them": (), "filters": [0, 1, 2], "two": (0, 2)}
WITH_AXIS = {
    "MaxNorm": lambda axis: constraints.MaxNorm(0.7, axis),
    "MinMaxNorm": lambda axis: constraints.MinMaxNorm(0.5, 0.8, 0.3, axis),
    "UnitNorm": lambda axis: constraints.UnitNorm(axis),
}


def weight(*shape, dtype=torch.float32):
    return kernel_view(torch.randn(shape, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("axis", AXES.values(), ids=AXES)
@pytest.mark.parametrize("make", WITH_AXIS.values(), ids=WITH_AXIS)
def test_the_same_as_the_pure_one(make, axis, dtype):
    w = weight(4, 3, 2, 5, dtype=dtype)
    constraint = make(axis)
    expected = constraint(w)
    assert not torch.equal(expected, w)
    assert in_place(constraint)(w).data_ptr() == w.data_ptr()
    close = {"rtol": 1e-6, "atol": 0} if dtype is torch.float32 else {"rtol": 1e-14, "atol": 0}
    torch.testing.assert_close(w, expected, **close)


def test_non_negative():
    w = weight(4, 3, 2, 5)
    expected = constraints.NonNeg()(w)
    in_place(constraints.NonNeg())(w)
    torch.testing.assert_close(w, expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [8192, 8193, 300_000])
def test_the_norm_of_many_numbers_is_as_exact(size):
    w = torch.rand(size, 2)
    exact = w.double() / (1e-7 + torch.linalg.vector_norm(w.double(), dim=0))
    in_place(constraints.UnitNorm())(w)
    torch.testing.assert_close(w.double(), exact, rtol=1e-6, atol=0)


def test_a_class_of_the_users_own_is_left_to_it():
    class Halved(constraints.MaxNorm):
        def __call__(self, w):
            return w / 2

    assert in_place(Halved()) is None
    assert in_place(torch.abs) is None
