"""Layers that change images at random in training."""

from __future__ import annotations

import pytest
import torch

from kerastorch import layers
from kerastorch.models.build import build_model
from kerastorch.saving import FileError
from kerastorch.saving.configs.parse import parse_model_config
from tests.layers.case import each_case
from tests.layers.images.rows import AUGMENTATIONS
from tests.models.configs import input_layer, layer, sequential


@each_case(AUGMENTATIONS)
def test_training_is_refused_with_the_transform_of_torchvision(case):
    made = case.make().train()
    message = rf"^{case.name}: `training` must be False.*torchvision\.transforms\.v2\.\w"
    with pytest.raises(ValueError, match=message):
        made(case.inputs())
    x = case.inputs()
    assert made.eval()(x) is x


def test_a_config_of_keras_2_loses_its_kind_of_generator():
    config = {"name": "a", "trainable": True, "dtype": "float32", "rng_type": "stateful"}
    made = layers.RandomFlip.from_config({**config, "mode": "horizontal", "seed": None})
    assert made.mode == "horizontal" and "rng_type" not in made.get_config()


def test_the_random_height_of_keras_2_is_read_from_its_config():
    config = {"name": "a", "trainable": True, "dtype": "float32", "rng_type": "stateful"}
    own = {"factor": 0.2, "interpolation": "bilinear", "seed": None}
    made = layers.RandomHeight.from_config({**config, **own})
    assert list(made.get_config()) == ["name", "trainable", "dtype", *own]


def test_color_degeneration_is_of_three_channels():
    made = layers.RandomColorDegeneration(0.5, data_format="channels_first")
    assert made.compute_output_shape((None, 3, 5, 4)) == (None, 3, 5, 4)
    with pytest.raises(ValueError, match="a shape with 3 channels"):
        made.compute_output_shape((None, 4, 5, 3))


def test_in_a_model_the_next_layer_sees_the_image_itself():
    model = torch.nn.Sequential(layers.RandomFlip(), layers.Flatten()).eval()
    assert torch.equal(model(torch.ones(2, 3, 4, 3)), torch.ones(2, 36))


def test_a_shear_by_a_number_is_read_from_its_config():
    config = layers.RandomShear(0.25).get_config()
    assert config["x_factor"] == (-0.25, 0.25)  # which Keras refuses to read
    assert layers.RandomShear.from_config(config).get_config() == config


def test_auto_contrast_keeps_a_channel_of_one_value():
    x = torch.tensor([[[4.0, 7.0], [8.0, 7.0]]])  # (1, 2, 2): one row
    assert layers.AutoContrast()(x).tolist() == [[[0.0, 7.0], [255.0, 7.0]]]


def test_contrast_that_depends_on_the_backend_is_refused_by_name():
    name = "ContrastLimitedAdaptiveHistogramEqualization"
    config = sequential(input_layer("x", (None, 6, 5, 3)), layer(name, "a"))
    with pytest.raises(FileError, match=rf"'a' \({name}\): its values depend on Keras's backend"):
        build_model(parse_model_config(config, "here"))
