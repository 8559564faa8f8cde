"""Changes that make an HDF5 file hostile."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z

from compat.security.hostile.parts import BIAS, KERNEL, Place, legacy, tree, weights

DATA = "layers/conv2d/vars"
TARGET = f"{DATA}/0"
Change = Callable[[h5py.File, Place], object]


def _tree(change: Change, **options: Any) -> Callable[[Place], None]:
    """Return what writes a Keras 3 weight file and changes it."""

    def write(place: Place) -> None:
        with tree(place.path, **options) as file:
            change(file, place)

    return write


def _legacy(change: Change) -> Callable[[Place], None]:
    """Return what writes a legacy file and changes it."""

    def write(place: Place) -> None:
        with legacy(place.path) as file:
            change(file, place)

    return write


def _instead(make: Callable[[h5py.Group, str, Place], object]) -> Callable[[Place], None]:
    """Return what writes a Keras 3 weight file with another object for the kernel."""

    def change(file: h5py.File, place: Place) -> None:
        del file[TARGET]
        make(file[DATA], "0", place)

    return _tree(change)


def _as(value: Any, **options: Any) -> Callable[[Place], None]:
    return _instead(lambda group, name, _: group.create_dataset(name, data=value, **options))


def _linked(link: Callable[[Place], Any], at: str = TARGET) -> Callable[[Place], None]:
    def change(file: h5py.File, place: Place) -> None:
        del file[at]
        file[at] = link(place)

    return _tree(change)


def _legacy_linked(link: Callable[[Place], Any]) -> Callable[[Place], None]:
    def change(file: h5py.File, place: Place) -> None:
        file.move("model_weights", "elsewhere")
        file["model_weights"] = link(place)

    return _legacy(change)


def _declared(*shape: int, chunks: Any = None, alloc: int | None = None) -> Callable[[Place], None]:
    """Return what writes a kernel of that shape without any of its data."""

    def make(group: h5py.Group, name: str, _: Place) -> None:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_fill_time(h5d.FILL_TIME_NEVER)
        if chunks:
            properties.set_chunk(chunks)
        else:
            properties.set_alloc_time(h5d.ALLOC_TIME_LATE)
        space = h5s.create_simple(shape)
        h5d.create(group.id, name.encode(), h5t.IEEE_F32LE, space, properties)

    return _instead(make)


def _of_type(make_type: Callable[[], Any], shape: tuple[int, ...]) -> Callable[[Place], None]:
    """Return what writes a kernel of a type that only HDF5 knows."""

    def make(group: h5py.Group, name: str, _: Place) -> None:
        h5d.create(group.id, name.encode(), make_type(), h5s.create_simple(shape))

    return _instead(make)


def _odd_float() -> Any:
    kind = h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 20, 11, 0, 20)
    kind.set_ebias(1023)
    return kind


def _odd_integer() -> Any:
    kind = h5t.STD_I32LE.copy()
    kind.set_precision(31)
    return kind


def _committed(group: h5py.Group, name: str, _: Place) -> None:
    group.file["type"] = np.dtype("float32")
    group.create_dataset(name, data=KERNEL, dtype=group.file["type"])


def _external(group: h5py.Group, name: str, place: Place) -> None:
    stored = [(str(place.secret), 0, h5py.h5f.UNLIMITED)]
    group.create_dataset(name, KERNEL.shape, "float32", external=stored)


def _virtual(group: h5py.Group, name: str, place: Place) -> None:
    layout = h5py.VirtualLayout(KERNEL.shape, "float32")
    layout[:] = h5py.VirtualSource(place.outside / "secret.h5", TARGET, KERNEL.shape)
    group.create_virtual_dataset(name, layout)


def _filtered(number: int, *values: int) -> Callable[[Place], None]:
    """Return what writes a kernel that claims a filter, whether or not there is one."""

    def make(group: h5py.Group, name: str, _: Place) -> None:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_chunk(KERNEL.shape)
        properties.set_filter(number, h5z.FLAG_OPTIONAL, values)
        space = h5s.create_simple(KERNEL.shape)
        made = h5d.create(group.id, name.encode(), h5t.IEEE_F32LE, space, properties)
        h5py.Dataset(made).id.write_direct_chunk((0, 0, 0, 0), KERNEL.tobytes(), 0)

    return _instead(make)


def _deflated(chunks: int) -> Callable[[Place], None]:
    """Return what writes chunks of 16 MiB of zeros, each deflated to 16 KiB."""

    def make(group: h5py.Group, name: str, _: Place) -> None:
        length = 4 << 20
        made = group.create_dataset(
            name, (chunks * length,), "float32", chunks=(length,), compression="gzip"
        )
        packed = zlib.compress(bytes(4 * length), 9)
        for number in range(chunks):
            made.id.write_direct_chunk((number * length,), packed, 0)

    return _instead(make)


def _bad_chunk(group: h5py.Group, name: str, _: Place) -> None:
    made = group.create_dataset(
        name, KERNEL.shape, "float32", chunks=KERNEL.shape, compression="gzip"
    )
    made.id.write_direct_chunk((0, 0, 0, 0), b"\x78\x9c no deflated data", 0)


def _deep(file: h5py.File, _: Place) -> None:
    group = file["layers"]
    for _ in range(1500):
        group = group.create_group("layers")


def _wide(file: h5py.File, _: Place) -> None:
    for number in range(1500):
        file.create_group(f"layers/conv2d_{number}")


def _attributes(file: h5py.File, _: Place) -> None:
    for number in range(1500):
        file[DATA].attrs[f"a{number}"] = number


def _large_attribute(file: h5py.File, _: Place) -> None:
    file[DATA].attrs.create("name", np.zeros(8 << 20, "u1"))


def _named(attribute: str, value: Any, at: str = "model_weights") -> Callable[[Place], None]:
    """Return what writes a legacy file with another list of names."""

    def change(file: h5py.File, _: Place) -> None:
        del file[at].attrs[attribute]
        file[at].attrs[attribute] = value

    return _legacy(change)


def _through(link: Callable[[Place], Any]) -> Callable[[Place], None]:
    """Return what writes a legacy file whose kernel's name leads through a link."""

    def change(file: h5py.File, place: Place) -> None:
        group = file["model_weights/conv2d"]
        group["way"] = link(place)
        group.attrs["weight_names"] = np.array([b"way/layers/conv2d/vars/0", b"conv2d/bias:0"])

    return _legacy(change)


def _chunked_names(file: h5py.File, _: Place) -> None:
    group = file["model_weights"]
    del group.attrs["layer_names"]
    for number in (0, 2, 10**9):
        group.attrs[f"layer_names{number}"] = np.array([b"conv2d"])


def _edited(change: Callable[[bytes], bytes]) -> Callable[[Place], object]:
    """Return what writes a genuine Keras 3 weight file with other bytes."""
    return lambda place: place.path.write_bytes(change(weights()))


def _beyond(data: bytes) -> bytes:
    """Return the file with the kernel's address behind its end."""
    address = data.index(KERNEL.tobytes()).to_bytes(8, "little")
    return data.replace(address, (1 << 40).to_bytes(8, "little"))


def _overlapping(data: bytes) -> bytes:
    """Return the file with the bias where the kernel is."""
    kernel, bias = (data.index(array.tobytes()).to_bytes(8, "little") for array in (KERNEL, BIAS))
    return data.replace(bias, kernel)


def _one_text(place: Place) -> None:
    """Write a legacy file whose layers' names are all one text of a mebibyte, in one place."""
    text = h5py.string_dtype()
    with legacy(place.path) as file:
        del file["model_weights"].attrs["layer_names"]
        names = np.array(["n" * (1 << 20), *["x"] * 3999], object)
        file["model_weights"].attrs.create("layer_names", names, dtype=text)
    data = place.path.read_bytes()
    at = data.index((1 << 20).to_bytes(4, "little"))
    while data[at + 16 : at + 20] != (1).to_bytes(4, "little"):
        at = data.index((1 << 20).to_bytes(4, "little"), at + 1)
    place.path.write_bytes(data[:at] + data[at : at + 16] * 4000 + data[at + 16 * 4000 :])


def _pipe(place: Place) -> None:
    os.mkfifo(place.path)


def _soft(target: str) -> Callable[[Place], Any]:
    return lambda _: h5py.SoftLink(target)


def _outer(target: str) -> Callable[[Place], Any]:
    return lambda place: h5py.ExternalLink(str(place.outside / "secret.h5"), target)


_reference = h5py.special_dtype(ref=h5py.Reference)
_region = h5py.special_dtype(ref=h5py.RegionReference)
