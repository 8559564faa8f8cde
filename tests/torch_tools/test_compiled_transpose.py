"""torch.compile of transposed convolutions."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from kerastorch.layers import Conv1DTranspose, Conv2DTranspose
from tests.layers.case import batch
from tests.torch_tools.test_compiled import SIZES, assert_compiles, graphs

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
SAME = {"padding": "same", "strides": 2}
FORMS = {  # strides and padding that are called directly, cropped, and extended by the bias
    "direct": {"kernel_size": 4, **SAME},
    "cropped": {"kernel_size": 3, "activation": "relu", **SAME},
    "extended": {"kernel_size": 2, "strides": 3, "activation": "silu"},
    "first": {"kernel_size": 3, "data_format": "channels_first", **SAME},
}


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()


def images(layer: Conv2DTranspose) -> list[torch.Tensor]:
    first = layer.data_format == "channels_first"
    inputs = [batch((b, 4, h, w) if first else (b, h, w, 4)) for b, h, w, _ in SIZES]
    layer(inputs[0])
    return inputs


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", FORMS)
def test_one_graph_for_all_sizes(name, training, device):
    layer = Conv2DTranspose(3, **FORMS[name])
    inputs = [x.to(device) for x in images(layer)]
    assert_compiles(layer.to(device), inputs, training, backend="aot_eager", dynamic=True)
    assert graphs() == 1


@pytest.mark.sweep  # a compiler runs for each size
def test_inductor_trains_at_any_size(device):
    layer = Conv2DTranspose(3, **FORMS["cropped"])
    inputs = [x.to(device) for x in images(layer)]
    assert_compiles(layer.to(device), inputs, True, dynamic=True)
    assert graphs() == 1


@pytest.mark.sweep
@pytest.mark.parametrize("dynamic", [False, True, None], ids=["static", "dynamic", "automatic"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", FORMS)
def test_inductor_in_every_form(name, training, dynamic, device):
    layer = Conv2DTranspose(3, **FORMS[name])
    inputs = [x.to(device) for x in images(layer)]
    assert_compiles(layer.to(device), inputs, training, dynamic=dynamic)


@pytest.mark.sweep
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_inductor_along_a_sequence(training):
    layer = Conv1DTranspose(3, 3, 2, "same", activation="relu")
    inputs = [batch((b, n, 4)) for b, n, *_ in SIZES]
    layer(inputs[0])
    assert_compiles(layer, inputs, training, dynamic=True)


@pytest.mark.parametrize("dynamic", [False, True])
def test_one_filter_and_one_place_along_the_width_compiled(dynamic):
    """Whose gradient oneDNN computes wrong on some processors."""
    layer = Conv2DTranspose(1, 3, 2, "same", input_shape=(5, 1, 3))
    compiled = torch.compile(layer, backend="aot_eager", dynamic=dynamic, fullgraph=True)
    x = batch((2, 5, 1, 3)).requires_grad_()
    along = batch((2, 10, 2, 1), seed=1)
    (found,) = torch.autograd.grad((compiled(x) * along).sum(), x)
    wide = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad((layer.double()(wide) * along.double()).sum(), wide)
    assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
