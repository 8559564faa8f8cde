"""Untrusted zip archives, read in place: nothing is extracted and every size is checked."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ..._core.errors import FileError
from .byte_range import ByteRange

SIGNATURE = b"PK\x03\x04"
MOST_RATIO = 20  # of inflated to stored bytes; weights reach 2
FREE_BYTES = 8 << 20  # any member may be inflated to this size

_END = b"PK\x05\x06"
_END_SIZE = 22
_MOST_COMMENT = 0xFFFF
_MOST_MEMBERS = 10_000
_MOST_DIRECTORY = 4 << 20
_HEADER = struct.Struct("<4s5H3L2H")
_STEP = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SAFE_FLAGS = 0x0806  # UTF-8 names and the two hints of deflate
_LATER_SIZES = 0x0008  # only the directory has sizes, not the local header
_AGAIN = "Save it again with Keras, or zip it again without compression."


def find_end_record(window: ByteRange) -> tuple[int, int] | None:
    """Return the size and offset of a zip directory, or None if the file does not end in one."""
    tail_at = max(window.size - _END_SIZE - _MOST_COMMENT, 0)
    tail = window.read_at(tail_at, _END_SIZE + _MOST_COMMENT)
    at = tail.rfind(_END)
    while at >= 0:
        if len(tail) - at >= _END_SIZE:
            size, offset, comment = struct.unpack_from("<LLH", tail, at + 12)
            if at + _END_SIZE + comment == len(tail):
                return size, offset
        at = tail.rfind(_END, 0, at)
    return None


class Archive:
    """A zip archive; all members are checked when it is opened."""

    def __init__(self, source: str, window: ByteRange) -> None:
        self.source, self._window = source, window
        found = find_end_record(window)
        if found is None:
            raise FileError(f"{source}: a zip archive without an end record. Download it again.")
        if found[0] > _MOST_DIRECTORY:
            raise FileError(f"{source}: a zip directory of {found[0]} bytes. {_AGAIN}")
        with self._convert_errors(""):
            self._zip = zipfile.ZipFile(window)
            self.members = self._check_members()

    def _make_error(self, inside: str, what: str, remedy: str = _AGAIN) -> FileError:
        return FileError(f"{self.source}: {inside!r}: {what}. {remedy}")

    @contextmanager
    def _convert_errors(self, inside: str) -> Iterator[None]:
        try:
            yield
        except FileError:
            raise
        except (
            zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, LookupError,
            NotImplementedError, RuntimeError, struct.error, AttributeError,
        ) as error:  # fmt: skip
            what = f"a damaged zip archive. Found: {error}"
            raise self._make_error(inside, what, "Download or save it again.") from None

    def _check_members(self) -> dict[str, zipfile.ZipInfo]:
        """Return the members by name; set `self._starts` to the offsets of their data."""
        infos = self._zip.infolist()
        if len(infos) > _MOST_MEMBERS:
            raise self._make_error("", f"more than {_MOST_MEMBERS} members. Found: {len(infos)}")
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            self._check_member(info)
            if info.filename in members:
                raise self._make_error(info.filename, "two members with the same name")
            members[info.filename] = info
        self._starts: dict[str, int] = {}
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end or (end == 0 and info.header_offset != 0):
                what = "a member that overlaps or follows other data"
                raise self._make_error(info.filename, what)
            self._starts[info.filename] = self._find_data(info)
            end = self._starts[info.filename] + info.compress_size
        if end > self._zip.start_dir:
            raise self._make_error("", "members that reach beyond the directory of the archive")
        for at in self._window.find_hdf5():
            if at not in self._starts.values():
                raise self._make_error("", f"a zip archive and an HDF5 file (at byte {at}) at once")
        return members

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        name = info.orig_filename
        parts = name.removesuffix("/").split("/")
        outside = {"", ".", ".."} & set(parts) or name[1:2] == ":"  # a drive
        if outside or "\\" in name or "\0" in name or name != info.filename:
            raise self._make_error(name, "a member with an unsafe name")
        if info.flag_bits & ~(_SAFE_FLAGS | _LATER_SIZES) or info.compress_type not in _METHODS:
            raise self._make_error(name, "an encrypted or unusually packed member")
        kind = stat.S_IFMT(info.external_attr >> 16)
        folder = name.endswith("/") and not info.file_size
        if kind and not stat.S_ISREG(kind) and not (folder and stat.S_ISDIR(kind)):
            what = "a link, a device or another member that is not a regular file"
            raise self._make_error(name, what)
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            raise self._make_error(name, "an uncompressed member with two sizes")

    def _find_data(self, info: zipfile.ZipInfo) -> int:
        head = self._window.read_at(info.header_offset, _HEADER.size)
        magic, _, flags, method, _, _, _, _, _, name_size, extra = _HEADER.unpack(head)
        raw = self._window.read_at(info.header_offset + _HEADER.size, name_size)
        name = raw.decode("utf-8" if flags & 0x0800 else "cp437")
        if magic != SIGNATURE or name != info.orig_filename or method != info.compress_type:
            what = "a member whose header differs from the directory"
            raise self._make_error(info.filename, what)
        return int(info.header_offset + _HEADER.size + name_size + extra)

    def window(self, name: str, most: int | None = None) -> ByteRange:
        """Return a member's bytes, at most `most`, checked against its CRC-32."""
        info = self.members[name]
        size, packed = info.file_size, info.compress_size
        if most is not None and size > most:
            raise self._make_error(name, f"more than {most} bytes. Found: {size}")
        with self._convert_errors(name):
            if info.compress_type == zipfile.ZIP_STORED:
                found = ByteRange(self._window.file, self._window.start + self._starts[name], size)
                if _crc32(found) != info.CRC:
                    raise zipfile.BadZipFile("the CRC-32 differs from the directory")
                return found
            if size > max(FREE_BYTES, MOST_RATIO * packed):
                what = f"a member compressed to {packed} bytes. Found: {size} bytes inflated"
                raise self._make_error(name, what)
            return self._inflate(info)

    def _inflate(self, info: zipfile.ZipInfo) -> ByteRange:
        data = io.BytesIO()
        with self._zip.open(info) as member:
            while step := member.read(_STEP):
                data.write(step)
                if data.tell() > info.file_size:
                    raise zipfile.BadZipFile("more bytes than the directory states")
        if data.tell() != info.file_size:
            raise zipfile.BadZipFile(f"{data.tell()} of {info.file_size} bytes")
        return ByteRange(data, 0, info.file_size)


def _crc32(window: ByteRange) -> int:
    crc, buffer = 0, bytearray(_STEP)
    while count := window.readinto(buffer):
        crc = zlib.crc32(memoryview(buffer)[:count], crc)
    window.seek(0)
    return crc
