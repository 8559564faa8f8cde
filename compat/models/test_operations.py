"""The operations between the layers of a Functional model, beside Keras's and TensorFlow's own."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from keras import activations, ops

from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config

TENSORFLOW = json.loads(
    (Path(__file__).parents[1] / "golden" / "operations_tf_keras.json").read_text()
)
WIDE = {"float64": "float32", "int64": "int32"}  # Keras makes 64-bit numbers 32-bit in places

UNARY = (
    *("absolute", "negative", "square", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p"),
    *("tanh", "sin", "cos", "sign", "floor", "ceil", "round", "reciprocal", "logical_not", "erf"),
)
BINARY = (
    *("add", "subtract", "multiply", "divide", "true_divide", "floor_divide", "mod", "power"),
    *("maximum", "minimum", "greater", "greater_equal", "less", "less_equal", "equal"),
    *("not_equal", "logical_and", "logical_or", "logical_xor"),
)
REDUCTIONS = (
    *("mean", "sum", "max", "min", "prod", "amax", "amin", "any", "all", "argmax", "argmin"),
    *("var", "std"),
)
ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_tanh"),
    *("leaky_relu", "log_sigmoid", "log_softmax", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid"),
    *("squareplus", "tanh", "tanh_shrink"),
)
X, Y = (3, 4, 6), (3, 1, 6)
SHAPES = {
    "reshape": lambda x: ops.reshape(x, (-1, 2, 12)),
    "reshape_int": lambda x: ops.reshape(x, -1),
    "transpose": lambda x: ops.transpose(x, (0, 2, 1)),
    "transpose_all": lambda x: ops.transpose(x),
    "swapaxes": lambda x: ops.swapaxes(x, 1, -1),
    "concatenate": lambda x: ops.concatenate([x, x * 2.0], axis=1),
    "stack": lambda x: ops.stack([x, x], axis=2),
    "expand_dims": lambda x: ops.expand_dims(x, 1),
    "expand_last": lambda x: ops.expand_dims(x, -1),
    "squeeze": lambda x: ops.squeeze(ops.expand_dims(x, 1), 1),
    "squeeze_all": lambda x: ops.squeeze(ops.expand_dims(x, -2)),
    "ravel": lambda x: ops.ravel(x),
    "flip": lambda x: ops.flip(x, 1),
    "flip_all": lambda x: ops.flip(x),
    "stop_gradient": lambda x: ops.stop_gradient(x),
    "item_int": lambda x: x[:, 1],
    "item_last": lambda x: x[..., -1],
    "item_new": lambda x: x[:, None, ::2, 1:3],
    "item_first": lambda x: x[0],
    "split": lambda x: ops.split(x, 3, axis=-1)[1],
    "split_two": lambda x: ops.multiply(*ops.split(x, 2, axis=-1)),
    "split_at": lambda x: ops.split(x, [1, 3], axis=1)[2],
    "matmul": lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))),
    "matmul_operator": lambda x: x @ ops.swapaxes(x, 1, 2),
    "normalize": lambda x: ops.normalize(x),
    "normalize_axes": lambda x: ops.normalize(x, axis=1, epsilon=0.5),
    "softmax": lambda x: ops.softmax(x, axis=1),
    "gelu": lambda x: ops.gelu(x),
    "hard_silu": lambda x: ops.hard_silu(x),
    "relu_all": lambda x: activations.relu(x, 0.1, 1.5, 0.5),
    "relu_leaky": lambda x: activations.relu(x, negative_slope=0.2),
    "relu_six": lambda x: activations.relu(x, max_value=6.0),
    "threshold": lambda x: activations.threshold(x, 0.5, 0.1),
    "constant": lambda x: x + np.arange(6, dtype="float32"),
    "constant_wide": lambda x: x * np.linspace(0.0, 1.0, 6),
    "constant_list": lambda x: ops.add(x, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    "round": lambda x: ops.round(x, 1),
    "sum_operator": lambda x: -(abs(x) ** 2) / 3 + 1 - x // 2 % 3,
    "scalar": lambda x: ops.mean(x) * 2 + x,
    "zeros_like": lambda x: ops.zeros_like(x, dtype="bool"),
    "ones_like": lambda x: ops.ones_like(x),
    "masked": lambda x: ops.where(x > 0, x, 0.5),
    "greater": lambda x: ops.cast(x >= 0.5, "float32") * x,
    "max_keep": lambda x: x - ops.max(x, axis=-1, keepdims=True),
    "mean_axes": lambda x: ops.mean(x, axis=(1, 2), keepdims=True),
    "sum_axes": lambda x: ops.sum(x, axis=[1, 2]),
    "prod_axes": lambda x: ops.prod(x, axis=(1, 2), keepdims=True),
    "var_keep": lambda x: ops.var(x, axis=1, keepdims=True),
    "mean_all_kept": lambda x: ops.mean(x, keepdims=True),
    "max_axes": lambda x: ops.amax(x, axis=(0, 2)),
}


def values(shape, dtype, seed=0):
    drawn = np.random.default_rng(seed).normal(size=shape) * 2
    if dtype == "bool":
        return torch.tensor(drawn > 0)
    return torch.tensor(np.abs(drawn) if dtype == "uint8" else drawn).to(getattr(torch, dtype))


def keras_model(function, *dtypes):
    inputs = [
        keras.Input(shape[1:], dtype=dtype, name=f"in{number}")
        for number, (shape, dtype) in enumerate(zip((X, Y), dtypes, strict=False))
    ]
    return keras.Model(inputs, function(*inputs))


def rebuilt(model):
    return build_model(parse_model_config(json.loads(model.to_json()), "config.json"))


def require_same(function, *dtypes):
    """Compare values, types and shapes wherever Keras on torch computes something."""
    given = [values(s, d, n) for n, (s, d) in enumerate(zip((X, Y), dtypes, strict=False))]
    try:
        model = keras_model(function, *dtypes)
        expected = model(given)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        pytest.skip("Keras on torch refuses it")
    ours = rebuilt(model)
    found = ours(given)
    name, wanted = (str(t.dtype).removeprefix("torch.") for t in (found, expected))
    assert wanted in (name, WIDE.get(name))
    if wanted == name:
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    shapes = [tuple(x.shape) for x in given]
    assert ours.compute_output_shape(shapes) == tuple(expected.shape)
    symbolic = ours.compute_output_shape([(None, *shape[1:]) for shape in shapes])
    assert len(symbolic) == expected.ndim
    assert all(n in (None, size) for n, size in zip(symbolic, expected.shape, strict=True))


def require_each(functions, *dtypes):
    for function in functions:
        with suppress(pytest.skip.Exception):
            require_same(function, *dtypes)


MANY = ("float16", "bfloat16", "float64", "int64", "uint8")
DTYPES = ("float32", "int32", "bool", *(pytest.param(d, marks=pytest.mark.sweep) for d in MANY))
PAIRS = [
    ("float32", "float32"),
    ("float32", "int32"),
    ("bool", "float32"),
    *(
        pytest.param(pair, marks=pytest.mark.sweep)
        for pair in (
            *(("int32", "int32"), ("bool", "bool"), ("int32", "bool"), ("uint8", "int32")),
            *(("float16", "float16"), ("float16", "float32"), ("bfloat16", "float16")),
            *(("float64", "float64"), ("int64", "int64"), ("int32", "float32")),
        )
    ),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    require_same(getattr(ops, name), dtype)


@pytest.mark.parametrize("dtypes", PAIRS, ids="-".join)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, dtypes):
    require_same(getattr(ops, name), *dtypes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_with_a_number(name, dtype):
    function = getattr(ops, name)
    after = [partial(lambda n, x: function(x, n), number) for number in (2, 2.5, True, -3)]
    before = [partial(lambda n, x: function(n, x), number) for number in (2, 2.5)]
    require_each(after + before, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, dtype):
    arguments = ({}, {"axis": 1}, {"axis": -1, "keepdims": True})
    require_each([partial(getattr(ops, name), **one) for one in arguments], dtype)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", *DTYPES[3:6]])
def test_activations(name, dtype):
    require_same(getattr(activations, name), dtype)


@pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")  # Keras's own
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_others(name):
    require_same(SHAPES[name], "float32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_cast_and_where(dtype):
    clipped = [partial(ops.clip, x_min=0, x_max=1), partial(ops.clip, x_min=-0.5, x_max=0.5)]
    chosen = [partial(lambda n, x: ops.where(x, x, n), number) for number in (1, 0.5, True)]
    cast = [partial(ops.cast, dtype=other) for other in ("float32", "float16", "int32", "bool")]
    require_each(clipped + chosen + cast, dtype)
    require_same(lambda x, y: ops.where(x, x, y), dtype, "int32")


@pytest.mark.parametrize("name", ["maximum", "normalize", "where", "max", "clip", "power"])
def test_gradients(name):
    functions = {
        "maximum": lambda x: ops.maximum(x, 0.5),
        "normalize": lambda x: ops.normalize(x),
        "where": lambda x: ops.where(x > 0, x, x * 2.0),
        "max": lambda x: ops.max(x, axis=1),
        "clip": lambda x: ops.clip(x, -1.0, 1.0),
        "power": lambda x: abs(x) ** 1.5,
    }
    model = keras_model(functions[name], "float32")
    ours = rebuilt(model)
    gradients = []
    for one in (model, ours):
        x = values(X, "float32").requires_grad_()
        weights = torch.arange(one(x).numel(), dtype=torch.float32)
        (one(x).flatten() * weights).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", TENSORFLOW["cases"], ids=lambda case: case["name"])
def test_tensorflow(case):
    model = build_model(parse_model_config(case["config"], "config.json"))
    given = [
        torch.tensor(TENSORFLOW["inputs"][name]) for name in ("a", "b") if name in model.layers
    ]
    expected = torch.tensor(case["outputs"])
    found = model(given)
    assert found.dtype is (torch.int32 if case["name"] == "cast_integer" else torch.float32)
    torch.testing.assert_close(found.to(expected.dtype), expected, rtol=2e-6, atol=2e-6)
    assert model.compute_output_shape([tuple(x.shape) for x in given]) == tuple(expected.shape)
