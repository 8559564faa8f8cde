"""Recurrent layers and attention, with masks, under torch's tools: ONNX, inductor, transforms."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.testing import assert_close

from kerastorch.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    GRUCell,
    LSTMCell,
    MultiHeadAttention,
    SimpleRNN,
)
from tests.layers.case import batch
from tests.torch_tools.exporting import WARNINGS, assert_close_to_largest

pytestmark = pytest.mark.filterwarnings(*WARNINGS)

B, T, N = 3, 5, 4
MASK = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]]).bool()
OTHER = MASK.flip(0, 1)
ALL = {"return_sequences": True, "return_state": True}
LAYERS: dict[str, Any] = {
    "LSTM": lambda: LSTM(3, **ALL),
    "GRU": lambda: GRU(3, **ALL),
    "SimpleRNN": lambda: SimpleRNN(3, **ALL),
    "Bidirectional": lambda: Bidirectional(LSTM(3, **ALL)),
    "RNN": lambda: RNN([LSTMCell(3), GRUCell(2)], return_sequences=True),
    "MultiHeadAttention": lambda: MultiHeadAttention(2, 3, bias_initializer="uniform"),
}
EACH = pytest.mark.parametrize("name", LAYERS)
# What a compiler needs long for
SLOW = {"RNN", "Bidirectional"}
COMPILED = pytest.mark.parametrize(
    ("name", "backend"),
    [
        pytest.param(
            name, backend, marks=pytest.mark.sweep if backend == "inductor" or name in SLOW else ()
        )
        for name in LAYERS
        for backend in ("aot_eager", "inductor")
    ],
)
MASKED = pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])


class Called(nn.Module):
    """A layer, called with a mask as its other argument; it returns one flat list."""

    def __init__(self, layer: nn.Module, masked: bool) -> None:
        super().__init__()
        self.layer, self.masked = layer, masked

    def forward(self, x: Tensor, mask: Tensor) -> list[Tensor]:
        given = {"value_mask" if isinstance(self.layer, MultiHeadAttention) else "mask": mask}
        found = self.layer(x, **(given if self.masked else {}))
        return [found] if isinstance(found, Tensor) else list(found)


def make(name: str, masked: bool) -> Called:
    """Return a built layer with weights that are not zero."""
    torch.manual_seed(0)
    module = Called(LAYERS[name](), masked)
    module(batch((B, T, N)), MASK)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -0.7, 0.7)
    return module.eval()


def differentiate(module: nn.Module, run: Any, x: Tensor) -> list[Tensor]:
    """Return the outputs, and the gradients of the input and the weights."""
    x = x.clone().requires_grad_()
    found = run(x, MASK)
    leaves = [x, *module.parameters()]
    total = sum(one.square().sum() for one in found)
    return [*found, *torch.autograd.grad(total, leaves)]


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> None:
    torch.compiler.reset()


# ONNX

NODES = {  # of what is no loop
    "LSTM": {"LSTM": 1},
    "GRU": {"GRU": 1},
    "SimpleRNN": {},
    "Bidirectional": {"LSTM": 2},
    "RNN": {},
    "MultiHeadAttention": {},
}


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("LSTM", True),
        *(
            pytest.param(name, masked, marks=pytest.mark.sweep)
            for name in NODES
            for masked in (False, True)
            if (name, masked) != ("LSTM", True)
        ),
    ],
)
def test_onnx_files_have_one_node_for_each_layer(name, masked):
    onnx = pytest.importorskip("onnx")
    onnx_files = pytest.importorskip("tests.torch_tools.onnx_files")
    module, x = make(name, masked), batch((B, T, N))
    found: list[Any] = []
    session = onnx_files.to_onnx(module, (x, MASK), None, found.append)
    counts = Counter(node.op_type for node in onnx.load_from_string(found[0]).graph.node)
    assert {kind: counts[kind] for kind in ("LSTM", "GRU") if counts[kind]} == NODES[name]
    names = {one.name: one for one in session.get_inputs()}
    for values, mask in ((x, MASK), (batch((B, T, N), seed=1), OTHER)):
        arrays = dict(zip(("x", "mask"), (values.numpy(), mask.numpy()), strict=True))
        outputs = session.run(None, {key: arrays[key] for key in names})
        for one, expected in zip(outputs, module(values, mask), strict=True):
            assert_close_to_largest(torch.from_numpy(one), expected)


# Export


@MASKED
@EACH
def test_the_mask_of_an_exported_layer_is_an_input(name, masked):
    module, x = make(name, masked), batch((B, T, N))
    rows = {0: torch.export.Dim("batch", min=2)}
    program = torch.export.export(module, (x, MASK), dynamic_shapes=(rows, rows)).module()
    many = torch.cat([MASK, OTHER])
    for values, mask in ((x, OTHER), (batch((2 * B, T, N), seed=1), many)):
        for one, expected in zip(program(values, mask), module(values, mask), strict=True):
            assert_close_to_largest(one, expected)


# torch.compile


@MASKED
@COMPILED
def test_compiled_layers(name, masked, backend):
    module = make(name, masked)
    run = torch.compile(module, backend=backend, fullgraph=True)
    x = batch((B, T, N))
    with torch.no_grad():
        for one, expected in zip(run(x, MASK), module(x, MASK), strict=True):
            assert_close_to_largest(one, expected)
    module.train()
    found, expected = (differentiate(module, one, x) for one in (run, module))
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-5)


# Transforms, which take the loop


@EACH
def test_transforms_with_a_mask(name):
    module = make(name, True).double()
    x, along = (batch((2, B, T, N), torch.float64, seed) for seed in (0, 1))
    masks = torch.stack([MASK, OTHER])
    expected = [module(*each) for each in zip(x, masks, strict=True)]
    for index, one in enumerate(vmap(module)(x, masks)):
        assert_close(one, torch.stack([found[index] for found in expected]))
    state = {key: parameter.detach() for key, parameter in module.named_parameters()}
    shift = {key: torch.ones_like(value) for key, value in state.items()}

    def total(state: dict[str, Tensor], x: Tensor) -> Any:
        return sum(one.square().sum() for one in functional_call(module, state, (x, MASK)))

    value, forward = jvp(total, (state, x[0]), (shift, along[0]))
    assert_close(value, total(state, x[0]))
    by_state, by_x = grad(total, (0, 1))(state, x[0])
    backward = (by_x * along[0]).sum() + sum(value.sum() for value in by_state.values())
    assert_close(forward, backward)


# The rest


@MASKED
@EACH
def test_autocast_in_bfloat16(name, masked):
    module, x = make(name, masked), batch((B, T, N))
    expected = module(x, MASK)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x, MASK)
    for one, other in zip(found, expected, strict=True):
        assert not torch.equal(one.float(), other)  # it is computed in bfloat16
        assert_close(one.float(), other, rtol=0.05, atol=0.05)
    sum(one.float().square().sum() for one in found).backward()
    assert {parameter.grad.dtype for parameter in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("way", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@EACH
def test_copies_and_hooks_with_a_mask(name, way):
    module, x, fired = make(name, True), batch((B, T, N)), []
    twin = way(module)
    assert_close(twin(x, MASK), module(x, MASK), rtol=0, atol=0)
    twin.layer.register_forward_pre_hook(
        lambda layer, args, kwargs: fired.append(list(kwargs)), with_kwargs=True
    )
    twin.layer.register_forward_hook(lambda layer, args, outputs: fired.append("after"))
    twin(x, MASK)
    module(x, MASK)
    given = "value_mask" if name == "MultiHeadAttention" else "mask"
    assert fired == [[given], "after"]
