"""What every decoder gives: facts and a stream of blocks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.formats import SourceFacts

Block = NDArray[np.float32]
"""Samples `[n, channels]`, full scale ±1."""


@dataclass(frozen=True)
class Decoded:
    """An opened recording: what it is, what its header promises, and its samples in blocks of any size."""

    facts: SourceFacts
    promised: int | None
    """Samples per channel by the header, which may be wrong; `None` where it does not say."""
    blocks: Iterator[Block]
    close: Callable[[], None]
    """Gives back what the library holds, also where no block was ever asked for: an index can be large."""


def rebatch(blocks: Iterator[Block], frames: int) -> Iterator[Block]:
    """Give the same samples in blocks of `frames`, the last one shorter."""
    held: list[Block] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count < frames:
            continue
        joined = np.concatenate(held) if held[1:] else block
        whole = count - count % frames
        for start in range(0, whole, frames):
            yield joined[start : start + frames]
        held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)
