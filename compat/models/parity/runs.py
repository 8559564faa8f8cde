"""One small network trained twice on the digits: by Keras, and in a plain torch loop.

Three convolutions have regularizers, constraints and an activity term between them; the initial
weights and the batches are the same, and so is the number of steps.

Keras's Adam adds its epsilon to the root of the second moment before that moment's bias is
corrected, torch's Adam after it. `torch_run` makes up for it at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import torch

import kerastorch

DATA = Path(__file__).parents[2] / "digits" / "digits.npz"
STEPS, BATCH = 300, 32
SGD = {"learning_rate": 0.02, "momentum": 0.9}
ADAM = {"learning_rate": 2e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
OPTIMIZERS = ("sgd", "adam")


class Run(NamedTuple):
    """The loss of every step, penalties included, and all weights at the end, in Keras's order."""

    losses: list[float]
    weights: list[np.ndarray]


def network(layers: Any) -> list[Any]:
    """Return the layers, of `keras.layers` or of `kerastorch.layers`."""
    l1l2 = {"class_name": "L1L2", "config": {"l1": 1e-5, "l2": 1e-4}}
    max_norm = {"class_name": "MaxNorm", "config": {"max_value": 1.0, "axis": [0, 1, 2]}}
    unit_norm = {"class_name": "UnitNorm", "config": {"axis": [0, 1, 2]}}
    activity = {"class_name": "L2", "config": {"l2": 1e-5}}
    return [
        layers.Rescaling(1 / 16),
        layers.Conv2D(
            8, 3, padding="same", use_bias=False,  # the normalization takes any bias out again
            kernel_regularizer=l1l2, kernel_constraint=max_norm,
        ),
        layers.BatchNormalization(),
        layers.Activation("tanh"),
        layers.Conv2D(
            12, 3, strides=2, padding="same", activation="tanh", activity_regularizer=activity,
            kernel_constraint=unit_norm, bias_constraint="non_neg",
        ),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="elu", kernel_regularizer="l2"),
        layers.Flatten(),
        layers.Dense(10),
    ]  # fmt: skip


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images and labels of every step."""
    with np.load(DATA, allow_pickle=False) as file:
        images, labels = file["train/images"], file["train/labels"]
    generator = np.random.default_rng(0)
    for _ in range(STEPS):
        chosen = generator.integers(0, len(images), BATCH)
        yield images[chosen][..., None].astype(np.float32), labels[chosen].astype(np.int64)


def initial_weights() -> list[np.ndarray]:
    """Return the weights that both begin with."""
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((8, 8, 1)), *network(keras.layers)]).get_weights()


def keras_run(optimizer: str) -> Run:
    """Train by Keras's own optimizer, with the steps of `fit`."""
    model = keras.Sequential([keras.Input((8, 8, 1)), *network(keras.layers)])
    model.set_weights(initial_weights())
    made = keras.optimizers.Adam(**ADAM) if optimizer == "adam" else keras.optimizers.SGD(**SGD)
    model.compile(made, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = []
    for images, labels in batches():
        model.reset_metrics()
        losses.append(float(model.train_on_batch(images, labels)))
    return Run(losses, model.get_weights())


def torch_run(optimizer: str) -> Run:
    """Train in a plain torch loop."""
    layers = network(kerastorch.layers)
    model = torch.nn.Sequential(*layers)
    model(torch.zeros(1, 8, 8, 1))
    weights = iter(initial_weights())
    for layer in layers:
        layer.set_weights([next(weights) for _ in layer.weights])
    made = adam(model) if optimizer == "adam" else sgd(model)
    kerastorch.attach_constraints(made, model)
    losses = []
    for step, (images, labels) in enumerate(batches(), 1):
        logits = model(torch.from_numpy(images))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        loss = loss + kerastorch.regularization_loss(model)
        made.zero_grad()
        loss.backward()
        if optimizer == "adam":
            for group in made.param_groups:
                group["eps"] = ADAM["epsilon"] / (1 - ADAM["beta_2"] ** step) ** 0.5
        made.step()
        losses.append(loss.item())
    return Run(losses, [array for layer in layers for array in layer.get_weights()])


def sgd(model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return torch's optimizer; Keras's velocity is torch's, times minus the learning rate."""
    return torch.optim.SGD(model.parameters(), SGD["learning_rate"], momentum=SGD["momentum"])


def adam(model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return torch's optimizer."""
    betas = ADAM["beta_1"], ADAM["beta_2"]
    return torch.optim.Adam(model.parameters(), ADAM["learning_rate"], betas)
