"""A checkpoint file, held open: what was hashed is what is read, now and later, whatever happens to its name."""

import hashlib
import logging
import os
import weakref
import zipfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from worker.models.errors import CheckpointChangedError, CheckpointUnreadableError

log = logging.getLogger(__name__)

WHERE_TO_GET = "Get the published file with `voicefixer-queue weights pull`."
_BLOCK = 1 << 20
_WRAPPERS = ("state_dict", "generator")
"""Training checkpoints keep their tensors under the one, the published vocoder under the other."""


@dataclass(frozen=True)
class Digests:
    """Of a whole file, in hex."""

    md5: str
    sha256: str


class State(NamedTuple):
    """What changes when somebody writes into a file."""

    device: int
    inode: int
    size: int
    modified: int


class WeightsFile:
    """One file of weights, open for as long as this object lives."""

    def __init__(self, path: Path) -> None:
        """Open it; raises `CheckpointUnreadableError`."""
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
            self._state = self._look()
        except OSError as error:
            raise _unreadable(path, error) from None
        weakref.finalize(self, self._file.close)
        self._hashes: list[Future[str]] = []

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors of `table`."""
        return {key: value for key, value in self.table().items() if isinstance(value, torch.Tensor)}

    def table(self) -> dict[str, object]:
        """The innermost table of the file, its tensors mapped: only what is used is read.

        A mapped tensor is to be copied and forgotten: who truncates the file later ends a process that looks at it.
        Raises `CheckpointUnreadableError`, and `CheckpointChangedError` where the file is no longer what it was.
        """
        self.check_unchanged()
        content = self._load()
        for wrapper in _WRAPPERS:
            if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
        if not isinstance(content, Mapping):
            kind = type(content).__name__
            raise CheckpointUnreadableError(str(self.path), f"holds a {kind} and no table of tensors. {WHERE_TO_GET}")
        self.check_unchanged()
        return {str(key): value for key, value in content.items()}

    def start_hashing(self) -> None:
        """Hash in the background, each digest on a thread of its own; `digests` waits for it."""
        if self._state in _KNOWN or self._hashes:
            return
        pool = ThreadPoolExecutor(2, "digest")
        self._hashes = [pool.submit(self._hash, name) for name in ("md5", "sha256")]
        pool.shutdown(wait=False)

    def digests(self) -> Digests:
        """Md5 and sha256 of the whole file, worked out once a process for each state of it.

        Raises `CheckpointUnreadableError` and `CheckpointChangedError`.
        """
        self.start_hashing()
        if self._state not in _KNOWN:
            try:
                md5, sha256 = (future.result() for future in self._hashes)
            except OSError as error:
                raise _unreadable(self.path, error) from None
            self.check_unchanged()
            _KNOWN[self._state] = Digests(md5, sha256)
        return _KNOWN[self._state]

    def check_unchanged(self) -> None:
        """Raise `CheckpointChangedError` if the file was written into since it was opened.

        A file that was replaced by another of its name, or deleted, is unchanged: this one is still open.
        """
        if self._look() != self._state:
            raise CheckpointChangedError(
                self.path.name,
                "was written into while it was in use. Restart the worker; and put new weights in place by renaming a "
                "whole file, not by writing into the old one.",
            )

    def _look(self) -> State:
        found = os.fstat(self._file.fileno())
        return State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def _hash(self, name: str) -> str:
        digest = hashlib.new(name, usedforsecurity=False)
        at = 0
        # Read, not mapped: mapped pages would count as this process's memory.
        while block := os.pread(self._file.fileno(), _BLOCK, at):
            digest.update(block)
            at += len(block)
        return digest.hexdigest()

    def _load(self) -> object:
        if self._state.size == 0:
            raise CheckpointUnreadableError(str(self.path), f"is empty. {WHERE_TO_GET}")
        # By descriptor where the system can, because the path may name another file by now.
        opened = Path(f"/proc/self/fd/{self._file.fileno()}")
        path = opened if opened.exists() else self.path
        try:
            # Files older than the zip format cannot be mapped.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except MemoryError:
            raise
        except Exception as error:  # torch raises nearly every kind of error on foreign bytes
            log.debug("torch could not load %s", self.path, exc_info=error)
            raise CheckpointUnreadableError(
                str(self.path),
                f"{self._state.size} bytes that are no whole checkpoint of tensors: truncated, of another kind, or "
                f"holding code. {WHERE_TO_GET}",
            ) from None


_KNOWN: dict[State, Digests] = {}


def _unreadable(path: Path, error: OSError) -> CheckpointUnreadableError:
    return CheckpointUnreadableError(str(path), f"cannot be read ({error.strerror}). {WHERE_TO_GET}")
