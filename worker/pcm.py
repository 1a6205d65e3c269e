"""The working audio in storage: float32, little-endian, channels interleaved, 44.1 kHz; read in ranges."""

from collections.abc import Iterator

import numpy as np

from shared.storage.interface import ObjectStore
from worker.arrays import Floats
from worker.plan import Plan

_BLOCK_FRAMES = 65_536


def pcm_bytes(block: Floats) -> bytes:
    """Give the bytes of a block `[n, C]`."""
    return np.ascontiguousarray(block, dtype="<f4").tobytes()


def read_blocks(store: ObjectStore, key: str, channels: int) -> Iterator[Floats]:
    """Stream the whole working audio as blocks `[n, C]`."""
    frame = channels * 4
    with store.stream(key, chunk=_BLOCK_FRAMES * frame) as pieces:
        for data in pieces:
            yield np.frombuffer(data, dtype="<f4").reshape(-1, channels)


def read_padded(store: ObjectStore, key: str, plan: Plan, start: int, stop: int) -> Floats:
    """Read samples [start, stop) as `[C, stop − start]`; what lies outside the file is its reflection.

    A very short recording is read as if zeros followed it, so that there is something to reflect.
    """
    end = plan.extended_samples
    first, last = max(0, start), min(end, stop)
    frame = plan.channels * 4
    data = store.read(key, first * frame, min(last, plan.samples) * frame) if first < plan.samples else b""
    inside = np.frombuffer(data, dtype="<f4").reshape(-1, plan.channels).T
    inside = np.pad(inside, ((0, 0), (0, last - first - inside.shape[1])))
    return np.pad(inside, ((0, 0), (first - start, stop - last)), mode="reflect")
