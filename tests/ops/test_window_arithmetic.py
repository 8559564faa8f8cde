"""Windows counted one by one against the formulas."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kerastorch._ops.window_arithmetic import compute_fixed_padding, output_size, same_padding

SIZES = st.integers(1, 40)
KERNELS = st.integers(1, 8)
STEPS = st.integers(1, 5)


def places(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Count the windows that lie within `size` elements."""
    starts = range(0, size, stride)
    return sum(start + (kernel - 1) * dilation < size for start in starts)


def wanted(size: int, stride: int) -> int:
    """Count the windows that "same" asks for: one for each `stride` elements begun."""
    return len(range(0, size, stride))


def enough(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Search the least padding that makes room for the windows that "same" asks for."""
    total = 0
    while places(size + total, kernel, stride, dilation) < wanted(size, stride):
        total += 1
    return total


@given(SIZES, KERNELS, STEPS, STEPS)
def test_same_padding_is_the_least_that_makes_room(size, kernel, stride, dilation):
    before, after = same_padding(size, kernel, stride, dilation)
    assert before + after == enough(size, kernel, stride, dilation)
    assert after - before in (0, 1)


@given(SIZES, KERNELS, STEPS, STEPS)
def test_same_output_size(size, kernel, stride, dilation):
    assert output_size(size, kernel, stride, dilation, "same") == wanted(size, stride)


@given(SIZES, KERNELS, STEPS, STEPS)
def test_valid_output_size(size, kernel, stride, dilation):
    found = output_size(size, kernel, stride, dilation, "valid")
    assert max(found, 0) == places(size, kernel, stride, dilation)


@given(st.lists(st.tuples(KERNELS, STEPS, STEPS), min_size=1, max_size=3))
def test_fixed_padding_is_what_same_needs_at_every_size(axes):
    kernels, strides, dilations = zip(*axes, strict=True)
    found = compute_fixed_padding("same", kernels, strides, dilations)
    each = [{same_padding(n, *axis) for n in range(1, 60)} for axis in axes]
    if found is not None:
        assert each == [{(n, n)} for n in found]
    elif max(strides) == 1:
        assert any(before != after for pads in each for before, after in pads)


@given(st.lists(st.tuples(KERNELS, STEPS), min_size=1, max_size=3))
def test_fixed_padding_is_found_wherever_stride_1_allows_it(axes):
    assume(all((kernel - 1) * dilation % 2 == 0 for kernel, dilation in axes))
    kernels, dilations = zip(*axes, strict=True)
    assert compute_fixed_padding("same", kernels, (1,) * len(axes), dilations) is not None


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("valid", (3, 2), (2, 1), (1, 4)), (0, 0)),
        (("same", (3, 5), (1, 1), (1, 1)), (1, 2)),
        (("same", (3,), (1,), (4,)), (4,)),
        (("same", (2, 3), (1, 1), (2, 1)), (1, 1)),
        (("same", (1, 1, 3), (1, 1, 1), (1, 1, 1)), (0, 0, 1)),
        (("same", (3, 4), (1, 1), (1, 1)), None),
        (("same", (3, 3), (1, 2), (1, 1)), None),
    ],
    ids=["valid", "odd", "dilated", "even-dilated", "3d", "even", "strided"],
)
def test_fixed_padding(arguments, expected):
    assert compute_fixed_padding(*arguments) == expected


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_an_unknown_size_stays_unknown(padding):
    assert output_size(None, 3, 2, 1, padding) is None


def test_an_empty_axis_has_no_place():
    assert output_size(0, 3, 2, 1, "same") == 0
    assert output_size(0, 1, 2, 1, "valid") == 0
    assert output_size(2, 3, 1, 1, "valid") == 0
    assert output_size(1, 3, 1, 1, "valid") < 0
