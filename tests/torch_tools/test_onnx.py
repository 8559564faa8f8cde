"""ONNX files of layers, run by onnxruntime at other sizes than the traced one."""

from __future__ import annotations

import pytest
import torch

from tests.layers.sized import WARNINGS, assert_same_numbers, each
from tests.torch_tools.onnx_files import run, to_onnx

pytestmark = pytest.mark.filterwarnings(*WARNINGS)


@each(
    "Conv2D-same-strided",
    "MaxPooling2D-same-(2,3)-(3,2)",
    "AveragePooling2D-same-(3,2)-(2,3)",
    "ReLU",
)
def test_layers(one):
    module = one.module()
    session = to_onnx(module, one.arguments(0), one.moving)
    for index in one.others:
        arguments = one.arguments(index)
        with torch.no_grad():
            expected = module(*arguments)
        (found,) = run(session, *arguments)
        assert_same_numbers(found, expected)
