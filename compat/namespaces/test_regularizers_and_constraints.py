"""Regularizers and constraints compared with Keras."""

import math
import warnings

import numpy as np
import pytest
import torch

from compat.namespaces.comparing import ALL_FLOATS, assert_same, values_and_gradient
from kerastorch import config, constraints, regularizers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

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
