"""Activations in files: found by what they compute, whatever they are called."""

import copy
import json
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import kerastorch as keras
from kerastorch import activations
from kerastorch.graph.spec import LayerSpec
from kerastorch.saving import FileError
from kerastorch.saving.weights.config_differences import find_config_differences
from tests.formats.keras_files import model_archive, model_h5
from tests.models.configs import dense, input_layer, sequential

KERNEL = np.linspace(-1.0, 1.0, 6, dtype="f4").reshape(3, 2)
BIAS = np.array([0.25, -0.5], "f4")
X = torch.linspace(-3.0, 3.0, 12).reshape(4, 3)
TREE = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": BIAS}


def keras_2(activation):
    """Return a Sequential model of one Dense layer as Keras 2 writes it."""
    entry = dense("d", units=2, activation=activation)
    return {
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [input_layer("x", (None, 3)), entry]},
    }


def keras_3(activation):
    return sequential(input_layer("x", (None, 3)), dense("d", units=2, activation=activation))


def saved_by_keras_2(folder, activation="hard_sigmoid"):
    weights = {"d": {"kernel": KERNEL, "bias": BIAS}}
    return model_h5(folder / "m.h5", keras_2(activation), weights)


def linear_output():
    return X @ torch.from_numpy(KERNEL) + torch.from_numpy(BIAS)


def hard_sigmoid_of_keras_2():
    return (0.2 * linear_output() + 0.5).clamp(0, 1)


# Keras 2's hard_sigmoid


@pytest.mark.parametrize("written", ["h5", "keras", "json"])
def test_hard_sigmoid_of_keras_2_loads_from_every_format(tmp_path, written):
    weights = None
    if written == "h5":
        file = saved_by_keras_2(tmp_path)
    elif written == "keras":
        file = model_archive(tmp_path / "m.keras", keras_2("hard_sigmoid"), TREE, "2.15.0")
    else:
        file, weights = tmp_path / "m.json", saved_by_keras_2(tmp_path)
        file.write_text(json.dumps({**keras_2("hard_sigmoid"), "keras_version": "2.2.4"}))
    model = keras.load_model(file, weights=weights)
    torch.testing.assert_close(model(X), hard_sigmoid_of_keras_2())
    assert not torch.allclose(model(X), activations.hard_sigmoid(linear_output()), atol=1e-3)


def test_it_is_not_taken_for_that_of_keras_3(tmp_path):
    file = saved_by_keras_2(tmp_path)
    for name in ("hard_sigmoid_keras2", lambda x: (0.2 * x + 0.5).clamp(0, 1)):
        module = keras.layers.Dense(2, name)
        keras.load_weights(module, file)
        torch.testing.assert_close(module(X), hard_sigmoid_of_keras_2())
    said = "activation='hard_sigmoid', where the source has 'hard_sigmoid_keras2'"
    with pytest.raises(FileError, match=said):
        keras.load_weights(keras.layers.Dense(2, "hard_sigmoid"), file)
    newer = model_archive(tmp_path / "m.keras", keras_3("hard_sigmoid"), TREE)
    keras.load_weights(keras.layers.Dense(2, "hard_sigmoid"), newer)
    with pytest.raises(FileError, match="activation='hard_sigmoid_keras2', where the source has"):
        keras.load_weights(keras.layers.Dense(2, "hard_sigmoid_keras2"), newer)


def test_its_config_means_it_again():
    made = keras.layers.Dense(2, activations.hard_sigmoid_keras2)
    again = keras.layers.Dense.from_config(made.get_config())
    assert again.activation is activations.hard_sigmoid_keras2


# Functions of one's own, by any name


def scaled_tanh(x):
    return 2 * torch.tanh(x)


@pytest.mark.parametrize("name", ["mine", "relu", "hard_sigmoid", "my>mine", "<lambda>"])
def test_a_function_of_ones_own_may_have_another_name(tmp_path, name):
    own = {name.rpartition(">")[2]: scaled_tanh}
    file = saved_by_keras_2(tmp_path, name)
    model = keras.load_model(file, custom_objects=own)
    torch.testing.assert_close(model(X), scaled_tanh(linear_output()))
    keras.load_weights(model, file)
    model = keras.load_model(
        model_archive(tmp_path / "m.keras", keras_3(name), TREE), custom_objects=own
    )
    torch.testing.assert_close(model(X), scaled_tanh(linear_output()))


RELU = {"module": "keras.layers", "class_name": "ReLU", "config": {"name": "r"}}
RELU_6 = {**RELU, "config": {"name": "r", "max_value": 6.0}}
MINE = {"module": "builtins", "class_name": "function", "config": "mine"}


@pytest.mark.parametrize(
    ("own", "saved", "said"),
    [
        ("swish", "silu", None),
        ("silu", "swish", None),
        ("hard_silu", "hard_swish", None),
        ("relu6", "relu6", None),
        (F.hardswish, "hard_swish", None),
        (torch.tanh, "tanh", None),
        (nn.ReLU(), "relu", None),
        (nn.ReLU6(), "relu6", None),
        (lambda x: x.clamp(min=0), "relu", None),
        (partial(F.gelu, approximate="none"), "gelu", None),
        (None, None, None),
        ("linear", None, None),
        (None, "linear", None),
        ("relu", RELU, None),
        (keras.layers.ReLU(max_value=6.0), RELU_6, None),
        (scaled_tanh, "mine", None),
        (scaled_tanh, MINE, None),
        (nn.ReLU(), "relu6", "activation=ReLU(), where the source has 'relu6'"),
        (partial(F.gelu, approximate="tanh"), "gelu", "where the source has 'gelu'"),
        (lambda x: x.clamp(max=0), "relu", "activation=<lambda>, where the source has 'relu'"),
        (scaled_tanh, "tanh", "activation=scaled_tanh, where the source has 'tanh'"),
        (None, "mine", "activation='linear', where the source has 'mine'"),
        ("relu", MINE, "activation='relu', where the source has 'mine'"),
        ("relu", RELU_6, "activation='relu', where the source has ReLU"),
        (keras.layers.ReLU(), RELU_6, "activation: max_value=None, where the source has 6.0"),
        (keras.layers.ELU(), RELU, "activation: it is a ELU, where the source has a ReLU"),
    ],
)
def test_what_an_activation_computes_counts(own, saved, said):
    module = keras.layers.Dense(2, own)
    found = find_config_differences(
        module, LayerSpec("Dense", "d", {"units": 2, "activation": saved})
    )
    assert not found if said is None else said in "; ".join(found)


@pytest.mark.parametrize(
    ("own", "saved", "said"),
    [
        (lambda x: torch.relu(x) @ torch.eye(2), "relu", None),
        (lambda x: torch.relu(x) @ torch.ones(2, 2), "relu", "<lambda>, where the source has"),
        (lambda x: torch.relu(x) @ torch.eye(7), "relu", "<lambda>, where the source has"),
        (nn.Hardtanh(-8.0, 8.0), "linear", "Hardtanh(min_val=-8.0, max_val=8.0), where"),
        (lambda x: x.clamp(0, 7.5), "relu", "<lambda>, where the source has 'relu'"),
        ("relu", {**RELU, "config": {"name": "r", "max_value": 100.0}}, "'relu', where"),
        (lambda x: torch.relu(x) + 1e-3 * torch.sin(9 * x), "relu", "<lambda>, where"),
    ],
)
def test_an_activation_is_tried_in_shapes_that_it_takes(own, saved, said):
    module = keras.layers.Dense(2, own)
    found = find_config_differences(
        module, LayerSpec("Dense", "d", {"units": 2, "activation": saved})
    )
    assert not found if said is None else said in "; ".join(found)


def test_the_callers_function_is_known_to_the_model_it_loaded(tmp_path):
    file = saved_by_keras_2(tmp_path, "mine")
    model = keras.load_model(file, custom_objects={"mine": scaled_tanh})
    keras.load_weights(model, file)
    model.d = keras.layers.Dense(2, activation=lambda x: 2 * torch.tanh(x))
    keras.load_weights(model, file)
    model.d = keras.layers.Dense(2, activation="relu")
    with pytest.raises(FileError, match="'relu', where the source has scaled_tanh"):
        keras.load_weights(model, file)
    with pytest.warns(UserWarning, match="'relu', where the source has 'mine'"):
        keras.load_weights(copy.deepcopy(model), file, strict=False)


class Named(keras.Conv2D):
    def __init__(self, label, **arguments):
        super().__init__(**arguments)
        self.label = label


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (keras.Conv2D(2, 3, strides=2), {"activation": "mine"}),
        (keras.Conv2D(2, 3, strides=2), {"activation": RELU}),
        (keras.Conv2D(2, 3, strides=2), {"name": "block1/conv"}),
        (keras.Conv2D(2, 3, strides=2), {"kernel_regularizer": "mine"}),
        (keras.Conv2D(2, 3, strides=2, activation=lambda x: x), {}),
        (Named("a", filters=2, kernel_size=3, strides=2), {}),
    ],
)
def test_an_unknown_function_hides_no_other_difference(module, config):
    config = {"filters": 2, "kernel_size": 3, **config}
    found = find_config_differences(module, LayerSpec("Conv2D", "c", config))
    assert "strides=(2, 2), where the source has (1, 1)" in found


# Layers as activations


def as_activation(class_name, **config):
    inner = {"name": "inner", "trainable": True, "dtype": "float32", **config}
    return {"module": "keras.layers", "class_name": class_name, "config": inner}


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (as_activation("Activation", activation="tanh"), torch.tanh),
        (as_activation("Activation", activation=RELU), torch.relu),
        (as_activation("Activation", activation="hard_sigmoid"), activations.hard_sigmoid),
        (as_activation("Rescaling", scale=2.0, offset=1.0), lambda x: 2 * x + 1),
        (as_activation("Dropout", rate=0.5), lambda x: x),
        (as_activation("Reshape", target_shape=[2, 1]), lambda x: x.reshape(-1, 2, 1)),
    ],
)
def test_any_layer_may_be_an_activation(tmp_path, activation, expected):
    file = model_archive(tmp_path / "m.keras", keras_3(activation), TREE)
    model = keras.load_model(file)
    torch.testing.assert_close(model(X), expected(linear_output()))
    assert model.output_shapes["d"][1:] == tuple(model(X).shape[1:])
    config = model.d.get_config()["activation"]
    assert (config["module"], config["class_name"]) == ("keras.layers", activation["class_name"])
    again = type(model.d).from_config(model.d.get_config())
    assert type(again.activation) is type(model.d.activation)


def test_inside_an_activation_layer_of_keras_2_names_mean_what_they_did(tmp_path):
    activation = as_activation("Activation", activation="hard_sigmoid")
    model = keras.load_model(saved_by_keras_2(tmp_path, activation))
    torch.testing.assert_close(model(X), hard_sigmoid_of_keras_2())


@pytest.mark.parametrize("nested", [False, True])
def test_an_activation_may_have_weights_and_an_activation(tmp_path, nested):
    inner = as_activation("Dense", units=2, activation="relu")
    path = "layers/dense/activation"
    if nested:
        inner, path = as_activation("Activation", activation=inner), f"{path}/activation"
    square = np.array([[1, 2], [3, -4]], "f4")
    arrays = {**TREE, f"{path}/vars/0": square, f"{path}/vars/1": BIAS}
    file = model_archive(tmp_path / "m.keras", keras_3(inner), arrays)
    model = keras.load_model(file)
    expected = linear_output() @ torch.from_numpy(square) + torch.from_numpy(BIAS)
    torch.testing.assert_close(model(X), expected.relu())
    again, saved = keras.load_model(file), tmp_path / "again.weights.h5"
    keras.save_weights(model, saved)
    for parameter in again.parameters():
        parameter.data.zero_()
    keras.load_weights(again, saved)
    torch.testing.assert_close(again(X), model(X))


def test_an_activation_without_a_name_can_be_written(tmp_path):
    inner = {"class_name": "PReLU", "config": {"shared_axes": None}}
    slopes = np.array([0.5, 0.25], "f4")
    arrays = {**TREE, "layers/dense/activation/vars/0": slopes}
    model = keras.load_model(model_archive(tmp_path / "m.keras", keras_3(inner), arrays))
    keras.save_weights(model, tmp_path / "again.weights.h5")
    keras.load_weights(model, tmp_path / "again.weights.h5")
    assert model.d.activation.name == "p_re_lu"


@pytest.mark.parametrize(
    "code",
    [
        {"value": ["4wEAAAAA", None, None]},
        {"class_name": "__lambda__", "config": {"value": ["4wEAAAAA", None, None]}},
        "<lambda>",
    ],
)
def test_a_lambda_is_refused_without_its_code(tmp_path, code):
    file = model_archive(tmp_path / "m.keras", keras_3(code), TREE)
    with pytest.raises(FileError) as caught:
        keras.load_model(file)
    said = str(caught.value)
    assert "'d' (Dense): Dense.from_config: activation: `config` must be no lambda" in said
    assert 'custom_layers={"Dense": ...}' in said
    assert "4wE" not in said


def test_a_layer_in_the_place_of_an_activation_can_be_filled_in(tmp_path):
    file = model_archive(tmp_path / "m.keras", keras_3(as_activation("ReLU")), TREE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = keras.load_model(file, custom_layers={"ReLU": lambda config: nn.ReLU6()})
    torch.testing.assert_close(model(9 * X), F.relu6(9 * X @ model.d.kernel + model.d.bias))


def test_layers_are_no_names_of_activations():
    with pytest.raises(ValueError, match="activation: `name` must be one of"):
        activations.get("Reshape")


def test_entries_of_another_package_are_not_taken_for_layers(tmp_path):
    other = {**as_activation("ReLU"), "module": "mine.layers", "registered_name": "mine>ReLU"}
    file = model_archive(tmp_path / "m.keras", keras_3(other), TREE)
    with pytest.raises(FileError, match="about an object of Keras, or of `custom_objects`"):
        keras.load_model(file)
