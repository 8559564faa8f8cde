"""Hostile entries and headers of TensorFlow's checkpoints."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from compat.security.hostile.tensorflow.parts import (
    BIAS_KEY,
    HUGE,
    KERNEL_KEY,
    Write,
    bundle_of,
    case,
    pairs_of,
)
from tests.formats.tensorflow_files import table
from tests.formats.tensorflow_files.bundle import (
    CRC,
    DTYPE,
    GRAPH,
    OFFSET,
    SHAPE,
    SHARD,
    SIZE,
    SLICES,
    Bundle,
    pack,
)
from tests.formats.tensorflow_files.protobuf import Wire, changed, fixed32, varint

_ALLOCATES = "allocates what an entry declares"


def _entry(*fields: tuple[int, Any], key: str = KERNEL_KEY) -> Write:
    """Return what writes a checkpoint in which fields of an entry have other values."""

    def change(found: Bundle) -> None:
        for number, value in fields:
            values = () if value is None else (value,)
            found.entries[key] = changed(found.entries[key], number, *values)

    return bundle_of(change)


def _shape(*sizes: int) -> Write:
    return _entry((SHAPE, [(2, [(1, size)]) for size in sizes]))


def _added(*fields: tuple[int, Any]) -> Write:
    """Return what writes a checkpoint whose entry of the kernel has more fields behind it."""
    return bundle_of(lambda found: found.entries[KERNEL_KEY].extend(fields))


def _header(*fields: tuple[int, Any]) -> Write:
    return bundle_of(lambda found: setattr(found, "header", list(fields)))


def _raw_entry(data: bytes) -> Write:
    """Return what writes a checkpoint whose entry of the kernel is any bytes."""
    return pairs_of(lambda pairs: [(k, data if k == KERNEL_KEY.encode() else v) for k, v in pairs])


def _amplified(found: Bundle) -> None:
    entry = found.entries[KERNEL_KEY]
    found.entries.update({f"many/{number}": entry for number in range(20_000)})


def _empty_arrays(found: Bundle) -> None:
    entry = pack({"x": np.zeros((0, 3), "float32")}).entries["x"]
    found.entries.update({f"many/{number}": entry for number in range(20_000)})


def _long_key(found: Bundle) -> None:
    """Add an array with a long key, whose bytes belong to another array."""
    found.entries["k" * 4000] = found.entries[KERNEL_KEY]


def _hidden(found: Bundle) -> None:
    found.entries["hidden"] = changed(pack({"x": np.zeros((0, 3), "float32")}).entries["x"], 4, 224)


def _overlapping(found: Bundle) -> None:
    fields = found.entries[BIAS_KEY]
    data = found.shards[0][208:216]
    fields = changed(changed(fields, OFFSET, 208), CRC, fixed32(table.masked_crc32c(data)))
    found.entries[BIAS_KEY] = fields


def _truth(found: Bundle) -> None:
    """Make the kernel an array of truth values, one of which is 2."""
    data = b"\x02" + bytes(53)
    crc = fixed32(table.masked_crc32c(data))
    for number, value in ((DTYPE, 10), (SIZE, 54), (CRC, crc)):
        found.entries[KERNEL_KEY] = changed(found.entries[KERNEL_KEY], number, value)
    found.shards[0] = data + found.shards[0][54:]


CASES = (
    case("size_huge", _ALLOCATES, _entry((SIZE, HUGE))),
    case("size_and_shape", _ALLOCATES, _entry((SIZE, HUGE), (SHAPE, [(2, [(1, 2**38)])]))),
    case("size_negative", "overflows", _entry((SIZE, -1))),
    case("size_short", "has fewer bytes than its shape", _entry((SIZE, 212))),
    case("offset_huge", "overflows", _entry((OFFSET, 2**63))),
    case("offset_negative", "reads before the start", _entry((OFFSET, -216))),
    case("shape_huge", _ALLOCATES, _shape(2**62)),
    case("shape_overflow", _ALLOCATES, _shape(2**32, 2**32, 54)),
    case("shape_negative", "has a negative size", _shape(-1)),
    case("shape_negatives", "has two negative sizes", _shape(-54, -1)),
    case("shape_empty", "has an axis of no length beside a huge one", _shape(0, 2**62)),
    case("shape_axes", "allocates an axis for each two bytes", _shape(*[1] * 100_000)),
    case("shape_unknown", "has no shape", _entry((SHAPE, [(3, 1)]))),
    case("shape_other", "has another shape", _shape(3, 3, 2, 3), "by a module"),
    *(case(f"dtype_{name}", "has text or handles for numbers", _entry((DTYPE, number)),
           "by a module")
      for name, number in (("none", None), ("zero", 0), ("string", 7), ("complex", 8),
                           ("resource", 20), ("variant", 21), ("ref", 101), ("huge", 2**31))),
    case("truth", "has a truth value of 2", bundle_of(_truth)),
    case("shard_other", "names a file that is not there", _entry((SHARD, 1))),
    case("shard_huge", "names a file by any number", _entry((SHARD, 2**31 - 1))),
    case("shard_negative", "names a file by any number", _entry((SHARD, -1))),
    case("slices", "is in parts", _added((SLICES, [(1, [(1, 0), (2, 3)])]))),
    case("crc_none", "has no checksum", _entry((CRC, None))),
    case("crc_other", "is damaged", _entry((CRC, fixed32(0)))),
    case("crc_varint", "has a number of another kind", _entry((CRC, 7))),
    case("field_twice", "says two things in one entry", _added((SIZE, 216), (SIZE, 8)), "never"),
    case("field_unknown", "says what no reader knows", _added((15, b"x")), "never"),
    case("field_zero", "has a field of no number", _added((0, 1))),
    case("dtype_bytes", "has bytes for a number", _entry((DTYPE, b"\x01"))),
    case("size_fixed", "has a number of another kind",
          _entry((SIZE, Wire(1, struct.pack("<Q", 216))))),
    case("shape_number", "has a number for a shape", _entry((SHAPE, 3))),
    *(case(f"wire_{kind}", "has a field of no known kind", _added((9, Wire(kind, b""))))
      for kind in (3, 4, 6, 7)),
    case("entry_cut", "is cut off", _raw_entry(b"\x08\x01\x12\x7f\x00")),
    case("entry_length", "allocates what a field declares",
          _raw_entry(b"\x08\x01\x12" + varint(HUGE))),
    case("entry_varint", "never ends a number", _raw_entry(b"\x08" + b"\xff" * 40 + b"\x01")),
    case("entry_empty", "says nothing", _raw_entry(b""), "by a module"),
    case("entry_random", "is nothing", _raw_entry(np.random.default_rng(0).bytes(60))),
    case("amplified", "fills memory with one array, twenty thousand times",
          bundle_of(_amplified)),
    case("empty_arrays", "has twenty thousand arrays of nothing", bundle_of(_empty_arrays),
          "never"),
    case("overlap_long", "fills messages", bundle_of(_long_key)),
    case("overlap", "has two arrays in one place", bundle_of(_overlapping)),
    case("extra", "has an array that no object has",
          bundle_of(_hidden),
          "never"),
    # Headers
    case("header_empty", "says nothing of its files", _header()),
    case("shards_none", "has no files", _header((1, 0), (3, [(1, 1)]))),
    case("shards_huge", "names files by any number", _header((1, 2**31 - 1), (3, [(1, 1)]))),
    case("shards_negative", "names files by any number", _header((1, -1), (3, [(1, 1)]))),
    case("shards_bytes", "has bytes for a number", _header((1, b"\x01"))),
    case("big_endian", "has its bytes in another order",
          _header((1, 1), (2, 1), (3, [(1, 1)]))),
    case("later", "is for later readers", _header((1, 1), (3, [(1, 9), (2, 9)])), "never"),
    # The graph's text
    case("graph_huge", "allocates what a text declares", _entry((SIZE, 2**30), key=GRAPH)),
    case("graph_number", "has numbers for objects", _entry((DTYPE, 4), key=GRAPH)),
    case("graph_shape", "has many texts", _entry((SHAPE, [(2, [(1, 2)])]), key=GRAPH)),
    case("graph_texts", "allocates as many texts as a shape declares",
          _entry((SHAPE, [(2, [(1, HUGE)])]), key=GRAPH)),
)  # fmt: skip
