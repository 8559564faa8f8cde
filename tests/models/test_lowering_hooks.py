"""Hooked, overridden and replaced layers are called as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import Conv2D, ReLU
from tests.models.configs import input_layer, sequential
from tests.models.lowered import (
    EVERYWHERE,
    SHAPE,
    batch,
    built,
    conv,
    forbid,
    ignore,
    lowered,
    one,
    plain,
    residual,
)


def test_hooks_see_what_a_layer_returned(monkeypatch):
    """A hook keeps what a layer gave, and an output of the model is not written over."""
    model = built(residual()).eval()
    kept, again = {}, {}

    def keep(found):
        for name in ("bn0", "conv1"):
            model.get_submodule(name).register_forward_hook(
                lambda module, args, y, name=name: found.setdefault(name, y)
            )

    keep(kept)
    with torch.no_grad():
        _, total = model(batch())
        forbid(monkeypatch)
        keep(again)
        assert_close(total, model(batch())[1])
    assert_close(kept, again)
    assert (kept["bn0"] < 0).any()


HOOKS = {
    "forward": lambda layer: layer.register_forward_hook(ignore),
    "before forward": lambda layer: layer.register_forward_pre_hook(ignore),
    "backward": lambda layer: layer.register_full_backward_hook(ignore),
    "before backward": lambda layer: layer.register_full_backward_pre_hook(ignore),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hooked_layer_is_called(hook):
    model = built(plain())
    before = lowered(model)
    handle = HOOKS[hook](model.bn0)
    model(batch())
    # Of what the layer returns nothing is known, so that the next one is called as it is, too.
    assert lowered(model) == {name: before[name] for name in ("conv0",)}
    handle.remove()
    model(batch())
    assert lowered(model) == before


@pytest.mark.parametrize("hook", EVERYWHERE)
def test_a_hook_of_all_modules_sees_all_layers_called(hook):
    model, seen = built(plain()).eval(), []
    for module in model.children():
        module.register_forward_hook(lambda module, *arguments: seen.append(module.name))
    handle = EVERYWHERE[hook](ignore)
    try:
        model(batch())
    finally:
        handle.remove()
    assert seen == ["conv0", "bn0", "act0", "flat", "dense", "act1"]


class Capped(ReLU):
    def forward(self, inputs):
        return super().forward(inputs).clamp(max=0.5)


class Keeping(Conv2D):
    def forward(self, inputs):
        self.kept = super().forward(inputs)
        return self.kept


def test_classes_of_others_do_what_they_say():
    config = sequential(input_layer("x", (None, *SHAPE[1:])), conv("conv0"), one("ReLU", "act0"))
    for entry, kind in zip(config["config"]["layers"][1:], (Keeping, Capped), strict=True):
        entry.update(class_name=kind.__name__, module=None, registered_name=kind.__name__)
    model = built(
        config, custom_layers={kind.__name__: kind.from_config for kind in (Keeping, Capped)}
    )
    with torch.no_grad():
        y = model(batch())
    assert lowered(model) == {}
    assert float(y.max()) == 0.5
    assert (model.conv0.kept < 0).any()


def test_a_forward_in_the_place_of_the_layer_s_is_called():
    model = built(plain()).eval()
    model.act0.forward = torch.zeros_like
    with torch.no_grad():
        y = model(batch())
    assert_close(y, model.act1(model.dense.bias.expand_as(y)))


def test_a_module_in_the_place_of_a_layer_is_trusted_with_nothing(monkeypatch):
    """An identity hands on what others may read."""
    model = built(residual()).eval()
    with torch.no_grad():
        expected = model(batch())
    model.bn0 = nn.Identity()
    with torch.no_grad():
        outputs = model(batch())
    assert not lowered(model).get("act0")
    assert "bn0" not in lowered(model)
    forbid(monkeypatch)
    with torch.no_grad():
        assert_close(outputs, model(batch()))
    assert not torch.equal(outputs[0], expected[0])


@pytest.mark.filterwarnings("ignore:.*global hooks on modules:UserWarning")
@pytest.mark.parametrize(
    "hook", ["forward", pytest.param("before forward", marks=pytest.mark.sweep)]
)
def test_a_hook_of_all_modules_is_in_the_graph(hook):
    model, seen = built(plain()), []
    handle = EVERYWHERE[hook](lambda module, *arguments: seen.append(type(module).__name__))
    try:
        torch.compile(model, backend="eager")(batch())
    finally:
        handle.remove()
        torch.compiler.reset()
    assert {"Conv2D", "BatchNormalization", "Activation", "Dense", "ReLU"} <= set(seen)
