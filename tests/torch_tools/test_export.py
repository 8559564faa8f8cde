"""What leaves Python: exported and traced layers give the right numbers at other sizes, too."""

from __future__ import annotations

import itertools
import shutil

import pytest
import torch

from kerastorch import layers
from kerastorch._ops.window_arithmetic import same_padding
from tests.layers.contract import batch
from tests.layers.sized import NAMES, SIZED, SIZES, WARNINGS, assert_same_numbers, each

pytestmark = pytest.mark.filterwarnings(*WARNINGS)


def test_the_table_has_every_layer():
    made = {type(one.make()) for one in SIZED}
    assert made == {getattr(layers, name) for name in layers.__all__}


def test_a_padding_that_stays_would_be_seen():
    """Each size asks for other amounts of a strided "same" than the size that is traced."""
    assert all(len({h, w}) == 2 for _, h, w in SIZES)
    for axis, stride in itertools.product((1, 2), (2, 3, 4)):
        assert len({same_padding(size[axis], 3, stride, 1) for size in SIZES}) > 1


def test_other_numbers_would_be_seen():
    x = batch((2, 3))
    assert_same_numbers(x * (1 + 1e-6), x)
    for other in (x * (1 + 1e-4), x[:1], x.double()):
        with pytest.raises(AssertionError):
            assert_same_numbers(other, x)


@each(
    "Conv2D-same-even",
    "Conv2D-same-strided",
    "Conv2D-same-skipping",
    "Conv2D-first-same-grouped-strided",
    "Conv2D-lora",
    "MaxPooling2D-same-(2,3)-(3,2)",
    "AveragePooling2D-same-(3,2)-(2,3)",
    "UpSampling2D-bilinear",
    "Reshape",
    "PReLU",
    "Multiply",
)
def test_exported_layers(one, device):
    module = one.module(device)
    program = torch.export.export(
        module, one.arguments(0, device), dynamic_shapes=one.moving
    ).module()
    for index in one.others:
        arguments = one.arguments(index, device)
        assert_same_numbers(program(*arguments), module(*arguments))


@pytest.mark.parametrize("one", SIZED, ids=lambda one: one.name)
def test_traced_layers(one):
    module = one.module()
    with torch.no_grad():
        traced = torch.jit.trace(module, one.arguments(0))
        for index in one.others:
            arguments = one.arguments(index)
            assert_same_numbers(traced(*arguments), module(*arguments))


def test_a_trace_that_would_overwrite_what_a_gradient_needs_is_refused():
    one = NAMES["Conv2D-silu"]
    with pytest.raises(torch.jit.TracingCheckError, match="Graphs differed"):
        torch.jit.trace(one.module(), one.arguments(0))


def test_exporting_leaves_no_loss_behind():
    layer = layers.Conv2D(4, (2, 3), activity_regularizer="l2", input_shape=(8, 9, 3))
    layer(batch((2, 8, 9, 3)))
    before = layer.losses
    torch.export.export(layer, (batch((3, 8, 9, 3)),))
    assert len(before) == 1 and layer.losses[0] is before[0]


@pytest.mark.sweep
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_ahead_of_time(tmp_path):
    one = NAMES["Conv2D-same-strided"]
    module = one.module()
    with torch.no_grad():
        program = torch.export.export(module, one.arguments(0), dynamic_shapes=one.moving)
        package = torch._inductor.aoti_compile_and_package(
            program, package_path=str(tmp_path / "layer.pt2")
        )
        loaded = torch._inductor.aoti_load_package(package)
        for index in one.others:
            arguments = one.arguments(index)
            assert_same_numbers(loaded(*arguments), module(*arguments))
