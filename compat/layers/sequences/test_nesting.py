"""Entries of layers that are arguments of layers, beside those of Keras."""

from __future__ import annotations

import json
from typing import Any

import keras
import pytest

from kerastorch import layers
from kerastorch.layers.base import nesting

CASES: dict[str, dict[str, Any]] = {
    "Dense": {"units": 3, "activation": "relu"},
    "Conv1D": {"filters": 3, "kernel_size": 2, "kernel_regularizer": "l2"},
    "BatchNormalization": {},
    "MaxPool2D": {},
}


@pytest.mark.parametrize("name", CASES)
def test_entries_are_those_of_keras(name: str) -> None:
    arguments = {**CASES[name], "name": "inner"}
    theirs = json.dumps(keras.layers.serialize(getattr(keras.layers, name)(**arguments)))
    assert json.dumps(nesting.serialize(getattr(layers, name)(**arguments))) == theirs
    assert json.dumps(nesting.serialize(nesting.get(json.loads(theirs)))) == theirs
