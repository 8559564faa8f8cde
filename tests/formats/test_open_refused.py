"""What a file is that is refused, and what is wrong in it."""

from __future__ import annotations

import os

import h5py
import pytest
from torch import nn

from kerastorch import compare, load_model, load_weights, save_weights
from kerastorch._core.errors import FileError
from kerastorch.saving.formats import json_file
from tests.formats.keras_files import BIAS, KERNEL, archive, directory, found, legacy, shards, tree


def written(data: bytes):
    return lambda path: path.write_bytes(data)


def a_directory(*names: str):
    def make(path):
        path.mkdir()
        for name in names:
            (path / name).write_bytes(b"x")

    return make


def changed(make, change):
    def changing(path):
        make(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return changing


def renamed(file):
    file.move("model_weights/c", "model_weights/d")


def without_array(file):
    del file["model_weights/c/c/bias:0"]


def repeated(file):
    file["model_weights"].attrs["layer_names"] = ["c", "c"]


def listed_twice(file):
    file["model_weights/c"].attrs["weight_names"] = ["c/bias:0", "c/bias:0"]


def no_list(file):
    file["model_weights/c"].attrs["weight_names"] = "c/bias:0"


def stray(file):
    file["layers/conv2d/0"] = BIAS


def nested_vars(file):
    file["layers/conv2d/vars/x/0"] = BIAS


def twin(file):
    file["_layer_checkpoint_dependencies/conv2d/vars/0"] = BIAS


REFUSED = {
    "empty": (written(b""), "an empty file"),
    "gzip": (written(b"\x1f\x8b\x08"), "a gzip file: decompress it first"),
    "pointer": (written(b"version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
    "page": (written(b"<!DOCTYPE html>"), "a web page"),
    "yaml": (written(b"backend: tensorflow\nclass_name: Model\n"), "a model in YAML"),
    "safetensors": (written(b"\x02" + bytes(7) + b"{}"), "a safetensors file"),
    "text": (written(b"hello"), "not a file that Keras writes.*Found: it starts with b'hello'"),
    "user block": (written(bytes(512) + b"\x89HDF\r\n\x1a\n"), "HDF5 file behind 512 bytes"),
    "index": (written(bytes(40) + bytes.fromhex("57fb808b247547db")), r"the index .* NAME\.index"),
    "empty zip": (written(b"PK\5\6" + bytes(18)), "an empty zip archive"),
    "orbax": (a_directory("_CHECKPOINT_METADATA"), "an Orbax checkpoint"),
    "checkpoints": (a_directory("a.index", "b.index"), "a directory of several checkpoints"),
    "other folder": (a_directory("a", "b"), r"without a model: .*Found: \['a', 'b'\]"),
    "other zip": (lambda p: archive(p, **{"config.json": None}), "a zip archive without config"),
    "pickled": (
        lambda p: archive(p, **{"model.weights.h5": None, "model.weights.npz": b"x"}),
        r"model.weights.npz: a pickle of Python objects, .*load_weights\(module, {n: a.item\(\)",
    ),
    "weights twice": (
        lambda p: archive(p, **{"model.weights.npz": b"x"}),
        "both model.weights.h5 and model.weights.npz",
    ),
    "no json": (lambda p: archive(p, **{"config.json": b"{"}), "config.json: not JSON"),
    "key twice": (
        lambda p: archive(p, **{"config.json": b'{"a": 1, "a": 2}'}),
        "config.json: not JSON that Keras writes. Found: the key 'a' twice",
    ),
    "deep": (written(b'{"a":' * 300 + b"1" + b"}" * 300), "nested deeper than 200 levels"),
    "deeper": (written(b"[" * 200_000), "nested deeper|not JSON"),
    "not unicode": (written(b'{"\xff": 1}'), "not JSON that Keras writes"),
    "long number": (written(b'{"a": ' + b"1" * 100_000 + b"}"), "an integer of 100000 digits"),
    "other json": (written(b'{"a": 1}'), "JSON that is neither a model's config nor an index"),
    "other hdf5": (lambda p: h5py.File(p, "w").close(), "an HDF5 file that no Keras wrote"),
    "no group": (changed(legacy, renamed), "model_weights: no group of the layer 'c'"),
    "no array": (changed(legacy, without_array), "model_weights/c: no array of the .*c/bias:0'"),
    "one layer twice": (changed(legacy, repeated), "model_weights@layer_names: two layers"),
    "one array twice": (changed(legacy, listed_twice), "model_weights/c: no array of .* second"),
    "no list": (changed(legacy, no_list), "model_weights/c: no list of names `weight_names`"),
    "stray": (changed(tree, stray), "layers/conv2d/0: an array outside of the groups `vars`"),
    "nested": (changed(tree, nested_vars), "layers/conv2d/vars/x: a group where Keras has"),
    "twin": (changed(tree, twin), "layers/conv2d: two groups for one layer"),
}


@pytest.mark.parametrize("make, message", REFUSED.values(), ids=REFUSED)
def test_what_is_no_such_file_is_told(make, message, tmp_path):
    make(tmp_path / "x")
    with pytest.raises(FileError, match=f"^{tmp_path / 'x'}: .*{message}"):
        found(tmp_path / "x")


@pytest.mark.parametrize(
    "group, value, message",
    [
        ("/layers/d/vars", "../s_1.weights.h5", "a shard that is not a .weights.h5 file in"),
        ("/layers/d/vars", "/s_1.weights.h5", "a shard that is not a .weights.h5 file in"),
        ("/layers/d/vars", "s.weights.json", "a shard that is not a .weights.h5 file in"),
        ("/layers/d/vars", 3, "a shard that is not a .weights.h5 file in.*Found: 3"),
        ("/layers/d/vars", "s_2.weights.h5", "no file s_2.weights.h5 beside"),
        ("/layers/d/vars", "s_0.weights.h5", "s_0.weights.h5: groups that differ from the index"),
        ("/layers/e/vars", "s_1.weights.h5", "s_1.weights.h5: groups that differ from the index"),
    ],
)
def test_wrong_shards_are_told(group, value, message, tmp_path):
    with pytest.raises(FileError, match=message):
        found(shards(tmp_path / "s.weights.json", **{group: value}))


def test_two_shards_with_one_array_are_told(tmp_path):
    index = shards(tmp_path / "s.weights.json")
    with h5py.File(tmp_path / "s_1.weights.h5", "r+") as file:
        file["layers/conv2d/vars/0"] = KERNEL
    with pytest.raises(FileError, match="layers/conv2d/vars/0: an array that is in two shards"):
        found(index)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_links_out_of_a_directory_are_told(name, tmp_path):
    path = directory(tmp_path / "x")
    (path / name).rename(tmp_path / name)
    (path / name).symlink_to(tmp_path / name)
    with pytest.raises(FileError, match=f"{name}: a link to a file elsewhere.*Copy that file"):
        found(path)


def test_an_archive_within_hdf5_is_told(tmp_path):
    path = tree(tmp_path / "x")
    path.write_bytes(path.read_bytes() + archive(tmp_path / "y").read_bytes())
    with pytest.raises(FileError, match="an HDF5 file and a zip archive at once"):
        found(path)


def test_a_missing_path_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x: no such file or directory\.$"):
        found(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match=r"There is no directory .*y either"):
        found(tmp_path / "y" / "x")


def test_a_pipe_is_told(tmp_path):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(FileError, match="neither a file nor a directory"):
        found(tmp_path / "x")


def test_json_is_bounded(monkeypatch):
    monkeypatch.setattr(json_file, "MOST_BYTES", 10)
    with pytest.raises(FileError, match=r"w: JSON of more than 10 bytes. Found: 11"):
        json_file.parse_json("w", b"[1,2,3,4,5]")
    monkeypatch.setattr(json_file, "_MOST_VALUES", 3)
    with pytest.raises(FileError, match="w: JSON of more than 3 values"):
        json_file.parse_json("w", b"[1,2,3,4]")
    assert json_file.parse_json("w", b"\xef\xbb\xbf[NaN]") != [0]


MODEL = nn.Linear(2, 3)


@pytest.mark.parametrize("path", ["", b"", "a\0b", b"a\0b"])
@pytest.mark.parametrize(
    ("owner", "argument", "call"),
    [
        ("load_model", "path", load_model),
        ("load_model", "weights", lambda path: load_model("no.keras", weights=path)),
        ("load_weights", "source", lambda path: load_weights(MODEL, path)),
        ("save_weights", "path", lambda path: save_weights(MODEL, path)),
        ("compare", "reference", lambda path: compare(MODEL, path)),
    ],
)
def test_an_empty_path_is_not_the_current_directory(owner, argument, call, path):
    with pytest.raises(ValueError) as caught:
        call(path)
    assert str(caught.value) == (
        f"{owner}: `{argument}` must be a path that is not empty and has no null character. "
        f"Received: {argument}={path!r}."
    )


@pytest.mark.parametrize("path", [" ", b" "])
def test_a_blank_path_is_a_name_like_others(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (load_model, lambda path: load_weights(MODEL, path)):
        with pytest.raises(FileNotFoundError, match=r"^ : no such file"):
            call(path)
    with pytest.raises(FileNotFoundError):
        compare(MODEL, path)
