"""Live models of Keras, and weights that go back."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from torch import nn

import kerastorch
from compat.saving.models import FILES, Sub, assert_same_outputs, nested, randomize
from kerastorch import layers
from kerastorch.saving import FileError


def saved(model, folder):
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.save_weights(folder / "m.weights.h5")
    (folder / "m.json").write_text(model.to_json())
    yield kerastorch.load_model(model)
    yield kerastorch.load_model(folder / "m.keras")
    yield kerastorch.load_model(folder / "m.h5")
    yield kerastorch.load_model(folder / "m.json", weights=folder / "m.weights.h5")
    yield kerastorch.load_model(folder / "m.json", weights=folder / "m.h5")
    yield kerastorch.load_model(model, weights=model.get_weights())


def test_every_way_from_keras_gives_the_same_outputs(tmp_path):
    theirs = nested()
    for ours in saved(theirs, tmp_path):
        assert_same_outputs(ours, theirs)
        frozen = ours.layers["tail"].layers
        batch_norm = next(m for m in frozen.values() if isinstance(m, layers.BatchNormalization))
        assert not batch_norm.trainable
        assert not any(p.requires_grad for p in batch_norm.parameters())
        assert ours.layers["head"].weight.requires_grad


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolutions_in_every_format(tmp_path, rank):
    kind = getattr(keras.layers, f"Conv{rank}DTranspose")
    theirs = keras.Sequential(
        [
            keras.Input((*(5, 4, 3)[:rank], 2)),
            kind(2, 3, strides=2, padding="same", activation="relu"),  # square: (3, 3, 2, 2)
            kind(3, (2, 3, 1)[:rank], strides=3, output_padding=1, use_bias=False),
        ]
    )
    randomize(theirs)
    for ours in saved(theirs, tmp_path):
        assert_same_outputs(ours, theirs)
    kerastorch.save_weights(ours, tmp_path / "back.weights.h5")
    for weight in theirs.weights:
        weight.assign(weight * 0)
    theirs.load_weights(tmp_path / "back.weights.h5")
    assert_same_outputs(ours, theirs)


def test_weights_go_back_to_keras(tmp_path):
    theirs = nested()
    theirs.save(tmp_path / "m.keras")
    ours = kerastorch.load_model(tmp_path / "m.keras")
    with torch.no_grad():
        for tensor in ours.state_dict().values():
            tensor.mul_(1.25)
    kerastorch.save_weights(ours, tmp_path / "back.weights.h5")
    theirs.load_weights(tmp_path / "back.weights.h5")
    assert_same_outputs(ours, theirs)
    again = kerastorch.load_model(tmp_path / "m.keras", weights=tmp_path / "back.weights.h5")
    for name, value in again.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name])
    kerastorch.load_weights(again, tmp_path / "m.keras")
    assert kerastorch.load_weights(again, tmp_path / "back.weights.h5").matched == "structure"


def written(path):
    """All groups and arrays of a file, with their shapes, types and names."""
    import h5py

    found = {}

    def note(name, member):
        is_array = isinstance(member, h5py.Dataset)
        shape = (member.shape, str(member.dtype)) if is_array else None
        found[name] = (shape, dict(member.attrs))

    with h5py.File(path) as file:
        file.visititems(note)
    return found


@pytest.mark.parametrize("name", ["nested", "seq_adam", "fun_nested", "dt_bfloat16", "lora"])
def test_the_file_is_the_one_that_keras_writes(tmp_path, name):
    own = nested() if name == "nested" else None
    theirs = own or keras.models.load_model(FILES / f"keras-3.15.1/{name}.keras", compile=False)
    theirs.save(tmp_path / "m.keras")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours = kerastorch.load_model(tmp_path / "m.keras")
    kerastorch.save_weights(ours, tmp_path / "ours.weights.h5")
    assert written(tmp_path / "ours.weights.h5") == written(tmp_path / "theirs.weights.h5")


def test_modules_of_ones_own_are_written_as_a_sequential_model(tmp_path):
    module = nn.Sequential(
        nn.Conv2d(3, 4, (2, 3), groups=1),
        nn.ReLU(),
        nn.BatchNorm2d(4, eps=1e-3),
        nn.Conv2d(4, 6, 1, groups=2),
        nn.Flatten(),
        nn.Linear(6 * 5 * 4, 2),
    ).eval()
    for buffer in (module[2].running_mean, module[2].running_var):
        buffer.uniform_(0.5, 1.5)
    theirs = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(4, (2, 3), activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(6, 1, groups=2),
            keras.layers.Permute((3, 1, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    kerastorch.save_weights(module, tmp_path / "m.weights.h5")
    theirs.load_weights(tmp_path / "m.weights.h5")
    x = torch.rand(2, 3, 6, 6)
    with torch.no_grad():
        expected = module(x)
        found = theirs(x.permute(0, 2, 3, 1), training=False)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def live(*more, **config):
    return keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2D(4, 3, **config), *more])


def test_live_models_load_and_are_compared():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    report = kerastorch.load_weights(module, live(padding="same"))
    assert report.format == "keras object in memory"
    with pytest.raises(FileError, match="'valid'"):
        kerastorch.load_weights(module, live())
    strided = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1))
    with pytest.raises(FileError, match="uneven"):
        kerastorch.load_weights(strided, live(strides=2, padding="same"))
    with pytest.warns(UserWarning, match="uneven"):
        kerastorch.load_weights(strided, live(strides=2, padding="same"), strict=False)


def test_a_live_layer_loads_and_is_compared():
    theirs = keras.layers.BatchNormalization(epsilon=1e-4)
    theirs.build((None, 4))
    with pytest.raises(FileError, match=r"eps=0\.0001"):
        kerastorch.load_weights(nn.BatchNorm1d(4), theirs)
    kerastorch.load_weights(nn.BatchNorm1d(4, eps=1e-4, momentum=0.01), theirs)
    kerastorch.load_weights(layers.BatchNormalization(epsilon=1e-4), theirs)
    with pytest.warns(UserWarning, match="momentum"):
        kerastorch.load_weights(nn.BatchNorm1d(4, eps=1e-4), theirs)


@pytest.mark.parametrize("model", [False, True])
def test_hard_sigmoid_of_a_live_layer_is_that_of_its_keras(model):
    theirs = keras.layers.Dense(2, activation="hard_sigmoid")
    source = keras.Sequential([keras.Input((3,)), theirs]) if model else theirs
    if not model:
        theirs.build((None, 3))
    kerastorch.load_weights(layers.Dense(2, "hard_sigmoid"), source)
    with pytest.raises(FileError, match="activation='hard_sigmoid_keras2'"):
        kerastorch.load_weights(layers.Dense(2, "hard_sigmoid_keras2"), source)


def test_flattened_images_are_warned_of():
    theirs = live(keras.layers.Flatten(), keras.layers.Dropout(0.1), keras.layers.Dense(2))
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    with pytest.warns(UserWarning, match="channels last"):
        kerastorch.load_weights(module, theirs)
    ours = nn.Sequential(layers.Conv2D(4, 3), nn.Flatten(), nn.Linear(64, 2))
    assert not kerastorch.load_weights(ours, theirs).warnings
    pooled = live(
        keras.layers.GlobalAveragePooling2D(), keras.layers.Flatten(), keras.layers.Dense(2)
    )
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    assert not kerastorch.load_weights(module, pooled).warnings


def test_lora_is_loaded_apart_and_merged():
    theirs = live()
    layer = theirs.layers[0]
    layer.enable_lora(2)
    randomize(theirs)
    ours = nn.Sequential(layers.Conv2D(4, 3, lora_rank=2))
    kerastorch.load_weights(ours, theirs)
    assert_same_outputs(ours, theirs, rtol=1e-4)
    plain = nn.Sequential(layers.Conv2D(4, 3))
    kerastorch.load_weights(plain, theirs)
    assert_same_outputs(plain, theirs, rtol=1e-4)


@keras.saving.register_keras_serializable("own")
class Scaled(keras.layers.Layer):
    """A layer of the user's own with a layer in it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(3)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return 2 * self.inner(x)


class Attributes(keras.Model):
    """A subclassed model, whose layers have names that nobody chose."""

    def __init__(self):
        super().__init__()
        self.head, self.body = keras.layers.Dense(2), keras.layers.Dense(3)

    def call(self, x):
        return self.head(self.body(x))


@pytest.mark.filterwarnings(
    "ignore:.*:UserWarning"
)  # the config, a class of one's own, is not used
def test_a_subclassed_model_loads_by_the_names_of_its_attributes(tmp_path):
    theirs = Attributes()
    theirs(np.zeros((1, 4), "float32"))
    randomize(theirs)
    theirs.save(tmp_path / "m.keras")
    theirs.save_weights(tmp_path / "m.weights.h5")
    for name in ("m.keras", "m.weights.h5"):
        ours = nn.Module()
        ours.body, ours.head = nn.Linear(4, 3), nn.Linear(3, 2)
        assert kerastorch.load_weights(ours, tmp_path / name).matched == "name"
        for module, layer in ((ours.body, theirs.body), (ours.head, theirs.head)):
            assert (module.weight.detach().numpy().T == layer.get_weights()[0]).all()
            assert (module.bias.detach().numpy() == layer.get_weights()[1]).all()


class TorchScaled(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x):
        return 2 * self.inner(x)


def test_layers_of_ones_own_are_made_by_the_caller(tmp_path):
    theirs = keras.Sequential([keras.Input((4,)), Scaled(), keras.layers.Dense(2)])
    theirs.save(tmp_path / "m.keras")
    with pytest.raises(FileError, match="Scaled"):
        kerastorch.load_model(tmp_path / "m.keras")
    with pytest.raises(TypeError, match="load_model: `custom_layers` must be a dict of names"):
        kerastorch.load_model(tmp_path / "m.keras", custom_layers=[TorchScaled])
    with pytest.raises(FileError, match="A module of your own receives arrays"):
        kerastorch.load_model(tmp_path / "m.keras", custom_layers={"Scaled": lambda c: Sub()})
    ours = kerastorch.load_model(tmp_path / "m.keras", custom_layers={"Scaled": TorchScaled})
    assert_same_outputs(ours, theirs)
    kerastorch.save_weights(ours, tmp_path / "m.weights.h5")
    randomize(theirs)
    theirs.load_weights(tmp_path / "m.weights.h5")
    assert_same_outputs(ours, theirs)
