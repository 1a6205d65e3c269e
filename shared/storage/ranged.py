"""A seekable file over ranged reads, for decoders that jump about in a remote object."""

from __future__ import annotations

import io
from collections.abc import Callable

from shared.storage.interface import MIB

FIRST_AHEAD = MIB // 4  # enough for any header
MOST_AHEAD = 4 * MIB

Fetch = Callable[[int, int], bytes]


class RangedFile(io.RawIOBase):
    """
    Read-only bytes that `fetch(start, stop)` gives, `size` in all.

    Reads ahead, more with every read that goes on where the last one ended, so that reading in order
    makes few requests and jumping about moves few bytes.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._position = 0
        self._block = b""
        self._start = 0
        self._ahead = FIRST_AHEAD

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, also one past the end, as files do."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the position on; 0 at the end."""
        if self._position >= self._size or not len(buffer):
            return 0
        if not self._start <= self._position < self._start + len(self._block):
            self._load()
        offset = self._position - self._start
        piece = memoryview(self._block)[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _load(self) -> None:
        in_order = self._block and self._position == self._start + len(self._block)
        self._ahead = min(2 * self._ahead, MOST_AHEAD) if in_order else FIRST_AHEAD
        self._block = self._fetch(self._position, min(self._position + self._ahead, self._size))
        self._start = self._position
