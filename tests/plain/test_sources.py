"""Modules of your own in written code: imported, made without arguments, with their state."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from kerastorch.models.base import Model
from kerastorch.models.build import build_model
from kerastorch.plain import to_source, to_torch
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import build_all, dense, input_layer, layer, sequential

SOURCES = {"Scale": "from tests_of_mine.layers import Scale"}


class Scale(nn.Module):
    """Multiplies by a weight, and joins the result to its input."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(torch.rand(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 1e9:  # which no tracer follows
            return x
        return torch.cat([x * self.weight * self.factor, x], -1)


class Required(Scale):
    def __init__(self, factor: float) -> None:
        super().__init__(factor)


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("tests_of_mine.layers")
    module.Scale, module.Required = Scale, Required
    monkeypatch.setitem(sys.modules, "tests_of_mine", ModuleType("tests_of_mine"))
    monkeypatch.setitem(sys.modules, "tests_of_mine.layers", module)


def make(kind: Any = Scale, **options: Any) -> Model:
    name = kind.__name__
    config = sequential(input_layer("a", (None, 4)), layer(name, "scale"), dense("d", units=2))
    parsed = parse_model_config(config, "config.json")
    model = build_model(parsed, custom_layers={name: lambda config: kind(**options)})
    model(torch.rand(2, 4))
    build_all(model)
    return model


def test_a_module_of_your_own_is_imported_and_made() -> None:
    model = make()
    source = to_source(model, sources=SOURCES)
    assert "from torch import nn\n\nfrom tests_of_mine.layers import Scale\n" in source.text
    assert "self.scale = Scale()\n" in source.text
    assert "self.d = nn.Linear(8, 2)\n" in source.text
    assert torch.equal(source.state["scale.weight"], model.get_submodule("scale").weight)
    plain, x = to_torch(model, sources=SOURCES), torch.rand(3, 4)
    assert type(plain.scale) is Scale and plain.scale is not model.get_submodule("scale")
    torch.testing.assert_close(plain(x), model(x))


def test_without_its_import_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'scale' \(Scale\): its class is not one of"):
        to_source(make())


def test_other_arguments_than_the_text_has_are_found() -> None:
    with pytest.raises(RuntimeError, match="outputs of the code differ"):
        to_source(make(factor=2.0), sources=SOURCES)


def test_a_class_that_needs_arguments_is_refused() -> None:
    sources = {"Required": "from tests_of_mine.layers import Required"}
    with pytest.raises(ValueError, match="cannot be made without arguments: factor"):
        to_source(make(Required, factor=1.0), sources=sources)


@pytest.mark.parametrize(
    "name, line",
    [
        ("Scale", "import tests_of_mine"),
        ("Scale", "from tests_of_mine import *"),
        ("Scale", "from tests_of_mine import Other"),
        ("Scale", "from tests_of_mine import Other as Scale"),
        ("Scale", "from .layers import Scale"),
        ("Scale", "from tests_of_mine import Scale, Other"),
        ("Scale", "from tests_of_mine import Scale; print()"),
        ("Scale", "from tests_of_mine import Scale\nprint()"),
        ("Scale", "from class import Scale"),
        ("Scale", "from tests_of_mine import Scale\n"),
        ("nn", "from tests_of_mine import nn"),
        ("print", "from tests_of_mine import print"),
    ],
)
def test_all_but_one_import_is_refused(name: str, line: str) -> None:
    with pytest.raises(ValueError, match="`sources` must be"):
        to_source(make(), sources={name: line})
