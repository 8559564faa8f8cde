"""Hostile tables: the index files of TensorFlow's checkpoints."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from io import BytesIO

from compat.security.hostile.parts import Place, checkpoint, members
from compat.security.hostile.tensorflow.parts import (
    HUGE,
    Pairs,
    Write,
    bundle_of,
    case,
    files_of,
    index_of,
    pairs_of,
)
from tests.formats.tensorflow_files import table
from tests.formats.tensorflow_files.protobuf import varint


def _block(change: Callable[[bytes], bytes], kind: int = 0) -> Write:
    """Return what writes an index whose only block is changed, with a right checksum."""

    def assemble(pairs: Pairs) -> bytes:
        data = change(table.block(pairs))
        return table.assemble([(b"z", table.seal(data, kind), len(data))])

    return index_of(assemble)


def _handles(handles: Callable[[int], list[tuple[int, int]]]) -> Write:
    """Return what writes an index that says where its blocks are, given the size of the one."""

    def assemble(pairs: Pairs) -> bytes:
        data = table.block(pairs)
        places = enumerate(handles(len(data)))
        inner = table.block([(b"z%06d" % k, table.handle(at)) for k, at in places], 1)
        empty, sealed = table.block([]), table.seal(data)
        ends = (len(sealed), len(empty)), (len(sealed) + len(empty) + 5, len(inner))
        return sealed + table.seal(empty) + table.seal(inner) + table.footer(*ends)

    return index_of(assemble)


def _footer(index: tuple[int, int] | bytes, magic: bytes = table.MAGIC) -> Write:
    """Return what writes an index whose footer says where the handles are."""

    def assemble(pairs: Pairs) -> bytes:
        data = table.table(pairs)[:-48]
        if isinstance(index, bytes):
            return data + (b"\0\0" + index).ljust(40, b"\0")[:40] + magic
        return data + table.footer((0, 8), index, magic)

    return index_of(assemble)


def _cut(size: int) -> Write:
    return index_of(lambda pairs: table.table(pairs)[:size])


def _quadratic(count: int) -> bytes:
    """Return a block of keys that grow by a byte each, and take two bytes each."""
    entries = b"".join(table.entry(number, b"k", b"") for number in range(count))
    return table.close_block(entries, [0])


def _snappy(data: bytes) -> bytes:
    """Return a block as snappy stores it: its size, and a literal of all its bytes."""
    return varint(len(data)) + b"\xf0" + bytes([len(data) - 1]) + data


def _longer_value(data: bytes) -> bytes:
    return table.close_block(table.entry(0, b"", b"", HUGE) + data[:-8], [0])


def _polyglot(files: dict[str, bytes], place: Place) -> None:
    """Put an archive before the index, and have the index in the archive's comment."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members().items():
            file.writestr(name, data)
    start = len(buffer.getvalue())
    pairs = checkpoint().bundle().pairs()
    data = table.block(pairs)
    inner = table.block([(b"z", table.handle((start, len(data))))], 1)
    empty = table.block([])
    blocks = table.seal(data) + table.seal(inner) + table.seal(empty)
    at = start + len(data) + 5
    ends = (at + len(inner) + 5, len(empty)), (at, len(inner))
    comment = blocks + table.footer(*ends)
    archive = buffer.getvalue()[:-2] + struct.pack("<H", len(comment))
    files[".index"] = archive + comment


CASES = (
    case("magic", "is no table", _footer((0, 8), b"\0" * 8)),
    case("short", "is cut off", _cut(47)),
    case("half", "is cut off", _cut(200)),
    case("only_footer", "has no blocks", index_of(lambda _: table.footer((0, 0), (0, 0)))),
    case("no_blocks", "has no blocks", index_of(lambda _: table.assemble([]))),
    case("no_entries", "has no entries", pairs_of(lambda _: [])),
    case("index_footer", "has its footer for a block", _footer((220, 48))),
    case("index_beyond", "begins behind the end", _footer((HUGE, 8))),
    case("index_huge", "allocates what a table declares", _footer((0, HUGE))),
    case("index_largest", "overflows", _footer((2**64 - 1, 2**64 - 1))),
    case("index_varint", "overflows", _footer(b"\xff" * 12)),
    case("index_data", "has its data for the places of its blocks", _footer((0, 200))),
    case("block_huge", "allocates what a table declares", _handles(lambda _: [(0, HUGE)])),
    case("block_beyond", "begins behind the end", _handles(lambda _: [(HUGE, 8)])),
    case("block_twice", "has one block twice", _handles(lambda size: [(0, size)] * 2)),
    case("block_often", "spends time on one block", _handles(lambda size: [(0, size)] * 5000)),
    case("block_overlap", "has two blocks in one place",
         _handles(lambda size: [(0, size), (8, size - 8)])),
    case("restarts", "has more places to start from than bytes",
          _block(lambda data: data[:-4] + struct.pack("<I", 2**32 - 1))),
    case("restarts_beyond", "starts behind the end",
          _block(lambda data: data[:-8] + struct.pack("<II", 2**31, 1)), "never"),
    case("restarts_none", "has no place to start from",
          _block(lambda data: data[:-8] + struct.pack("<I", 0)), "never"),
    case("shared", "takes more of a key than there is",
          _block(lambda data: table.close_block(table.entry(9, b"k", b"") + data[:-8], [0]))),
    case("shared_huge", "overflows",
          _block(lambda data: table.close_block(table.entry(2**63, b"k", b"") + data[:-8], [0]))),
    case("value_huge", "allocates what a table declares", _block(_longer_value)),
    case("varint_long", "never ends a number",
          _block(lambda data: table.close_block(b"\xff" * 20 + data[:-8], [0]))),
    case("quadratic", "allocates a thousandfold, by keys that grow",
          _block(lambda _: _quadratic(20_000))),
    case("long_key", "fills messages and memory",
          pairs_of(lambda pairs: [*pairs, (b"z" * 2**20, pairs[1][1])]), "never"),
    case("unordered", "has keys out of order", pairs_of(lambda pairs: [pairs[0], *pairs[:0:-1]])),
    case("twice", "has two entries of one key", pairs_of(lambda pairs: [*pairs, pairs[-1]])),
    case("twice_apart", "has two entries of one key, in two blocks",
          pairs_of(lambda pairs: [*pairs, pairs[-1]], most=1)),
    case("no_header", "has no header", pairs_of(lambda pairs: pairs[1:])),
    case("key_bytes", "has a key that is no text",
          pairs_of(lambda pairs: [*pairs, (b"\xff\xfe", pairs[1][1])]), "never"),
    case("crc", "is damaged", bundle_of(lambda _: None, crc=7)),
    case("snappy", "is packed", _block(_snappy, 1)),
    case("kind", "is packed by no known method", _block(lambda data: data, 2)),
    case("polyglot", "is an archive, too", files_of(_polyglot)),
)  # fmt: skip
