"""Layers matched by their order, and by the caller's mapping."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kerastorch._core.errors import FileError
from kerastorch.saving.formats.weight_file import SavedLayer
from tests.weights.matching.sources import (
    ARRAYS,
    array,
    contents,
    conv,
    legacy,
    sources,
    stored,
    tree,
    weight,
)

# By order


def test_classes_are_numbered_with_and_without_gaps(load):
    for step in (1, 2):
        groups = {
            f"layers__dense_{step * k}" if k else "layers__dense": conv(2, 2) for k in range(11)
        }
        model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(11)))
        report = load(model, tree(**dict(sorted(groups.items()))))
        assert report.matched == "order"
        assert sources(report)["10.weight"] == f"layers/dense_{10 * step}/vars/0"
        assert sources(report)["2.weight"] == f"layers/dense_{2 * step}/vars/0"


def test_one_class_in_two_containers_has_no_order(load):
    source = tree(
        layers__dense=conv(2, 2),
        layers__sequential__layers__dense=conv(2, 2),
        layers__conv2d=conv(1, 1, 2, 2),
    )
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Conv2d(2, 2, 1))
    with pytest.raises(FileError, match="mapping"):
        load(model, source)
    report = load(
        model, source, mapping={"0": "layers/dense", "1": "layers/sequential/layers/dense"}
    )
    assert sources(report)["1.weight"] == "layers/sequential/layers/dense/vars/0"
    assert sources(report)["2.weight"] == "layers/conv2d/vars/0"


def test_old_files_keep_the_order(load):
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Linear(2, 2))
    source = legacy(
        x={"x/kernel:0": array(1, 1, 2, 2), "x/bias:0": array(2)},
        y={},
        z={"z/kernel:0": array(2, 2), "z/bias:0": array(2)},
    )
    assert sources(load(model, source))["1.weight"] == "z/z/kernel:0"


def test_another_class_at_a_place_is_refused_though_the_shapes_agree(load):
    source = tree(layers__conv2d_transpose=conv(2, 2, 3, 3))
    with pytest.raises(FileError, match="nothing was changed"):
        load(nn.Conv2d(3, 3, 2), source)
    source = legacy(conv2d_transpose_1={"kernel:0": array(2, 2, 3, 3), "bias:0": array(3)})
    with pytest.raises(FileError, match="conv2d_transpose"):
        load(nn.Conv2d(3, 3, 2), source)


def test_a_nested_group_without_a_config_has_no_order(load):
    source = legacy(
        inner={
            f"inner/{c}/{n}": array(2, 2)[: 2 if n == "kernel" else 1].squeeze()
            for c in "ab"
            for n in ("kernel", "bias")
        }
    )
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(FileError, match="which were trained"):
        load(model, source)
    named = nn.ModuleDict({"b": nn.Linear(2, 2), "a": nn.Linear(2, 2)})
    assert sources(load(named, source))["a.weight"] == "inner/inner/a/kernel"


def test_a_list_of_arrays_is_dealt_out(load):
    arrays = [array(3, 2), array(2), array(2, 1), array(1)]
    listed = SavedLayer("", None, tuple(weight(str(i), v) for i, v in enumerate(arrays)))
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    report = load(model, contents(listed, **ARRAYS))
    assert report.matched == "order"
    np.testing.assert_array_equal(stored(model[2].weight), arrays[2].T)
    with pytest.raises(FileError, match="Found: 4 arrays"):
        load(nn.Linear(3, 2), contents(listed, **ARRAYS))


# As the caller says


def test_a_mapping_comes_first_and_the_rest_follows(load):
    source = tree(
        layers__dense=("a", conv(2, 2)),
        layers__dense_1=("b", conv(2, 2)),
        layers__dense_2=("c", conv(2, 2)),
    )
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    report = load(model, source, mapping={"0": "c"})
    found = sources(report)
    assert found["0.weight"] == "layers/dense_2/vars/0"
    assert (found["1.weight"], found["2.weight"]) == (
        "layers/dense/vars/0",
        "layers/dense_1/vars/0",
    )


def test_none_leaves_a_module_as_it_is(load):
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Bilinear(2, 2, 2), nn.Linear(2, 2)))
    before = model[1][1].weight.clone()
    report = load(model, tree(layers__dense=conv(2, 2)), mapping={"1": None})
    assert len(report.loaded) == 2
    assert torch.equal(model[1][1].weight, before)
    with pytest.raises(FileError, match="Bilinear"):
        load(model, tree(layers__dense=conv(2, 2)))


def test_single_parameters_are_mapped_as_they_are(load):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, 3))
            self.linear = nn.Linear(2, 2)

    model, value = Own(), array(2, 3)
    source = contents(
        SavedLayer("", None, (weight("vars/0", value),)),
        SavedLayer(
            "layers/dense",
            None,
            tuple(weight(f"layers/dense/vars/{i}", v) for i, v in enumerate(conv(2, 2))),
        ),
    )
    load(model, source, mapping={"w": "vars/0"})
    np.testing.assert_array_equal(stored(model.w), value)
    turned = {"linear.weight": "layers/dense/vars/0", "linear.bias": "layers/dense/vars/1"}
    load(model, source, mapping={"w": "vars/0", **turned})
    with pytest.raises(FileError, match="an array of the source"):
        load(model, source, mapping={"w": "nowhere"})
