"""What each activation and each layer makes of integers and booleans, without Keras.

`compat/layers/test_golden.py` holds the same to what Keras computes on TensorFlow.
"""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import activations, config, layers
from kerastorch.activations.serialization import ACTIVATIONS
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import functional, layer, node, sequential, tensor

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
EACH_TYPE = pytest.mark.parametrize("dtype", [*INTEGERS, torch.bool], ids=str)
POLICIES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16}
EACH_POLICY = pytest.mark.parametrize("policy", POLICIES)
NAMES = sorted(set(ACTIVATIONS.table) - {"swish", "hard_swish", "threshold"})


def whole(dtype: torch.dtype, shape: tuple[int, ...] = (2, 4)) -> torch.Tensor:
    """Return small integers of a type, some negative where it is signed, or booleans."""
    numbers = torch.arange(math.prod(shape)) * 5 % 17
    if dtype is torch.bool:
        return (numbers % 3 == 0).reshape(shape)
    return (numbers - 8 if dtype.is_signed else numbers).to(dtype).reshape(shape)


def stays(name: str, dtype: torch.dtype) -> bool:
    """Return whether an activation gives the integer type that it gets."""
    return name == "linear" or (name in ("relu", "relu6") and dtype is not torch.bool)


@EACH_TYPE
@pytest.mark.parametrize("floatx", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_functions(name, floatx, dtype):
    config.set_floatx(floatx)
    function, x = getattr(activations, name), whole(dtype)
    wanted = POLICIES["float32" if name == "leaky_relu" else floatx]
    wanted = dtype if stays(name, dtype) else wanted
    found, expected = function(x), function(x.to(POLICIES[floatx]))
    assert found.dtype is wanted
    assert_close(found, expected.to(wanted))


@EACH_TYPE
@pytest.mark.parametrize("name", NAMES)
def test_activations_of_dense_layers(name, dtype):
    dense, x = layers.Dense(6, activation=name, input_shape=(4,)), whole(dtype)
    assert torch.equal(dense(x), dense(x.float()))


def test_a_callable_of_the_user_gets_integers_as_they_are():
    seen = []
    for function in (nn.Identity(), lambda x: seen.append(x.dtype) or x, torch.neg):
        assert layers.Activation(function)(whole(torch.int16)).dtype is torch.int16
    assert seen == [torch.int16]


@EACH_TYPE
def test_threshold(dtype):
    x = whole(dtype)
    for given in ((1, 5), (0.5, 5), (1, 0.25)):
        found = activations.threshold(x, *given)
        kept = dtype is not torch.bool and given == (1, 5)
        assert found.dtype is (dtype if kept else torch.float32)
        assert_close(found.float(), activations.threshold(x.float(), *given))


IMAGE = (1, 6, 4, 2)


@EACH_TYPE
@EACH_POLICY
@pytest.mark.parametrize(
    "make",
    [
        partial(layers.Dropout, 0.25),
        partial(layers.Dropout, 0.25, seed=3),
        partial(layers.Dropout, 0.25, noise_shape=(1, 6, 1, 2)),
        partial(layers.SpatialDropout2D, 0.25, seed=3),
    ],
)
def test_dropout_converts_what_it_scales(make, policy, dtype):
    found = []
    for kind in (dtype, POLICIES[policy]):
        torch.manual_seed(3)
        found.append(make(dtype=policy)(whole(dtype, IMAGE).to(kind)))
    assert found[0].dtype is POLICIES[policy]
    assert torch.equal(*found)
    assert not make(dtype=policy).train().__class__(1.0)(whole(dtype, IMAGE)).any()


def test_an_average_keeps_large_integers():
    x = torch.tensor([[2**40 + 1]])
    assert layers.Average()([x, x]).item() == 2**40 + 1


def test_relu_of_booleans_without_autocast():
    assert layers.ReLU(autocast=False)(whole(torch.bool)).dtype is torch.float32


CHAINS = {
    "softmax": [layer("Activation", "a", activation="softmax")],
    "gelu behind a pooling": [
        layer("ZeroPadding2D", "z", padding=1),
        layer("MaxPooling2D", "m", pool_size=2),
        layer("Activation", "a", activation="gelu"),
        layer("Activation", "b", activation="relu"),
    ],
    "relu": [layer("Activation", "a", activation="relu"), layer("ReLU", "b", max_value=6.0)],
    "sum": [layer("ReLU", "a"), layer("Flatten", "f"), layer("Softmax", "s")],
    "conv": [
        layer("ZeroPadding2D", "z", padding=1),
        layer("Conv2D", "c", filters=3, kernel_size=3, kernel_initializer="ones"),
        layer("Activation", "a", activation="sigmoid"),
    ],
}


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
@pytest.mark.parametrize("entries", CHAINS.values(), ids=CHAINS)
def test_models_with_integer_inputs(entries, dtype):
    kind = getattr(torch, dtype)
    first = layer("InputLayer", "x", [], batch_shape=[None, *IMAGE[1:]], dtype=dtype)
    entries = [{**entry, "module": "keras.layers"} for entry in entries]
    model = build_model(parse_model_config(sequential(first, *entries), "c"))
    plain = [getattr(layers, e["class_name"]).from_config(e["config"]) for e in entries]
    for x in (whole(kind, IMAGE), whole(torch.int64, IMAGE)):
        found, expected = model(x), x.to(kind)
        for one in plain:
            expected = one(expected)
        assert_close(found, expected)


def test_a_graph_that_adds_integers():
    first = layer("InputLayer", "x", [], batch_shape=[None, 4], dtype="int32")
    add = layer("Add", "s", [node([tensor("x"), tensor("x")])])
    last = layer("Activation", "a", [node(tensor("s"))], activation="softmax")
    called = [{**entry, "module": "keras.layers"} for entry in (add, last)]
    content = functional(first, *called, inputs=["x", 0, 0], outputs=["a", 0, 0])
    model = build_model(parse_model_config(content, "c"))
    x = whole(torch.int32)
    assert_close(model(x), torch.softmax((x + x).float(), -1))


@pytest.mark.parametrize("name", ["softmax", "tanh", "leaky_relu", "relu", "elu"])
def test_a_compiled_activation_does_the_same(name):
    torch.compiler.reset()
    one, x = layers.Activation(name), whole(torch.int32)
    assert_close(torch.compile(one, backend="eager", fullgraph=True)(x), one(x))
