"""A byte range of an open file, as a read-only file object."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Progress = Callable[[int], object]  # called with the number of bytes read

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_STEP = 8 << 20


class Bytes(Protocol):
    """What arrays are read from."""

    def read_into(self, at: int, buffer: Any, progress: Progress | None = None) -> None:
        """Fill a buffer with the bytes from `at`; raise EOFError if there are too few."""


class ByteRange(io.RawIOBase):
    """`size` bytes of a seekable file from `start`; closing it leaves the file open."""

    def __init__(self, file: io.RawIOBase | io.BytesIO, start: int, size: int) -> None:
        super().__init__()
        self.file, self.start, self.size = file, start, size
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    seekable = readable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position in the range, or beyond its end, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}, before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer up to the end of the range; return the number of bytes read."""
        with memoryview(buffer).cast("B") as view:
            count = min(len(view), max(self.size - self._at, 0))
            self.file.seek(self.start + self._at)
            done = 0
            while done < count:
                got = self.file.readinto(view[done:count])
                if not got:
                    break
                done += got
        self._at += done
        return done

    def read_into(self, at: int, buffer: Any, progress: Progress | None = None) -> None:
        """Fill a buffer with the bytes from `at`; raise EOFError if there are too few."""
        with memoryview(buffer).cast("B") as view:
            self.seek(at)
            for begin in range(0, len(view), _STEP):
                step = view[begin : begin + _STEP]
                if self.readinto(step) != len(step):
                    raise EOFError(f"the file ends before byte {at + len(view)}")
                if progress is not None:
                    progress(len(step))

    def read_at(self, at: int, size: int) -> bytes:
        """Return `size` bytes from `at`, or fewer if the range ends first."""
        self.seek(at)
        return self.read(min(size, max(self.size - at, 0))) or b""

    def find_hdf5(self) -> Iterator[int]:
        """Yield the offsets of signatures where HDF5 libraries look for them behind other data."""
        at = 512
        while at < self.size:
            if self.read_at(at, len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
                yield at
            at *= 2


class JoinedRanges:
    """Several ranges, one after another as if they were one."""

    def __init__(self, ranges: Sequence[ByteRange]) -> None:
        self.ranges = ranges
        self.size = sum(one.size for one in ranges)

    def read_into(self, at: int, buffer: Any, progress: Progress | None = None) -> None:
        """Fill a buffer with the bytes from `at`; raise EOFError if there are too few."""
        with memoryview(buffer).cast("B") as view:
            done = 0
            for one in self.ranges:
                if at >= one.size:
                    at -= one.size
                    continue
                count = min(one.size - at, len(view) - done)
                one.read_into(at, view[done : done + count], progress)
                done, at = done + count, 0
                if done == len(view):
                    break
            if done < len(view):
                raise EOFError(f"the files end {len(view) - done} bytes too early")
