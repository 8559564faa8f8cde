"""What is special about one layer stands in its own class, which the package asks for it."""

from __future__ import annotations

import inspect

import pytest
import torch

from kerastorch import layers
from kerastorch._core.registry import ALIASES, LAYERS
from kerastorch.layers.base.layer import Layer
from kerastorch.saving.configs.entries import upgrade_layer_config

REQUIRED = {
    "Activation": ["relu"],
    "AveragePooling2D": [2],
    "Conv1DTranspose": [4, 3],
    "Conv2D": [4, 3],
    "Conv2DTranspose": [4, 3],
    "Conv3DTranspose": [4, 3],
    "Dense": [4],
    "Dropout": [0.5],
    "InputLayer": [(6, 5, 3)],
    "Permute": [(2, 1, 3)],
    "Rescaling": [2.0],
    "Reshape": [(-1,)],
    "SpatialDropout2D": [0.5],
}


def make(name, **arguments):
    return LAYERS[name](*REQUIRED.get(name, ()), **arguments)


def is_class(name):
    return inspect.isclass(getattr(layers, name))


def test_every_registered_layer_and_alias_is_exported():
    assert set(layers.__all__) == {*LAYERS, *ALIASES} == set(filter(is_class, vars(layers)))
    for name in layers.__all__:
        assert getattr(layers, name) is LAYERS[ALIASES.get(name, name)]


@pytest.mark.parametrize("name", LAYERS)
def test_weight_names_from_a_config_are_those_of_the_layer(name):
    layer = make(name)
    if not layer.built:
        layer.build((None, *(6, 5, 4)[: layer.rank or 2], 3))
    found = tuple(variable.name for variable in layer.variables)
    assert LAYERS[name].weight_names(layer.get_config()) == found


@pytest.mark.parametrize("argument", ["scale", "center", "renorm"])
def test_weight_names_follow_the_arguments(argument):
    layer = layers.BatchNormalization(input_shape=(3,))
    changed = {**layer.get_config(), argument: not getattr(layer, argument)}
    other = layers.BatchNormalization.from_config({**changed, "name": "other"})
    other.build((None, 3))
    names = [variable.name for variable in other.variables]
    assert layers.BatchNormalization.weight_names(changed) == tuple(names)
    assert names != [variable.name for variable in layer.variables]


IN_ORDER = [n for n, cls in LAYERS.items() if cls.keeps_flatten_order and n != "SpatialDropout2D"]


@pytest.mark.parametrize("name", IN_ORDER)
def test_layers_that_keep_the_order_of_a_flattened_image_do(name):
    torch.manual_seed(0)
    x = torch.randn(4, 7)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    layer = make(name, input_shape=(7,)).eval()
    torch.testing.assert_close(layer(x)[:, order], layer(x[:, order]))


def test_a_layer_depends_on_the_training_mode_where_its_class_says_so():
    found = set()
    for name in LAYERS:
        source = inspect.getsource(inspect.getmodule(LAYERS[name]))
        if "self.training" in source:
            found.add(inspect.getmodule(LAYERS[name]))
    declared = {inspect.getmodule(c) for c in LAYERS.values() if c.depends_on_training_mode}
    assert declared == found


def test_facts_are_off_unless_a_layer_declares_them():
    assert not (Layer.depends_on_training_mode or Layer.keeps_flatten_order or Layer.is_flat)


OLD = [
    ("Conv2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 5, "border_mode": "same", "bias": False}),
    ("Dense", {"output_dim": 4, "init": "uniform", "W_regularizer": None, "input_dim": 3}),
    ("BatchNormalization", {"mode": 0, "axis": [3], "gamma_init": "one"}),
    ("Dropout", {"p": 0.25}),
    ("LeakyReLU", {"alpha": 0.125}),
    ("InputLayer", {"batch_input_shape": [None, 3]}),
    ("MaxPooling2D", {"border_mode": "same", "dim_ordering": "th"}),
]


@pytest.mark.parametrize("name, old", OLD)
def test_an_old_config_gives_the_same_layer_directly_and_in_a_model(name, old):
    before = dict(old)
    layer = LAYERS[name].from_config({**old, "name": "a"})
    _, upgraded = upgrade_layer_config(name, {**old, "name": "a"}, "here")
    assert old == before
    assert set(upgraded).isdisjoint(set(old) - {"axis", "input_dim"})
    assert LAYERS[name].from_config(upgraded).get_config() == layer.get_config()
    assert LAYERS[name].upgrade_config(upgraded) == upgraded


@pytest.mark.parametrize("name", LAYERS)
def test_todays_config_needs_no_upgrade(name):
    config = make(name).get_config()
    assert LAYERS[name].upgrade_config(config) == config
