"""A hundred training steps beside Keras: regularizers, constraints and momentum at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import kerastorch
from compat.layers.configurations import random_array, relative_difference

keras = pytest.importorskip("keras")
STEPS = 100
LAYERS: list[dict[str, Any]] = [
    {
        "filters": 6,
        "kernel_size": (3, 2),
        "padding": "same",
        "strides": (2, 1),
        "activation": "relu",
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 1e-3, "l2": 2e-3}},
        "kernel_constraint": {
            "class_name": "MaxNorm",
            "config": {"max_value": 0.6, "axis": [0, 1, 2]},
        },
        "activity_regularizer": {"class_name": "L2", "config": {"l2": 1e-3}},
    },
    {
        "filters": 4,
        "kernel_size": (2, 3),
        "activation": "tanh",
        "groups": 2,
        "bias_regularizer": "l1",
        "bias_constraint": "non_neg",
        "kernel_constraint": "non_neg",
        "activity_regularizer": {"class_name": "L1", "config": {"l1": 1e-3}},
    },
    {
        "filters": 2,
        "kernel_size": 2,
        "kernel_constraint": {
            "class_name": "MinMaxNorm",
            "config": {"min_value": 0.2, "max_value": 0.8, "rate": 0.5, "axis": [0, 1]},
        },
        "bias_constraint": "unit_norm",
        "kernel_regularizer": "l2",
    },
]


def initial_weights(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    return [random_array(generator, shape) / 3 for shape in shapes]


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(6)
    shapes = (8, 9, 7, 3), (8, 3, 4, 2)
    return [tuple(random_array(generator, shape) for shape in shapes) for _ in range(STEPS)]


def keras_steps(learning_rate: float) -> list[list[np.ndarray]]:
    """Return the weights after each step of Keras's own SGD."""
    model = keras.Sequential([keras.layers.Conv2D(**arguments) for arguments in LAYERS])
    model.build((None, 9, 7, 3))
    model.set_weights(initial_weights([w.shape for w in model.get_weights()]))
    optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9)
    trace = []
    for x, y in batches():
        model.zero_grad()
        loss = ((model(x) - torch.from_numpy(y)) ** 2).mean() + sum(model.losses)
        loss.backward()
        with torch.no_grad():
            optimizer.apply(
                [v.value.grad for v in model.trainable_weights], model.trainable_weights
            )
        trace.append(model.get_weights())
    return trace


def torch_steps(learning_rate: float, **options: Any) -> list[list[np.ndarray]]:
    """Return the weights after each step of a plain torch loop."""
    model = torch.nn.Sequential(*(kerastorch.layers.Conv2D(**arguments) for arguments in LAYERS))
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9, **options)
    kerastorch.attach_constraints(optimizer, model)
    model(np.zeros((1, 9, 7, 3)))
    arrays = initial_weights([w.shape for layer in model for w in layer.get_weights()])
    for index, layer in enumerate(model):
        layer.set_weights(arrays[2 * index : 2 * index + 2])
    trace = []
    for x, y in batches():
        optimizer.zero_grad()
        loss = ((model(torch.from_numpy(x)) - torch.from_numpy(y)) ** 2).mean()
        (loss + kerastorch.regularization_loss(model)).backward()
        optimizer.step()
        trace.append([w for layer in model for w in layer.get_weights()])
    return trace


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": True}], ids=str)
def test_a_hundred_steps_agree(options: dict[str, bool]) -> None:
    theirs, ours = keras_steps(0.05), torch_steps(0.05, **options)
    assert len(theirs) == len(ours) == STEPS
    for step, (wanted, got) in enumerate(zip(theirs, ours, strict=True)):
        for mine, yours in zip(got, wanted, strict=True):
            assert relative_difference(mine, yours) < 1e-5, step
    assert relative_difference(ours[-1][0], ours[0][0]) > 0.1  # it did train


def test_the_check_can_fail() -> None:
    theirs, ours = keras_steps(0.05)[-1], torch_steps(0.0501)[-1]
    assert max(map(relative_difference, ours, theirs)) > 1e-5
