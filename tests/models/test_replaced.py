"""Models whose layers were replaced or deleted: all that they show and do is that of now."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

import kerastorch
from kerastorch.layers import Conv2D, Dense
from kerastorch.models.build import build_model
from kerastorch.saving import FileError
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.building.examples import built, shared
from tests.models.building.test_operations import Twice
from tests.models.configs import (
    chain,
    dense,
    functional,
    input_layer,
    inside,
    layer,
    node,
    sequential,
)
from tests.models.configs import tensor as ref

REPLACED = {
    "setattr": lambda model, name, module: setattr(model, name, module),
    "add_module": lambda model, name, module: model.add_module(name, module),
    "_modules": lambda model, name, module: model._modules.update({name: module}),
}


class Mine(nn.Module):
    """A user's module, with attributes that a model has, too."""

    def __init__(self):
        super().__init__()
        self.spec, self.layers = "mine", 3
        self.w = nn.Parameter(torch.ones(5, 2))

    def forward(self, x):
        return x @ self.w


class Raising(nn.Module):
    def compute_output_shape(self, input_shape):
        raise AssertionError(input_shape)


def backbone(make=chain):
    parts = dense("a", units=8), dense("b", units=5), layer("Dropout", "drop", rate=0.5)
    head = dense("head", units=10)
    entries = (*parts, head) if make is chain else (input_layer("x"), *parts, head)
    return built(make(*entries)).eval()


def row(model, name):
    return next(line.split() for line in repr(model).splitlines() if line.strip().startswith(name))


def shown(model, name):
    """Return the output shape in a layer's row of the table."""
    line = " ".join(row(model, name))
    return line.partition(") ")[2].rpartition(")")[0] + ")" if "?" not in line else "?"


# Shapes


@pytest.mark.parametrize("how", REPLACED)
@pytest.mark.parametrize("make", [chain, sequential])
@pytest.mark.parametrize(
    ("make_head", "units"),
    [
        (lambda: Dense(3), 3),
        (lambda: nn.Linear(5, 3), 3),
        (lambda: nn.Sequential(nn.Dropout(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)), 2),
        (lambda: nn.Identity(), 5),
        (lambda: nn.Dropout(), 5),
        (lambda: Mine(), None),
    ],
)
def test_shapes_are_those_of_the_module_there_now(how, make, make_head, units):
    model = backbone(make)
    REPLACED[how](model, "head", make_head())
    y = model(torch.randn(2, 4))
    if units is None:
        assert shown(model, "head") == "?" and "head" not in model.output_shapes
        return
    assert y.shape == (2, units)
    assert model.output_shapes["head"] == model.compute_output_shape((None, 4)) == (None, units)
    assert f"(None, {units})" in " ".join(row(model, "head"))


def test_what_follows_is_worked_out_anew():
    model = backbone()
    model.b = nn.Linear(8, 6)
    assert model.output_shapes["b"] == model.input_shapes["head"] == (None, 6)
    assert "head" not in model.output_shapes  # it is built for 5 channels
    assert shown(model, "head") == "?"
    with pytest.raises(ValueError, match="'head': Dense: `input_shape` must be of the sizes"):
        model.compute_output_shape((None, 4))
    model.head = Dense(2)
    assert model.compute_output_shape((None, 4)) == (None, 2)
    model.b = Mine()
    assert list(model.output_shapes) == ["x", "a"]
    model.b = Conv2D(2, 3)
    assert list(model.output_shapes) == ["x", "a"]
    assert shown(model, "b") == shown(model, "drop") == "?"


def test_attributes_of_layers_count():
    model = built(
        sequential(
            input_layer("x", (None, 6, 5, 2)),
            layer("MaxPooling2D", "pool", pool_size=2),
            layer("UpSampling2D", "up", size=2),
        )
    )
    assert model.output_shapes["up"] == (None, 6, 4, 2)
    model.pool = kerastorch.layers.MaxPooling2D(3)
    assert model.output_shapes["up"] == (None, 4, 2, 2)
    model.x = nn.Identity()  # nothing calls it
    assert model.output_shapes["up"] == (None, 4, 2, 2)


@pytest.mark.parametrize("module", [Mine(), Raising(), nn.Flatten(), nn.LSTM(4, 2), Conv2D(2, 3)])
def test_the_table_never_raises(module):
    for name in ("a", "head", "x"):
        model = backbone()
        setattr(model, name, module)
        assert f"{name} (" in repr(model)


def custom(shape):
    """Return a model with a layer of the user's own before a Dense."""
    return build_model(
        parse_model_config(
            functional(
                input_layer("x"),
                dense("a", [node(ref("x"))], 4),
                layer("Twice", "t", [node(ref("a", shape=[None, 4]))], factor=2.0),
                dense("b", [node(ref("t", shape=shape))]),
                inputs=["x", 0, 0],
                outputs=["b", 0, 0],
            ),
            "config.json",
        ),
        {"Twice": Twice},
    )


@pytest.mark.parametrize("copied", [lambda m: m, copy.deepcopy, "pickle", copy.copy])
def test_the_files_shapes_count_only_where_nothing_was_changed(copied):
    def again(model):
        return pickle.loads(pickle.dumps(model)) if copied == "pickle" else copied(model)

    model = again(custom([None, 4]))
    assert model.input_shapes["b"] == (None, 4)
    for name in ("t", "a"):
        model = again(custom([None, 4]))
        setattr(model, name, Twice({"factor": 3.0}) if name == "t" else nn.Linear(4, 4))
        assert "b" not in model.input_shapes
        assert "b" not in again(model).input_shapes


def test_a_replaced_layer_is_freed():
    model = built(shared())
    gone = weakref.ref(model.inner.d)
    model.inner.d = nn.Linear(4, 4)
    gc.collect()
    assert gone() is None


def nested(make):
    inner = functional(
        input_layer("in"), dense("d", [node(ref("in"))], 4),
        inputs=["in", 0, 0], outputs=["d", 0, 0], name="inner",
    )  # fmt: skip
    if make == "sequential":
        inner = sequential(dense("d", units=4), name="inner")
    return built(functional(
        input_layer("x"), dense("a", [node(ref("x"))], 4),
        inside(inner, [node(ref("a"))]), dense("last", [node(ref("inner", 0))], 2),
        inputs=["x", 0, 0], outputs=["last", 0, 0],
    ))  # fmt: skip


@pytest.mark.parametrize("make", ["sequential", "functional"])
def test_nested_models_are_shown_as_they_are(make):
    model = nested(make)
    assert model.inner.output_shapes["d"] == (None, 4)
    model.inner.d = nn.Linear(4, 7)
    model.last = nn.Linear(7, 2)
    assert model.inner.output_shapes["d"] == model.output_shapes["inner"] == (None, 7)
    assert model.compute_output_shape((None, 4)) == (None, 2)
    assert "(None, 7)" in " ".join(row(model, "d ("))
    model.inner.d = Mine()
    assert shown(model, "inner") == shown(model, "d (") == "?"
    model.inner = Mine()
    assert shown(model, "inner") == "?" and "d (" not in repr(model)


def test_a_nested_model_is_shown_for_what_it_gets_now():
    model = nested("sequential")
    model.a, model.inner.d = nn.Linear(4, 6), Dense(3)
    assert model.output_shapes["inner"] == (None, 3)
    model.a = nn.Sequential(nn.Linear(4, 6), Mine())
    assert shown(model, "d (") == shown(model, "inner") == "?"


# Activity terms of layers that are called twice


def test_terms_of_a_replaced_shared_layer_add_up():
    model = built(shared())
    model.inner.d = Dense(4, activity_regularizer="l1", input_shape=(4,))
    for _ in range(2):
        model(torch.randn(2, 4))
        assert len(model.losses) == 4
    model.inner = Dense(4, activity_regularizer="l1", input_shape=(4,))
    for _ in range(2):
        model(torch.randn(2, 4))
        assert len(model.losses) == 2


# Weights


def test_what_was_saved_is_loaded_again(tmp_path):
    path = tmp_path / "m.weights.h5"
    for head in (nn.Linear(5, 3), nn.Linear(5, 3, bias=False), Dense(3, input_shape=(5,))):
        model = backbone()
        model.head, model.drop = head, nn.Identity()
        model.a.activation = "relu"
        kerastorch.save_weights(model, path)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        for parameter in model.parameters():
            parameter.data.zero_()
        kerastorch.load_weights(model, path)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_rest_is_loaded_from_the_first_file(tmp_path):
    path = tmp_path / "m.weights.h5"
    kerastorch.save_weights(backbone(), path)
    model = backbone()
    model.head = nn.Linear(5, 3)
    with pytest.raises(FileError, match=r"head\.weight has the shape \(5, 3\) .* \(5, 10\)"):
        kerastorch.load_weights(model, path)
    report = kerastorch.load_weights(model, path, mapping={"head": None}, strict=False)
    assert len(report.loaded) == 4


@pytest.mark.parametrize(
    ("name", "module", "found"),
    [
        ("head", nn.Sequential(nn.Dropout(), nn.Linear(5, 3)), "Dense.*Sequential"),
        ("head", Mine(), "Dense.*Mine"),
        ("head", nn.Identity(), "Dense.*Identity"),
        ("head", Conv2D(2, 3, input_shape=(5, 5, 1)), "Dense.*Conv2D"),
        ("drop", nn.Linear(5, 5), "Dropout.*Linear"),
    ],
)
def test_what_keras_could_not_load_is_not_written(tmp_path, name, module, found):
    model = backbone()
    setattr(model, name, module)
    with pytest.raises(ValueError, match=rf"  {name}: the model's config has a {found}\. Save"):
        kerastorch.save_weights(model, tmp_path / "m.weights.h5")
    assert not list(tmp_path.iterdir())


def test_activations_with_weights_and_nested_models_have_their_places(tmp_path):
    prelu = {"class_name": "PReLU", "config": {"name": "p", "trainable": True}}
    model = built(sequential(input_layer("x"), dense("d", activation=prelu)))
    kerastorch.save_weights(model, tmp_path / "m.weights.h5")
    model.d = nn.Linear(4, 3)
    with pytest.raises(ValueError, match=r"  d: the model's config has a Dense, .*Found: Linear"):
        kerastorch.save_weights(model, tmp_path / "m.weights.h5")
    model = nested("functional")
    model.inner.d = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="  inner/d: the model's config has a Dense"):
        kerastorch.save_weights(model, tmp_path / "m.weights.h5")
    model.inner = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="  inner: the model's config has a Functional"):
        kerastorch.save_weights(model, tmp_path / "m.weights.h5")
