"""Layers as arguments of layers: what is accepted, and the entries of configs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from torch import nn

from kerastorch import layers
from kerastorch.layers.base import nesting


class Scaled(nn.Module):
    """A user's layer."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor


def test_modules_pass_unchanged() -> None:
    for module in (layers.Dense(3), nn.Linear(2, 3), None):
        assert nesting.get(module) is module


def test_an_entry_describes_the_layer_that_wrote_it() -> None:
    entry = nesting.serialize(layers.Dense(3, activation="relu", name="inner"))
    assert list(entry) == ["module", "class_name", "config", "registered_name"]
    assert (entry["module"], entry["registered_name"]) == ("keras.layers", None)
    before = copy.deepcopy(entry)
    made: Any = nesting.get(entry)
    assert type(made) is layers.Dense
    assert nesting.serialize(made) == entry == before


def test_entries_of_old_keras_are_upgraded() -> None:
    old = {"name": "inner", "output_dim": 3, "bias": False}
    made: Any = nesting.deserialize({"class_name": "Dense", "config": old})
    assert (made.units, made.use_bias, made.name) == (3, False, "inner")


def test_the_dialect_is_set_where_it_matters() -> None:
    for layer in (layers.Dense(2), layers.UnitNormalization()):
        made: Any = nesting.deserialize(nesting.serialize(layer), keras_2=True)
        assert made.keras_2 is type(layer).differs_in_keras_2


def test_own_classes_come_first() -> None:
    entry = {"class_name": "Dense", "config": {"factor": 2.0}}
    made: Any = nesting.deserialize(entry, {"Dense": Scaled})
    assert isinstance(made, Scaled)
    assert made.factor == 2.0


@pytest.mark.parametrize("given", ["Dense", 3, layers.Dense, {"class_name": "Dense"}])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        nesting.get(given)


def test_unknown_and_foreign_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="custom_objects"):
        nesting.get({"class_name": "Unknown", "config": {}})
    foreign = {"module": "my.layers", "class_name": "Dense", "registered_name": "my>Dense"}
    with pytest.raises(TypeError, match="custom_objects"):
        nesting.get({**foreign, "config": {"units": 3}})
    with pytest.raises(ValueError, match="get_config"):
        nesting.serialize(nn.Linear(2, 3))
    with pytest.raises(TypeError, match="layer classes"):
        nesting.deserialize({"class_name": "A", "config": {}}, {"A": dict})
