"""A recording of the archive while it is read: for its sha256, and for the server. It is never written to."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from cli.archive.errors import FileTrouble, Trouble
from cli.archive.manifest import Stamp

_PIECE = 1 << 20


class Recording:
    """
    An open recording, from `opened`.

    Attributes:
        stamp: as it was when its sha256 was worked out

    """

    def __init__(self, descriptor: int, name: str, go_on: Callable[[], None]) -> None:
        self._file = os.fdopen(descriptor, "rb", closefd=False)
        self._go_on = go_on
        self.name = name
        facts = os.fstat(descriptor)
        self.stamp = Stamp(facts.st_size, facts.st_mtime_ns, _digest(self._file.read, go_on))

    def check(self) -> None:
        """See that it is what it was.

        Raises:
            FileTrouble: if someone has written to it meanwhile.
        """
        facts = os.fstat(self._file.fileno())
        if not self.stamp.looks_like(facts.st_size, facts.st_mtime_ns):
            raise FileTrouble(Trouble.SOURCE_CHANGED, "This file was changed while it was read. Try it again.")

    def sender(self, sent: Callable[[int, int], None]) -> "Sender":
        """Give it from its beginning, as a file that tells how much of it was read; raises `FileTrouble` as `check`."""
        self.check()
        self._file.seek(0)
        return Sender(self, sent)

    def read(self, size: int) -> bytes:
        """Read on."""
        self._go_on()
        return self._file.read(size)

    def seek(self, offset: int, whence: int) -> int:
        """Go elsewhere."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Tell where we are."""
        return self._file.tell()


class Sender:
    """What httpx asks of a file."""

    def __init__(self, recording: Recording, sent: Callable[[int, int], None]) -> None:
        self._recording = recording
        self._sent = sent

    def read(self, size: int = -1) -> bytes:
        """Read on, and tell."""
        piece = self._recording.read(size)
        self._sent(self._recording.tell(), self._recording.stamp.size)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go elsewhere."""
        return self._recording.seek(offset, whence)

    def tell(self) -> int:
        """Tell where we are."""
        return self._recording.tell()


@contextmanager
def opened(path: Path, go_on: Callable[[], None]) -> Iterator[Recording]:
    """Open a recording and work out its sha256; *go_on* may raise to stop it.

    Raises:
        FileTrouble: if it cannot be read.
    """
    try:
        # Without waiting: what was a file a moment ago may have become a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(error) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileTrouble(Trouble.SOURCE_UNREADABLE, "This is no file any more.")
        try:
            recording = Recording(descriptor, path.name, go_on)
        except OSError as error:
            raise _unreadable(error) from None
        yield recording
    finally:
        os.close(descriptor)


def digest_of(path: Path, go_on: Callable[[], None] = lambda: None) -> str:
    """Work out the sha256 of a file; raises OSError."""
    with path.open("rb") as file:
        return _digest(file.read, go_on)


def _digest(read: Callable[[int], bytes], go_on: Callable[[], None]) -> str:
    digest = sha256()
    while piece := read(_PIECE):
        go_on()
        digest.update(piece)
    return digest.hexdigest()


def _unreadable(error: OSError) -> FileTrouble:
    return FileTrouble(Trouble.SOURCE_UNREADABLE, f"This file cannot be read: {error.strerror}.")
