"""Models of Keras, and what is checked of them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

FILES = Path(__file__).parents[1] / "files"
PARTS = (".weights.h5", "_w.h5", ".weights.json")


def arguments(path):
    """How `load_model` takes a file: alone, or as the weights of the config beside it."""
    if path.name.endswith(PARTS):
        base = path.name.split(".")[0].removesuffix("_w")
        for config in (f"{base}.json", f"{base}.keras"):
            if (path.parent / config).exists():
                return (path.parent / config,), {"weights": path}
    return (path,), {}


def arrays_of(model):
    return {name: value.float().numpy() for name, value in model.state_dict().items()}


def inputs_of(model):
    """The same random inputs for both, in the structure that Keras's model tells."""
    generator = torch.Generator().manual_seed(1)
    symbols, structure = pytree.tree_flatten(getattr(model, "_inputs_struct", model.inputs[0]))
    shapes = [tuple(n or 7 for n in one.shape[1:]) for one in symbols]
    given = [torch.rand((3, *shape), generator=generator) for shape in shapes]
    return pytree.tree_unflatten(given, structure)


def assert_same_outputs(ours, theirs, rtol=1e-5, atol=1e-6):
    given = inputs_of(theirs)
    with torch.no_grad():
        left, right = ours(given), theirs(given, training=False)
    for one, other in zip(pytree.tree_leaves(left), pytree.tree_leaves(right), strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=rtol, atol=atol)


# Models that are no Sequential or Functional ones: into modules of one's own


class Sub(nn.Module):
    """The subclassed model of the files `subclass.*`."""

    def __init__(self):
        super().__init__()
        self.a, self.z = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(2, 2, 1) for _ in range(2))
        self.w = nn.Parameter(torch.zeros(2))


# From live models, and back


def nested():
    """A model with a shared layer, nested models, an activation with weights, frozen parts."""
    inside = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="inner_a")(inside)
    x = keras.layers.BatchNormalization(name="inner_bn")(x)
    functional = keras.Model(inside, keras.layers.ReLU()(x), name="inner")
    sequential = keras.Sequential(
        [
            keras.Input((6, 5, 4)),
            keras.layers.Conv2D(2, (2, 1), activation=keras.layers.PReLU(shared_axes=[1, 2])),
            keras.layers.BatchNormalization(center=False, trainable=False),
        ],
        name="tail",
    )
    given = keras.Input((6, 5, 3), name="image")
    shared = keras.layers.Conv2D(3, 1, name="shared", dtype="float64")
    x = shared(shared(given))
    y = functional(x)
    z = keras.layers.Concatenate()([keras.layers.Conv2D(4, 1, use_bias=False)(x), y])
    out = keras.layers.Dense(3, name="head")(keras.layers.Flatten()(sequential(y)))
    model = keras.Model(given, [out, keras.layers.GlobalAveragePooling2D()(z)], name="whole")
    model(np.zeros((1, 6, 5, 3)))  # only a call builds an activation
    randomize(model)
    return model


def randomize(model):
    generator = np.random.default_rng(3)
    values = [generator.uniform(0.5, 1.5, weight.shape) for weight in model.weights]
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(value.astype("float32"))
