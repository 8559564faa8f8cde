"""Layers models of TensorFlow.js."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch._core.errors import FileError
from kerastorch.saving.formats.open import open_weight_file
from tests.formats.tensorflow_files.bundle import write_files
from tests.formats.tensorflow_files.tensorflow_js import build_model, quantize

KERNEL = np.random.default_rng(4).normal(size=(4, 3)).astype("float32")
BIAS = np.array([1.0, -1.0, 0.5], "float32")
CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "net",
        "layers": [
            {"class_name": "Dense",
             "config": {"name": "d", "units": 3, "batch_input_shape": [None, 4]}},
        ],
    },
}  # fmt: skip
OF_BROWSER = {**CONFIG, "keras_version": "tfjs-layers 1.3.1", "backend": "tensor_flow.js"}
OF_CONVERTER = {"keras_version": "2.15.0", "backend": "tensorflow", "model_config": CONFIG}
OF_KERAS_3 = {"keras_version": "3.8.0", "model_config": CONFIG}


def save(folder, topology=OF_CONVERTER, prefix="d", **options):
    arrays = {f"{prefix}/kernel": KERNEL, f"{prefix}/bias": BIAS}
    files = build_model(topology, options.pop("arrays", arrays), **options).files()
    return write_files(folder, files)


def check(path, kernel=KERNEL, bias=BIAS):
    model = kerastorch.load_model(path)
    x = torch.randn(2, 4)
    expected = x @ torch.from_numpy(kernel) + torch.from_numpy(bias)
    assert torch.allclose(model(x), expected, atol=1e-6)
    assert torch.equal(model.d.weight, torch.from_numpy(kernel).T)


@pytest.mark.parametrize(
    ("topology", "arrays"),
    [
        (OF_CONVERTER, {"d/kernel": KERNEL, "d/bias": BIAS}),
        (OF_KERAS_3, {"net/d/bias": BIAS, "net/d/kernel": KERNEL}),
        (OF_KERAS_3, {"layers/dense/vars/1": BIAS, "layers/dense/vars/0": KERNEL,
                      "optimizer/vars/0": BIAS}),
        (OF_BROWSER, {"d/kernel": KERNEL, "d/bias": BIAS}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("most", [7, 4 << 20])
def test_the_names_of_each_writer(tmp_path, topology, arrays, most):
    save(tmp_path, topology, arrays=arrays, most=most)
    check(tmp_path)
    check(tmp_path / "model.json")


def test_a_format_and_a_path_with_a_dot_are_optional(tmp_path):
    model = build_model(OF_BROWSER, {"d/kernel": KERNEL, "d/bias": BIAS}, format=None)
    model.names = model.group["paths"] = ["weights.bin"]
    files = model.files()
    value = json.loads(files["model.json"])
    value["weightsManifest"][0]["paths"] = ["./weights.bin"]
    write_files(tmp_path, {**files, "model.json": json.dumps(value).encode()})
    check(tmp_path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_quantized_weights_are_restored_in_double_precision(tmp_path, dtype):
    kernel = np.repeat(KERNEL, 1, 0)

    def restore(array):
        stored, how = quantize(array, dtype)
        if dtype == "float16":
            return stored.astype("float32")
        return (stored * how["scale"] + how["min"]).astype("float32")

    save(tmp_path, quantized=dtype)
    check(tmp_path, restore(kernel), restore(BIAS))
    with open_weight_file(tmp_path / "model.json") as contents:
        assert {w.dtype for layer in contents.layers for w in layer.weights} == {"float32"}


def test_large_weights_are_read_in_blocks_across_files(tmp_path):
    large = np.random.default_rng(5).normal(size=(4000, 300)).astype("float32")
    save(tmp_path, arrays={"d/kernel": large, "d/bias": BIAS}, quantized="uint16", most=700_001)
    with open_weight_file(tmp_path) as contents:
        weight = contents.layers[0].weights[0]
        blocks = list(weight.read.blocks())
        assert len(blocks) > 1 and torch.equal(torch.cat(blocks), weight.read())


def test_names_in_any_order_are_not_taken_for_the_model_s(tmp_path):
    save(tmp_path, prefix="other")
    with pytest.raises(FileError, match=r"missing: d\.weight"):
        kerastorch.load_model(tmp_path)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3))
    with pytest.raises(FileError, match=r"missing: 0\.weight"):
        kerastorch.load_weights(module, tmp_path / "model.json")
    kerastorch.load_weights(module, tmp_path / "model.json", mapping={"0": "other"})
    assert torch.equal(module[0].bias, torch.from_numpy(BIAS))


def entry(**fields):
    """Return what changes the first entry of the manifest."""
    return lambda model: model.group["weights"][0].update(fields)


def group(**fields):
    return lambda model: model.group.update(fields)


def top(**fields):
    return lambda model: model.json.update(fields)


REFUSED = {
    "graph model": (top(format="graph-model"), "a graph model of TensorFlow.js: .*Convert the"),
    "graph": (top(modelTopology={"node": []}), "a graph model of TensorFlow.js"),
    "config too": (
        top(class_name="Sequential"),
        "a file of Keras and a TensorFlow.js",
    ),
    "no topology": (top(modelTopology=None), "without the config of its layers"),
    "no list": (top(weightsManifest={}), "`weightsManifest` must be a list"),
    "parent": (group(paths=["../x.bin"]), "`paths` must be names of files beside model.json"),
    "absolute": (group(paths=["/x.bin"]), "`paths` must be names of files beside model.json"),
    "backslash": (group(paths=["..\\x.bin"]), "`paths` must be names of files"),
    "address": (group(paths=["https://x/x.bin"]), "`paths` must be names of files"),
    "twice": (lambda m: m.group.update(paths=m.group["paths"] * 2), "each once"),
    "missing": (group(paths=["x.bin"]), "no file x.bin"),
    "no weights": (group(weights=None), "`weights` must be a list"),
    "no name": (entry(name=None), "an array without a name"),
    "name twice": (entry(name="d/bias"), "two arrays of the same name: .*d/bias"),
    "negative": (entry(shape=[-4, -3]), r"no shape\. Found: \[-4, -3\]"),
    "true": (entry(shape=[True, 3]), "no shape"),
    "fraction": (entry(shape=[4.0, 3]), "no shape"),
    "larger": (entry(shape=[4, 4]), "arrays of 76 bytes in files of 60"),
    "smaller": (entry(shape=[4, 2]), "arrays of 44 bytes in files of 60"),
    "object": (entry(dtype="object"), "the dtype must be one of float32, int32"),
    "string": (entry(dtype="string"), "the dtype must be one of"),
    "no scale": (entry(quantization={"dtype": "uint8"}), "a finite `scale` and `min`"),
    "nan": (
        entry(quantization={"dtype": "uint8", "scale": float("nan"), "min": 0}),
        "a finite `scale` and `min`",
    ),
    "no dtype": (entry(quantization={"dtype": "int4"}), "only float32 can be stored as"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_model_may_not_hold_is_told(tmp_path, change, message):
    model = build_model(OF_CONVERTER, {"d/kernel": KERNEL, "d/bias": BIAS})
    files = model.files()
    change(model)
    write_files(tmp_path, {**files, "model.json": json.dumps(model.json).encode()})
    where = re.escape(str(tmp_path / "model.json"))
    with pytest.raises(FileError, match=f"^{where}: .*{message}"):
        kerastorch.load_model(tmp_path / "model.json")
