"""torch.jit.script: refused in words that can be followed, wherever a layer is in the tree."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from kerastorch.layers import Conv2D, Dense
from tests.layers.case import every_case, thorough_cases
from tests.models.building.examples import built, operation
from tests.models.configs import chain, dense, layer, node, tensor
from tests.torch_tools.exporting import WARNINGS

pytestmark = pytest.mark.filterwarnings(*WARNINGS, "ignore:`torch.jit.:DeprecationWarning")


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Conv2D(2, 3, input_shape=(5, 5, 1))

    def forward(self, x):
        return self.conv(x)


MODULES = {
    "unbuilt": lambda: Dense(3),
    "in a module": Mine,
    "deep in others": lambda: nn.Sequential(nn.Identity(), nn.ModuleList([nn.Sequential(Mine())])),
    "a model": lambda: built(chain(dense("d"), layer("ReLU", "r"))),
    "in a model": lambda: nn.Sequential(built(chain(dense("d"))).d),
    "an operation": lambda: nn.Sequential(
        built(chain(operation("Absolute", "abs", [node(tensor("x"))]))).abs
    ),
    **{str(case): case.built for case in thorough_cases(every_case())},
}


@pytest.mark.parametrize("name", MODULES)
def test_it_is_refused_and_nothing_is_changed(name):
    module = MODULES[name]()
    parts = list(module.named_modules())
    with pytest.raises(NotImplementedError, match=r"torch\.jit\.script: .*torch\.jit\.trace") as e:
        torch.jit.script(module)
    assert "torch.export.export" in str(e.value)
    after = list(module.named_modules())
    assert [path for path, _ in after] == [path for path, _ in parts]
    assert all(one is other for (_, one), (_, other) in zip(after, parts, strict=True))


def test_the_whole_message():
    with pytest.raises(NotImplementedError) as error:
        torch.jit.script(Mine())
    assert str(error.value) == (
        "torch.jit.script: `obj` must be a module without layers and models of kerastorch. "
        "Received: obj='Conv2D'. Trace the whole module with `torch.jit.trace(module, inputs)` "
        "under `torch.no_grad()`, or export it with `torch.export.export(module, (inputs,))`. "
        "`layer.to_torch()` gives plain modules of torch.nn, which can be scripted."
    )


def test_what_the_message_says_can_be_done():
    module, x = Mine(), torch.randn(2, 5, 5, 1)
    with torch.no_grad():
        traced = torch.jit.trace(module, (x,))
        torch.testing.assert_close(traced(x), module(x))
        scripted = torch.jit.script(nn.Sequential(traced, nn.ReLU()))  # traced parts may be inside
        torch.testing.assert_close(scripted(x), module(x).relu())
    exported = torch.export.export(module, (x,)).module()
    torch.testing.assert_close(exported(x), module(x))
    plain = torch.jit.script(module.conv.to_torch(input_size=5))
    torch.testing.assert_close(plain(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), module(x))


def test_copies_are_as_before():
    module = Mine()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other.conv.weight, module.conv.weight)
