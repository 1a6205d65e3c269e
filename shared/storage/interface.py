"""The object store as the rest of the service sees it: one protocol, two implementations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from shared.storage.streams import ByteStream

MIB = 1024 * 1024
PART_SIZE = 8 * MIB
CHUNK_SIZE = MIB


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """
    One object as storage knows it.

    Attributes:
        key: relative to the store's folder or prefix
        size: in bytes
        etag: changes when the content does; without quotes
        modified: UTC

    """

    key: str
    size: int
    etag: str
    modified: datetime


class ObjectWriter(Protocol):
    """
    One object being written. It appears whole at `commit`, or never.

    Leaving the context without `commit`, or with an exception, aborts:

        with store.writer("jobs/1/result.wav") as out:
            for block in blocks:
                out.write(block)
            info = out.commit()
    """

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append all of `data`; returns its length in bytes."""
        ...

    def commit(self) -> ObjectInfo:
        """Make the object durable and visible under its key, in place of what was there."""
        ...

    def abort(self) -> None:
        """Drop what was written; does nothing after `commit` or a second time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ObjectStore(Protocol):
    """
    Objects under keys: validated relative POSIX paths (`shared.storage.keys`).

    One store serves all threads of a process. Every method may raise InvalidKey, StorageUnavailable,
    StorageDenied or StorageError; those that read an object also ObjectMissing.
    Ranges are [start, stop) in bytes and are cut at the object's end, like a slice of bytes.
    """

    def put(self, key: str, data: bytes, *, content_type: str | None = None, durable: bool = True) -> ObjectInfo:
        """Write a small object in one go; for `durable` see `writer`."""
        ...

    def writer(
        self, key: str, *, content_type: str | None = None, part_size: int = PART_SIZE, durable: bool = True
    ) -> ObjectWriter:
        """
        Write an object of unknown length, with at most one part of it in memory.

        One that is not `durable` is whole after any process was killed, but a power cut may take it, or its end:
        for what its writer can make again, and whose reader looks at the length.
        """
        ...

    def upload_file(self, key: str, path: str | PathLike[str], *, content_type: str | None = None) -> ObjectInfo:
        """Make an object of a local file, which must not be changed any more: the object may be the same file."""
        ...

    def copy(self, key: str, target: str) -> ObjectInfo:
        """Make another object of the same bytes inside storage; deleting one leaves the other."""
        ...

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes of a range."""
        ...

    def stream(self, key: str, start: int = 0, stop: int | None = None, *, chunk: int = CHUNK_SIZE) -> ByteStream:
        """
        Iterate over a range in pieces of `chunk` bytes (the last may be shorter).

        The request is made at once, so that a missing object is known before the first piece.
        An answer cut short raises StorageError. Close the stream if it is not read to its end.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """Open an object as a seekable, buffered, read-only file."""
        ...

    def head(self, key: str) -> ObjectInfo:
        """Describe an object without reading it."""
        ...

    def list(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> Iterator[ObjectInfo]:
        """
        Describe the objects whose keys start with the text `prefix`, in the order of their keys.

        `after` is the last key of the page before; objects with names that are no keys are left out.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        ...

    def delete_prefix(self, prefix: str) -> int:
        """Delete all that lies under the folder `prefix` (never `prefix` of a longer name); returns how many."""
        ...

    def sweep(self, older_than: timedelta) -> int:
        """Remove what writers that were killed left unfinished for so long; returns how many."""
        ...

    def presign_get(
        self, key: str, *, expires: int, filename: str | None = None, content_type: str | None = None
    ) -> str | None:
        """Sign a URL that reads the object for `expires` seconds; None where the store has no URLs."""
        ...

    def presign_put(self, key: str, *, expires: int, content_type: str | None = None) -> str | None:
        """Sign a URL that writes the object for `expires` seconds; None where the store has no URLs."""
        ...

    def check(self) -> None:
        """Return within a few seconds if the store can be used, else raise (for readiness)."""
        ...
