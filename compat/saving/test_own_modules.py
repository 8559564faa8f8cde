"""Modules of the caller's own in the place of Keras layers with weights, in every file format."""

from __future__ import annotations

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import torch
from torch import nn

import kerastorch

L = keras.layers


# Layers in Keras, with weights of their own and with layers inside


@keras.saving.register_keras_serializable("own")
class Affine(L.Layer):
    def build(self, shape):
        self.matrix = self.add_weight(name="matrix", shape=(shape[-1], 3))
        self.offset = self.add_weight(name="offset", shape=(3,))

    def call(self, x):
        return x @ self.matrix + self.offset


@keras.saving.register_keras_serializable("own")
class Conv(L.Conv2D):
    pass


@keras.saving.register_keras_serializable("own")
class Block(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = L.Conv2D(4, 1), L.Conv2D(4, 3, padding="same")
        self.norm = L.BatchNormalization(epsilon=1e-2)

    def build(self, shape):
        self.first.build(shape)
        inner = self.first.compute_output_shape(shape)
        self.second.build(inner)
        self.norm.build(inner)
        self.scale = self.add_weight(name="scale", shape=(1,))

    def call(self, x):
        return self.scale * self.norm(self.second(self.first(x)))


# What takes their weights in PyTorch; inputs and outputs have the channels last, as in Keras


class Named(nn.Module):
    """Parameters with Keras's names and shapes."""

    def __init__(self, config):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(3))
        self.matrix = nn.Parameter(torch.zeros(2, 3))

    def forward(self, x):
        return x @ self.matrix + self.offset


class Unnamed(nn.Module):
    """A layer of torch's inside, and no name of Keras's."""

    def __init__(self, config):
        super().__init__()
        self.project = nn.Linear(2, 3)

    def forward(self, x):
        return self.project(x)


class ByMethod(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 2))
        self.register_buffer("shift", torch.zeros(3))

    def load_keras_weights(self, weights):
        matrix, offset = weights.values()
        self.weight.copy_(torch.from_numpy(matrix.T))
        self.shift.copy_(torch.from_numpy(offset))

    def forward(self, x):
        return nn.functional.linear(x, self.weight, self.shift)


class Wrapper(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv = nn.Conv2d(2, config["filters"], config["kernel_size"])

    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Subclass(nn.Conv2d):
    def forward(self, x):
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class TorchBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.first, self.second = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, eps=1e-2)

    def forward(self, x):
        x = self.norm(self.second(self.first(x.permute(0, 3, 1, 2))))
        return self.scale * x.permute(0, 2, 3, 1)


def mixed_block(config):
    """Make a module of this package's layers, which are built by the weights."""
    block = TorchBlock(config)
    block.first = kerastorch.Conv2D(4, 1)
    block.second = kerastorch.Conv2D(4, 3, padding="same")
    block.norm = kerastorch.layers.BatchNormalization(epsilon=1e-2)
    block.forward = lambda x: block.scale * block.norm(block.second(block.first(x)))
    return block


CASES = {
    "names": (Affine, {"Affine": Named}),
    "a layer inside": (Affine, {"Affine": Unnamed}),
    "a method": (Affine, {"Affine": ByMethod}),
    "a wrapper": (lambda: Conv(4, (3, 2)), {"own>Conv": Wrapper}),
    "a subclass": (lambda: Conv(4, (3, 2)), {"Conv": lambda config: Subclass(2, 4, (3, 2))}),
    "this package": (
        lambda: Conv(4, (3, 2)),
        {"Conv": lambda config: kerastorch.Conv2D(4, (3, 2))},
    ),
    "a block": (Block, {"Block": TorchBlock}),
    "a block of this package": (Block, {"Block": mixed_block}),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_module_of_ones_own_takes_its_weights_from_every_format(tmp_path, name, nested):
    make, custom_layers = CASES[name]
    generator = np.random.default_rng(3)
    inner = [keras.Input((6, 5, 2)), L.Dense(2), make()]
    if nested:
        inner = [keras.Input((6, 5, 2)), keras.Sequential(inner, name="inner")]
    theirs = keras.Sequential([*inner, L.Dense(2)])
    for weight in theirs.weights:
        weight.assign(generator.uniform(0.2, 1.0, weight.shape))
    x = generator.normal(size=(2, 6, 5, 2)).astype("float32")
    expected = torch.as_tensor(np.asarray(theirs(x, training=False).detach()))
    theirs.save(tmp_path / "m.keras")
    theirs.save(tmp_path / "m.h5")
    theirs.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(theirs.to_json())
    for source, weights in (
        ("m.keras", None),
        ("m.h5", None),
        ("m.json", tmp_path / "m.weights.h5"),
        ("m.json", theirs),
        ("m.json", theirs.get_weights()),
    ):
        in_doubt = isinstance(weights, list) and make is Block
        said = "receives arrays of equal shapes in the order in which its parameters are registered"
        with pytest.warns(UserWarning, match=said) if in_doubt else nullcontext():
            model = kerastorch.load_model(
                tmp_path / source, weights=weights, custom_layers=custom_layers
            )
        with torch.no_grad():
            torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
        again = kerastorch.load_model(theirs, custom_layers=custom_layers)
        for tensor in again.state_dict().values():
            tensor.zero_()
        with pytest.warns(UserWarning, match=said) if in_doubt else nullcontext():
            kerastorch.load_weights(again, tmp_path / source if weights is None else weights)
        for key, tensor in model.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                torch.testing.assert_close(again.state_dict()[key], tensor)
