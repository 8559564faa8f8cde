"""A stretch of an open file that reads like a file of its own."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

_STEP = 8 << 20


class Bytes(Protocol):
    """What a window looks on: a file, a BytesIO, another window."""

    def seek(self, offset: int, /) -> int:
        """Go to an offset from the start."""

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into a buffer and return how many bytes that were."""


class Window(io.RawIOBase):
    """`size` bytes of a file from `start` on, read in place.

    Closing it leaves the file open.

    Args:
        file: A seekable file of bytes; whoever opened it closes it.
        start: Where the stretch begins.
        size: How long it is.
    """

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
        """Return where in the stretch the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the stretch, or beyond its end, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}, before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the stretch goes, and return how many bytes that were."""
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

    def fill(self, at: int, buffer: Any, progress: Callable[[int], object] | None = None) -> None:
        """Fill a whole buffer from `at` on.

        Args:
            at: Where in the stretch.
            buffer: What to fill.
            progress: Called with the number of bytes as they are read.

        Raises:
            EOFError: the stretch, or the file, ends before.
        """
        with memoryview(buffer).cast("B") as view:
            self.seek(at)
            for begin in range(0, len(view), _STEP):
                step = view[begin : begin + _STEP]
                if self.readinto(step) != len(step):
                    raise EOFError(f"the file ends before byte {at + len(view)}")
                if progress is not None:
                    progress(len(step))

    def taken(self, at: int, size: int) -> bytes:
        """Return `size` bytes from `at` on, or fewer where the stretch ends before."""
        self.seek(at)
        return self.read(min(size, max(self.size - at, 0))) or b""
