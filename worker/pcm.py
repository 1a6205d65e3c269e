"""The working audio in storage: float32, little-endian, channels interleaved, 44.1 kHz; read in ranges."""

from collections.abc import Iterator

import numpy as np

from shared.storage.interface import ObjectStore
from worker.arrays import Floats, raw, whole
from worker.plan import Plan

_BLOCK_FRAMES = 65_536


def pcm_bytes(block: Floats) -> memoryview:
    """Give the bytes of a block `[n, C]`."""
    return raw(np.ascontiguousarray(block, dtype="<f4"))


def read_blocks(store: ObjectStore, key: str, channels: int) -> Iterator[Floats]:
    """Stream the whole working audio as blocks `[n, C]`."""
    frame = channels * 4
    with store.stream(key, chunk=_BLOCK_FRAMES * frame) as pieces:
        for data in pieces:
            yield np.frombuffer(data, dtype="<f4").reshape(-1, channels)


def read_padded(store: ObjectStore, key: str, plan: Plan, start: int, stop: int) -> Floats:
    """Read samples [start, stop) as `[C, stop − start]`; what lies outside the file is its reflection.

    A very short recording is read as if zeros followed it, so that there is something to reflect.

    Raises:
        ArrayFormatError: if the working audio is shorter than it should be.
    """
    first, last = max(0, start), min(plan.extended_samples, stop)
    there = max(0, min(last, plan.samples) - first)
    frame = plan.channels * 4
    data = store.read(key, first * frame, (first + there) * frame) if there else b""
    inside = whole(np.frombuffer(data, dtype="<f4"), there * plan.channels).reshape(-1, plan.channels).T
    if there < last - first:
        inside = np.pad(inside, ((0, 0), (0, last - first - there)))
    if (start, stop) != (first, last):
        inside = np.pad(inside, ((0, 0), (first - start, stop - last)), mode="reflect")
    return inside
