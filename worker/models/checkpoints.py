"""Reads the two checkpoint files, strictly: what is not exactly the published layout is refused with its reasons."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worker.models.digests import Digests, expected_md5
from worker.models.errors import (
    CheckpointError,
    CheckpointHashError,
    CheckpointMismatchError,
)
from worker.models.files import FILES, PUBLISHED_MD5, RESTORER_FILE, VOCODER_FILE
from worker.models.layout import VOCODER_IN_RESTORER, Spec, expected_layout
from worker.models.weightsfile import WHERE_TO_GET, WeightsFile

log = logging.getLogger(__name__)

HOW_TO_OVERRIDE = "To use other weights on purpose, allow unverified ones (VFQ_WEIGHTS_UNVERIFIED=true)."


@dataclass(frozen=True)
class Checkpoint:
    """A file of the right layout: its tensors by key, backed by the file until they are copied.

    `file` is still open: it is being hashed, and can give the same tensors again when these are gone.
    """

    path: Path
    kind: str
    tensors: Mapping[str, Tensor]
    file: WeightsFile

    @property
    def sha256(self) -> str:
        """Of the whole file; waits for it."""
        return self.file.sha256()

    def verified(self, *, allow_other: bool = False) -> str:
        """Wait for the sha256; raises `CheckpointHashError` if the md5 is not the published one, unless `allow_other`.

        So weights can be prepared meanwhile; they are not to be used before.
        """
        published = expected_md5(self.kind, allow_other=allow_other)
        if published is not None and not self.file.has_md5(published):
            raise _other_weights(self.path, self.file.digests().md5, published)
        return self.file.sha256()


@dataclass(frozen=True)
class Verdict:
    """What `verify` found about one file: `error` is None where a worker would take it as published weights."""

    file: str
    path: Path
    md5: str | None
    sha256: str | None
    error: CheckpointError | None


def open_checkpoint(path: Path, file: str, *, allow_other: bool = False) -> Checkpoint:
    """Open `path` as the published `file` (one of `FILES`), and begin to hash it for `Checkpoint.verified`.

    Anything but its exact keys, shapes and types raises `CheckpointMismatchError`; a file that holds no such
    thing, or more than tensors, `CheckpointUnreadableError`. What it is by its hash, `Checkpoint.verified` tells.
    """
    opened = WeightsFile(path)
    opened.start_hashing(expected_md5(file, allow_other=allow_other))
    table = opened.table()
    _check_layout(path, file, table)
    tensors = {key: value for key, value in table.items() if isinstance(value, Tensor)}
    return Checkpoint(path, file, tensors, opened)


def read_checkpoint(path: Path, file: str, *, allow_other: bool = False) -> Checkpoint:
    """Open a checkpoint and verify it; raises what `open_checkpoint` and `Checkpoint.verified` raise."""
    checkpoint = open_checkpoint(path, file, allow_other=allow_other)
    checkpoint.verified(allow_other=allow_other)
    return checkpoint


def vocoder_tensors(vocoder: Checkpoint, restorer: Checkpoint | None) -> dict[str, Tensor]:
    """The vocoder's tensors, with the biases of the restorer's file where both come from one source.

    So does the voicefixer package: it loads `vf.ckpt` over a vocoder whose weights no longer match by name, while
    the biases do.
    """
    tensors = dict(vocoder.tensors)
    if restorer is None:
        return tensors
    biases = [key for key in tensors if key.endswith(".bias") and ".skip_conv." not in key]
    other = {key: restorer.tensors[VOCODER_IN_RESTORER + key] for key in biases}
    differ = [key for key in biases if not torch.equal(tensors[key], other[key])]
    if differ:
        log.warning(
            "%d of the vocoder's %d biases differ between %s and %s, first %s; those of %s are used.",
            len(differ), len(biases), VOCODER_FILE, RESTORER_FILE, differ[0], RESTORER_FILE,
        )  # fmt: skip
    return tensors | other


def verify(folder: Path) -> list[Verdict]:
    """Check both files in a folder as a worker would, but for what is known of them from before."""
    return [_verdict(folder / file, file) for file in FILES]


def digest(path: Path) -> Digests:
    """Md5 and sha256 of a file, worked out now; raises `CheckpointUnreadableError` and `CheckpointChangedError`."""
    return WeightsFile(path).digests()


def _verdict(path: Path, file: str) -> Verdict:
    error: CheckpointError | None = None
    try:
        open_checkpoint(path, file, allow_other=True)
    except CheckpointError as found:
        error = found
    if not path.is_file():
        return Verdict(file, path, None, None, error)
    digests = digest(path)
    if error is None and digests.md5 != PUBLISHED_MD5[file]:
        error = _other_weights(path, digests.md5, PUBLISHED_MD5[file])
    return Verdict(file, path, digests.md5, digests.sha256, error)


def _other_weights(path: Path, md5: str, published: str) -> CheckpointHashError:
    return CheckpointHashError(
        str(path),
        f"the keys and shapes are right, but these are not the published weights: md5 {md5} instead of {published}. "
        f"{WHERE_TO_GET} {HOW_TO_OVERRIDE}",
    )


def _check_layout(path: Path, file: str, tensors: Mapping[str, object]) -> None:
    expected = expected_layout(file, tensors)
    missing = [key for key in expected if key not in tensors]
    unexpected = [key for key in tensors if key not in expected]
    both = [key for key in expected if key in tensors]
    wrong = [text for key in both if (text := _difference(key, tensors[key], expected[key]))]
    if missing or unexpected or wrong:
        raise CheckpointMismatchError(
            str(path),
            expected=len(expected),
            found=len(tensors),
            missing=missing,
            unexpected=unexpected,
            wrong=wrong,
            advice=_advice(file, tensors),
        )


def _difference(key: str, value: object, spec: Spec) -> str:
    if not isinstance(value, Tensor):
        return f"{key} is a {type(value).__name__} and no tensor"
    if tuple(value.shape) != spec.shape:
        return f"{key} is {list(value.shape)} instead of {list(spec.shape)}"
    if value.dtype != spec.dtype:
        return f"{key} is {value.dtype} instead of {spec.dtype}"
    return ""


def _advice(file: str, tensors: Mapping[str, object]) -> str:
    other = next(name for name in FILES if name != file)
    if not [key for key in expected_layout(other, tensors) if key not in tensors]:
        return f"This is what {other} holds: are the two files swapped?"
    return WHERE_TO_GET
