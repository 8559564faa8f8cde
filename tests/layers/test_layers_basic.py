"""Dense and the layers of shapes, activations, dropout and scaling, without Keras."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import layers
from tests.layers.contract import LayerContract, Subject, batch

SUBJECTS = [
    Subject(
        name,
        partial(layers.Dense, 4, bias_initializer="random_normal", **arguments),
        (3, 2, 5),
        (6, 1, 5),
        ((3, 2, 4), (5,)),
    )
    for name, arguments in {
        "relu": {"activation": "relu"},
        "softmax": {"activation": "softmax"},
    }.items()
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
class TestContract(LayerContract):
    pass


def test_dense_is_a_linear_layer():
    layer, linear = layers.Dense(3, input_shape=(5,)), nn.Linear(5, 3)
    layer.load_state_dict(linear.state_dict())
    x = batch((2, 5))
    assert_close(layer(x), linear(x), rtol=0, atol=0)
    assert layer.kernel.shape == (5, 3)
    assert layer.kernel.data_ptr() == layer.weight.data_ptr()


def test_dense_computes_in_double():
    layer = layers.Dense(3, dtype="float64", input_shape=(5,))
    kernel, bias = layer.get_weights()
    x = batch((2, 5), torch.float64)
    assert_close(layer(x).detach().numpy(), x.numpy() @ kernel + bias, rtol=1e-14, atol=1e-14)


WEIGHTLESS = {
    "flatten": (layers.Flatten, (2, 3, 4)),
    "reshape": (partial(layers.Reshape, (-1, 2)), (2, 3, 4)),
    "permute": (partial(layers.Permute, (2, 1)), (2, 3, 4)),
    "activation": (partial(layers.Activation, "tanh"), (2, 3)),
    "relu": (partial(layers.ReLU, 1.0, 0.1, 0.2), (2, 3)),
    "leaky": (layers.LeakyReLU, (2, 3)),
    "elu": (layers.ELU, (2, 3)),
    "softmax": (layers.Softmax, (2, 3)),
    "dropout": (partial(layers.Dropout, 0.5), (2, 3)),
    "spatial": (partial(layers.SpatialDropout2D, 0.5), (2, 3, 4, 5)),
    "rescaling": (partial(layers.Rescaling, [1.0, 2.0, 3.0], 1), (2, 3)),
    "normalization": (partial(layers.Normalization, mean=1.0, variance=2.0), (2, 3)),
    "input": (partial(layers.InputLayer, (3,)), (2, 3)),
}


@pytest.mark.parametrize("make, shape", WEIGHTLESS.values(), ids=WEIGHTLESS)
def test_layers_without_weights(make, shape):
    layer, x = make().eval(), batch(shape)
    assert layer.built and layer.weights == [] == layer.get_weights()
    assert not layer.state_dict() and layer.count_params() == 0
    assert not {"_initialize_hook", "_load_hook"} & set(vars(layer))
    assert not layer._forward_pre_hooks and not layer._load_state_dict_pre_hooks
    expected = layer(x)
    assert expected.shape == layer.compute_output_shape(shape)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_close(copied(x), expected, rtol=0, atol=0)
    assert type(layer).__name__ in repr(layer)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert_close(compiled(x), expected)
    assert (
        copy.deepcopy(layer).to("meta")(torch.empty(shape, device="meta")).shape == expected.shape
    )
    if not isinstance(layer, layers.InputLayer):
        assert layer.half()(x).dtype is torch.float16
    with pytest.raises(ValueError, match="a tensor or an array of real numbers"):
        layer("text")


def test_channels_first_is_flattened_as_channels_last():
    x = batch((2, 3, 4, 5))
    moved = torch.movedim(x, 1, -1)
    assert torch.equal(layers.Flatten("channels_first")(x), layers.Flatten()(moved))


@pytest.mark.parametrize("seed", [None, 4])
def test_dropout_keeps_the_mean(seed):
    layer, x = layers.Dropout(0.25, seed=seed), torch.ones(200, 100, requires_grad=True)
    outputs = layer(x)
    assert sorted(outputs.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert outputs.mean().item() == pytest.approx(1, abs=0.02)
    outputs.sum().backward()
    assert torch.equal(x.grad, outputs)
    assert not torch.equal(layer(x), outputs)
    assert layer.eval()(x) is x


def test_a_seed_decides_whatever_torch_is_at():
    x = torch.ones(20)
    first = [layers.Dropout(0.5, seed=3)(x) for _ in range(2)]
    assert torch.equal(*first)
    torch.manual_seed(5)
    left = layers.Dropout(0.5)(x)
    torch.manual_seed(5)
    assert torch.equal(layers.Dropout(0.5)(x), left)


def test_normalization_is_undone_by_its_inverse():
    moments = {"mean": [1.0, -2.0, 3.0], "variance": [4.0, 0.5, 2.0]}
    x = batch((4, 3))
    there = layers.Normalization(**moments)(x)
    assert_close(layers.Normalization(**moments, invert=True)(there), x)


def test_normalization_takes_its_weights_from_a_state_dict():
    source = layers.Normalization(axis=(1, -1), input_shape=(3, 2, 4))
    source.set_weights([np.full((3, 4), 2.0), np.full((3, 4), 4.0), np.array(7)])
    target = layers.Normalization(axis=(1, -1))
    target.load_state_dict(source.state_dict())
    x = batch((5, 3, 2, 4))
    assert_close(target(x), (x - 2) / 2)
    assert not list(target.parameters()) and target.count.dtype is torch.int32


OLD = [
    (layers.LeakyReLU, {"alpha": np.array(0.3, "float32")}, "negative_slope", 0.3),
    (layers.SpatialDropout2D, {"rate": 0.3, "noise_shape": None, "seed": None}, "rate", 0.3),
    (
        layers.InputLayer,
        {"batch_input_shape": [None, 3], "ragged": False},
        "batch_shape",
        (None, 3),
    ),
    (layers.Dense, {"units": 3, "batch_input_shape": (None, 5)}, "units", 3),
]


@pytest.mark.parametrize("cls, config, name, value", OLD)
def test_configs_of_keras_2(cls, config, name, value):
    made = cls.from_config({"name": "a", "dtype": "float32", **config})
    found = getattr(made, name)
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


def test_dense_for_earlier_versions():
    layer = layers.Dense(3)
    assert "quantization_config" in layer.get_config()
    assert "quantization_config" not in layer.get_config("3.12")


def nested():
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)


FLAGS = [{}, {"sparse": False}, {"sparse": None, "ragged": None}, {"sparse": True}, {"ragged": 1}]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("kind", ["to_dense", "to_sparse", "to_sparse_csr", "to_sparse_csc"])
@pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta")
def test_sparse_inputs_are_made_dense(kind, flags):
    layer = layers.InputLayer((4,), **flags)
    told = layer.get_config()
    assert told["sparse"] is bool(flags.get("sparse")) and told["ragged"] is bool(
        flags.get("ragged")
    )
    assert layers.InputLayer.from_config(told).get_config() == told
    x = torch.tensor([[0.0, 2.0, 0.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
    outputs = layer(getattr(x, kind)())
    assert outputs.layout is torch.strided and torch.equal(outputs, x)


def test_gradients_reach_the_values_of_a_sparse_input():
    values = torch.tensor([2.0, 3.0], requires_grad=True)
    x = torch.sparse_coo_tensor([[0, 1], [1, 2]], values, (2, 4), check_invariants=True)
    layers.InputLayer((4,), sparse=True)(x).mul(torch.arange(4.0)).sum().backward()
    assert values.grad.tolist() == [1.0, 2.0]


MESSAGES = [
    (lambda: layers.Dense(0), "Dense: `units` must be a positive integer. Received: units=0."),
    (
        lambda: layers.Dense(2, quantization_config="int8"),
        (
            "Dense: `quantization_config` must be None. Received: quantization_config='int8'. "
            "Quantized layers are not supported."
        ),
    ),
    (
        lambda: layers.Dense(2, input_shape=(3,))(torch.ones(2, 4)),
        "Dense: `inputs` must be of the size 3 along the last axis. Received: inputs=(2, 4).",
    ),
    (
        lambda: layers.Permute((1, 3)),
        "Permute: `dims` must be the integers from 1 on, each once. Received: dims=(1, 3).",
    ),
    (
        lambda: layers.Reshape((5, 2))(torch.ones(2, 12)),
        (
            "Reshape: `inputs` must be a shape of as many elements as (5, 2), batch apart. "
            "Received: inputs=(2, 12)."
        ),
    ),
    (lambda: layers.ReLU(-1), "ReLU: `max_value` must be a number >= 0. Received: max_value=-1."),
    (
        lambda: layers.Dropout(2),
        "Dropout: `rate` must be a number from 0 to 1. Received: rate=2.",
    ),
    (
        lambda: layers.InputLayer((2,), sparse=True, ragged=True),
        "InputLayer: `ragged` must be False with `sparse`. Received: ragged=True, sparse=True.",
    ),
    (
        lambda: layers.InputLayer((None,), ragged=True)(nested()),
        (
            "InputLayer: `inputs` must be dense or sparse. Received: inputs='a nested tensor'. "
            "Pad it with `to_padded_tensor`."
        ),
    ),
    (
        lambda: layers.InputLayer((2,))(torch.ones(1, 3)),
        "InputLayer: `inputs` must be of the shape (None, 2). Received: inputs=(1, 3).",
    ),
]


@pytest.mark.parametrize("run, message", MESSAGES)
def test_messages(run, message):
    with pytest.raises(ValueError) as error:
        run()
    assert str(error.value) == message
