"""The layers' names, aliases and positional arguments compared with Keras's."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest

from kerastorch import layers
from kerastorch._core.registry import ALIASES, REMOVED

BY_ALIAS = {"GroupedQueryAttention"}  # classes that Keras exports by an alias alone
NAMES = sorted(set(layers.__all__) - REMOVED - BY_ALIAS)


def test_keras_3_has_all_layers_but_those_of_keras_2_alone() -> None:
    missing = {name for name in layers.__all__ if not hasattr(keras.layers, name)}
    assert missing == REMOVED | BY_ALIAS


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_has_the_name_and_the_aliases_of_keras(name: str) -> None:
    theirs = getattr(keras.layers, name)
    assert theirs.__name__ == ALIASES.get(name, name) == getattr(layers, name).__name__


def test_a_layer_of_keras_2_alone_is_told_as_such() -> None:
    missing = {name for name in layers.__all__ if not hasattr(keras.layers, name)}
    assert missing == REMOVED | BY_ALIAS


def positional(layer: type) -> dict[str, Any]:
    """Return the defaults of the positional arguments."""
    parameters = inspect.signature(layer).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_has_the_positional_arguments_of_keras(name: str) -> None:
    ours, theirs = (positional(getattr(library, name)) for library in (layers, keras.layers))
    assert list(ours) == list(theirs)
    for argument, default in theirs.items():  # one integer stands for a tuple of it
        one = ours[argument]
        assert one == default or bool((np.asarray(default) == one).all()), argument
