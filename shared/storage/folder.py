"""Objects as plain files under one folder: durable, whole or absent, never outside it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from shared.errors import (
    InvalidKey,
    ObjectMissing,
    SettingsError,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from shared.storage.interface import CHUNK_SIZE, PART_SIZE, ObjectInfo
from shared.storage.keys import TEMPORARY, check_key, check_prefix, is_key
from shared.storage.streams import ByteStream, check_range

CREATE_ATTEMPTS = 100  # a folder can be pruned between its making and its use, again and again


class FolderStore:
    """
    An ObjectStore on a local or mounted file system; the content type is not kept.

    Symbolic links under the folder are not followed.
    """

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"VFQ_STORAGE_URL names a folder that cannot be made: {os.strerror(error.errno or errno.EIO)}."
            ) from error
        self._root = root.resolve()

    def put(self, key: str, data: bytes, *, content_type: str | None = None, durable: bool = True) -> ObjectInfo:
        """See ObjectStore."""
        with self.writer(key, content_type=content_type, durable=durable) as out:
            out.write(data)
            return out.commit()

    def writer(
        self, key: str, *, content_type: str | None = None, part_size: int = PART_SIZE, durable: bool = True
    ) -> FolderWriter:
        """See ObjectStore."""
        del content_type, part_size  # a file has neither
        return FolderWriter(self._root, key, self._path(key), durable=durable)

    def upload_file(self, key: str, path: str | os.PathLike[str], *, content_type: str | None = None) -> ObjectInfo:
        """See ObjectStore."""
        with self.writer(key, content_type=content_type) as out:
            if not out.take(Path(path)):
                with Path(path).open("rb") as source:
                    shutil.copyfileobj(source, out, CHUNK_SIZE)
            return out.commit()

    def copy(self, key: str, target: str) -> ObjectInfo:
        """See ObjectStore. Both are one file where the file system can: objects are replaced, never changed."""
        with self.open(key) as source, self.writer(target) as out:
            if not out.take(self._path(key)):
                shutil.copyfileobj(source, out, CHUNK_SIZE)
            return out.commit()

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See ObjectStore."""
        with self.stream(key, start, stop, chunk=PART_SIZE) as pieces:
            return b"".join(pieces)

    def stream(self, key: str, start: int = 0, stop: int | None = None, *, chunk: int = CHUNK_SIZE) -> ByteStream:
        """See ObjectStore."""
        check_range(start, stop)
        source = self.open(key)
        size = os.fstat(source.fileno()).st_size
        end = size if stop is None else min(stop, size)
        source.seek(start)
        return ByteStream(source, max(0, end - start), chunk=chunk, guard=partial(_reading, key))

    def open(self, key: str) -> BinaryIO:
        """See ObjectStore."""
        with _reading(key):
            source = self._path(key).open("rb")
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                source.close()
                raise FileNotFoundError
            return source

    def head(self, key: str) -> ObjectInfo:
        """See ObjectStore."""
        with _reading(key):
            found = self._path(key).stat()
            if not stat.S_ISREG(found.st_mode):
                raise FileNotFoundError
            return _info(key, found)

    def list(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> Iterator[ObjectInfo]:
        """See ObjectStore."""
        check_prefix(prefix)
        base = prefix.rpartition("/")[0]
        folder = self._path(base) if base else self._root
        self._check_root()
        after = check_key(after) if after else ""
        count = 0
        with _reading(prefix):
            for key in _walk(folder, base + "/" if base else "", prefix, after):
                if limit is not None and count >= limit:
                    return
                with suppress(ObjectMissing, InvalidKey):  # deleted, or made a link, while we were listing
                    yield self.head(key)
                    count += 1

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        path = self._path(key)
        with _reading(key), suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
            _prune(path.parent, self._root)

    def delete_prefix(self, prefix: str) -> int:
        """See ObjectStore."""
        count = 0
        for info in self.list(check_key(prefix.removesuffix("/")) + "/"):
            self.delete(info.key)
            count += 1
        return count

    def sweep(self, older_than: timedelta) -> int:
        """See ObjectStore."""
        limit = time.time() - older_than.total_seconds()
        count = 0
        for folder, _, names in os.walk(self._root):
            for path in (Path(folder, name) for name in names if name.startswith(TEMPORARY)):
                with suppress(FileNotFoundError):  # its writer has just ended
                    if path.lstat().st_mtime < limit:
                        path.unlink()
                        _prune(path.parent, self._root)
                        count += 1
        return count

    def presign_get(
        self, key: str, *, expires: int, filename: str | None = None, content_type: str | None = None
    ) -> None:
        """Files have no URLs; the API sends their bytes itself."""

    def presign_put(self, key: str, *, expires: int, content_type: str | None = None) -> None:
        """Files have no URLs."""

    def check(self) -> None:
        """Prove that the folder is there and can be written to."""
        with _writing(""):
            self._check_root()
            with tempfile.TemporaryFile(prefix=TEMPORARY, dir=self._root) as probe:
                probe.write(b"ok")

    def _check_root(self) -> None:
        # Objects are not missing because a disk is not mounted.
        with _reading(""):
            if not self._root.is_dir():
                raise _folder_gone()

    def _path(self, key: str) -> Path:
        path = self._root / check_key(key)
        self._check_root()
        # One comparison keeps every key inside the folder: a path without links is its own real path.
        # (A link to itself resolves to itself, so links are asked for too.)
        with _reading(key):
            if os.path.realpath(path) != str(path) or path.is_symlink():
                raise _link_met()
        return path


class FolderWriter:
    """An ObjectWriter on a temporary file beside its destination, renamed over it at the end."""

    def __init__(self, root: Path, key: str, path: Path, *, durable: bool = True) -> None:
        self._root = root
        self._key = key
        self._path = path
        self._durable = durable
        with _writing(key):
            self._file, self._temporary = _create_beside(path, root)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """See ObjectWriter."""
        with _writing(self._key):
            return self._file.write(data)

    def take(self, path: Path) -> bool:
        """Become a second name of a file instead of its copy; False where that cannot be, as on another disk."""
        name = self._temporary.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
        try:
            os.link(path, name, follow_symlinks=False)
            if not name.is_file() or name.is_symlink():
                name.unlink()
                return False
        except OSError:
            return False
        with _writing(self._key):
            name.replace(self._temporary)
            self._file.close()
            self._file = self._temporary.open("r+b")
        return True

    def commit(self) -> ObjectInfo:
        """See ObjectWriter."""
        with _writing(self._key):
            self._file.flush()
            if self._durable:
                os.fsync(self._file.fileno())
            found = os.fstat(self._file.fileno())
            self._temporary.replace(self._path)
            self._file.close()
            if self._durable:
                _sync_folders(self._path.parent, self._root)
        return _info(self._key, found)

    def abort(self) -> None:
        """See ObjectWriter."""
        if self._file.closed:
            return
        with suppress(OSError):  # closing writes what is left: the disk may be full
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink()
            _prune(self._path.parent, self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


def _create_beside(path: Path, root: Path) -> tuple[BinaryIO, Path]:
    for attempt in range(CREATE_ATTEMPTS):
        if not root.is_dir():
            raise _folder_gone()  # never make a folder where a disk should be mounted
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.parent / f"{TEMPORARY}{os.urandom(8).hex()}"
            return temporary.open("xb"), temporary
        except (FileNotFoundError, FileExistsError):  # pruned by a deletion in between
            if attempt == CREATE_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _sync_folders(folder: Path, root: Path) -> None:
    """Make the new name durable, and those of the folders above, which may be new too."""
    for path in (folder, *folder.parents):
        with suppress(FileNotFoundError):  # someone has deleted the object already
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if path == root:
            return


def _prune(folder: Path, root: Path) -> None:
    """Remove `folder` and those above it while they are empty."""
    with suppress(OSError):  # not empty, or gone already
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def _walk(folder: Path, start: str, prefix: str, after: str) -> Iterator[str]:
    """Yield the keys under `folder`, whose own key is `start`, in the order of the whole keys."""
    try:
        with os.scandir(folder) as entries:
            named = sorted((_ordered_name(entry), entry.name) for entry in entries if not entry.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return
    for ordered, name in named:
        key = start + ordered
        if not (key.startswith(prefix) or prefix.startswith(key)) or not is_key(start + name):
            continue
        if not ordered.endswith("/"):
            if key > after:
                yield key
        elif key > after or after.startswith(key):
            yield from _walk(folder / name, key, prefix, after)


def _ordered_name(entry: os.DirEntry[str]) -> str:
    # "a.txt" stands before "a/b", because "." stands before "/".
    return entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    etag = f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"
    return ObjectInfo(key, found.st_size, etag, datetime.fromtimestamp(found.st_mtime, UTC))


def _folder_gone() -> StorageUnavailable:
    return StorageUnavailable("The folder of VFQ_STORAGE_URL is gone; is its disk mounted?")


def _link_met() -> InvalidKey:
    return InvalidKey("The storage key leads through a symbolic link, which is not followed.")


@contextmanager
def _reading(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ObjectMissing(f"There is no object {key!r} in storage.") from error
    except OSError as error:
        raise _failure(error) from error


@contextmanager
def _writing(key: str) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise StorageError(
            f"{key!r} and another key lie one under the other; a folder cannot hold both a file and a folder "
            "of one name."
        ) from error
    except FileNotFoundError as error:
        raise StorageError(f"{key!r} was removed from storage while it was being written.") from error
    except OSError as error:
        raise _failure(error) from error


def _failure(error: OSError) -> StorageError | InvalidKey:
    if isinstance(error, PermissionError):
        return StorageDenied("The folder of VFQ_STORAGE_URL may not be used by this user.")
    if error.errno == errno.ELOOP:
        return _link_met()
    if error.errno == errno.ENAMETOOLONG:
        return InvalidKey("A part of the storage key is too long for the folder's file system.")
    reason = os.strerror(error.errno or errno.EIO)
    return StorageUnavailable(f"The folder of VFQ_STORAGE_URL failed: {reason}.")
