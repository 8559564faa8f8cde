"""SpectralNormalization: its rows for the tests of every layer, and what is special about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kerastorch.layers import (
    LSTM,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Embedding,
    ReLU,
    SeparableConv2D,
    SpectralNormalization,
)

from ..case import batch, cases
from .rows import INNER

# An output has the dtype of the input, as in Keras: that of integers, too.
OF_INPUT = frozenset({"test_inputs_of_all_dtypes"})

SHARED = {
    "refused_arguments": [
        ("layer", 3, ValueError),
        ("layer", ReLU(), ValueError),
        ("layer", LSTM(3), ValueError),
        ("layer", SeparableConv2D(2, 1), ValueError),
        ("power_iterations", 0, ValueError),
        ("power_iterations", "a", TypeError),
    ],
    "refused_here": [("power_iterations", 1.5, ValueError)],
    "integers_agree": False,  # Keras on torch convolves no integers
    "samples": True,  # in training each call changes the kernel
    "exempt": INNER | OF_INPUT,
}

CASES = [
    *cases(
        SpectralNormalization,
        {"layer": Dense(3, name="inner")},
        {"layer": Dense(2, kernel_regularizer="l2", name="inner"), "power_iterations": 3},
        shape=(2, 4),
        other=[(3, 4)],
        refused=[(2, 5)],
        in_double=False,  # Keras on torch multiplies in single precision in places
        **SHARED,
    ),
    *cases(
        SpectralNormalization,
        {"layer": Conv2D(3, 2, use_bias=False, name="inner")},
        shape=(2, 5, 4, 2),
        other=[(3, 6, 7, 2)],
        refused=[(2, 5, 4, 3), (2, 5, 4)],
        **SHARED,
    ),
]


def divide(kernel, u, iterations=1):
    """Return the kernel and the vector after a call in training, in float64."""
    weights = kernel.reshape(-1, kernel.shape[-1])
    for _ in range(iterations):
        v = u @ weights.T
        v /= np.linalg.norm(v)
        u = v @ weights
        u /= np.linalg.norm(u)
    return kernel / (v @ weights @ u.T), u


@pytest.mark.parametrize(
    ("inner", "shape"),
    [
        (Dense(3), (2, 4)),
        (Conv2D(3, 2), (2, 5, 4, 2)),
        (Conv2DTranspose(3, 2), (2, 5, 4, 2)),
        (DepthwiseConv2D(2, depth_multiplier=3), (2, 5, 4, 2)),
    ],
)
@pytest.mark.parametrize("iterations", [1, 3])
def test_training_replaces_the_kernel(inner, shape, iterations):
    config = inner.get_config()
    made = type(inner).from_config({**config, "dtype": "float64"})
    layer = SpectralNormalization(made, iterations, dtype="float64", input_shape=shape[1:])
    x = batch(shape, torch.float64)
    for _ in range(2):
        kernel, u, *_ = layer.get_weights()
        y = layer(x)
        kernel, u = divide(kernel, u, iterations)
        assert_close(layer.get_weights()[:2], [kernel, u], rtol=0, atol=1e-12)
        assert_close(y, layer.layer(x), rtol=0, atol=0)
    before = layer.get_weights()
    assert_close(layer.eval()(x), y, rtol=0, atol=0)
    assert_close(layer.get_weights(), before, rtol=0, atol=0)


def test_the_weights_have_the_order_of_keras():
    layer = SpectralNormalization(Dense(3), input_shape=(4,))
    shapes = [weight.shape for weight in layer.get_weights()]
    assert shapes == [(4, 3), (1, 3), (3,)]
    assert layer.weight_names(layer.get_config()) == ("kernel", "vector_u", "bias")
    groups = layer.weight_groups(layer.get_config())
    assert groups == [("", ("kernel", "vector_u")), ("layer", ("kernel", "bias"))]
    assert [tuple(w.shape) for w in layer.non_trainable_weights] == [(1, 3)]
    assert 0 < layer.get_weights()[1].std() < 0.1


def test_several_calls_precede_a_backward_pass():
    layer, x = SpectralNormalization(Dense(3), input_shape=(4,)), batch((2, 4))
    expected = torch.zeros(3, 4)
    total = torch.zeros(())
    for _ in range(2):
        y = layer(x)
        kept = layer.layer.weight.detach().clone().requires_grad_()
        alone = torch.nn.functional.linear(x, kept, layer.layer.bias.detach())
        expected += torch.autograd.grad(alone.square().sum(), kept)[0]
        total = total + y.square().sum()
    total.backward()
    assert_close(layer.layer.weight.grad, expected)


def test_a_kernel_of_zeros_stays():
    layer = SpectralNormalization(Dense(3, kernel_initializer="zeros"), input_shape=(4,))
    before = layer.get_weights()
    assert not layer(batch((2, 4))).any()
    assert_close(layer.get_weights(), before, rtol=0, atol=0)


def test_a_refused_call_in_training_changes_nothing():
    layer = SpectralNormalization(Dense(3), input_shape=(4,))
    before = layer.get_weights()
    for wrong in (batch((2, 5)), torch.ones(2, 5, dtype=torch.int64)):
        with pytest.raises(ValueError, match="inputs"):
            layer(wrong)
    assert_close(layer.get_weights(), before, rtol=0, atol=0)


def test_the_mask_of_the_layer_is_kept_where_its_output_is_not_cast():
    x, mask = batch((1, 2, 4)), torch.tensor([[True, False]])
    assert SpectralNormalization(Dense(3)).compute_mask(x, mask) is mask
    assert SpectralNormalization(Dense(3, dtype="float64")).compute_mask(x, mask) is None
    ids = torch.tensor([[1, 0]])
    table = Embedding(3, 2, mask_zero=True)
    assert SpectralNormalization(table).compute_mask(ids) is None
    config = {**SpectralNormalization(table).get_config(), "keras_2": True}
    old = SpectralNormalization.from_config(config)
    assert old.compute_mask(ids).tolist() == [[True, False]]


def test_integers_are_the_output_of_keras_3_only():
    layer = SpectralNormalization(Embedding(3, 2, embeddings_initializer="ones"))
    ids = torch.tensor([[1, 0]])
    assert layer.eval()(ids).dtype is torch.int64
    old = SpectralNormalization.from_config({**layer.get_config(), "keras_2": True})
    assert old.eval()(ids).dtype is torch.float32


def test_a_state_dict_builds_the_layer():
    built = SpectralNormalization(Dense(3), input_shape=(4,))
    layer = SpectralNormalization(Dense(3))
    layer.load_state_dict(built.state_dict())
    assert_close(layer.get_weights(), built.get_weights(), rtol=0, atol=0)


def test_compiled_training():
    layer = SpectralNormalization(Dense(3), input_shape=(4,))
    other = SpectralNormalization(Dense(3), input_shape=(4,))
    other.set_weights(layer.get_weights())
    x = batch((2, 4))
    layer(x).sum().backward()
    torch.compile(other, backend="aot_eager")(x).sum().backward()
    assert_close(other.layer.weight.grad, layer.layer.weight.grad)
    assert_close(other.get_weights(), layer.get_weights())


def test_lora_is_refused():
    with pytest.raises(ValueError, match="LoRA"):
        SpectralNormalization(Dense(3, lora_rank=1))
