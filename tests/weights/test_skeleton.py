"""Models on the device "meta": built and checked, filled afterwards as a direct load is."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

import kerastorch
from kerastorch.layers import Dense, Normalization
from kerastorch.saving import FileError
from tests.models.building.examples import built, operation
from tests.models.configs import (
    chain,
    dense,
    functional,
    input_layer,
    layer,
    node,
    sequential,
    tensor,
)
from tests.weights.weight_files import TWO, array, changed, json_file, tree_file, weights_of_two

WAYS = {
    "device": lambda *args, **kwargs: kerastorch.load_model(*args, device="meta", **kwargs),
    "torch.device": lambda *args, **kwargs: kerastorch.load_model(
        *args, device=torch.device("meta"), **kwargs
    ),
}


def within_context(*args, **kwargs):
    with torch.device("meta"):
        return kerastorch.load_model(*args, **kwargs)


WAYS["context"] = within_context


def everything():
    """Return the config of a model with all that a module can hold beside its weights."""
    constant = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0, 3.0], "dtype": "float32"}}
    names = "x", "n", "r", "bn", "d", "drop", "p", "adapted"
    parts = (
        layer("Normalization", "n", axis=-1, mean=[1.0, 2.0, 3.0, 4.0], variance=[4.0] * 4),
        layer("Rescaling", "r", scale=[0.5, 2.0, 3.0, 1.0], offset=0.5),
        layer("BatchNormalization", "bn", trainable=False),
        layer("Dense", "d", units=3, activation="relu", dtype="float64", trainable=True),
        layer("Dropout", "drop", rate=0.5),
        layer("PReLU", "p", trainable=True),
        layer("Normalization", "adapted", axis=-1),
    )
    called = [
        {**entry, "name": name, "inbound_nodes": [node(tensor(before))]}
        for entry, name, before in zip(parts, names[1:], names, strict=False)
    ]
    added = operation("Add", "plus", [node(tensor("adapted"), constant)])
    return functional(input_layer("x"), *called, added, inputs=["x", 0, 0], outputs=["plus", 0, 0])


@pytest.fixture
def files(tmp_path):
    """Return a config and weights in which no value is what an initializer gives."""
    model = built(everything())
    for number, (name, value) in enumerate(model.state_dict().items()):
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape) + 0.5 + number)
        else:
            value.fill_(number)
        assert name
    kerastorch.save_weights(model, tmp_path / "m.weights.h5")
    return json_file(tmp_path, everything()), tmp_path / "m.weights.h5"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("alone", [True, False])
def test_it_is_filled_as_a_direct_load(files, way, alone):
    config, weights = files
    read = []
    given = {} if alone else {"weights": weights}
    model = WAYS[way](config, progress=read.append, **given)
    direct = kerastorch.load_model(config, weights=weights)
    assert not read and not model.training
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    expected = dict(direct.named_parameters()) | dict(direct.named_buffers())
    assert tensors.keys() == expected.keys() and len(tensors) == 13
    for name, own in tensors.items():
        other = expected[name]
        assert own.is_meta
        assert (own.shape, own.dtype, own.requires_grad, own.stride()) == (
            (other.shape, other.dtype, other.requires_grad, other.stride())
        )
    assert repr(model) == repr(direct)
    assert model.output_shapes == direct.output_shapes
    assert model(torch.zeros(2, 4, device="meta")).shape == (2, 3)
    with torch.no_grad():  # memory that was in use: what is not filled is seen
        model._apply(lambda t: torch.full_like(t, 77, device="cpu"))
    kerastorch.load_weights(model, weights)
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        assert torch.equal(value, expected[name]), name
    x = torch.randn(5, 4)
    assert torch.equal(model(x), direct(x))
    model.to("meta").to_empty(device="cpu")
    kerastorch.load_weights(model, weights)
    assert torch.equal(model(x), direct(x))


def test_it_works_inside_another_module_and_by_to_empty(files):
    config, weights = files
    outer = nn.Sequential(kerastorch.load_model(config, device="meta"))
    outer.to_empty(device="cpu")
    kerastorch.load_weights(outer[0], weights)
    x = torch.randn(5, 4)
    assert torch.equal(outer(x), kerastorch.load_model(config, weights=weights)(x))


def test_a_layer_alone_keeps_what_it_was_given():
    made = Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0], dtype="float64")
    made.to("meta").to_empty(device="cpu")
    assert torch.equal(made._given_mean, torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert torch.equal(made._given_variance, torch.tensor([4.0, 9.0], dtype=torch.float64))


def test_what_it_refuses_can_be_followed(files, tmp_path):
    config, weights = files
    model = kerastorch.load_model(config, device="meta")
    with pytest.raises(FileError, match=r'Move the module with `to_empty\(device="cpu"\)` first'):
        kerastorch.load_weights(model, weights)
    said = r"has no values: it is on the device 'meta'\. Call `model\.to_empty\(device=\.\.\.\)`"
    with pytest.raises(ValueError, match=said):
        kerastorch.save_weights(model, tmp_path / "other.weights.h5")


def test_weights_are_checked_as_always(tmp_path):
    config = json_file(tmp_path, TWO)
    groups = changed(weights_of_two(), dense=[array(2, 5), array(5)])
    with pytest.raises(FileError, match="shape") as wrong:
        kerastorch.load_model(config, weights=tree_file(tmp_path, groups), device="meta")
    with pytest.raises(FileError) as direct:
        kerastorch.load_model(config, weights=tree_file(tmp_path, groups))
    assert str(wrong.value) == str(direct.value)
    model = kerastorch.load_model(
        config, weights=tree_file(tmp_path, weights_of_two()), device="meta"
    )
    assert all(parameter.is_meta for parameter in model.parameters())


def test_huge_models_take_no_memory(tmp_path):
    config = json_file(tmp_path, chain(dense("a", units=2**30), dense("b", units=2**30)))
    model = kerastorch.load_model(config, device="meta")
    assert model.b.weight.shape == (2**30, 2**30)


def test_a_config_that_tells_no_shape_needs_weights(tmp_path):
    config = json_file(tmp_path, sequential(dense("a"), dense("b")))
    with pytest.raises(FileError, match=r"the shape of the input of a\. .*`weights=`"):
        kerastorch.load_model(config, device="meta")
    given = [array(4, 3), array(3), array(3, 3), array(3)]
    model = kerastorch.load_model(config, weights=given, device="meta")
    assert model.a.weight.shape == (3, 4) and model.a.weight.is_meta


class Scaled(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("scale", torch.ones(3), **kwargs)


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (lambda config: Scaled(), r"own\.scale"),
        (lambda config: Scaled(persistent=False), r"own\.scale"),
        (lambda config: nn.BatchNorm1d(4), r"own\.num_batches_tracked"),
        (lambda config: nn.Linear(4, 3), None),
        (lambda config: Dense(3), None),
    ],
)
def test_values_that_no_file_holds_are_refused(tmp_path, make, left):
    config = json_file(tmp_path, sequential(input_layer("x"), layer("Own", "own")))
    custom = {"Own": make}
    expected = contextlib.nullcontext()
    if left is not None:
        expected = pytest.raises(FileError, match=rf"(?s)'meta'\.\n  {left} has values")
    with expected:
        model = kerastorch.load_model(config, custom_layers=custom, device="meta")
        assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("device", ["foo", "cuda:99", "cpu:x", 3.5, "", -7, object()])
def test_a_wrong_device_is_refused_before_the_file_is_read(device):
    with pytest.raises(ValueError, match="load_model: `device` must be a device that torch has"):
        kerastorch.load_model("there is no such file", device=device)


def test_a_frozen_model_stays_frozen(tmp_path):
    entries = input_layer("x"), dense("d", [node(tensor("x"))])
    ends = {"inputs": ["x", 0, 0], "outputs": ["d", 0, 0]}
    config = json_file(tmp_path, functional(*entries, **ends, trainable=False))
    direct = kerastorch.load_model(config, weights=[array(4, 3), array(3)])
    model = kerastorch.load_model(config, device="meta").to_empty(device="cpu")
    assert [p.requires_grad for p in model.parameters()] == [False, False]
    assert [p.requires_grad for p in direct.parameters()] == [False, False]
