"""Operations between layers as plain PyTorch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from keras import activations, ops

from compat.models.test_operations import (
    ACTIVATIONS,
    BINARY,
    REDUCTIONS,
    SHAPES,
    TENSORFLOW,
    UNARY,
    keras_model,
    rebuilt,
)
from kerastorch.models.build import build_model
from kerastorch.plain.api import to_torch
from kerastorch.saving.configs.parse import parse_model_config

LOGICAL = ("logical_not", "logical_and", "logical_or", "logical_xor")


def require_written(function, *dtypes):
    """Write the model of a function, which compares the code with the model."""
    written = to_torch(rebuilt(keras_model(function, *dtypes)))
    assert not list(written.children())


@pytest.mark.parametrize("name", [name for name in UNARY if name not in LOGICAL])
def test_unary(name):
    require_written(getattr(ops, name), "float32")


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    function = getattr(ops, name)
    require_written(function, "float32", "float32")
    require_written(lambda x: function(x, 0.7), "float32")
    require_written(lambda x: function(0.7, x), "float32")


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("arguments", [{}, {"axis": 1}, {"axis": -1, "keepdims": True}], ids=str)
def test_reductions(name, arguments):
    require_written(partial(getattr(ops, name), **arguments), "float32")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    require_written(getattr(activations, name), "float32")


@pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")  # Keras's own
@pytest.mark.parametrize("name", [name for name in SHAPES if name != "constant_list"])
def test_shapes_and_others(name):
    require_written(SHAPES[name], "float32")


@pytest.mark.parametrize("case", TENSORFLOW["cases"], ids=lambda case: case["name"])
def test_tensorflow(case):
    model = build_model(parse_model_config(case["config"], "config.json"))
    written = to_torch(model)
    given = [
        torch.tensor(TENSORFLOW["inputs"][name]) for name in ("a", "b") if name in model.layers
    ]
    expected = torch.tensor(case["outputs"])
    found = written(*given)
    torch.testing.assert_close(found.to(expected.dtype), expected, rtol=2e-6, atol=2e-6)
