"""What a file of weights is, by its hashes: worked out in the background, without torch, so before that is imported."""

import hashlib
import os
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from worker.models.files import PUBLISHED_MD5
from worker.models.hub import WeightsSource, locate
from worker.models.known import is_known, remember

_BLOCK = 64 << 20
"""Bytes read at once. A thread waits for the interpreter after each, and while torch is imported that is long."""


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


# One thread: it has a core to itself while Python imports on another, and does not crowd out who prepares tensors.
_pool = ThreadPoolExecutor(1, "digest")
_sha256s: dict[State, Future[str]] = {}
_checks: dict[tuple[State, str], Future[bool]] = {}


def state_of(descriptor: int) -> State:
    """The state of an open file. Raises `OSError`."""
    found = os.fstat(descriptor)
    return State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def start_hashing(descriptor: int, state: State, published: str | None) -> None:
    """Hash an open file in the background, unless this state of it was hashed before.

    `published` is the md5 that `has_md5` will be asked for, None if nobody will ask.
    """
    if state not in _sha256s:
        _sha256s[state] = _pool.submit(_own_digest, os.dup(descriptor), "sha256")
    if published is not None and (state, published) not in _checks:
        _checks[state, published] = _pool.submit(_check, os.dup(descriptor), _sha256s[state], published)


def sha256_of(descriptor: int, state: State) -> str:
    """Wait for the sha256 of an open file. Raises `OSError`."""
    start_hashing(descriptor, state, None)
    try:
        return _sha256s[state].result()
    except BaseException:
        _sha256s.pop(state, None)  # what failed once may be tried again
        raise


def has_md5(descriptor: int, state: State, published: str) -> bool:
    """Wait for whether an open file has this md5. Raises `OSError`."""
    start_hashing(descriptor, state, published)
    try:
        return _checks[state, published].result()
    except BaseException:
        _sha256s.pop(state, None)
        _checks.pop((state, published), None)
        raise


def digests_of(descriptor: int) -> Digests:
    """Work out both of an open file, whatever was known before. Raises `OSError`."""
    return Digests(_digest(descriptor, "md5"), _digest(descriptor, "sha256"))


def hash_ahead(source: WeightsSource, files: Collection[str]) -> None:
    """Begin to hash the files that would be loaded from here, if any: what is wrong is told when they are loaded."""
    for file, path in locate(source).items():
        if path is not None and file in files:
            with suppress(OSError), path.open("rb", buffering=0) as opened:
                descriptor = opened.fileno()
                start_hashing(descriptor, state_of(descriptor), expected_md5(file, allow_other=source.allow_other))


def expected_md5(file: str, *, allow_other: bool) -> str | None:
    """The md5 that a file must have to be loaded; None if it may be any."""
    return None if allow_other else PUBLISHED_MD5[file]


def _check(descriptor: int, sha256: "Future[str]", published: str) -> bool:
    try:
        if is_known(sha256.result(), published):
            return True
        if _digest(descriptor, "md5") != published:
            return False
        remember(sha256.result(), published)
        return True
    finally:
        os.close(descriptor)


def _own_digest(descriptor: int, name: str) -> str:
    try:
        return _digest(descriptor, name)
    finally:
        os.close(descriptor)


def _digest(descriptor: int, name: str) -> str:
    digest = hashlib.new(name, usedforsecurity=False)
    # Read, not mapped: mapped pages would count as this process's memory. And into one buffer: new ones would keep
    # changing the process's memory map, for which whoever prepares tensors meanwhile would wait.
    block, at = memoryview(bytearray(_BLOCK)), 0
    while read := os.preadv(descriptor, [block], at):
        digest.update(block[:read])
        at += read
    return digest.hexdigest()
