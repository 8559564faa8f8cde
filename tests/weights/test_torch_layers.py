"""The adapters of torch.nn's classes: one is all that a class needs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kerastorch import load_weights
from kerastorch.saving import FileError
from kerastorch.saving.torch_layers import modules
from kerastorch.saving.torch_layers.modules import ADAPTERS, Adapter, ModuleWeight


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x * self.weight


def test_another_class_needs_one_adapter(monkeypatch):
    model, arrays = nn.Sequential(Scale()), {"0/gamma": torch.tensor([1.0, 2.0, 3.0])}
    with pytest.raises(FileError, match="a layer of kerastorch, or one of"):
        load_weights(model, arrays)
    adapter = Adapter({Scale: ("scale",)}, weights=lambda module: [ModuleWeight("weight", "gamma")])
    monkeypatch.setattr(modules, "ADAPTERS", (*ADAPTERS, adapter))
    load_weights(model, arrays)
    assert model[0].weight.tolist() == [1.0, 2.0, 3.0]


def test_a_class_has_one_adapter():
    classes = [cls for adapter in ADAPTERS for cls in adapter.classes]
    assert len(set(classes)) == len(classes)
