"""The layers' names and aliases beside Keras's."""

from __future__ import annotations

import keras
import pytest

from kerastorch import layers
from kerastorch._core.registry import ALIASES


@pytest.mark.parametrize("name", layers.__all__)
def test_a_layer_has_the_name_and_the_aliases_of_keras(name: str) -> None:
    theirs = getattr(keras.layers, name)
    assert theirs.__name__ == ALIASES.get(name, name) == getattr(layers, name).__name__
