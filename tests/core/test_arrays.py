"""Arrays to tensors and back: every layout and byte order, one meaning."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from kerastorch._core.arrays import to_numpy, to_tensor
from kerastorch.layers import Conv2D

VALUES = np.arange(1, 25).reshape(2, 3, 4)
TYPES = {
    "?": torch.bool,
    "i1": torch.int8,
    "u1": torch.uint8,
    "i2": torch.int16,
    "u2": torch.uint16,
    "i4": torch.int32,
    "u4": torch.uint32,
    "i8": torch.int64,
    "u8": torch.uint64,
    "Q": torch.uint64,
    "e": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "g": torch.float64,
}


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def in_a_record(array):
    """Return the field of a packed record: its strides are no multiple of its element's size."""
    record = np.zeros(array.shape, dtype=[("flag", "u1"), ("value", array.dtype)])
    record["value"] = array
    return record["value"]


LAYOUTS = {
    "contiguous": lambda a: a,
    "fortran": np.asfortranarray,
    "permuted": lambda a: a.transpose(2, 0, 1),
    "stepped": lambda a: a[:, ::2, 1::2],
    "reversed": lambda a: a[::-1, :, ::-1],
    "read-only": read_only,
    "broadcast": lambda a: np.broadcast_to(a, (5, *a.shape)),
    "in a record": in_a_record,
    "0-d": lambda a: a[1, 2, 3],
    "empty": lambda a: a[:0],
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", TYPES)
def test_every_real_type_in_both_byte_orders(code, order):
    array = VALUES.astype(np.dtype(code).newbyteorder(order))
    found = to_tensor(array)
    assert found.dtype is TYPES[code]
    assert found.tolist() == array.tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("code", ["<f4", ">f4", ">i8"])
def test_every_layout(layout, code):
    array = LAYOUTS[layout](VALUES.astype(code))
    found = to_tensor(array)
    assert tuple(found.shape) == array.shape
    assert found.tolist() == array.tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_of_ml_dtypes(layout):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = LAYOUTS[layout]((VALUES / 8).astype(ml_dtypes.bfloat16))
    found = to_tensor(array)
    assert found.dtype is torch.bfloat16
    assert found.tolist() == np.asarray(array, "float32").tolist()


@pytest.mark.parametrize(
    "value, dtype",
    [
        (3, torch.int64),
        (2.5, torch.float64),
        (True, torch.bool),
        ([[1, 2], [3, 4]], torch.int64),
        ((np.float32(1.5), np.float32(2.5)), torch.float32),
        ([], torch.float64),
    ],
    ids=repr,
)
def test_numbers_and_sequences(value, dtype):
    found = to_tensor(value)
    assert found.dtype is dtype
    assert found.tolist() == np.asarray(value).tolist()


NOT_ARRAYS = {
    "none": None,
    "text": "1.5",
    "texts": ["1", "2"],
    "bytes": b"1",
    "object": np.array([1.0, None]),
    "objects of numbers": np.array([1, 2], dtype=object),
    "ragged": [[1], [2, 3]],
    "complex": np.ones(2, dtype=complex),
    "complex tensor": torch.ones(2, dtype=torch.complex64),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "record": np.zeros(2, dtype=[("a", "f4")]),
    "dict": {"a": 1},
    "tensors with gradients": [torch.ones(2, requires_grad=True)] * 2,
}


@pytest.mark.parametrize("value", NOT_ARRAYS.values(), ids=NOT_ARRAYS)
def test_what_is_no_array_of_real_numbers(value):
    assert to_tensor(value) is None


@pytest.mark.parametrize("name", ["float8_e4m3fn", "int4"])
def test_types_that_torch_has_no_array_of(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert to_tensor(np.zeros(2, getattr(ml_dtypes, name))) is None


def test_a_tensor_is_taken_without_its_graph():
    tensor = torch.ones(2, requires_grad=True)
    found = to_tensor(tensor)
    assert not found.requires_grad
    assert found.data_ptr() == tensor.data_ptr()


def test_nothing_is_copied_without_need():
    array = VALUES.astype("float32")
    found = to_tensor(array)
    array[0, 0, 0] = 7
    assert found[0, 0, 0] == 7


def test_read_only_memory_is_not_shared():
    array = read_only(VALUES.astype("float32"))
    to_tensor(array)[0, 0, 0] = 7
    assert array[0, 0, 0] == 1


def test_no_layout_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for layout in ("read-only", "broadcast", "reversed"):
            to_tensor(LAYOUTS[layout](VALUES))


TENSORS = {
    "contiguous": torch.arange(24.0).view(2, 3, 4),
    "permuted": torch.arange(24.0).view(2, 3, 4).permute(2, 0, 1),
    "gradient": torch.arange(24.0).view(2, 3, 4).requires_grad_(),
    "half": torch.arange(24.0).view(2, 3, 4).half(),
    "double": torch.arange(24.0).view(2, 3, 4).double(),
    "0-d": torch.tensor(2.5),
    "parameter": torch.nn.Parameter(torch.arange(3.0)),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_to_array_is_a_contiguous_copy(tensor):
    before = tensor.tolist()
    array = to_numpy(tensor)
    assert array.tolist() == before
    assert str(array.dtype) == str(tensor.dtype).removeprefix("torch.")
    assert array.flags.c_contiguous
    assert array.flags.owndata
    assert array.flags.writeable
    array[...] = -1
    assert tensor.tolist() == before


def test_to_array_widens_bfloat16():
    tensor = torch.tensor([0.5, 1.25], dtype=torch.bfloat16)
    array = to_numpy(tensor)
    assert (array.dtype, array.tolist()) == (np.float32, [0.5, 1.25])


@pytest.mark.parametrize("layout", ["fortran", "reversed", "read-only"])
@pytest.mark.parametrize("code", ["<f4", ">f4", "<f8", "<i4", "g"])
def test_weights_are_copied_from_any_array(layout, code):
    layer = Conv2D(4, (1, 2), use_bias=False, input_shape=(5, 6, 3))
    array = LAYOUTS[layout](VALUES[None].astype(code))
    layer.set_weights([array])
    assert layer.get_weights()[0].tolist() == array.tolist()
    if array.flags.writeable:
        array[...] = 0
    assert layer.get_weights()[0].all()
