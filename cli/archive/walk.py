"""Goes through the folder with the recordings, in a stable order, a folder at a time."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.archive import kinds
from cli.archive.errors import Trouble
from cli.archive.names import stems


@dataclass(frozen=True)
class Found:
    """
    A file of the archive.

    Attributes:
        path: relative to the archive, as the system spells it (odd bytes as surrogates)
        stem: relative path of its result, without extension
        size: bytes
        mtime_ns: when it was last changed
        skip: why it is left out, if it is
        trouble: code and sentence, if it cannot be looked at

    """

    path: str
    stem: str = ""
    size: int = 0
    mtime_ns: int = 0
    skip: str | None = None
    trouble: tuple[str, str] | None = None

    @property
    def wanted(self) -> bool:
        """Whether it is to be restored."""
        return self.skip is None and self.trouble is None


class Walk:
    """The files of an archive; can be gone through several times, from several threads."""

    def __init__(
        self, source: Path, target: Path, *, recursive: bool, mels: bool, leave_out: Path | None = None
    ) -> None:
        """Walk *source*, without *target* and what lies in it, and without the file *leave_out*."""
        self.source = source
        self._real_target = os.path.realpath(target)
        self._target = _identity(target)
        self._apart = _identity(leave_out) if leave_out else None
        self._recursive = recursive
        self._mels = mels

    def __iter__(self) -> Iterator[Found]:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            below: list[str] = []
            yield from self._folder(folder, below)
            waiting += reversed(below)

    def _folder(self, folder: str, below: list[str]) -> Iterator[Found]:
        try:
            with os.scandir(self.source / folder) as scan:
                entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            reason = f"This folder cannot be read: {error.strerror}."
            yield Found(folder or ".", trouble=(Trouble.FOLDER_UNREADABLE, reason))
            return
        files: list[Found] = []
        folders: list[str] = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                is_target = is_folder and self._target == _identity_of(entry.stat(follow_symlinks=False))
            except OSError as error:
                files.append(_unreadable(path, error))
                continue
            if is_target:
                continue
            if is_folder:
                folders.append(entry.name)
            else:
                files.append(self._file(entry, path))
        named = stems([os.path.basename(one.path) for one in files if one.wanted], folders)  # noqa: PTH119
        for one in files:
            yield _named(one, named) if one.wanted else one
        if self._recursive:
            below += [f"{folder}/{name}" if folder else name for name in folders]
        else:
            yield from (Found(name, skip="not_recursive") for name in folders)

    def _file(self, entry: os.DirEntry[str], path: str) -> Found:
        try:
            facts = entry.stat()
        except OSError as error:
            if entry.is_symlink() and kinds.stranger(entry.name, lambda: b"", mels=self._mels):
                return Found(path, skip="not_audio")
            return _unreadable(path, error)
        if stat.S_ISDIR(facts.st_mode):
            return Found(path, skip="link_to_folder")  # it may lead back to where we are
        if not stat.S_ISREG(facts.st_mode):
            return Found(path, skip="not_a_file")
        if _identity_of(facts) == self._apart or (entry.is_symlink() and self._leads_to_target(entry.path)):
            return Found(path, skip="own_file")
        skip = kinds.stranger(entry.name, lambda: _head(entry.path), mels=self._mels)
        return Found(path, size=facts.st_size, mtime_ns=facts.st_mtime_ns, skip=skip)

    def _leads_to_target(self, path: str) -> bool:
        return is_inside(os.path.realpath(path), self._real_target)


def is_inside(path: str, folder: str) -> bool:
    """Whether a real path is a real folder, or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _named(one: Found, named: dict[str, str]) -> Found:
    folder, _, name = one.path.rpartition("/")
    stem = f"{folder}/{named[name]}" if folder else named[name]
    return Found(one.path, stem, one.size, one.mtime_ns)


def _unreadable(path: str, error: OSError) -> Found:
    return Found(path, trouble=(Trouble.SOURCE_UNREADABLE, f"This file cannot be read: {error.strerror}."))


def _head(path: str) -> bytes:
    # Without waiting: what was a file a moment ago may have become a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, kinds.HEAD)
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        return _identity_of(path.stat())
    except OSError:
        return None


def _identity_of(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino
