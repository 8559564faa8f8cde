"""Layers that compute something else in Keras 2: `keras_2`, in the config and in copies."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from kerastorch import config, layers
from kerastorch._core.registry import LAYERS
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import input_layer, layer

CROP = {"name": "a", "height": 3, "width": 4, "seed": None}
NEW = {**CROP, "data_format": "channels_last"}


def build(entry, **content):
    given = {"name": "m", "layers": [input_layer("x", (None, 8, 6, 3)), entry], **content}
    model = build_model(parse_model_config({"class_name": "Sequential", "config": given}, "here"))
    return model.layers["a"]


def test_a_layer_by_itself_is_of_keras_3():
    differ = [cls for cls in LAYERS.values() if cls.differs_in_keras_2]
    assert {layers.UnitNormalization, layers.GaussianNoise, layers.RandomCrop} <= {*differ}
    assert layers.RandomCrop(3, 4).keras_2 is False
    assert "keras_2" not in layers.RandomCrop(3, 4).get_config()


@pytest.mark.parametrize("name, config", [("RandomCrop", CROP), ("UnitNormalization", {})])
def test_the_model_tells_its_layers(name, config):
    entry = layer(name, **{"name": "a", **config})
    old, new = (
        build(entry),
        build(layer(name, **{**NEW, "seed": 1} if config else {"name": "a"}), trainable=True),
    )
    assert old.keras_2 and not new.keras_2
    for one in (old, copy.deepcopy(old), pickle.loads(pickle.dumps(old))):
        assert one.keras_2 and one.get_config()["keras_2"] is True and "keras_2=True" in repr(one)
        assert type(one).from_config(one.get_config()).keras_2


def test_the_config_of_a_layer_that_does_not_differ_has_no_mark():
    made = build(layer("Activation", "a", activation="relu"))
    assert not made.keras_2 and "keras_2" not in made.get_config()
    with pytest.raises(TypeError, match="keras_2"):
        layers.Activation.from_config({"activation": "relu", "keras_2": True})


def test_the_mark_is_a_bool_and_no_argument():
    with pytest.raises(TypeError, match=r"`keras_2` must be True or False. Received: keras_2='a'"):
        layers.RandomCrop.from_config({**NEW, "keras_2": "a"})
    with pytest.raises(ValueError, match="`keras_2` must be one of its arguments"):
        layers.RandomCrop(3, 4, keras_2=True)


def test_no_keras_3_reads_what_it_computes_otherwise():
    made = layers.RandomCrop.from_config({**NEW, "keras_2": True})
    with pytest.raises(ValueError, match="`target` must be None for a layer of Keras 1 or 2"):
        made.get_config("3.15")


def test_noise_of_keras_2_is_marked_where_keras_3_refuses_it():
    for stddev, marked in ((0.5, False), (5.0, True)):
        made = build(layer("GaussianNoise", "a", stddev=stddev))
        assert made.keras_2 is marked and made.stddev == stddev
        assert made.get_config().get("keras_2", False) is marked
        again = layers.GaussianNoise.from_config(made.get_config())
        assert again.stddev == stddev and again.train()(torch.zeros(2000)).std() > stddev / 2
    with pytest.raises(ValueError, match="`stddev` must be"):
        layers.GaussianNoise(5.0)


def test_images_of_keras_2_have_their_channels_last_whatever_the_default():
    previous = config.image_data_format()
    config.set_image_data_format("channels_first")
    try:
        made = layers.Resizing.from_config({"name": "a", "height": 3, "width": 4})
        assert made.data_format == "channels_last"
        assert layers.Resizing(3, 4).data_format == "channels_first"
    finally:
        config.set_image_data_format(previous)
