"""Arrays and layers in memory as a source of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kerastorch.layers import Conv2D
from kerastorch.saving.formats.in_memory import is_keras_object, read_arrays, read_live_object
from tests.formats.arrays import BFLOAT16, BIAS, KERNEL


def test_arrays_in_a_list():
    contents = read_arrays([KERNEL, torch.from_numpy(BIAS), BFLOAT16, KERNEL[..., ::-1]])
    (layer,) = contents.layers
    assert (layer.path, layer.name, contents.named_by_caller) == ("", None, True)
    assert [(w.path, w.name, w.shape, w.dtype) for w in layer.weights] == [
        ("0", None, (1, 2, 3, 4), "float32"),
        ("1", None, (4,), "float32"),
        ("2", None, (3,), "bfloat16"),
        ("3", None, (1, 2, 3, 4), "float32"),
    ]
    read = [weight.read() for weight in layer.weights]
    np.testing.assert_array_equal(read[3], KERNEL[..., ::-1])
    assert torch.equal(read[2], BFLOAT16)
    read[0].zero_()
    assert KERNEL.any()


def test_arrays_in_a_dict():
    contents = read_arrays({"a/kernel": KERNEL, "b": [BIAS], "a/bias": BIAS}, "these")
    assert contents.source == "these"
    assert [(v.path, v.name, len(v.weights)) for v in contents.layers] == [
        ("a", "a", 2),
        ("b", "b", 1),
    ]


@pytest.mark.parametrize(
    "value, said",
    [
        (7, "`source` must be a path, a layer or a model of Keras, or arrays in a list or a dict"),
        (KERNEL, "`source` must be a path"),
        ([KERNEL, [1.0, 2.0]], "`1` must be an array of real numbers"),
        ([np.array(["a"])], "`0` must be an array of real numbers"),
        ([np.array([1j])], "`0` must be an array of real numbers"),
        ({"a": {"b": None}}, "`a/b` must be an array of real numbers"),
        ({3: KERNEL}, "`source` must be a dict by strings"),
    ],
)
def test_what_is_no_arrays(value, said):
    with pytest.raises(TypeError) as error:
        read_live_object(value)
    assert said in str(error.value)


def test_only_layers_of_keras_are_live():
    assert not is_keras_object(Conv2D(2, 3))
    assert not is_keras_object(torch.nn.Conv2d(1, 1, 1))
    assert not is_keras_object([KERNEL])
    assert not is_keras_object(None)


class Variable:
    """A variable as TensorFlow has it."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self.dtype, self.shape, self.array = name, array.dtype, array.shape, array

    def value(self):
        raise NotImplementedError

    def numpy(self) -> np.ndarray:
        return self.array


def keras_2() -> type:
    """A layer's class as Keras 2 has it."""

    class Layer:
        built = True

        def __init__(self, name: str, weights=(), inner=()) -> None:
            self.name, self.inner = name, list(inner)
            self.weights = [*weights, *(w for layer in inner for w in layer.weights)]

        def _flatten_layers(self, recursive: bool = True, include_self: bool = True):
            assert not recursive
            assert not include_self
            yield from self.inner

    Layer.__module__ = "tf_keras.src.engine.base_layer"
    return Layer


def test_a_layer_of_keras_2():
    layer = keras_2()
    weights = [Variable("td/inner/kernel:0", KERNEL), Variable("td/inner/bias:0", BIAS)]
    contents = read_live_object(layer("td", inner=[layer("inner", weights)]))
    assert contents.format == "tf_keras object in memory"
    (inner,) = contents.layers
    assert (inner.path, inner.name) == ("inner", "inner")
    assert [(w.path, w.name) for w in inner.weights] == [
        ("inner/kernel", "kernel"),
        ("inner/bias", "bias"),
    ]
    np.testing.assert_array_equal(inner.weights[0].read(), KERNEL)
