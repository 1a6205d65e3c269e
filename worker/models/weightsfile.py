"""A checkpoint file, held open: what was hashed is what is read, now and later, whatever happens to its name."""

import logging
import weakref
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from worker.models.digests import Digests, digests_of, has_md5, sha256_of, start_hashing, state_of
from worker.models.errors import CheckpointChangedError, CheckpointUnreadableError

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

WHERE_TO_GET = "Get the published file with `voicefixer-queue weights pull`."
_WRAPPERS = ("state_dict", "generator")
"""Training checkpoints keep their tensors under the one, the published vocoder under the other."""


class WeightsFile:
    """One file of weights, open for as long as this object lives."""

    def __init__(self, path: Path) -> None:
        """Open it; raises `CheckpointUnreadableError`."""
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
            self._state = state_of(self._file.fileno())
        except OSError as error:
            raise _unreadable(path, error) from None
        weakref.finalize(self, self._file.close)

    @contextmanager
    def tensors(self) -> Iterator[dict[str, torch.Tensor]]:
        """The tensors of `table`, to be copied within: only at its end is it known that they were the file's.

        Raises what `table` raises, and at the end `CheckpointChangedError` where the file was written into meanwhile.
        """
        yield {key: value for key, value in self.table().items() if isinstance(value, torch.Tensor)}
        self.check_unchanged()

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

    def start_hashing(self, published: str | None) -> None:
        """Hash in the background; `sha256` waits for it, and `has_md5` where that md5 is given here."""
        start_hashing(self._file.fileno(), self._state, published)

    def sha256(self) -> str:
        """The sha256 of the whole file, worked out once a process for each state of it.

        Raises `CheckpointUnreadableError` and `CheckpointChangedError`.
        """
        return self._asked(lambda: sha256_of(self._file.fileno(), self._state))

    def has_md5(self, published: str) -> bool:
        """Whether the whole file has this md5, which may be known from an earlier start. Raises like `sha256`."""
        return self._asked(lambda: has_md5(self._file.fileno(), self._state, published))

    def digests(self) -> Digests:
        """Md5 and sha256 of the whole file, worked out now. Raises like `sha256`."""
        return self._asked(lambda: digests_of(self._file.fileno()))

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        try:
            answer = ask()
        except OSError as error:
            raise _unreadable(self.path, error) from None
        self.check_unchanged()
        return answer

    def check_unchanged(self) -> None:
        """Raise `CheckpointChangedError` if the file was written into since it was opened.

        A file that was replaced by another of its name, or deleted, is unchanged: this one is still open.
        """
        if state_of(self._file.fileno()) != self._state:
            raise CheckpointChangedError(
                self.path.name,
                "was written into while it was in use. Restart the worker; and put new weights in place by renaming a "
                "whole file, not by writing into the old one.",
            )

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


def _unreadable(path: Path, error: OSError) -> CheckpointUnreadableError:
    return CheckpointUnreadableError(str(path), f"cannot be read ({error.strerror}). {WHERE_TO_GET}")
