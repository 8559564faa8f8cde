"""Models rebuilt from their configs, beside Keras's own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import Sequential

from compat.models.keras_models import (
    MODELS,
    dict_inside,
    frozen,
    mixed,
    nested_output,
    nested_structures,
    operations,
    sequential,
    siamese,
)
from kerastorch._core.errors import FileError
from kerastorch.layers.base.layer import Layer
from kerastorch.models.build import build_model
from kerastorch.models.functional import Model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import build_all

FILES = Path(__file__).parents[1] / "files"
pytestmark = pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")


# What compares them


def written(model, path):
    """Return the config as the `.keras` file has it, which tells what is shared."""
    model.save(path)
    return json.loads(zipfile.ZipFile(path).read("config.json"))


def copy_weights(theirs, ours):
    for layer in theirs.layers:
        own = ours.layers[layer.name]
        if isinstance(own, Model):
            copy_weights(layer, own)
        elif isinstance(own, Layer):
            weights = layer.get_weights()
            count = len(own.variables)
            own.set_weights(weights[:count])
            if weights[count:]:
                own.activation.set_weights(weights[count:])


def randomize(model):
    generator = np.random.default_rng(0)
    for weight in model.weights:
        drawn = generator.uniform(0.1, 0.9, weight.shape)
        weight.assign(drawn if "variance" in weight.path else drawn - 0.4)


def inputs_of(model):
    generator = np.random.default_rng(1)

    def drawn(x):
        shape = [4, *(x.shape[1:])]
        return torch.tensor(generator.normal(size=shape) * 2).to(getattr(torch, x.dtype))

    inputs = model.inputs[0] if isinstance(model, Sequential) else model.input
    return keras.tree.map_structure(drawn, inputs)


def pair(make, tmp_path, *, as_file=True):
    keras.utils.clear_session()
    first = make()
    config = written(first, tmp_path / "m.keras") if as_file else json.loads(first.to_json())
    theirs = first if as_file else keras.models.model_from_json(first.to_json())
    theirs(inputs_of(theirs))  # which builds layers that are activations
    randomize(theirs)
    ours = build_model(parse_model_config(config, "config.json", keras.__version__))
    build_all(ours)
    copy_weights(theirs, ours)
    return theirs, ours.train()


def require_equal(found, expected, *, rounded=False):
    found, expected = ([t.detach() for t in keras.tree.flatten(one)] for one in (found, expected))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype is other.dtype
        exact = {"rtol": 2e-6, "atol": 1e-6}
        # Keras rounds to bfloat16 before it adds the bias, this package afterwards.
        close = {"rtol": 2e-2, "atol": 2e-2} if rounded else exact
        torch.testing.assert_close(one, other, **close)


def structure(value):
    return keras.tree.map_structure(lambda t: tuple(t.shape), value)


AS_JSON = [siamese, nested_output, dict_inside, nested_structures, operations]
CASES = [*((make, True) for make in MODELS), *((make, False) for make in AS_JSON)]


@pytest.mark.parametrize("make, as_file", CASES)
def test_a_model_computes_the_same(make, as_file, tmp_path):
    theirs, ours = pair(make, tmp_path, as_file=as_file)
    given = inputs_of(theirs)
    ours.eval()
    found, expected = ours(given), theirs(given, training=False)
    if as_file or make is not nested_structures:
        assert structure(found) == structure(expected)
    require_equal(found, expected, rounded=make is mixed)
    assert sum(p.numel() for p in ours.state_dict().values()) >= theirs.count_params()
    trained = {id(p): p.numel() for p in ours.parameters() if p.requires_grad}
    assert sum(trained.values()) == sum(int(np.prod(w.shape)) for w in theirs.trainable_weights)
    if as_file and make not in (sequential, frozen):  # these draw a dropout
        require_same_training(theirs, ours, make)


@pytest.mark.parametrize("make", MODELS)
def test_shapes_are_known_before_anything_is_built(make, tmp_path):
    keras.utils.clear_session()
    model = make()
    ours = build_model(
        parse_model_config(json.loads(model.to_json()), "config.json", keras.__version__)
    )
    assert all(isinstance(p, torch.nn.UninitializedParameter) for p in ours.parameters())
    for layer in model.layers:
        built = layer.get_build_config() if layer.weights else None
        if built is not None and built.get("input_shape") is not None:
            assert ours.input_shapes[layer.name] == tuple(built["input_shape"])
    inputs = inputs_of(model)
    shapes = keras.tree.map_structure(lambda x: tuple(x.shape), inputs)
    found = keras.tree.map_shape_structure(tuple, ours.compute_output_shape(shapes))
    assert found == keras.tree.map_structure(lambda x: tuple(x.shape), model(inputs))


def require_same_training(theirs, ours, make):
    """Compare two calls in training: outputs, loss terms, gradients and moving statistics."""
    given = inputs_of(theirs)
    ours.train()
    for _ in range(2):  # the second call starts afresh
        results = []
        for model, call in ((theirs, lambda x: theirs(x, training=True)), (ours, ours)):
            for weight in model.weights if model is theirs else model.parameters():
                tensor = weight.value if model is theirs else weight
                tensor.grad = None
            outputs = call(given)
            losses = model.losses
            total = sum(weighted(t) for t in keras.tree.flatten(outputs))
            total = total + sum(loss.float() for loss in losses)
            if total.requires_grad:
                total.backward()
            results.append((outputs, sum(losses) if losses else torch.zeros(()), len(losses)))
        (expected, terms, count), (found, own, own_count) = results
        require_equal(found, expected, rounded=make is mixed)
        if make is mixed:
            continue
        torch.testing.assert_close(own.float(), terms.float(), rtol=2e-6, atol=1e-6)
        assert own_count == count
        compare_gradients(theirs, ours)
    copied = build_model(ours.spec)
    build_all(copied)
    copy_weights(theirs, copied)  # the moving statistics, too
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, copied.state_dict()[name], rtol=2e-6, atol=1e-6)


def weighted(outputs):
    weights = torch.linspace(-1.0, 2.0, outputs.numel(), dtype=outputs.dtype)
    return (outputs.flatten() * weights).sum().float()


def compare_gradients(theirs, ours, largest=None):
    """Compare all gradients; some, of a bias before a normalization, are nothing but rounding."""
    if largest is None:
        found = [weight.value.grad for weight in theirs.trainable_weights]
        largest = max((float(g.abs().max()) for g in found if g is not None), default=0.0)
    for layer in theirs.layers:
        own = ours.layers[layer.name]
        if isinstance(own, Model):
            compare_gradients(layer, own, largest)
        elif isinstance(own, Layer):
            parts = [*own.variables]
            if isinstance(getattr(own, "activation", None), Layer):
                parts += own.activation.variables
            for weight, variable in zip(layer.weights, parts, strict=True):
                expected = weight.value.grad if weight.trainable else None
                gradients = [parameter.grad for parameter in variable.parameters]
                if expected is None or any(one is None for one in gradients):
                    continue
                view = variable.view(*gradients)
                scale = max(float(expected.abs().max()), 1.0, largest / 10)
                torch.testing.assert_close(view, expected, rtol=2e-5, atol=2e-5 * scale)


# What tf.keras and earlier Keras wrote


def config_of(path):
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if zipfile.is_zipfile(path):
        return json.loads(zipfile.ZipFile(path).read("config.json"))
    with h5py.File(path) as file:
        text = file.attrs.get("model_config")
    return None if text is None else json.loads(text)


def with_configs():
    for path in sorted(FILES.rglob("*")):
        plain = path.suffix in (".keras", ".h5", ".json") and path.name != "metadata.json"
        if plain and path.parent != FILES and not path.name.endswith("weights.json"):
            if config_of(path) is not None:
                yield path


@pytest.mark.parametrize("path", list(with_configs()), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_file_is_rebuilt_or_says_why_not(path):
    if path.stem == "subclass":
        with pytest.raises(FileError, match="rebuild the class in PyTorch"):
            parse_model_config(config_of(path), path.name)
        return
    spec = parse_model_config(config_of(path), path.name)
    model = build_model(spec)
    build_all(model)
    shape = model.input_shapes[next(iter(model.layers))]
    x = torch.zeros([2, *shape[1:]])
    assert model.eval()(x) is not None
