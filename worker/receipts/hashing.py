"""The sha256 of a recording, worked out from what a decoder reads of it anyway."""

import hashlib
from collections.abc import Callable
from typing import BinaryIO

PIECE = 1 << 20
GAP = 4 << 20
"""Bytes that a decoder may skip, such as a picture in a header, and that are read at once for the hash."""


class PassingHash:
    """Hashes bytes as they come by, each once and in order, whatever order they are read in.

    Decoders read from front to back, with looks at the end in between; what they skip is read by `finish`.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._done = 0

    @property
    def done(self) -> int:
        """Bytes hashed so far, from the front."""
        return self._done

    def saw(self, position: int, data: bytes) -> None:
        """Take bytes that were read at a position."""
        if position <= self._done < position + len(data):
            self._hash.update(memoryview(data)[self._done - position :])
            self._done = position + len(data)

    def finish(self, read: Callable[[int, int], bytes], size: int) -> str:
        """Give the sha256 of all *size* bytes; *read* gives those of [start, stop) that nobody looked at."""
        while self._done < size:
            data = read(self._done, min(self._done + PIECE, size))
            if not data:
                raise EOFError("the recording became shorter while it was read")
            self.saw(self._done, data)
        return self._hash.hexdigest()


class HashedFile:
    """A file open for reading; `sha256` tells its content's hash."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0
        self._hash = PassingHash()

    def read(self, size: int = -1, /) -> bytes:
        """Read as the file does."""
        if 0 < self._position - self._hash.done <= GAP:
            self._catch_up()
        data = self._file.read(size)
        self._hash.saw(self._position, data)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move as in the file."""
        self._position = self._file.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def _catch_up(self) -> None:
        start = self._hash.done
        self._file.seek(start)
        self._hash.saw(start, self._file.read(self._position - start))
        self._file.seek(self._position)

    def sha256(self) -> tuple[str, int]:
        """Read what was not read yet; gives the hash of the whole file, and its size in bytes."""
        size = self.seek(0, 2)

        def read(start: int, stop: int) -> bytes:
            self._file.seek(start)
            return self._file.read(stop - start)

        return self._hash.finish(read, size), size
