"""A byte range of an open file, as a read-only file object."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

_STEP = 8 << 20


class Bytes(Protocol):
    """A source of bytes: a file, a BytesIO or another window."""

    def seek(self, offset: int, /) -> int:
        """Move to an offset from the start."""

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into a buffer and return the number of bytes read."""


class ByteRange(io.RawIOBase):
    """`size` bytes of a seekable file from `start`; closing it leaves the file open."""

    def __init__(self, file: Bytes, start: int, size: int) -> None:
        super().__init__()
        self.file = file
        self.start = start
        self.size = size
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the current position in the range."""
        return self._at

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

    def read_into(
        self, at: int, buffer: Any, progress: Callable[[int], object] | None = None
    ) -> None:
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
