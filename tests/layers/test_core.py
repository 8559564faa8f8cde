"""Dense, Identity and InputLayer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import Dense, EinsumDense, Identity, InputLayer
from tests.layers.case import batch, cases

SHAPE = {"shape": (3, 2, 5), "other": [(6, 4, 5)], "refused": [(3, 2, 4), (5,)]}
REFUSED_ARGUMENTS = [
    *(("units", units, ValueError) for units in (0, -1, 2.5, "3", None)),
    ("colour", 1, ValueError),
    ("activation", "foo", ValueError),
    ("lora_rank", -1, ValueError),
]
EINSUM = {
    "shape": (3, 2, 5),
    "other": [(6, 2, 5)],
    "integers": "converted",
    "integers_agree": False,  # Keras on torch multiplies no integers
    "refused_arguments": [
        *(("equation", e, ValueError) for e in ("abc", "ab,bc->ad", "...a,ab->b...")),
        ("activation", "foo", ValueError),
        ("bias_axes", "z", ValueError),
        ("colour", 1, ValueError),
    ],
    "refused_here": [
        ("quantization_config", "int8", ValueError),
    ],
    "in_double": False,
}
RANDOM_BIAS = {"bias_initializer": "random_normal"}
CASES = [
    *cases(
        Dense,
        {"units": 4, "activation": "relu", "bias_initializer": "random_normal"},
        {"units": 4, "activation": "softmax", "bias_initializer": "random_normal"},
        {"units": 1, "use_bias": False},
        *({"units": 3, "activation": name} for name in ("gelu", "tanh", "silu", "elu", "relu6")),
        {"units": 4, "lora_rank": 3, "lora_alpha": 5, "activation": "tanh"},
        {"units": 3, "kernel_regularizer": "l2", "activity_regularizer": "l1"},
        {"units": 3, "bias_regularizer": "l1", "kernel_constraint": "max_norm"},
        {"units": 3, "trainable": False},
        integers="converted",
        **SHAPE,
        refused_arguments=REFUSED_ARGUMENTS,
        refused_here=[("quantization_config", "int8", ValueError)],
        in_double=False,
    ),
    *cases(
        Dense,
        {"units": 4, "lora_rank": 2},
        {"units": 2, "activation": "sigmoid"},
        integers="converted",
        shape=(4, 1),
        other=[(2, 1)],
        refused=[(4, 2), ()],
        refused_arguments=REFUSED_ARGUMENTS,
        in_double=False,
    ),
    *cases(
        EinsumDense,
        {"equation": "abc,cd->abd", "output_shape": (2, 4), "bias_axes": "d", **RANDOM_BIAS},
        {"equation": "abc,cde->abde", "output_shape": (2, 2, 3), "bias_axes": "e"},
        {"equation": "...x,xy->...y", "output_shape": 4, "activation": "relu"},
        {"equation": "abc,cd->adb", "output_shape": (4, 2), "bias_axes": "db", **RANDOM_BIAS},
        {"equation": "abc,cd->abd", "output_shape": (2, 4), "lora_rank": 2, "lora_alpha": 3},
        {"equation": "...x,xy->...y", "output_shape": 4, "kernel_regularizer": "l2"},
        refused=[(3, 2, 4), (5,)],
        **EINSUM,
    ),
    *cases(
        EinsumDense,
        {"equation": "ab...,bd->ad...", "output_shape": 3, "bias_axes": "d", "activation": "tanh"},
        refused=[(3, 3, 5), (5,)],
        **EINSUM,
    ),
    *cases(
        Identity,
        {},
        integers="kept",
        shape=(3, 7, 6, 5),
        other=[(2, 5, 8, 4)],
        refused_arguments=[("colour", 1, ValueError)],
    ),
    *cases(
        InputLayer,
        {"shape": (2, None)},
        {"batch_shape": (None, 2, 3), "optional": True},
        {"shape": (2, 3), "sparse": None, "ragged": 0},
        shape=(4, 2, 3),
        refused=[(4, 3, 2), (2, 3)],
        refused_arguments=[("dtype", "foo", ValueError), ("batch_size", -1, ValueError)],
        agrees=False,  # Keras's is not called
        # It has the dtype that it declares, and a config of its own.
        exempt=frozenset(
            {
                "test_config_lists_every_argument_but_where_and_how_it_runs",
                "test_config_keeps_what_all_layers_share",
                "test_it_follows_the_dtype_of_the_model",
                "test_gradients",
                "test_forward_derivatives",
            }
        ),
    ),
]


def test_dense_is_a_linear_layer():
    layer, linear = Dense(3, input_shape=(5,)), nn.Linear(5, 3)
    layer.load_state_dict(linear.state_dict())
    x = batch((2, 5))
    assert_close(layer(x), linear(x), rtol=0, atol=0)
    assert layer.kernel.shape == (5, 3)
    assert layer.kernel.data_ptr() == layer.weight.data_ptr()


def test_dense_computes_in_double():
    layer = Dense(3, dtype="float64", input_shape=(5,))
    kernel, bias = layer.get_weights()
    x = batch((2, 5), torch.float64)
    assert_close(layer(x).detach().numpy(), x.numpy() @ kernel + bias, rtol=1e-14, atol=1e-14)


def test_dense_for_earlier_versions():
    layer = Dense(3)
    assert "quantization_config" in layer.get_config()
    assert "quantization_config" not in layer.get_config("3.12")


def test_configs_of_keras_2():
    assert InputLayer.from_config({"batch_input_shape": [None, 3]}).batch_shape == (None, 3)
    assert Dense.from_config({"units": 3, "batch_input_shape": (None, 5)}).units == 3


FLAGS = [{}, {"sparse": False}, {"sparse": None, "ragged": None}, {"sparse": True}, {"ragged": 1}]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("kind", ["to_dense", "to_sparse", "to_sparse_csr", "to_sparse_csc"])
@pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta")
def test_sparse_inputs_are_made_dense(kind, flags):
    layer = InputLayer((4,), **flags)
    config = layer.get_config()
    assert [config["sparse"], config["ragged"]] == [
        bool(flags.get("sparse")),
        bool(flags.get("ragged")),
    ]
    assert InputLayer.from_config(config).get_config() == config
    x = torch.tensor([[0.0, 2.0, 0.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
    outputs = layer(getattr(x, kind)())
    assert outputs.layout is torch.strided and torch.equal(outputs, x)


def test_gradients_reach_the_values_of_a_sparse_input():
    values = torch.tensor([2.0, 3.0], requires_grad=True)
    x = torch.sparse_coo_tensor([[0, 1], [1, 2]], values, (2, 4), check_invariants=True)
    InputLayer((4,), sparse=True)(x).mul(torch.arange(4.0)).sum().backward()
    assert values.grad.tolist() == [1.0, 2.0]


def test_what_an_input_layer_refuses():
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    with pytest.raises(ValueError, match="must be False with `sparse`"):
        InputLayer((2,), sparse=True, ragged=True)
    with pytest.raises(ValueError, match=r"must be dense or sparse.*`to_padded_tensor`"):
        InputLayer((None,), ragged=True)(nested)
    for arguments in ({}, {"shape": (2,), "batch_shape": (1, 2)}):
        with pytest.raises(ValueError, match="`shape` must be given where `batch_shape` is not"):
            InputLayer(**arguments)


def test_sizes_of_an_equation_may_be_open():
    layer = EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d")
    assert layer.compute_output_shape((None, None, 5)) == (None, None, 4)
    for steps in (2, 7):
        x = batch((3, steps, 5))
        assert_close(layer(x), x @ layer.kernel + layer.bias)
    with pytest.raises(ValueError, match="known sizes"):
        EinsumDense("abc,cd->abd", output_shape=(None, 4)).build((None, 3, None))
