"""Files that Keras wrote: every one is read, as h5py reads it, and all formats of a model agree."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import kerastorch
from kerastorch import load_model
from kerastorch._core.errors import FileError
from kerastorch.saving.formats.open import open_weight_file
from kerastorch.saving.formats.weight_file import WeightFile

FILES = Path(__file__).parents[1] / "files"
MODELS = (
    "seq_adam",
    "fun_nested",
    "inits",
    "wrappers",
    "subclass",
    "lora",
    "dt_bfloat16",
    "activations",
)
TREES = {  # groups with `vars`, the model's own included
    "seq": 7, "fun_nested": 14, "inits": 4, "wrappers": 17, "subclass": 5, "lora": 4, "dt": 2,
    "windows": 2, "activations": 7,
}  # fmt: skip
LISTS = {  # names in `layer_names`, and the model's own weights
    "seq": 6, "fun_nested": 8, "inits": 2, "wrappers": 5, "subclass": 5, "lora": 3, "dt": 1,
    "legacy_order": 2, "chunked": 33, "activations": 5,
}  # fmt: skip
VERSIONS = {"keras-2.15.1": "2.15.0", "tf_keras-2.21": "2.21.0"}  # as they call themselves
MADE = {"chunked_layer_names": "2.11.0"}


def is_part(path: Path) -> bool:
    """Tell whether it is one of several shards, which hold no model by themselves."""
    return "_shard_" in path.name


HDF5 = sorted(p for p in FILES.glob("*/*") if p.name.endswith((".h5", ".h5.gz", ".keras")))
HDF5 = [path for path in HDF5 if not is_part(path) and path.name != "seq_npz.keras"]
CONFIGS = [p for p in sorted(FILES.glob("*/*.json")) if p.stem in MODELS]
TREE_FILES = [path for path in HDF5 if path.name.endswith((".keras", ".weights.h5"))]
LEGACY_FILES = [path for path in HDF5 if path not in TREE_FILES and path.suffix == ".h5"]
SHARDS = FILES / "keras-3.15.1" / "seq_shard.weights.json"
DIRECTORY = FILES / "keras-3.15.1" / "seq_dir"


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def plain(path: Path, folder: Path) -> Path:
    """Return the file itself where it is kept compressed."""
    if path.suffix != ".gz":
        return path
    (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return folder / path.stem


def read_by_h5py(path: Path) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Return shape and bytes of every array of a file's layers, by its path in HDF5."""
    data = path.read_bytes()
    if zipfile.is_zipfile(path):
        data = zipfile.ZipFile(path).read("model.weights.h5")
    found = {}

    def visit(name: str, member: h5py.HLObject) -> None:
        if isinstance(member, h5py.Dataset):
            found[name] = (member.shape, np.asarray(member[()]).tobytes())

    with h5py.File(BytesIO(data)) as file:
        file.visititems(visit)
    foreign = ("optimizer", "metrics")
    return {name: array for name, array in found.items() if not name.startswith(foreign)}


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def arrays_of(path: Path) -> Counter[tuple[tuple[int, ...], bytes]]:
    with open_weight_file(path) as contents:
        weights = [weight for layer in contents.layers for weight in layer.weights]
        tensors = [weight.read() for weight in weights]
    for weight, tensor in zip(weights, tensors, strict=True):
        assert tuple(tensor.shape) == weight.shape
        assert tensor.dtype is getattr(torch, weight.dtype)
    return Counter((tuple(tensor.shape), bytes_of(tensor)) for tensor in tensors)


def opened(path: Path) -> WeightFile:
    with open_weight_file(path) as contents:
        return contents


def counted(counts: dict[str, int], path: Path) -> int:
    (count,) = (n for start, n in counts.items() if path.name.startswith(start))
    writer = path.parent.name
    # From 3.6 on, what has neither a name nor weights has no group: here, two activations.
    return count - 2 if count == 17 and writer in ("keras-3.14.1", "keras-3.15.1") else count


def test_every_file_is_known():
    known = {*HDF5, *CONFIGS, SHARDS, DIRECTORY, FILES / "keras-3.15.1" / "seq_npz.keras"}
    others = {p for p in FILES.glob("*-*/*") if not is_part(p)} - known
    assert {p.suffix for p in others} <= {".npz", ".npy", ".json"}
    assert len(HDF5) > 60


@pytest.mark.parametrize("path", HDF5, ids=name_of)
def test_what_is_in_a_file(path, tmp_path):
    contents, is_tree = opened(plain(path, tmp_path)), path in TREE_FILES
    writer = path.parent.name
    assert (contents.layout == "classes") == is_tree
    assert len(contents.layers) == counted(TREES if is_tree else LISTS, path)
    version = MADE.get(path.name.split(".")[0], VERSIONS.get(writer, writer.split("-")[1]))
    assert contents.version == (None if path.name.endswith(".weights.h5") else version)
    has_config = not path.name.endswith((".weights.h5", "_w.h5", ".gz"))
    assert (contents.config is not None) == has_config
    backends = ("tensorflow", "torch", None)
    assert contents.backend in (backends[2:] if is_tree else backends[:2])


@pytest.mark.parametrize("path", HDF5, ids=name_of)
def test_arrays_are_those_that_h5py_reads(path, tmp_path):
    path = plain(path, tmp_path)
    assert arrays_of(path) == Counter(read_by_h5py(path).values())


@pytest.mark.parametrize("path", TREE_FILES, ids=name_of)
def test_paths_in_a_tree_are_those_of_the_file(path):
    expected = {
        name.replace("\\", "/").replace("_layer_checkpoint_dependencies", "layers"): array
        for name, array in read_by_h5py(path).items()
    }
    with open_weight_file(path) as contents:
        found = {
            weight.path: (weight.shape, bytes_of(weight.read()))
            for layer in contents.layers
            for weight in layer.weights
        }
    assert found == expected


@pytest.mark.parametrize("path", LEGACY_FILES, ids=name_of)
def test_names_in_a_legacy_file_are_those_of_the_file(path):
    expected = read_by_h5py(path)
    with open_weight_file(path) as contents:
        for layer in contents.layers:
            for weight in layer.weights:
                inside = f"{layer.path}/{weight.path}"
                array = expected.pop(inside, None) or expected.pop(f"model_weights/{inside}")
                assert array == (weight.shape, bytes_of(weight.read()))
                assert weight.path.removesuffix(":0").endswith(weight.name)
                assert not {"/", ":"} & set(weight.name)
    assert not expected


GROUPS = {
    f"{writer}/{model}": [p for p in HDF5 if p.match(f"{writer}/{model}*")]
    for writer in sorted(path.name for path in FILES.iterdir() if path.is_dir())
    for model in MODELS
}


@pytest.mark.parametrize("group", [name for name, paths in GROUPS.items() if len(paths) > 1])
def test_all_formats_of_a_model_have_the_same_arrays(group):
    paths = GROUPS[group]
    if group.endswith("/lora"):  # the trees hold merged kernels, the legacy file those of LoRA
        paths = [path for path in paths if path in TREE_FILES]
    first, *others = map(arrays_of, paths)
    assert all(arrays == first for arrays in others)


def test_two_models_have_other_arrays():
    first = [arrays_of(paths[0]) for name, paths in GROUPS.items() if paths and "-3.15" in name]
    assert all(one != other for i, one in enumerate(first) for other in first[:i])


def test_a_model_in_shards_and_in_a_directory_is_the_same():
    whole = arrays_of(FILES / "keras-3.15.1" / "seq_adam.keras")
    for path in (SHARDS, DIRECTORY):
        assert arrays_of(path) == whole
        assert len(opened(path).layers) == TREES["seq"]
    assert opened(DIRECTORY).config["class_name"] == "Sequential"


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_a_config_alone(path):
    contents = opened(path)
    assert contents.layers == ()
    assert contents.config["class_name"] in ("Sequential", "Functional", "Model", "Sub")
    writer = path.parent.name
    assert contents.version in (None, VERSIONS.get(writer, writer.split("-")[1]))


def test_pickled_variables_are_refused_with_the_code_that_passes_them():
    path = FILES / "keras-3.15.1" / "seq_npz.keras"
    with pytest.raises(FileError, match="a pickle of Python objects, which is not read") as error:
        opened(path)
    code = re.search(r"load_weights\(module, .*\)", str(error.value))[0]
    saved = load_model(path.with_name("seq_adam.keras")).state_dict()
    model = load_model(path.with_name("seq_adam.keras"))
    for value in model.state_dict().values():
        value.zero_()
    names = {"zipfile": zipfile, "numpy": np, "load_weights": kerastorch.load_weights}
    eval(code, {**names, "module": model})
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
