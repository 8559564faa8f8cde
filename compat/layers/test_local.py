"""LocallyConnected1D and 2D, which Keras 3 lacks, against arrays recorded from Keras 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compat.layers.configurations import relative_difference
from compat.models.archives import unpack
from kerastorch import layers, load_model, load_weights, regularization_loss

GOLDEN = Path(__file__).parents[1] / "golden" / "local_tf_keras.npz"
with np.load(GOLDEN) as recorded:
    ARRAYS = dict(recorded)
CASES = json.loads(ARRAYS["cases"].item())
EACH = pytest.mark.parametrize("index", range(len(CASES)))


def layer_of(index: int, **more: Any) -> Any:
    """Return a case's layer with the recorded weights."""
    case = CASES[index]
    layer = getattr(layers, case["layer"])(**case["arguments"], name="a", **more)
    layer.build(case["shape"])
    layer.set_weights([ARRAYS[f"{index}/weight_{j}"] for j in range(1 + layer.use_bias)])
    return layer


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_and_gradients_are_those_of_keras_2(index: int, dtype: str) -> None:
    layer = layer_of(index, dtype=dtype)
    inputs = torch.tensor(ARRAYS[f"{index}/input"].astype(dtype), requires_grad=True)
    outputs = layer(inputs)
    losses = torch.as_tensor(regularization_loss(layer)).item()
    outputs.backward(torch.from_numpy(ARRAYS[f"{index}/cotangent"].astype(dtype)))
    found = {"output": outputs.detach(), "input_gradient": inputs.grad}
    gradients = {f"weight_gradient_{j}": w.grad for j, w in enumerate(layer.trainable_weights)}
    for name, tensor in {**found, **gradients}.items():
        most = 1e-12 if dtype == "float64" and name in found else 1e-6
        wanted = ARRAYS[f"{index}/{name}"]
        assert relative_difference(tensor.double().numpy(), wanted.astype(float)) < most, name
    assert losses == pytest.approx(CASES[index]["loss"], rel=1e-6)


@EACH
def test_shapes_and_configs_are_those_of_keras_2(index: int) -> None:
    case, layer = CASES[index], layer_of(index, dtype="float64")
    assert list(layer.compute_output_shape(case["shape"])) == case["output_shape"]
    assert [variable.name for variable in layer.variables] == ["kernel", "bias"][
        : 1 + layer.use_bias
    ]
    config = layer.get_config("3.0")
    assert sorted(config) == sorted(case["config"])
    made = type(layer).from_config(case["config"])
    assert made.get_config() == layer.get_config()
    if layer.activity_regularizer is None:
        assert list(config) == list(case["config"])


@pytest.mark.parametrize("ending", [".weights.h5", "_w.h5", ".h5"])
@pytest.mark.parametrize("writer", ["keras-2.13.1", "tf_keras-2.21"])
def test_weights_of_a_file_go_into_a_model(writer: str, ending: str, tmp_path: Path) -> None:
    unpack(writer, tmp_path, "local")
    model = load_model(tmp_path / "local.keras")
    for parameter in model.parameters():
        parameter.detach().zero_()
    load_weights(model, tmp_path / f"local{ending}")
    with np.load(tmp_path / "local.reference.npz") as reference, torch.no_grad():
        found = model.eval()([reference["input_0"], reference["input_1"]]).double().numpy()
        assert relative_difference(found, reference["output_0"].astype(float)) < 1e-6


def test_every_way_is_recorded() -> None:
    told = [{"layer": case["layer"], **case["arguments"]} for case in CASES]
    keys = ("layer", "implementation", "padding", "data_format")
    ways = {tuple(one[key] for key in keys) for one in told}
    assert len(ways) == 20 and len(CASES) == 80


def test_the_comparison_can_fail() -> None:
    layer = layer_of(0)
    with torch.no_grad():
        layer.kernel[0, 0, 0] += 1e-3
    found = layer(ARRAYS["0/input"]).detach().double().numpy()
    assert relative_difference(found, ARRAYS["0/output"]) > 1e-5
