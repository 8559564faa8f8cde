"""The layers of keras.applications that are no names of keras.layers."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import kerastorch
from kerastorch._core.errors import FileError
from kerastorch.layers.applications.convnext import LayerScale, StochasticDepth
from kerastorch.layers.applications.inception_resnet import CustomScaleLayer
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.layers.case import batch, cases
from tests.models.configs import functional, input_layer, layer, node, sequential, tensor

CONSTANT = frozenset(
    {  # the initial values are always the same
        "test_weights_round_trip",
        "test_two_layers_start_with_values_of_their_own",
        "test_reset_parameters_draws_in_place",
        "test_functional_call",
    }
)
CASES = [
    *cases(
        LayerScale,
        {"init_values": 0.3, "projection_dim": 6},
        {"init_values": 1, "projection_dim": 6, "trainable": False},
        shape=(3, 4, 6),
        other=[(2, 5, 6)],
        refused=[(3, 6, 4)],
        refused_arguments=[("init_values", "a", ValueError)],
        refused_here=[("projection_dim", 0, ValueError)],
        integers="converted",
        exempt=CONSTANT,
    ),
    *cases(
        StochasticDepth,
        {"drop_path_rate": 0.4},
        {"drop_path_rate": 0},
        shape=(3, 4, 6),
        other=[(2, 5, 7)],
        refused_here=[("drop_path_rate", "a", TypeError), ("drop_path_rate", 2, ValueError)],
        samples=True,
        integers="converted",
        agrees=False,  # in training it is random
    ),
    *cases(
        CustomScaleLayer,
        {"scale": 0.3},
        {"scale": -2.0},
        shape=[(3, 4, 6), (3, 4, 6)],
        refused=[[(3, 4, 6)], [(3, 4, 6), (3, 4, 5)]],
        refused_here=[("scale", "a", ValueError)],
        integers="converted",
    ),
]

CONVNEXT = "keras.src.applications.convnext"
SCALE = {"init_values": 0.3, "projection_dim": 4, "trainable": True, "dtype": "float32"}


def load(config, **arguments):
    """Build the model of a config, or of an entry of one layer."""
    if "layers" not in config["config"]:
        config = sequential(input_layer("x"), config)
    return build_model(parse_model_config(config, "here"), **arguments)


def entry_of(class_name, config=SCALE, **others):
    return {**layer(class_name, "a", **config), **others}


RECOGNIZED = [
    (entry_of("LayerScale"), LayerScale),  # before Keras 2.13 a file has no modules
    (entry_of("LayerScale", module=CONVNEXT, registered_name="LayerScale"), LayerScale),
    (entry_of("LayerScale", module="tf_keras.src.applications.convnext"), LayerScale),
    (entry_of("StochasticDepth", {"drop_path_rate": 0.3}, module=CONVNEXT), StochasticDepth),
]


@pytest.mark.parametrize("entry, found", RECOGNIZED)
def test_they_are_recognized_in_files(entry, found):
    model = load(entry)
    assert type(model.a) is found
    assert model(batch((2, 4))).shape == (2, 4)


FOREIGN = [
    entry_of("LayerScale", {**SCALE, "axis": 1}),
    entry_of("LayerScale", {"init_values": 0.3}),
    entry_of("LayerScale", module="my_package.layers", registered_name="LayerScale"),
    entry_of("LayerScale", module=None, registered_name="LayerScale"),
    entry_of("LayerScale", module=None, registered_name="mine>LayerScale"),
    entry_of("mine>LayerScale"),
    entry_of("StochasticDepth", {"rate": 0.3}),
]


@pytest.mark.parametrize("entry", [*FOREIGN, *(entry for entry, _ in RECOGNIZED)])
def test_a_users_own_class_of_the_same_name_wins(entry):
    made = []

    def make(config):
        made.append(config)
        return torch.nn.Identity()

    names = ("LayerScale", "StochasticDepth")
    load(entry, custom_layers=dict.fromkeys(names, make))
    assert [config["name"] for config in made] == ["a"]


@pytest.mark.parametrize("entry", FOREIGN)
def test_an_unknown_class_of_the_same_name_is_refused(entry):
    with pytest.raises(FileError, match="not supported"):
        load(entry)


@pytest.mark.parametrize(
    "others",
    [
        {"class_name": "Custom>CustomScaleLayer"},
        {"module": "keras.src.applications.inception_resnet_v2"},
        {
            "module": "tf_keras.src.applications.inception_resnet_v2",
            "registered_name": "Custom>CustomScaleLayer",
        },
    ],
)
def test_the_scale_of_inception_resnet_is_recognized(others):
    calls = [node([tensor("x"), tensor("x")])]
    entry = {**layer("CustomScaleLayer", "a", calls, scale=0.5), **others}
    model = functional(input_layer("x"), entry, inputs=[["x", 0, 0]], outputs=[["a", 0, 0]])
    x = batch((2, 4))
    assert_close(load(model)(x), x * 1.5)


def test_stochastic_depth_keeps_or_drops_whole_samples():
    torch.manual_seed(0)
    layer, x = StochasticDepth(0.25), batch((4000, 3, 2)) + 3
    y = layer(x)
    kept = y.flatten(1).any(1)
    assert 0.7 < kept.float().mean() < 0.8
    assert_close(y[kept], x[kept] / 0.75)
    assert not y[~kept].any() and layer.eval()(x) is x


@pytest.mark.parametrize("grad", [False, True])
def test_layers_that_overwrite_their_input_compute_the_same(grad):
    scale = LayerScale(0.3, 4, input_shape=(4,))
    add, x, y = CustomScaleLayer(0.3), batch((2, 4)), batch((2, 4), seed=1)
    with torch.set_grad_enabled(grad):
        assert_close(scale._compute(x.clone(), inplace=True), scale(x))
        for which in (0, 1):
            given = [x.clone(), y.clone()]
            assert_close(add._compute(given, inplace=which), add([x, y]))
    kept = x.clone()
    scale(x), add([x, y])
    assert torch.equal(x, kept)


@pytest.mark.parametrize("name", ["variable", "gamma:0", "gamma"])  # Keras 3, Keras 2, and alone
def test_the_weight_of_layer_scale_has_several_names(name):
    model = torch.nn.Sequential(LayerScale(0.3, 3))
    kerastorch.load_weights(model, {f"0/{name}": torch.tensor([1.0, 2.0, 3.0])})
    assert model[0].gamma.tolist() == [1, 2, 3]
