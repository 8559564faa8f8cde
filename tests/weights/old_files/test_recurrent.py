"""The arrays of the recurrent layers of Keras 1, and of Keras 2's for cuDNN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import kerastorch as keras
from kerastorch.layers import GRU, LSTM, Dense, SimpleRNN
from kerastorch.layers.base import nesting
from kerastorch.saving import FileError
from kerastorch.saving.formats.weight_file import Weight
from kerastorch.saving.weights.recurrent_conversions import convert_recurrent_weights
from tests.weights.weight_files import array, old_file

N, H = 3, 2
KERAS_1 = {
    "name": "r", "trainable": True, "input_dim": N, "input_length": 4, "output_dim": H,
    "batch_input_shape": [None, 4, N], "input_dtype": "float32", "init": "glorot_uniform",
    "inner_init": "orthogonal", "activation": "tanh", "inner_activation": "hard_sigmoid",
    "W_regularizer": None, "U_regularizer": None, "b_regularizer": None, "dropout_W": 0.0,
    "dropout_U": 0.0, "go_backwards": False, "stateful": False, "unroll": False,
    "return_sequences": True, "consume_less": "cpu",
}  # fmt: skip
CUDNN = {
    "name": "r", "trainable": True, "batch_input_shape": [None, 4, N], "dtype": "float32",
    "return_sequences": True, "return_state": False, "go_backwards": False, "stateful": False,
    "time_major": False, "units": H,
}  # fmt: skip
MAGNITUDES = {"i": 0.1, "c": 1.0, "f": 3.0, "o": 7.0, "z": 0.1, "r": 1.0, "h": 3.0}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x):
    return np.clip(0.2 * x + 0.5, 0, 1)


def model_of(class_name, config):
    return {"class_name": "Sequential", "config": [{"class_name": class_name, "config": config}]}


def load(folder, class_name, config, arrays, **attributes):
    return keras.load_model(
        old_file(folder, {"r": arrays}, model_of(class_name, config), **attributes)
    )


def make_gates(gates):
    """Return the arrays of a file of Keras 1, of which no gate has the size of another."""
    shapes = {"W": (N, H), "U": (H, H), "b": (H,)}
    return {
        f"r_{kind}_{gate}": MAGNITUDES[gate] * array(*shape)
        for gate in gates
        for kind, shape in shapes.items()
    }


def run_lstm(x, gates, activation=hard_sigmoid):
    """Return the outputs of an LSTM, a gate being a function of the input and the state."""
    h, c, outputs = np.zeros((len(x), H)), np.zeros((len(x), H)), []
    for one in x.transpose(1, 0, 2):
        i, f, new, o = (gates[gate](one, h) for gate in "ifco")
        c = activation(f) * c + activation(i) * np.tanh(new)
        h = activation(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def as_gate(w, u, b):
    return lambda x, h: x @ w + h @ u + b


@pytest.mark.parametrize("suffix", ["", ":0"])  # of Theano and of TensorFlow
def test_the_twelve_arrays_of_an_lstm_of_keras_1(tmp_path, suffix):
    arrays = make_gates("icfo")
    file = {f"{name}{suffix}": value for name, value in arrays.items()}
    model = load(tmp_path, "LSTM", {**KERAS_1, "forget_bias_init": "one"}, file)
    layer, x = model.layers["r"], array(5, 4, N)
    gates = {g: as_gate(*(arrays[f"r_{kind}_{g}"] for kind in "WUb")) for g in "icfo"}
    assert isinstance(layer, LSTM)
    np.testing.assert_allclose(model(torch.tensor(x)).detach(), run_lstm(x, gates), atol=2e-6)
    joined = [np.concatenate([arrays[f"r_{kind}_{g}"] for g in "ifco"], -1) for kind in "WUb"]
    for found, expected in zip(layer.get_weights(), joined, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_nine_arrays_of_a_gru_of_keras_1(tmp_path):
    arrays = make_gates("zrh")
    model = load(tmp_path, "GRU", KERAS_1, arrays)
    x, h, outputs = array(5, 4, N), np.zeros((5, H)), []
    for one in x.transpose(1, 0, 2):
        z, r, new = ([arrays[f"r_{kind}_{g}"] for kind in "WUb"] for g in "zrh")
        z, r = hard_sigmoid(as_gate(*z)(one, h)), hard_sigmoid(as_gate(*r)(one, h))
        h = z * h + (1 - z) * np.tanh(as_gate(*new)(one, r * h))
        outputs.append(h)
    layer = model.layers["r"]
    assert isinstance(layer, GRU)
    assert not layer.reset_after
    np.testing.assert_allclose(model(torch.tensor(x)).detach(), np.stack(outputs, 1), atol=2e-6)


@pytest.mark.parametrize(("cls", "gates"), [(LSTM, 4), (GRU, 3), (SimpleRNN, 1)])
def test_joined_arrays_of_keras_1(tmp_path, cls, gates):
    arrays = {"r_W": array(N, gates * H), "r_U": array(H, gates * H), "r_b": array(gates * H)}
    entry = {**KERAS_1, "consume_less": "gpu"}
    if cls is SimpleRNN:
        entry.pop("inner_activation")
    layer = load(tmp_path, cls.__name__, entry, arrays).layers["r"]
    assert isinstance(layer, cls)
    for found, expected in zip(layer.get_weights(), arrays.values(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_arrays_of_keras_1_load_into_a_module_without_a_config(tmp_path):
    arrays = make_gates("icfo")
    path = old_file(tmp_path, {"r": arrays})
    layer = LSTM(H, name="r")
    keras.load_weights(torch.nn.ModuleDict({"r": layer}), path)
    expected = np.concatenate([arrays[f"r_W_{gate}"] for gate in "ifco"], -1)
    np.testing.assert_array_equal(layer.get_weights()[0], expected)


def test_gates_of_different_shapes_or_too_few_are_refused(tmp_path):
    arrays = make_gates("icfo")
    with pytest.raises(FileError, match="gates of the shapes"):
        load(tmp_path, "LSTM", KERAS_1, {**arrays, "r_U_f": array(H, H + 1)})
    arrays.pop("r_b_o")
    with pytest.raises(FileError, match="r has 3 weights"):
        load(tmp_path, "LSTM", KERAS_1, arrays)


def make_cudnn(gates):
    """Return arrays of cuDNN's layers, and the matrices (H, N) and (H, H) in them, by gate."""
    w, u, b = array(gates, H, N), array(gates, H, H), array(2, gates, H)
    kernel = np.concatenate([one.reshape(N, H) for one in w], -1)
    return {"kernel": kernel, "recurrent_kernel": np.concatenate(u, -1), "bias": b.ravel()}, w, u, b


RECORDED = {  # what tf_keras 2.21 makes of the numbers from 0, from 100 and from 200
    "CuDNNLSTM": (
        [
            [0, 9, 2, 11, 4, 13, 6, 15],
            [1, 16, 3, 18, 5, 20, 7, 22],
            [8, 17, 10, 19, 12, 21, 14, 23],
        ],
        [[100, 108, 102, 110, 104, 112, 106, 114], [101, 109, 103, 111, 105, 113, 107, 115]],
        [408, 410, 412, 414, 416, 418, 420, 422],
    ),
    "CuDNNGRU": (
        [[0, 7, 2, 9, 4, 11], [1, 12, 3, 14, 5, 16], [6, 13, 8, 15, 10, 17]],
        [[100, 106, 102, 108, 104, 110], [101, 107, 103, 109, 105, 111]],
        [[200, 201, 202, 203, 204, 205], [206, 207, 208, 209, 210, 211]],
    ),
}


@pytest.mark.parametrize(("class_name", "gates"), [("CuDNNLSTM", 4), ("CuDNNGRU", 3)])
def test_arrays_of_cudnn_beside_keras_2(tmp_path, class_name, gates):
    shapes = {
        "kernel": (N, gates * H),
        "recurrent_kernel": (H, gates * H),
        "bias": (2 * gates * H,),
    }
    arrays = {
        key: 100.0 * index + np.arange(np.prod(shape), dtype="float32").reshape(shape)
        for index, (key, shape) in enumerate(shapes.items())
    }
    layer = load(tmp_path, class_name, CUDNN, name(arrays, "")).layers["r"]
    for found, expected in zip(layer.get_weights(), RECORDED[class_name], strict=True):
        np.testing.assert_array_equal(found, expected)


def name(arrays, layer):
    return {f"r/{layer}{name}:0": value for name, value in arrays.items()}


@pytest.mark.parametrize("class_name", ["CuDNNLSTM", "LSTM"])
def test_lstm_of_cudnn(tmp_path, class_name):
    arrays, w, u, b = make_cudnn(4)
    more = {"activation": "tanh", "recurrent_activation": "sigmoid"} if class_name == "LSTM" else {}
    model = load(tmp_path, class_name, {**CUDNN, **more}, name(arrays, ""))
    parts = zip("ifco", w, u, b[0], b[1], strict=True)
    gates = {g: as_gate(k.T, r.T, one + two) for g, k, r, one, two in parts}
    x = array(5, 4, N)
    outputs = model(torch.tensor(x)).detach()
    np.testing.assert_allclose(outputs, run_lstm(x, gates, sigmoid), atol=2e-6)


@pytest.mark.parametrize("class_name", ["CuDNNGRU", "GRU"])
def test_gru_of_cudnn(tmp_path, class_name):
    arrays, w, u, b = make_cudnn(3)
    more = {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}
    config = {**CUDNN, **more} if class_name == "GRU" else CUDNN
    model = load(tmp_path, class_name, config, name(arrays, ""))
    x, h, outputs = array(5, 4, N), np.zeros((5, H)), []
    for one in x.transpose(1, 0, 2):
        z, r, new = (one @ k.T + own for k, own in zip(w, b[0], strict=True))
        z2, r2, new2 = (h @ k.T + own for k, own in zip(u, b[1], strict=True))
        z = sigmoid(z + z2)
        h = z * h + (1 - z) * np.tanh(new + sigmoid(r + r2) * new2)
        outputs.append(h)
    np.testing.assert_allclose(model(torch.tensor(x)).detach(), np.stack(outputs, 1), atol=2e-6)


@pytest.mark.parametrize("make", [make_gates, lambda gates: make_cudnn(len(gates))[0]])
@pytest.mark.parametrize("gates", ["icfo", "zrh"])
def test_each_half_of_a_bidirectional_layer_is_converted(make, gates):
    halves = [make(gates), make(gates)]
    rest = Weight("r/alpha", "alpha", (H,), "float32", lambda: torch.zeros(H))

    def convert(*arrays):
        weights = [as_weight(key, value) for one in arrays for key, value in one.items()]
        return convert_recurrent_weights([*weights, rest])

    *found, last = convert(*halves)
    apart = [one for half in halves for one in convert(half)[:-1]]
    assert last is rest
    assert [one.name for one in found] == ["kernel", "recurrent_kernel", "bias"] * 2
    for one, expected in zip(found, apart, strict=True):
        assert one.shape == expected.shape == tuple(one.read().shape)
        np.testing.assert_array_equal(one.read(), expected.read())


def load_both_ways(folder, class_name, config, form, halves):
    config = {key: value for key, value in config.items() if key != "batch_input_shape"}
    entry = {
        "name": "r", "trainable": True, "merge_mode": "concat", "input_dim": N, "input_length": 4,
        "batch_input_shape": [None, 4, N], "layer": {"class_name": class_name, "config": config},
    }  # fmt: skip
    arrays = {}
    for direction, half in zip(("forward", "backward"), halves, strict=True):
        named = {form.format(f"{direction}_r", key): value for key, value in half.items()}
        arrays |= {key.replace("_r_r_", "_r_"): value for key, value in named.items()}
    layer = load(folder, "Bidirectional", entry, arrays).layers["r"]
    return layer.forward_layer, layer.backward_layer


@pytest.mark.parametrize(("class_name", "gates"), [("LSTM", "icfo"), ("GRU", "zrh")])
def test_bidirectional_layers_of_keras_1(tmp_path, class_name, gates):
    halves = [make_gates(gates), make_gates(gates)]
    layers = load_both_ways(tmp_path, class_name, KERAS_1, "{}_{}", halves)
    for layer, half in zip(layers, halves, strict=True):
        alone = load(tmp_path, class_name, KERAS_1, half).layers["r"]
        assert layer.recurrent_activation is alone.recurrent_activation
        for found, expected in zip(layer.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", ["r/{}/{}:0", "{}/{}:0"])
@pytest.mark.parametrize(("class_name", "gates"), [("CuDNNLSTM", 4), ("CuDNNGRU", 3)])
def test_bidirectional_layers_of_cudnn(tmp_path, class_name, gates, form):
    halves = [make_cudnn(gates)[0], make_cudnn(gates)[0]]
    layers = load_both_ways(tmp_path, class_name, CUDNN, form, halves)
    assert [layer.go_backwards for layer in layers] == [False, True]
    for layer, half in zip(layers, halves, strict=True):
        alone = load(tmp_path, class_name, CUDNN, name(half, "")).layers["r"]
        assert layer.recurrent_activation is keras.activations.sigmoid
        for found, expected in zip(layer.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)


def as_weight(path, values):
    tensor = torch.from_numpy(values)
    return Weight(path, path.removeprefix("r_"), tuple(values.shape), "float32", lambda: tensor)


@pytest.mark.parametrize(("class_name", "shape"), [("LSTM", (4 * H,)), ("GRU", (2, 3 * H))])
def test_other_weights_under_a_config_of_cudnn(tmp_path, class_name, shape):
    size = shape[-1]
    arrays = {"kernel": array(N, size), "recurrent_kernel": array(H, size), "bias": array(*shape)}
    layer = load(tmp_path, f"CuDNN{class_name}", CUDNN, name(arrays, "lstm_cell/")).layers["r"]
    for found, expected in zip(layer.get_weights(), arrays.values(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_gru_that_resets_before_refuses_weights_of_cudnn(tmp_path):
    arrays = make_cudnn(3)[0]
    more = {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": False}
    with pytest.raises(FileError, match="no input gives these shapes"):
        load(tmp_path, "GRU", {**CUDNN, **more}, name(arrays, ""))


@pytest.mark.parametrize("cls", [LSTM, GRU])
@pytest.mark.parametrize("written", [CUDNN.keys(), CUDNN.keys() - {"time_major"}])  # by tf.keras
def test_configs_of_cudnn_have_fixed_activations(cls, written):
    entry = {"class_name": f"CuDNN{cls.__name__}", "config": {key: CUDNN[key] for key in written}}
    layer = nesting.deserialize(entry)
    assert type(layer) is cls
    assert layer.activation is keras.activations.tanh
    assert layer.recurrent_activation is keras.activations.sigmoid
    assert getattr(layer, "reset_after", True)


def test_time_distributed_dense_of_keras_1(tmp_path):
    entry = {"name": "r", "output_dim": H, "init": "uniform", "activation": "softmax",
             "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
             "W_constraint": None, "b_constraint": None, "bias": True, "input_dim": N,
             "input_length": 4, "batch_input_shape": [None, 4, N]}  # fmt: skip
    kernel, bias, x = array(N, H), array(H), array(5, 4, N)
    model = load(tmp_path, "TimeDistributedDense", entry, {"r_W": kernel, "r_b": bias})
    powers = np.exp(x @ kernel + bias)
    assert isinstance(model.layers["r"], Dense)
    expected = powers / powers.sum(-1, keepdims=True)
    np.testing.assert_allclose(model(torch.tensor(x)).detach(), expected, atol=1e-6)
