"""Models that stand for Keras's, and their ports."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kerastorch import compare, layers

HEIGHT, WIDTH, CHANNELS = 7, 6, 3  # odd and even, so that "same" is uneven along one axis only


class StandIn:
    """What compare knows a layer of Keras by."""

    def __init__(self, layer, name=None):
        self.name = name or layer.name
        self.layer = layer

    @property
    def weights(self):
        return getattr(self.layer, "variables", ())

    def get_weights(self):
        return self.layer.get_weights() if self.weights else []

    def call(self, inputs):
        return self.layer(inputs)


class Keras:
    """A Sequential of stand-ins."""

    name = "net"

    def __init__(self, *found):
        self.operations = self.layers = [StandIn(layer) for layer in found]

    @torch.no_grad()
    def __call__(self, inputs, training):
        assert training is False
        x = torch.from_numpy(inputs)
        for layer in self.operations:
            x = layer.call(x)
        return x


class Plain(nn.Module):
    """Named modules and functions, one after another."""

    def __init__(self, **steps):
        super().__init__()
        self.steps = steps
        for name, step in steps.items():
            if isinstance(step, nn.Module):
                self.add_module(name, step)

    def forward(self, x):
        for step in self.steps.values():
            x = step(x)
        return x


def batch(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


IMAGES = batch(2, HEIGHT, WIDTH, CHANNELS)


def with_weights(layer, shape):
    """Build a layer, and give it weights that show every mistake."""
    layer.eval()
    layer(torch.zeros(shape))
    if layer.variables:
        drawn = {v.name: batch(*v.value.shape) for v in layer.variables}
        if "moving_variance" in drawn:
            drawn["moving_variance"] = np.abs(drawn["moving_variance"]) * 0.01
        layer.set_weights(list(drawn.values()))
    return layer


def conv(**arguments):
    arguments = {"strides": 2, "padding": "same", "name": "conv", **arguments}
    return with_weights(layers.Conv2D(4, (3, 2), **arguments), IMAGES.shape)


def plain_conv(layer, **arguments):
    """The plain module that a porter would write for a convolution, with the right weights."""
    arguments = {"stride": 2, "padding": (1, 1), **arguments}
    module = nn.Conv2d(CHANNELS, 4, (3, 2), bias=layer.bias is not None, **arguments)
    module.load_state_dict(layer.state_dict())
    return module


def first_cause(model, *reference, inputs=IMAGES):
    """Return the name of the cause, after checking that it stands in the table."""
    found = compare(model, Keras(*reference), inputs)
    assert not found.ok
    assert found.first is not None and not found.first.ok
    assert found.cause is not None, str(found)
    assert found.cause.layer == found.first.layer
    assert found.cause.text in str(found)
    return found.cause.name


# Agreement


def network(last="softmax"):
    """A network of Keras's layers, built, with weights that are not the initial ones."""
    return [
        conv(activation="relu"),
        with_weights(layers.BatchNormalization(name="bn"), (2, 4, 3, 4)),
        layers.MaxPooling2D(2, padding="same", name="pool"),
        layers.Flatten(name="flatten"),
        with_weights(layers.Dense(5, activation=last, name="dense"), (2, 16)),
    ]


def ported(found):
    names = [layer.name for layer in found]
    return Plain(**dict(zip(names, found, strict=True)))


def plain_port(found):
    """The same network as plain modules on channels-first data, activations outside."""
    first, bn, _, _, dense = found
    norm = nn.BatchNorm2d(4, eps=1e-3)
    norm.load_state_dict(bn.state_dict(), strict=False)
    last = nn.Linear(16, 5)
    last.load_state_dict(dense.state_dict())
    return Plain(
        conv=first.to_torch((HEIGHT, WIDTH))[:-1],
        relu=nn.ReLU(inplace=True),
        bn=norm,
        pool=nn.MaxPool2d(2, ceil_mode=True),
        flat=lambda x: x.permute(0, 2, 3, 1).flatten(1),
        dense=last,
        softmax=lambda x: x.softmax(-1),
    )


def square_conv(**arguments):
    arguments = {"name": "conv", **arguments}
    return with_weights(layers.Conv2D(CHANNELS, 3, **arguments), IMAGES.shape)


def transposed(**arguments):
    """A square transposed convolution, whose strided "same" crops one place at the end."""
    arguments = {"strides": 2, "padding": "same", "name": "conv", **arguments}
    return with_weights(layers.Conv2DTranspose(CHANNELS, 3, **arguments), IMAGES.shape)


def plain_transposed(layer, **arguments):
    """The plain module that a porter would write for it, with the right weights."""
    module = nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2, **arguments)
    module.load_state_dict(layer.state_dict())
    return module


def padded_by_hand(*found):
    """Strided "same" convolutions as a porter writes them: padding and activation around them."""
    steps = {"nchw": channels_first}
    for layer, amounts in zip(found, [(0, 0, 1, 1), (0, 1, 0, 1)], strict=True):
        outs, ins, *size = layer.weight.shape
        module = nn.Conv2d(ins, outs, size, 2)
        module.load_state_dict(layer.state_dict())
        steps[f"pad_{layer.name}"] = partial(F.pad, pad=amounts)
        steps |= {layer.name: module, f"relu_{layer.name}": F.relu}
    return Plain(**steps)


def flattening():
    dense = with_weights(layers.Dense(4, name="dense"), (2, HEIGHT * WIDTH * CHANNELS))
    return layers.Flatten(name="flatten"), dense


def channels_first(x):
    return x.permute(0, 3, 1, 2)
