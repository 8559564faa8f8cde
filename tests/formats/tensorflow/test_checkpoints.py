"""Checkpoints and SavedModels of TensorFlow, written by our own encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch
from kerastorch._core.errors import FileError
from kerastorch.saving.formats.open import open_weight_file
from kerastorch.saving.formats.tensorflow.checksum import Checksum, compute_checksum
from kerastorch.saving.formats.tensorflow.message import Message
from kerastorch.saving.formats.tensorflow.table import read_table
from tests.formats.tensorflow_files.bundle import (
    pack,
    store_bfloat16,
    write_files,
)
from tests.formats.tensorflow_files.object_graph import Variable, trace, track
from tests.formats.tensorflow_files.protobuf import changed, encode
from tests.formats.tensorflow_files.saved_model import METADATA, build_saved_model
from tests.formats.tensorflow_files.table import masked_crc32c, table

RANDOM = np.random.default_rng(3)
KERNEL, BIAS = RANDOM.normal(size=(4, 3)).astype("float32"), np.arange(3, dtype="float32")
LSTM = {
    "cell/kernel": RANDOM.normal(size=(5, 8)).astype("float32"),
    "cell/recurrent_kernel": RANDOM.normal(size=(2, 8)).astype("float32"),
    "cell/bias": RANDOM.normal(size=8).astype("float32"),
}


def layer(class_name, name, **config):
    return {"class_name": class_name, "config": {"name": name, "trainable": True, **config}}


def sequential(name, *layers):
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


INNER = sequential("inner", layer("Dense", "d", units=3, batch_input_shape=[None, None, 4]))
CONFIG = {
    **sequential(
        "outer",
        layer("LSTM", "rnn", units=2, return_sequences=True, batch_input_shape=[None, None, 5]),
        layer("Dropout", "drop", rate=0.5),
        layer("TimeDistributed", "each", layer=layer("Dense", "dense", units=4)),
        INNER,
    ),
    "keras_version": "2.15.0",
    "backend": "tensorflow",
}
EACH = {"layer/kernel": RANDOM.normal(size=(2, 4)).astype("float32"), "layer/bias": np.ones(4, "f")}
ARRAYS = {"rnn": LSTM, "each": EACH, "inner": {"d": {"kernel": KERNEL, "bias": BIAS}}}


def save(folder: Path, form: str = "keras_metadata", **options) -> Path:
    model = build_saved_model(CONFIG, ARRAYS, **options)
    return write_files(folder, model.files(form))


def check_model(model: nn.Module) -> None:
    assert torch.equal(model.inner.d.weight, torch.from_numpy(KERNEL).T)
    assert torch.equal(model.each.layer.weight, torch.from_numpy(EACH["layer/kernel"]).T)
    kernel = torch.from_numpy(LSTM["cell/recurrent_kernel"]).T
    assert torch.equal(model.rnn.weight_hh_l0, kernel)
    assert model(torch.zeros(1, 2, 5)).shape == (1, 2, 3)


def read_all(path) -> dict[str, torch.Tensor]:
    with open_weight_file(path) as contents:
        return {one.path: one.read() for layer in contents.layers for one in layer.weights}


# Checksums and tables


def test_the_checksum_is_crc_32c():
    assert compute_checksum(b"123456789") == masked_crc32c(b"123456789")
    found = Checksum()
    found.update(b"123456789")
    assert found.masked == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize("size", [0, 1, 255, 256, 511, 512, 8191, 8192, 70_000, 131_072, 140_001])
def test_the_checksum_of_any_length_in_any_parts(size):
    data = RANDOM.bytes(size)
    cut = size // 3
    found = Checksum()
    for part in (data[:cut], b"", memoryview(data)[cut:]):
        found.update(part)
    assert found.masked == masked_crc32c(data)


@pytest.mark.parametrize("most", [1, 60, 1 << 18])
def test_a_table_of_many_blocks_and_shared_prefixes(most):
    pairs = [(f"layer-{n:04}/kernel".encode(), b"x" * (n % 7)) for n in range(300)]
    found = read_table("x", table(pairs, most=most))
    assert [(key, bytes(value)) for key, value in found.items()] == pairs


def test_fields_of_a_message():
    message = Message("x", memoryview(encode([(1, -1), (2, "é"), (3, [(1, 5)]), (3, [(1, 6)])])))
    assert message.integer(1) == -1 and message.text(2) == "é" and message.integer(9) == 0
    assert [one.integer(1) for one in message.messages(3)] == [5, 6]
    assert message.message(3).integer(1) == 6 and not message.has(4) and message.text(4) == ""
    for read in (message.text, message.message):
        with pytest.raises(FileError, match=r"x: not the message .*field 1 is an integer"):
            read(1)
    with pytest.raises(FileError, match="field 2 is no integer"):
        message.integer(2)


# Arrays


def test_arrays_of_every_dtype_in_two_files(tmp_path):
    dtypes = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
    dtypes += ["uint16", "uint32", "uint64"]
    arrays = {dtype: RANDOM.integers(0, 2, (2, 3)).astype(dtype) for dtype in dtypes}
    arrays["scalar"], arrays["empty"] = np.array(3, "int64"), np.zeros((0, 3), "float32")
    cut = {"bfloat16": store_bfloat16(np.array([1.5, -2.0], "float32"))}
    write_files(tmp_path, pack(arrays, cut).files("x"))
    found = read_all(tmp_path / "x")
    assert found.pop("bfloat16").tolist() == [1.5, -2.0]
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(found[name].numpy(), array)
        assert str(found[name].dtype) == f"torch.{array.dtype}"


def test_blocks_are_the_rows_and_progress_counts_bytes(tmp_path):
    large = RANDOM.normal(size=(3000, 200)).astype("float32")
    write_files(tmp_path, pack({"a/kernel": large}).files("x"))
    counts = []
    with open_weight_file(tmp_path / "x", progress=counts.append) as contents:
        (weight,) = contents.layers[0].weights
        blocks = list(weight.read.blocks())
    assert len(blocks) > 1 and np.array_equal(torch.cat(blocks).numpy(), large)
    assert sum(counts) == large.nbytes


@pytest.mark.parametrize("rows", [3, 3000])
def test_a_changed_byte_is_told_and_changes_nothing(tmp_path, rows):
    kernel = RANDOM.normal(size=(rows, 200)).astype("float32")
    write_files(tmp_path, pack({"d/kernel": kernel, "d/bias": np.zeros(200, "f")}).files("x"))
    data = tmp_path / "x.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    module = nn.ModuleDict({"d": nn.Linear(rows, 200)})
    before = module["d"].weight.clone(), module["d"].bias.clone()
    with pytest.raises(FileError, match=r"its checksum differs .*version control"):
        kerastorch.load_weights(module, tmp_path / "x")
    assert torch.equal(module["d"].weight, before[0]) and torch.equal(module["d"].bias, before[1])


# Which array is whose


@pytest.mark.parametrize("name", ["w.ckpt", "w.ckpt.index", "."])
def test_a_checkpoint_of_a_model(tmp_path, name):
    checkpoint = trace(track(CONFIG, ARRAYS))
    write_files(tmp_path, checkpoint.files("w.ckpt", shards=2 if name == "." else 1))
    (tmp_path / "c.json").write_text(json.dumps(CONFIG))
    check_model(kerastorch.load_model(tmp_path / "c.json", weights=tmp_path / name))
    module = nn.Sequential(nn.LSTM(5, 2), nn.Linear(2, 4), nn.Linear(4, 3))
    report = kerastorch.load_weights(module, tmp_path / name)
    assert report.loaded[0].source == "layer-0/cell/kernel"


def test_the_latest_checkpoint_is_the_last_name_of_its_path(tmp_path):
    write_files(tmp_path, trace(track(CONFIG, ARRAYS)).files("w"))
    text = 'model_checkpoint_path: "C:\\\\Users\\\\me\\\\w"\nall_model_checkpoint_paths: "old"\n'
    (tmp_path / "checkpoint").write_text(text)
    assert len(read_all(tmp_path)) == 7
    (tmp_path / "checkpoint").write_text("model_checkpoint_path: /w\n")
    with pytest.raises(FileError, match="checkpoint: a file without the name of a checkpoint"):
        read_all(tmp_path)


def test_an_optimizer_s_state_is_listed_and_not_loaded(tmp_path):
    kernel, slot = Variable("d/kernel", KERNEL), Variable("Adam/d/kernel/m", KERNEL)
    optimizer = {"iter": Variable("Adam/iter", np.array(7)), "learning_rate": Variable("lr", BIAS)}
    root = {"layer-0": {"kernel": kernel, "bias": Variable("d/bias", BIAS)}, "optimizer": optimizer}
    files = trace(root, [(optimizer, kernel, "m", slot)]).files("x")
    write_files(tmp_path, files)
    with open_weight_file(tmp_path) as contents:
        assert [layer.path for layer in contents.layers] == ["layer-0"]
        assert sorted(contents.ignored) == ["Adam/d/kernel/m", "Adam/iter", "lr"]


def test_one_model_among_other_objects_is_found(tmp_path):
    model = track(INNER, {"d": {"kernel": KERNEL, "bias": BIAS}})
    other = {"kernel": Variable("other/kernel", KERNEL)}
    write_files(tmp_path, trace({"step": Variable("step", np.array(1)), "net": model}).files("x"))
    (tmp_path / "c.json").write_text(json.dumps(INNER))
    loaded = kerastorch.load_model(tmp_path / "c.json", weights=tmp_path)
    assert torch.equal(loaded.d.weight, torch.from_numpy(KERNEL).T)
    critic = track(INNER, {"d": {"kernel": KERNEL}})
    write_files(tmp_path, trace({"generator": model, "critic": critic, "other": other}).files("x"))
    with open_weight_file(tmp_path) as contents:
        paths = [layer.path for layer in contents.layers if layer.weights]
    assert paths == ["generator/layer-0", "critic/layer-0", "other"]


def test_objects_that_contain_themselves_are_met_once(tmp_path):
    inner = {"kernel": Variable("a/b/kernel", KERNEL)}
    root = {"a": {"b": inner, "again": inner}}
    root["a"]["parent"] = root
    write_files(tmp_path, trace(root).files("x"))
    assert [*read_all(tmp_path)] == ["a/b/kernel"]


# SavedModels


@pytest.mark.parametrize(
    ("form", "tensorflow"),
    [("keras_metadata", "2.15.0"), ("both", "2.5.0"), ("saved_model", "2.2.0"), ("assets", "1.14")],
)
def test_the_config_of_a_saved_model(tmp_path, form, tensorflow):
    model = kerastorch.load_model(save(tmp_path, form, tensorflow=tensorflow))
    check_model(model)
    assert model.each.layer.units == 4 and model.drop.rate == 0.5


def test_a_saved_model_that_lost_its_folder_is_read(tmp_path):
    save(tmp_path)
    for path in (tmp_path / "variables").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "variables").rmdir()
    check_model(kerastorch.load_model(tmp_path))


def test_a_saved_model_without_a_config_has_weights(tmp_path):
    save(tmp_path, "nowhere", tensorflow="2.9.1")
    with pytest.raises(FileError, match=r"TensorFlow 2\.9\.1 wrote it by .*call `load_weights`"):
        kerastorch.load_model(tmp_path)
    (tmp_path / "c.json").write_text(json.dumps(CONFIG))
    check_model(kerastorch.load_model(tmp_path / "c.json", weights=tmp_path))


def test_ends_of_lines_are_repaired_where_all_lengths_agree(tmp_path):
    path = save(tmp_path) / "keras_metadata.pb"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\n", b"\r\n"))
    with pytest.warns(UserWarning, match="changed by version control or an editor"):
        check_model(kerastorch.load_model(tmp_path))
    path.write_bytes(data.replace(b"\n", b"\r\n").decode("latin-1").encode())
    with pytest.raises(FileError, match="conversion of text changed it"):
        kerastorch.load_model(tmp_path)


def test_a_subclass_has_no_config(tmp_path):
    model = build_saved_model(CONFIG, ARRAYS, model_config=None)
    mine = {"config": {}, "class_name": "Mine", "model_config": None}
    model.metadata[0] = changed(model.metadata[0], METADATA, json.dumps(mine))
    write_files(tmp_path, model.files())
    with pytest.raises(FileError, match="its model is a 'Mine', a class whose code is in no file"):
        kerastorch.load_model(tmp_path)


def test_layers_whose_names_are_in_another_order_are_refused(tmp_path):
    config = sequential(
        "m", *(layer("Dense", name, units=4, batch_input_shape=[None, 4]) for name in "ab")
    )
    (tmp_path / "c.json").write_text(json.dumps(config))
    kernel = np.eye(4, dtype="float32")
    for names, is_crossed in (("ab", False), ("ba", True), ("xy", False), ("aa", False)):
        arrays = {
            name: {
                "kernel": Variable(f"{saved}/kernel", kernel),
                "bias": Variable(f"{saved}/bias", kernel[0]),
            }
            for name, saved in zip("ab", names, strict=True)
        }
        write_files(tmp_path, trace(track(config, arrays)).files("w"))
        if is_crossed:
            with pytest.raises(FileError, match="the config's layers, but in another order"):
                kerastorch.load_model(tmp_path / "c.json", weights=tmp_path)
        else:
            kerastorch.load_model(tmp_path / "c.json", weights=tmp_path)
