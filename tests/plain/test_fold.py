"""The inference form."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kerastorch.plain import to_source, to_torch
from kerastorch.plain.proof.written_module import make_module
from tests.models.configs import functional, input_layer
from tests.plain.models import build, images, nested, one

X = torch.randn((2, 8, 9, 3), generator=torch.Generator().manual_seed(3))


def test_what_folds_is_gone_and_the_numbers_stay() -> None:
    model = build(images())
    text = to_source(model, inference=True).text
    assert "Dropout" not in text
    # bn_b and bn_c read the same convolution; one stands before a linear layer with its own input.
    assert text.count("nn.BatchNorm2d(") == 2
    assert "nn.BatchNorm1d(" not in text
    assert "F.relu6(self.conv_a(x), inplace=True)" in text
    plain = to_torch(model, inference=True)
    assert not plain.training
    with torch.no_grad():
        torch.testing.assert_close(plain(X), model(X), rtol=1e-5, atol=1e-6)


def test_weights_are_folded_in_double_precision_and_rounded_once() -> None:
    model = build(images())
    plain = to_torch(model, inference=True)
    exact = copy.deepcopy(model).double()
    conv, norm = exact.get_submodule("conv_a"), exact.get_submodule("bn_a")
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-3)
    assert torch.equal(plain.conv_a.weight, (conv.weight * scale.view(-1, 1, 1, 1)).float())


def test_weights_of_no_module_have_the_dtype_of_the_others() -> None:
    scale = one("PReLU", "scale", "images", shared_axes=[1])
    config = functional(
        input_layer("images", (None, 8, 9, 3)),
        scale,
        inputs=["images", 0, 0],
        outputs=["scale", 0, 0],
    )
    source = to_source(build(config), inference=True)
    assert "nn.Parameter(torch.zeros(" in source.text and "float64" not in source.text
    written = make_module(source.text, source.class_name)
    assert {parameter.dtype for parameter in written.parameters()} == {torch.float32}


def test_the_model_is_left_as_it_is() -> None:
    model = build(images()).train()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    to_source(model, inference=True)
    assert model.training
    after = model.state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())


def test_a_shared_layer_is_not_folded() -> None:
    model = build(nested())
    inputs = [torch.randn(2, 6, 5, 2), torch.randn(2, 6, 5, 2)]
    plain = to_torch(model, inference=True)
    with torch.no_grad():
        torch.testing.assert_close(plain(*inputs), model(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.BatchNorm2d])
def test_without_it_all_layers_are_kept(kind: type) -> None:
    found = [one for one in to_torch(build(images())).modules() if isinstance(one, kind)]
    assert found
