"""Hostile HDF5 files: what links, datasets, types and attributes may claim."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z

from compat.security.hostile.parts import BIAS, KERNEL, Case, Place, legacy, tree, weights

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
_BOMB, _LINK = "allocates what a shape declares", "reads another file's data"

CASES = (
    # Shapes
    Case("shape_8pib.weights.h5", "CVE-2026-0897", _BOMB,
         _declared(2**20, 2**20, 2**11, chunks=(64, 64, 64))),
    Case("shape_4gib.weights.h5", "residual", "allocates 4 GiB, which a limit of as much allows",
         _declared(2**30, chunks=(1024,))),
    Case("late_allocation.weights.h5", "CVE-2026-12570", _BOMB, _declared(2**40)),
    Case("late_small.weights.h5", "residual", "has a kernel without data",
         _declared(*KERNEL.shape)),
    Case("no_elements.weights.h5", "residual", "has an axis of no length beside a huge one",
         _declared(0, 2**60, 3, 2)),
    Case("beyond_end.weights.h5", "residual", "reads behind the file's end", _edited(_beyond)),
    Case("overlapping.weights.h5", "residual", "reads the same bytes twice",
         _edited(_overlapping), "never"),
    # Links and other files
    Case("external_storage.weights.h5", "CVE-2026-1669", "reads any local file",
         _instead(_external)),
    Case("external_link.weights.h5", "CVE-2026-1669", _LINK, _linked(_outer(TARGET))),
    Case("external_group.weights.h5", "CVE-2026-1669", _LINK,
         _linked(_outer("layers"), "layers")),
    Case("external_vars.weights.h5", "CVE-2026-1669", _LINK, _linked(_outer(DATA), DATA)),
    Case("soft_link.weights.h5", "CVE-2026-1669", "reads another object",
         _linked(_soft(f"/{DATA}/1"))),
    Case("soft_group.weights.h5", "CVE-2026-1669", "reads another object",
         _linked(_soft("/"), "layers/conv2d")),
    Case("virtual.weights.h5", "keras#22976", _LINK, _instead(_virtual)),
    Case("external_model.h5", "GHSA-27f4-p4xq-cxg8", _LINK, _legacy_linked(_outer("/"))),
    Case("soft_model.h5", "GHSA-27f4-p4xq-cxg8", "reads another object",
         _legacy_linked(_soft("/elsewhere"))),
    Case("name_through_link.h5", "GHSA-27f4-p4xq-cxg8", _LINK, _through(_outer("/"))),
    Case("name_through_soft.h5", "GHSA-27f4-p4xq-cxg8", "reads another object",
         _through(_soft("/"))),
    Case("cycle.weights.h5", "residual", "never finds the end of the tree",
         _tree(lambda file, _: file["layers"].__setitem__("layers", file["layers"]))),
    Case("cycle_root.weights.h5", "residual", "never finds the end of the tree",
         _tree(lambda file, _: file["layers"].__setitem__("root", file["/"]))),
    Case("shared_vars.weights.h5", "residual", "has two layers with one group",
         _tree(lambda file, _: file.__setitem__("layers/conv2d_1", file["layers/conv2d"]))),
    # Types
    Case("text.weights.h5", "residual", "reads pointers", _as(["x"] * 54)),
    Case("objects.weights.h5", "residual", "reads pointers",
         _as(np.array(["x", "y"], object), dtype=h5py.string_dtype())),
    Case("lists.weights.h5", "residual", "reads pointers",
         _instead(lambda g, n, _: g.create_dataset(n, (4,), h5py.vlen_dtype("float32")))),
    Case("references.weights.h5", "residual", "reads pointers",
         _instead(lambda g, n, _: g.create_dataset(n, (4,), _reference))),
    Case("regions.weights.h5", "residual", "reads pointers",
         _instead(lambda g, n, _: g.create_dataset(n, (4,), _region))),
    Case("compound.weights.h5", "residual", "has fields",
         _as(np.zeros(4, [("a", "f4"), ("b", "f4")]))),
    Case("subarray.weights.h5", "residual", "has arrays for elements",
         _instead(lambda g, n, _: g.create_dataset(n, (3, 3), np.dtype("(3,2)f4")))),
    Case("enum.weights.h5", "residual", "has names for numbers",
         _as(np.zeros(KERNEL.shape, "i4"), dtype=h5py.enum_dtype({"A": 0, "B": 1}, "i4"))),
    Case("complex.weights.h5", "residual", "has complex numbers", _as(KERNEL.astype("complex64"))),
    Case("opaque.weights.h5", "residual", "has bytes without a type", _as(np.zeros(54, "V7"))),
    Case("bits.weights.h5", "residual", "has bits",
         _of_type(lambda: h5t.STD_B32LE, KERNEL.shape)),
    Case("odd_float.weights.h5", "residual", "has floats of another make",
         _of_type(_odd_float, KERNEL.shape)),
    Case("odd_integer.weights.h5", "residual", "has integers of 31 bits",
         _of_type(_odd_integer, KERNEL.shape)),
    Case("committed.weights.h5", "residual", "has a type that is an object of its own",
         _instead(_committed)),
    Case("no_shape.weights.h5", "residual", "has a kernel of no shape", _as(h5py.Empty("f4"))),
    # Filters
    Case("unknown_filter.weights.h5", "residual", "makes HDF5 look for a plug-in to load",
         _filtered(32999, 1, 2)),
    Case("szip.weights.h5", "residual", "decodes by rare code", _filtered(4, 4, 4)),
    Case("scale_offset.weights.h5", "residual", "decodes by rare code",
         _instead(lambda g, n, _: g.create_dataset(
             n, data=KERNEL.astype("i4"), chunks=KERNEL.shape, scaleoffset=0))),
    Case("deflated_bomb.weights.h5", "CVE-2026-12570", "inflates a megabyte to a gigabyte",
         _deflated(64)),
    Case("bad_deflate.weights.h5", "residual", "has a chunk that cannot be inflated",
         _instead(_bad_chunk)),
    # Structure
    Case("group_for_data.weights.h5", "residual", "has a group for an array",
         _instead(lambda group, name, _: group.create_group(name))),
    Case("data_for_group.weights.h5", "residual", "has an array for a group",
         _tree(lambda file, _: (file.__delitem__("layers"), file.__setitem__("layers", KERNEL)))),
    Case("odd_key.weights.h5", "residual", "has an array beside the numbered ones",
         _tree(lambda file, _: file[DATA].__setitem__("..", BIAS))),
    Case("gap.weights.h5", "residual", "lacks the first array",
         _tree(lambda file, _: file.move(TARGET, f"{DATA}/7"))),
    Case("deep.weights.h5", "residual", "exhausts the stack", _tree(_deep)),
    Case("wide.weights.h5", "residual", "has fifteen hundred layers", _tree(_wide), "never"),
    Case("attributes.weights.h5", "residual", "has fifteen hundred attributes",
         _tree(_attributes, libver="latest"), "never"),
    Case("large_attribute.weights.h5", "residual", "has a name of eight mebibytes",
         _tree(_large_attribute, libver="latest"), "never"),
    Case("user_block.weights.h5", "residual", "begins with other bytes than HDF5's",
         _tree(lambda file, _: None, userblock_size=512)),
    # Names
    Case("names_repeated.h5", "residual", "reads one layer four thousand times",
         _named("layer_names", np.array([b"conv2d"] * 4000))),
    Case("weights_repeated.h5", "residual", "reads one array three thousand times",
         _named("weight_names", np.array([b"conv2d/kernel:0"] * 3000), "model_weights/conv2d")),
    Case("names_in_one_place.h5", "residual", "inflates one text of a mebibyte to four gibibytes",
         _one_text),
    Case("names_absent.h5", "residual", "names a layer that is not there",
         _named("layer_names", np.array([b"conv2d", b"nowhere"]))),
    Case("names_parent.h5", "residual", "leads out of the group",
         _named("weight_names", np.array([b"../conv2d/conv2d/kernel:0", b"/"]),
                "model_weights/conv2d")),
    Case("names_absolute.h5", "residual", "leads out of the group",
         _named("layer_names", np.array([b"/model_weights/conv2d"]))),
    Case("names_empty.h5", "residual", "names the group itself",
         _named("layer_names", np.array([b"", b"."]))),
    Case("names_numbers.h5", "residual", "has numbers for names",
         _named("layer_names", np.arange(3.0))),
    Case("names_undecodable.h5", "residual", "has names that are no text",
         _named("layer_names", np.array([b"\xff\xfe"]))),
    Case("names_references.h5", "residual", "has references for names",
         _legacy(lambda file, _: file["model_weights"].attrs.__setitem__("layer_names", file.ref))),
    Case("names_in_parts.h5", "residual", "lacks parts of its list of names",
         _legacy(_chunked_names)),
    # Bytes
    Case("half.weights.h5", "residual", "is cut off", _edited(lambda data: data[: len(data) // 2])),
    Case("last_byte.weights.h5", "residual", "is cut off", _edited(lambda data: data[:-1])),
    Case("signature.h5", "residual", "is cut off", _edited(lambda data: data[:8])),
    Case("superblock.h5", "residual", "is cut off", _edited(lambda data: data[:96])),
    Case("longer.weights.h5", "residual", "has bytes behind its end",
         _edited(lambda data: data + b"x" * 4096), "never"),
    Case("pipe.h5", "residual", "never ends", _pipe),
)  # fmt: skip
