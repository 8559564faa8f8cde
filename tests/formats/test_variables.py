"""Weights that are pickled Keras objects: read as data where that is asked for, refused else."""

import io
import json
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch

from kerastorch._core.errors import FileError
from kerastorch.saving.formats.open import open_contents
from tests.formats.keras_files import CONFIG

STAND_IN = f"c{__name__}\nVariable\n".encode()
KERAS_NAME = b"ckeras.src.backend\nVariable\n"
SAVE = "Save it again with Keras: model.save('model.keras')."
NUMBERS = {
    str(kind): torch.arange(12).remainder(2 if kind is torch.bool else 100).to(kind).view(3, 1, 4)
    for kind in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
    )
}


class Variable:
    """Stands in for Keras's."""

    def __init__(self, value):
        self._name, self._shape, self._regularizer, self._value = "kernel", (2,), None, value


def pickled(layer):
    """Return a member whose variables are Keras's; protocol 3 has names without lengths."""
    data = pickle.dumps(np.array(layer, object), 3).replace(STAND_IN, KERAS_NAME)
    head = "{'descr': '|O', 'fortran_order': False, 'shape': ()}\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + data


def variables(*values):
    return pickled({str(i): Variable(value) for i, value in enumerate(values)})


def archive(path, members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(CONFIG))
        file.writestr("metadata.json", '{"keras_version": "3.8.0"}')
        file.writestr("model.weights.npz", buffer.getvalue())
    return path


def read(path):
    with open_contents(path, pickles=True) as contents:
        return {w.path: w.read() for layer in contents.layers for w in layer.weights}


def refusal(path, **options):
    with pytest.raises(FileError) as caught, open_contents(path, **options):
        pass
    return str(caught.value).removeprefix(f"{path}: model.weights.npz: ")


@pytest.mark.parametrize("parameter", [False, True])
@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_numbers_of_every_type(value, parameter, tmp_path):
    given = torch.nn.Parameter(value, requires_grad=False) if parameter else value
    path = archive(tmp_path / "m.keras", {"layers/dense.npy": variables(given, value[1:])})
    found = read(path)
    assert list(found) == ["layers/dense/vars/0", "layers/dense/vars/1"]
    for left, right in zip(found.values(), (value, value[1:]), strict=True):
        assert left.dtype is right.dtype and torch.equal(left, right)


def test_numbers_without_axes_and_without_numbers(tmp_path):
    values = torch.tensor(3), torch.zeros(3, 0), torch.zeros(0)
    path = archive(tmp_path / "m.keras", {"layers/a.npy": variables(*values)})
    for left, right in zip(read(path).values(), values, strict=True):
        assert torch.equal(left, right)


def test_the_name_that_variables_had_early(tmp_path):
    early = b"ckeras.src.backend.torch.core\nVariable\n"
    data = variables(torch.arange(3.0)).replace(KERAS_NAME, early)
    assert early in data
    (found,) = read(archive(tmp_path / "m.keras", {"layers/a.npy": data})).values()
    assert found.tolist() == [0, 1, 2]


def test_the_tree(tmp_path):
    one = torch.arange(3.0)
    members = {
        "__root__.npy": variables(one),
        "layers/functional/layers/dense.npy": variables(one * 2),
        "layers/functional.npy": pickled({}),
        "layers/flatten.npy": pickled({}),
        "optimizer.npy": b"is not looked at",
    }
    with open_contents(archive(tmp_path / "m.keras", members), pickles=True) as contents:
        found = {
            layer.path: [w.read().tolist() for w in layer.weights] for layer in contents.layers
        }
        assert contents.layout == "tree" and contents.version == "3.8.0"
        assert contents.config == CONFIG and contents.ignored == ("optimizer",)
    assert found == {
        "": [[0, 1, 2]],
        "layers/functional/layers/dense": [[0, 2, 4]],
        "layers/functional": [],
        "layers/flatten": [],
    }


def test_it_is_refused_where_nobody_asked_for_it(tmp_path):
    path = archive(tmp_path / "m.keras", {"layers/a.npy": variables(torch.zeros(2))})
    assert refusal(path) == (
        "weights as pickled Keras objects, which are not read. Pass pickles=True: then arrays are "
        "read from them, and nothing is called."
    )


def call():
    CALLED.append(1)


CALLED = []


class Calling:
    """Calls a function, were it unpickled."""

    def __reduce__(self):
        return call, ()


def without(before, after):
    data = variables(torch.arange(6.0).view(2, 3))
    assert before in data
    return data.replace(before, after)


REFUSED = {
    "call": (pickled({"0": Calling()}), "Found: the name"),
    "value": (variables("x"), "Found: a variable without a value"),
    "no variable": (pickled({"0": 1}), "layers/a.npy: '0': no variable"),
    "key": (pickled({"a/b": Variable(torch.zeros(2))}), "layers/a.npy: 'a/b': no variable"),
    "no dict": (pickled([1]), "no pickled dict of a layer's variables"),
    "no header": (np.zeros(2).tobytes(), "no .npy file"),
    "order": (variables(torch.zeros(2, 3).T), "whose last axis is not the fastest in memory"),
    "class": (without(KERAS_NAME, b"cos\nVariable\n"), "Found: the name 'os', 'Variable'"),
    "function": (without(b"tensor_v2", b"tensor_v3"), "'torch._utils', '_rebuild_tensor_v3'"),
    "storage": (without(b"FloatStorage", b"FloatStorags"), "the name 'torch', 'FloatStorags'"),
    "size": (without(b"FloatStorage", b"ShortStorage"), "24 bytes for 6 numbers of <i2"),
    "endian": (without(b"endianq\x02\x88", b"endianq\x02\x89"), "or from another machine"),
    "magic": (without(b"\x8a\nl\xfc", b"\x8a\nl\xfd"), "a file of torch's of another version"),
    "word": (without(b"storageq", b"storagfq"), "something else than one storage"),
    "shape": (without(b"K\x02K\x03\x86", b"K\x09K\x03\x86"), "beyond the end of its storage"),
    "offset": (without(b"K\x00K\x02K\x03", b"K\x05K\x02K\x03"), "beyond the end of its storage"),
    "cut": (variables(torch.zeros(2))[:-9], "a pickle of something else than a layer's variables"),
}


@pytest.mark.parametrize("data, said", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(data, said, tmp_path):
    path = archive(tmp_path / "m.keras", {"layers/a.npy": data})
    assert said in refusal(path, pickles=True)
    assert not CALLED


def test_the_call_that_is_refused_would_be_made():
    pickle.loads(pickle.dumps(Calling()))
    assert CALLED == [1]
    CALLED.clear()


def test_members_that_are_no_layers(tmp_path):
    one = variables(torch.zeros(2))
    for name in ("layers/a.txt", "layers/vars/a.npy", "a/" * 40 + "a.npy"):
        path = archive(tmp_path / "m.keras", {name: one})
        assert refusal(path, pickles=True) == (
            f"{name!r}: a member that is no layer of an archive as NumPy writes it. {SAVE}"
        )
    path = archive(tmp_path / "m.keras", {"layers/a.npy": one}, zipfile.ZIP_DEFLATED)
    assert "'layers/a.npy': a member that is no layer" in refusal(path, pickles=True)


def test_every_cut_and_every_changed_byte_is_refused_or_harmless(tmp_path):
    data = variables(torch.arange(6.0).view(2, 3))
    start = data.index(b"\x80")
    path = tmp_path / "m.keras"
    for at in range(start, len(data), 7):
        for changed in (data[:at], data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :]):
            archive(path, {"layers/a.npy": changed})
            try:
                found = read(path)
            except FileError as error:
                assert re.match(re.escape(f"{path}: model.weights.npz: "), str(error))
            else:
                assert sum(value.numel() for value in found.values()) <= 6
