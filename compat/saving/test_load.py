"""Files of every Keras against real Keras: the same weights, the same outputs, and back."""

from __future__ import annotations

import gzip
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import kerastorch
from kerastorch import layers
from kerastorch.saving import FileError

FILES = Path(__file__).parents[1] / "files"
WRITERS = sorted(path.name for path in FILES.iterdir() if path.is_dir())
MODELS = ("seq_adam", "fun_nested", "inits", "lora", "dt_bfloat16")
# Files of one model that a writer made, whole ones and those whose config is in another file.
WHOLE = (".keras", ".h5", "_legacy.h5")
PARTS = (".weights.h5", "_w.h5", ".weights.json")


def cases():
    for writer in WRITERS:
        for model in MODELS:
            found = [FILES / writer / f"{model}{end}" for end in (*WHOLE, *PARTS)]
            present = [path for path in found if path.exists()]
            if present:
                yield pytest.param(present, id=f"{writer}-{model}")


def arguments(path):
    """How `load_model` takes a file: alone, or as the weights of the config beside it."""
    if path.name.endswith(PARTS):
        base = path.name.split(".")[0].removesuffix("_w")
        for config in (f"{base}.json", f"{base}.keras"):
            if (path.parent / config).exists():
                return (path.parent / config,), {"weights": path}
    return (path,), {}


def arrays_of(model):
    return {name: value.float().numpy() for name, value in model.state_dict().items()}


def inputs_of(model):
    """The same random inputs for both, in the structure that Keras's model tells."""
    generator = torch.Generator().manual_seed(1)
    symbols, structure = pytree.tree_flatten(getattr(model, "_inputs_struct", model.inputs[0]))
    shapes = [tuple(n or 7 for n in one.shape[1:]) for one in symbols]
    given = [torch.rand((3, *shape), generator=generator) for shape in shapes]
    return pytree.tree_unflatten(given, structure)


def assert_same_outputs(ours, theirs, rtol=1e-5, atol=1e-6):
    given = inputs_of(theirs)
    with torch.no_grad():
        left, right = ours(given), theirs(given, training=False)
    for one, other in zip(pytree.tree_leaves(left), pytree.tree_leaves(right), strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=rtol, atol=atol)


# Every genuine file


@pytest.mark.parametrize("paths", list(cases()))
def test_all_files_of_a_model_hold_the_same_weights(paths):
    found = {}
    for path in paths:
        given, options = arguments(path)
        model = kerastorch.load_model(*given, **options)
        assert not model.training
        found[path.name] = arrays_of(model)
    first = next(iter(found.values()))
    assert first
    for arrays in found.values():
        assert arrays.keys() == first.keys()
        for name, value in arrays.items():
            if "lora" not in str(paths[0]):  # whose factors only old files keep apart
                np.testing.assert_array_equal(value, first[name])


def whole_files():
    for writer in WRITERS:
        for path in sorted((FILES / writer).iterdir()):
            known = path.name.startswith((*MODELS, "dt_", "legacy_order", "seq_dir"))
            if known and not path.name.endswith((*PARTS, ".json")):
                yield pytest.param(path, id=f"{writer}-{path.name}")


def is_read_by_keras(path):
    """Whether this Keras reads a file: hardly any of Keras 2's."""
    if path.name == "dt_bfloat16_legacy.h5":
        return False
    return path.parent.name.startswith("keras-3") or path.name == "seq_adam.h5"


@pytest.mark.parametrize("path", list(whole_files()))
def test_a_model_computes_what_it_does_in_keras_and_goes_back(tmp_path, path):
    ours = kerastorch.load_model(path)
    kerastorch.save_weights(ours, tmp_path / "m.weights.h5")
    again = kerastorch.load_model(path, weights=tmp_path / "m.weights.h5")
    if "lora" not in path.name:  # Keras, too, writes the kernel merged
        for name, value in ours.state_dict().items():
            assert torch.equal(again.state_dict()[name], value)
    if is_read_by_keras(path):
        theirs = keras.models.load_model(path, compile=False)
        assert_same_outputs(ours, theirs)
        randomize(theirs)
        theirs.load_weights(tmp_path / "m.weights.h5")
        assert_same_outputs(ours, theirs)


@pytest.mark.parametrize("writer", ["keras-2.13.1", "keras-2.15.1", "tf_keras-2.21"])
def test_files_that_keras_cannot_read_have_the_weights_in_their_places(writer):
    """The outputs are those of the same weights in Keras's own layers, set by name."""
    ours = kerastorch.load_model(FILES / writer / "fun_nested.h5")
    theirs = keras.models.load_model(FILES / "keras-3.15.1" / "fun_nested.keras", compile=False)
    for name in ("shared_conv", "d"):
        theirs.get_layer(name).set_weights(ours.layers[name].get_weights())
    inner, outer = theirs.get_layer("subfun"), ours.layers["subfun"]
    inner.get_layer("inner_c").set_weights(outer.layers["inner_c"].get_weights())
    ours_c = next(m for m in ours.layers["subseq"].layers.values() if isinstance(m, layers.Conv2D))
    theirs.get_layer("subseq").layers[0].set_weights(ours_c.get_weights())
    assert_same_outputs(ours, theirs)


@pytest.mark.parametrize("name", ["activations.h5", "activations.keras", "activations_w.h5"])
def test_activations_of_keras_2_compute_what_they_did_there(name):
    folder = FILES / "tf_keras-2.21"
    recorded = np.load(folder / "activations.outputs.npz")
    given, options = arguments(folder / name)
    model = kerastorch.load_model(*given, **options)
    with torch.no_grad():
        np.testing.assert_allclose(model(recorded["x"]), recorded["y"], rtol=1e-5, atol=1e-6)
    kerastorch.load_weights(model, folder / name)


def test_attributes_that_are_split_are_read(tmp_path):
    path = tmp_path / "model.h5"
    with gzip.open(FILES / "keras-3.15.1" / "chunked_layer_names.h5.gz") as packed:
        path.write_bytes(packed.read())
    model = nn.Sequential(*(nn.Conv2d(1, 1, 1, bias=False) for _ in range(4)))
    report = kerastorch.load_weights(model, path)
    names = [entry.source[:9] for entry in report.loaded]
    assert names == ["layer_000", "layer_010", "layer_020", "layer_030"]


@pytest.mark.parametrize("name", ["gw_pos.npz", "gw_named.npz"])
def test_dumps_of_arrays_load(name):
    path, model = FILES / "keras-3.15.1" / name, nn.Sequential(layers.Conv2D(2, 3), layers.Dense(2))
    kerastorch.load_weights(model, path)
    with np.load(FILES / "keras-3.15.1" / "gw_pos.npz") as arrays:
        for ours, theirs in zip(model, (("arr_0", "arr_1"), ("arr_2", "arr_3")), strict=True):
            for value, key in zip(ours.get_weights(), theirs, strict=True):
                np.testing.assert_array_equal(value, arrays[key])


def test_a_file_from_windows_loads():
    path = FILES / "keras-3.15.1" / "windows_backslash.weights.h5"
    report = kerastorch.load_weights(nn.Conv2d(2, 2, 1), path)
    assert [entry.source for entry in report.loaded] == [
        "layers/conv2d/vars/0",
        "layers/conv2d/vars/1",
    ]


# Models that are no Sequential or Functional ones: into modules of one's own


class Sub(nn.Module):
    """The subclassed model of the files `subclass.*`."""

    def __init__(self):
        super().__init__()
        self.a, self.z = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(2, 2, 1) for _ in range(2))
        self.w = nn.Parameter(torch.zeros(2))


@pytest.mark.parametrize("writer", ["keras-2.13.1", "keras-2.15.1"])
def test_subclassed_models_load_by_a_mapping(writer):
    folder = FILES / writer
    old = {
        "a": "conv2d",
        "blocks.0": "conv2d_1",
        "blocks.1": "conv2d_2",
        "z": "conv2d_3",
        "w": "top_level_model_weights/w:0",
    }
    first = Sub()
    report = kerastorch.load_weights(first, folder / "subclass_w.h5", mapping=old)
    assert len(report.loaded) == 9
    values = {array.tobytes() for array in arrays_of(first).values()}
    tree = Sub()
    with pytest.raises(FileError):
        kerastorch.load_weights(tree, folder / "subclass.weights.h5")
    if writer == "keras-2.13.1":
        new = {"a": "a", "blocks.0": "blocks/conv2d", "blocks.1": "blocks/conv2d_1"}
        new["z"] = "layers/conv2d_2"
    else:
        new = {"a": "layers/conv2d", "blocks.0": "layers/conv2d_1", "blocks.1": "layers/conv2d_2"}
        new["z"] = "z"
    kerastorch.load_weights(tree, folder / "subclass.weights.h5", mapping={**new, "w": "vars/0"})
    assert {array.tobytes() for array in arrays_of(tree).values()} == values


@pytest.mark.parametrize("writer", ["keras-2.13.1", "keras-2.15.1", "keras-3.0.5", "keras-3.14.1"])
def test_a_wrapped_layer_loads_by_a_mapping(writer):
    path = FILES / writer / "wrappers.weights.h5"
    module = nn.Conv2d(3, 2, 3)
    mapping = {"0": "layers/time_distributed/layer"}
    report = kerastorch.load_weights(nn.Sequential(module), path, mapping=mapping, strict=False)
    assert len(report.loaded) == 2
    assert any("lstm_cell" in entry.source for entry in report.unused)


def test_unsupported_layers_are_told():
    with pytest.raises(FileError, match="TimeDistributed"):
        kerastorch.load_model(FILES / "keras-3.14.1" / "wrappers.keras")
    with pytest.raises(FileError, match="load_weights"):
        kerastorch.load_model(FILES / "keras-3.15.1" / "seq_adam.weights.h5")
    with pytest.raises(FileError, match="weights="):
        kerastorch.load_model(FILES / "keras-3.15.1" / "seq_adam.json")


def test_the_weights_of_another_model_are_refused():
    folder = FILES / "keras-3.15.1"
    for other in ("fun_nested.weights.h5", "lora.weights.h5"):
        with pytest.raises(FileError, match="nothing was changed"):
            kerastorch.load_model(folder / "seq_adam.json", weights=folder / other)


# From live models, and back


def nested():
    """A model with a shared layer, nested models, an activation with weights, frozen parts."""
    inside = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="inner_a")(inside)
    x = keras.layers.BatchNormalization(name="inner_bn")(x)
    functional = keras.Model(inside, keras.layers.ReLU()(x), name="inner")
    sequential = keras.Sequential(
        [
            keras.Input((6, 5, 4)),
            keras.layers.Conv2D(2, (2, 1), activation=keras.layers.PReLU(shared_axes=[1, 2])),
            keras.layers.BatchNormalization(center=False, trainable=False),
        ],
        name="tail",
    )
    given = keras.Input((6, 5, 3), name="image")
    shared = keras.layers.Conv2D(3, 1, name="shared", dtype="float64")
    x = shared(shared(given))
    y = functional(x)
    z = keras.layers.Concatenate()([keras.layers.Conv2D(4, 1, use_bias=False)(x), y])
    out = keras.layers.Dense(3, name="head")(keras.layers.Flatten()(sequential(y)))
    model = keras.Model(given, [out, keras.layers.GlobalAveragePooling2D()(z)], name="whole")
    model(np.zeros((1, 6, 5, 3)))  # only a call builds an activation
    randomize(model)
    return model


def randomize(model):
    generator = np.random.default_rng(3)
    values = [generator.uniform(0.5, 1.5, weight.shape) for weight in model.weights]
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(value.astype("float32"))


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
