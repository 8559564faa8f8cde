"""Layers against arrays recorded from Keras on TensorFlow; needs neither to run."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compat.layers.configurations import relative_difference
from kerastorch import layers
from kerastorch._core.registry import LAYERS, REMOVED
from kerastorch.activations.serialization import ACTIVATIONS
from kerastorch.layers import Conv2D

GOLDEN = Path(__file__).parents[1] / "golden"
with np.load(GOLDEN / "conv2d_tensorflow.npz") as recorded:
    ARRAYS = dict(recorded)
CASES = json.loads(ARRAYS["cases"].item())
with np.load(GOLDEN / "images_tensorflow.npz") as recorded:
    IMAGES = dict(recorded)
IMAGE_CASES = json.loads(IMAGES["cases"].item())
INTEGERS = json.loads((GOLDEN / "integers_tensorflow.json").read_text())


@pytest.mark.parametrize("index", range(len(CASES)))
def test_outputs_and_gradients_are_tensorflows(index: int) -> None:
    case = CASES[index]
    layer = Conv2D(**case["arguments"], input_shape=case["input_shape"][1:])
    names = ["kernel", "bias"] if layer.use_bias else ["kernel"]
    layer.set_weights([ARRAYS[f"{index}/{name}"] for name in names])
    inputs = torch.tensor(ARRAYS[f"{index}/input"], requires_grad=True)
    outputs = layer(inputs)
    outputs.backward(torch.from_numpy(ARRAYS[f"{index}/cotangent"]))
    found = {
        "output": outputs.detach(),
        "input_gradient": inputs.grad,
        "kernel_gradient": layer.weight.grad.permute(2, 3, 1, 0),
        "bias_gradient": layer.bias.grad if layer.use_bias else None,
    }
    for name in ("output", *(f"{gradient}_gradient" for gradient in case["gradients"])):
        wanted = ARRAYS[f"{index}/{name}"]
        assert relative_difference(found[name].numpy(), wanted) < 1e-5, name


def test_there_are_enough_recorded_cases() -> None:
    assert len(CASES) >= 100
    assert sum({"input", "kernel"} <= set(case["gradients"]) for case in CASES) >= 100


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("index", range(len(IMAGE_CASES)))
def test_images_are_tensorflows(index: int, layout: str) -> None:
    case = IMAGE_CASES[index]
    layer = getattr(layers, case["layer"])(**case["arguments"], data_format=layout)
    arrays = {
        name: torch.from_numpy(IMAGES[f"{index}/{name}"])
        for name in ("input", "output", "cotangent", "gradient")
        if f"{index}/{name}" in IMAGES
    }
    if layout == "channels_first":
        arrays = {name: array.movedim(-1, 1) for name, array in arrays.items()}
    inputs = arrays["input"].requires_grad_("gradient" in arrays)
    outputs = layer(inputs)
    assert outputs.dtype == arrays["output"].dtype == arrays["input"].dtype
    if not inputs.is_floating_point():
        apart = (outputs.long() - arrays["output"].long()).abs()
        least = 1 if inputs.element_size() == 1 else 0.98  # a half may be rounded either way
        assert apart.max() <= 1 and (apart == 0).double().mean() >= least
        return
    tolerance = 1e-3 if inputs.dtype is torch.float16 else 2e-6
    assert difference(outputs, arrays["output"]) < tolerance
    if "gradient" in arrays:
        outputs.backward(arrays["cotangent"])
        assert difference(inputs.grad, arrays["gradient"]) < tolerance


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return relative_difference(found.detach().double().numpy(), wanted.double().numpy())


def test_all_ways_and_types_are_recorded() -> None:
    told = [(case["layer"], case["arguments"].get("interpolation")) for case in IMAGE_CASES]
    for rank, number in ((1, 30), (2, 60), (3, 30)):
        assert told.count((f"AveragePooling{rank}D", None)) == number
    assert told.count(("CenterCrop", None)) == 3
    for way in ("nearest", "bilinear"):
        assert told.count(("Resizing", way)) == 18
    for way in ("bicubic", "lanczos3", "lanczos5", "area"):
        assert told.count(("Resizing", way)) == 19
    upsampled = [case for case in IMAGE_CASES if case["layer"] == "UpSampling2D"]
    for way in ("bicubic", "lanczos3", "lanczos5"):
        mine = [case for case in upsampled if case["arguments"].get("interpolation") == way]
        assert len(mine) == 27 and len({case["dtype"] for case in mine}) == 7


def subject(case: dict[str, Any]) -> str:
    """Return a layer's name, that of an activation included."""
    return ":".join([case["layer"], *filter(None, [case["arguments"].get("activation")])])


def called(case: dict[str, Any], converted: torch.dtype | None = None) -> torch.Tensor:
    """Call a layer as the case says, or with its inputs converted to a type first."""
    size = math.prod(case["shape"])

    def made(dtype: str) -> torch.Tensor:
        x = torch.tensor(INTEGERS["inputs"][dtype][:size], dtype=getattr(torch, dtype))
        return x.reshape(case["shape"]).to(converted or x.dtype)

    dtype = case["dtype"]
    inputs = made(dtype) if isinstance(dtype, str) else [made(name) for name in dtype]
    layer = getattr(layers, case["layer"])(**case["arguments"])
    torch.manual_seed(1)
    with torch.no_grad():
        found: torch.Tensor = layer.train(case.get("training", False))(inputs)
    return found


WHOLE = {
    key: list(cases)
    for key, cases in itertools.groupby(sorted(INTEGERS["cases"], key=subject), subject)
}
# What TensorFlow refuses to do with booleans, while Keras on JAX, and mostly torch, keeps them.
OF_BOOLEANS = (
    *("Add", "Dot", "Multiply", "Maximum", "Minimum"),
    *("Resizing", "UpSampling2D"),
)
MAXIMA = [f"{kind}Pooling{rank}D" for kind in ("Max", "AdaptiveMax") for rank in (1, 2, 3)]


@pytest.mark.parametrize("cases", WHOLE.values(), ids=WHOLE)
def test_integers_are_tensorflows_or_converted(cases: list[dict[str, Any]]) -> None:
    for case in cases:
        layer, booleans = case["layer"], case["dtype"] in ("bool", ["bool", "bool"])
        policy = getattr(torch, case["arguments"]["dtype"])
        # Of booleans, TensorFlow keeps a random choice.
        is_random = layer == "GaussianDropout" and case.get("training")
        if case["output_dtype"] is not None and not is_random:
            wanted = torch.tensor(case["output"], dtype=getattr(torch, case["output_dtype"]))
        elif booleans and layer == "Subtract":
            with pytest.raises(RuntimeError):
                called(case)
            continue
        elif not booleans and layer in MAXIMA:  # TensorFlow lacks those of volumes
            in_double = {**case, "arguments": {**case["arguments"], "dtype": "float64"}}
            wanted = called(in_double, torch.float64).to(getattr(torch, case["dtype"]))
        elif booleans and layer in (*OF_BOOLEANS, *MAXIMA):
            wanted = called(case, torch.float32).bool()
        elif booleans and layer == "Average":  # True and True is True, on torch and JAX
            wanted = called({**case, "layer": "Maximum"}).float() / 2
        else:
            wanted = called(case, policy)
        found = called(case)
        assert found.dtype is wanted.dtype, case
        whole = not found.is_floating_point()
        exact = whole and case["arguments"].get("interpolation", "nearest") == "nearest"
        tolerance = 2e-3 if found.dtype is torch.float16 else 2e-6
        apart = difference(found.flatten(), wanted.flatten())
        assert apart <= (0 if exact else tolerance), (case, found)


SEQUENCES = {"EinsumDense", "Embedding", "Masking", "ReversibleEmbedding"}


def test_all_layers_and_activations_are_recorded_with_integers() -> None:
    named = {f"Activation:{name}" for name in ACTIVATIONS.table}
    others = ("swish", "hard_swish", "threshold", "hard_sigmoid_keras2")  # aliases, no layers
    named -= {f"Activation:{name}" for name in others}
    # Layers of sequences are compared with Keras on torch alone (test_layers.py).
    apart = ("attention", "recurrent", "wrappers")
    public = {n for n, cls in LAYERS.items() if cls.__module__.split(".")[2] not in apart}
    public = {name for name in public if ">" not in name} - SEQUENCES
    classes = public - {"Activation", "Dense", "InputLayer"} - REMOVED
    assert {*WHOLE} == named | classes | {"Dense:tanh"}
    taken = {key for key, cases in WHOLE.items() if any(case["output"] for case in cases)}
    taken = {key.removeprefix("Activation:") for key in taken if key.startswith("Activation:")}
    assert taken == {"relu", "relu6", "leaky_relu", "tanh", "exponential", "linear"}
