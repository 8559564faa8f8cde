"""What the tests of these namespaces compare with."""

import warnings

import pytest
import torch

from kerastorch import activations, constraints, initializers, regularizers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")
    from keras.src.activations import ALL_OBJECTS_DICT as ACTIVATION_NAMES
    from keras.src.constraints import ALL_OBJECTS_DICT as CONSTRAINT_NAMES
    from keras.src.initializers import ALL_OBJECTS_DICT as INITIALIZER_NAMES
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


def values_and_gradient(function, x):
    """Return `function(x)` and the gradient of a weighted sum of it."""
    x = x.clone().requires_grad_()
    y = function(x)
    weights = torch.linspace(0.3, 1.7, y.numel(), dtype=torch.float64).to(y.dtype)
    (gradient,) = torch.autograd.grad(y, x, weights.reshape(y.shape))
    return y.detach(), gradient
