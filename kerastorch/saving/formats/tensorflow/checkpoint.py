"""A TensorFlow checkpoint: an index of arrays, and the files with their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from ...._core.errors import FileError
from ..byte_range import ByteRange, Progress
from ..npy import ArrayHeader, convert_read_errors, make_header, read_array, read_blocks
from ..weight_file import Weight
from .checksum import Checksum, compute_checksum
from .message import AGAIN, Message, read_varint
from .table import MOST_BYTES, read_table

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
INDEX = ".index"
_CODES = {  # TensorFlow's numbers of dtypes -> NumPy's codes
    1: "<f4", 2: "<f8", 3: "<i4", 4: "|u1", 5: "<i2", 6: "|i1", 9: "<i8", 10: "|b1",
    14: "|V2", 17: "<u2", 19: "<f2", 22: "<u4", 23: "<u8",
}  # fmt: skip
_STRING = 7
_MOST_SHARDS = 500  # of open files
_MOST_AXES = 32
_MOST_GRAPH = 64 << 20
_CHANGED = (
    "the file is damaged, or version control changed the ends of its lines: download it again"
)


@dataclass(frozen=True)
class Entry:
    """Where the bytes of an array are."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """Reads an array whose checksum is known."""

    where: str
    header: ArrayHeader
    window: ByteRange
    offset: int
    checksum: int
    progress: Progress | None

    def __call__(self) -> Tensor:
        """Read the array into a new tensor."""
        found = Checksum()
        place = self.where, self.header, self.window, self.offset, self.progress
        array = read_array(*place, found.update)
        self._check(found)
        return array

    def blocks(self) -> Iterator[Tensor]:
        """Yield its rows in order, in blocks of about a megabyte; the checksum is checked last."""
        found = Checksum()
        place = self.where, self.header, self.window, self.offset, self.progress
        yield from read_blocks(*place, found.update)
        self._check(found)

    def _check(self, found: Checksum) -> None:
        if found.masked != self.checksum:
            what = f"its checksum differs from that of its bytes: {_CHANGED}"
            raise FileError(f"{self.where}: {what}.")


class Checkpoint:
    """The arrays of a checkpoint by their keys; `open_file` opens a file beside the index."""

    def __init__(
        self,
        source: str,
        prefix: str,
        open_file: Callable[[str], ByteRange],
        progress: Progress | None,
    ) -> None:
        self.source, self.progress = source, progress
        index = open_file(f"{prefix}{INDEX}")
        where = f"{source}: {prefix}{INDEX}"
        if index.size > MOST_BYTES:
            raise FileError(f"{where}: an index of more than {MOST_BYTES} bytes.")
        data = index.read_at(0, index.size)
        table = read_table(where, data)
        header = Message(where, table.pop(b"", memoryview(b"")))
        count = header.integer(1)
        if not 1 <= count <= _MOST_SHARDS:
            self._refuse(where, f"1 to {_MOST_SHARDS} data files. Found: {count}")
        if header.integer(2):
            self._refuse(where, "big-endian numbers, which are not supported")
        self.entries = {
            self._decode(where, key): self._read_entry(where, key, value, count)
            for key, value in table.items()
        }
        needed = {entry.shard for entry in self.entries.values()}
        self._shards = {
            number: open_file(f"{prefix}.data-{number:05}-of-{count:05}")
            for number in sorted(needed)
        }
        self._check_ranges(where)

    def _refuse(self, where: str, what: str) -> None:
        raise FileError(f"{where}: {what}. {AGAIN}")

    def _decode(self, where: str, key: bytes) -> str:
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise FileError(f"{where}: a key that is no text: {key[:50]!r}. {AGAIN}") from None

    def _read_entry(self, where: str, key: bytes, value: memoryview, shards: int) -> Entry:
        entry = Message(f"{where}: {key[:200].decode(errors='replace')}", value)
        if entry.has(7):
            what = "a partitioned variable, which is not supported"
            raise FileError(f"{entry.where}: {what}. Save it again without a partitioner.")
        shape = entry.message(2)
        dims = tuple(dim.integer(1) for dim in shape.messages(2))
        if shape.integer(3) or len(dims) > _MOST_AXES:
            entry.refuse(f"a shape of {len(dims)} axes")
        numbers = entry.integer(3), entry.integer(4), entry.integer(5)
        if min(numbers) < 0 or numbers[0] >= shards:
            entry.refuse(f"file {numbers[0]} of {shards}, byte {numbers[1]}, {numbers[2]} bytes")
        shard, offset, size = numbers
        return Entry(entry.integer(1), dims, shard, offset, size, entry.fixed(6))

    def _check_ranges(self, where: str) -> None:
        """Refuse bytes beyond the end of a file, and bytes that belong to two arrays."""
        ends = dict.fromkeys(self._shards, 0)
        by_offset = sorted(self.entries.items(), key=lambda one: (one[1].offset, one[1].size))
        for key, entry in by_offset:
            size = self._shards[entry.shard].size
            if entry.offset < ends[entry.shard] and entry.size:
                self._refuse(
                    f"{where}: {key[:200]}", "an array whose bytes are those of another, too"
                )
            ends[entry.shard] = max(ends[entry.shard], entry.offset + entry.size)
            if ends[entry.shard] > size:
                found = f"Found: {size} bytes, where byte {ends[entry.shard]} is needed"
                self._refuse(f"{where}: {key[:200]}", f"a data file that is too short. {found}")

    @property
    def size(self) -> int:
        """The bytes of all data files."""
        return sum(window.size for window in self._shards.values())

    def is_array(self, key: str) -> bool:
        """Return whether a key is there and of a dtype of numbers."""
        return key in self.entries and self.entries[key].dtype in _CODES

    def make_weight(self, key: str, path: str, name: str) -> Weight:
        """Return an array as a weight."""
        entry, where = self.entries[key], f"{self.source}: {path}"
        header = make_header(where, _CODES[entry.dtype], entry.shape)
        if header.nbytes != entry.size:
            what = f"{entry.shape} of {header.dtype} in {entry.size} bytes, not {header.nbytes}"
            self._refuse(where, f"an array of another size. Found: {what}")
        window = self._shards[entry.shard]
        place = window, entry.offset, entry.checksum, self.progress
        return Weight(path, name, header.shape, header.dtype, ArrayReader(where, header, *place))

    def read_graph(self) -> bytes | None:
        """Return the object graph, a string, or None if there is none."""
        entry, where = self.entries.get(GRAPH), f"{self.source}: {GRAPH}"
        if entry is None:
            return None
        if entry.dtype != _STRING or entry.shape or not 5 <= entry.size <= _MOST_GRAPH:
            self._refuse(where, "no string, or one that is too long")
        data = bytearray(entry.size)
        with convert_read_errors(where):
            self._shards[entry.shard].read_into(entry.offset, data)
            length, at = read_varint(memoryview(data), 0)
        counted = (length % (1 << 32)).to_bytes(4, "little")
        stored, text = bytes(data[at : at + 4]), bytes(data[at + 4 :])
        if length != len(text) or int.from_bytes(stored, "little") != compute_checksum(counted):
            self._refuse(where, f"a string of another length. Found: {length}, {len(text)} bytes")
        if compute_checksum(counted + stored + text) != entry.checksum:
            self._refuse(where, f"a checksum that differs: {_CHANGED}")
        return text
