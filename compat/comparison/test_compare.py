"""compare beside live Keras, and the recorder."""

from __future__ import annotations

import runpy
from collections import OrderedDict
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

from kerastorch import compare
from kerastorch._comparison.side_by_side import read_recording
from kerastorch.saving.model_loading import load_model

HERE = Path(__file__).parents[1]
RECORDER = runpy.run_path(str(HERE / "record_reference.py"))
record, random_inputs, main = (RECORDER[n] for n in ("record", "random_inputs", "main"))
IMAGES = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype(np.float32)


def network() -> keras.Model:
    """A nested model called twice, an operation, two inputs, and no initial statistics."""
    body = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(3, 3, strides=1, padding="same", activation="relu", name="conv"),
            layers.BatchNormalization(name="norm", epsilon=1e-2),
        ],
        name="body",
    )
    image, scale = keras.Input((9, 8, 3), name="image"), keras.Input((3,), name="scale")
    x = body(body(image))
    x = layers.MaxPooling2D(2, padding="same", name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(keras.ops.relu(x))
    x = layers.Multiply(name="scaled")([x, scale])
    model = keras.Model([image, scale], layers.Dense(4, activation="softmax", name="dense")(x))
    generator = np.random.default_rng(1)
    model.set_weights([generator.uniform(0.1, 0.5, w.shape) for w in model.get_weights()])
    return model


INPUTS = [IMAGES, IMAGES[:, 0, 0]]


class Port(nn.Module):
    """The network in plain PyTorch, on NCHW images inside."""

    def __init__(self, model: keras.Model, epsilon: float = 1e-2, padding: int = 1) -> None:
        super().__init__()
        self.body = nn.Module()
        self.body.conv = nn.Conv2d(3, 3, 3, padding=padding)
        self.body.norm = nn.BatchNorm2d(3, eps=epsilon)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.dense = nn.Linear(3, 4)
        body = model.get_layer("body")
        kernel, bias = body.get_layer("conv").get_weights()
        dense, last = model.get_layer("dense").get_weights()
        norm = body.get_layer("norm").get_weights()
        with torch.no_grad():
            self.body.conv.weight.copy_(torch.from_numpy(kernel).permute(3, 2, 0, 1))
            self.body.conv.bias.copy_(torch.from_numpy(bias))
            self.dense.weight.copy_(torch.from_numpy(dense).T)
            self.dense.bias.copy_(torch.from_numpy(last))
            state = ("weight", "bias", "running_mean", "running_var")
            for name, value in zip(state, norm, strict=True):
                getattr(self.body.norm, name).copy_(torch.from_numpy(value))

    def forward(self, image: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        x = image.permute(0, 3, 1, 2)
        for _ in range(2):
            x = self.body.norm(torch.relu(self.body.conv(x)))
        x = torch.relu(self.pool(x)).mean((2, 3))
        return self.dense(x * scale).softmax(-1)


def test_a_plain_port_of_a_live_model() -> None:
    model = network()
    port = Port(model).train()
    found = compare(port, model, INPUTS)
    assert found.ok, str(found)
    assert port.training
    rows = {(row.layer, row.call): row for row in found.layers}
    assert rows["body/conv", 0].note == "activation comes after it"
    assert rows["body/norm", 1].relative < 1e-5
    assert set(found.missing) == {"body", "relu", "mean", "scaled"}


def test_mistakes_beside_a_live_model() -> None:
    model = network()
    wrong = compare(Port(model, epsilon=1e-5), model, INPUTS)
    assert (wrong.first.layer, wrong.cause.name) == ("body/norm", "epsilon")
    assert "Keras's is 0.01" in wrong.cause.text
    port = Port(model, padding=0)
    wrong = compare(port, model, INPUTS)
    assert (wrong.first.layer, wrong.cause.name) == ("body/conv", "padding")
    port = Port(model)
    with torch.no_grad():
        port.body.conv.weight.copy_(port.body.conv.weight.transpose(2, 3).clone())
    wrong = compare(port, model, INPUTS)
    assert (wrong.first.layer, wrong.cause.name) == ("body/conv", "kernel height and width")


def test_the_live_model_is_left_as_it_was() -> None:
    model = network()
    before = model.predict(INPUTS, verbose=0)
    every = [*model.operations, *model.get_layer("body").layers]
    compare(Port(model), model, INPUTS)
    assert not any("call" in vars(layer) for layer in every)
    np.testing.assert_array_equal(model.predict(INPUTS, verbose=0), before)


def test_a_loaded_model_beside_its_live_one_and_its_recording(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "net.keras"
    model.save(path)
    loaded = load_model(path)
    live = compare(loaded, model, INPUTS)
    assert live.ok, str(live)
    assert live.missing == ()
    assert len(live.layers) == len(record(model, INPUTS, tmp_path / "net.reference.npz").calls)
    recorded = compare(loaded, tmp_path / "net.reference.npz")
    assert recorded.ok
    assert [row.relative for row in recorded.layers] == [row.relative for row in live.layers]


def test_the_command_records_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.keras"
    network().save(path)
    main([str(path), "--batch", "3", "--seed", "7", "--size", "12"])
    reference = tmp_path / "net.reference.npz"
    assert str(reference) in capsys.readouterr().err
    recording = read_recording(reference)
    assert recording.keras == keras.__version__
    assert recording.backend == "torch"
    assert [array.shape for array in recording.inputs] == [(3, 9, 8, 3), (3, 3)]
    assert {"body/conv", "body/norm", "dense"} == set(recording.weights)
    assert list(recording.weights["body/norm"])[2:] == ["moving_mean", "moving_variance"]
    assert compare(load_model(path), reference).ok
    main([str(path), "-o", str(tmp_path / "small.npz"), "--no-weights"])
    assert read_recording(tmp_path / "small.npz").weights == {}


def test_random_inputs() -> None:
    token = keras.Input((None,), dtype="int32", name="token")
    image = keras.Input((None, 5, 2), dtype="bfloat16", name="image")
    mask = keras.Input((4,), dtype="bool", name="mask")
    model = keras.Model({"token": token, "image": image, "mask": mask}, token)
    found = random_inputs(model, 2, 6, 0)
    assert {name: array.shape for name, array in found.items()} == {
        "token": (2, 6),
        "image": (2, 6, 5, 2),
        "mask": (2, 4),
    }
    assert [str(found[n].dtype) for n in ("token", "image", "mask")] == ["int32", "float32", "bool"]
    again = random_inputs(model, 2, 6, 0)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    assert not np.array_equal(found["image"], random_inputs(model, 2, 6, 1)["image"])

    class Own(keras.Model):
        pass

    with pytest.raises(SystemExit, match="Own does not know its inputs"):
        random_inputs(Own(), 2, 6, 0)


def test_a_subclassed_model() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="own")
            self.first = layers.Dense(4, activation="relu", name="first")
            self.blocks = [layers.Dense(3, name="second")]

        def call(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.blocks[0](self.first(inputs))

    inputs = IMAGES[:, 0, 0]
    model = Own()
    model(inputs)

    def dense(layer: keras.layers.Layer) -> nn.Linear:
        kernel, bias = map(torch.from_numpy, layer.get_weights())
        module = nn.Linear(*kernel.shape)
        module.load_state_dict({"weight": kernel.T, "bias": bias})
        return module

    first, second = dense(model.first), dense(model.blocks[0])
    wrong = compare(nn.Sequential(OrderedDict(first=first, second=second)), model, inputs)
    assert (wrong.first.layer, wrong.cause.name) == ("first", "activation")
    port = nn.Sequential(OrderedDict(first=first, relu=nn.ReLU(), second=second))
    assert compare(port, model, inputs).ok
