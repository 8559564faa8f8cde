"""load_weights and load_model on small files and configs: what they return, refuse and leave."""

from __future__ import annotations

import json
import tracemalloc

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch.saving import FileError, LoadEntry, LoadReport

RANDOM = np.random.default_rng(0)


def array(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def stored(value):
    return np.asarray(value.detach())


# Configs


def sequential(*layers, name="model"):
    listed = [{"class_name": kind, "config": config} for kind, config in layers]
    return {"class_name": "Sequential", "config": {"name": name, "layers": listed}}


def image(*shape):
    return ("InputLayer", {"batch_shape": [None, *shape], "name": "image"})


def conv(filters, size, **config):
    return ("Conv2D", {"filters": filters, "kernel_size": size, **config})


TWO = sequential(image(5, 4, 3), conv(2, [2, 3], name="c"), ("Dense", {"units": 4, "name": "d"}))


def json_file(folder, config):
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def tree_file(folder, groups):
    """A weights file of Keras 3: a group's path -> its arrays."""
    path = folder / "m.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for group, arrays in groups.items():
            inside = file.create_group(f"{group}/vars")
            for index, value in enumerate(arrays):
                inside[str(index)] = value
    return path


def old_file(folder, layers, config=None, **attributes):
    """A file of an old Keras: a layer -> a dict of its arrays by their names."""
    path = folder / "m.h5"
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = list(layers)
        group.attrs.update(attributes)
        for layer, arrays in layers.items():
            inside = group.create_group(layer)
            inside.attrs["weight_names"] = list(arrays)
            for name, value in arrays.items():
                inside[name] = value
    return path


def weights_of_two():
    return {"layers/conv2d": [array(2, 3, 3, 2), array(2)], "layers/dense": [array(2, 4), array(4)]}


# The report


def test_the_report_is_a_table_and_plain_data():
    entries = (LoadEntry("a.weight", "layers/dense/vars/0", (2, 10), "float32"),)
    report = LoadReport(
        "m.h5",
        "a format",
        "name",
        entries,
        unused=(LoadEntry(None, "layers/x/vars/0", (), "int32"),),
        missing=(LoadEntry("b.bias", None, None, "float16"),),
        warnings=("careful",),
    )
    assert str(report).splitlines() == [
        "m.h5 (a format), matched by name",
        "a.weight  layers/dense/vars/0  (2, 10)  float32",
        "b.bias    (missing)                     float16",
        "(unused)  layers/x/vars/0      ()       int32",
        "warning: careful",
    ]
    said = "<LoadReport of m.h5: 1 loaded, 1 unused, 1 missing, 1 warnings, by name>"
    assert repr(report) == said
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert report.to_dict()["loaded"][0]["shape"] == [2, 10]


# Arguments


def test_arguments_are_checked():
    arrays = [array(2, 2), array(2)]
    with pytest.raises(TypeError, match="module"):
        keras.load_weights("model", arrays)
    with pytest.raises(ValueError, match="'name' or 'order'"):
        keras.load_weights(nn.Linear(2, 2), arrays, by="luck")
    with pytest.raises(TypeError, match="mapping"):
        keras.load_weights(nn.Linear(2, 2), arrays, mapping=["a"])
    with pytest.raises(FileNotFoundError):
        keras.load_weights(nn.Linear(2, 2), "nowhere.h5")
    with pytest.raises(TypeError):
        keras.load_weights(nn.Linear(2, 2), 3)


def test_arrays_in_memory_load():
    linear, kernel, bias = nn.Linear(3, 2), array(3, 2), array(2)
    assert keras.load_weights(linear, [kernel, bias]).matched == "order"
    np.testing.assert_array_equal(stored(linear.weight), kernel.T)
    model = nn.ModuleDict({"b": nn.Linear(3, 2), "a": nn.Linear(3, 2)})
    named = {"a/kernel": kernel, "a/bias": bias, "b/kernel": 2 * kernel, "b/bias": bias}
    assert keras.load_weights(model, named).matched == "name"
    np.testing.assert_array_equal(stored(model["b"].weight), 2 * kernel.T)


# Models


def test_a_config_and_weights_make_a_model(tmp_path):
    groups = weights_of_two()
    config, weights = json_file(tmp_path, TWO), tree_file(tmp_path, groups)
    model = keras.load_model(config, weights=weights)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    kernel, bias = groups["layers/conv2d"]
    np.testing.assert_array_equal(stored(model.layers["c"].kernel), kernel)
    np.testing.assert_array_equal(stored(model.layers["c"].bias), bias)
    assert model(torch.zeros(2, 5, 4, 3)).shape == (2, 4, 2, 4)
    listed = [value for arrays in groups.values() for value in arrays]
    again = keras.load_model(config, weights=listed)
    named = {"c/kernel": kernel, "c/bias": bias, "d/kernel": listed[2], "d/bias": listed[3]}
    third = keras.load_model(config, weights=named)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.equal(value, third.state_dict()[name])


def test_frozen_layers_stay_frozen(tmp_path):
    frozen, dense = conv(2, [2, 3], name="c", trainable=False), ("Dense", {"units": 4, "name": "d"})
    config = json_file(tmp_path, sequential(image(5, 4, 3), frozen, dense))
    model = keras.load_model(config, weights=tree_file(tmp_path, weights_of_two()))
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert wanted == {"c.weight": False, "c.bias": False, "d.weight": True, "d.bias": True}


def changed(groups, **changes):
    found = {**groups, **{f"layers/{name}": value for name, value in changes.items()}}
    return {group: arrays for group, arrays in found.items() if arrays is not None}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"dense": None}, "missing: d.weight is not in the file"),
        ({"dense_1": [array(2, 4), array(4)]}, "missing: d.weight is not in the file"),
        (
            {"embedding": [array(2, 4)]},
            "unexpected: layers/embedding/vars/0 (2, 4) matches no parameter",
        ),
        ({"dense": [array(2, 4)]}, "has 2 weights: kernel, bias"),
        ({"dense": [array(2, 5), array(5)]}, "no input gives these shapes"),
        ({"dense": [array(3, 4), array(4)]}, "by its input's shape"),
        ({"conv2d": [array(2, 3, 2, 2), array(2)]}, "by its input's shape"),
        ({"conv2d": [array(3, 2, 3, 2), array(2)]}, "no input gives these shapes"),
        ({"conv2d": [array(2, 3, 3, 2).astype("int8"), array(2)]}, "Quantized"),
    ],
)
def test_the_weights_must_be_those_of_the_model(tmp_path, changes, said):
    config = json_file(tmp_path, TWO)
    weights = tree_file(tmp_path, changed(weights_of_two(), **changes))
    with pytest.raises(FileError) as caught:
        keras.load_model(config, weights=weights)
    assert said in str(caught.value)


def test_nothing_is_read_before_all_fits(tmp_path, monkeypatch):
    reads = []
    groups = changed(weights_of_two(), dense=[array(2, 5), array(5)])
    config, weights = json_file(tmp_path, TWO), tree_file(tmp_path, groups)
    with pytest.raises(FileError):
        keras.load_model(config, weights=weights, progress=reads.append)
    assert not reads
    keras.load_model(config, weights=tree_file(tmp_path, weights_of_two()), progress=reads.append)
    assert sum(reads) == 4 * (2 * 3 * 3 * 2 + 2 + 2 * 4 + 4)


def test_the_ways_without_a_config_or_weights_are_told(tmp_path):
    with pytest.raises(FileError, match="load_weights"):
        keras.load_model(tree_file(tmp_path, weights_of_two()))
    with pytest.raises(FileError, match="weights="):
        keras.load_model(json_file(tmp_path, TWO))
    weightless = sequential(image(5, 4, 3), ("Flatten", {"name": "f"}))
    assert keras.load_model(json_file(tmp_path, weightless))(torch.zeros(2, 5, 4, 3)).shape == (
        2,
        60,
    )


def test_a_model_that_was_loaded_takes_other_weights(tmp_path):
    config = json_file(tmp_path, TWO)
    model = keras.load_model(config, weights=tree_file(tmp_path, weights_of_two()))
    groups = weights_of_two()
    report = keras.load_weights(model, tree_file(tmp_path, groups))
    assert report.matched == "structure"
    np.testing.assert_array_equal(stored(model.layers["d"].kernel), groups["layers/dense"][0])


def test_weights_are_not_drawn_before_they_are_loaded(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", refuse)
    keras.load_model(json_file(tmp_path, TWO), weights=tree_file(tmp_path, weights_of_two()))
    unbuilt = nn.Sequential(keras.layers.Dense(4))
    keras.load_weights(unbuilt, [array(2, 4), array(4)])


@pytest.mark.parametrize("step", [1, 2])
def test_both_ways_of_numbering_are_read(tmp_path, step):
    """Keras 2.12 and 2.13 counted each layer with weights twice."""
    count = 12
    layers = [("Dense", {"units": 3, "name": f"l{n}"}) for n in range(count)]
    kernels = [array(3, 3) for _ in range(count)]
    groups = {
        f"_layer_checkpoint_dependencies/dense{f'_{step * n}' if n else ''}": [kernels[n], array(3)]
        for n in range(count)
    }
    config = sequential(("InputLayer", {"batch_shape": [None, 3], "name": "x"}), *layers)
    model = keras.load_model(json_file(tmp_path, config), weights=tree_file(tmp_path, groups))
    for number, kernel in enumerate(kernels):
        np.testing.assert_array_equal(stored(model.layers[f"l{number}"].kernel), kernel)


def test_names_in_another_order_than_the_config_are_refused(tmp_path):
    layers = [("Dense", {"units": 3, "name": name}) for name in "ab"]
    config = sequential(("InputLayer", {"batch_shape": [None, 3], "name": "x"}), *layers)
    groups = {f"layers/{group}": [array(3, 3), array(3)] for group in ("dense", "dense_1")}
    for names, fits in (("ab", True), ("cd", True), ("ba", False)):
        path = tree_file(tmp_path, groups)
        with h5py.File(path, "a") as file:
            for group, name in zip(groups, names, strict=True):
                file[f"{group}/vars"].attrs["name"] = name
        if fits:
            keras.load_model(json_file(tmp_path, config), weights=path)
        else:
            with pytest.raises(FileError, match="in another order"):
                keras.load_model(json_file(tmp_path, config), weights=path)


def nested(**inner):
    layers = (conv(2, 1, name="a", **inner), ("BatchNormalization", {"name": "n"}))
    model = sequential(image(5, 4, 3), *layers, name="inner")
    return sequential(image(5, 4, 3), (model["class_name"], model["config"]), name="outer")


@pytest.mark.parametrize("prefix", ["", "{layer}/", "inner/{layer}/", "outer/inner/{layer}/"])
def test_the_weights_of_a_nested_model_are_found_by_their_names(tmp_path, prefix):
    """In any order; the names were bare in Keras 3.0 to 3.2."""
    moving = {name: ("n", array(2)) for name in ("moving_mean", "moving_variance", "gamma", "beta")}
    values = {**moving, "bias": ("a", array(2)), "kernel": ("a", array(1, 1, 3, 2))}
    arrays = {prefix.format(layer=layer) + name: v for name, (layer, v) in values.items()}
    model = keras.load_model(old_file(tmp_path, {"inner": arrays}, nested(), keras_version="3.1"))
    inner = model.layers["inner"].layers
    np.testing.assert_array_equal(stored(inner["a"].kernel), values["kernel"][1])
    np.testing.assert_array_equal(stored(inner["n"].running_var), values["moving_variance"][1])


def test_bare_names_that_two_layers_have_are_refused(tmp_path):
    config = sequential(image(5, 4, 3), conv(3, 1, name="a"), conv(3, 1, name="b"), name="inner")
    outer = sequential(image(5, 4, 3), (config["class_name"], config["config"]), name="outer")
    arrays = {"kernel": array(1, 1, 3, 3), "bias": array(3)}
    with pytest.raises(FileError, match="inner"):
        keras.load_model(old_file(tmp_path, {"inner": arrays}, outer, keras_version="3.1"))


def test_lora_is_merged_by_the_config_where_the_module_has_none(tmp_path):
    kernel, a, b = array(3, 4), array(3, 2), array(2, 4)
    arrays = {"bias": array(4), "lora_kernel_a": a, "lora_kernel_b": b, "kernel": kernel}
    dense = ("Dense", {"units": 4, "name": "d", "lora_rank": 2, "lora_alpha": 3})
    config = sequential(("InputLayer", {"batch_shape": [None, 3], "name": "x"}), dense)
    path = old_file(
        tmp_path,
        {"d": {f"d/{name}": value for name, value in arrays.items()}},
        config,
        keras_version="3.15.1",
    )
    linear = nn.Linear(3, 4)
    keras.load_weights(linear, path)
    expected = (kernel + 1.5 * (a @ b)).T
    np.testing.assert_allclose(stored(linear.weight), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
def test_kernels_of_keras_1_are_turned_as_the_config_tells(tmp_path, backend):
    kernel, bias = array(3, 3, 3, 3), array(3)
    arrays = {"c": {"c_W": kernel, "c_b": bias}}
    for ordering, turned in (("th", kernel.transpose(2, 3, 1, 0)), ("tf", kernel)):
        old = {"nb_filter": 3, "nb_row": 3, "nb_col": 3, "dim_ordering": ordering, "name": "c"}
        shape = [None, 3, 5, 6] if ordering == "th" else [None, 5, 6, 3]
        old["batch_input_shape"] = shape
        config = {
            "class_name": "Sequential",
            "config": [{"class_name": "Convolution2D", "config": old}],
        }
        path = old_file(tmp_path, arrays, config, backend=backend)
        model = keras.load_model(path)
        expected = turned[::-1, ::-1] if backend == "theano" else turned
        np.testing.assert_array_equal(stored(model.layers["c"].kernel), expected)


def test_arrays_are_let_go_as_soon_as_they_are_parameters(tmp_path):
    width, count = 256, 12
    layers = [("Dense", {"units": width, "name": f"d{n}"}) for n in range(count)]
    config = sequential(("InputLayer", {"batch_shape": [None, width], "name": "x"}), *layers)
    groups = {
        f"layers/dense{f'_{n}' if n else ''}": [array(width, width), array(width)]
        for n in range(count)
    }
    path, weights = json_file(tmp_path, config), tree_file(tmp_path, groups)
    held = []
    tracemalloc.start()  # it sees what arrays are read into, and not torch's own memory

    def note(_):
        held.append(tracemalloc.get_traced_memory()[0])

    try:
        keras.load_model(path, weights=weights, progress=note)
    finally:
        tracemalloc.stop()
    assert len(held) >= count
    assert max(held) - min(held) < 3 * 4 * width * width


# Files that break


def test_a_file_that_changes_while_it_is_read_changes_nothing(tmp_path):
    path = tree_file(tmp_path, weights_of_two())
    model = nn.Sequential(nn.Conv2d(3, 2, (2, 3)), nn.Linear(2, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def cut(_):
        with path.open("r+b") as file:
            file.truncate(100)

    with pytest.raises(FileError):
        keras.load_weights(model, path, progress=cut)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Devices and modes


def test_the_type_of_the_numbers_is_the_modules(tmp_path):
    arrays = [array(3, 2).astype("float64"), array(2).astype("float16")]
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        module = nn.Linear(3, 2, dtype=kind)
        keras.load_weights(module, arrays)
        assert torch.equal(module.weight, torch.from_numpy(arrays[0].T.copy()).to(kind))


def test_loading_under_inference_mode_leaves_weights_that_can_be_trained():
    model = nn.Sequential(keras.layers.Dense(2), nn.Linear(2, 1))
    with torch.inference_mode():
        keras.load_weights(model, [array(3, 2), array(2), array(2, 1), array(1)])
    model(torch.ones(1, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_models_go_to_a_device(tmp_path, device):
    config, weights = json_file(tmp_path, TWO), tree_file(tmp_path, weights_of_two())
    model = keras.load_model(config, weights=weights, device=device)
    assert {parameter.device.type for parameter in model.parameters()} == {device}
    keras.load_weights(model, weights)


def test_optimizers_go_on_with_loaded_weights(tmp_path):
    model = keras.load_model(
        json_file(tmp_path, TWO), weights=tree_file(tmp_path, weights_of_two())
    )
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.rand(2, 5, 4, 3)).square().sum().backward()
        assert all(p.grad.stride() == p.stride() for p in model.parameters() if p.ndim == 4)
        optimizer.step()
        keras.load_weights(model, tmp_path / "m.weights.h5")


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_does_not_match_is_listed_in_the_words_of_torch(in_memory, tmp_path):
    arrays = {"0/kernel": np.ones((3, 2), "float32"), "0/scale": np.ones(2, "float32")}
    np.savez(tmp_path / "a.npz", **arrays)
    source = arrays if in_memory else tmp_path / "a.npz"
    with pytest.raises(FileError) as error:
        keras.load_weights(nn.Sequential(nn.Linear(3, 2)), source)
    place = "source" if in_memory else "file"
    assert f"\n  missing: 0.bias (2,) is not in the {place}\n" in str(error.value)
    assert "\n  unexpected: 0/scale (2,) matches no parameter\n" in str(error.value)
