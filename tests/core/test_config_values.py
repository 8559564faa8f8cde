"""Values of configs, arrays among them, written as JSON."""

import numpy as np
import pytest
import torch

from kerastorch._core.config_arrays import decode_array, encode_array


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (1.5, 1.5),
        ("hann", "hann"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array(2.0), 2.0),
        ([np.int64(1), (np.float64(0.5),)], [1, (0.5,)]),
        ({"axis": (np.int64(1), 2)}, {"axis": (1, 2)}),
        (
            np.array([[1, 2]], dtype="int16"),
            {"class_name": "__numpy__", "config": {"value": [[1, 2]], "dtype": "int16"}},
        ),
        (
            torch.tensor([0.5], dtype=torch.bfloat16),
            {"class_name": "__tensor__", "config": {"value": [0.5], "dtype": "bfloat16"}},
        ),
    ],
)
def test_plain(value, written):
    found = encode_array(value)
    assert found == written
    assert type(found) is type(written)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
def test_arrays_round_trip(dtype):
    array = np.array([[0, 1, 2], [3, 0, 5]]).astype(dtype)
    again = decode_array("Salt", "grams", encode_array(array))
    assert type(again) is np.ndarray and again.dtype == array.dtype
    assert np.array_equal(again, array)
    tensor = torch.from_numpy(array)
    twice = decode_array("Salt", "grams", encode_array(tensor))
    assert twice.dtype is tensor.dtype and torch.equal(twice, tensor)


def test_all_else_is_restored_as_it_is():
    for value in (None, 1.0, [1], "x", {"class_name": "Salt"}, {"a": 1}):
        assert decode_array("Salt", "grams", value) is value


@pytest.mark.parametrize("name", ["__numpy__", "__tensor__"])
@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"value": [1.0]},
        {"value": [1.0], "dtype": "object"},
        {"value": [1.0], "dtype": "nn"},
        {"value": [1.0], "dtype": "load"},
        {"value": [[1.0], [1.0, 2.0]], "dtype": "float32"},
        {"value": ["x"], "dtype": "float32"},
        {"value": None, "dtype": "float32"},
        {"value": [1e300], "dtype": "int8"},
    ],
)
def test_arrays_that_are_none(name, content):
    value = {"class_name": name, "config": content}
    with pytest.raises(ValueError) as error:
        decode_array("Salt", "grams", value)
    assert str(error.value) == (
        f"Salt: `grams` must be an array's `value` and `dtype`. Received: grams={value!r}."
    )
