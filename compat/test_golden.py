"""Conv2D against arrays recorded from Keras on TensorFlow; needs neither to run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from compat.configurations import relative_difference
from kerastorch.layers import Conv2D

GOLDEN = Path(__file__).parent / "golden" / "conv2d_tensorflow.npz"
with np.load(GOLDEN) as recorded:
    ARRAYS = dict(recorded)
CASES = json.loads(ARRAYS["cases"].item())


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
