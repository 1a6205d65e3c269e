"""Reading a known number of bytes in pieces, from whatever has `read` and `close`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from shared.errors import StorageError

Guard = Callable[[], AbstractContextManager[None]]


class Source(Protocol):
    """The part of a file or an HTTP body that a stream needs."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""
        ...

    def close(self) -> None:
        """Give back the file or the connection."""
        ...


class ByteStream:
    """
    An iterator over exactly `size` bytes of `source`; it closes the source at the end or when closed.

    `guard` makes the context in which the source is read, where a library's errors become ours.
    Raises StorageError if the source ends before `size` bytes.
    """

    def __init__(self, source: Source, size: int, *, chunk: int, guard: Guard) -> None:
        if chunk < 1:
            raise ValueError("chunk must be at least 1 byte")
        self._source = source
        self._left = size
        self._chunk = chunk
        self._guard = guard

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._left == 0:
            self.close()
            raise StopIteration
        try:
            piece = self._next_piece()
        except BaseException:
            self.close()
            raise
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Stop reading; safe to call twice."""
        self._left = 0
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_piece(self) -> bytes:
        wanted = min(self._chunk, self._left)
        pieces = []
        while wanted:
            with self._guard():
                piece = self._source.read(wanted)
            if not piece:
                raise StorageError("Storage ended an object before all of its bytes had come; try again.")
            pieces.append(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Nothing:
    """A source without bytes, for an empty range."""

    def read(self, size: int, /) -> bytes:
        """Return no bytes."""
        return b""[:size]

    def close(self) -> None:
        """There is nothing to give back."""


def check_range(start: int, stop: int | None) -> None:
    """Raise ValueError unless 0 <= start <= stop."""
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f"not a range of bytes: {start} to {stop}")
