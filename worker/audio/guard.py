"""A file as C libraries may see it: reads are whole, and an error of the storage under it is kept, not lost."""

from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from worker.audio.sniff import Readable

T = TypeVar("T")


class GuardedFile:
    """Read-only view for libsndfile and FFmpeg, which call back from C.

    An exception there would be printed and dropped, so it is kept and the file seems to end; `check` raises it.
    Reads are filled up, since libsndfile takes a short read for the end, and never longer than asked, since FFmpeg
    copies what it gets. There is no `name`: libraries would guess the format by it.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._failure: Exception | None = None
        self._start = 0
        self._position = 0
        self.size = file.seek(0, 2)
        file.seek(0)

    def check(self) -> None:
        """Raise what the file raised while a library read it."""
        if self._failure is not None:
            raise self._failure

    def begin_at(self, start: int) -> None:
        """Leave the first bytes out: the file begins after them."""
        self._start += start
        self.size -= start
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        """Give `size` bytes, fewer only at the end."""
        left = max(self.size - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        pieces = []
        while wanted:
            piece = self._read_some(wanted)
            if not piece:
                break
            pieces.append(piece)
            wanted -= len(piece)
            self._position += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as `read` would: it spares libsndfile, which reads 8 KB a call, a copy and an error."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move; a position before the file, which damaged headers lead to, becomes its beginning."""
        base = (0, self._position, self.size)[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def _read_some(self, wanted: int) -> bytes:
        if self._failure is not None:
            return b""
        try:
            self._file.seek(self._start + self._position)
            return self._file.read(wanted)[:wanted]
        except Exception as error:
            self._failure = error
            return b""


class GuardedSink:
    """Read-write view of a file for libsndfile's encoders; `check` raises what the file raised under them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._failure: Exception | None = None

    def check(self) -> None:
        """Raise what the file raised while a library used it, such as a full disk."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: bytes, /) -> int:
        """Write all of `data`."""
        return self._attempt(lambda: self._file.write(data), 0)

    def read(self, size: int = -1, /) -> bytes:
        """Give back what was written."""
        return self._attempt(lambda: self._file.read(size), b"")

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position."""
        return self._attempt(lambda: self._file.seek(offset, whence), 0)

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._attempt(self._file.tell, 0)

    def _attempt(self, action: Callable[[], T], otherwise: T) -> T:
        if self._failure is not None:
            return otherwise
        try:
            return action()
        except Exception as error:
            self._failure = error
            return otherwise
