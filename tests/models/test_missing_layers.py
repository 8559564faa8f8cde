"""Models whose layers were deleted."""

from __future__ import annotations

import copy
import json
import zipfile

import pytest
import torch
from torch import nn

import kerastorch
from kerastorch.saving import FileError
from tests.models.building.examples import built
from tests.models.configs import dense, functional, input_layer, layer, sequential
from tests.models.test_replaced import backbone, nested, row

DELETED = {
    "del": lambda model, name: delattr(model, name),
    "None": lambda model, name: setattr(model, name, None),
    "pop": lambda model, name: model._modules.pop(name),
}
MISSING = (
    "Functional 'model': `head` must be a torch.nn.Module. Received: head=None. Assign a module, "
    "`model.head = ...`; to skip the layer, use torch.nn.Identity()."
)


@pytest.mark.parametrize("how", DELETED)
def test_a_missing_layer_is_named(how, tmp_path):
    model = backbone()
    DELETED[how](model, "head")
    x = torch.randn(2, 4)
    for call in (lambda: model(x), lambda: model.compute_output_shape((None, 4))):
        with pytest.raises(AttributeError) as error:
            call()
        assert str(error.value) == MISSING
    with pytest.raises(ValueError, match="Nothing was written") as error:
        kerastorch.save_weights(model, tmp_path / "m.weights.h5")
    assert MISSING in str(error.value)
    assert list(model.layers) == list(model.output_shapes) == ["x", "a", "b", "drop"]
    assert row(model, "head") == ["head", "(missing)", "?", "drop[0][0]"]
    model.train().eval().double().float()
    model.trainable = False
    assert list(model.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert not model.losses and not copy.deepcopy(model).layers.keys() - model.layers.keys()
    model.head = nn.Identity()
    assert model(x).shape == (2, 5)


def test_the_rest_of_a_model_is_loaded_without_a_missing_layer(tmp_path):
    kerastorch.save_weights(backbone(), tmp_path / "m.weights.h5")
    model = backbone()
    del model.head
    with pytest.raises(FileError, match=r"unexpected: layers/dense_2/vars/0 \(5, 10\) matches"):
        kerastorch.load_weights(model, tmp_path / "m.weights.h5")
    report = kerastorch.load_weights(model, tmp_path / "m.weights.h5", strict=False)
    assert len(report.loaded) == 4


def test_a_missing_layer_of_a_nested_model_and_of_another_name():
    model = nested("functional")
    del model.inner.d
    with pytest.raises(AttributeError, match="layer 'inner': Functional 'inner': `d` must"):
        model(torch.randn(2, 4))
    model = built(sequential(input_layer("x"), dense("a/b")))
    delattr(model, "a/b")
    with pytest.raises(AttributeError, match=r"`a/b` must .*`setattr\(model, 'a/b', \.\.\.\)`"):
        model(torch.randn(2, 4))


def test_a_missing_input_is_of_no_account(tmp_path):
    model = backbone()
    del model.x
    assert model(torch.randn(2, 4)).shape == (2, 10)
    assert model.compute_output_shape((None, 4)) == (None, 10)
    assert row(model, "x") == ["x", "(missing)", "(None,", "4)"]
    kerastorch.save_weights(model, tmp_path / "m.weights.h5")
    kerastorch.load_weights(model, tmp_path / "m.weights.h5")


def test_a_layer_with_a_fixed_mode_may_be_missing():
    entry = layer("Dropout", "drop", [[["x", 0, 0, {"training": True}]]], rate=0.5)
    model = built(functional(
        input_layer("x"), entry, inputs=[["x", 0, 0]], outputs=[["drop", 0, 0]]
    ))  # fmt: skip
    del model.drop
    assert model.train().training
    assert not model.eval().training


def test_the_own_numbers_of_a_model_are_compared_with_those_of_the_files_config(tmp_path):
    def config(epsilon):
        return sequential(input_layer("x"), layer("BatchNormalization", "bn", epsilon=epsilon))

    model = built(config(1e-3))
    kerastorch.save_weights(model, tmp_path / "m.weights.h5")
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as file:
        file.writestr("config.json", json.dumps(config(1e-5)))
        file.writestr("metadata.json", '{"keras_version": "3.9"}')
        file.write(tmp_path / "m.weights.h5", "model.weights.h5")
    with pytest.raises(FileError, match=r"bn: epsilon=0\.001, where the source has 1e-05"):
        kerastorch.load_weights(model, tmp_path / "m.keras")
