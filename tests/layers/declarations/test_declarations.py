"""What is special about one layer stands in its own class, which the package asks for it."""

from __future__ import annotations

import inspect

import pytest
import torch

from kerastorch import layers
from kerastorch._core.registry import ALIASES, LAYERS
from kerastorch.layers.base.layer import Layer
from kerastorch.layers.base.owner import LayerOwner
from kerastorch.saving.configs.entries import upgrade_layer_config
from tests.layers.case import every_case, required_arguments
from tests.layers.recurrent.test_recurrent import CELLS

# The first row of each class
FIRST = {case.layer.registered_name: case for case in reversed([*every_case(), *CELLS])}


def make(name, **arguments):
    required = ["shape"] if name == "InputLayer" else required_arguments(LAYERS[name])
    return LAYERS[name](**{key: FIRST[name].arguments[key] for key in required}, **arguments)


def is_class(name):
    return inspect.isclass(getattr(layers, name))


def test_every_registered_layer_and_alias_is_exported():
    public = {name for name in LAYERS if ">" not in name}  # the others are of no namespace
    assert set(layers.__all__) == {*public, *ALIASES} == set(filter(is_class, vars(layers)))
    for name in layers.__all__:
        assert getattr(layers, name) is LAYERS[ALIASES.get(name, name)]


@pytest.mark.parametrize("name", LAYERS)
def test_weight_names_from_a_config_are_those_of_the_layer(name):
    layer = FIRST[name].built()
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


IN_ORDER = [n for n, cls in LAYERS.items() if cls.keeps_flatten_order and cls.rank is None]


@pytest.mark.parametrize("name", IN_ORDER)
def test_layers_that_keep_the_order_of_a_flattened_image_do(name):
    torch.manual_seed(0)
    x = torch.randn(4, 7)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    layer = make(name, input_shape=(7,)).eval()
    torch.testing.assert_close(layer(x)[:, order], layer(x[:, order]))


def reads_training_mode(cls):
    bases = [base for base in cls.__mro__ if base.__module__.startswith("kerastorch.")]
    return any("self.training" in inspect.getsource(base) for base in bases)


def test_a_layer_depends_on_the_training_mode_where_its_class_says_so():
    owners = {name for name, cls in LAYERS.items() if issubclass(cls, LayerOwner)}
    found = owners | {name for name, cls in LAYERS.items() if reads_training_mode(cls)}
    assert {name for name, cls in LAYERS.items() if cls.depends_on_training_mode} == found


def test_facts_are_off_unless_a_layer_declares_them():
    assert not (Layer.depends_on_training_mode or Layer.keeps_flatten_order or Layer.is_flat)


OLD = [
    ("Conv2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 5, "border_mode": "same", "bias": False}),
    ("Conv1D", {"nb_filter": 2, "filter_length": 3, "subsample_length": 2, "bias": False}),
    ("Conv1D", {"nb_filter": 2, "filter_length": 3, "atrous_rate": 2, "border_mode": "same"}),
    ("Conv2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 5, "atrous_rate": [2, 1]}),
    ("Conv3D", {"nb_filter": 2, "kernel_dim1": 3, "kernel_dim2": 2, "kernel_dim3": 1,
                "subsample": [1, 2, 3], "dim_ordering": "th"}),
    ("Dense", {"output_dim": 4, "init": "uniform", "W_regularizer": None, "input_dim": 3}),
    ("BatchNormalization", {"mode": 0, "axis": [3], "gamma_init": "one"}),
    ("Dropout", {"p": 0.25}),
    ("GaussianDropout", {"p": 0.25}),
    ("GaussianNoise", {"sigma": 0.25}),
    ("LeakyReLU", {"alpha": 0.125}),
    ("InputLayer", {"batch_input_shape": [None, 3]}),
    ("MaxPooling2D", {"border_mode": "same", "dim_ordering": "th"}),
    ("MaxPooling1D", {"pool_length": 3, "stride": None, "border_mode": "same"}),
    ("UpSampling1D", {"length": 3}),
    ("SpatialDropout3D", {"p": 0.25, "dim_ordering": "th"}),
]  # fmt: skip


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
