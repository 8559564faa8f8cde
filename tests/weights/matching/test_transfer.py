"""Loading what fits: new heads, layers left out, misspelled names, and orders in doubt."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch.saving import FileError
from tests.formats.keras_files import model_archive, model_h5
from tests.models.configs import dense, input_layer, sequential
from tests.weights.matching.models import ARRAYS, CONFIG, TREE, Net, array, chain


@pytest.fixture(params=["h5", "keras", "list", "dict"])
def source(request, tmp_path):
    if request.param == "h5":
        return model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    if request.param == "keras":
        return model_archive(tmp_path / "m.keras", CONFIG, TREE)
    if request.param == "list":
        return [value for arrays in ARRAYS.values() for value in arrays.values()]
    return {
        f"{name}/{key}": value for name, arrays in ARRAYS.items() for key, value in arrays.items()
    }


def with_new_head(kind, tmp_path):
    if kind == "own":
        return Net(nn.Linear(48, 3))
    file = model_archive(tmp_path / "first.keras", CONFIG, TREE)
    model = keras.load_model(file)
    model.head = nn.Linear(48, 3) if kind == "torch" else keras.layers.Dense(3)
    with torch.no_grad():
        model.conv1.weight.zero_()
    return model


@pytest.mark.parametrize("kind", ["own", "torch", "unbuilt"])
def test_a_new_head_is_left_as_it_is(source, kind, tmp_path):
    model = with_new_head(kind, tmp_path)
    before = {name: p.clone() for name, p in model.head.named_parameters() if kind != "unbuilt"}
    with pytest.warns(UserWarning, match="head") as caught:
        report = keras.load_weights(model, source, strict=False)
    found = model.conv1.weight.detach().permute(2, 3, 1, 0)
    np.testing.assert_array_equal(found, ARRAYS["conv1"]["kernel"])
    for name, value in before.items():
        assert torch.equal(model.head.get_parameter(name), value)
    said = str(caught[0].message)
    assert "head is left as it is: head" in said
    assert "(48, 10)" in said
    if kind != "unbuilt":
        assert "head.weight has the shape (48, 3) in Keras's order. Found: (48, 10) at" in said
    assert [entry.target for entry in report.missing] == ["head.weight", "head.bias"]
    assert [entry.shape for entry in report.unexpected] == [(48, 10), (10,)]
    assert {entry.target for entry in report.loaded} == {"conv1.weight", "conv1.bias"}


def test_without_strict_false_it_is_an_error_whose_advice_works(source, tmp_path):
    model = with_new_head("torch", tmp_path)
    with pytest.raises(FileError) as caught:
        keras.load_weights(model, source)
    assert "or None to leave it out}`, or load what fits with `strict=False`." in str(caught.value)
    assert not model.conv1.weight.any()
    report = keras.load_weights(model, source, mapping={"head": None})
    assert model.conv1.weight.any()
    assert [entry.shape for entry in report.unexpected] == [(48, 10), (10,)]
    assert not report.missing


def test_where_nothing_fits_no_advice_is_repeated(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    with pytest.raises(FileError) as caught:
        keras.load_weights(nn.Sequential(nn.Linear(7, 5)), file, strict=False)
    assert "strict=False" not in str(caught.value)
    assert "mapping=" in str(caught.value)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"haed": None}, "mapping['haed']: a key must be the path of a module or a parameter"),
        ({"haed": None}, "Did you mean 'head'?"),
        ({"conv1": "covn1"}, "mapping['conv1'] must name a saved layer. Received: 'covn1'."),
        ({"conv1": "covn1"}, "Did you mean 'conv1'?"),
        ({"conv1.bias": "conv1/conv1/bais:0"}, "Did you mean 'conv1/conv1/bias:0'?"),
    ],
)  # fmt: skip
def test_a_misspelled_mapping_names_the_nearest(tmp_path, mapping, said, strict):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    with pytest.raises(FileError) as caught:
        keras.load_weights(Net(nn.Linear(48, 3)), file, mapping=mapping, strict=strict)
    assert said in str(caught.value)


@pytest.mark.parametrize("turn", [1, -1], ids=["parameter first", "module first"])
@pytest.mark.parametrize("layer", [None, "conv1"])
def test_a_module_and_its_parameter_are_not_both_mapped(tmp_path, layer, turn):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    mapping = {"conv1.bias": "conv1/conv1/bias:0", "conv1": layer}
    mapping = dict([*mapping.items()][::turn])
    with pytest.raises(FileError, match=r"mapping\['conv1'\]: a module must not be a key beside"):
        keras.load_weights(Net(nn.Linear(48, 3)), file, mapping=mapping)


@pytest.mark.parametrize("strict", [True, False])
def test_a_misspelled_module_names_the_nearest(tmp_path, strict):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    model = nn.Module()
    model.covn1, model.head = nn.Conv2d(2, 3, 3, padding="same"), nn.Linear(48, 3)
    with pytest.raises(FileError) as caught:
        keras.load_weights(model, file, strict=strict)
    said = "covn1: the source has no layer of this name, but conv1 of the same shapes."
    assert said in str(caught.value)
    keras.load_weights(model, file, mapping={"covn1": "conv1", "head": None})
    np.testing.assert_array_equal(model.covn1.bias.detach(), ARRAYS["conv1"]["bias"])


def test_a_new_module_of_a_near_name_and_another_shape_is_no_mistake(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    model = nn.Module()
    model.conv1, model.head2 = nn.Conv2d(2, 3, 3, padding="same"), nn.Linear(48, 3)
    report = keras.load_weights(model, file, strict=False)
    assert [entry.target for entry in report.missing] == ["head2.weight", "head2.bias"]


def test_a_layer_of_another_class_is_left_out(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    with pytest.warns(UserWarning, match="head is a Conv2d. Found: a layer of the class 'dense'"):
        keras.load_weights(Net(nn.Conv2d(3, 3, 1)), file, strict=False)


def test_what_the_caller_maps_must_fit(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    with pytest.raises(FileError, match=r"head.weight has the shape \(48, 3\)"):
        keras.load_weights(Net(nn.Linear(48, 3)), file, mapping={"head": "head"}, strict=False)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("size", [10, 3])
def test_exact_names_are_kept_whatever_the_others_are_called(tmp_path, strict, size):
    config = sequential(input_layer("x"), dense("a", units=4), dense("b", units=4), dense("head"))
    arrays = {name: {"kernel": array(4, 4, start=n), "bias": array(4, start=n)} for n, name in
              enumerate("ab")}  # fmt: skip
    arrays["head"] = {"kernel": array(4, 10), "bias": array(10)}
    file = model_h5(tmp_path / "m.h5", config, arrays)

    def model():
        made = nn.Module()
        made.b, made.a, made.classifier = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, size)
        return made

    for mapping in ({}, {"classifier": None}):
        module = model()
        if strict and size == 3 and not mapping:
            with pytest.raises(
                FileError, match=r"missing: classifier\.weight \(4, 3\) is not in the file"
            ):
                keras.load_weights(module, file)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            report = keras.load_weights(module, file, mapping=mapping, strict=strict)
        np.testing.assert_array_equal(module.a.bias.detach(), arrays["a"]["bias"])
        np.testing.assert_array_equal(module.b.bias.detach(), arrays["b"]["bias"])
        given = strict and not mapping  # the rest by order, where everything must find its place
        assert report.matched == ("name and order" if given else "name")
        assert bool(torch.equal(module.classifier.bias, torch.arange(1.0, 11.0))) == given


def test_a_new_layer_does_not_take_what_belongs_to_one_left_out(tmp_path):
    file = model_h5(tmp_path / "m.h5", *chain(4, 5, 6, 7))
    model = nn.Module()
    model.d0, model.d1, model.old, model.extra = (
        nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2), nn.Linear(6, 7),
    )  # fmt: skip
    report = keras.load_weights(model, file, mapping={"old": None}, strict=False)
    assert [entry.target for entry in report.missing] == ["extra.weight", "extra.bias"]
    with pytest.raises(FileError, match=r"extra\.weight"):
        keras.load_weights(model, file, mapping={"old": None})


def test_a_near_name_is_told_where_its_shape_is_another(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    model = nn.Module()
    model.conv1, model.haed = nn.Conv2d(2, 3, 3, padding="same"), nn.Linear(48, 3)
    with pytest.raises(FileError, match="haed: the source has no layer of this name, but head, "):
        keras.load_weights(model, file)


def test_what_computes_otherwise_has_advice_of_its_own(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    model = Net(nn.Linear(48, 10))
    model.conv1 = nn.Conv2d(2, 3, 3)
    with pytest.raises(FileError) as caught:
        keras.load_weights(model, file)
    assert "Make the modules compute what the source's layers do" in str(caught.value)
    assert "mapping=" not in str(caught.value)


@pytest.mark.parametrize("mapping", [{1: "conv1"}, {"conv1": 1}, {None: None}, ["conv1"]])
def test_a_mapping_is_of_strings(mapping):
    with pytest.raises(TypeError, match="load_weights: `mapping` must be a dict of paths"):
        keras.load_weights(nn.Linear(4, 4), [array(4, 4), array(4)], mapping=mapping)
