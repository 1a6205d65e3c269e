"""What a file of weights is, by its hashes: worked out in the background, without torch, so before that is imported."""

import hashlib
import os
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from worker.models.hub import WeightsSource, locate

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
_hashes: dict[State, Future[Digests]] = {}


def state_of(descriptor: int) -> State:
    """The state of an open file. Raises `OSError`."""
    found = os.fstat(descriptor)
    return State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def start_hashing(descriptor: int, state: State) -> None:
    """Hash an open file in the background, unless this state of it was hashed before."""
    if state not in _hashes:
        _hashes[state] = _pool.submit(_hash, os.dup(descriptor))


def digests_of(descriptor: int, state: State) -> Digests:
    """Wait for the digests of an open file. Raises `OSError`."""
    start_hashing(descriptor, state)
    try:
        return _hashes[state].result()
    except BaseException:
        _hashes.pop(state, None)  # what failed once may be tried again
        raise


def hash_ahead(source: WeightsSource, files: Collection[str]) -> None:
    """Begin to hash the files that would be loaded from here, if any: what is wrong is told when they are loaded."""
    for file, path in locate(source).items():
        if path is not None and file in files:
            with suppress(OSError), path.open("rb", buffering=0) as opened:
                start_hashing(opened.fileno(), state_of(opened.fileno()))


def _hash(descriptor: int) -> Digests:
    md5, sha256 = (hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha256"))
    try:
        # Read, not mapped: mapped pages would count as this process's memory. And into one buffer: new ones would keep
        # changing the process's memory map, for which whoever prepares tensors meanwhile would wait.
        block, at = memoryview(bytearray(_BLOCK)), 0
        while read := os.preadv(descriptor, [block], at):
            md5.update(block[:read])
            sha256.update(block[:read])
            at += read
    finally:
        os.close(descriptor)
    return Digests(md5.hexdigest(), sha256.hexdigest())
