"""Constraints in place beside the pure ones."""

import pytest
import torch

from kerastorch import constraints
from kerastorch._core.layout import empty_weight, weight_to_kernel
from kerastorch._ops import inplace_constraints as inplace_constraints_module
from kerastorch._ops.inplace_constraints import get_inplace_constraint

AXES = {"None": None, "0": 0, "-1": -1, "none of them": (), "filters": [0, 1, 2], "two": (0, 2)}
WITH_AXIS = {
    "MaxNorm": lambda axis: constraints.MaxNorm(0.7, axis),
    "MinMaxNorm": lambda axis: constraints.MinMaxNorm(0.5, 0.8, 0.3, axis),
    "UnitNorm": lambda axis: constraints.UnitNorm(axis),
}
LAYOUTS = {"channels_last": empty_weight, "contiguous": torch.empty}
CLOSE = {torch.float32: {"rtol": 1e-6, "atol": 0}, torch.float64: {"rtol": 1e-14, "atol": 0}}


def weight(*shape, dtype=torch.float32, empty=torch.empty):
    return weight_to_kernel(empty(shape, dtype=dtype).normal_())


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("axis", AXES.values(), ids=AXES)
@pytest.mark.parametrize("make", WITH_AXIS.values(), ids=WITH_AXIS)
def test_the_same_as_the_pure_one(make, axis, dtype):
    w = weight(4, 3, 2, 5, dtype=dtype)
    constraint = make(axis)
    expected = constraint(w)
    assert not torch.equal(expected, w)
    assert get_inplace_constraint(constraint)(w).data_ptr() == w.data_ptr()
    torch.testing.assert_close(w, expected, **CLOSE[dtype])


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("empty", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("axis", AXES.values(), ids=AXES)
@pytest.mark.parametrize("make", WITH_AXIS.values(), ids=WITH_AXIS)
def test_in_parts_the_same_as_at_once_in_double_precision(
    monkeypatch, one_thread, make, axis, empty, dtype
):
    monkeypatch.setattr(inplace_constraints_module, "_MOST_IN_A_CACHE", 70)
    w = weight(7, 3, 2, 5, dtype=dtype, empty=empty)
    assert (len(inplace_constraints_module._split(w, axis)) > 1) == (axis is not None)
    constraint = make(axis)
    expected = constraint(w.double())
    get_inplace_constraint(constraint)(w)
    torch.testing.assert_close(w.double(), expected, **CLOSE[dtype])


@pytest.mark.parametrize("empty", LAYOUTS.values(), ids=LAYOUTS)
def test_a_kernel_that_no_cache_holds(one_thread, empty):
    w = weight(96, 70, 5, 9, empty=empty)
    sizes = [part.shape[-1] for part in inplace_constraints_module._split(w, [0, 1, 2])]
    assert sizes == [83, 13]
    constraint = constraints.MaxNorm(50, [0, 1, 2])
    expected = constraint(w.double())
    get_inplace_constraint(constraint)(w)
    torch.testing.assert_close(w.double(), expected, **CLOSE[torch.float32])


def test_one_norm_of_all_is_one_part(one_thread):
    w = torch.ones(1000, 300)
    for axis in (None, (0, 1), [-1, -2]):
        (part,) = inplace_constraints_module._split(w, axis)
        assert part is w


@pytest.mark.parametrize("shape", [(2, 3), (1000, 300)], ids=["small", "large"])
@pytest.mark.parametrize("axis", [2, -3, (0, 1, 2)], ids=str)
def test_an_axis_that_is_not_there_is_an_error(shape, axis):
    with pytest.raises(IndexError, match="out of range"):
        get_inplace_constraint(constraints.MaxNorm(2, axis))(torch.ones(shape))


def test_non_negative():
    w = weight(4, 3, 2, 5)
    expected = constraints.NonNeg()(w)
    get_inplace_constraint(constraints.NonNeg())(w)
    torch.testing.assert_close(w, expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [8192, 8193, 300_000])
def test_the_norm_of_many_numbers_is_as_exact(size):
    w = torch.rand(size, 2)
    exact = w.double() / (1e-7 + torch.linalg.vector_norm(w.double(), dim=0))
    get_inplace_constraint(constraints.UnitNorm())(w)
    torch.testing.assert_close(w.double(), exact, rtol=1e-6, atol=0)


def test_a_class_of_the_users_own_is_left_to_it():
    class Halved(constraints.MaxNorm):
        def __call__(self, w):
            return w / 2

    assert get_inplace_constraint(Halved()) is None
    assert get_inplace_constraint(torch.abs) is None
