"""Random models that Keras saves, loaded, beside Keras's own: inference, and a step of training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch

import kerastorch
from compat.layers.test_convolution import without_onednn
from compat.models.test_models import compare_gradients, randomize, weighted
from tests.models.random_graphs import IMAGE, random_functional

QUICK, MANY = 6, 60
SEEDS = [*range(QUICK), *(pytest.param(s, marks=pytest.mark.sweep) for s in range(QUICK, MANY))]


def differs(entry):
    """Return whether Keras's torch backend gives other numbers than its other backends."""
    config = entry["config"]
    inner = config.get("layers", [])
    average = entry["class_name"] == "AveragePooling2D" and config["padding"] == "same"
    return average or any(map(differs, inner))


def keras_model(config):
    """Return Keras's model of a config, made by calls of its layers."""
    content = config["config"]
    known, layers, waiting = {}, {}, []
    for entry in content["layers"]:
        arguments = {k: v for k, v in entry["config"].items() if k != "name"}
        name = entry["config"]["name"]
        if entry["class_name"] == "InputLayer":
            known[name, 0, 0] = keras.Input(arguments["batch_shape"][1:], name=name)
        elif entry["class_name"] == "Functional":
            layers[name] = keras_model(entry)
        else:
            layers[name] = getattr(keras.layers, entry["class_name"])(name=name, **arguments)
        waiting += [(name, number, one) for number, one in enumerate(entry["inbound_nodes"])]
    while waiting:
        name, number, call = waiting.pop(0)
        (given,) = call["args"]
        several = isinstance(given, list)
        refs = [tuple(t["config"]["keras_history"]) for t in (given if several else [given])]
        before = number and (name, number - 1, 0) not in known
        if before or not all(ref in known for ref in refs):
            waiting.append((name, number, call))
            continue
        tensors = [known[ref] for ref in refs]
        found = layers[name](tensors if several else tensors[0])
        for index, y in enumerate(keras.tree.flatten(found)):
            known[name, number, index] = y
    nested = {name for name, layer in layers.items() if isinstance(layer, keras.Model)}
    ends = [(name, n - (name in nested), index) for name, n, index in content["output_layers"]]
    (start,) = [known[key] for key in known if key[0].endswith("_in") and key[0] not in layers]
    return keras.Model(start, [known[end] for end in ends], name=content["name"])


def require_close(found, expected):
    found, expected = keras.tree.flatten(found), keras.tree.flatten(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_model_computes_the_same(seed, tmp_path):
    keras.utils.clear_session()
    config = random_functional(seed)
    if any(map(differs, config["config"]["layers"])):
        pytest.skip("Keras's torch backend pads an average with its border")
    theirs = keras_model(config)
    randomize(theirs)
    theirs.save(tmp_path / "m.keras")
    ours = kerastorch.load_model(tmp_path / "m.keras")
    x = torch.tensor(np.random.default_rng(seed).normal(size=(4, *IMAGE[1:])), dtype=torch.float32)
    left, right = (x.clone().requires_grad_() for _ in range(2))
    with without_onednn():
        expected = theirs(x, training=False)
        trained = theirs(left, training=True)
        sum(map(weighted, keras.tree.flatten(trained))).backward()
    require_close(ours.eval()(x), expected)
    found = ours.train()(right)
    require_close(found, trained)
    sum(map(weighted, keras.tree.flatten(found))).backward()
    require_close(right.grad, left.grad)
    compare_gradients(theirs, ours)
