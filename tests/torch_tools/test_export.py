"""What leaves Python beside the cases of `tests/layers`: ONNX files, packages, refused traces."""

from __future__ import annotations

import itertools
import shutil
from functools import partial
from typing import Any

import pytest
import torch

from kerastorch import layers
from kerastorch._ops.window_arithmetic import same_padding
from tests.layers.case import LayerCase, batch, each_case, every_case
from tests.layers.test_convolution import BATCHES, CONV2D, SIZES
from tests.torch_tools.exporting import WARNINGS, assert_close_to_largest, open_axes

pytestmark = pytest.mark.filterwarnings(*WARNINGS)
EVERY = every_case()
# onnxruntime has no sparsemax or float64; the exporter fixes an axis of one element or none.
ONNX = "test_onnx_files_give_the_same_at_other_sizes"
QUICK_ONNX = [CONV2D["same-strided"]]
for _name in ("MaxPooling2D", "AveragePooling2D", "ReLU"):
    QUICK_ONNX.append(next(case for case in EVERY if case.name == _name))


def calls(case: LayerCase) -> list[tuple[Any]]:
    return [(case.inputs(shape),) for shape in (case.shape, *case.others)]


def test_a_padding_that_stays_would_be_seen():
    """Each size asks for other amounts of a strided "same" than the size that is traced."""
    assert all(len({n, h, w}) == 3 for n, (h, w) in zip(BATCHES, SIZES[2], strict=True))
    for axis, stride in itertools.product((0, 1), (2, 3, 4)):
        assert len({same_padding(size[axis], 3, stride, 1) for size in SIZES[2]}) > 1


def test_other_values_would_be_seen():
    x = batch((2, 3))
    assert_close_to_largest(x * (1 + 1e-6), x)
    for other in (x * (1 + 1e-4), x[:1], x.double()):
        with pytest.raises(AssertionError):
            assert_close_to_largest(other, x)


def test_a_trace_that_would_overwrite_what_a_gradient_needs_is_refused():
    layer = layers.Conv2D(4, (2, 3), (2, 3), "same", activation="silu", input_shape=(8, 9, 3))
    with pytest.raises(torch.jit.TracingCheckError, match="Graphs differed"):
        torch.jit.trace(layer.eval(), (batch((2, 8, 9, 3)),))


class Doubled(torch.nn.Module):
    """An activation of one's own, with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.factor


@pytest.mark.parametrize("activation", [Doubled(), torch.cos], ids=["module", "function"])
def test_an_activation_of_ones_own_is_traced(activation):
    make = partial(layers.Conv2D, 4, (2, 3), (2, 3), "same", input_shape=(8, 9, 3))
    layer = make(activation=activation).eval()
    with torch.no_grad():
        traced = torch.jit.trace(layer, (batch((2, 8, 9, 3)),))
        x = batch((3, 9, 12, 3))
        torch.testing.assert_close(traced(x), layer(x))


def test_exporting_leaves_no_loss_behind():
    layer = layers.Conv2D(4, (2, 3), activity_regularizer="l2", input_shape=(8, 9, 3))
    layer(batch((2, 8, 9, 3)))
    before = layer.losses
    torch.export.export(layer, (batch((3, 8, 9, 3)),))
    assert len(before) == 1 and layer.losses[0] is before[0]


@each_case([case for case in EVERY if ONNX not in case.exempt], QUICK_ONNX)
def test_onnx_files_give_the_same_at_other_sizes(case):
    onnx_files = pytest.importorskip("tests.torch_tools.onnx_files")
    layer, inputs = case.built().eval(), calls(case)
    session = onnx_files.to_onnx(layer, inputs[0], open_axes(inputs))
    for arguments in inputs:
        with torch.no_grad():
            expected = layer(*arguments)
        (found,) = onnx_files.run(session, *arguments)
        assert_close_to_largest(found, expected)


@pytest.mark.sweep
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_ahead_of_time(tmp_path):
    case = CONV2D["same-strided"]
    layer, inputs = case.built().eval(), calls(case)
    with torch.no_grad():
        program = torch.export.export(layer, inputs[0], dynamic_shapes=open_axes(inputs))
        package = torch._inductor.aoti_compile_and_package(
            program, package_path=str(tmp_path / "layer.pt2")
        )
        loaded = torch._inductor.aoti_load_package(package)
        for arguments in inputs:
            assert_close_to_largest(loaded(*arguments), layer(*arguments))
