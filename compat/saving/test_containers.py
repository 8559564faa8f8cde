"""SavedModels, checkpoints and TensorFlow.js models beside the same models in HDF5."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kerastorch
from kerastorch._core.errors import FileError

WRITERS = ("keras-2.12.1", "keras-2.13.1", "keras-2.15.1", "tf_keras-2.21")
CONTAINERS = "tf_keras-2.21-containers"
MODELS = (
    *("attention", "line", "local", "mobilenet", "norms", "seq2seq", "seq2seq_mask", "series"),
    *("shared_cnn", "stacked", "teachable", "text", "unet", "video", "volume"),
)
OF_WRITERS = [(writer, model) for writer in WRITERS for model in ("mobilenet", "teachable", "text")]
OF_WRITERS += [(CONTAINERS, model) for model in MODELS]
JAVASCRIPT = "tensorflowjs-4.22"
TFJS = [
    *((writer, model) for writer in ("keras-2.15.1", "tf_keras-2.21")
      for model in ("mobilenet", "series", "teachable", "text")),
    ("keras-3.15.1-tensorflow", "mobilenet"),
]  # fmt: skip
QUANTIZED = {"uint8": 2**8, "uint16": 2**16, "float16": None}


def run(model: nn.Module, reference: Path) -> tuple[list[Tensor], list[np.ndarray]]:
    """Return the outputs of a model for a writer's inputs, and those of the writer."""
    arrays = np.load(reference)
    inputs = [torch.from_numpy(arrays[name]) for name in sorted(arrays) if "input_" in name]
    with torch.no_grad():
        outputs = model(inputs[0] if len(inputs) == 1 else inputs)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    return outputs, [arrays[name] for name in sorted(arrays) if "output_" in name]


def check_outputs(model: nn.Module, reference: Path, tolerance: float = 1e-6) -> None:
    outputs, expected = run(model, reference)
    assert len(outputs) == len(expected)
    for found, wanted in zip(outputs, expected, strict=True):
        assert np.abs(found.numpy() - wanted).max() <= tolerance * np.abs(wanted).max()


def check_weights(found: nn.Module, wanted: nn.Module) -> None:
    states = found.state_dict(), wanted.state_dict()
    assert list(states[0]) == list(states[1])
    for one, other in zip(*(state.values() for state in states), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


@pytest.mark.parametrize(("writer", "name"), OF_WRITERS)
def test_a_saved_model_and_a_checkpoint_are_the_model_in_hdf5(unpack, writer, name):
    folder, origin = unpack(writer), unpack(writer.removesuffix("-containers"))
    wanted = kerastorch.load_model(origin / f"{name}.h5")
    reference, config = origin / f"{name}.reference.npz", origin / f"{name}.json"
    saved = kerastorch.load_model(folder / f"{name}_savedmodel")
    checkpoint = folder / f"{name}_checkpoint"
    loaded = [kerastorch.load_model(config, weights=checkpoint / name)]
    loaded.append(kerastorch.load_model(config, weights=checkpoint))
    for model in (saved, *loaded):
        check_weights(model, wanted)
        check_outputs(model, reference)


def test_weights_of_a_container_go_into_an_existing_model(unpack):
    folder = unpack(CONTAINERS)
    wanted = kerastorch.load_model(unpack("tf_keras-2.21") / "text.h5")
    for path in ("text_savedmodel", "text_checkpoint", "text_savedmodel/variables"):
        model = kerastorch.load_model(unpack("tf_keras-2.21") / "text.h5")
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        kerastorch.load_weights(model, folder / path)
        check_weights(model, wanted)


@pytest.mark.parametrize("path", ["net_plain", "net_export", "net_holder", "net_train"])
def test_containers_without_a_config_have_the_weights_of_one(unpack, path):
    folder = unpack(CONTAINERS)
    wanted = kerastorch.load_model(folder / "net.h5")
    model = kerastorch.load_model(folder / "net.json", weights=folder / path)
    check_weights(model, wanted)
    check_outputs(model, folder / "net.reference.npz")
    with pytest.raises(FileError, match=r"config.*call `load_weights`") as error:
        kerastorch.load_model(folder / path)
    if path != "net_train":
        assert "TensorFlow 2.21" in str(error.value)


@pytest.mark.parametrize("path", ["keras3_export", "keras3_plain", "keras3_train"])
def test_containers_of_keras_3_have_the_weights_of_its_model(unpack, path):
    folder = unpack(CONTAINERS)
    wanted = kerastorch.load_model(folder / "keras3.keras")
    check_weights(kerastorch.load_model(folder / "keras3.json", weights=folder / path), wanted)
    with pytest.raises(FileError, match="no config"):
        kerastorch.load_model(folder / path)


class Subclass(nn.Module):
    """The subclass in plain PyTorch, with its names of attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 3)
        self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.head = nn.Linear(3, 2)
        self.rnn = nn.LSTM(2, 3, batch_first=True)


@pytest.mark.parametrize("path", ["subclass", "subclass_checkpoint"])
def test_a_subclass_loads_by_the_names_of_attributes(unpack, path):
    folder, module = unpack(CONTAINERS), Subclass()
    report = kerastorch.load_weights(module, folder / path, by="name")
    assert not report.warnings and not report.unexpected
    arrays = [torch.from_numpy(one) for one in np.load(folder / "subclass.npz").values()]
    kernels = [module.features.weight, *(block.weight for block in module.blocks)]
    wanted = [arrays[0].permute(3, 2, 0, 1), arrays[2].T, arrays[4].T]
    for kernel, array in zip(kernels, wanted, strict=True):
        assert torch.equal(kernel, array)
    if path == "subclass":
        with pytest.raises(FileError, match="'Subclass', a class whose code is in no file"):
            kerastorch.load_model(folder / path)


@pytest.mark.parametrize("path", ["variables", "variables_savedmodel"])
def test_variables_of_tensorflow_1_load_by_name(unpack, path):
    module = nn.ModuleDict({"connected": nn.Linear(4, 3)})
    report = kerastorch.load_weights(module, unpack(CONTAINERS) / path)
    assert [one.source for one in report.loaded] == ["connected/weights", "connected/biases"]
    with pytest.raises(FileError, match=r"TensorFlow 1|weights only"):
        kerastorch.load_model(unpack(CONTAINERS) / path)


@pytest.mark.parametrize(("writer", "name"), TFJS)
def test_a_tensorflow_js_model_is_the_model_in_hdf5(unpack, writer, name):
    origin = unpack(writer)
    path = unpack(JAVASCRIPT) / writer / f"{name}_tfjs"
    wanted = kerastorch.load_model(origin / f"{name}.h5")
    for one in (path, path / "model.json"):
        model = kerastorch.load_model(one)
        check_weights(model, wanted)
        check_outputs(model, origin / f"{name}.reference.npz")


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_weights_are_those_of_the_converter_s_formula(unpack, kind):
    path = unpack(JAVASCRIPT) / "tf_keras-2.21" / f"mobilenet_tfjs_{kind}"
    (group,) = json.loads((path / "model.json").read_text())["weightsManifest"]
    data, at, wanted = (path / "group1-shard1of1.bin").read_bytes(), 0, {}
    for entry in group["weights"]:
        stored = entry["quantization"]
        count = int(np.prod(entry["shape"]))
        array = np.frombuffer(data, stored["dtype"], count, at).reshape(entry["shape"])
        at += array.nbytes
        if kind != "float16":
            array = (array * stored["scale"] + stored["min"]).astype("float32")
        name = entry["name"].replace("/depthwise_kernel", "/kernel")
        name = entry["name"] if name.startswith("separable") else name
        wanted[name] = array.astype("float32")
    origin = unpack("tf_keras-2.21")
    model = kerastorch.load_model(path)
    exact = kerastorch.load_model(origin / "mobilenet.json", weights=wanted)
    check_weights(model, exact)
    whole = kerastorch.load_model(origin / "mobilenet.h5").state_dict()
    for name, value in model.state_dict().items():  # at most half a step from what was quantized
        spread = (whole[name].max() - whole[name].min()).item()
        step = 2 * 2**-11 * whole[name].abs().max().item()
        step = step if QUANTIZED[kind] is None else spread / (QUANTIZED[kind] - 1)
        assert (value - whole[name]).abs().max() <= 0.5001 * step + 1e-7


def test_a_saved_model_becomes_code(unpack, tmp_path):
    source = kerastorch.to_source(
        kerastorch.load_model(unpack(CONTAINERS) / "teachable_savedmodel")
    )
    assert "class " in str(source)
