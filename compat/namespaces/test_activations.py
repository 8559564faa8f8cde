"""Activations, their configs, and functions of a user's own, compared with Keras."""

import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch

from compat.namespaces.comparing import (
    ACTIVATION_NAMES,
    ALL_FLOATS,
    VOCABULARIES,
    assert_same,
    values_and_gradient,
)
from kerastorch import activations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

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
