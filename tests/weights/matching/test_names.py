"""Layers matched by their names."""

from __future__ import annotations

import pytest
from torch import nn

import kerastorch as keras
from kerastorch._core.errors import FileError
from tests.weights.matching.sources import array, conv, legacy, sources, tree


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.second = nn.Conv2d(3, 3, 1)
        self.first = nn.Conv2d(3, 3, 1)
        self.body = nn.Sequential()
        self.body.add_module("dense", nn.Linear(3, 3))


def test_names_decide_whatever_the_order(load):
    one, two, three = conv(1, 1, 3, 3), conv(1, 1, 3, 3), conv(3, 3)
    report = load(
        Net(),
        tree(
            layers__conv2d=("first", one),
            layers__conv2d_1=("second", two),
            layers__dense=("dense", three),
        ),
    )
    assert report.matched == "name"
    assert sources(report)["first.weight"] == "layers/conv2d/vars/0"
    assert sources(report)["second.bias"] == "layers/conv2d_1/vars/1"
    assert sources(report)["body.dense.weight"] == "layers/dense/vars/0"


def test_the_longest_path_of_names_decides(load):
    model = nn.ModuleDict(
        {part: nn.ModuleDict({"conv": nn.Conv2d(2, 2, 1)}) for part in ("left", "right")}
    )
    one, two = conv(1, 1, 2, 2), conv(1, 1, 2, 2)
    source = tree(
        layers__functional=("right", []),
        layers__functional__layers__conv2d=("conv", one),
        layers__functional_1=("left", []),
        layers__functional_1__layers__conv2d=("conv", two),
    )
    found = sources(load(model, source))
    assert found["right.conv.weight"] == "layers/functional/layers/conv2d/vars/0"
    assert found["left.conv.weight"] == "layers/functional_1/layers/conv2d/vars/0"


def test_a_name_that_two_have_is_no_name(load):
    model = nn.ModuleDict({part: nn.ModuleDict({"conv": nn.Linear(2, 2)}) for part in "ab"})
    source = legacy(conv={"conv/kernel": array(2, 2), "conv/bias": array(2)})
    with pytest.raises(FileError, match="nothing was changed"):
        load(model, source)


def test_a_name_may_lack_the_front_but_not_differ_there(load):
    model = nn.ModuleDict({"decoder": nn.ModuleDict({"conv": nn.Linear(2, 2)})})
    source = tree(
        layers__functional=("encoder", []), layers__functional__layers__dense=("conv", conv(2, 2))
    )
    with pytest.raises(FileError):
        load(model, source, by="name")
    wrapped = nn.ModuleDict({"module": model})
    source = tree(
        layers__functional=("decoder", []), layers__functional__layers__dense=("conv", conv(2, 2))
    )
    assert load(wrapped, source).matched == "name"


@pytest.mark.parametrize("path", [("conv1_bn",), ("conv1", "bn")])
def test_slashes_dots_and_underscores_mean_the_same(load, path):
    inner = nn.BatchNorm2d(2)
    for part in reversed(path):
        inner = nn.ModuleDict({part: inner})
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    source = legacy(**{"conv1/bn": {f"conv1/bn/{name}:0": array(2) for name in names}})
    assert load(inner, source).matched == "name"


def test_chosen_layer_names_count_and_automatic_ones_do_not(load):
    layers = [keras.layers.Dense(2, name=name, input_shape=(2,)) for name in ("b", "a")]
    source = legacy(**{n: {f"{n}/kernel": array(2, 2), f"{n}/bias": array(2)} for n in "ab"})
    report = load(nn.Sequential(*layers), source)
    assert (report.matched, sources(report)["0.weight"]) == ("name", "b/b/kernel")
    automatic = nn.Sequential(
        *(keras.layers.Dense(2, name=name, input_shape=(2,)) for name in ("dense_1", "dense"))
    )
    names = ("dense", "dense_1")
    source = legacy(**{n: {f"{n}/kernel": array(2, 2), f"{n}/bias": array(2)} for n in names})
    report = load(automatic, source)
    assert (report.matched, sources(report)["0.weight"]) == ("order", "dense/dense/kernel")
    report = load(automatic, source, by="name")
    assert sources(report)["0.weight"] == "dense_1/dense_1/kernel"
