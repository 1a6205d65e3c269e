"""One run at a time on a folder."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.archive.errors import ArchiveError

NAME = ".voicefixer-archive.lock"


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Be the only run that works on *target*, which is made if need be.

    Raises:
        ArchiveError: if another run is at it, or the folder cannot be used.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock = os.open(target / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise ArchiveError(f"{target} cannot be used for results: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveError(f"Another run is at work on {target}{_who(lock)}. Wait for its end.") from None
        except OSError as error:
            raise ArchiveError(f"{target} cannot be locked: {error.strerror}.") from None
        os.truncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid()}).encode(), 0)
        yield
        os.truncate(lock, 0)
    finally:
        os.close(lock)


def _who(lock: int) -> str:
    try:
        return f" (process {json.loads(os.pread(lock, 4096, 0))['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
